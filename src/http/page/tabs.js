// Tabs, as in the ARIA Authoring Practices: arrow keys move between them, the address names the open one.

const tabs = () => [...document.querySelectorAll('[role=tab]')];

const nameOf = (tab) => tab.getAttribute('aria-controls');

export const current = () => nameOf(tabs().find((tab) => tab.getAttribute('aria-selected') === 'true'));

/** Opens a tab from within the page. A change of `location.hash` would move the focus into the panel. */
export function open(name) {
  if (name !== current()) history.pushState(null, '', `#${name}`);
  select(name);
}

let select;

/** Calls `shown` with the name of a tab that was opened, `left` with that of the one before it. */
export function begin(shown, left) {
  select = (name) => {
    const before = tabs().find((tab) => tab.getAttribute('aria-selected') === 'true');
    for (const tab of tabs()) {
      const isOpen = nameOf(tab) === name;
      tab.setAttribute('aria-selected', isOpen);
      tab.tabIndex = isOpen ? 0 : -1;
      document.getElementById(nameOf(tab)).hidden = !isOpen;
    }
    if (before && nameOf(before) !== name) left(nameOf(before));
    shown(name);
  };
  for (const tab of tabs()) {
    tab.addEventListener('click', () => open(nameOf(tab)));
    tab.addEventListener('keydown', move);
  }
  addEventListener('popstate', () => isKnown() && select(named()));
  select(isKnown() ? named() : nameOf(tabs()[0]));
}

const named = () => location.hash.slice(1);

const isKnown = () => tabs().some((tab) => nameOf(tab) === named());

function move(event) {
  const all = tabs();
  const at = all.indexOf(event.currentTarget);
  const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  const tab = all.at(to % all.length);
  tab.focus();
  tab.click();
}

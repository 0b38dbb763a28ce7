// Elements made in one line. Texts become text nodes: what a user or the server wrote is never markup.

const SVG = 'http://www.w3.org/2000/svg';

export const $ = (id) => document.getElementById(id);

export const h = (name, attributes, ...children) =>
  fill(document.createElement(name), attributes, children);

export const svg = (name, attributes, ...children) =>
  fill(document.createElementNS(SVG, name), attributes, children);

/** A button that tells of its problems, and cannot be pressed twice. */
export function action(label, run, attributes = {}) {
  const button = h('button', { type: 'button', ...attributes }, label);
  button.addEventListener('click', async () => {
    button.disabled = true;
    try {
      await run(button);
    } finally {
      button.disabled = false;
    }
  });
  return button;
}

/** A table whose columns may be wider than the page: it scrolls by itself, by keyboard as well. */
export const scrollable = (label, table) =>
  h('div', { class: 'scroll', role: 'region', tabindex: 0, 'aria-label': label }, table);

/** Rows of cells; the first cell of each row is its header. The caption is heard, not seen. */
export function table(caption, heads, rows) {
  const cell = (name, scope) => (it) =>
    it instanceof HTMLTableCellElement ? it : h(name, { scope }, it);
  const body = rows.map(([first, ...rest]) =>
    h('tr', {}, cell('th', 'row')(first), ...rest.map(cell('td'))));
  return h('table', {},
    h('caption', { class: 'unseen' }, caption),
    h('thead', {}, h('tr', {}, ...heads.map(cell('th', 'col')))),
    h('tbody', {}, ...body));
}

export const number = (text) => h('td', { class: 'number' }, text);

/** The head of a column of buttons: heard, not seen. */
export const actionsHead = () => h('th', { scope: 'col' }, h('span', { class: 'unseen' }, 'Actions'));

export const numberHead = (text) => h('th', { class: 'number', scope: 'col' }, text);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat().filter((it) => it !== undefined && it !== null && it !== false));
  return element;
}

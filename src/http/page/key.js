// The API key. In sessionStorage only: it goes when the tab is closed.

import { $ } from './dom.js';

const STORED = 'api-key';

export const key = () => sessionStorage.getItem(STORED) ?? '';

/** Calls `changed` when there is another key. */
export function begin(changed) {
  const [box, input, button] = [$('key-box'), $('key'), $('key-button')];
  const use = (value) => {
    if (value) sessionStorage.setItem(STORED, value);
    else sessionStorage.removeItem(STORED);
    show();
    box.hidePopover();
    button.focus();
    changed();
  };
  const show = () => {
    input.value = key();
    button.textContent = key() ? 'API key: set' : 'API key';
  };
  box.addEventListener('submit', (event) => {
    event.preventDefault();
    use(input.value.trim());
  });
  box.addEventListener('toggle', (event) => {
    if (event.newState === 'open') input.focus();
  });
  $('key-forget').addEventListener('click', () => use(''));
  show();
}

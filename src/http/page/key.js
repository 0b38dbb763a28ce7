// The API key. In sessionStorage only: it goes when the tab is closed.

import { $, h } from './dom.js';

const STORED = 'api-key';

export const key = () => sessionStorage.getItem(STORED) ?? '';

/** Calls `changed` when there is another key. */
export function begin(changed) {
  const button = $('key-button');
  const input = h('input', { id: 'key', type: 'password', autocomplete: 'off', spellcheck: 'false' });
  const forget = h('button', { type: 'button' }, 'Forget it');
  const box = h('form', { popover: true, id: 'key-box', 'aria-labelledby': 'key-title' },
    h('h2', { id: 'key-title' }, 'API key'),
    h('label', { for: 'key' }, 'Sent with every request; kept until this tab is closed.'),
    input,
    h('div', { class: 'row' }, h('button', { type: 'submit', class: 'primary' }, 'Use it'), forget));
  button.after(box);
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
  forget.addEventListener('click', () => use(''));
  show();
}

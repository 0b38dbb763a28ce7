// The server's errors, said where they arose: what was wrong, where, and its stable code.

import { h } from './dom.js';

/** Shows a problem in the place for it in `panel`; none clears it. */
export function show(panel, problem, place = '') {
  const home = panel.querySelector(`[data-problem="${place}"]`);
  if (!problem) {
    home.replaceChildren();
    return;
  }
  const { detail = problem.message, position, code } = problem;
  home.replaceChildren(h('div', { class: 'problem', role: 'alert' },
    h('p', {}, sentence(detail)),
    (position || code) && h('p', { class: 'fine' }, [position && `at ${position}`, code].filter(Boolean).join(' · '))));
}

/** Runs what may fail, and shows the problem if it does. */
export async function guarded(panel, run, place) {
  show(panel, null, place);
  try {
    return await run();
  } catch (problem) {
    if (problem.name !== 'AbortError') show(panel, problem, place);
    return undefined;
  }
}

export const sentence = (text) => text && text[0].toUpperCase() + text.slice(1) + (/[.?!]$/.test(text) ? '' : '.');

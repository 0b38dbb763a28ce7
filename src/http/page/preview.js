// The rows of an upload as a table; those that cannot be examples are marked with the server's reason.

import { h, scrollable } from './dom.js';
import { count } from './format.js';

/** Good rows that are shown. Bad ones are all shown that the server has listed. */
const MOST_ROWS = 12;

/**
 * @param {{header: string[], rows: {line: number, cells: string[]}[]}} csv
 * @param {Map<number, string>} reasons line to what is wrong with its row
 */
export function preview({ header, rows }, reasons) {
  const shown = rows.filter(({ line }, index) => index < MOST_ROWS || reasons.has(line));
  const row = ({ line, cells }) => {
    const reason = reasons.get(line);
    return h('tr', { class: reason && 'bad' },
      h('th', { scope: 'row' }, `${line}`),
      ...header.map((_, column) => h('td', { class: 'clip', title: cells[column] }, cells[column] ?? '')),
      reasons.size > 0 && h('td', { class: 'reason' }, reason ? `✕ ${reason}` : ''));
  };
  const left = rows.length - shown.length;
  return scrollable('Preview of the rows', h('table', {},
    h('caption', {}, left > 0 ? `Preview; ${count(left, 'more row')} not shown` : 'Preview'),
    h('thead', {}, h('tr', {}, ...['Line', ...header, ...(reasons.size > 0 ? ['What is wrong'] : [])].map((name) => h('th', { scope: 'col' }, name)))),
    h('tbody', {}, ...shown.map(row))));
}

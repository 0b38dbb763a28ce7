// A confusion matrix: rows are what is true, columns what was answered.

import { h, scrollable } from '../dom.js';
import { heatCell, heatLegend } from './heat.js';

/** `counts` is square, in the order of `labels`. A cell's depth is its share of its row. */
export function confusionMatrix(labels, counts) {
  const rows = counts.map((row, i) => {
    const sum = row.reduce((a, b) => a + b, 0);
    return h('tr', {}, h('th', { scope: 'row' }, labels[i]), ...row.map((it) => heatCell(`${it}`, sum ? it / sum : 0)));
  });
  const table = h('table', { class: 'heat-map' },
    h('caption', { class: 'unseen' }, 'Confusion matrix: rows are the true labels, columns the answers'),
    h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'true ↓ answer →'), ...labels.map((label) => h('th', { scope: 'col' }, label)))),
    h('tbody', {}, ...rows));
  return h('figure', { class: 'chart' },
    h('figcaption', {}, h('h4', {}, 'Confusion'), heatLegend('none', 'all of the row')),
    scrollable('Confusion matrix', table));
}

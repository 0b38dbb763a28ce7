// Cosines of each sentence with each other: one table, for eyes and for screen readers.

import { h, scrollable } from '../dom.js';
import { heatCell, heatLegend } from './heat.js';

/** Two digits, and no minus before what rounds to 0. */
const cell = (cosine) => (Math.round(100 * cosine) / 100 + 0).toFixed(2).replace('-', '−');

/** `cosines` is square, in the order of `texts`. */
export function similarityMap(texts, cosines) {
  const columns = texts.map((text, i) => h('th', { scope: 'col', title: text }, `${i + 1}`));
  const rows = texts.map((text, i) => h('tr', {},
    h('th', { scope: 'row', title: text }, h('span', { class: 'index' }, `${i + 1}`), ' ', h('span', { class: 'text' }, text)),
    ...cosines[i].map((cosine) => heatCell(cell(cosine), cosine))));
  const table = h('table', { class: 'heat-map' },
    h('caption', { class: 'unseen' }, 'Cosine similarity of each sentence with each other'),
    h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Sentence'), ...columns)),
    h('tbody', {}, ...rows));
  return h('figure', { id: 'similarity' },
    h('figcaption', {}, h('h2', {}, 'Similarity'), heatLegend('0', '1')),
    scrollable('Similarity', table));
}

// The descriptions' few marks: paragraphs, `code`, **bold** and tables.

import { h, scrollable, table } from './dom.js';

/** A text as paragraphs and tables. */
export const prose = (text) => (text ?? '').split('\n\n').filter(Boolean).map((part) =>
  (part.startsWith('|') ? grid(part) : h('p', {}, ...inline(part))));

/** A line of text. */
export const inline = (text) => text.split(/(`[^`]*`|\*\*[^*]*\*\*)/).filter(Boolean).map((piece) => {
  if (piece.startsWith('`')) return h('code', {}, piece.slice(1, -1));
  if (piece.startsWith('**')) return h('strong', {}, piece.slice(2, -2));
  return piece;
});

function grid(text) {
  const rows = text.split('\n').map((line) => line.split('|').slice(1, -1).map((cell) => cell.trim()));
  const [heads, , ...body] = rows;
  const cells = body.map(([first, ...rest]) =>
    [h('th', { scope: 'row' }, ...inline(first)), ...rest.map((cell) => h('td', {}, ...inline(cell)))]);
  return scrollable(heads.join(', '), table(heads.join(', '), heads, cells));
}

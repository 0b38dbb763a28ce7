// A reliability diagram: how often answers are right, by how sure they were. Guo et al., 2017, figure 1.

import { h, scrollable, number, numberHead, svg, table } from '../dom.js';
import { percent } from '../format.js';

const SIZE = 300;
const [LEFT, BOTTOM, TOP] = [40, 34, 10];

/** `bins` are `{answers, confidence, accuracy}`, by rising confidence. */
export function reliabilityDiagram(bins, error) {
  const inner = SIZE - LEFT - TOP;
  const x = (value) => LEFT + value * inner;
  const y = (value) => SIZE - BOTTOM - value * (SIZE - BOTTOM - TOP);
  const most = Math.max(...bins.map((bin) => bin.answers));
  const ticks = [0, 0.5, 1].flatMap((value) => [
    svg('line', { class: 'grid', x1: LEFT, x2: SIZE - TOP, y1: y(value), y2: y(value) }),
    svg('text', { class: 'axis', x: LEFT - 6, y: y(value) + 4, 'text-anchor': 'end' }, `${value}`),
    svg('text', { class: 'axis', x: x(value), y: SIZE - BOTTOM + 16, 'text-anchor': value === 1 ? 'end' : 'middle' }, `${value}`),
  ]);
  const drawing = svg('svg', { viewBox: `0 0 ${SIZE} ${SIZE}`, role: 'img', 'aria-label': 'Reliability diagram; the table below has its numbers' },
    ...ticks,
    svg('line', { class: 'ideal', x1: x(0), y1: y(0), x2: x(1), y2: y(1) }),
    svg('polyline', { class: 'line train', points: bins.map((bin) => `${x(bin.confidence)},${y(bin.accuracy)}`).join(' ') }),
    // By area as many as there are answers.
    ...bins.map((bin) => svg('circle', { class: 'end train', cx: x(bin.confidence), cy: y(bin.accuracy), r: 3 + 6 * Math.sqrt(bin.answers / most) })),
    svg('text', { class: 'axis', x: SIZE - TOP, y: SIZE - 4, 'text-anchor': 'end' }, 'confidence →'),
    svg('text', { class: 'axis', x: LEFT + 6, y: TOP + 10 }, '↑ share that is right'));
  const rows = bins.map((bin) => [percent(bin.confidence), number(percent(bin.accuracy)), number(`${bin.answers}`)]);
  const heads = ['Confidence', numberHead('Right'), numberHead('Answers')];
  return h('figure', { class: 'chart reliability' },
    h('figcaption', {}, h('h4', {}, 'Reliability'), h('span', { class: 'fine' }, `calibration error ${percent(error)}`)),
    drawing,
    h('details', {}, h('summary', {}, 'As a table'), scrollable('Reliability', table('Reliability', heads, rows))));
}

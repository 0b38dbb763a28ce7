// A value by epoch: one line for the training rows, one for those held out.

import { h, svg } from '../dom.js';
import { score } from '../format.js';

const [WIDTH, HEIGHT] = [420, 200];
const [LEFT, RIGHT, TOP, BOTTOM] = [44, 12, 14, 28];

/**
 * @param {string} title
 * @param {{name: string, kind: 'train'|'validation', points: [number, number][]}[]} lines epoch and value
 * @param {number} [ceiling] the greatest value there can be
 */
export function lineChart(title, lines, ceiling) {
  const drawn = lines.filter((line) => line.points.length > 0);
  const points = drawn.flatMap((line) => line.points);
  const lastEpoch = Math.max(1, ...points.map(([epoch]) => epoch));
  const firstEpoch = Math.min(lastEpoch, ...points.map(([epoch]) => epoch));
  const top = ceiling ?? nice(Math.max(1e-9, ...points.map(([, value]) => value)));
  const x = (epoch) => LEFT + (WIDTH - LEFT - RIGHT) * (lastEpoch === firstEpoch ? 0.5 : (epoch - firstEpoch) / (lastEpoch - firstEpoch));
  const y = (value) => HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * Math.min(1, value / top);
  const grid = [0, top / 2, top].flatMap((value) => [
    svg('line', { class: 'grid', x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }),
    svg('text', { class: 'axis', x: LEFT - 6, y: y(value) + 4, 'text-anchor': 'end' }, String(Number(value.toPrecision(2)))),
  ]);
  const curves = drawn.flatMap(({ kind, points: line }) => {
    const [lastX, lastY] = line.at(-1);
    return [
      svg('polyline', { class: `line ${kind}`, points: line.map(([epoch, value]) => `${x(epoch).toFixed(1)},${y(value).toFixed(1)}`).join(' ') }),
      svg('circle', { class: `end ${kind}`, cx: x(lastX), cy: y(lastY), r: 3.5 }),
    ];
  });
  const said = drawn.map(({ name, points: line }) => `${name} ${score(line.at(-1)[1])}`).join(', ');
  return h('figure', { class: 'chart' },
    h('figcaption', {}, h('h4', {}, title), h('span', { class: 'fine' }, ...drawn.flatMap(key))),
    svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': `${title} by epoch, after ${lastEpoch}: ${said}` },
      ...grid,
      svg('text', { class: 'axis', x: LEFT, y: HEIGHT - 8 }, `epoch ${firstEpoch}`),
      svg('text', { class: 'axis', x: WIDTH - RIGHT, y: HEIGHT - 8, 'text-anchor': 'end' }, `${lastEpoch}`),
      ...curves));
}

const key = ({ name, kind, points }) => [
  h('span', { class: `key ${kind}`, 'aria-hidden': 'true' }), ` ${name} ${score(points.at(-1)[1])} `];

/** 1, 2 or 5 times a power of ten, and at least `value`. */
function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((it) => it >= value);
}

// A value over the last minute, without axes: its course, not its size.

import { svg } from '../dom.js';

const [WIDTH, HEIGHT] = [240, 36];

/** `values` are the latest last; the line ends at the right, `length` values wide. */
export function spark(values, length) {
  const top = Math.max(1e-9, ...values);
  const x = (i) => WIDTH - ((values.length - 1 - i) / (length - 1)) * WIDTH;
  const y = (value) => HEIGHT - 1 - (value / top) * (HEIGHT - 2);
  return svg('svg', { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, 'aria-hidden': 'true' },
    svg('line', { class: 'grid', x1: 0, x2: WIDTH, y1: HEIGHT - 0.5, y2: HEIGHT - 0.5 }),
    svg('polyline', { class: 'spark', points: values.map((value, i) => `${x(i).toFixed(1)},${y(value).toFixed(1)}`).join(' ') }));
}

// Points in the plane, each with its text beside it.

import { h, svg } from '../dom.js';
import { percent } from '../format.js';

const MARGIN = 36;
/** Of a label, about. */
const LETTER = 6.8;
const LINE = 15;
/** Where around a point its label may stand, the best first, and by which share of its width it is held. */
const SPOTS = [[9, -7, 0], [-9, -7, 1], [0, 8, 0.5], [0, -23, 0.5], [9, 7, 0], [9, -21, 0], [-9, 7, 1], [-9, -21, 1]];
const ANCHORS = { 0: 'start', 0.5: 'middle', 1: 'end' };

/**
 * @param {string[]} texts
 * @param {{points: [number, number][], explained: [number, number]}} map as from `pca`
 * @param {number} width in pixels: letters are as large on a phone as elsewhere
 */
export function scatter(texts, { points, explained }, width) {
  const size = [width, Math.max(320, 0.75 * width)];
  const [right, bottom] = size;
  const places = fit(points, size);
  const taken = places.map(([x, y]) => ({ x: x - 6, y: y - 6, width: 12, height: 12 }));
  const marks = places.map(([x, y], i) => {
    const label = `${i + 1} ${shortened(texts[i], width / 2 / LETTER)}`;
    const spot = labelSpot([x, y], label, taken, size);
    taken.push(spot);
    return svg('g', {},
      svg('title', {}, texts[i]),
      svg('circle', { class: 'point', cx: x, cy: y, r: 4.5 }),
      svg('text', { class: 'point-label', x: spot.x + spot.hold * spot.width, y: spot.y + 11, 'text-anchor': ANCHORS[spot.hold] }, label));
  });
  const axis = (name, share) => `${name} (${percent(share)} of the variance)`;
  const drawing = svg('svg', { viewBox: `0 0 ${right} ${bottom}`, role: 'img', 'aria-label': describe(texts, points) },
    svg('rect', { class: 'frame', x: 0.5, y: 0.5, width: right - 1, height: bottom - 1, rx: 8 }),
    svg('text', { class: 'axis', x: right - 12, y: bottom - 10, 'text-anchor': 'end' }, axis('1st component →', explained[0])),
    svg('text', { class: 'axis', x: 12, y: 20 }, axis('↑ 2nd component', explained[1])),
    ...marks);
  return h('figure', { id: 'map' }, h('figcaption', {}, h('h2', {}, 'Map')), drawing);
}

/** One scale for both axes, so that distances are to be compared. */
function fit(points, [width, height]) {
  const bounds = [0, 1].map((axis) => {
    const values = points.map((point) => point[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  const [[left, right], [bottom, top]] = bounds;
  const room = [width - 2 * MARGIN, height - 2 * MARGIN - 16];
  const scale = Math.min(room[0] / (right - left || 1), room[1] / (top - bottom || 1));
  return points.map(([x, y]) => [
    width / 2 + (x - (left + right) / 2) * scale,
    height / 2 - (y - (top + bottom) / 2) * scale,
  ]);
}

/** The first place around a point where its label covers nothing, or the one that covers least. */
function labelSpot([x, y], label, taken, [right, bottom]) {
  const [width, height] = [label.length * LETTER, LINE];
  const spots = SPOTS.map(([dx, dy, hold]) => ({
    x: clamp(x + dx - hold * width, 6, right - width - 6),
    y: clamp(y + dy, 24, bottom - height - 24),
    width,
    height,
    hold,
  }));
  const covered = (spot) => taken.reduce((sum, other) => sum + overlap(spot, other), 0);
  return spots.reduce((best, spot) => (covered(spot) < covered(best) ? spot : best));
}

const clamp = (value, low, high) => Math.max(low, Math.min(high, value));

const overlap = (a, b) =>
  Math.max(0, Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x)) *
  Math.max(0, Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y));

const shortened = (text, most) => (text.length > most ? `${text.slice(0, most - 1).trimEnd()}…` : text);

function describe(texts, points) {
  const near = texts.map((text, i) => {
    const others = points.map((point, j) => [i === j ? Infinity : Math.hypot(point[0] - points[i][0], point[1] - points[i][1]), j]);
    const [, nearest] = others.reduce((a, b) => (b[0] < a[0] ? b : a));
    return `${i + 1} ${text} (nearest: ${nearest + 1})`;
  });
  return `Map of the sentences by their first two principal components. ${near.join('; ')}`;
}

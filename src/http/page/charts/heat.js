// A colour scale of ten steps. One hue from pale to deep, so that it is read by lightness alone; the
// number stands in each cell as well. The colours, and those of the numbers on them, are in style.css.

import { h } from '../dom.js';

const STEPS = 10;

/** A cell with a number; `share`, 0 to 1, says how deep it is. */
export function heatCell(text, share, attributes = {}) {
  const step = Math.min(STEPS - 1, Math.max(0, Math.floor(share * STEPS)));
  return h('td', { ...attributes, class: `heat heat-${step}` }, text);
}

/** What the colours mean, for those who see them. */
export function heatLegend(low, high) {
  const steps = Array.from({ length: STEPS }, (_, step) => h('span', { class: `heat heat-${step}` }));
  return h('p', { class: 'heat-legend', 'aria-hidden': 'true' }, low, h('span', { class: 'steps' }, ...steps), high);
}

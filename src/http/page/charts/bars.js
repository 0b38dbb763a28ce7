// Probabilities of labels as bars.

import { h } from '../dom.js';
import { score } from '../format.js';

/** `scores` are `{label, score, threshold?}`, the best first; `chosen` are the labels that answer. */
export function bars(scores, chosen) {
  return h('ol', { class: 'bars' }, ...scores.map(({ label, score: value, threshold }) => {
    const fill = h('span', { class: 'fill' });
    fill.style.inlineSize = `${100 * value}%`;
    const track = h('span', { class: 'track', 'aria-hidden': 'true' }, fill);
    if (threshold !== undefined) {
      const mark = h('span', { class: 'threshold' });
      mark.style.insetInlineStart = `${100 * threshold}%`;
      track.append(mark);
    }
    return h('li', { class: chosen.includes(label) ? 'chosen' : undefined },
      h('span', { class: 'label' }, label), track, h('span', { class: 'value' }, score(value)));
  }));
}

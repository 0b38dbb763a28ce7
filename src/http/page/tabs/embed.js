// Embed: sentences, how similar they are, and a map of them.

import { post } from '../api.js';
import { scatter } from '../charts/scatter.js';
import { similarityMap } from '../charts/similarity.js';
import { $, h } from '../dom.js';
import { count, duration } from '../format.js';
import { latest } from '../latest.js';
import { dot, pca } from '../pca.js';
import { guarded } from '../problems.js';

/** More make neither a map nor a table that anybody reads. */
const MOST = 60;

/** Pixels of the map. */
const WIDEST = 520;

const panel = $('embed');

export function begin() {
  $('embed-form').addEventListener('submit', (event) => {
    event.preventDefault();
    embed.now();
  });
  $('embed-text').addEventListener('input', () => embed());
  $('embed-model').addEventListener('change', () => embed.now());
}

export const show = () => embed.now();

const embed = latest(400, (signal) => guarded(panel, async () => {
  const all = $('embed-text').value.split('\n').map((line) => line.trim()).filter(Boolean);
  const texts = all.slice(0, MOST);
  if (texts.length === 0) {
    $('embed-result').replaceChildren();
    $('embed-status').textContent = 'Type a sentence.';
    return;
  }
  const started = performance.now();
  const body = { inputs: texts, normalize: true, model: $('embed-model').value || undefined };
  const vectors = await post('embed', body, { signal });
  const seconds = (performance.now() - started) / 1000;
  const cosines = vectors.map((a) => vectors.map((b) => dot(a, b)));
  const left = all.length > MOST ? `the first ${MOST} of ${all.length} lines, ` : '';
  $('embed-status').textContent =
    `${left}${count(texts.length, 'sentence')}, ${vectors[0].length} dimensions, ${duration(seconds)}`;
  // It has no width once another tab is open.
  const width = Math.min(WIDEST, $('embed-result').clientWidth || WIDEST);
  $('embed-result').replaceChildren(
    texts.length > 1 ? scatter(texts, pca(vectors), width) : h('p', { class: 'hint' }, 'A second sentence makes a map.'),
    similarityMap(texts, cosines));
}));

// Classify: what each head says of a sentence, while it is typed; or labels of one's own.

import { get, post } from '../api.js';
import { bars } from '../charts/bars.js';
import { $, action, h } from '../dom.js';
import { duration, score } from '../format.js';
import { latest } from '../latest.js';
import { guarded } from '../problems.js';
import { open } from '../tabs.js';

/** Labels that are shown of a task with many. */
const MOST_BARS = 12;

const panel = $('classify');

export function begin() {
  $('classify-form').addEventListener('submit', (event) => {
    event.preventDefault();
    classify.now();
  });
  $('classify-form').addEventListener('input', () => {
    $('zero-shot').hidden = !byLabels();
    classify();
  });
}

export const show = () => classify.now();

/** Whether any head of the model that is chosen could answer. */
async function isTrained(model) {
  const { heads } = await get('heads');
  return heads.some((head) => head.trained && (!model || head.model === model));
}

const byLabels = () => panel.querySelector('[name=by]:checked').value === 'labels';

const classify = latest(150, (signal) => guarded(panel, async () => {
  const request = read();
  if (!request) {
    $('classify-result').replaceChildren();
    $('classify-status').textContent = 'Type a sentence.';
    return;
  }
  if (!request.labels && !(await isTrained(request.model))) {
    clear();
    $('classify-result').replaceChildren(untrained());
    return;
  }
  const started = performance.now();
  let answer;
  try {
    answer = await post('classify', request, { signal });
  } catch (problem) {
    if (problem.name !== 'AbortError') clear();
    throw problem;
  }
  const [tasks] = answer.results;
  $('classify-status').textContent = `${summary(tasks)} (${duration((performance.now() - started) / 1000)})`;
  $('classify-result').replaceChildren(...Object.entries(tasks).map(card));
}));

function read() {
  const inputs = $('classify-text').value.trim();
  if (!inputs) return null;
  const model = $('classify-model').value || undefined;
  if (!byLabels()) return { inputs, model };
  const labels = $('zero-labels').value.split(',').map((label) => label.trim()).filter(Boolean);
  return { inputs, model, labels, template: $('zero-template').value || undefined };
}

function clear() {
  $('classify-result').replaceChildren();
  $('classify-status').textContent = '';
}

const untrained = () => h('div', { class: 'card stack' },
  h('p', {}, 'No head of this model has been trained yet. Train one, or classify by labels of your own.'),
  h('div', { class: 'row' }, action('Train a head', () => open('train'), { class: 'primary' })));

/** The labels that answer: one, or as many as apply. */
const chosen = (prediction) => prediction.labels ?? (prediction.label === null ? [] : [prediction.label]);

function card([task, prediction]) {
  const { scores, version, trained } = prediction;
  const names = chosen(prediction);
  const maker = trained ? `version ${version}` : task === 'zero shot' ? 'by similarity' : 'untrained';
  return h('article', { class: 'card' },
    h('header', {}, h('h2', {}, task), h('span', { class: 'tag' }, maker)),
    h('p', { class: 'answer' }, names.join(', ') || (prediction.labels ? 'no label applies' : 'not sure')),
    bars(scores.slice(0, MOST_BARS), names),
    scores.length > MOST_BARS && h('p', { class: 'fine' }, `and ${scores.length - MOST_BARS} more labels`),
    prediction.labels && h('p', { class: 'fine' }, 'A label applies from its threshold on, the mark on its bar.'));
}

const summary = (tasks) => Object.entries(tasks).map(([task, prediction]) =>
  `${task}: ${chosen(prediction).join(', ') || 'none'} ${prediction.score ? score(prediction.score) : ''}`.trim()).join('; ');

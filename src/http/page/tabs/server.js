// Server: what it does now, by its metrics, looked at each second while this is seen.

import { ask, get } from '../api.js';
import { spark } from '../charts/spark.js';
import { $, h, number, numberHead, scrollable, table } from '../dom.js';
import { duration } from '../format.js';
import { between, buckets, parse, quantile, sum } from '../metrics.js';
import { guarded } from '../problems.js';

const EVERY = 1000;
/** Looks that are kept: a minute. */
const KEPT = 60;
/** Looks that a rate or a quantile is taken over. */
const WINDOW = 10;

const panel = $('server');
const looks = [];
let timer;

export function begin() {
  document.addEventListener('visibilitychange', () => {
    if (document.visibilityState === 'visible' && !panel.hidden) tick();
  });
}

export async function show() {
  const info = await get('info');
  $('server-models').replaceChildren(about(info));
  await tick();
}

export function leave() {
  clearTimeout(timer);
  looks.length = 0;
}

/** What clients wait for; not this page's own looks, nor streams. */
const isWork = ({ method, route }) => method === 'POST' && !route.startsWith('/train');

async function tick() {
  clearTimeout(timer);
  if (panel.hidden || document.visibilityState !== 'visible') return;
  await guarded(panel, async () => {
    const metrics = parse(await (await ask('metrics')).text());
    const duration = 'polyhead_request_duration_seconds';
    looks.push({
      at: performance.now() / 1000,
      tokens: sum(metrics, 'polyhead_tokens_total'),
      requests: sum(metrics, `${duration}_count`, isWork),
      latency: buckets(metrics, duration, isWork),
      queue: sum(metrics, 'polyhead_queue_tokens'),
      // Without the one that asks.
      inFlight: Math.max(0, sum(metrics, 'polyhead_requests_in_flight') - 1),
      rejected: sum(metrics, 'polyhead_requests_rejected_total'),
      running: sum(metrics, 'polyhead_jobs', ({ state }) => state === 'running'),
      waiting: sum(metrics, 'polyhead_jobs', ({ state }) => state === 'queued'),
    });
    if (looks.length > KEPT + 1) looks.shift();
    draw();
  });
  timer = setTimeout(tick, EVERY);
}

function draw() {
  const now = looks.at(-1);
  const then = looks[Math.max(0, looks.length - 1 - WINDOW)];
  const seconds = now.at - then.at;
  const rate = (name) => (seconds > 0 ? (now[name] - then[name]) / seconds : 0);
  const rates = (name) => looks.slice(1).map((look, i) => Math.max(0, look[name] - looks[i][name]) / (look.at - looks[i].at));
  const recent = between(now.latency, then.latency);
  const whole = quantile(0.5, recent) === undefined ? now.latency : recent;
  const over = whole === recent ? `last ${Math.round(seconds)} s` : 'since the start';
  $('server-tiles').replaceChildren(
    tile('Throughput', `${Math.round(rate('tokens')).toLocaleString('en')} tokens/s`, `${rate('requests').toFixed(1)} requests/s`, rates('tokens')),
    tile('Latency, median', duration(quantile(0.5, whole)), `95 % within ${duration(quantile(0.95, whole))}, ${over}`),
    tile('Queue', `${now.queue.toLocaleString('en')} tokens`, `${now.inFlight} in flight, ${now.rejected} turned away`, looks.map(({ queue }) => queue)),
    tile('Training', now.running ? 'a job runs' : 'idle', `${now.waiting} waiting`));
}

function tile(name, figure, detail, course) {
  return h('article', { class: 'card tile' },
    h('h2', {}, name), h('p', { class: 'figure' }, figure), h('p', { class: 'fine' }, detail),
    course && spark(course, KEPT));
}

function about({ models, tasks, default_model: chosen, version, workers, runtime }) {
  const heads = ['Model', 'Precision', 'Provider', 'Fused encoder', numberHead('Dimensions'), numberHead('Max tokens'), 'Pooling', 'Heads'];
  const rows = models.map((model) => [
    model.name + (model.name === chosen ? ' (default)' : ''),
    model.precision,
    model.provider,
    model.fused ?? `no: ${model.not_fused}`,
    number(`${model.dimensions}`),
    number(`${model.max_seq_length}`),
    model.pooling,
    tasks.filter((task) => task.model === model.name).map((task) => `${task.name} ${task.version || 'untrained'}`).join(', ') || '–',
  ]);
  return h('div', { class: 'stack' },
    h('h2', {}, 'Models'),
    scrollable('Models', table('Models', heads, rows)),
    h('p', { class: 'fine' }, `polyhead ${version}, ${workers} workers. ${runtime.replace(/^ORT Build Info:/, 'ONNX Runtime:')}`));
}

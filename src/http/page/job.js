// One job as it happens: its progress, its curves, and what came of it.

import { get, remove } from './api.js';
import { lineChart } from './charts/lines.js';
import { $, action, h } from './dom.js';
import { comparison, evaluationView, seenOn } from './evaluation.js';
import { events } from './events.js';
import { count, duration, percent } from './format.js';
import { guarded, sentence } from './problems.js';
import { downloadWeights, promote, rollBack } from './versions.js';

const panel = $('train');

const PHASES = {
  queued: 'waiting for its turn',
  gathering: 'reading its examples',
  embedding: 'embedding texts',
  cross_validation: 'cross-validating',
  fitting: 'fitting heads',
  refitting: 'fitting heads to all rows',
  publishing: 'publishing',
};

let watching;
let watched;

export function begin() {
  $('job-cancel').addEventListener('click', () => guarded(panel, () => remove(`train/${watched}`)));
}

/** Shows the job that runs, if no other one is shown: a visitor who comes back finds it. */
export async function resume() {
  if (watched) return;
  const { jobs: [running] } = await get('train?state=running&limit=1');
  if (running && !watched) watch(running.id);
}

/** Shows a job from its beginning, or what came of it. */
export async function watch(id) {
  watching?.abort();
  watching = new AbortController();
  const { signal } = watching;
  watched = id;
  const epochs = [];
  $('job').hidden = false;
  $('job-curves').replaceChildren();
  $('job-result').replaceChildren();
  $('job-cancel').hidden = false;
  say('accepted');
  progress(null);
  await guarded(panel, async () => {
    let ended = false;
    for await (const { name, data } of events(id, signal)) {
      if (name === 'state') say(data.state);
      if (name === 'progress') progress(data);
      if (name === 'epoch') {
        epochs.push(data);
        draw(epochs, signal);
      }
      if (name === 'end') {
        ended = true;
        await end(data);
      }
    }
    if (!ended) throw new Error('the stream of the job was cut off; see Heads for what became of it');
  });
}

const say = (text) => { $('job-status').textContent = sentence(text); };

function progress(now) {
  const bar = $('job-progress');
  bar.hidden = false;
  if (!now?.total) {
    bar.removeAttribute('value');
  } else {
    bar.max = now.total;
    bar.value = now.done;
  }
  if (!now) return;
  const left = now.seconds_left > 0 ? `, about ${duration(now.seconds_left)} left at most` : '';
  const fit = now.fold ? `, strength ${now.strength} of ${now.strengths} in fold ${now.fold} of ${now.folds}` : '';
  say(PHASES[now.phase] + (now.total ? `: ${now.done} of ${now.total}${fit}${left}` : ''));
}

let drawing = false;

/** At most once a frame, however fast epochs come. */
function draw(epochs, signal) {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    if (!signal.aborted) $('job-curves').replaceChildren(...curves(epochs));
  });
}

function curves(epochs) {
  if (epochs.length === 0) return [];
  const tasks = Object.keys(epochs.at(-1).tasks);
  return tasks.flatMap((task) => {
    const lines = (measure) => ['train', 'validation'].map((kind) => ({
      kind,
      name: kind === 'train' ? 'training' : 'held out',
      points: epochs.filter(({ tasks: all }) => all[task]?.[kind]).map(({ epoch, tasks: all }) => [epoch, all[task][kind][measure]]),
    }));
    return [lineChart(`${task}: loss`, lines('loss')), lineChart(`${task}: accuracy`, lines('accuracy'), 1)];
  });
}

async function end(job) {
  $('job-progress').hidden = true;
  $('job-cancel').hidden = true;
  $('job-curves').replaceChildren(...curves(job.epochs));
  const took = (new Date(job.finished_at) - new Date(job.started_at ?? job.created_at)) / 1000;
  const rows = job.result ? `, ${count(job.result.rows.distinct, 'distinct text')}` : '';
  say(`${job.state} after ${duration(took)}${rows}${job.reason ? `: ${job.reason}` : ''}`);
  const tasks = Object.entries(job.result?.tasks ?? {});
  for (const [task, result] of tasks) {
    if (result.version === null || result.version === undefined) continue;
    const home = h('section', { class: 'task', 'aria-label': `Result of ${task}` });
    $('job-result').append(home);
    await showResult(home, task, result);
  }
}

/** What came of a task, with the state of its versions as it is now. */
async function showResult(home, task, result) {
  const { versions } = await get(`heads/${encodeURIComponent(task)}`);
  const find = (number) => versions.find(({ version }) => version === number);
  const version = find(result.version);
  if (!version) return;
  const before = find(result.champion_version);
  const again = (change) => () => guarded(panel, async () => {
    await change();
    await showResult(home, task, result);
    home.querySelector('button').focus();
  });
  home.replaceChildren(
    h('div', { class: 'row spread' },
      h('h3', {}, task, ' ', h('span', { class: version.live ? 'tag live' : 'tag' }, `version ${version.version} ${version.live ? 'is live' : 'is not live'}`))),
    h('p', {}, sentence(verdict(result))),
    h('div', { class: 'row' },
      !version.live && action(`Make version ${version.version} live`, again(() => promote(task, version.version))),
      version.live && before && action(`Roll back to version ${before.version}`, again(() => rollBack(task))),
      action('Download weights', () => guarded(panel, () => downloadWeights(task, version.version)))),
    ...(version.evaluation
      ? [comparison(version, before), h('p', { class: 'fine' }, seenOn(version.evaluation)), evaluationView(version.evaluation)]
      : []));
}

function verdict({ verdict: name, challenger, champion, champion_version: before, rows }) {
  const scores = () => `${percent(challenger)} against ${percent(champion)} of ${count(rows, 'held-out row')}`;
  switch (name) {
    case 'not_worse': return `not worse than version ${before}: ${scores()} right`;
    case 'worse': return `worse than version ${before}: ${scores()} right`;
    case 'too_few_rows': return `too few held-out rows (${rows}) to compare it with version ${before}`;
    default: return 'there was no trained version to compare it with';
  }
}

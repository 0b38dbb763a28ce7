// Heads: each task's versions, where they come from and which one is live; jobs, running and past.

import { get, remove } from '../api.js';
import { $, action, actionsHead, h, number, numberHead, scrollable, table } from '../dom.js';
import { evaluationView, seenOn } from '../evaluation.js';
import { count, duration, percent, score, time } from '../format.js';
import * as job from '../job.js';
import { guarded } from '../problems.js';
import { open } from '../tabs.js';
import { downloadWeights, lineage, promote, rollBack } from '../versions.js';

const panel = $('heads');

/** Between two looks while a job waits or runs. */
const REFRESH = 1500;

let timer;
let shown = '';

export function begin() {}

export async function show() {
  clearTimeout(timer);
  const { heads } = await get('heads');
  // A key may be good for heads and not for jobs.
  const { jobs } = (await guarded(panel, () => get('train?limit=20'), 'jobs')) ?? { jobs: [] };
  const details = await Promise.all(heads.map(({ task }) => get(`heads/${encodeURIComponent(task)}`)));
  // What is the same stays: a redrawn button would lose the focus.
  const now = JSON.stringify([details, jobs]);
  if (now !== shown) {
    shown = now;
    $('heads-list').replaceChildren(...details.map(head));
    $('jobs-list').replaceChildren(jobs.length ? jobTable(jobs) : h('p', { class: 'hint' }, 'No job to be seen.'));
  }
  if (jobs.some(isActive) && !panel.hidden) timer = setTimeout(() => guarded(panel, show), REFRESH);
}

export const leave = () => clearTimeout(timer);

const isActive = ({ state }) => state === 'queued' || state === 'running';

/** Changes something, shows what is so now, and says what was done. */
const change = (run, said) => () => guarded(panel, async () => {
  await run();
  await show();
  $('heads-status').textContent = said;
});

function head({ task, labels, model, multi_label: several, version: live, trained, examples, mismatched, versions }) {
  const place = h('div', { class: 'stack' });
  const kind = several ? 'several or none of' : 'one of';
  const line = lineage(versions, live);
  return h('section', { class: 'task', 'aria-label': `Task ${task}` },
    h('div', { class: 'row spread' },
      h('h3', {}, task, ' ', h('span', { class: trained ? 'tag live' : 'tag' }, trained ? `version ${live} is live` : 'untrained')),
      h('div', { class: 'actions' },
        versions.length > 1 && small('Roll back', `Roll back ${task}`, change(() => rollBack(task), `${task} is rolled back.`)),
        small('Delete task', `Delete task ${task}`, () => confirmed(task, versions.length)))),
    h('p', { class: 'fine' }, `${kind} ${labels.join(', ')} · on ${model} · ${count(examples, 'example')}`),
    line.length > 1 && h('p', { class: 'fine' }, `Lineage of the live version: ${line.join(' ← ')}`),
    mismatched && h('p', {}, `Version ${mismatched} was fit on another encoder; train the task again.`),
    versions.length > 0 && scrollable(`Versions of ${task}`, versionTable(task, versions, place)),
    place);
}

function versionTable(task, versions, place) {
  const heads = ['Version', 'From', 'Made by', 'When', 'Seen on', numberHead('Rows'), numberHead('Accuracy'),
    numberHead('Macro F1'), numberHead('Loss'), actionsHead()];
  const rows = versions.map(({ version, parent, made_by: maker, created_at: when, live, evaluation }) => [
    h('th', { scope: 'row' }, `${version}`, live && h('span', { class: 'tag live' }, ' live')),
    parent ? `version ${parent}` : '–',
    maker,
    time(when),
    evaluation?.on.replaceAll('_', ' ') ?? '–',
    number(evaluation ? `${evaluation.rows}` : '–'),
    number(percent(evaluation?.accuracy)),
    number(percent(evaluation?.macro_f1)),
    number(score(evaluation?.loss)),
    h('td', {}, h('div', { class: 'actions' },
      !live && small('Make live', `Make live version ${version} of ${task}`,
        change(() => promote(task, version), `Version ${version} of ${task} is live.`)),
      evaluation && small('Evaluation', `Evaluation of version ${version} of ${task}`, () => place.replaceChildren(
        h('h4', {}, `Version ${version}`), h('p', { class: 'fine' }, seenOn(evaluation)), evaluationView(evaluation))),
      small('Weights', `Weights of version ${version} of ${task}, a download`,
        () => guarded(panel, () => downloadWeights(task, version))))),
  ]);
  const made = table(`Versions of ${task}`, heads, rows);
  [...made.tBodies[0].rows].forEach((row, i) => row.classList.toggle('live', versions[i].live));
  return made;
}

function jobTable(jobs) {
  const took = ({ started_at: start, finished_at: end }) =>
    (start ? duration(((end ? new Date(end) : new Date()) - new Date(start)) / 1000) : '–');
  const heads = ['State', 'Tasks', 'Solver', numberHead('Examples'), 'Created', numberHead('Took'), 'Published', actionsHead()];
  const rows = jobs.map((it) => [
    it.state,
    it.spec.tasks.join(', '),
    it.spec.solver.name,
    number(`${it.examples}`),
    time(it.created_at),
    number(took(it)),
    Object.entries(it.published).map(([task, version]) => `${task} ${version}`).join(', ') || '–',
    h('td', {}, h('div', { class: 'actions' },
      small('Show', `Show the job of ${time(it.created_at)}`, () => {
        open('train');
        job.watch(it.id);
      }),
      isActive(it) && small('Cancel', `Cancel the job of ${time(it.created_at)}`,
        change(() => remove(`train/${it.id}`), 'The job is cancelled.')))),
  ]);
  return scrollable('Jobs', table('The latest jobs', heads, rows));
}

const small = (label, name, run) => action(label, run, { class: 'small', 'aria-label': name });

/** Deletes a task, if that is meant. */
function confirmed(task, versions) {
  const dialog = $('confirm');
  $('confirm-title').textContent = `Delete ${task}?`;
  $('confirm-detail').textContent = `Its ${count(versions, 'version')} and its labels of examples go for good.`;
  $('confirm-yes').textContent = `Delete ${task}`;
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', async () => {
      if (dialog.returnValue === 'yes') {
        await change(() => remove(`heads/${encodeURIComponent(task)}`), `${task} is deleted.`)();
      }
      resolve();
    }, { once: true });
  });
}

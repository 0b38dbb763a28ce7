// Train: rows in, a head version out.

import { ask, get, json } from '../api.js';
import { columnList, recognise } from '../columns.js';
import { parse } from '../csv.js';
import { $ } from '../dom.js';
import { count } from '../format.js';
import * as job from '../job.js';
import { latest } from '../latest.js';
import { preview } from '../preview.js';
import { guarded, show as showProblem } from '../problems.js';

/** Characters of a file up to which it can be edited here. */
const EDITABLE = 1_000_000;

const panel = $('train');

/** What is to be trained on. `left` are tasks with a column that is not to be used. */
const table = { columns: [], rows: [], heads: new Map(), left: new Set(), labelTask: '' };

/** The text of a file that is too large for the text area. */
let large = null;

export function begin() {
  job.begin();
  $('train-form').addEventListener('submit', (event) => {
    event.preventDefault();
    submit();
  });
  $('train-csv').addEventListener('input', () => check());
  $('train-file').addEventListener('change', ({ target }) => {
    if (target.files[0]) load(target.files[0]);
    target.value = '';
  });
  $('train-example').addEventListener('click', () => guarded(panel, async () =>
    use(await (await ask('page/example.csv')).text(), 'example.csv')));
  $('train-clear').addEventListener('click', () => use('', ''));
  panel.addEventListener('dragover', (event) => {
    event.preventDefault();
    panel.classList.add('dropping');
  });
  panel.addEventListener('dragleave', () => panel.classList.remove('dropping'));
  panel.addEventListener('drop', (event) => {
    event.preventDefault();
    panel.classList.remove('dropping');
    if (event.dataTransfer.files[0]) load(event.dataTransfer.files[0]);
  });
}

export const show = () => Promise.all([check.now(), guarded(panel, job.resume)]);

async function load(file) {
  use(await file.text(), file.name);
}

function use(text, name) {
  const area = $('train-csv');
  large = text.length > EDITABLE ? text : null;
  area.readOnly = large !== null;
  area.value = large === null ? text : `${name}: ${count(text.length, 'character')}, too many to be edited here`;
  table.left.clear();
  check.now();
}

const csv = () => large ?? $('train-csv').value;

/** The tasks that are trained. */
function tasks() {
  const named = table.columns.filter(({ role }) => role === 'task').map(({ name }) => name);
  const byLabel = table.columns.some(({ role }) => role === 'label') && table.heads.has(table.labelTask);
  return [...named.filter((name) => !table.left.has(name)), ...(byLabel ? [table.labelTask] : [])];
}

const send = (options, signal) => json(`train?${new URLSearchParams({ task: tasks().join(','), ...options })}`,
  { method: 'POST', headers: { 'content-type': 'text/csv' }, body: csv(), signal });

/** Reads the rows and lets the server say what it would make of them. */
const check = latest(400, (signal) => guarded(panel, async () => {
  const { heads } = await get('heads', { signal });
  table.heads = new Map(heads.map((head) => [head.task, head]));
  const { header, rows } = parse(csv());
  Object.assign(table, { rows, columns: recognise(header, table.heads) });
  showColumns();
  if (header.length === 0) {
    $('train-preview').replaceChildren();
    say('');
    return;
  }
  const reasons = new Map();
  const draw = () => $('train-preview').replaceChildren(preview({ header, rows }, reasons));
  if (tasks().length === 0) {
    draw();
    say(`${count(rows.length, 'row')}; no column is a task yet.`);
    return;
  }
  try {
    const { examples, skipped } = await send({ dry_run: true, on_bad_row: 'skip' }, signal);
    for (const { line, detail } of skipped?.rows ?? []) reasons.set(line, detail);
    const bad = skipped ? `; ${count(skipped.count, 'row')} cannot be used, marked below` : '';
    say(`${count(examples, 'example')} for ${tasks().join(', ')}${bad}.`);
  } catch (problem) {
    if (problem.name === 'AbortError') return;
    mark(reasons, problem);
    say('');
    throw problem;
  } finally {
    if (!signal.aborted) draw();
  }
}, 'check'));

/** An error that names a line is told there as well. */
function mark(reasons, { position, detail }) {
  const line = Number(/line (\d+)/.exec(position)?.[1]);
  if (line > 1) reasons.set(line, detail);
}

function showColumns() {
  const on = {
    changed: () => check.now(),
    made: () => check.now(),
    chooseLabelTask: (name) => {
      table.labelTask = name;
      check.now();
    },
  };
  $('train-columns').replaceChildren(...(table.columns.length ? [columnList(panel, table, on)] : []));
}

const say = (text) => { $('train-check').textContent = text; };

async function submit() {
  showProblem(panel, null);
  const button = $('train-submit');
  button.disabled = true;
  const accepted = await guarded(panel, () => {
    if (!csv().trim()) throw new Error('there are no rows yet: paste some, choose a file or use the example');
    if (tasks().length === 0) throw new Error('no column is a task yet: see the columns above');
    const chosen = [...new FormData($('train-form'))].filter(([, value]) => typeof value === 'string' && value !== '');
    return send(Object.fromEntries(chosen));
  });
  button.disabled = false;
  if (!accepted) return;
  $('job').scrollIntoView({ block: 'start' });
  await job.watch(accepted.id);
}

// What the columns of a CSV are: the text, labels of tasks, weights, or nothing that is known yet.

import { put } from './api.js';
import { action, h } from './dom.js';
import { count } from './format.js';
import { guarded } from './problems.js';

/** Label names that are shown of a task with many. */
const MOST_NAMED = 6;

/**
 * @param {string[]} header
 * @param {Map<string, object>} heads the server's tasks by name
 * @returns {{name: string, role: 'text'|'weight'|'task'|'label'|'unknown'}[]}
 */
export function recognise(header, heads) {
  const hasTask = header.some((name) => heads.has(name));
  return header.map((name) => {
    if (name === 'text') return { name, role: 'text' };
    if (heads.has(name)) return { name, role: 'task' };
    if (name === 'weight') return { name, role: 'weight' };
    if (name === 'label' && !hasTask) return { name, role: 'label' };
    return { name, role: 'unknown' };
  });
}

/**
 * The columns as a list, in which tasks are chosen and made.
 * @param {{columns, rows, heads, left: Set<string>, labelTask: string}} table `left` are the tasks
 *   that are not to be trained, `labelTask` is the one that a column `label` is for
 * @param {{changed: () => void, made: () => Promise<void>, chooseLabelTask: (name: string) => void}} on
 */
export function columnList(panel, table, on) {
  const items = table.columns.map((column, index) => {
    const item = (...children) => h('li', { class: column.role === 'unknown' ? 'open' : undefined },
      h('code', {}, column.name || '(no name)'), ...children);
    switch (column.role) {
      case 'text': return item(note('the sentences'));
      case 'weight': return item(note('how often a row counts'));
      case 'task': return item(...known(table, column.name, on));
      case 'label': return item(...ofLabel(panel, table, index, on));
      default: return item(note('no task of this name; passed over'), ...making(panel, table, column.name, index, on));
    }
  });
  return h('ul', { class: 'columns-list', 'aria-label': 'Columns' }, ...items);
}

function known({ heads, left }, task, on) {
  const box = h('input', { type: 'checkbox', checked: !left.has(task) });
  box.addEventListener('change', () => {
    if (box.checked) left.delete(task);
    else left.add(task);
    on.changed();
  });
  return [h('label', {}, box, ' labels of this task'), note(about(heads.get(task)))];
}

function about({ labels, multi_label: several }) {
  const names = labels.slice(0, MOST_NAMED).join(', ') + (labels.length > MOST_NAMED ? ', …' : '');
  return `${count(labels.length, 'label')}: ${names}${several ? '; several or none a text' : ''}`;
}

function ofLabel(panel, table, index, on) {
  const { heads, labelTask } = table;
  const input = h('input', { value: labelTask, list: 'task-names', placeholder: 'topic', autocomplete: 'off', spellcheck: 'false' });
  input.addEventListener('change', () => on.chooseLabelTask(input.value.trim()));
  const names = h('datalist', { id: 'task-names' }, ...[...heads.keys()].map((name) => h('option', { value: name })));
  const field = h('span', { class: 'field inline' }, h('label', {}, 'labels of the task ', input), names);
  if (!labelTask) return [field];
  if (heads.has(labelTask)) return [field, note(about(heads.get(labelTask)))];
  return [field, note('there is no such task yet'), ...making(panel, table, labelTask, index, on)];
}

/** What makes a task of the labels in a column. */
function making(panel, { rows }, task, index, on) {
  const several = h('input', { type: 'checkbox', checked: rows.some(({ cells }) => cells[index]?.includes('|')) });
  const make = action(`Make task ${task}`, () => guarded(panel, async () => {
    await put(`heads/${encodeURIComponent(task)}`, {
      labels: labelsIn(rows, index, several.checked),
      multi_label: several.checked,
    });
    await on.made();
  }, 'check'), { class: 'small' });
  return [h('label', {}, several, ' several labels a text, with | between them'), make];
}

function labelsIn(rows, index, several) {
  const cells = rows.map(({ cells: row }) => row[index] ?? '');
  const labels = several ? cells.flatMap((cell) => cell.split('|').map((label) => label.trim())) : cells;
  return [...new Set(labels.filter(Boolean))];
}

const note = (text) => h('span', { class: 'fine' }, text);

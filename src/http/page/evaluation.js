// How good a head version is, and on which rows that was seen.

import { confusionMatrix } from './charts/confusion.js';
import { reliabilityDiagram } from './charts/reliability.js';
import { h, number, numberHead, scrollable, table } from './dom.js';
import { count, percent, score } from './format.js';

const SEEN = {
  held_out: 'rows that it was not fit on',
  cross_validation: 'training rows, each by a head that was fit without it',
  training: 'the very rows that it was fit on, for want of others: better than the truth',
};

export const seenOn = ({ on, rows }) => `Seen on ${count(rows, 'row')}: ${SEEN[on]}.`;

/** Everything there is: confusion, scores of each label, reliability. */
export function evaluationView(evaluation) {
  const { labels, confusion = [], reliability = [], calibration_error: error } = evaluation;
  return h('div', { class: 'results evaluation' },
    h('div', { class: 'stack' },
      h('figure', { class: 'chart' },
        h('figcaption', {}, h('h4', {}, 'Labels')),
        scrollable('Scores of each label', labelTable(labels))),
      confusion.length > 0 && confusionMatrix(labels.map(({ label }) => label), confusion)),
    reliability.length > 0 && reliabilityDiagram(reliability, error));
}

/** Two versions side by side; `before` may be missing. */
export function comparison(now, before) {
  const lines = [
    ['Accuracy', 'accuracy', percent],
    ['Macro F1', 'macro_f1', percent],
    ['Micro F1', 'micro_f1', percent],
    ['Loss', 'loss', score],
    ['Calibration error', 'calibration_error', percent],
    ['Rows it was seen on', 'rows', String],
  ].filter(([, name]) => now.evaluation?.[name] !== undefined);
  const value = (version, name, format) => {
    const found = version.evaluation?.[name];
    return number(found === undefined ? '–' : format(found));
  };
  const versions = before ? [now, before] : [now];
  const heads = ['Measure', ...versions.map((it) => numberHead(`version ${it.version}${it === before ? ', live before' : ''}`))];
  const rows = lines.map(([title, name, format]) => [title, ...versions.map((it) => value(it, name, format))]);
  return scrollable('Scores', table('Scores', heads, rows));
}

function labelTable(labels) {
  const decided = labels.some(({ threshold }) => threshold !== undefined);
  const heads = ['Label', ...['Precision', 'Recall', 'F1', 'Rows'].map(numberHead),
    ...(decided ? ['Threshold', 'Right', 'Missed', 'False alarms'].map(numberHead) : [])];
  const rows = labels.map(({ label, precision, recall, f1, support, threshold, confusion }) => [
    label,
    ...[percent(precision), percent(recall), percent(f1), `${support}`].map(number),
    ...(decided ? [score(threshold), `${confusion.tp}`, `${confusion.fn}`, `${confusion.fp}`].map(number) : []),
  ]);
  return table('Scores of each label', heads, rows);
}

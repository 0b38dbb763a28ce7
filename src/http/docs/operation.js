// One operation: what it takes, what it answers, and a form to try it.

import { h, scrollable, table } from './dom.js';
import { inline, prose } from './prose.js';
import { kind, schemaBlock } from './schema.js';
import { trial } from './trial.js';

/** A block that opens. What is in it is made when it does: most of them never do. */
export function operationBlock(api, { path, method, operation }) {
  const block = h('details', { id: operation.operationId, class: 'route' },
    h('summary', {},
      h('span', { class: 'method' }, method.toUpperCase()),
      h('code', {}, path),
      h('span', { class: 'says' }, ...inline(operation.summary ?? ''))));
  block.addEventListener('toggle', () => {
    if (block.open && !block.querySelector('.body')) block.append(body(api, path, method, operation));
  });
  return block;
}

function body(api, path, method, operation) {
  const { parameters = [], requestBody, responses } = operation;
  return h('div', { class: 'body' },
    ...prose(operation.description),
    scopeOf(operation),
    ...(parameters.length > 0 ? [h('h3', {}, 'Parameters'), parameterTable(parameters)] : []),
    ...(requestBody ? [h('h3', {}, 'Request'), ...content(api, requestBody.content)] : []),
    h('h3', {}, 'Answers'),
    ...Object.entries(responses).map(([status, answer]) => h('details', {},
      h('summary', {}, `${status} `, ...inline(answer.description)),
      h('div', { class: 'answer-status' },
        h('p', { class: 'hint' }, `Headers: ${Object.keys(answer.headers).join(', ')}`),
        ...content(api, answer.content)))),
    trial(path, method, operation));
}

function scopeOf({ security = [] }) {
  const scope = security.find(({ key }) => key)?.key[0];
  return scope && h('p', { class: 'hint' }, 'Where there are API keys, one with the scope ', h('code', {}, scope), '.');
}

const parameterTable = (parameters) => scrollable('Parameters', table('Parameters', ['Name', 'What it is', 'Meaning'],
  parameters.map((it) => [
    h('th', { scope: 'row' }, h('code', {}, it.name + (it.required ? '' : '?'))),
    `${it.in}: ${kind(it.schema)}`,
    h('td', {}, ...prose(it.description)),
  ])));

const content = (api, types = {}) => Object.entries(types).flatMap(([type, { schema, examples = {} }]) => [
  h('p', { class: 'hint' }, type),
  ...(schema ? schemaBlock(api, schema) : []),
  ...Object.values(examples).map(({ value }) =>
    h('pre', { tabindex: 0, role: 'region', 'aria-label': 'Example' }, pretty(value))),
]);

const pretty = (value) => (typeof value === 'string' ? value : JSON.stringify(value, null, 2));

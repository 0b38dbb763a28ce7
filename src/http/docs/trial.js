// A form that sends a request to this server, with the API key if there is one, and shows what comes back.

import { send } from './api.js';
import { action, h } from './dom.js';

/** The form for one operation. */
export function trial(path, method, operation) {
  const id = (part) => `${operation.operationId}-${part}`;
  const field = (name, label, input) => h('div', { class: 'field' }, h('label', { for: id(name) }, label), input);
  const inputs = (operation.parameters ?? []).map((parameter) => ({
    parameter, input: h('input', { id: id(`${parameter.in}-${parameter.name}`), autocomplete: 'off', spellcheck: 'false' }),
  }));
  const types = Object.entries(operation.requestBody?.content ?? {});
  const type = h('select', { id: id('type') }, ...types.map(([name]) => h('option', {}, name)));
  const body = h('textarea', { id: id('body'), rows: 8, spellcheck: 'false' });
  body.value = types.flatMap(([, { examples = {} }]) => Object.values(examples))
    .map(({ value }) => JSON.stringify(value, null, 2))[0] ?? '';
  const outcome = h('pre', { tabindex: 0, role: 'status', 'aria-label': 'Answer' });
  const button = action('Send', async () => {
    outcome.textContent = '…';
    const options = { method: method.toUpperCase(), headers: {} };
    if (types.length > 0 && body.value) {
      options.headers['content-type'] = type.value;
      options.body = body.value;
    }
    await show(outcome, addressed(path, inputs, options.headers), options);
  }, { class: 'primary' });
  return h('details', { class: 'trial' },
    h('summary', {}, 'Try it'),
    h('div', { class: 'stack' },
      ...inputs.map(({ parameter, input }) =>
        field(`${parameter.in}-${parameter.name}`, `${parameter.name} (${parameter.in})`, input)),
      types.length > 0 && field('type', 'Media type', type),
      types.length > 0 && field('body', 'Body', body),
      h('div', { class: 'row' }, button),
      outcome));
}

/** The path with its parameters filled in and the query behind it; headers go to `headers`. */
function addressed(path, inputs, headers) {
  const query = new URLSearchParams();
  let address = path.slice(1);
  for (const { parameter: { name, in: place }, input: { value } } of inputs) {
    if (place === 'path') address = address.replace(`{${name}}`, encodeURIComponent(value));
    else if (value && place === 'query') query.set(name, value);
    else if (value) headers[name] = value;
  }
  // Relative, as the page may lie below a prefix; the root needs a name.
  return (address || '.') + (query.size > 0 ? `?${query}` : '');
}

async function show(outcome, address, options) {
  try {
    const answer = await send(address, options);
    const type = answer.headers.get('content-type') ?? '';
    outcome.textContent = `${answer.status} ${answer.statusText}\n${type}\n\n`;
    if (/^(text|image\/svg)|json|openmetrics/.test(type)) await stream(outcome, answer, type);
    else outcome.append(`${(await answer.arrayBuffer()).byteLength} bytes`);
  } catch (problem) {
    outcome.textContent = `No answer: ${problem.message}`;
  }
}

/** Events are shown as they come. */
async function stream(outcome, answer, type) {
  if (type.includes('json')) {
    const text = await answer.text();
    outcome.append(text && JSON.stringify(JSON.parse(text), null, 2));
    return;
  }
  const decoder = new TextDecoder();
  for await (const piece of answer.body) outcome.append(decoder.decode(piece, { stream: true }));
}

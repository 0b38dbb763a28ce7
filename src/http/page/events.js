// A job's events, as server-sent events. By fetch: an EventSource cannot send the API key.

import { ask } from './api.js';

/** How often a stream that was cut off is taken up again, and after how long. */
const TRIES = 5;
const PAUSE = 1000;

/**
 * What happens to a job, until its end: `{name, data}`, as `GET /train/{id}/events` describes them.
 * @param {AbortSignal} signal
 */
export async function* events(id, signal) {
  let seen = '';
  for (let tries = 0; tries < TRIES; tries += 1) {
    const headers = seen ? { 'last-event-id': seen } : {};
    const answer = await ask(`train/${id}/events`, { headers, signal });
    if (answer.status === 204) return;
    for await (const event of parse(answer.body)) {
      tries = 0;
      seen = event.id ?? seen;
      yield { name: event.name, data: JSON.parse(event.data) };
      if (event.name === 'end') return;
    }
    await new Promise((resolve) => { setTimeout(resolve, PAUSE); });
  }
}

async function* parse(body) {
  let rest = '';
  for await (const piece of pieces(body)) {
    const blocks = (rest + piece).split('\n\n');
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split('\n').filter((line) => !line.startsWith(':'))
        .map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trimStart()]));
      if (fields.data !== undefined) yield { name: fields.event, id: fields.id, data: fields.data };
    }
  }
}

async function* pieces(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

// Requests to the server that served the page, and the errors that it answers with.

import { key } from './key.js';

/** What the server says when it does not answer as asked (RFC 9457). */
export class Problem extends Error {
  constructor({ status, code, detail, position }) {
    super(detail);
    Object.assign(this, { status, code, detail, position });
  }
}

export const get = (path, options) => json(path, options);

export const post = (path, body, options) => json(path, { ...options, ...asJson('POST', body) });

export const put = (path, body) => json(path, asJson('PUT', body));

export const remove = (path) => json(path, { method: 'DELETE' });

/** The answer as JSON, or null where it has no body. */
export async function json(path, options) {
  const answer = await ask(path, options);
  return answer.status === 204 ? null : answer.json();
}

/**
 * The answer, whatever its body is.
 * @throws {Problem} where it is none, or an error
 */
export async function ask(path, options) {
  const answer = await send(path, options);
  if (answer.ok) return answer;
  throw await problemOf(answer);
}

/**
 * The answer, whatever its status is.
 * @throws {Problem} where there is none
 */
export async function send(path, options = {}) {
  const headers = new Headers(options.headers);
  if (key()) headers.set('authorization', `Bearer ${key()}`);
  try {
    return await fetch(path, { ...options, headers });
  } catch (cause) {
    if (cause.name === 'AbortError') throw cause;
    throw new Problem({ detail: 'the server cannot be reached; is it still running?', code: 'unreachable' });
  }
}

/** Saves an answer as a file. Links cannot carry the key, hence not just a link. */
export async function download(path) {
  const answer = await ask(path);
  const name = /filename="([^"]+)"/.exec(answer.headers.get('content-disposition'))?.[1] ?? 'download';
  const url = URL.createObjectURL(await answer.blob());
  Object.assign(document.createElement('a'), { href: url, download: name }).click();
  URL.revokeObjectURL(url);
  return name;
}

async function problemOf(answer) {
  const text = await answer.text();
  try {
    return new Problem({ status: answer.status, ...JSON.parse(text) });
  } catch {
    const detail = text || `the server answered ${answer.status} ${answer.statusText}`;
    return new Problem({ status: answer.status, code: `http_${answer.status}`, detail });
  }
}

function asJson(method, body) {
  return { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

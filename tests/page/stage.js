// One program and one browser for all tests; a fresh page, as a new visitor has it, for each.

import assert from 'node:assert/strict';
import { existsSync, mkdirSync } from 'node:fs';
import { after, test } from 'node:test';
import { chromium } from 'playwright-core';

import { start } from './program.js';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** Nothing but the page may go to the network. */
const ARGUMENTS = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync'];

const FAILURES = 'target/page-failures';

if (!existsSync(CHROMIUM)) {
  console.error(`there is no Chromium at ${CHROMIUM}: install Debian's package chromium, or name another one in CHROMIUM`);
  process.exit(1);
}

export const program = await start();
// Its user data folder is a new, empty one, which is deleted with it.
const browser = await chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS });

/** Ends both. Tests need not say so. */
export async function closed() {
  await browser.close();
  await program.stop();
}

if (process.env.NODE_TEST_CONTEXT) after(closed);

/** A page of its own, and what it complained of. */
export async function visit(options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options });
  await context.addInitScript(() => {
    addEventListener('securitypolicyviolation', (event) => console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`));
  });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const complaints = [];
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) complaints.push(message.text());
  });
  page.on('pageerror', (error) => complaints.push(error.stack));
  page.on('request', (request) => {
    const url = new URL(request.url());
    if (url.origin !== program.url && url.protocol !== 'blob:') complaints.push(`a request left: ${url}`);
  });
  return { page, complaints, close: () => context.close() };
}

/**
 * A test in a page. It also fails where a request leaves the server, the policy of contents is violated, or
 * anything is said on the console; `refused` are the statuses of errors that the flow provokes.
 */
export function flow(name, body, { path = '/', refused = [], ...options } = {}) {
  test(name, async () => {
    const { page, complaints, close } = await visit(options);
    try {
      await page.goto(program.url + path);
      await body(page);
      const isProvoked = (text) => refused.some((status) => text.includes(`responded with a status of ${status}`));
      assert.deepEqual(complaints.filter((text) => !isProvoked(text)), []);
    } catch (error) {
      mkdirSync(FAILURES, { recursive: true });
      await page.screenshot({ path: `${FAILURES}/${name.replaceAll(/\W+/g, '_')}.png`, fullPage: true });
      throw error;
    } finally {
      await close();
    }
  });
}

/** Asks the server itself, for what a test needs to be there or to compare with. */
export async function ask(path, { method = 'GET', body, type = 'application/json' } = {}) {
  const headers = body === undefined ? {} : { 'content-type': type };
  const answer = await fetch(`${program.url}/${path}`, { method, headers, body: typeof body === 'object' ? JSON.stringify(body) : body });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${text}`);
  return text ? JSON.parse(text) : null;
}

/** Trains on CSV and waits for the end; with few epochs and a given penalty it is over at once. */
export async function trained(csv, options = {}) {
  const query = new URLSearchParams({ epochs: 5, l2: 0.1, promote: 'always', ...options });
  const { id } = await ask(`train?${query}`, { method: 'POST', type: 'text/csv', body: csv });
  for (;;) {
    const job = await ask(`train/${id}`);
    if (!['queued', 'running'].includes(job.state)) {
      assert.equal(job.state, 'succeeded', job.reason);
      return job;
    }
    await new Promise((next) => { setTimeout(next, 100); });
  }
}

/** Texts of all elements, without the space around them. */
export const texts = async (locator) => (await locator.allTextContents()).map((text) => text.trim());

/** A visible status that says what `pattern` says. */
export const says = (page, id, pattern) => page.locator(`#${id}`).filter({ hasText: pattern }).waitFor();

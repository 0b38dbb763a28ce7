// The page of the API: found, read, and requests tried from it.

import assert from 'node:assert/strict';

import { assertAccessible } from './axe.js';
import { ask, flow, says, texts, trained } from './stage.js';

const DOCS = { path: '/docs' };

/** The block of an operation, opened, with its form. */
async function opened(page, id) {
  const block = page.locator(`#${id}`);
  await block.locator('> summary').click();
  await block.getByText('Try it', { exact: true }).click();
  return block;
}

const answer = (block) => block.getByLabel('Answer', { exact: true });

flow('the page to try the server and that of the API lead to each other', async (page) => {
  await page.getByRole('link', { name: 'API', exact: true }).click();
  await page.getByRole('heading', { name: 'API', level: 1 }).waitFor();
  await page.getByRole('link', { name: 'Try it' }).click();
  await page.getByRole('heading', { name: 'Embed', level: 1 }).waitFor();
});

flow('every operation is there, and a search leaves those that have its words', async (page) => {
  const { paths } = await ask('openapi.json');
  const all = Object.values(paths).flatMap((item) => Object.keys(item)).length;
  await says(page, 'found', `${all} operations`);
  await page.getByLabel('Search routes').fill('WEIGHTS heads');
  await says(page, 'found', '2 operations');
  const shown = page.locator('.route:visible > summary > code');
  assert.deepEqual(await texts(shown), ['/heads/{task}/weights', '/heads/{task}/weights']);
  await page.getByLabel('Search routes').fill('nothing that there is');
  await says(page, 'found', '0 operations');
}, DOCS);

flow('an operation tells its fields, their limits and how it may refuse', async (page) => {
  await page.locator('#embed > summary').click();
  const fields = page.getByRole('table', { name: 'Fields of EmbedRequest' });
  const { limits } = await ask('info');
  await fields.getByRole('row', { name: 'dimensions?' }).getByText('at least 1').waitFor();
  await page.locator('#put_head > summary').click();
  const labels = page.getByRole('table', { name: 'Fields of Exactly one label a text' }).getByRole('row', { name: 'labels' });
  await labels.getByText(`items up to ${limits.labels_per_task}`).waitFor();
  await page.locator('#embed').getByText('422 Unprocessable Entity').click();
  await page.getByRole('table', { name: 'Fields of Problem' }).getByText('position?').waitFor();
}, DOCS);

flow('the address of an operation opens it', async (page) => {
  await page.locator('#classify[open] .body').waitFor();
}, { path: '/docs#classify' });

flow('a request is sent from the page, and its answer shown', async (page) => {
  const block = await opened(page, 'embed');
  await block.getByLabel('Body').fill('{"inputs": "A sentence.", "dimensions": 4}');
  await block.getByRole('button', { name: 'Send' }).click();
  await answer(block).getByText('200 OK').waitFor();
  const [, shown] = (await answer(block).innerText()).split('application/json');
  assert.deepEqual(JSON.parse(shown), await ask('embed', { method: 'POST', body: { inputs: 'A sentence.', dimensions: 4 } }));
}, DOCS);

flow('parameters go where they belong, and events are shown', async (page) => {
  const { id } = await trained('text,topic\nShares fell.,Finance\nA new film.,Entertainment\n');
  const block = await opened(page, 'watch_job');
  await block.getByLabel('id (path)').fill(id);
  await block.getByLabel('last-event-id (header)').fill('1');
  await block.getByRole('button', { name: 'Send' }).click();
  await answer(block).getByText('event: end').waitFor();
  assert.ok(!(await answer(block).innerText()).includes('id: 1\n'), 'the first epoch was seen already');
  const list = await opened(page, 'list_jobs');
  await list.getByLabel('limit (query)').fill('1');
  await list.getByRole('button', { name: 'Send' }).click();
  await answer(list).getByText(id).first().waitFor();
}, DOCS);

flow('what the server refuses is shown as it says it', async (page) => {
  const block = await opened(page, 'openai_embeddings');
  await block.getByLabel('Body').fill('{"input": "A sentence.", "model": "another"}');
  await block.getByRole('button', { name: 'Send' }).click();
  await answer(block).getByText('model_not_found').waitFor();
}, { ...DOCS, refused: [404] });

flow('the key goes with what is sent', async (page) => {
  await page.getByRole('button', { name: 'API key' }).click();
  await page.getByLabel('Sent with every request').fill('secret-key');
  await page.getByRole('button', { name: 'Use it' }).click();
  const block = await opened(page, 'list_heads');
  const sent = page.waitForRequest('**/heads');
  await block.getByRole('button', { name: 'Send' }).click();
  assert.equal((await sent).headers().authorization, 'Bearer secret-key');
}, DOCS);

flow('the page of the API is accessible in both schemes', async (page) => {
  await page.locator('#watch_job > summary').click();
  const block = await opened(page, 'classify');
  await block.getByText('200 One answer an input').click();
  await block.getByRole('button', { name: 'Send' }).click();
  await answer(block).getByText('application/').waitFor();
  await assertAccessible(page);
}, { ...DOCS, reducedMotion: 'reduce', refused: [409] });

flow('a phone shows the API without scrolling sideways', async (page) => {
  await opened(page, 'train');
  const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= window, `${content} px do not fit into ${window}`);
}, { ...DOCS, viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true });

flow('the page of the API is used by keyboard alone', async (page) => {
  await says(page, 'found', 'operations');
  await page.getByLabel('Search routes').focus();
  await page.keyboard.type('tells metrics');
  await says(page, 'found', '1 operation');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  const trial = page.locator('#metrics .trial > summary');
  await trial.waitFor();
  for (let presses = 0; presses < 20 && !(await trial.evaluate((it) => it === document.activeElement)); presses += 1) {
    await page.keyboard.press('Tab');
  }
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.locator('#metrics').getByText('# EOF').waitFor();
}, DOCS);

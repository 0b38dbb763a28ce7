// The API key: sent with every request, kept in this tab only.

import assert from 'node:assert/strict';

import { flow, program, says } from './stage.js';

flow('a key goes with every request to the server, the stream of events too', async (page) => {
  await says(page, 'embed-status', '8 sentences');
  await page.getByRole('button', { name: 'API key' }).click();
  await page.getByLabel('Sent with every request').fill('secret-key');
  await page.getByRole('button', { name: 'Use it' }).click();
  await page.getByRole('button', { name: 'API key: set' }).waitFor();
  const sent = new Map();
  page.on('request', (request) => {
    const path = new URL(request.url()).pathname.replace(/[0-9a-f-]{36}/, 'ID');
    if (!path.startsWith('/page/')) sent.set(path, request.headers().authorization);
  });
  await page.getByRole('tab', { name: 'Train' }).click();
  await page.getByRole('button', { name: 'Use an example' }).click();
  await says(page, 'train-check', '42 examples');
  await page.getByLabel('Epochs, at most').fill('3');
  await page.getByLabel('Penalty L2').fill('0.1');
  await page.getByLabel('Share held out').fill('0.3');
  await page.getByRole('button', { name: 'Train', exact: true }).click();
  await says(page, 'job-status', 'Succeeded');
  await page.getByRole('region', { name: 'Result of topic' }).waitFor();
  for (const path of ['/heads', '/train', '/train/ID/events', '/heads/topic']) {
    assert.equal(sent.get(path), 'Bearer secret-key', path);
  }
  assert.deepEqual(await page.evaluate(() => [JSON.stringify(localStorage).includes('secret'), document.cookie]), [false, '']);

  // Another tab knows nothing of it, and neither does this one once it is told so.
  const other = await page.context().newPage();
  await other.goto(program.url);
  await other.getByRole('button', { name: 'API key', exact: true }).waitFor();
  await page.getByRole('button', { name: 'API key: set' }).click();
  await page.getByRole('button', { name: 'Forget it' }).click();
  await page.getByRole('button', { name: 'API key', exact: true }).waitFor();
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);
});

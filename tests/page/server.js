// Server: figures of this very second.

import assert from 'node:assert/strict';

import { ask, flow } from './stage.js';

flow('throughput, latency and queue are those of the traffic', async (page) => {
  const tile = (name) => page.getByRole('article').filter({ has: page.getByRole('heading', { name }) });
  await tile('Throughput').waitFor();
  let traffic = true;
  const sending = (async () => {
    while (traffic) await ask('embed', { method: 'POST', body: { inputs: ['A sentence of some length that is embedded again and again.'] } });
  })();
  await tile('Throughput').getByText(/[1-9]\d* tokens\/s/).waitFor();
  await tile('Throughput').getByText(/[1-9]\d*\.\d requests\/s/).waitFor();
  await tile('Latency').getByText(/95 % within .*, last \d+ s/).waitFor();
  traffic = false;
  await sending;
  assert.match(await tile('Queue').innerText(), /\d+ tokens/);
  assert.match(await tile('Training').innerText(), /idle/);
}, { path: '/#server' });

flow('the models are shown with the precision and provider that really run', async (page) => {
  const [model] = (await ask('info')).models;
  const row = page.getByRole('table', { name: 'Models' }).getByRole('row', { name: 'minilm' });
  const text = await row.innerText();
  for (const fact of [model.precision, model.provider, `${model.dimensions}`, model.fused ?? model.not_fused]) {
    assert.ok(text.includes(fact), `${fact} in ${text}`);
  }
}, { path: '/#server' });

flow('the server is asked only while its figures are seen', async (page) => {
  await page.getByRole('heading', { name: 'Throughput' }).waitFor();
  await page.waitForRequest('**/metrics');
  await page.getByRole('tab', { name: 'Embed' }).click();
  let asked = 0;
  page.on('request', (request) => { asked += request.url().endsWith('/metrics') ? 1 : 0; });
  // Longer than between two looks.
  await page.waitForTimeout(2500);
  assert.equal(asked, 0);
  await page.getByRole('tab', { name: 'Server' }).click();
  await page.waitForRequest('**/metrics');
}, { path: '/#server' });

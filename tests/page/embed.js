// Embed: the numbers shown are the server's.

import assert from 'node:assert/strict';

import { ask, flow, says, texts } from './stage.js';

const cosine = (a, b) => a.reduce((sum, value, i) => sum + value * b[i], 0);

flow('sentences are shown with their cosines and on a map', async (page) => {
  await says(page, 'embed-status', '8 sentences, 384 dimensions');
  const sentences = (await page.getByLabel('Sentences, one a line').inputValue()).split('\n');
  const vectors = await ask('embed', { method: 'POST', body: { inputs: sentences } });
  const table = page.getByRole('table', { name: 'Cosine similarity' });
  const shown = (await texts(table.locator('td'))).map((cell) => Number(cell.replace('−', '-')));
  const expected = vectors.flatMap((a) => vectors.map((b) => cosine(a, b)));
  assert.equal(shown.length, 64);
  // Two digits are shown.
  shown.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) <= 0.0051, `${value} is not ${expected[i]}`));
  // What is alike lies together: of each sentence of the first three, the nearest is one of them.
  const description = await page.locator('#map svg').getAttribute('aria-label');
  const nearest = [...description.matchAll(/(\d) [^(;]*\(nearest: (\d)\)/g)].map(([, , near]) => Number(near));
  assert.ok(nearest.slice(0, 3).every((near) => near <= 3), description);
  assert.equal(await page.locator('#map circle').count(), 8);
});

flow('the map follows as one types', async (page) => {
  await says(page, 'embed-status', '8 sentences');
  const area = page.getByLabel('Sentences, one a line');
  await area.fill('');
  await says(page, 'embed-status', 'Type a sentence');
  await area.pressSequentially('A cat sleeps.\nA kitten naps.\nThe court has ruled.');
  await says(page, 'embed-status', '3 sentences');
  assert.deepEqual(await texts(page.locator('#map text.point-label')), ['1 A cat sleeps.', '2 A kitten naps.', '3 The court has ruled.']);
});

flow('what a person types is never taken for markup', async (page) => {
  const attack = '<img src=x onerror=alert(1)> & "quotes"';
  await page.getByLabel('Sentences, one a line').fill(`${attack}\nanother`);
  await says(page, 'embed-status', '2 sentences');
  assert.equal(await page.locator('#similarity tbody th .text').first().innerText(), attack);
  assert.equal(await page.locator('#embed-result img').count(), 0);
});

flow("the server's refusal is shown with its reason, position and code", async (page) => {
  await says(page, 'embed-status', '8 sentences');
  // A model that went away since the page was loaded.
  await page.locator('#embed-model').evaluate((select) => select.append(new Option('gone', 'gone')));
  await page.locator('#embed-model').selectOption('gone');
  const alert = page.getByRole('alert');
  await alert.waitFor();
  assert.match(await alert.innerText(), /There is no model "gone"; models: minilm\./);
  assert.match(await alert.innerText(), /at model · unknown_model/);
  await page.locator('#embed-model').selectOption('minilm');
  await alert.waitFor({ state: 'detached' });
}, { refused: [404] });

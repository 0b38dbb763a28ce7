// Classify: what the heads say, as it is typed.

import assert from 'node:assert/strict';

import { ask, flow, says, texts, trained } from './stage.js';

const TOPICS = `text,topic,sentiment
Shares fell after the report.,Finance,Negative
The bank cut its rates.,Finance,Positive
The film was a masterpiece.,Entertainment,Positive
The concert was dull.,Entertainment,Negative
The new phone is fast.,Technology,Positive
The update broke the laptop.,Technology,Negative
`;

const TAGS = `text,tags
My card was charged twice; I need the money today!,billing|urgent
Nobody here can log in; please hurry!,outage|urgent
The invoice shows the wrong amount.,billing
The site was slow last week.,outage
Thank you for the friendly service.,|
`;

const card = (page, task) => page.getByRole('article').filter({ has: page.getByRole('heading', { name: task }) });

const numbers = async (locator) => (await texts(locator)).map(Number);

/** Asserts that a card shows what the server answers. */
async function assertShown(page, task, prediction) {
  const shown = card(page, task);
  const { scores, version } = prediction;
  assert.equal(await shown.locator('.tag').innerText(), `version ${version}`);
  assert.deepEqual(await texts(shown.locator('.label')), scores.map(({ label }) => label));
  const values = await numbers(shown.locator('.value'));
  values.forEach((value, i) => assert.ok(Math.abs(value - scores[i].score) < 0.002, `${value} is not ${scores[i].score}`));
}

async function asked(inputs, more = {}) {
  const answer = await ask('classify', { method: 'POST', body: { inputs, ...more } });
  return answer.results[0];
}

flow('bars show what each head says of the sentence, and which version', async (page) => {
  await trained(TOPICS);
  await page.getByRole('tab', { name: 'Classify' }).click();
  const area = page.getByLabel('Sentence', { exact: true });
  await area.fill('');
  await area.pressSequentially('The orchestra played beautifully tonight.');
  const expected = await asked('The orchestra played beautifully tonight.');
  await says(page, 'classify-status', `topic: ${expected.topic.label} ${expected.topic.score.toFixed(3)}`);
  assert.equal(await card(page, 'topic').locator('.answer').innerText(), expected.topic.label);
  await assertShown(page, 'topic', expected.topic);
  await assertShown(page, 'sentiment', expected.sentiment);
});

flow('an answer that comes late does not replace a later one', async (page) => {
  await card(page, 'topic').waitFor();
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  await page.route('**/classify', async (route) => {
    if (route.request().postData().includes('guitar')) await held;
    // The page may have given the request up.
    await route.continue().catch(() => {});
  });
  const area = page.getByLabel('Sentence', { exact: true });
  const first = page.waitForRequest((request) => request.url().endsWith('/classify') && request.postData().includes('guitar'));
  await area.fill('A guitar solo.');
  await first;
  await area.fill('The stock exchange closed early.');
  const expected = await asked('The stock exchange closed early.');
  await says(page, 'classify-status', expected.topic.score.toFixed(3));
  release();
  await page.unrouteAll({ behavior: 'wait' });
  await assertShown(page, 'topic', expected.topic);
}, { path: '/#classify' });

flow('a task with several labels a text shows all that apply, and their thresholds', async (page) => {
  await ask('heads/tags', { method: 'PUT', body: { labels: ['billing', 'outage', 'urgent'], multi_label: true } });
  await trained(TAGS);
  await page.getByLabel('Sentence', { exact: true }).fill('There is a mistake in my bill, I want a refund at once.');
  const { tags } = await asked('There is a mistake in my bill, I want a refund at once.');
  await card(page, 'tags').filter({ hasText: tags.scores[0].score.toFixed(3) }).waitFor();
  assert.equal(await card(page, 'tags').locator('.answer').innerText(), tags.labels.join(', '));
  await assertShown(page, 'tags', tags);
  assert.equal(await card(page, 'tags').locator('.threshold').count(), 3);
  await ask('heads/tags', { method: 'DELETE' });
}, { path: '/#classify' });

flow('labels of one\'s own classify without training', async (page) => {
  await page.getByLabel('labels of your own, without training').check();
  await page.getByLabel('Labels, with commas between them').fill('cooking, football, law');
  await page.getByLabel('Sentence', { exact: true }).fill('The striker scored twice.');
  const more = { labels: ['cooking', 'football', 'law'], template: 'This text is about {}.' };
  const expected = (await asked('The striker scored twice.', more))['zero shot'];
  await says(page, 'classify-status', `football ${expected.score.toFixed(3)}`);
  assert.equal(await card(page, 'zero shot').locator('.tag').innerText(), 'by similarity');
  assert.deepEqual(await texts(card(page, 'zero shot').locator('.label')), expected.scores.map(({ label }) => label));
  await page.getByLabel('Labels, with commas between them').fill('law, law');
  await page.getByRole('alert').filter({ hasText: 'labels[1]' }).waitFor();
}, { path: '/#classify', refused: [422] });

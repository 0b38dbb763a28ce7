// Train: from pasted rows to a live version, and back.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';

import { ask, flow, says, texts } from './stage.js';

const PARTLY_BAD = `text,topic
Shares fell after the report.,Finance
The film was a masterpiece.,Entertainment
,Finance
The new phone is fast.,Gadgets
"The bank, of all firms, failed.",Finance
The concert was dull.,Entertainment
too,many,cells
The update broke the laptop.,Technology
The chip is fast.,Technology
`;

const area = (page) => page.getByLabel('CSV: a column text');
const train = (page) => page.getByRole('button', { name: 'Train', exact: true });

/** Fast: few epochs, no search for the strength of the penalty and, of many rows, no cross-validation. */
async function options(page, { epochs = '6', heldOut = '' } = {}) {
  await page.getByLabel('Epochs, at most').fill(epochs);
  await page.getByLabel('Penalty L2').fill('0.1');
  await page.getByLabel('Share held out').fill(heldOut);
}

const result = (page, task) => page.getByRole('region', { name: `Result of ${task}` });

flow('columns are recognised, and bad rows are marked with the reasons of the server', async (page) => {
  const { jobs: before } = await ask('train');
  await area(page).fill(PARTLY_BAD);
  await says(page, 'train-check', '6 examples for topic; 3 rows cannot be used');
  const columns = page.getByRole('list', { name: 'Columns' });
  assert.match(await columns.innerText(), /text\s+the sentences/);
  assert.match(await columns.innerText(), /topic\s+labels of this task\s+3 labels: Finance, Entertainment, Technology/);
  const bad = page.locator('tr.bad');
  assert.deepEqual(await texts(bad.locator('th')), ['4', '5', '8']);
  const reasons = await texts(bad.locator('.reason'));
  assert.match(reasons[0], /a text is empty/);
  assert.match(reasons[1], /no label "Gadgets"|"Gadgets"/);
  assert.match(reasons[2], /3 fields, but the header has 2/);
  // A quoted comma is no separator.
  await page.getByRole('cell', { name: 'The bank, of all firms, failed.' }).waitFor();
  assert.deepEqual((await ask('train')).jobs, before, 'a look trains nothing');
}, { path: '/#train' });

flow('rows that are refused are said with their line; skipped, the others train', async (page) => {
  await area(page).fill(PARTLY_BAD);
  await says(page, 'train-check', '3 rows cannot be used');
  await options(page);
  await train(page).click();
  const alert = page.getByRole('alert');
  await alert.waitFor();
  assert.match(await alert.innerText(), /A text is empty.*\n+at line 4/);
  await page.getByLabel('Rows that cannot be used').selectOption('skip');
  await page.getByLabel('Goes live').selectOption('always');
  await train(page).click();
  await says(page, 'job-status', /Succeeded after .*distinct texts/);
  await alert.waitFor({ state: 'detached' });
}, { path: '/#train', refused: [422] });

flow('a job shows its curves as it learns, then how good the version is', async (page) => {
  await page.getByRole('button', { name: 'Use an example' }).click();
  await says(page, 'train-check', '42 examples for topic, sentiment.');
  await options(page, { epochs: '30', heldOut: '0.5' });
  await page.getByLabel('Earlier examples').selectOption('replace');
  await page.getByLabel('Goes live').selectOption('always');
  await train(page).click();
  await says(page, 'job-status', /Succeeded after .*42 distinct texts/);
  await result(page, 'topic').getByText('is live').waitFor();

  const { jobs } = await ask('train?limit=1');
  const job = await ask(`train/${jobs[0].id}`);
  assert.equal(jobs[0].spec.mode, 'replace');
  const { topic } = job.epochs.at(-1).tasks;
  const curve = page.getByRole('img', { name: /^topic: loss by epoch/ });
  const said = await curve.getAttribute('aria-label');
  assert.ok(said.includes(`training ${topic.train.loss.toFixed(3)}, held out ${topic.validation.loss.toFixed(3)}`), said);
  const points = (await curve.locator('polyline.train').getAttribute('points')).split(' ');
  assert.equal(points.length, job.epochs.length);

  const { evaluation, version } = job.result.tasks.topic;
  const home = result(page, 'topic');
  await home.getByText(`version ${version} is live`).waitFor();
  const confusion = home.getByRole('table', { name: 'Confusion matrix' });
  assert.deepEqual((await texts(confusion.locator('td'))).map(Number), evaluation.confusion.flat());
  const labels = home.getByRole('table', { name: 'Scores of each label' });
  for (const { label, recall, support } of evaluation.labels) {
    const row = labels.getByRole('row', { name: label });
    assert.ok((await row.innerText()).includes(`${(100 * recall).toFixed(1)} %`), label);
    assert.match(await row.innerText(), new RegExp(`${support}$`));
  }
  await home.getByText('As a table').click();
  const reliability = home.getByRole('table', { name: 'Reliability' });
  const answers = (await texts(reliability.locator('tbody td:last-child'))).map(Number);
  assert.equal(answers.reduce((a, b) => a + b, 0), evaluation.rows, 'every answer is in a bin');
  assert.equal(await home.locator('.reliability circle').count(), evaluation.reliability.length);
}, { path: '/#train' });

flow('a version is compared with the live one, made live, rolled back and downloaded', async (page) => {
  const { version: before } = await ask('heads/topic');
  await page.getByRole('button', { name: 'Use an example' }).click();
  await says(page, 'train-check', '42 examples');
  await options(page, { heldOut: '0.3' });
  await page.locator('#train-columns li').filter({ hasText: 'sentiment' }).getByRole('checkbox').uncheck();
  await says(page, 'train-check', '42 examples for topic.');
  await page.getByLabel('Goes live').selectOption('never');
  await train(page).click();
  const home = result(page, 'topic');
  await home.getByText('is not live').waitFor();
  assert.equal(await result(page, 'sentiment').count(), 0);
  const scores = home.getByRole('table', { name: 'Scores', exact: true });
  assert.match(await scores.getByRole('row').first().innerText(), new RegExp(`version ${before}, live before`));

  const made = Number(/version (\d+) is not live/.exec(await home.innerText())[1]);
  await home.getByRole('button', { name: `Make version ${made} live` }).click();
  await home.getByText(`version ${made} is live`).waitFor();
  assert.equal((await ask('heads/topic')).version, made);
  await home.getByRole('button', { name: `Roll back to version ${before}` }).click();
  await home.getByText(`version ${made} is not live`).waitFor();
  assert.equal((await ask('heads/topic')).version, before);

  const downloaded = page.waitForEvent('download');
  await home.getByRole('button', { name: 'Download weights' }).click();
  const download = await downloaded;
  assert.equal(download.suggestedFilename(), `topic-${made}.safetensors`);
  const bytes = readFileSync(await download.path());
  const header = JSON.parse(bytes.subarray(8, 8 + Number(bytes.readBigUInt64LE())));
  assert.deepEqual(header.weight.shape, [3, 384]);
}, { path: '/#train' });

flow('a running job tells its progress and is cancelled', async (page) => {
  await page.getByRole('button', { name: 'Use an example' }).click();
  await says(page, 'train-check', '42 examples');
  await page.getByLabel('Solver').selectOption('adam');
  await page.getByLabel('Epochs, at most').fill('10000');
  await train(page).click();
  await says(page, 'job-status', /Fitting heads: \d+ of 10000, about .* left/);
  assert.equal(await page.getByRole('progressbar').getAttribute('max'), '10000');
  await page.getByRole('button', { name: 'Cancel' }).click();
  await says(page, 'job-status', 'Cancelled after');
}, { path: '/#train' });

flow('a visitor who comes back finds the job that runs', async (page) => {
  const body = 'text,topic\nShares fell.,Finance\nThe film was good.,Entertainment\n';
  const { id } = await ask('train?solver=adam&epochs=10000&task=topic', { method: 'POST', type: 'text/csv', body });
  while ((await ask(`train/${id}`)).state === 'queued') await page.waitForTimeout(50);
  await page.reload();
  await says(page, 'job-status', /Fitting heads: \d+ of 10000/);
  await page.getByRole('button', { name: 'Cancel' }).click();
  await says(page, 'job-status', 'Cancelled after');
  assert.equal((await ask(`train/${id}`)).state, 'cancelled');
}, { path: '/#train' });

flow('a file is dropped, or chosen', async (page) => {
  const rows = 'text,topic\nShares fell.,Finance\nThe film was good.,Entertainment\n';
  const data = await page.evaluateHandle((text) => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([text], 'rows.csv', { type: 'text/csv' }));
    return transfer;
  }, rows);
  await area(page).dispatchEvent('drop', { dataTransfer: data });
  await says(page, 'train-check', '2 examples for topic.');
  await page.getByRole('button', { name: 'Clear' }).click();
  await page.locator('#train-preview:empty').waitFor({ state: 'attached' });
  assert.equal(await area(page).inputValue(), '');
  await page.getByLabel('Choose a file').setInputFiles({ name: 'rows.csv', mimeType: 'text/csv', buffer: Buffer.from(`${rows}The chip is fast.,Technology\n`) });
  await says(page, 'train-check', '3 examples for topic.');
}, { path: '/#train' });

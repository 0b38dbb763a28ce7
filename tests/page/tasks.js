// Tasks that do not exist yet are made of the columns that would teach them.

import assert from 'node:assert/strict';

import { ask, flow, says } from './stage.js';

const area = (page) => page.getByLabel('CSV: a column text');

flow('a column without a task becomes one', async (page) => {
  await area(page).fill('text,priority\nThe house burns.,high\nA typo on page three.,low\nNobody can log in.,high\n');
  await says(page, 'train-check', 'no column is a task yet');
  await page.getByText('no task of this name; passed over').waitFor();
  await page.getByRole('button', { name: 'Make task priority' }).click();
  await says(page, 'train-check', '3 examples for priority.');
  assert.deepEqual((await ask('heads/priority')).labels, ['high', 'low']);
  await ask('heads/priority', { method: 'DELETE' });
}, { path: '/#train' });

flow('a column with several labels a cell becomes a multi-label task', async (page) => {
  await area(page).fill('text,kinds\nA and b.,a|b\nOnly b.,b\nNeither.,|\n');
  await page.getByRole('button', { name: 'Make task kinds' }).click();
  await says(page, 'train-check', '3 examples for kinds.');
  const made = await ask('heads/kinds');
  assert.deepEqual([made.labels, made.multi_label], [['a', 'b'], true]);
  await page.getByLabel('Epochs, at most').fill('5');
  await page.getByLabel('Penalty L2').fill('0.1');
  await page.getByRole('button', { name: 'Train', exact: true }).click();
  await says(page, 'job-status', 'Succeeded');
  const labels = page.getByRole('table', { name: 'Scores of each label' });
  await labels.getByRole('columnheader', { name: 'Threshold' }).waitFor();
  await ask('heads/kinds', { method: 'DELETE' });
}, { path: '/#train' });

flow('a column called label is for the task that one names', async (page) => {
  await area(page).fill('text,label\nBuy now!,spam\nSee you at noon.,ham\n');
  const name = page.getByLabel('labels of the task');
  await name.fill('mail');
  await name.press('Tab');
  await page.getByRole('button', { name: 'Make task mail' }).click();
  await says(page, 'train-check', '2 examples for mail.');
  await ask('heads/mail', { method: 'DELETE' });
}, { path: '/#train' });

flow('a task that cannot be made is refused in words', async (page) => {
  await area(page).fill('text,one label\nBuy now!,spam\nBuy more!,spam\n');
  await page.getByRole('button', { name: 'Make task one label' }).click();
  await page.getByRole('alert').filter({ hasText: 'invalid_task' }).waitFor();
}, { path: '/#train', refused: [422] });

// What a first visitor finds, before anything was trained.

import assert from 'node:assert/strict';

import { flow } from './stage.js';

flow('a server that nobody has trained says so and leads to training', async (page) => {
  await page.getByRole('tab', { name: 'Classify' }).click();
  await page.getByText('No head of this model has been trained yet').waitFor();
  await page.getByRole('button', { name: 'Train a head' }).click();
  assert.equal(await page.getByRole('heading', { level: 1 }).innerText(), 'Train');
  assert.ok(page.url().endsWith('#train'));
});

flow('training without rows says what is missing', async (page) => {
  await page.getByRole('button', { name: 'Train', exact: true }).click();
  assert.match(await page.getByRole('alert').innerText(), /There are no rows yet/);
}, { path: '/#train' });

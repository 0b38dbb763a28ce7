// Heads and jobs: what there is, where it comes from, and what may be done with it.

import assert from 'node:assert/strict';

import { ask, flow, says, texts, trained } from './stage.js';

const ROWS = `text,pets
The cat purrs.,cat
A kitten sleeps.,cat
The dog barks.,dog
A puppy plays.,dog
`;

const home = (page) => page.getByRole('region', { name: 'Task pets' });

async function withVersions(count) {
  await ask('heads/pets', { method: 'PUT', body: { labels: ['cat', 'dog'] } });
  for (let version = 0; version < count; version += 1) await trained(ROWS);
}

flow('versions are listed with their lineage, and one is live', async (page) => {
  await withVersions(3);
  await page.getByRole('tab', { name: 'Heads' }).click();
  await home(page).getByText('Lineage of the live version: 3 ← 2 ← 1').waitFor();
  const rows = home(page).locator('tbody tr');
  assert.deepEqual(await texts(rows.locator('th')), ['3 live', '2', '1']);
  assert.deepEqual(await texts(rows.locator('td:nth-child(2)')), ['version 2', 'version 1', '–']);
  await home(page).getByRole('button', { name: 'Evaluation of version 2' }).click();
  await home(page).getByRole('table', { name: 'Confusion matrix' }).waitFor();
  await home(page).getByText('Seen on 4 rows: the very rows').waitFor();
});

flow('a version is made live and rolled back', async (page) => {
  await home(page).getByRole('button', { name: 'Make live version 1 of pets' }).click();
  await says(page, 'heads-status', 'Version 1 of pets is live.');
  assert.equal((await ask('heads/pets')).version, 1);
  assert.deepEqual(await texts(home(page).locator('tr.live th')), ['1 live']);
  await home(page).getByRole('button', { name: 'Roll back pets' }).click();
  await says(page, 'heads-status', 'pets is rolled back.');
  assert.equal((await ask('heads/pets')).version, 3);
  const downloaded = page.waitForEvent('download');
  await home(page).getByRole('button', { name: 'Weights of version 2' }).click();
  assert.equal((await downloaded).suggestedFilename(), 'pets-2.safetensors');
}, { path: '/#heads' });

flow('a task is deleted only if that is meant', async (page) => {
  await home(page).getByRole('button', { name: 'Delete task pets' }).click();
  await page.getByRole('dialog', { name: 'Delete pets?' }).getByRole('button', { name: 'Keep it' }).click();
  assert.equal((await ask('heads/pets')).task, 'pets');
  await home(page).getByRole('button', { name: 'Delete task pets' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete pets' }).click();
  await says(page, 'heads-status', 'pets is deleted.');
  assert.equal(await home(page).count(), 0);
  assert.ok(!(await ask('heads')).heads.some(({ task }) => task === 'pets'));
  // Of the configuration's tasks the server says why not.
  await page.getByRole('button', { name: 'Delete task topic' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Delete topic' }).click();
  await page.getByRole('alert').filter({ hasText: 'declared in the configuration' }).waitFor();
}, { path: '/#heads', refused: [409] });

flow('a running job is seen, shown and cancelled; past ones are kept', async (page) => {
  const body = 'text,topic\nShares fell.,Finance\nThe film was good.,Entertainment\n';
  const { id } = await ask('train?solver=adam&epochs=10000&task=topic', { method: 'POST', type: 'text/csv', body });
  await page.getByRole('tab', { name: 'Heads' }).click();
  const row = page.getByRole('region', { name: 'Jobs' }).last().locator('tbody tr').first();
  await row.getByText('running').waitFor();
  await row.getByRole('button', { name: /^Cancel/ }).click();
  // Without another look by hand.
  await row.getByText('cancelled').waitFor();
  assert.equal((await ask(`train/${id}`)).state, 'cancelled');
  await row.getByRole('button', { name: /^Show/ }).click();
  await says(page, 'job-status', 'Cancelled after');
  assert.ok(page.url().endsWith('#train'));
});

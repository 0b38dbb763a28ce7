// Every tab, filled, is accessible.

import { assertAccessible } from './axe.js';
import { flow, says } from './stage.js';

const FILLED = {
  embed: (page) => says(page, 'embed-status', '8 sentences'),
  classify: (page) => says(page, 'classify-status', 'topic:'),
  async train(page) {
    await page.getByRole('button', { name: 'Use an example' }).click();
    await page.getByLabel('CSV: a column text').press('Control+End');
    await page.keyboard.type('A row that is bad.,Sport,Positive\n');
    await says(page, 'train-check', '1 row cannot be used');
    await page.getByLabel('Rows that cannot be used').selectOption('skip');
    await page.getByLabel('Epochs, at most').fill('3');
    await page.getByLabel('Penalty L2').fill('0.1');
    await page.getByLabel('Share held out').fill('0.3');
    await page.getByRole('button', { name: 'Train', exact: true }).click();
    await page.getByRole('region', { name: 'Result of topic' }).waitFor();
  },
  async heads(page) {
    await page.getByRole('button', { name: /^Evaluation of version/ }).first().click();
    await page.getByRole('table', { name: 'Confusion matrix' }).waitFor();
  },
  async server(page) {
    await page.getByRole('heading', { name: 'Throughput' }).waitFor();
    await page.getByRole('table', { name: 'Models' }).waitFor();
  },
};

for (const [name, fill] of Object.entries(FILLED)) {
  flow(`${name} is accessible in both schemes`, async (page) => {
    await fill(page);
    await assertAccessible(page);
  }, { path: `/#${name}`, reducedMotion: 'reduce' });
}

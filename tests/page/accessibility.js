// axe-core on every tab, filled, in both schemes: nothing serious, nothing critical.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

import { flow, says } from './stage.js';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

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
    await page.evaluate(AXE);
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      const { violations, passes } = await page.evaluate(() => globalThis.axe.run());
      assert.ok(passes.some(({ id }) => id === 'color-contrast'), 'contrast was looked at');
      const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
      const told = serious.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}\n${failureSummary}`));
      assert.deepEqual(told, [], colorScheme);
    }
  }, { path: `/#${name}`, reducedMotion: 'reduce' });
}

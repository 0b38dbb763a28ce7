// axe-core on a page as it is: nothing serious, nothing critical, in either scheme.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export async function assertAccessible(page) {
  await page.evaluate(AXE);
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    const { violations, passes } = await page.evaluate(() => globalThis.axe.run());
    assert.ok(passes.some(({ id }) => id === 'color-contrast'), 'contrast was looked at');
    const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
    const told = serious.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}\n${failureSummary}`));
    assert.deepEqual(told, [], colorScheme);
  }
}

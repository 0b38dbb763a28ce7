// Takes the pictures in docs/screenshots: each tab, filled, in both schemes and on a phone.

import { mkdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { ask, closed, program, says, trained, visit } from './stage.js';

const FOLDER = fileURLToPath(new URL('../../docs/screenshots/', import.meta.url));

const LOOKS = {
  light: { colorScheme: 'light' },
  dark: { colorScheme: 'dark' },
  phone: { colorScheme: 'light', viewport: { width: 360, height: 740 } },
};

/** Pixels of a page that is longer. */
const TALLEST = 1500;

const SHOTS = {
  embed: (page) => says(page, 'embed-status', '8 sentences'),
  classify: (page) => says(page, 'classify-status', 'topic:'),
  async train(page) {
    await page.getByRole('button', { name: 'Use an example' }).click();
    await says(page, 'train-check', '42 examples');
  },
  async heads(page) {
    await page.getByRole('button', { name: /^Evaluation of version/ }).last().click();
    await page.getByRole('table', { name: 'Confusion matrix' }).waitFor();
  },
  async server(page) {
    await page.getByRole('heading', { name: 'Throughput' }).waitFor();
    // A course to be seen.
    await page.waitForTimeout(20_000);
  },
};

async function take(name, look, path, fill, from) {
  const { page, complaints, close } = await visit({ reducedMotion: 'reduce', ...LOOKS[look] });
  await page.goto(program.url + path);
  await fill(page);
  if (complaints.length > 0) throw new Error(complaints.join('\n'));
  const top = from ? Math.max(0, (await page.locator(from).boundingBox()).y - 24) : 0;
  const { width, height } = await page.evaluate(() => ({ width: innerWidth, height: document.documentElement.scrollHeight }));
  const clip = { x: 0, y: top, width, height: Math.min(TALLEST, height - top) };
  await page.screenshot({ path: `${FOLDER}${name}-${look}.png`, fullPage: true, clip });
  await close();
}

mkdirSync(FOLDER, { recursive: true });
const example = await (await fetch(`${program.url}/page/example.csv`)).text();
await trained(example, { epochs: 40, validation: 0.5 });
// From the beginning, so that there is something to be learnt.
await trained(example, { solver: 'adam', mode: 'replace', epochs: 40, validation: 0.5 });

let traffic = true;
const sending = (async () => {
  for (let number = 0; traffic; number += 1) {
    await ask('embed', { method: 'POST', body: { inputs: [`Sentence ${number} of those that make the server busy.`] } });
    await new Promise((next) => { setTimeout(next, 20 + 15 * (number % 7)); });
  }
})();
for (const look of Object.keys(LOOKS)) {
  for (const [name, fill] of Object.entries(SHOTS)) await take(name, look, `/#${name}`, fill);
  await take('train-result', look, '/#heads', async (page) => {
    await page.getByRole('button', { name: /^Show/ }).first().click();
    await page.getByRole('region', { name: 'Result of topic' }).waitFor();
    await page.waitForTimeout(300);
    await page.evaluate(() => scrollTo(0, 0));
  }, '#job');
}
traffic = false;
await sending;
await closed();

// Light and dark, on a phone, and for those who want no motion.

import assert from 'node:assert/strict';

import { flow, says } from './stage.js';

const TABS = ['embed', 'classify', 'train', 'heads', 'server'];

const paper = (page) => page.evaluate(() => getComputedStyle(document.body).backgroundColor);

flow('the scheme is the one of the system until the switch says otherwise, and stays so', async (page) => {
  const light = await paper(page);
  await page.emulateMedia({ colorScheme: 'dark' });
  const dark = await paper(page);
  assert.notEqual(light, dark);
  await page.getByRole('button', { name: 'Change to the light scheme' }).click();
  assert.equal(await paper(page), light);
  await page.reload();
  assert.equal(await paper(page), light);
  await page.getByRole('button', { name: 'Change to the dark scheme' }).click();
  assert.equal(await paper(page), dark);
});

for (const name of TABS) {
  flow(`a phone shows ${name} without scrolling sideways`, async (page) => {
    await page.locator(`#${name} h1`).waitFor();
    if (name === 'embed') await says(page, 'embed-status', '8 sentences');
    if (name === 'classify') await says(page, 'classify-status', 'topic:');
    if (name === 'train') {
      await page.getByRole('button', { name: 'Use an example' }).click();
      await page.getByRole('table').waitFor();
    }
    if (name === 'heads') await page.getByRole('region', { name: 'Task topic' }).waitFor();
    if (name === 'server') await page.getByRole('table', { name: 'Models' }).waitFor();
    const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(content <= window, `${content} px do not fit into ${window}`);
  }, { path: `/#${name}`, viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true });
}

flow('each tab has an address, and the browser goes back to the one before', async (page) => {
  await page.getByRole('tab', { name: 'Heads' }).click();
  assert.ok(page.url().endsWith('#heads'));
  await page.getByRole('tab', { name: 'Server' }).click();
  await page.goBack();
  assert.ok(await page.locator('#heads').isVisible());
  await page.reload();
  assert.ok(await page.locator('#heads').isVisible());
});

flow('nothing moves for those who ask for that', async (page) => {
  await says(page, 'embed-status', '8 sentences');
  const moving = await page.evaluate(() => [...document.querySelectorAll('*')].filter((element) => {
    const { animationName, transitionDuration } = getComputedStyle(element);
    return animationName !== 'none' || /[1-9]/.test(transitionDuration);
  }).map((element) => element.outerHTML.slice(0, 80)));
  assert.deepEqual(moving, []);
}, { reducedMotion: 'reduce' });

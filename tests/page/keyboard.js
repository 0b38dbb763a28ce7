// Everything by keyboard: each stop has a visible focus, and no flow needs a pointer.

import assert from 'node:assert/strict';

import { flow, says } from './stage.js';

const MOST_STOPS = 80;

/** Presses Tab, or Shift+Tab, until the focus is on what `selector` selects. */
async function tabTo(page, selector, key = 'Tab') {
  for (let stop = 0; stop < MOST_STOPS; stop += 1) {
    await page.keyboard.press(key);
    const { there, outline, what } = await page.evaluate((wanted) => {
      const focused = document.activeElement;
      // The file input is within its label, which shows the focus for it.
      const shown = focused.type === 'file' ? focused.parentElement : focused;
      const { outlineStyle, outlineWidth } = getComputedStyle(shown);
      return { there: focused.matches(wanted), outline: outlineStyle !== 'none' && outlineWidth !== '0px', what: focused.outerHTML.slice(0, 80) };
    }, selector);
    if (!what.startsWith('<body')) assert.ok(outline, `no focus is visible on ${what}`);
    if (there) return;
  }
  assert.fail(`Tab does not lead to ${selector}`);
}

const isOpen = (page, name) => page.locator(`#${name}:not([hidden])`).waitFor();

flow('the content is one key away', async (page) => {
  await says(page, 'embed-status', '8 sentences');
  await tabTo(page, '.skip');
  await page.keyboard.press('Enter');
  await tabTo(page, '#embed-text');
});

flow('tabs are moved between by arrow keys, and are one stop', async (page) => {
  await says(page, 'embed-status', '8 sentences');
  await tabTo(page, '#tab-embed');
  for (const name of ['classify', 'train', 'heads', 'server', 'embed']) {
    await page.keyboard.press('ArrowRight');
    await isOpen(page, name);
  }
  await page.keyboard.press('End');
  await isOpen(page, 'server');
  await page.keyboard.press('Home');
  await isOpen(page, 'embed');
  await page.keyboard.press('Tab');
  assert.equal(await page.evaluate(() => document.activeElement.textContent), 'API');
});

flow('one embeds, classifies, trains, promotes and downloads without a pointer', async (page) => {
  await says(page, 'embed-status', '8 sentences');
  await tabTo(page, '#embed-text');
  await page.keyboard.press('Control+A');
  await page.keyboard.type('One sentence.\nAnother sentence.');
  await tabTo(page, '#embed-form button');
  await page.keyboard.press('Enter');
  await says(page, 'embed-status', '2 sentences');

  await tabTo(page, '#tab-embed', 'Shift+Tab');
  await page.keyboard.press('ArrowRight');
  await tabTo(page, '#classify-text');
  await page.keyboard.press('Control+A');
  await page.keyboard.type('The match ended in a draw.');
  await says(page, 'classify-status', 'topic:');
  await tabTo(page, '[name=by]');
  await page.keyboard.press('ArrowDown');
  await says(page, 'classify-status', 'zero shot: sport');

  await tabTo(page, '#tab-classify', 'Shift+Tab');
  await page.keyboard.press('ArrowRight');
  await tabTo(page, '#train-file');
  await tabTo(page, '#train-example');
  await page.keyboard.press('Enter');
  await says(page, 'train-check', '42 examples');
  await tabTo(page, '#train-promote');
  await page.keyboard.type('never');
  await tabTo(page, '#train-epochs');
  await page.keyboard.type('4');
  await tabTo(page, '#train-l2');
  await page.keyboard.type('0.1');
  await tabTo(page, '#train-validation');
  await page.keyboard.type('0.3');
  await tabTo(page, '#train-submit');
  await page.keyboard.press('Enter');
  await says(page, 'job-status', 'Succeeded');
  const topic = page.getByRole('region', { name: 'Result of topic' });
  await topic.getByText('is not live').waitFor();
  await tabTo(page, '[aria-label="Result of topic"] button');
  await page.keyboard.press('Enter');
  await topic.getByText(/version \d+ is live/).waitFor();
  const downloaded = page.waitForEvent('download');
  await tabTo(page, '[aria-label="Result of topic"] button:last-child');
  await page.keyboard.press('Enter');
  assert.match((await downloaded).suggestedFilename(), /^topic-\d+\.safetensors$/);
});

flow('the key is entered and the scheme is switched without a pointer', async (page) => {
  await says(page, 'embed-status', '8 sentences');
  await tabTo(page, '#key-button');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.activeElement.id === 'key');
  await page.keyboard.press('Escape');
  await page.locator('#key-box').waitFor({ state: 'hidden' });
  assert.equal(await page.evaluate(() => document.activeElement.id), 'key-button');
  await page.keyboard.press('Enter');
  await page.waitForFunction(() => document.activeElement.id === 'key');
  await page.keyboard.type('a key');
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'API key: set' }).waitFor();
  await tabTo(page, '#theme-button');
  await page.keyboard.press('Space');
  assert.equal(await page.locator('html').getAttribute('data-theme'), 'dark');
});

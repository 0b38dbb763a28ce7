// The page's frame: tabs, key, and what all tabs need to know of the server.

import { get } from './api.js';
import { $, h } from './dom.js';
import * as key from './key.js';
import { guarded } from './problems.js';
import * as tabs from './tabs.js';
import * as classify from './tabs/classify.js';
import * as embed from './tabs/embed.js';
import * as heads from './tabs/heads.js';
import * as server from './tabs/server.js';
import * as train from './tabs/train.js';

const modules = { embed, classify, train, heads, server };

/** Fills every choice of a model. */
async function models() {
  const info = await get('info');
  for (const select of document.querySelectorAll('[data-models]')) {
    const chosen = select.value || info.default_model;
    select.replaceChildren(...info.models.map(({ name }) =>
      h('option', { value: name, selected: name === chosen }, name)));
  }
}

for (const module of Object.values(modules)) module.begin();
const show = (name) => guarded($(name), async () => {
  await models();
  await modules[name].show();
});
key.begin(() => show(tabs.current()));
tabs.begin(show, (name) => modules[name].leave?.());

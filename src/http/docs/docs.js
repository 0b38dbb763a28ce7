// The description of the API as a page: all routes by their tags, found by what they are called.

import { get } from './api.js';
import { $, h } from './dom.js';
import { count } from './format.js';
import * as key from './key.js';
import { operationBlock } from './operation.js';
import { guarded } from './problems.js';
import { prose } from './prose.js';

/** Every operation with its path and method. */
const operations = (api) => Object.entries(api.paths).flatMap(([path, item]) =>
  Object.entries(item).map(([method, operation]) => ({ path, method, operation })));

async function load() {
  const api = await get('openapi.json');
  $('about').replaceChildren(...prose(api.info.description), h('p', { class: 'fine' }, `Version ${api.info.version}`));
  const all = operations(api);
  $('routes').replaceChildren(...api.tags.map(({ name, description }) =>
    h('section', { 'aria-label': name },
      h('h2', {}, name),
      h('p', {}, description),
      ...all.filter(({ operation }) => operation.tags.includes(name)).map((it) => operationBlock(api, it)))));
  search();
  openLinked();
}

/** Hides what does not have all the words of the search in its route or summary. */
function search() {
  const words = $('search').value.toLowerCase().split(/\s+/).filter(Boolean);
  let found = 0;
  for (const section of $('routes').children) {
    const routes = [...section.querySelectorAll('.route')];
    for (const route of routes) {
      const told = route.querySelector('summary').textContent.toLowerCase();
      route.hidden = !words.every((word) => told.includes(word));
    }
    const shown = routes.filter(({ hidden }) => !hidden).length;
    section.hidden = shown === 0;
    found += shown;
  }
  $('found').textContent = count(found, 'operation');
}

/** An address such as docs#embed opens that operation. */
function openLinked() {
  const linked = location.hash.length > 1 && $(location.hash.slice(1));
  if (!(linked instanceof HTMLDetailsElement)) return;
  linked.open = true;
  linked.scrollIntoView();
}

const show = () => guarded($('main'), load);
key.begin(show);
$('search').addEventListener('input', search);
addEventListener('hashchange', openLinked);
show();

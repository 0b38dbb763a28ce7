// What is done with head versions by hand.

import { download, post } from './api.js';

const path = (task, what) => `heads/${encodeURIComponent(task)}/${what}`;

export const promote = (task, version) => post(path(task, 'promote'), { version });

/** Makes the version live that was live before. */
export const rollBack = (task) => post(path(task, 'rollback'), {});

export const downloadWeights = (task, version) => download(path(task, `weights?version=${version}`));

/** The versions that a version descends from, itself first. */
export function lineage(versions, version) {
  const byNumber = new Map(versions.map((it) => [it.version, it]));
  const line = [];
  for (let it = byNumber.get(version); it; it = byNumber.get(it.parent)) line.push(it.version);
  return line;
}

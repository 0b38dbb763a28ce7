// The real program on a port that the system chose, with MiniLM and a store of its own.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const REPOSITORY = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');
const PROGRAM = resolve(REPOSITORY, process.env.POLYHEAD ?? 'target/debug/polyhead');

const CONFIG = (folder) => `
[server]
listen = "127.0.0.1:0"
[runtime]
library = "${REPOSITORY}/lib/libonnxruntime.so"
[store]
url = "sqlite://${folder}/polyhead.db"
[models.minilm]
path = "${REPOSITORY}/models/all-MiniLM-L6-v2"
[tasks.topic]
labels = ["Finance", "Entertainment", "Technology"]
[tasks.sentiment]
labels = ["Negative", "Positive"]
`;

/** Starts it, and waits until it is ready. `stop` ends it and removes what it kept. */
export async function start() {
  const folder = mkdtempSync(join(tmpdir(), 'polyhead-page-'));
  writeFileSync(join(folder, 'polyhead.toml'), CONFIG(folder));
  const child = spawn(PROGRAM, ['serve', '--config', 'polyhead.toml'], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] });
  const ended = new Promise((resolveEnd) => { child.once('close', resolveEnd); });
  const log = [];
  const url = await new Promise((found, failed) => {
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        log.push(line);
        const [, address] = /listening on (http:\S+)/.exec(line) ?? [];
        if (address) found(address);
      });
    }
    child.once('error', failed);
    child.once('exit', () => failed(new Error(`the program did not start:\n${log.join('\n')}`)));
  });
  while (!(await fetch(`${url}/readyz`)).ok) await new Promise((next) => { setTimeout(next, 50); });
  return {
    url,
    async stop() {
      child.kill('SIGTERM');
      await ended;
      rmSync(folder, { recursive: true });
    },
  };
}

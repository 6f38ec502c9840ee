/** Shell blocks of a page, run one after another in one shell, as a reader would. */

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { freePort, freePortForNode } from '../e2e/world.mjs';
import { FILES, ROOT } from './book.mjs';

/** A page that takes longer has a command that should have been marked as parsed. */
const LIMIT_MS = 240_000;

/** A folder as `git clone` leaves it, with what `make build` adds. */
export function makeClone(folder) {
  const clone = join(folder, 'clone');
  for (const path of FILES) {
    mkdirSync(dirname(join(clone, path)), { recursive: true });
    copyFileSync(join(ROOT, path), join(clone, path));
  }
  for (const built of ['k6', 'bin']) {
    symlinkSync(join(ROOT, built), join(clone, built));
  }
  const identity = ['-c', 'user.name=docs', '-c', 'user.email=docs@localhost'];
  execFileSync('git', ['init', '--quiet', '--initial-branch', 'main'], { cwd: clone });
  execFileSync('git', [...identity, 'commit', '--quiet', '--allow-empty', '--message', 'clone'], { cwd: clone });
  return clone;
}

/** Pages name the usual ports; tests that run side by side need others. */
export async function portsFor(world) {
  const nodes = new Set();
  while (nodes.size < 3) {
    nodes.add(String(await freePortForNode()));
  }
  const [first, second, third] = nodes;
  return new Map([
    ['6379', String(world.redisPort)],
    ['6380', String(await freePort())],
    ['6381', String(await freePort())],
    ['8080', String(await freePort())],
    ['9090', String(await freePort())],
    ['7001', first],
    ['7002', second],
    ['7003', third],
  ]);
}

export function withPorts(text, ports) {
  return [...ports].reduce((changed, [usual, free]) => changed.replaceAll(new RegExp(`\\b${usual}\\b`, 'g'), free), text);
}

/** A text with what a block's marks replace in it. */
export function replacedText(block) {
  return block.replaced.reduce((text, [before, after]) => {
    assert.ok(text.includes(before), `${block.page}:${block.line}: \`${before}\`, which a mark replaces, is not there`);
    return text.replaceAll(before, after);
  }, block.text);
}

/** Starts a server that the rest of the page needs. */
export const SERVER = /(\bredis-server|ensure-(?:redis|prometheus)\.sh\)"|\bwaiting-room) (?:.*\\\n)*.*[^&]&$/m;

/** Servers are waited for, as a reader at the keyboard does without noticing. */
function withPatience(text) {
  return text.replaceAll(/^(?:.*\\\n)*.*[^&]&$/gm, (command) => {
    const port = /--(?:tls-port|port|listen|web\.listen-address)[ =](?:127\.0\.0\.1:)?([1-9]\d*)/.exec(command)?.[1];
    return SERVER.test(command) && port ? `${command}\nlistening ${port}` : command;
  });
}

const PROLOGUE = `
set -eo pipefail
exec 2>&1
for builder in make cargo go npm; do
  eval "$builder() { echo \"$builder builds: mark this block as parsed, or replace the command\"; return 1; }"
done
listening() {
  for _ in $(seq 600); do (: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null && return; sleep 0.1; done
  echo "nothing listens on port $1"; return 1
}`;

/**
 * Runs blocks and gives what each of them printed.
 *
 * @param {import('./book.mjs').Block[]} blocks
 * @returns {Promise<Map<import('./book.mjs').Block, string>>}
 */
export async function runShell(t, world, blocks, ports) {
  const border = (at) => `--- block ${at} ---`;
  const parts = blocks.map((block, at) => {
    const text = withPatience(withPorts(replacedText(block), ports));
    if (block.save) {
      const saved = join(world.folder, `saved-${at}`);
      writeFileSync(saved, text);
      return `echo "${border(at)}"\ncp '${saved}' '${block.save}'\n`;
    }
    const run =
      block.exits === 0
        ? text
        : `set +e\n(set -e\n${text})\ncode=$?\nset -e\n[ $code = ${block.exits} ] || { echo "exit code $code, not ${block.exits}"; exit 1; }`;
    return `echo "${border(at)}"\n${run}\n`;
  });
  const shell = spawn('bash', ['-c', [PROLOGUE, ...parts].join('\n')], {
    cwd: makeClone(world.folder),
    detached: true, // a group of its own, so that what it left in the background ends with it
    stdio: ['ignore', 'pipe', 'inherit'],
    env: {
      PATH: process.env.PATH,
      HOME: world.folder,
      TMPDIR: world.folder,
      // Pages run side by side.
      BARRIER_MACHINE_LOCK: join(world.folder, 'machine.lock'),
      K6_AUTO_EXTENSION_RESOLUTION: 'false',
      K6_NO_USAGE_REPORT: 'true',
      K6_NO_COLOR: 'true',
      ...(process.env.REDIS_SERVER_BIN ? { REDIS_SERVER_BIN: process.env.REDIS_SERVER_BIN } : {}),
      ...(process.env.PROMETHEUS_BIN ? { PROMETHEUS_BIN: process.env.PROMETHEUS_BIN } : {}),
    },
  });
  const end = () => {
    try {
      process.kill(-shell.pid, 'SIGKILL');
    } catch {
      // Nobody is left.
    }
  };
  process.on('exit', end);
  t.after(() => {
    end();
    process.off('exit', end);
  });

  let output = '';
  shell.stdout.setEncoding('utf8').on('data', (chunk) => (output += chunk));
  const closed = once(shell, 'close'); // asked for first: it may come with the exit
  const overdue = setTimeout(end, LIMIT_MS);
  const [code] = await once(shell, 'exit');
  clearTimeout(overdue);
  end();
  await closed;
  const printed = new Map(blocks.map((block, at) => [block, output.split(`${border(at)}\n`)[1]?.split(border(at + 1))[0]]));
  const stopped = blocks.findLast((block) => printed.get(block) !== undefined);
  assert.equal(code, 0, `${stopped?.page}:${stopped?.line} failed:\n${printed.get(stopped)}`);
  return printed;
}

/** Fails unless the output has the lines of a text block, in their order; `…` stands for anything. */
export function expectPrinted(block, output) {
  const squeezed = (line) => line.trim().replaceAll(/\s+/g, ' ');
  const lines = output.split('\n').map(squeezed);
  let from = 0;
  for (const wanted of block.text.split('\n').map(squeezed)) {
    if (wanted === '' || wanted === '…') {
      continue;
    }
    const pattern = new RegExp(wanted.split('…').map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('.*'));
    const at = lines.findIndex((line, index) => index >= from && pattern.test(line));
    assert.ok(at >= 0, `${block.page}:${block.line}: not printed: ${wanted}\n${output}`);
    from = at + 1;
  }
}

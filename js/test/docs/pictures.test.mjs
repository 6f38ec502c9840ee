/** What a committed picture of a terminal shows is what its commands print. */

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';

import { K6 } from '../e2e/world.mjs';
import { readBook, readText, ROOT } from './book.mjs';

const run = promisify(execFile);
const plain = (text) => text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&');

/** The commands of a picture, each with the lines below it. */
function sessionOf(path) {
  const commands = [];
  for (const [, kind, text] of readText(path).matchAll(/<text class="(typed|printed)"[^>]*>([^<]*)<\/text>/g)) {
    if (kind === 'typed') {
      commands.push({ words: plain(text).replace(/^\$ /, '').split(' '), lines: [] });
    } else if (text !== '') {
      commands.at(-1).lines.push(plain(text));
    }
  }
  return commands;
}

test('a reader who inserts the second block of the README into the first has the second script of the picture', () => {
  const [script, block] = ["import { sleep } from 'k6';", '  if (__VU === 3) {'].map((first) => {
    const found = readBook().find(({ path }) => path === 'README.md').blocks.find(({ text }) => text.startsWith(first));
    return found?.text ?? assert.fail(`README.md has no block that begins with ${first}`);
  });
  const lines = script.split('\n');
  const at = lines.findIndex((line) => line.includes('arriveAndWait()'));
  assert.equal([...lines.slice(0, at), ...block.trimEnd().split('\n'), ...lines.slice(at)].join('\n'), readText('docs/pictures/one-fails.js'));
});

test('the session of the README is what its scripts print', async () => {
  const session = sessionOf('docs/pictures/session.svg');
  assert.deepEqual(session.map(({ words }) => words.at(-1)), ['first.js', 'one-fails.js']);
  for (const { words: [program, ...args], lines } of session) {
    assert.equal(program, './k6');
    const env = { ...process.env, K6_NO_COLOR: 'true', K6_NO_USAGE_REPORT: 'true', K6_AUTO_EXTENSION_RESOLUTION: 'false' };
    const { stdout, stderr } = await run(K6, args, { cwd: join(ROOT, 'docs/pictures'), env });
    // Who goes on first differs from run to run.
    const printed = `${stdout}${stderr}`.split('\n').filter((line) => line !== '');
    assert.deepEqual(printed.sort(), lines.sort());
  }
});

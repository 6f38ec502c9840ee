import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { parseAllDocuments } from 'yaml';

import { startRedis } from '../e2e/world.mjs';
import { FILES, readBook, readText, ROOT } from './book.mjs';
import { expectPrinted, portsFor, replacedText, runShell, SERVER, withPorts } from './shell.mjs';
import { wrongIn } from './testrun.mjs';

const book = readBook();
const runs = (block, language) => block.language === language && !block.parsed && !block.file && !block.save;
const placeOf = (block) => `${block.page}:${block.line}`;

/** An exception ends an iteration, but k6 exits with 0. */
const EXCEPTION = /hint="script exception"|Uncaught \(in promise\)/;

/** The text block that shows what a block printed: the next one of its section. */
function outputOf(block, blocks) {
  const next = blocks[blocks.indexOf(block) + 1];
  return next?.language === 'text' && !next.sample && next.section === block.section ? next : undefined;
}

describe('pages do what they say', { concurrency: 2 }, () => {
  for (const { path, blocks } of book) {
    const shell = blocks.filter((block) => runs(block, 'sh') || block.save);
    if (shell.length > 0) {
      test(`the commands of ${path}`, async (t) => {
        const world = await startRedis(t);
        const ports = await portsFor(world);
        if (shell.some((block) => SERVER.test(block.text) && block.text.includes('--port 6379'))) {
          world.redisServer.kill('SIGTERM'); // the page starts its own
          await once(world.redisServer, 'exit');
        }
        const printed = await runShell(t, world, shell, ports);
        for (const block of shell) {
          const shown = outputOf(block, blocks);
          assert.doesNotMatch(printed.get(block), EXCEPTION);
          if (shown) {
            expectPrinted({ ...shown, text: replacedText(shown) }, printed.get(block));
          }
        }
      });
    }
    for (const block of blocks.filter((candidate) => runs(candidate, 'js'))) {
      test(`the script of ${placeOf(block)}`, async (t) => {
        const world = await startRedis(t);
        const ports = await portsFor(world);
        const script = join(world.folder, 'snippet.js');
        const text = withPorts(replacedText(block), ports);
        await writeFile(script, /^export default\b/m.test(text) ? text : `${text}\nexport default function () {}\n`);
        const run = (await world.k6({ K6_BARRIER_RUN_ID: 'docs' }, { script })).expect(block.exits);
        const shown = outputOf(block, blocks);
        assert.doesNotMatch(run.output, EXCEPTION);
        if (shown) {
          expectPrinted(shown, run.output);
        }
      });
    }
  }
});

describe('pages are right where they cannot be run', () => {
  const each = (language, check) => book.flatMap(({ blocks }) => blocks.filter((b) => b.language === language)).forEach(check);

  test('shell', () => {
    each('sh', (block) => {
      const { status, stderr } = spawnSync('bash', ['-n'], { input: block.text, encoding: 'utf8' });
      assert.equal(status, 0, `${placeOf(block)}: ${stderr}`);
      const unknown = wordsAmiss(block.text);
      assert.deepEqual(unknown, [], `${placeOf(block)}: not in the tree`);
    });
  });

  test('what is pasted as a whole does not run ahead of its server', () => {
    each('sh', (block) => {
      const commands = block.text.replaceAll('\\\n', '').trim().split('\n');
      const start = commands.findIndex((command) => SERVER.test(command));
      const ahead = start < 0 ? [] : commands.slice(start + 1).filter((command) => !SERVER.test(command) || /waiting-room/.test(command));
      assert.deepEqual(ahead, [], `${placeOf(block)}: give it a block of its own`);
    });
  });

  test('copies of files', () => {
    for (const block of book.flatMap(({ blocks }) => blocks.filter(({ file }) => file))) {
      const text = readText(block.file);
      if (block.language === 'diff') {
        const after = readText(block.file.replace('before', 'after'));
        assert.equal(patched(text, block.text), after, `${placeOf(block)} does not lead from ${block.file} to the file beside it`);
      } else {
        assert.ok(text.includes(block.text), `${placeOf(block)} is not in ${block.file}`);
      }
    }
  });

  test('YAML', () => {
    each('yaml', (block) => {
      for (const document of parseAllDocuments(block.text)) {
        assert.deepEqual(document.errors, [], placeOf(block));
        const manifest = document.toJS();
        if (manifest.kind === 'TestRun') {
          assert.deepEqual(wrongIn(manifest), [], placeOf(block));
        }
      }
    });
  });

  test('texts say where they come from', () => {
    for (const { blocks } of book) {
      blocks.forEach((block, at) => {
        const before = blocks[at - 1];
        const printed = before && (runs(before, 'sh') || runs(before, 'js')) && outputOf(before, blocks) === block;
        if (/^(text|console)$/.test(block.language) && !block.page.endsWith('troubleshooting.md')) {
          assert.ok(printed || block.sample || block.file, `${placeOf(block)}: printed by nothing, and no sample`);
        }
      });
    }
  });
});

/** A text after a unified diff. */
function patched(text, diff) {
  const lines = text.split('\n');
  let shift = 0;
  for (const [, start, body] of diff.matchAll(/^@@ -(\d+)[^@]*@@.*\n((?:[ +-].*\n|\n)*)/gm)) {
    const changes = body.split('\n').slice(0, -1);
    const before = changes.filter((line) => !line.startsWith('+')).map((line) => line.slice(1));
    const after = changes.filter((line) => !line.startsWith('-')).map((line) => line.slice(1));
    const at = Number(start) - 1 + shift;
    assert.deepEqual(lines.slice(at, at + before.length), before);
    lines.splice(at, before.length, ...after);
    shift += after.length - before.length;
  }
  return lines.join('\n');
}

/** Targets of make, crates, their tests, Go packages and scripts that a text names and that are not there. */
function wordsAmiss(text) {
  const amiss = [];
  const wrong = (known, name) => known.includes(name) || amiss.push(name);
  for (const [, names] of text.matchAll(/\bmake ((?:[A-Z_]+=\S+ )*[a-z][a-z0-9-]*(?: [a-z][a-z0-9-]*)*)/g)) {
    names.split(' ').filter((name) => !name.includes('=')).forEach((name) => wrong(targets(), name));
  }
  for (const [, name] of text.matchAll(/\bcargo \S+.*? (?:-p|--package)[ =](\S+)/g)) {
    wrong(crates().map((crate) => crate.name), name);
  }
  for (const [, name] of text.matchAll(/\bcargo .*?--test[ =](\S+)/g)) {
    wrong(crates().flatMap((crate) => crate.targets.map((target) => target.name)), name);
  }
  for (const [path] of text.matchAll(/\b(?:bench|scripts|js|docs|rust-core|xk6-barrier)\/[\w./-]*\w/g)) {
    if (!FILES.includes(path) && !FILES.some((file) => file.startsWith(`${path}/`)) && !existsSync(join(ROOT, path))) {
      amiss.push(path);
    }
  }
  return amiss;
}

let makefile;
function targets() {
  makefile ??= readText('Makefile');
  return [...makefile.matchAll(/^([a-z0-9-]+):/gm)].map(([, name]) => name);
}

let metadata;
function crates() {
  metadata ??= JSON.parse(execFileSync('cargo', ['metadata', '--no-deps', '--offline', '--format-version', '1'], { cwd: ROOT, maxBuffer: 1 << 26 }));
  return metadata.packages;
}

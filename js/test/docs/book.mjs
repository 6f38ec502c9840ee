/**
 * The project's pages, read as a test reads them: fenced blocks, and the marks above them.
 *
 * A mark is an HTML comment directly above a block, or stands in a file beside the page (marks.mjs). Without one, a block must
 * run as it stands. CONTRIBUTING.md explains them to those who write pages.
 */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expectPlaced, marksBeside } from './marks.mjs';

export const ROOT = resolve(fileURLToPath(import.meta.url), '../../../..');

/** Every file of the tree that is committed or about to be. */
export const FILES = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: ROOT })
  .toString()
  .split('\0')
  .filter((path) => path !== '');

export const readText = (path) => readFileSync(join(ROOT, path), 'utf8');

/**
 * @typedef {object} Block
 * @property {string} page path of the file
 * @property {number} line of its first fence
 * @property {number} section how many headings come before it
 * @property {string} language
 * @property {string} text
 * @property {string} note the reason given in its marks
 * @property {boolean} parsed it is only parsed and compared with the tree
 * @property {boolean} sample it shows what no test can print
 * @property {number} exits the exit code that is expected
 * @property {string | undefined} file the file of which it is a copy
 * @property {string | undefined} source the file that prints it
 * @property {string | undefined} save the file as which the reader saves it before going on
 * @property {[string, string][]} replaced what runs instead of what stands there
 */

/** @returns {{ path: string, text: string, blocks: Block[] }[]} */
export function readBook() {
  return FILES.filter((path) => path.endsWith('.md')).map((path) => {
    const text = readText(path);
    const file = path.replace(/\.md$/, '.marks.yaml');
    const beside = marksBeside(path, existsSync(join(ROOT, file)) ? readText(file) : undefined);
    const blocks = [...blocksOf(path, text, beside)];
    expectPlaced(path, beside, blocks);
    return { path, text, blocks };
  });
}

function* blocksOf(page, text, beside) {
  const lines = text.split('\n');
  let section = 0;
  for (let at = 0; at < lines.length; at++) {
    section += Number(lines[at].startsWith('#'));
    const fence = /^(\s*)(```+)(\S*)\s*$/.exec(lines[at]);
    if (!fence) {
      continue;
    }
    const [, indent, ticks, language] = fence;
    const end = lines.findIndex((line, index) => index > at && line.trim() === ticks);
    assert.ok(end > at, `${page}:${at + 1}: the block does not end`);
    const body = lines.slice(at + 1, end).map((line) => (line.startsWith(indent) ? line.slice(indent.length) : line));
    assert.notEqual(language, '', `${page}:${at + 1}: the block has no language; text is one`);
    yield { page, line: at + 1, section, language: language === 'bash' ? 'sh' : language, text: `${body.join('\n')}\n`, ...readMarks([...marksAbove(page, lines, at), ...(beside.get(body[0]) ?? [])]) };
    at = end;
  }
}

/** The marks of the comments above a fence, from the first to the last. */
function marksAbove(page, lines, fence) {
  const found = [];
  for (let at = fence - 1; at >= 0; at--) {
    const mark = /^\s*<!-- docs-test: (.*) -->$/.exec(lines[at]);
    if (!mark) {
      break;
    }
    found.unshift({ at: `${page}:${at + 1}`, what: mark[1] });
  }
  return found;
}

function readMarks(found) {
  const marks = { note: '', parsed: false, sample: false, exits: 0, file: undefined, source: undefined, save: undefined, replaced: [] };
  for (const { at, what: mark } of found) {
    const [, what, note = ''] = /^(`[^`]+` as `[^`]*`|[^`]*?)(?:; (.*))?$/.exec(mark) ?? assert.fail(`${at}: ${mark}: unknown mark`);
    const where = `${at}: ${what}`;
    const exits = /^exits (\d+)$/.exec(what);
    const file = /^(file|source|save) (\S+)$/.exec(what);
    const replaced = /^`(.+)` as `(.*)`$/.exec(what);
    if (exits) {
      marks.exits = Number(exits[1]);
    } else if (file) {
      marks[file[1]] = file[2];
    } else if (replaced) {
      marks.replaced.push([replaced[1], replaced[2]]);
    } else {
      assert.ok(what === 'parsed' || what === 'sample', `${where}: unknown mark`);
      marks[what] = true;
    }
    assert.ok(exits || file || note !== '', `${where}: the mark gives no reason`);
    marks.note ||= note;
  }
  return marks;
}

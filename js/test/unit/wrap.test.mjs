// How scripts/wrap-pages.mjs wraps prose.
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { WIDTH, wordsOf, wrapped } from '../../../scripts/wrap-pages.mjs';

const words = (count) => Array.from({ length: count }, (_, at) => `word${at}`).join(' ');

test('a paragraph with a line that is too long is wrapped anew, its neighbours are not', () => {
  const page = `# Title\n\nshort\nlines stay\n\n${words(40)}\nand a rest\n`;
  const [head, neighbour, long] = wrapped(page).split('\n\n');
  assert.deepEqual([head, neighbour], ['# Title', 'short\nlines stay']);
  assert.ok(long.split('\n').every((line) => line.length <= WIDTH));
  assert.equal(long.replaceAll('\n', ' '), `${words(40)} and a rest `);
});

test('an item of a list keeps its place, and the next item its own', () => {
  const lines = wrapped(`  - ${words(30)}\n  - next\n    of it\n`).split('\n');
  assert.match(lines[0], /^  - word0 /);
  assert.match(lines[1], /^    word/);
  assert.deepEqual(lines.slice(-3), ['  - next', '    of it', '']);
});

test('code, tables and headings stay as they are', () => {
  const page = `## ${words(40)}\n\n| ${words(40)} |\n|---|\n\n\`\`\`text\n${words(40)}\n\`\`\`\n\n<!-- ${words(40)} -->\n`;
  assert.equal(wrapped(page), page);
});

test('no line breaks within code, or begins with what would begin a list', () => {
  assert.deepEqual(wordsOf('see `a b c`, then x - y and 1. z'), ['see', '`a b c`,', 'then', 'x -', 'y', 'and 1.', 'z']);
});

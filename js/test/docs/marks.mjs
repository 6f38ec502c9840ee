/**
 * Marks of a page that stand in a file beside it, so that its readers do not see them: of `PAGE.md` in `PAGE.marks.yaml`, a
 * list of
 *
 *   - block: the block's first line, as it stands there
 *     marks: what a comment above it would have between `docs-test: ` and ` -->`, one text for each
 *
 * A first line that is not the page's, or that several blocks have, is an error: the mark would be of something else.
 */

import assert from 'node:assert/strict';
import { parse } from 'yaml';

/**
 * @param {string} page path of the page
 * @param {string | undefined} text of the file beside it
 * @returns {Map<string, { at: string, what: string }[]>} first line of a block: its marks, and where each of them stands
 */
export function marksBeside(page, text) {
  const file = page.replace(/\.md$/, '.marks.yaml');
  const entries = parse(text ?? '[]');
  assert.ok(Array.isArray(entries), `${file}: it must be a list`);
  const marks = new Map();
  for (const entry of entries) {
    assert.deepEqual(Object.keys(entry ?? {}), ['block', 'marks'], `${file}: an entry has block and marks, and nothing else`);
    assert.ok(typeof entry.block === 'string' && Array.isArray(entry.marks), `${file}: block is a text, marks a list of texts`);
    assert.ok(!marks.has(entry.block), `${file}: two entries for ${entry.block}`);
    marks.set(entry.block, entry.marks.map((what) => ({ at: `${file}: ${entry.block}`, what: String(what) })));
  }
  return marks;
}

/** Fails unless each first line is that of exactly one block. */
export function expectPlaced(page, marks, blocks) {
  for (const first of marks.keys()) {
    const found = blocks.filter(({ text }) => text.split('\n')[0] === first).length;
    assert.equal(found, 1, `${page}: ${found} blocks begin with ${JSON.stringify(first)}, of which there must be one`);
  }
}

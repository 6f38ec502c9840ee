#!/usr/bin/env node
/**
 * Wraps the prose of pages evenly: `scripts/wrap-pages.mjs [PAGE.md…]`, all pages of the tree where none is named.
 *
 * A paragraph or an item of a list in which a line is longer than WIDTH is wrapped anew, all others stay as they are. Code, tables,
 * headings and comments are never touched, and no line breaks within a span of code.
 */

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const WIDTH = 120;

const FENCE = /^\s*(```|~~~)/;
const ITEM = /^(\s*)((?:[-*+]|\d+[.)]) +)(.*)$/;
/** What is a block of its own, line by line. */
const WHOLE = /^\s*(?:$|\||#|<|>|\[[^\]]+\]: |\[?!\[.*\)$|-{3,}$|={3,}$)/;

/** Words that may stand at the end of a line: a span of code is one, and so is what would begin another block at the start of a line. */
export function wordsOf(text) {
  const words = [];
  for (const piece of text.trim().split(/\s+/)) {
    const last = words.at(-1);
    const open = last !== undefined && (last.match(/`/g)?.length ?? 0) % 2 === 1;
    if (last !== undefined && (open || /^(?:[-*+>|#]+|\d+[.)])$/.test(piece))) {
      words[words.length - 1] = `${last} ${piece}`;
    } else {
      words.push(piece);
    }
  }
  return words;
}

function fill(words, first, rest) {
  const lines = [];
  let line = first;
  let empty = true;
  for (const word of words) {
    if (!empty && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = rest;
      empty = true;
    }
    line += (empty ? '' : ' ') + word;
    empty = false;
  }
  return [...lines, line];
}

/** A page with its prose wrapped. */
export function wrapped(page) {
  const out = [];
  let block = [];
  const flush = () => {
    if (block.some((line) => line.length > WIDTH)) {
      const [, indent, marker, text] = ITEM.exec(block[0]) ?? [undefined, /^\s*/.exec(block[0])[0], '', block[0]];
      out.push(...fill(wordsOf([text, ...block.slice(1)].join(' ')), indent + marker, indent + ' '.repeat(marker.length)));
    } else {
      out.push(...block);
    }
    block = [];
  };
  let fenced = false;
  for (const line of page.split('\n')) {
    const fence = FENCE.test(line);
    if (fenced || fence || WHOLE.test(line)) {
      flush();
      out.push(line);
      fenced = fenced !== fence;
    } else {
      // Two spaces or a backslash at the end of a line break it on purpose.
      if (ITEM.test(line) || /(?: {2}|\\)$/.test(block.at(-1) ?? '')) flush();
      block.push(line);
    }
  }
  flush();
  return out.join('\n');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const root = fileURLToPath(new URL('..', import.meta.url));
  const pages = process.argv.length > 2 ? process.argv.slice(2) : execFileSync('git', ['ls-files', '-z', '--', '*.md', ':!THIRD-PARTY*', ':!bench/runner/src'], { cwd: root, encoding: 'utf8' }).split('\0').filter(Boolean).map((path) => root + path);
  for (const page of pages) {
    const text = readFileSync(page, 'utf8');
    const next = wrapped(text);
    if (next !== text) writeFileSync(page, next);
  }
}

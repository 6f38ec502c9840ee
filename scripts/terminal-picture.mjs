#!/usr/bin/env node
/**
 * Runs commands and draws what a terminal shows of them: `scripts/terminal-picture.mjs PICTURE.svg COMMAND…`.
 *
 * Each command runs in bash, in the folder that the script is called from. What it prints is what the picture shows, line by
 * line at the time at which it came; what follows a pause of more than a second comes after one. At its end, and for those who
 * want no motion, the picture stands still with all lines. Nothing is drawn if a command fails.
 *
 * A line longer than the window is cut, with `…` at its end. --columns says how wide that is, 92 by default; --prompt what
 * stands before a command, `$ ` by default.
 */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

const LINE_PX = 20;
const COLUMN_PX = 8.43; // of a monospaced letter of 14 px, in the fonts that browsers have
const EDGE_PX = 18;
const TITLE_PX = 30;
/** What a terminal may print beside text: colours and the like. None of it is drawn. */
const CONTROLS = /\u001b\[[0-9;?]*[A-Za-z]|\r/g;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { columns: { type: 'string', default: '92' }, prompt: { type: 'string', default: '$ ' } },
});
const [picture, ...commands] = positionals;
const columns = Number(values.columns);

/** @typedef {{ text: string, command: boolean, atMs: number }} Line of the picture; `atMs` from its beginning */

/** @returns {Promise<Line[]>} */
async function record(command, beginMs) {
  const child = spawn('bash', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, K6_NO_COLOR: 'true' } });
  /** @type {Line[]} */
  const lines = [{ text: values.prompt + command, command: true, atMs: beginMs }];
  let atMs = beginMs + 400;
  let last = performance.now();
  for (const stream of [child.stdout, child.stderr]) {
    let rest = '';
    stream.setEncoding('utf8').on('data', (chunk) => {
      const now = performance.now();
      atMs += Math.min(1000, now - last);
      last = now;
      const parts = (rest + chunk).replaceAll(CONTROLS, '').split('\n');
      rest = parts.pop() ?? '';
      lines.push(...parts.map((text) => ({ text: text.trimEnd(), command: false, atMs })));
    });
  }
  const [code] = await once(child, 'close');
  if (code !== 0) {
    throw new Error(`${command} ended with exit code ${code}:\n${lines.map(({ text }) => text).join('\n')}`);
  }
  return lines;
}

/** Without empty lines at the end, and never two in a row. */
const tidy = (lines) => lines.filter(({ text }, at) => text !== '' || (lines[at + 1]?.text ?? '') !== '');
const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
const cut = (text) => (text.length > columns ? `${text.slice(0, columns - 1)}…` : text);

function draw(lines) {
  const width = Math.ceil(columns * COLUMN_PX + 2 * EDGE_PX);
  const height = lines.length * LINE_PX + TITLE_PX + 2 * EDGE_PX - 10;
  const drawn = lines.map(({ text, command, atMs }, at) => {
    const y = TITLE_PX + EDGE_PX + at * LINE_PX + 6;
    const style = `style="animation-delay:${Math.round(atMs)}ms"`;
    return `<text class="${command ? 'typed' : 'printed'}" x="${EDGE_PX}" y="${y}" xml:space="preserve" ${style}>${escaped(cut(text))}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="A terminal session">
<style>
text { font: 14px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre; fill: #c9d1d9; animation: come 1ms both; }
.typed { fill: #7ee787; }
@keyframes come { from { opacity: 0; } to { opacity: 1; } }
@media (prefers-reduced-motion: reduce) { text { animation: none; } }
</style>
<rect width="${width}" height="${height}" rx="8" fill="#161b22"/>
<circle cx="20" cy="18" r="6" fill="#ff5f57"/><circle cx="40" cy="18" r="6" fill="#febc2e"/><circle cx="60" cy="18" r="6" fill="#28c840"/>
${drawn.join('\n')}
</svg>
`;
}

async function main() {
  if (!picture || commands.length === 0 || !Number.isInteger(columns) || columns < 20) {
    throw new Error('usage: scripts/terminal-picture.mjs PICTURE.svg COMMAND… [--columns 92] [--prompt "$ "], at least 20 columns');
  }
  /** @type {Line[]} */
  const lines = [];
  for (const command of commands) {
    const beginMs = (lines.at(-1)?.atMs ?? -700) + 900;
    if (lines.length > 0) {
      lines.push({ text: '', command: false, atMs: beginMs });
    }
    lines.push(...tidy(await record(command, beginMs)));
  }
  writeFileSync(picture, draw(lines));
}

main().catch((error) => {
  console.error(`terminal-picture: ${error.message}`);
  process.exitCode = 1;
});

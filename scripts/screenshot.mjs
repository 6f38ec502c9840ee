#!/usr/bin/env node
/**
 * Takes the picture of a page as a browser shows it, such as a report: `scripts/screenshot.mjs PAGE PICTURE.png [OPTIONS]`.
 *
 * PAGE is a path or an address. The options are
 *
 *   --width PX      width of the window, 1000 by default
 *   --height PX     only so much of the page from its top; all of it by default
 *   --selector CSS  only the first element that the selector finds
 *   --dark          as somebody sees it who prefers dark pages
 *   --scale N       pixels of the picture for each of the page, 1 by default
 *   --marks FILE    puts numbered marks onto the page: a JSON array of selectors, one mark at the first element of each
 *
 * The browser is that of scripts/ensure-browser.sh. Exit code 1 and one line that says why when there is no picture.
 */

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';

const here = dirname(fileURLToPath(import.meta.url));
const { chromium } = createRequire(join(here, '../js/package.json'))('playwright-core');

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    width: { type: 'string', default: '1000' },
    height: { type: 'string' },
    selector: { type: 'string' },
    dark: { type: 'boolean', default: false },
    scale: { type: 'string', default: '1' },
    marks: { type: 'string' },
  },
});

/** A whole number above 0 out of an option. */
function whole(name) {
  const number = Number(values[name]);
  if (!Number.isInteger(number) || number < 1) {
    throw new Error(`--${name} is ${JSON.stringify(values[name])}; a whole number above 0 is needed`);
  }
  return number;
}

/** In the page: a numbered disc at the first element of each selector, beside it where the page begins, else on its corner. */
function mark(selectors) {
  document.body.style.paddingLeft = '36px';
  selectors.forEach((selector, at) => {
    const element = document.querySelector(selector);
    if (!element) {
      throw new Error(`nothing on the page is ${selector}`);
    }
    const box = element.getBoundingClientRect();
    const beside = box.left < 100;
    const disc = document.createElement('div');
    disc.textContent = String(at + 1);
    disc.style.cssText = `position:absolute;left:${box.left + scrollX - (beside ? 40 : 14)}px;top:${box.top + scrollY - (beside ? 0 : 14)}px;
      width:28px;height:28px;border-radius:50%;background:#bf3989;color:#fff;font:700 16px/28px sans-serif;text-align:center;z-index:9999`;
    document.body.append(disc);
  });
}

async function main() {
  if (positionals.length !== 2) {
    throw new Error('usage: scripts/screenshot.mjs PAGE PICTURE.png [OPTIONS]; see the top of the file');
  }
  const [page, picture] = positionals;
  const address = /^(https?|file):/.test(page) ? page : pathToFileURL(resolve(page)).href;
  const executablePath = execFileSync(join(here, 'ensure-browser.sh'), { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] }).trim();
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] });
  try {
    const view = await browser.newPage({
      viewport: { width: whole('width'), height: values.height ? whole('height') : 800 },
      deviceScaleFactor: whole('scale'),
      colorScheme: values.dark ? 'dark' : 'light',
    });
    await view.goto(address);
    if (values.marks) {
      await view.evaluate(mark, JSON.parse(readFileSync(values.marks, 'utf8')));
    }
    if (values.selector) {
      await view.locator(values.selector).first().screenshot({ path: picture });
    } else {
      await view.screenshot({ path: picture, fullPage: !values.height });
    }
  } finally {
    await browser.close();
  }
}

main().catch((error) => {
  console.error(`screenshot: ${error.message.split('\n')[0]}`);
  process.exitCode = 1;
});

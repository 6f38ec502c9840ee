// @ts-check
/**
 * Nothing: k6 runs and sends nothing, so that the loop's pace and the machine are on record as they are without load.
 *
 *   k6 run js/chat/quiet.js
 */

import { sleep } from 'k6';

import { declared } from '../lib/load.js';
import { settled } from './lib/start.js';

export const options = {
  scenarios: settled(() => declared({ quiet: { executor: 'constant-vus', vus: 1, duration: '1m', gracefulStop: '2s' } })),
};

export default function () {
  sleep(1);
}

/** @param {any} data */
export function handleSummary(data) {
  return {
    stdout: `\nChat without load: nothing was sent for ${Math.round(data.state.testRunDurationMs / 1000)} s\n`,
    'summary.json': JSON.stringify(data, null, 2),
  };
}

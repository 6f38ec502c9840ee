#!/usr/bin/env node
// Does a comparison find a difference where there is none, and the one that is there? Series of one build of the waiting
// room given twice, then one against a room that is slowed by 20 %: node scripts/control-series.mjs [SERIES] [CYCLES]
//
// Needs bin/barrier-bench, bin/waiting-room and k6: `make control-series` builds them. Six seconds a run; evidence goes where
// that of all runs goes. Exit code 1 where more than MOST series differ, one has no verdict, or the slow room is not found.
import { spawnSync } from 'node:child_process';

const [series, cycles] = [Number(process.argv[2] || 10), Number(process.argv[3] || 7)];
/** Of ten series of equal builds so many may be called different. */
const MOST = 2;
const SLOWED = 1.2;
const room = 'bin/waiting-room';

function runner(...words) {
  const { status, stdout, stderr, error } = spawnSync('bin/barrier-bench', words, { encoding: 'utf8', maxBuffer: 1 << 28 });
  if (error) throw error;
  return { status, stdout, stderr };
}

/** Runs a plan of the scenario and returns what it compares, each with its name. */
function compared(...words) {
  const run = runner('run', 'controls', '--scenario', 'series', '--cycles', String(cycles), ...words);
  const folder = /^evidence: (.*)$/m.exec(run.stdout)?.[1];
  if (!folder) throw new Error(`no evidence: ${run.stderr.slice(-2000)}${run.stdout.slice(-2000)}`);
  const verdicts = /^plan .*$/m.exec(run.stdout)?.[0].replace(/^plan +/, '') ?? `exit code ${run.status}`;
  const { comparisons } = JSON.parse(runner('compare', folder, '--json').stdout);
  const figures = comparisons.flatMap((cell) => cell.comparisons.map((one) => ({ metric: cell.metric, ...one })));
  return { folder, verdicts, figures };
}

const outcome = (figure) => figure.verdict.outcome;
const differs = (figure) => ['higher', 'lower'].includes(outcome(figure));
const judged = (figure) => differs(figure) || ['noDifferenceShown', 'onlyUncorrected'].includes(outcome(figure));
const interval = ({ ratio }) => (ratio ? `${ratio.value.toFixed(3)} [${ratio.low.toFixed(3)}, ${ratio.high.toFixed(3)}]` : 'no ratio');

function tell(name, { folder, verdicts, figures }) {
  console.log(`${name}  ${verdicts}  ${folder}`);
  for (const figure of figures) console.log(`    ${figure.metric.padEnd(18)} ${interval(figure).padEnd(24)} ${figure.verdict.text}`);
}

let [found, without] = [0, 0];
for (let number = 1; number <= series; number += 1) {
  const one = compared('--variant', 'zset', '--build', `once=${room}`, '--build', `again=${room}`);
  tell(`equal ${number} of ${series}`, one);
  found += one.figures.some(differs) ? 1 : 0;
  without += one.figures.length > 0 && one.figures.every(judged) ? 0 : 1;
}
const slow = compared();
tell('slowed by 20 %', slow);
const drain = slow.figures.find((figure) => figure.metric === 'drainMs');
const seen = drain !== undefined && outcome(drain) === 'higher';
const holds = Boolean(drain?.ratio) && drain.ratio.low <= SLOWED && SLOWED <= drain.ratio.high;

console.log(`of ${series} series of equal builds ${found} with a difference (at most ${MOST} of ten), ${without} without a verdict`);
console.log(`the slowed room ${seen ? 'is found' : 'is not found'}, and the interval of drainMs ${holds ? 'holds' : 'does not hold'} ${SLOWED}`);
process.exitCode = found * 10 <= MOST * Math.max(series, 10) && without === 0 && seen && holds ? 0 : 1;

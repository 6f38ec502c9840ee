/** What k6-operator does with the manifest of docs/how-to/run-on-several-machines.md, without a cluster: its processes meet. */

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { parse } from 'yaml';

import { freePort, startRedis } from '../e2e/world.mjs';
import { readBook, ROOT } from './book.mjs';

const { blocks } = readBook().find(({ path }) => path === 'docs/how-to/run-on-several-machines.md');
const textOf = (language) => blocks.find((block) => block.language === language).text;

/** The file of this tree that the image has in this place. */
function inImage(path) {
  const [, from, to] = /^COPY (js) (\S+)$/m.exec(textOf('dockerfile'));
  assert.ok(path.startsWith(`${to}/`), `${path} is not in the image`);
  return join(ROOT, from, path.slice(to.length));
}

const status = (port, options) => fetch(`http://127.0.0.1:${port}/v1/status`, options);

async function listening(port) {
  for (;;) {
    try {
      if ((await status(port)).ok) {
        return;
      }
    } catch {
      // not yet
    }
    await setTimeout(50);
  }
}

test('the runners of the manifest meet', async (t) => {
  const world = await startRedis(t);
  const { metadata, spec } = parse(textOf('yaml'));
  const commands = blocks.find(({ text }) => text.startsWith('docker build')).text;
  assert.ok(commands.includes(`--tag ${spec.runner.image} `), 'the image that is built');
  assert.ok(commands.includes(`k6_cr=${metadata.name}\n`), 'the label that the operator gives to its pods');
  const [, secret, key] = /create secret generic (\S+) --from-literal=(\w+)=/.exec(commands);
  const secrets = { [secret]: { [key]: world.redisUrl } };
  const env = Object.fromEntries(
    spec.runner.env.map(({ name, value, valueFrom }) => [name, value ?? secrets[valueFrom.secretKeyRef.name][valueFrom.secretKeyRef.key]]),
  );
  const script = inImage(spec.script.localFile);

  // The initializer packs the script and asks it for its options.
  const archive = join(world.folder, 'archived.tar');
  const k6 = (...args) => execFileSync(join(ROOT, 'k6'), args, { env: { PATH: process.env.PATH, HOME: world.folder, ...env }, encoding: 'utf8' });
  k6('archive', script, '-O', archive);
  assert.equal(JSON.parse(k6('inspect', '--execution-requirements', archive)).maxVUs, 10);

  // The runners wait until all of them answer; then the starter lets them begin.
  const cuts = Array.from({ length: spec.parallelism + 1 }, (_, at) => (at === 0 ? '0' : at === spec.parallelism ? '1' : `${at}/${spec.parallelism}`));
  const ports = [];
  const runs = [];
  for (let at = 0; at < spec.parallelism; at++) {
    ports.push(await freePort());
    const segment = [`--execution-segment=${cuts[at]}:${cuts[at + 1]}`, `--execution-segment-sequence=${cuts.join(',')}`];
    const tags = ['--tag', `instance_id=${at + 1}`, '--tag', `testrun_name=${metadata.name}`];
    runs.push(world.k6(env, { script, args: [...segment, `--address=127.0.0.1:${ports[at]}`, '--paused', ...tags] }));
  }
  const early = Promise.race(runs).then(({ output }) => assert.fail(`a runner ended before it was let go:\n${output}`));
  await Promise.race([Promise.all(ports.map(listening)), early]);
  early.catch(() => {}); // from now on they may end
  const body = JSON.stringify({ data: { type: 'status', id: 'default', attributes: { paused: false } } });
  await Promise.all(ports.map((port) => status(port, { method: 'PATCH', body })));

  const outcomes = (await Promise.all(runs)).map((run) => run.expect(0, /✓ the users of all processes were there/));
  assert.equal(outcomes.length, 4);
  assert.equal(await world.redis('SCARD', `K6_BARRIER_JOINED:${metadata.name}:everywhere`), 10);
});

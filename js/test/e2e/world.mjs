/**
 * What an end-to-end test runs in: a Redis and a waiting room of its own on free ports, in a folder of its own, and k6.
 * Everything ends with the test.
 */

import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

const js = resolve(fileURLToPath(import.meta.url), '../../..');
const TOOLS = join(js, '../tools');

export const HARNESS = join(js, 'sse-throughput-test.js');
export const EXAMPLES = join(js, 'examples');
export const EVENTS = ['event-a', 'event-b'];

export const K6 = process.env.K6_BIN ?? join(js, '../k6');
const WAITING_ROOM = process.env.WAITING_ROOM_BIN ?? join(js, '../bin/waiting-room');
const REDIS_SERVER = process.env.REDIS_SERVER_BIN || 'redis-server';

/** What must not outlive this process, however it ends. */
const children = new Set();
const folders = new Set();
process.on('exit', () => {
  children.forEach((child) => child.kill('SIGKILL'));
  folders.forEach((folder) => rmSync(folder, { recursive: true, force: true }));
});
['SIGINT', 'SIGTERM', 'SIGHUP'].forEach((signal) => process.on(signal, () => process.exit(1)));

/** Starts a process that ends with this one. */
function launch(command, args, options) {
  const child = spawn(command, args, options);
  children.add(child);
  child.once('exit', () => children.delete(child));
  return child;
}

export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * A port for a node of a cluster, which listens on the one 10,000 above as well. Both are below those that the system hands
 * out by itself.
 */
export async function freePortForNode() {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 10_000);
    if ((await isFree(port)) && (await isFree(port + 10_000))) {
      return port;
    }
  }
}

async function isFree(port) {
  const server = createServer().listen(port, '127.0.0.1');
  try {
    await once(server, 'listening');
    return true;
  } catch {
    return false;
  } finally {
    server.close();
  }
}

/**
 * A server, ready when its stdout has a line that matches. It ends with the test.
 *
 * @returns {Promise<{ child: import('node:child_process').ChildProcess, match: RegExpExecArray }>}
 */
export async function serve(t, command, args, ready) {
  const child = launch(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = once(child, 'exit');
  t.after(async () => {
    child.kill('SIGCONT');
    child.kill('SIGTERM');
    await exited;
  });
  let output = '';
  child.stderr.on('data', (chunk) => (output += chunk));
  const match = await new Promise((done, fail) => {
    child.stdout.on('data', (chunk) => {
      output += chunk;
      const found = ready.exec(output);
      if (found) {
        done(found);
      }
    });
    child.once('error', fail);
    child.once('exit', () => fail(new Error(`${command} ended before it was ready:\n${output}`)));
  });
  return { child, match };
}

/**
 * A folder with a private Redis, and a waiting room with the given arguments in front of it.
 *
 * @returns {Promise<World>}
 */
export async function startWorld(t, waitingRoomArgs = []) {
  const world = await startRedis(t);
  return startWaitingRoom(world, world.redisUrl, waitingRoomArgs);
}

/** Puts a waiting room in front of a Redis. */
export async function startWaitingRoom(world, redisUrl, args = []) {
  const all = ['--redis', redisUrl, '--events', EVENTS.join(','), ...args];
  const { child, match } = await serve(world.t, WAITING_ROOM, all, /listening on (\S+)/);
  return Object.assign(world, { baseUrl: match[1], waitingRoom: child });
}

/**
 * A folder with a private Redis alone.
 *
 * @param {{ port?: number, args?: string[] | ((folder: string) => string[]) }} options of the server: a port instead of a
 *   free one, further arguments
 */
export async function startRedis(t, options = {}) {
  const folder = await newFolder(t);
  const port = options.port ?? (await freePort());
  const more = typeof options.args === 'function' ? options.args(folder) : (options.args ?? []);
  const args = ['--port', port, '--bind', '127.0.0.1', '--save', '', '--dir', folder, ...more];
  const { child } = await serve(t, REDIS_SERVER, args, /Ready to accept/);
  return Object.assign(new World(t, folder, port), { redisServer: child });
}

/** Kills the Redis of this world and starts an empty one in its place. */
export async function restartRedis(world) {
  const ended = once(world.redisServer, 'exit');
  world.redisServer.kill('SIGKILL');
  await ended;
  world.redisServer = (await startRedis(world.t, { port: world.redisPort })).redisServer;
}

/** A folder that goes away with the test. */
export async function newFolder(t) {
  const folder = await mkdtemp(join(tmpdir(), 'k6-barrier-'));
  folders.add(folder);
  t.after(async () => {
    await rm(folder, { recursive: true });
    folders.delete(folder);
  });
  return folder;
}

/** The arguments of a Redis that speaks TLS as well, for `redis.test`, and wants a certificate of the client. */
export function withTls(port) {
  return (folder) => {
    execFileSync('go', ['-C', TOOLS, 'run', './certificates', folder, 'redis.test', 'client'], { stdio: 'inherit' });
    const file = (name) => join(folder, name);
    return [
      ...['--tls-port', port, '--tls-ca-cert-file', file('ca.pem'), '--tls-cert-file', file('redis.test.pem')],
      ...['--tls-key-file', file('redis.test.key')],
    ];
  };
}

export class World {
  constructor(t, folder, redisPort) {
    Object.assign(this, { t, folder, redisPort, redisUrl: `redis://127.0.0.1:${redisPort}`, baseUrl: 'http://127.0.0.1:1' });
  }

  /** Runs one Redis command. Numbers and texts come as they are, nil as null. */
  async redis(...args) {
    const socket = connect(this.redisPort, '127.0.0.1').setEncoding('utf8');
    try {
      socket.write(`*${args.length}\r\n${args.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`).join('')}`);
      let received = '';
      for await (const chunk of socket) {
        received += chunk;
        const reply = parseReply(received);
        if (reply) {
          return reply.value;
        }
      }
      throw new Error(`Redis closed the connection after ${received}`);
    } finally {
      socket.destroy();
    }
  }

  /** Starts k6, which finds nothing of this process's own settings in its environment. It ends with the test at the latest. */
  #startK6(args, env) {
    const own = { PATH: process.env.PATH, HOME: this.folder, K6_AUTO_EXTENSION_RESOLUTION: 'false', K6_NO_USAGE_REPORT: 'true' };
    const child = launch(K6, args, { cwd: this.folder, stdio: ['ignore', 'pipe', 'pipe'], env: { ...own, ...env } });
    this.t.after(() => child.kill('SIGKILL'));
    [child.stdout, child.stderr].forEach((stream) => stream.setEncoding('utf8'));
    return child;
  }

  /** Starts a test. */
  startTest(script, args, env) {
    return this.#startK6(['run', '--quiet', '--no-color', '--address', '', ...args, script], env);
  }

  /** Starts `k6 x barrier` with these arguments; `ended` gives its exit code. */
  startOperator(...args) {
    const child = this.#startK6(['x', 'barrier', ...args], { K6_BARRIER_REDIS: this.redisUrl });
    const command = { child, stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => (command.stdout += chunk));
    child.stderr.on('data', (chunk) => (command.stderr += chunk));
    command.ended = once(child, 'close').then(([code]) => code);
    return command;
  }

  /** Runs it to its end, which must be this exit code. */
  async operate(code, ...args) {
    const command = this.startOperator(...args);
    assert.equal(await command.ended, code, `${args.join(' ')}\n${command.stdout}${command.stderr}`);
    return command;
  }

  /**
   * Runs the harness, or another script, to its end.
   *
   * @param {Record<string, string | number>} env
   * @param {{ script?: string, args?: string[], onLine?: (line: string) => void, started?: (child: import('node:child_process').ChildProcess) => void }} options
   * @returns {Promise<Outcome>}
   */
  async k6(env, { script = HARNESS, args = [], onLine, started } = {}) {
    const child = this.startTest(script, args, {
      EVENT_IDS: EVENTS.join(','),
      REDIS_URL: this.redisUrl,
      BASE_URL: this.baseUrl,
      BURST_OFFSET_MS: '0',
      SSE_P95_THRESHOLD: '60000',
      ...Object.fromEntries(Object.entries(env).map(([name, value]) => [name, String(value)])),
    });
    started?.(child);
    let output = '';
    let seen = 0;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        output += chunk;
        for (let end; onLine && (end = output.indexOf('\n', seen)) >= 0; seen = end + 1) {
          onLine(output.slice(seen, end));
        }
      });
    }
    const start = Date.now();
    const [code] = await once(child, 'close');
    return new Outcome(code, output, Date.now() - start, await this.#summary());
  }

  /**
   * Runs the harness. Once as many lines as `times` says have the text something is done, and done before this returns.
   *
   * @param {Record<string, string | number>} env
   * @param {string} text
   * @param {() => unknown} disturb
   */
  async disturbedK6(env, text, disturb, times = 1) {
    let disturbed;
    let seen = 0;
    const onLine = (line) => {
      if (line.includes(text) && ++seen === times) {
        disturbed = { done: disturb() };
      }
    };
    const run = await this.k6(env, { onLine });
    assert.ok(disturbed, `"${text}" was printed ${seen} times of ${times}\n${run.output}`);
    await disturbed.done;
    return run;
  }

  async #summary() {
    try {
      return JSON.parse(await readFile(join(this.folder, 'summary.json'), 'utf8'));
    } catch (error) {
      assert.equal(error.code, 'ENOENT');
      return undefined;
    }
  }
}

/** The value at the head of a reply, and what follows it; undefined while the reply is not complete. */
function parseReply(text) {
  const end = text.indexOf('\r\n');
  if (end < 0) {
    return undefined;
  }
  const head = text.slice(1, end);
  let rest = text.slice(end + 2);
  switch (text[0]) {
    case '-':
      throw new Error(head);
    case ':':
      return { value: Number(head), rest };
    case '$': {
      const length = Number(head);
      if (length < 0) {
        return { value: null, rest };
      }
      return rest.length < length + 2 ? undefined : { value: rest.slice(0, length), rest: rest.slice(length + 2) };
    }
    case '*': {
      const value = [];
      for (let left = Number(head); left > 0; left--) {
        const item = parseReply(rest);
        if (!item) {
          return undefined;
        }
        value.push(item.value);
        rest = item.rest;
      }
      return { value, rest };
    }
    default:
      return { value: head, rest };
  }
}

/** How a run ended. */
class Outcome {
  constructor(code, output, elapsedMs, summary) {
    Object.assign(this, { code, output, elapsedMs, summary });
  }

  /** A statistic of a metric, 0 where a counter was never increased. */
  value(metric, statistic = 'count') {
    return this.summary.metrics[metric]?.values[statistic] ?? 0;
  }

  /** Fails with the run's whole output unless it ended with the code and printed the texts or patterns. */
  expect(code, ...expected) {
    assert.equal(this.code, code, this.output);
    for (const text of expected) {
      const found = text instanceof RegExp ? text.test(this.output) : this.output.includes(text);
      assert.ok(found, `not printed: ${text}\n${this.output}`);
    }
    return this;
  }
}

/** A Redis of the run's own, and what it counts. */
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

import { end, start } from '../programs.mjs';

/** How often the connections are counted while users meet, in ms. */
const LOOK = 25;

/** A port that nobody uses. */
export async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  server.close();
  await once(server, 'close');
  return port;
}

/**
 * What a section of INFO says, as far as it is of use here.
 *
 * @param {string} info the answer to INFO
 * @returns {{ connections: number, reads: number, calls: Record<string, number> }} connections: open now; reads: how often it
 *   read from one so far, a pipeline at once; calls: of each command so far
 */
export function read(info) {
  const calls = Object.fromEntries([...info.matchAll(/^cmdstat_([^:]+):calls=(\d+)/gm)].map(([, name, count]) => [name, Number(count)]));
  const field = (name) => Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1] ?? NaN);
  return { connections: field('connected_clients'), reads: field('total_reads_processed'), calls };
}

/** A connection that sends one command after another. */
class Client {
  constructor(port) {
    this.socket = connect(port, '127.0.0.1').setEncoding('utf8');
    this.text = '';
    this.sent = 0;
    /** Rejects once it is closed, also for who asks afterwards. */
    this.closed = once(this.socket, 'close').then(() => Promise.reject(new Error('redis-server closed the connection')));
    this.closed.catch(() => {});
    this.socket.on('data', (text) => { this.text += text; this.socket.emit('more'); });
  }

  /** The answer to a command: of INFO its text, of others the line. */
  async send(command) {
    this.sent += 1;
    this.socket.write(`${command}\r\n`);
    for (;;) {
      const [whole, length] = /^\$(\d+)\r\n/.exec(this.text) ?? [];
      const line = /^[^$].*?\r\n/.exec(this.text)?.[0];
      const size = whole === undefined ? line?.length : whole.length + Number(length) + 2;
      if (size !== undefined && this.text.length >= size) {
        const answer = this.text.slice(whole?.length ?? 0, size - 2);
        this.text = this.text.slice(size);
        if (answer.startsWith('-')) throw new Error(`Redis answered ${JSON.stringify(command)} with ${answer}`);
        return answer;
      }
      await Promise.race([once(this.socket, 'more'), this.closed]);
    }
  }
}

/** Starts a Redis that keeps nothing on disk. */
export async function startRedis(program) {
  const port = await freePort();
  const { child, ended } = start(program, ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--maxclients', '10000']);
  const failed = ended.then(() => Promise.reject(new Error('redis-server ended early')));
  failed.catch(() => {});
  const client = await Promise.race([connected(port), failed]);
  return {
    url: `redis://127.0.0.1:${port}`,
    version: /^redis_version:(.*)$/m.exec(await client.send('INFO server'))?.[1].trim() ?? 'unknown',
    /** Empties Redis, then calls a function; gives what it returns, the most connections meanwhile, and what came over them. */
    async watch(use) {
      await client.send('FLUSHALL');
      await client.send('CONFIG RESETSTAT');
      const before = read(await client.send('INFO stats')).reads - client.sent;
      let [peak, over] = [0, false];
      const looking = (async () => {
        while (!over) {
          peak = Math.max(peak, read(await client.send('INFO clients')).connections - 1); // without this one
          await new Promise((resolve) => setTimeout(resolve, LOOK));
        }
      })();
      looking.catch(() => {}); // who waits for it below hears of it
      try {
        const result = await use();
        const { info, 'config|resetstat': reset, ...calls } = read(await client.send('INFO commandstats')).calls; // without this one's
        const reads = read(await client.send('INFO stats')).reads - client.sent - before;
        return { result, peak, reads, calls };
      } finally {
        over = true;
        await looking;
      }
    },
    close() {
      client.socket.destroy();
      end(child);
    },
  };
}

async function connected(port) {
  for (;;) {
    const client = new Client(port);
    try {
      await once(client.socket, 'connect'); // refused until it listens
      client.socket.on('error', () => {}); // whoever waits for an answer hears that it is closed
      return client;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, LOOK));
    }
  }
}

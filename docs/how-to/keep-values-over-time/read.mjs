// Reads what `k6 run --out hdrlog=FILE` has written, with nothing but Node.
//
//   node read.mjs FILE [METRIC]    one line for each second of each trend, or of one of them

import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { inflateSync } from 'node:zlib';

/** Lines of a file that may have been cut off: what stands behind the last end of a line is no line. */
const linesOf = (file) => readFileSync(file, 'utf8').split('\n').slice(0, -1);

/**
 * All series of a run, by number. Values are by the start of their second, in ms since the epoch; late samples make a second
 * line for a second, which is merged here.
 *
 * @param {string} file the histograms; the values are beside it
 */
export function readSeries(file) {
  const [head, ...lines] = linesOf(`${file}.jsonl`).map((line) => JSON.parse(line));
  const series = new Map();
  let end;
  for (const line of lines) {
    if (line.series !== undefined) {
      series.set(line.series, { ...line, values: new Map(), histograms: new Map() });
    } else if (line.end) {
      end = line;
    } else {
      const { s, t, ...values } = line;
      const before = series.get(s).values.get(t);
      series.get(s).values.set(t, before ? merged(before, values) : values);
    }
  }
  for (const line of linesOf(file)) {
    const [, number, start, , , base64] = /^Tag=(\d+),([\d.]+),([\d.]+),([\d.]+),(.+)$/.exec(line) ?? [];
    const of = series.get(Number(number));
    if (of) {
      const t = head.baseMs + Math.round(Number(start) * 1000);
      const counts = of.histograms.get(t) ?? new Map();
      decode(base64).forEach((n, value) => counts.set(value / of.scale, (counts.get(value / of.scale) ?? 0) + n));
      of.histograms.set(t, counts);
    }
  }
  return { head, series: [...series.values()], end };
}

function merged(a, b) {
  const both = { ...a, ...b, n: a.n + b.n, sum: a.sum + b.sum };
  if ('min' in a) {
    Object.assign(both, { min: Math.min(a.min, b.min), max: Math.max(a.max, b.max) });
  }
  return a.neg || b.neg ? { ...both, neg: (a.neg ?? 0) + (b.neg ?? 0) } : both;
}

/** How often a histogram has which value: HdrHistogram's encoding V2, compressed, as base64. */
export function decode(base64) {
  const bytes = inflateSync(Buffer.from(base64, 'base64').subarray(8));
  const end = 40 + bytes.readInt32BE(4);
  const half = 2 ** (Math.ceil(Math.log2(2 * 10 ** bytes.readInt32BE(12))) - 1);
  const counts = new Map();
  let index = 0;
  for (let at = 40; at < end; ) {
    let raw = 0n; // seven bits a byte, the lowest first; the sign is the lowest bit of all
    for (let shift = 0n, more = true; more; shift += 7n) {
      const byte = bytes[at++];
      more = byte > 127 && shift < 56n;
      raw |= BigInt(more ? byte & 127 : byte) << shift;
    }
    const n = Number((raw >> 1n) ^ -(raw & 1n));
    if (n > 0) {
      const power = Math.max(Math.floor(index / half) - 1, 0);
      const low = (index - power * half) * 2 ** power;
      counts.set(low + 2 ** power - 1, n); // the largest value that is counted here
    }
    index += n < 0 ? -n : 1; // less than nothing: so many counts of 0
  }
  return counts;
}

/** The value that so many per cent of all do not exceed. */
export function percentile(counts, percent) {
  const sorted = [...counts].sort(([a], [b]) => a - b);
  const all = sorted.reduce((sum, [, n]) => sum + n, 0);
  let rank = Math.max(Math.ceil((percent / 100) * all), 1);
  return sorted.find(([, n]) => (rank -= n) <= 0)?.[0];
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [, , file, metric] = process.argv;
  const { series, end } = readSeries(file);
  const told = series.filter(({ metric: name, type }) => type === 'trend' && (!metric || name === metric));
  // Numbers follow whichever series had a sample first, and that is another one each time.
  const named = told.map((one) => ({ ...one, tags: Object.entries(one.tags).map(([name, value]) => `${name}=${value}`) }));
  for (const one of named.sort((a, b) => `${a.metric} ${a.tags}`.localeCompare(`${b.metric} ${b.tags}`))) {
    for (const [t, { n, sum, max }] of [...one.values].sort(([a], [b]) => a - b)) {
      const p95 = percentile(one.histograms.get(t), 95).toFixed(1);
      console.log(new Date(t).toISOString(), one.metric, ...one.tags, `n=${n} mean=${(sum / n).toFixed(1)} p95=${p95} max=${max.toFixed(1)}`);
    }
  }
  console.log(end ? `${end.samples} samples, nothing is missing` : 'k6 did not come to its end: the last seconds are missing');
}

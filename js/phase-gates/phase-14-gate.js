// @ts-check
/** Phase 14, accounts: what the audit log costs, a list of all parts of the software, and recovery from the loss of the log. */

import { check } from 'k6';
import exec from 'k6/execution';

import { gate, repeated } from './lib/gate.js';
import { block } from './lib/paired.js';

const BLOCKS = 10;
const { config, options, feed, handleSummary, post } = gate(14, 'CTO track', () => ({
  accounts: repeated('accounts', BLOCKS + 1),
}));

export { options, handleSummary };

/** The blocks, and then what is to be accounted for. */
export function accounts() {
  if (exec.vu.iterationInScenario === BLOCKS) {
    account();
    return;
  }
  const set = (/** @type {boolean} */ on) => post('/phase/14/audit', { on });
  const bound = block(BLOCKS, set, `${config.baseUrl}/phase/14/action`, '{"what":"customer 7 was shown to clerk 3"}');
  feed('phase14_audit_overhead_ms', bound ?? []);
}

function account() {
  post('/phase/14/audit', { on: true });
  const sbom = post('/phase/14/sbom', {});
  check(sbom, { 'the list has parts': (list) => list?.components > 10 });
  feed('phase14_sbom_ms', sbom ? sbom.elapsed_us / 1000 : []);

  const backup = post('/phase/14/backup', {});
  feed('phase14_backup_ms', backup ? backup.elapsed_us / 1000 : []);
  const disaster = post('/phase/14/disaster', {});
  const began = Date.now();
  const recovered = post('/phase/14/recover', {});
  const verified = post('/phase/14/verify', {});
  if (backup && disaster && recovered && verified) {
    feed('phase14_recovery_ms', Date.now() - began);
    feed('phase14_lost_entries', disaster.lost - verified.n);
    check(recovered, { 'it ends as the log did': ({ last }) => last === backup.last && verified.n > 0 });
  }
  rotate();
}

/** Another key for the log, while somebody acts: what was written before and after has to hold. */
function rotate() {
  const acted = () => post('/phase/14/action', { what: 'customer 7 was shown to clerk 3' });
  const before = acted() && post('/phase/14/verify', {});
  const rotated = post('/phase/14/rotate', {});
  const after = acted() && post('/phase/14/verify', {});
  check(after, { 'entries of both keys hold': (told) => told?.n === before?.n + 1 });
  feed('phase14_rotation_ms', rotated ? rotated.elapsed_us / 1000 : []);
}

export function teardown() {
  post('/phase/14/audit', { on: true });
}

// @ts-check
/** Phase 14, accounts: what the audit log costs, a list of all parts of the software, and recovery from the loss of the log. */

import { check } from 'k6';
import exec from 'k6/execution';

import { gate, repeated } from './lib/gate.js';
import { inMs, known } from './lib/numbers.js';
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
  const traces = () => post('/phase/14/verify', {})?.n;
  const bound = block(BLOCKS, set, traces, `${config.baseUrl}/phase/14/action`, '{"what":"customer 7 was shown to clerk 3"}');
  feed('phase14_audit_overhead_ms', bound);
}

function account() {
  post('/phase/14/audit', { on: true });
  const sbom = post('/phase/14/sbom', {});
  check(sbom, { 'the list has parts': (list) => list?.components > 10 });
  feed('phase14_sbom_ms', inMs(sbom?.elapsed_us));

  const backup = post('/phase/14/backup', {});
  feed('phase14_backup_ms', inMs(backup?.elapsed_us));
  const disaster = post('/phase/14/disaster', {});
  const began = Date.now();
  const recovered = post('/phase/14/recover', {});
  const verified = post('/phase/14/verify', {});
  // What does not say how much it lost has recovered nothing that anybody knows of.
  if (backup && recovered && known(disaster?.lost, verified?.n)) {
    feed('phase14_recovery_ms', Date.now() - began);
    feed('phase14_lost_entries', disaster.lost - verified.n);
    check(recovered, { 'it ends as the log did': ({ last }) => last !== undefined && last === backup.last && verified.n > 0 });
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
  feed('phase14_rotation_ms', inMs(rotated?.elapsed_us));
}

export function teardown() {
  post('/phase/14/audit', { on: true });
}

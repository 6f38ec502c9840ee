// @ts-check
/**
 * What each phase has to reach. Needs nothing of k6: the scripts make their thresholds and their verdict of this table, and a test
 * holds the suite's gates to it.
 */

/**
 * @typedef {object} Target
 * @property {string} what in words
 * @property {string} metric of k6
 * @property {'trend' | 'rate' | 'counter' | 'gauge'} type
 * @property {string} stat of it, as k6 names it
 * @property {'<' | '<=' | '>' | '>=' | '=='} op
 * @property {number} limit
 * @property {string} unit
 * @property {number} [samples] fewer of them say nothing; 1 by default
 * @property {number} [seconds] value and limit are counts, and are told for each of so many seconds
 * @property {boolean} [watched] told, and no part of the verdict
 * @property {string} [missing] what is said where there are too few samples
 */

/**
 * What a target's numbers depend on.
 *
 * @typedef {object} Size
 * @property {number} seconds that the load of the gate lasts
 * @property {number} views open at once, phase 6
 * @property {number} sockets open at once, phase 6
 * @property {number} kills of nodes, phase 9
 * @property {boolean} quick whether what is counted is small
 * @property {number} requests whose share of good ones says something, phase 10
 * @property {boolean} [judged] elsewhere: by the runner, which injects faults
 */

/** Phases in which faults are injected: there, calls may fail, and their share is a target of its own. */
export const RESILIENCE = [9, 13];

/** @type {(what: string, metric: string, stat: string, op: Target['op'], limit: number, unit: string, more?: Partial<Target>) => Target} */
const trend = (what, metric, stat, op, limit, unit, more) => ({ what, metric, type: 'trend', stat, op, limit, unit, ...more });
/** @type {(what: string, metric: string, op: Target['op'], limit: number, more?: Partial<Target>) => Target} */
const rate = (what, metric, op, limit, more) => ({ what, metric, type: 'rate', stat: 'rate', op, limit, unit: '', ...more });
/** So many in a second, of a load that lasts so long. @type {(what: string, metric: string, limit: number, size: Size, more?: Partial<Target>) => Target} */
const each = (what, metric, limit, { seconds }, more) => ({
  what, metric, type: 'counter', stat: 'count', op: '>=', limit: limit * seconds, unit: '/s', seconds, ...more,
});
const watched = { watched: true };

/** @type {Record<number, (size: Size) => Target[]>} */
const PHASES = {
  0: () => [
    trend('all tools together', 'pipeline_duration', 'avg', '<', 300000, 'ms'),
    rate('tools that succeed', 'gate_pass_rate', '==', 1, { samples: 6 }),
  ],
  1: () => [
    trend('parse a table of 10,000 rows', 'csv_parsing_duration', 'p(95)', '<', 50, 'ms', { samples: 20 }),
    trend('statistics of 100,000 numbers', 'stats_calculation_duration', 'p(95)', '<', 100, 'ms', { samples: 20 }),
    trend('memory for a table of 1,000,000 rows', 'memory_usage_mb', 'max', '<', 50, 'MB'),
    { what: 'errors', metric: 'errors', type: 'counter', stat: 'count', op: '==', limit: 0, unit: '' },
    trend('requests, with their transport', 'http_req_duration', 'p(95)', '<', 150, 'ms', watched),
    trend('properties, a thousand cases of each', 'phase01_properties_ms', 'max', '<', 10000, 'ms', watched),
  ],
  2: () => [
    trend('pass a message', 'message_passing_duration', 'p(95)', '<', 1, 'ms', { samples: 1000 }),
    trend('start a process', 'process_spawn_duration', 'p(95)', '<', 0.5, 'ms', { samples: 1000 }),
    trend('look through a mailbox of 1,000', 'mailbox_scan_duration', 'avg', '<', 10, 'ms', watched),
    trend('begin to watch a process', 'phase02_monitor_ms', 'p(95)', '<', 0.1, 'ms', watched),
  ],
  3: (size) => [
    trend('call', 'genserver_call_duration', 'p(95)', '<', 5, 'ms', { samples: 1000 }),
    trend('call', 'genserver_call_duration', 'p(99)', '<', 20, 'ms', { samples: 1000 }),
    each('calls', 'genserver_throughput', 500, size),
    trend('recovery by the supervisor', 'supervisor_restart_time', 'p(95)', '<', 100, 'ms', { samples: 5 }),
    rate('crashes that were recovered from', 'crash_recovery_success', '==', 1, { samples: 5 }),
    trend('cast, for who casts', 'genserver_cast_duration', 'p(95)', '<', 1, 'ms', watched),
    trend('messages in the mailbox', 'mailbox_depth', 'p(95)', '<', 100, '', watched),
  ],
  4: () => [
    trend('look up a name', 'phase04_lookup_ms', 'p(95)', '<', 1, 'ms', { samples: 1000 }),
    trend('starts and stops of workers', 'phase04_workers_per_second', 'avg', '>=', 1000, '/s', { samples: 5 }),
    trend('start a worker', 'phase04_spawn_ms', 'p(95)', '<', 5, 'ms', watched),
    trend('memory for 10,000 names', 'phase04_registry_mb', 'max', '<', 1, 'MB', watched),
    trend('end 1,000 workers', 'phase04_sweep_ms', 'max', '<', 500, 'ms', watched),
  ],
  5: (size) => [
    trend('simple query', 'phase05_simple_ms', 'p(95)', '<', 10, 'ms', { samples: 100 }),
    trend('complex query, three joins', 'phase05_complex_ms', 'p(95)', '<', 50, 'ms', { samples: 100 }),
    each('writes', 'phase05_writes', 500, size),
    trend('write', 'phase05_write_ms', 'p(95)', '<', 20, 'ms', watched),
    trend('transaction', 'phase05_transaction_ms', 'p(95)', '<', 30, 'ms', watched),
    trend('a connection of the pool', 'phase05_checkout_ms', 'p(95)', '<', 1, 'ms', watched),
  ],
  6: ({ views, sockets, quick }) => [
    trend('page', 'http_request_duration', 'p(95)', '<', 50, 'ms', { samples: 20 }),
    trend('mount of a view', 'liveview_mount_duration', 'p(95)', '<', 150, 'ms', { samples: views }),
    trend('views open all the time', 'concurrent_liveviews', 'min', '>=', views, '', { samples: quick ? 2 : 20 }),
    trend('JSON', 'json_api_duration', 'p(95)', '<', 100, 'ms', watched),
    trend('patch of a view', 'liveview_patch_duration', 'p(95)', '<', 50, 'ms', watched),
    trend('message in a room', 'websocket_msg_duration', 'p(95)', '<', 100, 'ms', watched),
    trend('sockets open all the time', 'concurrent_websockets', 'min', '>=', sockets, '', { samples: quick ? 2 : 20, ...watched }),
    trend('memory of a view', 'memory_per_liveview_kb', 'avg', '<', 50, 'KB', watched),
  ],
  7: () => [
    trend('events', 'phase07_events_per_second', 'avg', '>=', 10000, '/s', { samples: 5 }),
    trend('job, from the queue to its end', 'phase07_job_ms', 'p(95)', '<', 5000, 'ms', { samples: 500 }),
    trend('events lost', 'phase07_lost_events', 'max', '==', 0, '', { samples: 5 }),
    trend('events waiting in an overload, of what may wait', 'phase07_overload_share', 'max', '<=', 1.1, '', { samples: 1 }),
    trend('event', 'phase07_event_ms', 'p(95)', '<', 100, 'ms', watched),
    trend('jobs', 'phase07_jobs_per_second', 'avg', '>=', 1000, '/s', watched),
    trend('empty again after an overload', 'phase07_drained_ms', 'max', '<', 5000, 'ms', watched),
    trend('memory with 100,000 jobs that wait', 'phase07_memory_mb', 'max', '<', 500, 'MB', watched),
  ],
  8: () => [
    trend('read', 'phase08_read_ms', 'p(95)', '<', 0.5, 'ms', { samples: 1000 }),
    trend('reads', 'phase08_reads_per_second', 'avg', '>=', 100000, '/s', { samples: 5 }),
    trend('hits', 'phase08_hit_share', 'avg', '>', 0.9, '', { samples: 5 }),
    trend('loads of a cold key that all ask for at once', 'phase08_stampede_loads', 'max', '==', 1, '', { samples: 250 }),
    trend('read', 'phase08_read_ms', 'p(99)', '<', 1, 'ms', watched),
    trend('write', 'phase08_write_ms', 'p(95)', '<', 1, 'ms', watched),
    trend('memory for 1,000,000 entries', 'phase08_memory_mb', 'max', '<', 100, 'MB', watched),
  ],
  9: (size) => [
    trend('call of another node', 'rpc_call_duration', 'p(95)', '<', 20, 'ms', { samples: 1000 }),
    trend('from the end of a node to the first good call', 'failover_duration', 'max', '<', 5000, 'ms', { samples: size.kills }),
    rate('calls that failed', 'request_errors', '<', 0.01, { samples: 1000 }),
    rate('kills that were confirmed', 'phase09_kills_confirmed', '==', 1, { samples: size.kills }),
    trend('look up where a key is', 'shard_lookup_duration', 'p(95)', '<', 5, 'ms', watched),
    each('calls', 'cross_node_messages', 1000, size, watched),
    { what: 'nodes alive at last', metric: 'nodes_alive', type: 'gauge', stat: 'value', op: '>=', limit: 2, unit: '', ...watched },
    trend('ten nodes form a cluster', 'phase09_formed_ms', 'max', '<', 10000, 'ms', watched),
    trend('calls, fifty at once', 'phase09_calls_per_second', 'avg', '>=', 10000, '/s', watched),
  ],
  10: ({ requests }) => [
    trend('what exporting costs, upper 95 % bound', 'phase10_overhead_ms', 'max', '<', 5, 'ms'),
    rate('availability', 'phase10_availability', '>=', 0.999, { samples: requests }),
    trend('until the alert of a drill fires', 'phase10_alert_ms', 'max', '<', 10000, 'ms'),
    trend('requests', 'http_req_duration', 'p(95)', '<', 150, 'ms', watched),
    trend('memory', 'phase10_memory_mb', 'max', '<', 50, 'MB', watched),
  ],
  11: ({ quick }) => [
    trend('all tests', 'phase11_suite_ms', 'max', '<', 30000, 'ms', { samples: quick ? 10 : 100 }),
    trend('coverage', 'phase11_coverage_percent', 'min', '>', 90, '%', { samples: quick ? 10 : 100 }),
    rate('runs that failed', 'phase11_flake_share', '==', 0, { samples: quick ? 10 : 100 }),
  ],
  12: () => [
    trend('health check', 'phase12_health_ms', 'p(95)', '<', 100, 'ms', { samples: 100 }),
    trend('end of a node in good order', 'phase12_shutdown_ms', 'max', '<', 30000, 'ms'),
    rate('requests that failed while nodes were replaced', 'phase12_failed_requests', '==', 0, { samples: 100 }),
    trend('readiness', 'phase12_readiness_ms', 'p(95)', '<', 200, 'ms', watched),
    trend('deploy', 'phase12_deploy_ms', 'max', '<', 600000, 'ms', watched),
    trend('rollback', 'phase12_rollback_ms', 'max', '<', 120000, 'ms', watched),
  ],
  13: (size) => [
    trend('order, over the whole path', 'phase13_order_ms', 'p(95)', '<', 200, 'ms', { samples: 1000 }),
    each('orders', 'phase13_orders', 1000, size),
    rate('orders that failed', 'phase13_failed_orders', '<', 0.01, { samples: 1000 }),
    rate('orders that were placed and never written down', 'phase13_lost_orders', '==', 0),
    trend('order, over the whole path', 'phase13_order_ms', 'p(99)', '<', 500, 'ms', watched),
    trend('from the end of a node until it is back', 'phase13_recovery_ms', 'max', '<', 300000, 'ms', watched),
    // The script injects nothing and cannot tell what somebody else did: it never says that a drill was survived.
    ...(size.judged === false ? [rate('chaos drills survived', 'phase13_drills', '==', 1, { missing: 'NOT JUDGED: the runner injects the faults' })] : []),
  ],
  14: () => [
    trend('what the audit log costs, upper 95 % bound', 'phase14_audit_overhead_ms', 'max', '<', 5, 'ms'),
    trend('list of all parts of the software', 'phase14_sbom_ms', 'max', '<', 120000, 'ms'),
    trend('recovery from a disaster', 'phase14_recovery_ms', 'max', '<', 4 * 3600 * 1000, 'ms'),
    trend('entries lost by it', 'phase14_lost_entries', 'max', '==', 0, ''),
    trend('backup', 'phase14_backup_ms', 'max', '<', 3600 * 1000, 'ms', watched),
    trend('another key for the log', 'phase14_rotation_ms', 'max', '<', 600 * 1000, 'ms', watched),
  ],
  15: () => [
    trend('inference', 'phase15_infer_ms', 'p(95)', '<', 200, 'ms', { samples: 100 }),
    trend('items of a batch', 'phase15_items_per_second', 'avg', '>=', 100, '/s', { samples: 5 }),
    trend('from a swap to the first new answer', 'phase15_swap_ms', 'max', '<', 1000, 'ms', { samples: 3 }),
    rate('inferences that failed', 'phase15_failed', '==', 0, { samples: 100 }),
    trend('inference', 'phase15_infer_ms', 'p(99)', '<', 500, 'ms', watched),
    trend('load of a model, a stub', 'phase15_load_ms', 'max', '<', 10000, 'ms', watched),
    trend('memory', 'phase15_memory_mb', 'max', '<', 500, 'MB', watched),
    trend('processors, of all of them', 'phase15_processors_percent', 'max', '<', 70, '%', watched),
  ],
};

/** All checks, where nothing is broken on purpose. @type {Target} */
const CHECKS = { what: 'checks', metric: 'checks', type: 'rate', stat: 'rate', op: '==', limit: 1, unit: '' };

/**
 * The targets of a phase.
 *
 * @param {number} phase
 * @param {Size} size
 * @returns {Target[]}
 */
export function targetsOf(phase, size) {
  const targets = PHASES[phase](size);
  return RESILIENCE.includes(phase) ? targets : [...targets, CHECKS];
}

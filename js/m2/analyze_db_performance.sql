-- What a load did to the database of a challenge service: psql -f analyze_db_performance.sql. It only reads.
--
-- Each flush of the event handler has a temporary table of its own, so that one statement has thousands of entries in
-- pg_stat_statements: they are put together by their text, and the whole time orders them, not the mean of one entry.

\set QUIET on
\pset border 2
\pset null -
\pset footer off

\echo 1. Statements by their whole time
SELECT left(regexp_replace(query, '\s+', ' ', 'g'), 100) AS statement,
       sum(calls) AS calls,
       count(*) AS entries,
       round(sum(total_exec_time)::numeric, 1) AS total_ms,
       round((100 * sum(total_exec_time) / nullif(sum(sum(total_exec_time)) OVER (), 0))::numeric, 1) AS percent,
       round((sum(total_exec_time) / greatest(sum(calls), 1))::numeric, 3) AS mean_ms,
       round(max(max_exec_time)::numeric, 1) AS longest_ms,
       sum(rows) AS rows
FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  -- Without what barrier-bench asks.
  AND query NOT LIKE 'SELECT coalesce(json_agg(answer)%'
GROUP BY 1
ORDER BY sum(total_exec_time) DESC
LIMIT 15;

\echo
\echo 2. Entries that the server let go, for want of room: their times are missing above
SELECT dealloc AS times_let_go, stats_reset AS counted_since FROM pg_stat_statements_info;

\echo
\echo 3. Tables
SELECT relname AS "table",
       n_live_tup AS live_rows,
       n_dead_tup AS dead_rows,
       n_tup_ins AS inserted,
       n_tup_upd AS updated,
       n_tup_hot_upd AS updated_in_place,
       seq_scan AS whole_scans,
       idx_scan AS index_scans,
       autovacuum_count AS vacuums,
       pg_size_pretty(pg_total_relation_size(relid)) AS size
FROM pg_stat_user_tables
ORDER BY pg_total_relation_size(relid) DESC;

\echo
\echo 4. Indexes; one that is never used costs every write
SELECT indexrelname AS index,
       idx_scan AS used,
       idx_tup_read AS entries_read,
       pg_size_pretty(pg_relation_size(indexrelid)) AS size
FROM pg_stat_user_indexes
ORDER BY pg_relation_size(indexrelid) DESC;

\echo
\echo 5. Pages that were found in the cache, percent
SELECT relname AS "table",
       round(100.0 * heap_blks_hit / nullif(heap_blks_hit + heap_blks_read, 0), 2) AS of_the_table,
       round(100.0 * idx_blks_hit / nullif(idx_blks_hit + idx_blks_read, 0), 2) AS of_its_indexes
FROM pg_statio_user_tables
ORDER BY heap_blks_hit + heap_blks_read DESC;

\echo
\echo 6. Sessions by who they are and what they do
SELECT application_name AS who, state, wait_event_type AS waits_for, count(*) AS sessions
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
GROUP BY 1, 2, 3
ORDER BY 1, 2, 3;

\echo
\echo 7. The catalogue, which grows with each temporary table
SELECT relname AS "table", n_dead_tup AS dead_rows, pg_size_pretty(pg_total_relation_size(relid)) AS size
FROM pg_stat_sys_tables
WHERE schemaname = 'pg_catalog'
ORDER BY n_dead_tup DESC
LIMIT 5;

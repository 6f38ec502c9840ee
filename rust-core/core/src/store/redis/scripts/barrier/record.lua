-- The store's side of a barrier, as one script: open, outcomes, release, abort, beat. It is in five files, read one after the
-- other: the record, phases and mirrors, outcomes, who runs, operations.
--
-- KEYS[1]  the barrier's hash: the one truth. Everything else is a mirror for outside readers, written last.
-- KEYS[2]  the set of those who arrived in phase 0
-- KEYS[3…] the mirrors that the sender looks after: others are not touched, for there are servers that insist on it
-- ARGV     op, process, incarnation, phase, resend (0 or 1), ttl in ms, suffix of all keys, then what the op needs
--          Where the parties are those who run, behind resend: phase, owing, running. They are in running.lua.
--          An operator is no process: with an empty one a release or an abort registers nobody and renews no key.
-- Answer   a list of texts, in the order of `reply` below
--
-- In the hash a participant's field is its id, and all other fields begin with @; an id that does so itself has it twice.
-- So what the most common operation writes and reads are the arguments as they came.
--
-- The same state machine is store/memory.rs; the model test compares the two, operation by operation.

local state, joined_base = KEYS[1], KEYS[2]
local op, me, known_inc = ARGV[1], ARGV[2], ARGV[3]
local phase, resend = tonumber(ARGV[4]), string.sub(ARGV[5], 1, 1) == '1'
local ttl, suffix = ARGV[6], ARGV[7]
local channel = 'K6_BARRIER_EVENTS:' .. suffix
local declared = {}
for _, key in ipairs(KEYS) do declared[key] = true end
local RELEASES_KEPT = 16
local SILENT_MAX = 15000000 -- in microseconds: three heartbeats were missed
local GAP_MAX = 6000000 -- more than there is between two heartbeats

local time = redis.call('TIME')
-- As text: a Lua number prints with too few digits for microseconds since the epoch.
local now = time[1] .. string.rep('0', 6 - #time[2]) .. time[2]

-- ---- the record -------------------------------------------------------------------------------------------------

local LAYOUT = '3' -- of this record: a change of what it holds is a change of this number
local fields = { 'layout', 'inc', 'opt', 'open', 'arrived', 'by', 'left', 'left_next', 'late', 'index', 'unnameable', 'broken',
  'processes', 'alive', 'reasons', 'newest', 'leaves', 'ttl' }
local is_number = { open = true, arrived = true, left = true, left_next = true, late = true, index = true, processes = true,
  alive = true, newest = true, leaves = true }

local record
local loaded = {} -- as it is written, to write only what is new
do
  local names = {}
  for i, name in ipairs(fields) do names[i] = '@' .. name end
  names[#names + 1] = 'inc' -- of the first layout, which had no number
  local values = redis.call('HMGET', state, unpack(names))
  local layout = values[1] or (values[#names] and '1')
  if layout and layout ~= LAYOUT then
    return redis.error_reply(string.format('KBARLAYOUT %s %s %s', state, layout, LAYOUT))
  end
  if layout then
    record = {}
    for i, name in ipairs(fields) do
      loaded[name] = values[i]
      record[name] = values[i] or ''
      if is_number[name] then record[name] = tonumber(record[name]) end
    end
  end
end

local by, failed -- failures of the open phase, by reason and in all
local function load_failures()
  by, failed = {}, 0
  for reason, n in string.gmatch(record.by, '(%S+)=(%d+)') do
    by[reason] = tonumber(n)
    failed = failed + tonumber(n)
  end
end

local function sorted_reasons(table_)
  local names = {}
  for name in pairs(table_) do names[#names + 1] = name end
  table.sort(names)
  return names
end

local function failures_as(format, separator, table_)
  local parts = {}
  for _, name in ipairs(sorted_reasons(table_)) do parts[#parts + 1] = string.format(format, name, table_[name]) end
  return table.concat(parts, separator)
end

local behind = false -- the operation proved that the store was behind
local broken_now, joined_new, mirrors_touched = false, {}, false
local mirror_phase, mirror_by
local first_here = false -- the process's first outcome in the phase

local function split(text)
  local parts = {}
  for part in string.gmatch(text .. '|', '([^|]*)|') do parts[#parts + 1] = part end
  return parts
end

local processes = {} -- of those looked at: number, phase, outcomes, leaves, seen, latency, closed, and of who runs: owing, running
local function process(id)
  if not processes[id] then
    local text = redis.call('HGET', state, '@p:' .. id)
    if text then
      local p = split(text)
      processes[id] = { number = p[1], phase = tonumber(p[2]), outcomes = tonumber(p[3]), leaves = tonumber(p[4]), seen = p[5],
        latency = tonumber(p[6]), closed = p[7] == '1',
        owing = p[8] and tonumber(p[8]) or 0, running = p[9] and tonumber(p[9]) or 0 }
    end
  end
  return processes[id]
end

-- A process has a number too: it stands in the record of each of its participants.
local function my_process()
  if not process(me) then
    record.processes = record.processes + 1
    record.alive = record.alive + 1
    processes[me] = { number = tostring(record.processes), phase = record.open, outcomes = 0, leaves = 0, latency = 0,
      closed = false, owing = 0, running = 0 }
    redis.call('HSET', state, '@procs', (redis.call('HGET', state, '@procs') or '') .. me .. ' ')
  end
  processes[me].seen = now
  return processes[me]
end

local function close(p, closed)
  if p.closed ~= closed then record.alive = record.alive + (closed and -1 or 1) end
  p.closed = closed
end

local function each_process(f)
  for id in string.gmatch(redis.call('HGET', state, '@procs') or '', '%S+') do
    if process(id) then f(id, process(id)) end
  end
end

local silent
local function is_alive(p)
  -- Times of equal length: text compares as numbers do.
  silent = silent or string.format('%.0f', tonumber(now) - SILENT_MAX)
  return not p.closed and p.seen >= silent
end

-- How long everyone waits for everyone else to hear of a release, and the hosts where several processes do; nobody waits for
-- those who are gone without a goodbye.
local function common_release()
  local n, latency = 0, 0
  local on_host, crowded = {}, {}
  each_process(function(id, p)
    if not is_alive(p) then return end
    n = n + 1
    latency = math.max(latency, p.latency)
    local host = string.sub(id, 1, 8)
    on_host[host] = (on_host[host] or 0) + 1
    if on_host[host] == 2 then crowded[#crowded + 1] = '"' .. host .. '"' end
  end)
  table.sort(crowded)
  return n <= 1 and 0 or latency, table.concat(crowded, ',')
end

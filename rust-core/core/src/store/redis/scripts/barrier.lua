-- The store's side of a barrier, as one script: open, outcomes, release, abort, beat.
--
-- KEYS[1]  the barrier's hash: the one truth. Everything else is a mirror for outside readers, written last.
-- KEYS[2]  the set of those who arrived in phase 0
-- KEYS[3…] the mirrors that the sender looks after: others are not touched, for there are servers that insist on it
-- ARGV     op, process, incarnation, phase, resend (0 or 1), ttl in ms, suffix of all keys, then what the op needs
--          An operator is no process: with an empty one a release or an abort registers nobody and renews no key.
-- Answer   a list of texts, in the order of `reply` below
--
-- The same state machine is store/memory.rs; the model test compares the two, operation by operation.

local state, joined_base = KEYS[1], KEYS[2]
local op, me, known_inc = ARGV[1], ARGV[2], ARGV[3]
local phase, resend = tonumber(ARGV[4]), ARGV[5] == '1'
local ttl, suffix = ARGV[6], ARGV[7]
local channel = 'K6_BARRIER_EVENTS:' .. suffix
local declared = {}
for _, key in ipairs(KEYS) do declared[key] = true end
local RELEASES_KEPT = 16
local SILENT_MAX = 15000000 -- in microseconds: three heartbeats were missed

local time = redis.call('TIME')
-- As text: a Lua number prints with too few digits for microseconds since the epoch.
local now = time[1] .. string.rep('0', 6 - #time[2]) .. time[2]

-- ---- the record -------------------------------------------------------------------------------------------------

local fields = { 'inc', 'opt', 'open', 'arrived', 'by', 'left', 'left_next', 'late', 'index', 'unnameable', 'broken',
  'procs', 'reasons', 'newest', 'leaves', 'since' }
local record
do
  local values = redis.call('HMGET', state, unpack(fields))
  if values[1] then
    record = {}
    for i, name in ipairs(fields) do record[name] = values[i] or '' end
    for _, name in ipairs({ 'open', 'arrived', 'left', 'left_next', 'late', 'index', 'leaves' }) do
      record[name] = tonumber(record[name])
    end
    record.newest = tonumber(record.newest)
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

local processes = {} -- of those looked at: phase, outcomes, leaves, seen, latency, closed
local function process(id)
  if not processes[id] then
    local text = redis.call('HGET', state, 'p:' .. id)
    if text then
      local p = split(text)
      processes[id] = { phase = tonumber(p[1]), outcomes = tonumber(p[2]), leaves = tonumber(p[3]), seen = p[4],
        latency = tonumber(p[5]), closed = p[6] == '1' }
    end
  end
  return processes[id]
end

local function my_process()
  if not process(me) then
    processes[me] = { phase = record.open, outcomes = 0, leaves = 0, latency = 0, closed = false }
    record.procs = record.procs == '' and me or (record.procs .. ' ' .. me)
  end
  processes[me].seen = now
  return processes[me]
end

local function registered()
  local n = 0
  for id in string.gmatch(record.procs, '%S+') do
    local p = process(id)
    if p and not p.closed then n = n + 1 end
  end
  return n
end

-- How long everyone waits for everyone else to hear of a release; nobody waits for those who are gone without a goodbye.
local function common_delay()
  local n, latency = 0, 0
  -- Times of equal length: text compares as numbers do.
  local silent = string.format('%.0f', tonumber(now) - SILENT_MAX)
  for id in string.gmatch(record.procs, '%S+') do
    local p = process(id)
    if p and not p.closed and p.seen >= silent then
      n = n + 1
      latency = math.max(latency, p.latency)
    end
  end
  return n <= 1 and 0 or latency
end

-- ---- phases -----------------------------------------------------------------------------------------------------

local cyclic, parties
local options
local function load_options()
  options = cjson.decode(record.opt)
  cyclic, parties = options.cyclic, options.parties
end

local function over() return not cyclic and record.open > 0 end

local function next_counts()
  if cyclic then
    record.arrived, by, failed = 0, {}, 0
    record.left = record.left + record.left_next
    record.left_next = 0
  end
end

-- An operation for phase n proves that n-1 was released.
local function move_up(n) -- rule: move-up
  if n > record.open then
    record.open = n
    next_counts()
    behind = true
  end
end

local function counts_json()
  return string.format('"arrived":%d,"failed":{%s},"left":%d', record.arrived, failures_as('"%s":%d', ',', by), record.left)
end

local function publish(text) redis.call('PUBLISH', channel, text) end

local function keep_release(n, json)
  redis.call('HSET', state, 'r:' .. n, json)
  if not record.newest or n > record.newest then
    for old = (record.newest or 0) - RELEASES_KEPT + 1, n - RELEASES_KEPT do
      if old >= 0 then redis.call('HDEL', state, 'r:' .. old) end
    end
    record.newest = n
  end
  publish(string.format('{"kind":"release","inc":"%s","release":%s}', record.inc, json))
end

local function release(why)
  keep_release(record.open, string.format('{"phase":%d,"why":"%s",%s,"at":%s,"delay":%.0f}', record.open, why, counts_json(),
    now, common_delay()))
  record.open = record.open + 1
  next_counts()
end

local function set_broken(json)
  record.broken = json
  broken_now = true
  publish(string.format('{"kind":"broken","inc":"%s","broken":%s}', record.inc, json))
end

local function break_up(kind, message)
  set_broken(string.format('{"kind":"%s","message":%s,"phase":%d,%s,"at":%s}', kind, cjson.encode(message), record.open,
    counts_json(), now))
end

local function quorum()
  local rule = options.release
  if type(rule) ~= 'table' then return nil end
  if rule.count then return rule.count end
  return math.floor((math.max(parties - record.left, 0) * rule.percent + 99) / 100)
end

local function complete()
  if over() then return end
  local limit = options.maxFailures
  local enough = quorum()
  if type(limit) == 'number' and failed > limit then
    break_up('maxFailures', string.format('%d failed, maxFailures is %d', failed, limit))
  elseif record.arrived + failed + record.left >= parties then -- rule: all
    release('all')
  elseif enough and record.arrived >= enough then
    release('quorum')
  end
end

-- ---- mirrors ----------------------------------------------------------------------------------------------------

local function at_phase(n) return n > 0 and (':@' .. n) or '' end
local function joined_key(n) return joined_base .. at_phase(n) end
local function counter_key(reason, n)
  return 'K6_BARRIER_' .. string.upper(reason) .. '_FAIL:' .. suffix .. at_phase(n)
end

local function each_reason(f)
  local seen = {}
  for reason in string.gmatch(record.reasons, '%S+') do
    seen[reason] = true
    f(reason)
  end
  return seen
end

local function add_reason(reason)
  if not string.find(' ' .. record.reasons .. ' ', ' ' .. reason .. ' ', 1, true) then
    record.reasons = record.reasons == '' and reason or (record.reasons .. ' ' .. reason)
  end
end

local function set_counter(reason, n, value)
  local key = counter_key(reason, n)
  if declared[key] then redis.call('SET', key, value) end
end

-- A process that uses phase n for the first time makes its counters, and the mirrors of n-2 that it looks after go.
local function write_mirrors()
  if not mirrors_touched then return end
  for first = 1, #joined_new, 1000 do
    redis.call('SADD', joined_key(mirror_phase), unpack(joined_new, first, math.min(first + 999, #joined_new)))
  end
  each_reason(function(reason)
    if mirror_by[reason] or first_here then set_counter(reason, mirror_phase, mirror_by[reason] or 0) end
  end)
  local function drop(key)
    if declared[key] then redis.call('DEL', key) end
  end
  if first_here and mirror_phase >= 2 then
    drop(joined_key(mirror_phase - 2))
    each_reason(function(reason) drop(counter_key(reason, mirror_phase - 2)) end)
  end
end

local function touch_mirrors()
  mirrors_touched, mirror_phase, mirror_by = true, phase, by
end

local function expire()
  if me == '' then return end
  local n = cyclic and record.open or 0
  local function renew(key)
    if declared[key] then redis.call('PEXPIRE', key, ttl) end
  end
  renew(state)
  for _, m in ipairs(mirrors_touched and mirror_phase ~= n and { mirror_phase, n } or { n }) do
    renew(joined_key(m))
    each_reason(function(reason) renew(counter_key(reason, m)) end)
  end
end

-- ---- outcomes ---------------------------------------------------------------------------------------------------

local noted = {} -- fields to write
local participants, leaves = {}, {}

local function note(id, known, n, code, index, reason, nameable)
  participants[id] = { phase = n, code = code, index = index, process = me, reason = reason }
  noted[#noted + 1] = 'u:' .. id
  noted[#noted + 1] = string.format('%d|%s|%d|%s|%s', n, code, index, me, reason)
  if not known and not nameable then record.unnameable = '1' end
end

local function outcome(id, code, detail, nameable)
  if record.broken ~= '' then return 'B' end
  local leave = leaves[id]
  if leave then
    if leave.process ~= me then return 'C' end
    if leave.from <= phase or code == 'L' then return 'S|L|0|' end -- rule: leave is for good
  end
  local known = participants[id]
  local leaves_later = code == 'L' and tonumber(detail) > phase
  if known then
    if known.process ~= me then return 'C' end
    local standing = known.phase == phase or (known.code == 'T' and known.phase >= phase)
    if standing and not leaves_later then -- rule: first stands
      if known.code == 'A' and known.phase == phase and phase == record.open then
        -- A replay: the set for outside readers may have been lost.
        touch_mirrors()
        joined_new[#joined_new + 1] = id
      end
      return string.format('S|%s|%d|%s', known.code, known.index, known.reason)
    end
  end
  local mine = my_process()
  if code == 'L' then
    move_up(phase)
    local from = tonumber(detail)
    leaves[id] = { from = from, process = me }
    noted[#noted + 1] = 'l:' .. id
    noted[#noted + 1] = from .. '|' .. me
    if not known and not nameable then record.unnameable = '1' end
    record.leaves = record.leaves + 1
    mine.leaves = mine.leaves + 1
    if not over() then -- a decided release keeps its counts
      if from <= record.open then record.left = record.left + 1 else record.left_next = record.left_next + 1 end
    end
    complete()
    return 'R|0'
  end
  if phase < record.open then
    if resend then return 'P' end -- rule: a resend is never late
    record.late = record.late + 1
    note(id, known, record.open - 1, 'T', 0, '', nameable)
    return 'T|' .. (record.open - 1)
  end
  move_up(phase)
  local index = 0
  if code == 'A' then
    record.index = record.index + 1
    index = record.index
    record.arrived = record.arrived + 1
    joined_new[#joined_new + 1] = id
  else
    by[detail] = (by[detail] or 0) + 1
    failed = failed + 1
    add_reason(detail)
  end
  touch_mirrors()
  note(id, known, phase, code, index, code == 'F' and detail or '', nameable)
  if mine.phase ~= phase then mine.phase, mine.outcomes = phase, 0 end
  first_here = first_here or mine.outcomes == 0
  mine.outcomes = mine.outcomes + 1
  complete()
  return 'R|' .. index
end

local function outcomes(first)
  local users, leavers, answers = {}, {}, {}
  for i = first, #ARGV, 4 do
    users[#users + 1] = 'u:' .. ARGV[i]
    leavers[#leavers + 1] = 'l:' .. ARGV[i]
  end
  for i, text in ipairs(redis.call('HMGET', state, unpack(users))) do
    if text then
      local p = split(text)
      participants[string.sub(users[i], 3)] = { phase = tonumber(p[1]), code = p[2], index = tonumber(p[3]), process = p[4],
        reason = p[5] }
    end
  end
  if record.leaves > 0 then
    for i, text in ipairs(redis.call('HMGET', state, unpack(leavers))) do
      if text then
        local l = split(text)
        leaves[string.sub(leavers[i], 3)] = { from = tonumber(l[1]), process = l[2] }
      end
    end
  end
  for i = first, #ARGV, 4 do
    answers[#answers + 1] = outcome(ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3] == '1')
  end
  return answers
end

-- ---- answers ----------------------------------------------------------------------------------------------------

local function reply(answer, detail, items)
  if answer == 'REOPEN' or answer == 'OTHERS' or answer == 'OPTIONS' then
    return { answer, detail or '', now }
  end
  local mine = process(me) or { phase = 0, outcomes = 0, leaves = 0 }
  local asked = redis.call('HGET', state, 'r:' .. phase) or ''
  local newest = ''
  if record.newest then newest = redis.call('HGET', state, 'r:' .. record.newest) or '' end
  local list = { answer, detail or '', now, record.inc, tostring(record.open), tostring(record.arrived),
    failures_as('%s=%d', ' ', by), tostring(record.left), tostring(record.late), record.unnameable,
    tostring(registered()), tostring(mine.phase), tostring(mine.outcomes), tostring(mine.leaves), behind and '1' or '0',
    record.broken, asked, newest }
  for _, item in ipairs(items or {}) do list[#list + 1] = item end
  return list
end

local function save()
  record.by = failures_as('%s=%d', ' ', by)
  for _, name in ipairs(fields) do
    if record[name] then
      noted[#noted + 1] = name
      noted[#noted + 1] = tostring(record[name])
    end
  end
  local p = processes[me]
  if p then
    noted[#noted + 1] = 'p:' .. me
    noted[#noted + 1] = string.format('%d|%d|%d|%s|%.0f|%s', p.phase, p.outcomes, p.leaves, p.seen, p.latency,
      p.closed and '1' or '0')
  end
  for first = 1, #noted, 1000 do
    redis.call('HSET', state, unpack(noted, first, math.min(first + 999, #noted)))
  end
end

local function finish(answer, detail, items)
  save()
  write_mirrors()
  expire()
  return reply(answer, detail, items)
end

-- ---- open -------------------------------------------------------------------------------------------------------

-- Extra arguments: new incarnation, options, reasons (by spaces), last release, break, others ('', '*' or a time), latency
local function check_type(key, want)
  local got = redis.call('TYPE', key).ok
  if got ~= 'none' and got ~= want then return string.format('KBARTYPE %s %s %s', key, got, want) end
end

local function create(inc, opt, reasons)
  record = { inc = inc, opt = opt, open = 0, arrived = 0, by = '', left = 0, left_next = 0, late = 0, index = 0,
    unnameable = '0', broken = '', procs = '', reasons = reasons, leaves = 0, since = now }
  redis.call('DEL', joined_key(0))
end

-- What the server forbids this user is found out at once, not in the middle of a run. The record is a hash by now, so that
-- nothing here changes it, and nobody understands an empty message.
local function forbidden()
  for _, command in ipairs({ { 'PUBLISH', channel, '' }, { 'SADD', state, '' }, { 'SET', state, '', 'NX' },
    { 'HDEL', state, '' }, { 'HEXISTS', state, '' } }) do
    local answer = redis.pcall(unpack(command))
    if type(answer) == 'table' and answer.err and not string.find(answer.err, 'WRONGTYPE', 1, true) then
      return redis.error_reply(string.format("NOPERM '%s': %s", string.lower(command[1]), answer.err))
    end
  end
end

local function open()
  local inc, opt, reasons, last, broken, others, latency = unpack(ARGV, 8, 14)
  local wrong = check_type(state, 'hash') or check_type(joined_key(0), 'set')
  for reason in string.gmatch(reasons, '%S+') do wrong = wrong or check_type(counter_key(reason, 0), 'string') end
  if wrong then return redis.error_reply(wrong) end
  if record then
    if record.opt ~= opt then return reply('OPTIONS', record.opt) end
    -- A process that is registered passed this before; its answer was lost.
    if others ~= '*' and not process(me) then
      local foreign, heard = false, false
      for id in string.gmatch(record.procs, '%S+') do
        if id ~= me then
          foreign = true
          local p = process(id)
          -- Times of equal length: text compares as numbers do.
          heard = heard or (others ~= '' and p and p.seen > others)
        end
      end
      if foreign and not heard then
        return reply('OTHERS', (record.newest and record.broken == '') and '1' or '0')
      end
    end
  else
    create(inc, opt, reasons)
  end
  load_options()
  load_failures()
  for reason in string.gmatch(reasons, '%S+') do add_reason(reason) end
  local mine = my_process()
  mine.latency, mine.closed = tonumber(latency), false
  if last ~= '' then -- rule: the last release seen is replayed
    local seen = cjson.decode(last)
    local window = not record.newest or seen.phase + RELEASES_KEPT > record.newest
    if window and redis.call('HEXISTS', state, 'r:' .. seen.phase) == 0 then
      keep_release(seen.phase, last)
      if not cyclic then
        record.arrived, record.left, by, failed = seen.arrived, seen.left, {}, 0
        for reason, n in pairs(seen.failed) do
          by[reason] = n
          failed = failed + n
        end
      end
      if seen.phase >= record.open then
        record.open = seen.phase + 1
        next_counts()
      end
    end
  end
  move_up(phase)
  behind = false
  if broken ~= '' and record.broken == '' then set_broken(broken) end
  local n = cyclic and record.open or 0
  each_reason(function(reason) set_counter(reason, n, by[reason] or 0) end)
  local answer = finish('OK')
  return forbidden() or answer
end

-- ---- the operation ----------------------------------------------------------------------------------------------

if op == 'open' then return open() end
if not record or record.inc ~= known_inc then return reply('REOPEN') end -- rule: only open creates
load_options()
load_failures()
local mine = me ~= '' and my_process()

if op == 'beat' then
  mine.latency, mine.closed = tonumber(ARGV[8]), ARGV[9] == '1'
  if record.broken == '' then
    move_up(phase)
    if registered() > 1 then publish('{"kind":"ping","at":' .. now .. '}') end
  end
  return finish('OK')
end

if record.broken ~= '' then
  if op ~= 'outcomes' then return finish('BROKEN') end
  local items = {}
  for i = 8, #ARGV, 4 do items[#items + 1] = 'B' end
  return finish('ITEMS', nil, items)
end

if op == 'outcomes' then
  return finish('ITEMS', nil, outcomes(8))
end

if op == 'release' then
  if phase < record.open then return finish('RELEASED') end
  move_up(phase)
  release(ARGV[8])
  return finish('OK')
end

if op == 'abort' then
  local only_phase = ARGV[10] == '1'
  if over() or (only_phase and phase < record.open) then return finish('RELEASED') end
  move_up(phase)
  break_up(ARGV[8], ARGV[9])
  return finish('BROKEN')
end

return redis.error_reply('KBAROP unknown operation ' .. op)

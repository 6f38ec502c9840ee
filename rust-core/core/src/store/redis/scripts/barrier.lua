-- The store's side of a barrier, as one script: open, outcomes, release, abort, beat.
--
-- KEYS[1]  the barrier's hash: the one truth. Everything else is a mirror for outside readers, written last.
-- KEYS[2]  the set of those who arrived in phase 0
-- ARGV     op, process, incarnation, phase, resend (0 or 1), ttl in ms, suffix of all keys, then what the op needs
--          An operator is no process: with an empty one a release or an abort registers nobody and renews no key.
-- Answer   a list of texts, in the order of `reply` below
--
-- In the hash a participant's field is its id, and all other fields begin with @; an id that does so itself has it twice.
-- So what the most common operation writes and reads are the arguments as they came.
--
-- The same state machine is store/memory.rs; the model test compares the two, operation by operation.

local state, joined_base = KEYS[1], KEYS[2]
local op, me, known_inc = ARGV[1], ARGV[2], ARGV[3]
local phase, resend = tonumber(ARGV[4]), ARGV[5] == '1'
local ttl, suffix = ARGV[6], ARGV[7]
local channel = 'K6_BARRIER_EVENTS:' .. suffix
local RELEASES_KEPT = 16
local SILENT_MAX = 15000000 -- in microseconds: three heartbeats were missed

local time = redis.call('TIME')
-- As text: a Lua number prints with too few digits for microseconds since the epoch.
local now = time[1] .. string.rep('0', 6 - #time[2]) .. time[2]

-- ---- the record -------------------------------------------------------------------------------------------------

local LAYOUT = '2' -- of this record: a change of what it holds is a change of this number
local fields = { 'layout', 'inc', 'opt', 'open', 'arrived', 'by', 'left', 'left_next', 'late', 'index', 'unnameable', 'broken',
  'processes', 'alive', 'reasons', 'newest', 'leaves' }
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

local function split(text)
  local parts = {}
  for part in string.gmatch(text .. '|', '([^|]*)|') do parts[#parts + 1] = part end
  return parts
end

local processes = {} -- of those looked at: number, phase, outcomes, leaves, seen, latency, closed
local function process(id)
  if not processes[id] then
    local text = redis.call('HGET', state, '@p:' .. id)
    if text then
      local p = split(text)
      processes[id] = { number = p[1], phase = tonumber(p[2]), outcomes = tonumber(p[3]), leaves = tonumber(p[4]), seen = p[5],
        latency = tonumber(p[6]), closed = p[7] == '1' }
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
      closed = false }
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

-- How long everyone waits for everyone else to hear of a release, and the hosts where several processes do; nobody waits for
-- those who are gone without a goodbye.
local function common_release()
  local n, latency = 0, 0
  local on_host, crowded = {}, {}
  -- Times of equal length: text compares as numbers do.
  local silent = string.format('%.0f', tonumber(now) - SILENT_MAX)
  each_process(function(id, p)
    if p.closed or p.seen < silent then return end
    n = n + 1
    latency = math.max(latency, p.latency)
    local host = string.sub(id, 1, 8)
    on_host[host] = (on_host[host] or 0) + 1
    if on_host[host] == 2 then crowded[#crowded + 1] = '"' .. host .. '"' end
  end)
  table.sort(crowded)
  return n <= 1 and 0 or latency, table.concat(crowded, ',')
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
  redis.call('HSET', state, '@r:' .. n, json)
  if not record.newest or n > record.newest then
    for old = (record.newest or 0) - RELEASES_KEPT + 1, n - RELEASES_KEPT do
      if old >= 0 then redis.call('HDEL', state, '@r:' .. old) end
    end
    record.newest = n
  end
  publish(string.format('{"kind":"release","inc":"%s","release":%s}', record.inc, json))
end

local function release(why)
  local delay, crowded = common_release()
  keep_release(record.open, string.format('{"phase":%d,"why":"%s",%s,"at":%s,"delay":%.0f,"crowded":[%s]}', record.open, why,
    counts_json(), now, delay, crowded))
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

-- How many arrivals it takes at least until the open phase is complete.
local function arrivals_to_go()
  local enough = quorum()
  local all = parties - (record.arrived + failed + record.left)
  return math.max(1, enough and math.min(all, enough - record.arrived) or all)
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

-- Phase n is used for the first time: its counters exist from now on, and the mirrors of n-2 go.
local function first_use(n)
  if n > 0 then
    each_reason(function(reason) redis.call('SET', counter_key(reason, n), '0') end)
  end
  if n >= 2 then
    local old = { joined_key(n - 2) }
    each_reason(function(reason) old[#old + 1] = counter_key(reason, n - 2) end)
    redis.call('DEL', unpack(old))
  end
end

local function write_mirrors()
  if not mirrors_touched then return end
  for first = 1, #joined_new, 1000 do
    redis.call('SADD', joined_key(mirror_phase), unpack(joined_new, first, math.min(first + 999, #joined_new)))
  end
  for reason, n in pairs(mirror_by) do redis.call('SET', counter_key(reason, mirror_phase), n) end
end

local function touch_mirrors()
  mirrors_touched, mirror_phase, mirror_by = true, phase, by
end

local function expire()
  if me == '' then return end
  local n = cyclic and record.open or 0
  local function renew(key) redis.call('PEXPIRE', key, ttl) end
  renew(state)
  for _, m in ipairs(mirrors_touched and mirror_phase ~= n and { mirror_phase, n } or { n }) do
    renew(joined_key(m))
    each_reason(function(reason) renew(counter_key(reason, m)) end)
  end
end

-- ---- outcomes ---------------------------------------------------------------------------------------------------

local noted = {} -- fields to write
-- By field, as far as they are known here. Of those who arrived in one go there is the index only.
local participants, leaves = {}, {}

local AT = string.byte('@')
local function id_of(field) return string.byte(field) == AT and string.sub(field, 2) or field end

local function note(field, known, n, code, index, reason, nameable)
  local number = process(me).number
  participants[field] = { phase = n, code = code, index = index, process = number, reason = reason }
  noted[#noted + 1] = field
  noted[#noted + 1] = string.format('%d|%s|%d|%s|%s', n, code, index, number, reason)
  if not known and not nameable then record.unnameable = '1' end
end

local function count_outcomes(n)
  local mine = process(me)
  if mine.phase ~= phase then mine.phase, mine.outcomes = phase, 0 end
  mine.outcomes = mine.outcomes + n
end

local function outcome(field, code, detail, nameable)
  if record.broken ~= '' then return 'B' end
  local mine = my_process()
  local leave = leaves[field]
  if leave then
    if leave.process ~= mine.number then return 'C' end
    if leave.from <= phase or code == 'L' then return 'S|L|0|' end -- rule: leave is for good
  end
  local known = participants[field]
  if type(known) == 'number' then
    known = { phase = phase, code = 'A', index = known, process = mine.number, reason = '' }
  end
  local leaves_later = code == 'L' and tonumber(detail) > phase
  if known then
    if known.process ~= mine.number then return 'C' end
    local standing = known.phase == phase or (known.code == 'T' and known.phase >= phase)
    if standing and not leaves_later then -- rule: first stands
      if known.code == 'A' and known.phase == phase and phase == record.open then
        -- A replay: the set for outside readers may have been lost.
        touch_mirrors()
        joined_new[#joined_new + 1] = id_of(field)
      end
      return string.format('S|%s|%d|%s', known.code, known.index, known.reason)
    end
  end
  if code == 'L' then
    move_up(phase)
    local from = tonumber(detail)
    leaves[field] = { from = from, process = mine.number }
    noted[#noted + 1] = '@l:' .. field
    noted[#noted + 1] = from .. '|' .. mine.number
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
    note(field, known, record.open - 1, 'T', 0, '', nameable)
    return 'T|' .. (record.open - 1)
  end
  move_up(phase)
  if record.arrived + failed == 0 then first_use(phase) end
  local index = 0
  if code == 'A' then
    record.index = record.index + 1
    index = record.index
    record.arrived = record.arrived + 1
    joined_new[#joined_new + 1] = id_of(field)
  else
    by[detail] = (by[detail] or 0) + 1
    failed = failed + 1
    add_reason(detail)
  end
  touch_mirrors()
  note(field, known, phase, code, index, code == 'F' and detail or '', nameable)
  count_outcomes(1)
  complete()
  if index > 0 then return 'R', index end
  return 'R|0'
end

-- Arrivals of participants that nobody knows yet, in one go: what `outcome` does to each, but that there is nothing to decide
-- before the last of them. Gives how many of ARGV[first] to ARGV[last] it took, and the index of the first.
local function arrivals(first, last, nameable)
  if record.broken ~= '' or phase < record.open then return 0 end
  my_process()
  move_up(phase)
  last = math.min(last, first + arrivals_to_go() - 1)
  local index = record.index
  for i = first, last do
    local field = ARGV[i]
    if participants[field] or leaves[field] then
      last = i - 1
      break
    end
    index = index + 1
    participants[field] = index
  end
  local n = last - first + 1
  if n < 1 then return 0 end
  if record.arrived + failed == 0 then first_use(phase) end
  local before, behind, at = phase .. '|A|', '|' .. process(me).number .. '|', #noted
  for i = first, last do
    local field = ARGV[i]
    noted[at + 1] = field
    noted[at + 2] = before .. participants[field] .. behind
    joined_new[#joined_new + 1] = id_of(field)
    at = at + 2
  end
  record.index = index
  record.arrived = record.arrived + n
  if not nameable then record.unnameable = '1' end
  touch_mirrors()
  count_outcomes(n)
  complete()
  return n, index - n + 1
end

-- Equal answers that follow each other are one, with their number; the indices of arrivals go on by one.
local answers, newest_answer, next_index = {}, nil, nil
local function answer(text, n, index)
  if newest_answer and newest_answer.text == text and newest_answer.next == index then
    newest_answer.n = newest_answer.n + n
  else
    newest_answer = { text = text, n = n, first = index }
    answers[#answers + 1] = newest_answer
  end
  newest_answer.next = index and index + n
end
-- ARGV[first] says what the participants behind it report, as runs of: code, nameable, how many, reason or phase.
local function outcomes(first)
  for i, text in ipairs(redis.call('HMGET', state, unpack(ARGV, first + 1))) do
    if text then
      local p = split(text)
      participants[ARGV[first + i]] = { phase = tonumber(p[1]), code = p[2], index = tonumber(p[3]), process = p[4], reason = p[5] }
    end
  end
  if record.leaves > 0 then
    local leavers = {}
    for i = first + 1, #ARGV do leavers[#leavers + 1] = '@l:' .. ARGV[i] end
    for i, text in ipairs(redis.call('HMGET', state, unpack(leavers))) do
      if text then
        local l = split(text)
        leaves[ARGV[first + i]] = { from = tonumber(l[1]), process = l[2] }
      end
    end
  end
  local at = first + 1
  for code, nameable, count, detail in string.gmatch(ARGV[first], '(%u),(%d),(%d+),(%S*)') do
    nameable = nameable == '1'
    local last = at + count - 1
    while at <= last do
      local n, index = 0, nil
      if code == 'A' then n, index = arrivals(at, last, nameable) end
      if n > 0 then
        answer('R', n, index)
      else
        n = 1
        local text
        text, index = outcome(ARGV[at], code, detail, nameable)
        answer(text, n, index)
      end
      at = at + n
    end
  end
  local items = {}
  for i, run in ipairs(answers) do
    items[i] = (run.first and run.text .. '|' .. run.first or run.text) .. (run.n > 1 and '*' .. run.n or '')
  end
  return items
end

-- ---- answers ----------------------------------------------------------------------------------------------------

local function reply(answer, detail, items)
  if answer == 'REOPEN' or answer == 'OTHERS' or answer == 'OPTIONS' then
    return { answer, detail or '', now }
  end
  local mine = process(me) or { phase = 0, outcomes = 0, leaves = 0 }
  local asked = redis.call('HGET', state, '@r:' .. phase) or ''
  local newest = ''
  if record.newest then newest = redis.call('HGET', state, '@r:' .. record.newest) or '' end
  local list = { answer, detail or '', now, record.inc, tostring(record.open), tostring(record.arrived),
    failures_as('%s=%d', ' ', by), tostring(record.left), tostring(record.late), record.unnameable,
    tostring(record.alive), tostring(mine.phase), tostring(mine.outcomes), tostring(mine.leaves), behind and '1' or '0',
    record.broken, asked, newest }
  for _, item in ipairs(items or {}) do list[#list + 1] = item end
  return list
end

local function save()
  record.by = failures_as('%s=%d', ' ', by)
  for _, name in ipairs(fields) do
    local text = record[name] and tostring(record[name])
    if text and text ~= loaded[name] then
      noted[#noted + 1] = '@' .. name
      noted[#noted + 1] = text
    end
  end
  local p = processes[me]
  if p then
    noted[#noted + 1] = '@p:' .. me
    noted[#noted + 1] = string.format('%s|%d|%d|%d|%s|%.0f|%s', p.number, p.phase, p.outcomes, p.leaves, p.seen, p.latency,
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
  record = { layout = LAYOUT, inc = inc, opt = opt, open = 0, arrived = 0, by = '', left = 0, left_next = 0, late = 0, index = 0,
    unnameable = '0', broken = '', processes = 0, alive = 0, reasons = reasons, leaves = 0 }
  redis.call('HSET', state, '@since', now)
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
      each_process(function(id, p)
        if id ~= me then
          foreign = true
          -- Times of equal length: text compares as numbers do.
          heard = heard or (others ~= '' and p.seen > others)
        end
      end)
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
  mine.latency = tonumber(latency)
  close(mine, false)
  if last ~= '' then -- rule: the last release seen is replayed
    local seen = cjson.decode(last)
    local window = not record.newest or seen.phase + RELEASES_KEPT > record.newest
    if window and redis.call('HEXISTS', state, '@r:' .. seen.phase) == 0 then
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
  each_reason(function(reason) redis.call('SET', counter_key(reason, n), by[reason] or 0) end)
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
  mine.latency = tonumber(ARGV[8])
  close(mine, ARGV[9] == '1')
  if record.broken == '' then
    move_up(phase)
    if record.alive > 1 then publish('{"kind":"ping","at":' .. now .. '}') end
  end
  return finish('OK')
end

if record.broken ~= '' then
  if op ~= 'outcomes' then return finish('BROKEN') end
  return finish('ITEMS', nil, { 'B*' .. #ARGV - 8 })
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

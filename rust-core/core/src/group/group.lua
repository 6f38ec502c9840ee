-- The store's side of groups, as one script: open, items, beat.
--
-- KEYS[1]  the hash: the one truth
-- ARGV     op, process, incarnation, epoch, number, floor, ttl in ms, channel, then what the op needs:
--          open: new incarnation, options, expected, epoch and number of the last operation answered;
--          items: the items as JSON; beat: 1 where the process goes
-- Answer   a list of texts: answer, detail, now, incarnation, groups, waiting, processes, settling, answers to items, groups
--
-- In the hash a participant's field is its id, of those whose process has yet to hear of their group, and all other fields begin
-- with @; an id that does so itself has it twice. @g:N is a group, @o:N how many have yet to hear of it.
--
-- The same state machine is memory.rs; the model test compares the two, operation by operation.

local state = KEYS[1]
local op, me, known_inc = ARGV[1], ARGV[2], ARGV[3]
local epoch, number, floor = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local ttl, channel = ARGV[7], ARGV[8]
local SILENT_MAX, SETTLE_MAX = 15000000, 3000000 -- in microseconds
local LAYOUT = '1' -- of this record: a change of what it holds is a change of this number

local time = redis.call('TIME')
-- As text: a Lua number prints with too few digits for microseconds since the epoch.
local now = time[1] .. string.rep('0', 6 - #time[2]) .. time[2]

-- Times of equal length: text compares as numbers do.
local function before(micros) return string.format('%.0f', tonumber(now) - micros) end

local function field(id) return string.sub(id, 1, 1) == '@' and '@' .. id or id end

-- ---- the record -------------------------------------------------------------------------------------------------

local record
local names = { 'layout', 'inc', 'opt', 'groups', 'w', 'since', 'expected', 'procs', 'ttl' }
do
  local asked = {}
  for i, name in ipairs(names) do asked[i] = '@' .. name end
  local values = redis.call('HMGET', state, unpack(asked))
  if values[1] and values[1] ~= LAYOUT then
    return redis.error_reply(string.format('KBARLAYOUT %s %s %s', state, values[1], LAYOUT))
  end
  if values[1] then
    record = {}
    for i, name in ipairs(names) do record[name] = values[i] or '' end
  end
end

local waiting, processes, order -- who waits, in order; processes by id, and their ids in the order in which they came
local groups, size
local answered, told, is_answered = {}, {}, {} -- groups as JSON

local function load()
  groups, size = tonumber(record.groups), cjson.decode(record.opt).size
  waiting, processes, order = {}, {}, {}
  if record.w ~= '' then waiting = cjson.decode(record.w) end
  for id, e, n, seen, gone, said in string.gmatch(record.procs, '(%S+) (%d+) (%d+) (%d+) (%d)(%d);') do
    processes[id] = { epoch = tonumber(e), number = tonumber(n), seen = seen, gone = gone == '1', said = said == '1' }
    order[#order + 1] = id
  end
end

local function alive()
  local n = 0
  for _, p in pairs(processes) do if not p.gone then n = n + 1 end end
  return n
end

local function remove_of(process)
  local rest = {}
  for _, m in ipairs(waiting) do if m[1] ~= process then rest[#rest + 1] = m end end
  waiting = rest
end

-- These processes have gone, and the places of their users are free.
local function send_away(which)
  for id, p in pairs(processes) do
    if not p.gone and which(id, p) then
      p.gone = true
      remove_of(id)
    end
  end
end

-- ---- groups -----------------------------------------------------------------------------------------------------

local standing_known = {} -- by participant: process, join, group; false where there is none
local function standing(id)
  if standing_known[id] == nil then
    local text = redis.call('HGET', state, field(id))
    local process, join, group
    if text then process, join, group = string.match(text, '^(%S+) (%d+) (%d+)$') end
    standing_known[id] = process and { process = process, join = tonumber(join), group = group } or false
  end
  return standing_known[id]
end

local function set_standing(id, process, join, group)
  standing_known[id] = { process = process, join = join, group = tostring(group) }
  redis.call('HSET', state, field(id), string.format('%s %.0f %d', process, join, group))
end

local function drop_standing(id)
  local s = standing(id)
  if not s then return end
  standing_known[id] = false
  redis.call('HDEL', state, field(id))
  local owed = tonumber(redis.call('HGET', state, '@o:' .. s.group) or '') or 0
  if owed > 1 then
    redis.call('HSET', state, '@o:' .. s.group, owed - 1)
  else
    redis.call('HDEL', state, '@g:' .. s.group, '@o:' .. s.group)
  end
end

local function answer(group, json)
  if not is_answered[tonumber(group)] then
    is_answered[tonumber(group)] = true
    answered[#answered + 1] = json
  end
end

-- The participant's group by this join, where its process has yet to hear of it.
local function group_of(id, join)
  local s = standing(id)
  if not s or s.process ~= me or s.join ~= join then return nil end -- rule: a join is in one group
  local json = redis.call('HGET', state, '@g:' .. s.group)
  return json, s.group
end

local function keep(group, json, owed)
  redis.call('HSET', state, '@g:' .. group, json, '@o:' .. group, owed)
end

local function form(n, why)
  groups = groups + 1
  local members, rest, elsewhere, parts = {}, {}, false, {}
  for i, m in ipairs(waiting) do
    if i <= n then members[i] = m else rest[#rest + 1] = m end
  end
  waiting = rest
  for i, m in ipairs(members) do
    drop_standing(m[3])
    set_standing(m[3], m[1], m[2], groups)
    if m[1] ~= me then elsewhere = true end
    parts[i] = string.format('["%s",%.0f,%s%s]', m[1], m[2], cjson.encode(m[3]), m[4] and ',' .. cjson.encode(m[4]) or '')
  end
  local json = string.format('{"group":%d,"why":"%s","at":%s,"members":[%s]}', groups, why, now, table.concat(parts, ','))
  keep(groups, json, n)
  if elsewhere then told[#told + 1] = json end
  answer(groups, json)
end

local function form_full()
  while record.since == '' and #waiting >= size do form(size, 'all') end -- rule: no group forms while the store settles
end

-- Ends the wait for the other processes where it may end; whoever was not heard has gone.
local function settle()
  if record.since == '' then return end
  local since, heard = record.since, 0
  for _, p in pairs(processes) do if not p.gone and p.said and p.seen >= since then heard = heard + 1 end end
  if heard >= math.max(alive(), tonumber(record.expected)) or since <= before(SETTLE_MAX) then
    record.since, record.expected = '', ''
    send_away(function(_, p) return p.seen < since end)
    form_full()
  end
end

-- ---- items ------------------------------------------------------------------------------------------------------

local function place_of(id, join)
  for at, m in ipairs(waiting) do
    if m[3] == id and m[1] == me and m[2] == join then return at end
  end
end

local items = {}

function items.J(join, id, payload)
  for _, m in ipairs(waiting) do
    if m[3] == id then return (m[1] == me and m[2] == join) and 'W' or 'C' end -- rule: a participant waits once
  end
  local json, group = group_of(id, join)
  if json then
    answer(group, json)
    return 'F'
  end
  local s = standing(id)
  if s and s.process ~= me and processes[s.process] and not processes[s.process].gone then return 'C' end
  waiting[#waiting + 1] = { me, join, id, payload }
  form_full()
  return place_of(id, join) and 'W' or 'F'
end

function items.L(join, id)
  local json, group = group_of(id, join)
  if json then
    answer(group, json)
    return 'F'
  end
  local at = place_of(id, join)
  if at then table.remove(waiting, at) end -- rule: who leaves frees its place
  return 'L'
end

function items.E(join, id)
  local json, group = group_of(id, join)
  if json then
    answer(group, json)
    return 'F'
  end
  if not place_of(id, join) then return 'L' end
  if record.since ~= '' then return 'W' end
  form(#waiting, 'timeout')
  return 'F'
end

function items.H(join, id)
  local s = standing(id)
  if s and s.process == me and s.join == join then drop_standing(id) end
  return 'D'
end

-- A group that the process has heard of and this record has perhaps not: members of other processes may still wait for it.
function items.K(group, json)
  if redis.call('HEXISTS', state, '@g:' .. group) == 1 then return 'D' end
  local owed = 0
  for _, m in ipairs(cjson.decode(json).members) do
    local s = standing(m[3])
    local newer = s and (s.process ~= m[1] or s.join >= m[2])
    if m[1] ~= me and not newer then
      local other = false
      for at, w in ipairs(waiting) do
        if w[3] == m[3] then
          other = w[1] ~= m[1] or w[2] ~= m[2]
          if not other then table.remove(waiting, at) end -- rule: a group that was heard of stands
          break
        end
      end
      if not other then
        drop_standing(m[3])
        set_standing(m[3], m[1], m[2], group)
        owed = owed + 1
      end
    end
  end
  if owed > 0 then
    keep(group, json, owed)
    told[#told + 1] = json
  end
  return 'D'
end

function items.S()
  processes[me].said = true
  settle()
  return 'D'
end

-- ---- operations -------------------------------------------------------------------------------------------------

local function finish(word, codes)
  if tonumber(ttl) > (tonumber(record.ttl) or 0) then record.ttl = ttl end
  record.groups = tostring(groups)
  record.w = #waiting > 0 and cjson.encode(waiting) or ''
  local parts = {}
  for i, id in ipairs(order) do
    local p = processes[id]
    parts[i] = string.format('%s %d %d %s %d%d;', id, p.epoch, p.number, p.seen, p.gone and 1 or 0,
      p.said and 1 or 0)
  end
  record.procs = table.concat(parts)
  local noted = {}
  for _, name in ipairs(names) do
    noted[#noted + 1] = '@' .. name
    noted[#noted + 1] = record[name]
  end
  redis.call('HSET', state, unpack(noted))
  redis.call('PEXPIRE', state, record.ttl)
  if #told > 0 then
    redis.call('PUBLISH', channel, string.format('{"kind":"groups","at":%s,"formed":[%s]}', now, table.concat(told, ',')))
  end
  return { word, '', now, record.inc, record.groups, tostring(#waiting), tostring(alive()), record.since ~= '' and '1' or '0',
    codes or '', '[' .. table.concat(answered, ',') .. ']' }
end

if op == 'open' then
  local inc, opt, expected = ARGV[9], ARGV[10], tonumber(ARGV[11])
  local got = redis.call('TYPE', state).ok
  if got ~= 'none' and got ~= 'hash' then return redis.error_reply(string.format('KBARTYPE %s %s hash', state, got)) end
  if record and record.opt ~= opt then return { 'OPTIONS', record.opt, now } end
  local is_new = not record
  if is_new then
    record = { layout = LAYOUT, inc = inc, opt = opt, groups = '0', w = '', since = '', expected = '', procs = '', ttl = ttl }
    redis.call('DEL', state)
  end
  load()
  local known = processes[me] or { epoch = 0, number = 0 }
  local seen_epoch, seen_number = tonumber(ARGV[12]), tonumber(ARGV[13])
  local behind = known.epoch < seen_epoch or (known.epoch == seen_epoch and known.number < seen_number) or floor > groups
  if not behind then expected = 0 end -- rule: a store that has lost its memory hears everyone first
  remove_of(me)
  groups = math.max(groups, floor) -- rule: numbers are given once
  if not processes[me] then order[#order + 1] = me end
  processes[me] = { epoch = epoch, number = 0, seen = now, gone = false, said = false }
  local listeners = redis.call('PUBLISH', channel, '{"kind":"hello","process":"' .. me .. '"}')
  -- Whoever listens was here before the record was lost, and this process may be too new to know.
  if is_new and listeners > 1 then expected = math.max(expected, listeners) end
  if alive() > 1 or expected > 1 then
    if record.since == '' then record.since = now end
    record.expected = tostring(math.max(tonumber(record.expected) or 0, expected))
  end
  settle()
  return finish('OK')
end

if not record or record.inc ~= known_inc then return { 'REOPEN', '', now } end
load()
local mine = processes[me]
if not mine or mine.gone or mine.epoch ~= epoch or mine.number + 1 ~= number then -- rule: operations come in order, once
  return { 'REOPEN', '', now }
end
if floor > groups then return { 'REOPEN', '', now } end -- it has heard of more
mine.number, mine.seen = number, now
settle()

if op == 'items' then
  local codes = {}
  for i, item in ipairs(cjson.decode(ARGV[9])) do codes[i] = items[item[1]](item[2], item[3], item[4]) end
  return finish('ITEMS', table.concat(codes))
end

if op == 'beat' then
  local closing, silent = ARGV[9] == '1', before(SILENT_MAX)
  send_away(function(id, p) return closing and id == me or p.seen < silent end)
  settle()
  return finish('OK')
end

return redis.error_reply('KBAROP unknown operation ' .. op)

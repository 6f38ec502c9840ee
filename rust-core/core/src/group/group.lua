-- The store's side of groups, as one script: open, items, beat.
--
-- KEYS[1]  the hash: the one truth
-- ARGV     op, process, incarnation, epoch, number, floor, ttl in ms, channel, then what the op needs:
--          open: new incarnation, options, expected, epoch and number of the last operation answered;
--          items: the items as JSON; beat: 1 where the process goes
-- Answer   a list of texts: answer, detail, now, incarnation, groups, waiting, processes, settling, answers to items, groups
--
-- In the hash a participant's field is its id, of those whose process has yet to hear of their group, and all other fields begin
-- with @; an id that does so itself has it twice. @g:N is a group, @o:N how many have yet to hear of it. Who waits has a place,
-- @w:ID. It holds while its process is there and has not opened the record since: each opening is a life, and the places of a life L
-- are a list, where @n:L:K names who has the one with the number K. Of places in it that became free, a hole, either end says where
-- the other is, @h:L:K. The list of a life that is over is nobody's, and goes bit by bit. So no operation goes through all who wait,
-- or have waited: it costs what it brings, and the members of the groups that it forms.
--
-- The same state machine is memory.rs; the model test compares the two, operation by operation.

local state = KEYS[1]
local op, me, known_inc = ARGV[1], ARGV[2], ARGV[3]
local epoch, number, floor = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local ttl, channel = ARGV[7], ARGV[8]
local SILENT_MAX, SETTLE_MAX, GAP_MAX, SETTLING_GAP_MAX = 15000000, 3000000, 6000000, 1000000 -- in microseconds
local LAYOUT = '3' -- of this record: a change of what it holds is a change of this number

local time = redis.call('TIME')
-- As text: a Lua number prints with too few digits for microseconds since the epoch.
local now = time[1] .. string.rep('0', 6 - #time[2]) .. time[2]

local FORM_MAX = 1000 -- users whom one operation puts into full groups, where more wait: others wait for the server too
local AT_ONCE = 100 -- so many fields are asked for by one command at most
local SWEPT_MAX = 200 -- places of lives that are over which one operation clears away

local function field(id) return string.sub(id, 1, 1) == '@' and '@' .. id or id end

-- ---- the record -------------------------------------------------------------------------------------------------

local record
local names = { 'layout', 'inc', 'opt', 'groups', 'at', 'age', 'opens', 'last', 'dead', 'since', 'expected', 'procs', 'ttl' }
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

local processes, order -- by id, and their ids in the order in which they came
local groups, size, age
local last -- the number of the newest place, in the order in which all came
local dead -- lists of lives that are over and have yet to be cleared away
local since -- when the record began to wait for the processes, where it does
local answered, told, restored, is_answered = {}, {}, {}, {} -- groups as JSON
local placed = 0 -- users whom this operation has put into full groups

local function load()
  groups, size = tonumber(record.groups), cjson.decode(record.opt).size
  last, dead, since = tonumber(record.last), record.dead, tonumber(record.since)
  processes, order = {}, {}
  local form = '(%S+) (%d+) (%d+) (%d+) (%d) (%d) (%d+) (%d+) (%d+) (%d+) (%d+);'
  for id, e, n, seen, gone, said, life, waits, due, head, tail in string.gmatch(record.procs, form) do
    processes[id] = { epoch = tonumber(e), number = tonumber(n), seen = tonumber(seen), gone = gone == '1', said = said == '1',
      life = life, waits = tonumber(waits), due = tonumber(due), head = tonumber(head), tail = tonumber(tail) }
    order[#order + 1] = id
  end
  -- The server's clock may be set, and a server that stood still has heard nobody.
  local gap = tonumber(now) - tonumber(record.at)
  age = tonumber(record.age) + math.max(0, math.min(gap, since and SETTLING_GAP_MAX or GAP_MAX))
end

local function alive()
  local n = 0
  for _, p in pairs(processes) do if not p.gone then n = n + 1 end end
  return n
end

-- How many wait, or how many of them have waited long enough.
local function total(what)
  local n = 0
  for _, p in pairs(processes) do if not p.gone then n = n + p[what] end end
  return n
end

-- The life of a process in the record is over, and the places of its users are free.
local function bury(p)
  if p.head < p.tail then dead = dead .. string.format('%s %d %d;', p.life, p.head, p.tail) end
end

-- These processes have gone.
local function send_away(which)
  for _, id in ipairs(order) do
    local p = processes[id]
    if not p.gone and which(id, p) then
      p.gone = true
      bury(p)
    end
  end
end

-- ---- participants -------------------------------------------------------------------------------------------------

local standing_known = {} -- by participant: process, join, group; false where there is none
local place_known = {} -- by participant: n, life, k, join, whether it is due, process, payload; false where there is none

-- Asks for all that the record has of these participants.
local function look_up(ids)
  local unknown, fields = {}, {}
  local function ask()
    local values = #fields > 0 and redis.call('HMGET', state, unpack(fields)) or {}
    for i, id in ipairs(unknown) do
      local process, join, group = string.match(values[2 * i - 1] or '', '^(%S+) (%d+) (%d+)$')
      standing_known[id] = process and { process = process, join = tonumber(join), group = group } or false
      local n, life, k, joined, due, whose, payload = string.match(values[2 * i] or '',
        '^(%d+) (%d+) (%d+) (%d+) (%d) (%S+)(.*)$')
      place_known[id] = n and { n = tonumber(n), life = life, k = tonumber(k), join = tonumber(joined), due = due == '1',
        process = whose, payload = payload ~= '' and string.sub(payload, 3) or nil } or false
    end
    unknown, fields = {}, {}
  end
  for _, id in ipairs(ids) do
    if standing_known[id] == nil then
      standing_known[id] = false -- it may be named twice
      unknown[#unknown + 1] = id
      fields[#fields + 1] = field(id)
      fields[#fields + 1] = '@w:' .. id
      if #fields >= AT_ONCE then ask() end
    end
  end
  ask()
end

local function standing(id)
  if standing_known[id] == nil then look_up({ id }) end
  return standing_known[id]
end

-- Where somebody waits.
local function place(id)
  if standing_known[id] == nil then look_up({ id }) end
  local w = place_known[id]
  local p = w and processes[w.process]
  if p and not p.gone and p.life == w.life then return w end -- rule: who has gone does not wait
end

local function place_of(id, join)
  local w = place(id)
  return w and w.process == me and w.join == join and w or nil
end

local function listed(p, k) return '@n:' .. p.life .. ':' .. k end
local function hole(p, k) return '@h:' .. p.life .. ':' .. k end

local function note_place(id, w)
  local kept = string.format('%d %s %d %.0f %d %s', w.n, w.life, w.k, w.join, w.due and 1 or 0, w.process)
  -- Not by the format: that ends a short text at its first NUL.
  redis.call('HSET', state, listed(w, w.k), id, '@w:' .. id, kept .. (w.payload and ' =' .. w.payload or ''))
end

-- A place in the list becomes free: it is one hole with those beside it. At either end the list gets shorter.
local function unlist(p, k)
  local beside = redis.call('HMGET', state, hole(p, k - 1), hole(p, k + 1))
  local from, to = tonumber(beside[1] or k), tonumber(beside[2] or k)
  redis.call('HDEL', state, listed(p, k), hole(p, k - 1), hole(p, k + 1), hole(p, from), hole(p, to))
  if from == p.head + 1 then
    p.head = to
  elseif to == p.tail then
    p.tail = from - 1
  else
    redis.call('HSET', state, hole(p, from), to, hole(p, to), from)
  end
end

local function no_longer_waits(id, w)
  local p = processes[w.process]
  p.waits = p.waits - 1
  if w.due then p.due = p.due - 1 end
  place_known[id] = false
end

-- The place of one who waits is free.
local function free_place(id, w)
  no_longer_waits(id, w)
  redis.call('HDEL', state, '@w:' .. id)
  unlist(processes[w.process], w.k)
end

-- Clears away some of what lives that are over have left.
local function sweep()
  local life, head, tail, others = string.match(dead, '^(%d+) (%d+) (%d+);(.*)$')
  if not life then return end
  local p, upto = { life = life }, math.min(tonumber(tail), tonumber(head) + SWEPT_MAX)
  local fields, drop, ids, places = {}, {}, {}, {}
  for k = tonumber(head) + 1, upto do
    fields[#fields + 1] = listed(p, k)
    drop[#drop + 1] = listed(p, k)
    drop[#drop + 1] = hole(p, k)
  end
  for _, id in ipairs(redis.call('HMGET', state, unpack(fields))) do
    if id then
      ids[#ids + 1] = id
      places[#places + 1] = '@w:' .. id
    end
  end
  for i, place in ipairs(#ids > 0 and redis.call('HMGET', state, unpack(places)) or {}) do
    -- Who has come again since has another place.
    if place and string.match(place, '^%d+ (%d+) ') == life then drop[#drop + 1] = places[i] end
  end
  redis.call('HDEL', state, unpack(drop))
  dead = upto < tonumber(tail) and string.format('%s %d %s;%s', life, upto, tail, others) or others
end

-- ---- groups -----------------------------------------------------------------------------------------------------

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

-- Reads on in the list of a process: who has the next places, each with the ends of the holes before it.
local function read_on(list, n)
  local p, fields, ids, before = list.p, {}, {}, {}
  local from, to = list.k + 1, math.min(list.k + n, list.p.tail)
  for k = from, to do fields[#fields + 1] = listed(p, k) end
  local named = redis.call('HMGET', state, unpack(fields))
  local k, holes = from, list.holes
  while k <= to do
    local id = named[k - from + 1]
    if id then
      ids[#ids + 1], before[#before + 1], holes = id, holes, {}
      k = k + 1
    else
      local upto = tonumber(redis.call('HGET', state, hole(p, k)))
      holes[#holes + 1] = hole(p, k)
      holes[#holes + 1] = hole(p, upto)
      k = upto + 1
    end
  end
  list.k, list.holes, list.rest = k - 1, holes, list.rest - #ids
  look_up(ids)
  for i, id in ipairs(ids) do list.found[#list.found + 1] = { id = id, holes = before[i], place = place_known[id] } end
end

-- The first so many who wait, who do so no longer.
local function take(n)
  local lists, members = {}, {}
  for _, id in ipairs(order) do
    local p = processes[id]
    if not p.gone and p.waits > 0 then
      lists[#lists + 1] = { p = p, k = p.head, rest = p.waits, found = {}, at = 1, holes = {} }
    end
  end
  local portion = math.min(AT_ONCE, math.ceil(n / #lists))
  local function first(list)
    while list.at > #list.found and list.rest > 0 do read_on(list, portion) end
    return list.found[list.at]
  end
  while #members < n do
    local oldest, whose
    for _, list in ipairs(lists) do
      local one = first(list)
      if one and (not oldest or one.place.n < oldest.place.n) then oldest, whose = one, list end
    end
    if not oldest then break end
    whose.at = whose.at + 1
    local id, w = oldest.id, oldest.place
    members[#members + 1] = { w.process, w.join, id, w.payload }
    redis.call('HDEL', state, '@w:' .. id, listed(w, w.k), unpack(oldest.holes))
    whose.p.head = w.k
    no_longer_waits(id, w)
  end
  return members
end

local function form(n, why)
  groups = groups + 1
  local members, elsewhere, parts = take(n), false, {}
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

-- Groups that are full form, and once there are no more, what time-outs bring is decided.
local function form_full()
  if since then return end -- rule: no group forms while the store settles
  while total('waits') >= size do
    if placed > 0 and placed + size > FORM_MAX then return end -- the next operation goes on
    placed = placed + size
    form(size, 'all')
  end
  if total('due') > 0 then form(total('waits'), 'timeout') end -- rule: a time-out is decided when groups form again
end

-- Ends the wait for the other processes where it may end: whoever has not said what it knows was silent for too long. Who was not
-- heard at all has gone.
local function settle()
  if not since then return form_full() end
  local began = since
  for _, p in pairs(processes) do
    local heard = p.said and p.seen >= began
    if not p.gone and not heard and math.max(p.seen, began) + SETTLE_MAX > age then return end -- rule: who speaks is waited for
  end
  if alive() < tonumber(record.expected) and began + SETTLE_MAX > age then return end -- rule: who is missing is waited for
  since, record.expected = nil, ''
  send_away(function(_, p) return p.seen < began end)
  form_full()
end

-- ---- items ------------------------------------------------------------------------------------------------------

local items = {}

function items.J(join, id, payload)
  local w = place(id)
  if w then return place_of(id, join) and 'W' or 'C' end -- rule: a participant waits once
  local json, group = group_of(id, join)
  if json then
    answer(group, json)
    return 'F'
  end
  local s = standing(id)
  if s and s.process ~= me and processes[s.process] and not processes[s.process].gone then return 'C' end
  local mine = processes[me]
  last, mine.tail, mine.waits = last + 1, mine.tail + 1, mine.waits + 1
  place_known[id] = { n = last, life = mine.life, k = mine.tail, join = join, due = false, process = me, payload = payload }
  note_place(id, place_known[id])
  form_full()
  return place_of(id, join) and 'W' or 'F'
end

function items.A(join, id)
  local json, group = group_of(id, join)
  if json then
    answer(group, json)
    return 'F'
  end
  return place_of(id, join) and 'W' or 'L'
end

function items.L(join, id)
  local json, group = group_of(id, join)
  if json then
    answer(group, json)
    return 'F'
  end
  local w = place_of(id, join)
  if w then free_place(id, w) end -- rule: who leaves frees its place
  return 'L'
end

-- As L, of one whom somebody may still have heard of in a group: while no group forms it is told to wait for that.
function items.T(join, id)
  if (since or total('waits') >= size) and place_of(id, join) then return 'W' end -- rule: who gives up does so when groups form
  return items.L(join, id)
end

function items.E(join, id)
  local json, group = group_of(id, join)
  if json then
    answer(group, json)
    return 'F'
  end
  local w = place_of(id, join)
  if not w then return 'L' end
  if since or total('waits') >= size then
    if not w.due then
      w.due = true
      processes[me].due = processes[me].due + 1
      note_place(id, w)
    end
    return 'W'
  end
  form(total('waits'), 'timeout')
  return 'F'
end

function items.H(join, id)
  local s = standing(id)
  if s and s.process == me and s.join == join then drop_standing(id) end
  return 'D'
end

-- A group that the process has heard of and this record has perhaps not: members of other processes may still wait for it.
function items.K(group, json)
  local is_kept = redis.call('HEXISTS', state, '@g:' .. group) == 1
  local members, ids, owed = cjson.decode(json).members, {}, 0
  for i, m in ipairs(members) do ids[i] = m[3] end
  look_up(ids)
  for _, m in ipairs(members) do
    local s = standing(m[3])
    if m[1] == me then
      if s and s.process == me and s.join <= m[2] then drop_standing(m[3]) end -- rule: it has heard of its own group
    elseif not is_kept and not (s and (s.process ~= m[1] or s.join >= m[2])) then
      local w = place(m[3])
      local other = w and (w.process ~= m[1] or w.join ~= m[2])
      if w and not other then free_place(m[3], w) end -- rule: a group that was heard of stands
      if not other then
        drop_standing(m[3])
        set_standing(m[3], m[1], m[2], group)
        owed = owed + 1
      end
    end
  end
  if owed > 0 then
    keep(group, json, owed)
    restored[#restored + 1] = json
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
  record.groups, record.at, record.age = tostring(groups), now, string.format('%.0f', age)
  sweep()
  record.last, record.dead = tostring(last), dead
  record.since = since and string.format('%.0f', since) or ''
  local parts = {}
  for i, id in ipairs(order) do
    local p = processes[id]
    parts[i] = string.format('%s %d %d %.0f %d %d %s %d %d %d %d;', id, p.epoch, p.number, p.seen, p.gone and 1 or 0,
      p.said and 1 or 0, p.life, p.waits, p.due, p.head, p.tail)
  end
  record.procs = table.concat(parts)
  local noted = {}
  for _, name in ipairs(names) do
    noted[#noted + 1] = '@' .. name
    noted[#noted + 1] = record[name]
  end
  redis.call('HSET', state, unpack(noted))
  redis.call('PEXPIRE', state, record.ttl)
  local function publish(kind, news)
    if #news > 0 then
      redis.call('PUBLISH', channel, string.format('{"kind":"%s","formed":[%s]}', kind, table.concat(news, ',')))
    end
  end
  publish('groups', told)
  publish('restored', restored)
  return { word, '', now, record.inc, record.groups, tostring(total('waits')), tostring(alive()),
    since and '1' or total('waits') >= size and '2' or '0',
    codes or '', '[' .. table.concat(answered, ',') .. ']' }
end

if op == 'open' then
  local inc, opt, expected = ARGV[9], ARGV[10], tonumber(ARGV[11])
  local got = redis.call('TYPE', state).ok
  if got ~= 'none' and got ~= 'hash' then return redis.error_reply(string.format('KBARTYPE %s %s hash', state, got)) end
  if record and record.opt ~= opt then return { 'OPTIONS', record.opt, now } end
  local is_new = not record
  if is_new then
    record = { layout = LAYOUT, inc = inc, opt = opt, groups = '0', at = now, age = '0', opens = '0', last = '0', dead = '',
      since = '', expected = '', procs = '', ttl = ttl }
    redis.call('DEL', state)
  end
  load()
  local known = processes[me] or { epoch = 0, number = 0 }
  local seen_epoch, seen_number = tonumber(ARGV[12]), tonumber(ARGV[13])
  local behind = known.epoch < seen_epoch or (known.epoch == seen_epoch and known.number < seen_number) or floor > groups
  if not behind then expected = 0 end -- rule: a store that has lost its memory hears everyone first
  groups = math.max(groups, floor) -- rule: numbers are given once
  if not processes[me] then order[#order + 1] = me elseif not processes[me].gone then bury(processes[me]) end
  record.opens = tostring(tonumber(record.opens) + 1)
  processes[me] = { epoch = epoch, number = 0, seen = age, gone = false, said = false, life = record.opens, waits = 0, due = 0,
    head = 0, tail = 0 }
  local listeners = redis.call('PUBLISH', channel, '{"kind":"hello","process":"' .. me .. '"}')
  -- Whoever listens was here before the record was lost, and this process may be too new to know.
  if is_new and listeners > 1 then expected = math.max(expected, listeners) end
  if alive() > 1 or expected > 1 then
    if not since then since = age end
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
mine.number, mine.seen = number, age
settle()

if op == 'items' then
  local asked, ids, codes = cjson.decode(ARGV[9]), {}, {}
  for _, item in ipairs(asked) do if item[1] ~= 'K' and item[3] then ids[#ids + 1] = item[3] end end
  look_up(ids)
  for i, item in ipairs(asked) do codes[i] = items[item[1]](item[2], item[3], item[4]) end
  return finish('ITEMS', table.concat(codes))
end

if op == 'beat' then
  local closing, silent = ARGV[9] == '1', age - SILENT_MAX
  send_away(function(id, p) return closing and id == me or p.seen < silent end)
  settle()
  return finish('OK')
end

return redis.error_reply('KBAROP unknown operation ' .. op)

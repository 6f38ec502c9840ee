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

local function note_process(id, p)
  local text = string.format('%s|%d|%d|%d|%s|%.0f|%s', p.number, p.phase, p.outcomes, p.leaves, p.seen, p.latency,
    p.closed and '1' or '0')
  if running then text = text .. string.format('|%d|%d', p.owing, p.running) end
  noted[#noted + 1] = '@p:' .. id
  noted[#noted + 1] = text
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
  if processes[me] then note_process(me, processes[me]) end
  if running then
    for id, p in pairs(processes) do
      if id ~= me and p.changed then note_process(id, p) end
    end
  end
  for first = 1, #noted, 1000 do
    redis.call('HSET', state, unpack(noted, first, math.min(first + 999, #noted)))
  end
end

local function finish(answer, items)
  if me ~= '' and tonumber(ttl) > (tonumber(record.ttl or '') or 0) then record.ttl = ttl end
  save()
  write_mirrors()
  expire()
  return reply(answer, running and tostring(owing()), items)
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
        redis.call('HSET', state, '@layout', LAYOUT) -- as it is: a replica has to say that it is one
        return reply('OTHERS', (record.newest and record.broken == '') and '1' or '0')
      end
    end
  else
    create(inc, opt, reasons)
  end
  load_options()
  load_failures()
  for reason in string.gmatch(reasons, '%S+') do add_reason(reason) end
  stand_still()
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
  take_census()
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
stand_still()
local mine = me ~= '' and my_process()

if op == 'beat' then
  mine.latency = tonumber(ARGV[8])
  close(mine, ARGV[9] == '1')
  if record.broken == '' then
    move_up(phase)
    count_running()
    if record.alive > 1 then publish('{"kind":"ping","at":' .. now .. '}') end
  end
  return finish('OK')
end

if record.broken ~= '' then
  if op ~= 'outcomes' then return finish('BROKEN') end
  return finish('ITEMS', { 'B*' .. #ARGV - 8 })
end

if op == 'outcomes' then
  local items = outcomes(8)
  count_running()
  return finish('ITEMS', items)
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

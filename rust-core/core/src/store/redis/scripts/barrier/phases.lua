-- ---- phases -----------------------------------------------------------------------------------------------------

local cyclic, parties
local running -- the rule where the parties are those who run; nothing where they are a number
local options
local function load_options()
  options = cjson.decode(record.opt)
  cyclic, parties = options.cyclic, options.parties
  if type(parties) == 'table' then running, parties = parties, math.huge end -- complete when the whole operation is done
end

local function over() return not cyclic and record.open > 0 end

local function next_counts()
  if cyclic then
    record.arrived, by, failed = 0, {}, 0
    record.left = record.left + record.left_next
    record.left_next = 0
    if running then
      each_process(function(_, p) p.owing, p.changed = p.running, true end)
    end
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

-- Of a release that is spread, in microseconds: what is needed to tell one user its instant, and the bounds of all that.
local LEAD_EACH, LEAD_MIN, LEAD_MAX = 4, 10000, 250000

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

-- Whether the phase before was not let go before the instant of the options. What follows it may not overtake it.
local function follows_instant()
  local json = record.open > 0 and redis.call('HGET', state, '@r:' .. (record.open - 1))
  local before = json and cjson.decode(json)
  return before and before.at + before.delay >= options.releaseAt * 1000 -- rule: phases go in their order
end

local function release(why)
  local delay, crowded = common_release()
  local complete = why == 'all' or why == 'quorum' -- who else releases says that it is enough
  if options.releaseAt and (complete or follows_instant()) then
    delay = math.max(delay, options.releaseAt * 1000 - tonumber(now)) -- rule: not before its instant
  end
  if type(options.spread) == 'table' then -- rule: who goes first is told before
    delay = math.max(delay, math.min(LEAD_MIN + LEAD_EACH * record.arrived, LEAD_MAX))
  end
  keep_release(record.open, string.format('{"phase":%d,"why":"%s",%s,"before":%d,"at":%s,"delay":%.0f,"crowded":[%s]}',
    record.open, why, counts_json(), math.max(0, record.index - record.arrived), now, delay, crowded))
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
    if declared[key] then redis.call('PEXPIRE', key, record.ttl) end -- the longest that any process wants
  end
  renew(state)
  for _, m in ipairs(mirrors_touched and mirror_phase ~= n and { mirror_phase, n } or { n }) do
    renew(joined_key(m))
    each_reason(function(reason) renew(counter_key(reason, m)) end)
  end
end

-- What an operator sees of a barrier. Reads only: it registers nobody and renews nothing.
--
-- KEYS[1]  the barrier's hash
-- Answer   nothing where there is no record, else a list of texts in the order of `decode_look`

local state = KEYS[1]
local layout, inc, opt, open, arrived, by, left, late, broken, alive, procs, newest, since, first_layout =
  unpack(redis.call('HMGET', state, '@layout', '@inc', '@opt', '@open', '@arrived', '@by', '@left', '@late', '@broken', '@alive',
    '@procs', '@newest', '@since', 'inc'))
layout = layout or (first_layout and '1')
if not layout then return {} end
if layout ~= '3' then return redis.error_reply(string.format('KBARLAYOUT %s %s 3', state, layout)) end

local time = redis.call('TIME')
local now = time[1] .. string.rep('0', 6 - #time[2]) .. time[2]
local silent = string.format('%.0f', tonumber(now) - 15000000)

local heard, owing = '', 0
for id in string.gmatch(procs or '', '%S+') do
  local process = redis.call('HGET', state, '@p:' .. id) or ''
  local seen = string.match(process, '^%d+|%d+|%d+|%d+|(%d+)|')
  -- Times of equal length: text compares as numbers do.
  if seen and seen > heard then heard = seen end
  local owes = string.match(process, '|0|(%d+)|%d+$') -- of one that has not said goodbye; none where the parties are a number
  if owes and seen >= silent then owing = owing + tonumber(owes) end
end

if owing > 0 and not cjson.decode(opt).cyclic and tonumber(open) > 0 then owing = 0 end
return { now, inc, opt, open, arrived, by, left, late, broken, newest and redis.call('HGET', state, '@r:' .. newest) or '',
  since or '', alive, heard, tostring(redis.call('PTTL', state)), tostring(owing) }

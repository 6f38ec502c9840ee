-- What an operator sees of a barrier. Reads only: it registers nobody and renews nothing.
--
-- KEYS[1]  the barrier's hash
-- Answer   nothing where there is no record, else a list of texts in the order of `decode_look`

local state = KEYS[1]
local inc, opt, open, arrived, by, left, late, broken, procs, newest, since =
  unpack(redis.call('HMGET', state, 'inc', 'opt', 'open', 'arrived', 'by', 'left', 'late', 'broken', 'procs', 'newest', 'since'))
if not opt then return {} end

local processes, heard = 0, ''
for id in string.gmatch(procs, '%S+') do
  local seen, closed = string.match(redis.call('HGET', state, 'p:' .. id) or '', '^%d+|%d+|%d+|(%d+)|%d+|(%d)$')
  if closed == '0' then processes = processes + 1 end
  -- Times of equal length: text compares as numbers do.
  if seen and seen > heard then heard = seen end
end

local time = redis.call('TIME')
local now = time[1] .. string.rep('0', 6 - #time[2]) .. time[2]
return { now, inc, opt, open, arrived, by, left, late, broken, newest and redis.call('HGET', state, 'r:' .. newest) or '',
  since or '', tostring(processes), heard, tostring(redis.call('PTTL', state)) }

-- Who has no outcome in the open phase and has not left. Reads only, and some ids of many: nobody else may have to wait for it.
--
-- KEYS[1]  the barrier's hash
-- ARGV[1]  how many ids are wanted at most
-- ARGV[2]  the first id that is looked at
-- ARGV[3]  how many are looked at at most
-- Answer   how many are missing, the id to go on with or nothing, then ids where every recorded one is a number within the parties

local state, limit = KEYS[1], tonumber(ARGV[1])
local opt, open, arrived, by, left, unnameable, some_leave =
  unpack(redis.call('HMGET', state, '@opt', '@open', '@arrived', '@by', '@left', '@unnameable', '@leaves'))
if not opt then return { '0', '' } end
local options = cjson.decode(opt)
-- After the end of a one-shot barrier its own phase is spoken of, not one that never comes.
local phase = options.cyclic and tonumber(open) or 0
if type(options.parties) == 'table' then
  -- Of those who run nobody knows here who they are. When all is over, nobody is waited for.
  if not options.cyclic and tonumber(open) > 0 then return { '0', '' } end
  local time = redis.call('TIME')
  local silent = string.format('%.0f', (tonumber(time[1]) - 15) * 1000000 + tonumber(time[2]))
  local owing = 0
  for id in string.gmatch(redis.call('HGET', state, '@procs') or '', '%S+') do
    local seen, closed, owes = string.match(redis.call('HGET', state, '@p:' .. id) or '',
      '^%d+|%d+|%d+|%d+|(%d+)|%d+|(%d)|(%d+)|%d+$')
    if closed == '0' and seen >= silent then owing = owing + tonumber(owes) end
  end
  return { tostring(owing), '' }
end
local accounted = tonumber(arrived) + tonumber(left)
for n in string.gmatch(by, '=(%d+)') do accounted = accounted + tonumber(n) end
local count = math.max(options.parties - accounted, 0)
local answer = { tostring(count), '' }
limit = math.min(limit, count)
if unnameable == '1' or limit == 0 then return answer end

local first = tonumber(ARGV[2])
local last = math.min(first + tonumber(ARGV[3]) - 1, options.parties)
if last < first then return answer end
local function values(prefix)
  local fields = {}
  for id = first, last do fields[#fields + 1] = prefix .. id end
  return redis.call('HMGET', state, unpack(fields))
end
local users = values('')
local leaves = tonumber(some_leave or '0') > 0 and values('@l:') or {}
for i = 1, #users do
  local here = users[i] and tonumber(string.match(users[i], '^(%d+)')) == phase
  local gone = leaves[i] and tonumber(string.match(leaves[i], '^(%d+)')) <= phase
  if not here and not gone then
    answer[#answer + 1] = tostring(first + i - 1)
    if #answer - 2 == limit then return answer end
  end
end
if last < options.parties then answer[2] = tostring(last + 1) end
return answer

-- Who has no outcome in the open phase and has not left. Reads only.
--
-- KEYS[1]  the barrier's hash
-- ARGV[1]  how many ids are wanted at most
-- Answer   how many are missing, then the first of their ids where every recorded id is a number within the parties

local state, limit = KEYS[1], tonumber(ARGV[1])
local opt, open, arrived, by, left, unnameable =
  unpack(redis.call('HMGET', state, '@opt', '@open', '@arrived', '@by', '@left', '@unnameable'))
if not opt then return { '0' } end
local options = cjson.decode(opt)
-- After the end of a one-shot barrier its own phase is spoken of, not one that never comes.
local phase = options.cyclic and tonumber(open) or 0
local accounted = tonumber(arrived) + tonumber(left)
for n in string.gmatch(by, '=(%d+)') do accounted = accounted + tonumber(n) end
local count = math.max(options.parties - accounted, 0)
local answer = { tostring(count) }
if unnameable == '1' then return answer end
limit = math.min(limit, count)

local CHUNK = 1000
for first = 1, options.parties, CHUNK do
  if #answer > limit then break end
  local users, leaves = {}, {}
  for id = first, math.min(first + CHUNK - 1, options.parties) do
    users[#users + 1] = tostring(id)
    leaves[#leaves + 1] = '@l:' .. id
  end
  users = redis.call('HMGET', state, unpack(users))
  leaves = redis.call('HMGET', state, unpack(leaves))
  for i = 1, #users do
    if #answer > limit then break end
    local here = users[i] and tonumber(string.match(users[i], '^(%d+)')) == phase
    local gone = leaves[i] and tonumber(string.match(leaves[i], '^(%d+)')) <= phase
    if not here and not gone then answer[#answer + 1] = tostring(first + i - 1) end
  end
end
return answer

-- Keeps the keys of barriers that are over, for outside readers and for processes that come late.
--
-- KEYS     of each barrier its hash, then its mirrors
-- ARGV     of each barrier: how many keys it has, the incarnation of its record, ttl in ms
-- Answer   of each barrier: 1, or 0 where another record or none is there

local answer, at = {}, 0
for i = 1, #ARGV, 3 do
  local keys = tonumber(ARGV[i])
  local inc, longest = unpack(redis.call('HMGET', KEYS[at + 1], '@inc', '@ttl'))
  local here = inc == ARGV[i + 1]
  local ttl = ARGV[i + 2]
  if (tonumber(longest or '') or 0) > tonumber(ttl) then ttl = longest end
  for k = at + 1, here and at + keys or at do redis.call('PEXPIRE', KEYS[k], ttl) end
  answer[#answer + 1] = here and 1 or 0
  at = at + keys
end
return answer

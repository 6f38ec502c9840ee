-- ---- who runs ---------------------------------------------------------------------------------------------------

-- How many who run in a process that lives have no outcome in the open phase.
local function owing()
  if over() then return 0 end
  local n = 0
  each_process(function(_, p)
    if is_alive(p) then n = n + p.owing end -- rule: a process that is silent runs nobody
  end)
  return n
end

-- For as long as nobody spoke nobody was silent: the server stood still, or its clock was set.
local function stand_still()
  if not running or me == '' then return end
  local newest = ''
  each_process(function(_, p) if p.seen > newest then newest = p.seen end end)
  local gap = newest ~= '' and tonumber(now) - tonumber(newest) or 0
  local passed = math.max(0, math.min(gap, GAP_MAX))
  if gap == passed then return end
  each_process(function(_, p) -- rule: a server that stood still has heard nobody's silence
    p.seen, p.changed = string.format('%.0f', tonumber(p.seen) + gap - passed), true
  end)
end

-- What the sender says of who runs there, once its operation is done.
local function take_census()
  local at, owes, runs = string.match(ARGV[5], '^%d (%d+) (%d+) (%d+)$')
  local mine = processes[me]
  if not running or not at or not mine then return end
  at, mine.owing, mine.running = tonumber(at), tonumber(owes), tonumber(runs)
  if at < record.open then mine.owing = mine.running end -- rule: whoever has not heard of the release owes the next outcome
  if at > record.open then mine.owing = math.max(mine.owing, 1) end -- it opens the record again, which moves this phase up
end

-- The end of an operation: is nobody waited for any more?
local function count_running()
  if not running then return end
  take_census()
  if over() or record.broken ~= '' then return end
  local enough = record.open == 0 and running.atLeast or 1 -- rule: the first phase waits for so many
  if record.arrived + failed >= enough and owing() == 0 then release('all') end -- rule: whoever runs is waited for
end

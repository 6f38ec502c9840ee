-- ---- outcomes ---------------------------------------------------------------------------------------------------

local noted = {} -- fields to write
-- By field, as far as they are known here. Of those who arrived in one go there is the index only.
local participants, leaves = {}, {}

local AT = string.byte('@')
local function id_of(field) return string.byte(field) == AT and string.sub(field, 2) or field end

local function note(field, known, n, code, index, reason, nameable)
  local number = process(me).number
  participants[field] = { phase = n, code = code, index = index, process = number, reason = reason }
  noted[#noted + 1] = field
  noted[#noted + 1] = string.format('%d|%s|%d|%s|%s', n, code, index, number, reason)
  if not known and not nameable then record.unnameable = '1' end
end

local function count_outcomes(n)
  local mine = process(me)
  if mine.phase ~= phase then mine.phase, mine.outcomes = phase, 0 end
  first_here = first_here or mine.outcomes == 0
  mine.outcomes = mine.outcomes + n
end

local function outcome(field, code, detail, nameable)
  if record.broken ~= '' then return 'B' end
  local mine = my_process()
  local leave = leaves[field]
  if leave then
    if leave.process ~= mine.number then return 'C' end
    if leave.from <= phase or code == 'L' then return 'S|L|0|' end -- rule: leave is for good
  end
  local known = participants[field]
  if type(known) == 'number' then
    known = { phase = phase, code = 'A', index = known, process = mine.number, reason = '' }
  end
  local leaves_later = code == 'L' and tonumber(detail) > phase
  if known then
    if known.process ~= mine.number then return 'C' end
    local standing = known.phase == phase or (known.code == 'T' and known.phase >= phase)
    if standing and not leaves_later then -- rule: first stands
      if known.code == 'A' and known.phase == phase and phase == record.open then
        -- A replay: the set for outside readers may have been lost.
        touch_mirrors()
        joined_new[#joined_new + 1] = id_of(field)
      end
      return string.format('S|%s|%d|%s', known.code, known.index, known.reason)
    end
  end
  if code == 'L' then
    move_up(phase)
    local from = tonumber(detail)
    leaves[field] = { from = from, process = mine.number }
    noted[#noted + 1] = '@l:' .. field
    noted[#noted + 1] = from .. '|' .. mine.number
    if not known and not nameable then record.unnameable = '1' end
    record.leaves = record.leaves + 1
    mine.leaves = mine.leaves + 1
    if not over() then -- a decided release keeps its counts
      if from <= record.open then record.left = record.left + 1 else record.left_next = record.left_next + 1 end
    end
    complete()
    return 'R|0'
  end
  if phase < record.open then
    if resend then return 'P' end -- rule: a resend is never late
    record.late = record.late + 1
    note(field, known, record.open - 1, 'T', 0, '', nameable)
    return 'T|' .. (record.open - 1)
  end
  move_up(phase)
  local index = 0
  if code == 'A' then
    record.index = record.index + 1
    index = record.index
    record.arrived = record.arrived + 1
    joined_new[#joined_new + 1] = id_of(field)
  else
    by[detail] = (by[detail] or 0) + 1
    failed = failed + 1
    add_reason(detail)
  end
  touch_mirrors()
  note(field, known, phase, code, index, code == 'F' and detail or '', nameable)
  count_outcomes(1)
  complete()
  if index > 0 then return 'R', index end
  return 'R|0'
end

-- Arrivals of participants that nobody knows yet, in one go: what `outcome` does to each, but that there is nothing to decide
-- before the last of them. Gives how many of ARGV[first] to ARGV[last] it took, and the index of the first.
local function arrivals(first, last, nameable)
  if record.broken ~= '' or phase < record.open then return 0 end
  my_process()
  move_up(phase)
  last = math.min(last, first + arrivals_to_go() - 1)
  local index = record.index
  for i = first, last do
    local field = ARGV[i]
    if participants[field] or leaves[field] then
      last = i - 1
      break
    end
    index = index + 1
    participants[field] = index
  end
  local n = last - first + 1
  if n < 1 then return 0 end
  local before, behind, at = phase .. '|A|', '|' .. process(me).number .. '|', #noted
  for i = first, last do
    local field = ARGV[i]
    noted[at + 1] = field
    noted[at + 2] = before .. participants[field] .. behind
    joined_new[#joined_new + 1] = id_of(field)
    at = at + 2
  end
  record.index = index
  record.arrived = record.arrived + n
  if not nameable then record.unnameable = '1' end
  touch_mirrors()
  count_outcomes(n)
  complete()
  return n, index - n + 1
end

-- Equal answers that follow each other are one, with their number; the indices of arrivals go on by one.
local answers, newest_answer = {}, nil
local function answer(text, n, index)
  if newest_answer and newest_answer.text == text and newest_answer.next == index then
    newest_answer.n = newest_answer.n + n
  else
    newest_answer = { text = text, n = n, first = index }
    answers[#answers + 1] = newest_answer
  end
  newest_answer.next = index and index + n
end
-- ARGV[first] says what the participants behind it report, as runs of: code, nameable, how many, reason or phase.
local function outcomes(first)
  for i, text in ipairs(redis.call('HMGET', state, unpack(ARGV, first + 1))) do
    if text then
      local p = split(text)
      participants[ARGV[first + i]] = { phase = tonumber(p[1]), code = p[2], index = tonumber(p[3]), process = p[4], reason = p[5] }
    end
  end
  if record.leaves > 0 then
    local leavers = {}
    for i = first + 1, #ARGV do leavers[#leavers + 1] = '@l:' .. ARGV[i] end
    for i, text in ipairs(redis.call('HMGET', state, unpack(leavers))) do
      if text then
        local l = split(text)
        leaves[ARGV[first + i]] = { from = tonumber(l[1]), process = l[2] }
      end
    end
  end
  local at = first + 1
  for code, nameable, count, detail in string.gmatch(ARGV[first], '(%u),(%d),(%d+),(%S*)') do
    nameable = nameable == '1'
    local last = at + count - 1
    while at <= last do
      local n, index = 0, nil
      if code == 'A' then n, index = arrivals(at, last, nameable) end
      if n > 0 then
        answer('R', n, index)
      else
        n = 1
        local text
        text, index = outcome(ARGV[at], code, detail, nameable)
        answer(text, n, index)
      end
      at = at + n
    end
  end
  local items = {}
  for i, run in ipairs(answers) do
    items[i] = (run.first and run.text .. '|' .. run.first or run.text) .. (run.n > 1 and '*' .. run.n or '')
  end
  return items
end

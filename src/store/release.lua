-- Release: give the lock back, and say so in the record. Only by holder and token, never by id alone.
--
-- ARGV[1] holder id   ARGV[2] token   ARGV[3] not_after, microseconds
-- ARGV[4] how long this holder stays out of the election, milliseconds   ARGV[5] channel
-- ARGV[6] the writer's process   ARGV[7] the number of its attempt
-- ARGV[8] members   ARGV[9] holder id of the one that should lead next; '' for anyone, '*' for the youngest that is ready
--
-- Outcomes: released; too_late, superseded (nothing was written).
local id, token, channel = ARGV[1], ARGV[2], ARGV[5]

local seen = look()
if now > tonumber(ARGV[3]) then return answer('too_late', seen) end

local record = named(seen.values)
if record.schema ~= '1' or record.holder ~= id or record.token ~= token or record.released ~= '0' then
  return answer('superseded', seen)
end

-- First a write that needs no memory, so that the rest runs when Redis is out of it (see claim.lua).
if seen.lock == id then
  redis.call('DEL', LOCK)
else
  redis.call('PERSIST', RECORD)
end
local successor = ARGV[9]
enroll(ARGV[8], id, '0')
if successor == '*' then
  list_members(ARGV[8], false)
  successor = youngest()
end
redis.call('HSET', RECORD, 'released', '1', 'hold_off', ARGV[4], 'successor', successor, 'process', ARGV[6],
  'attempt', ARGV[7])
-- On what stands there now the next term may be begun, unless somebody else has taken the lock: so that nobody need look.
local left = look()
local told = 'released ' .. id .. ' ' .. token
if not left.lock then told = told .. ' ' .. judged(left.values) end
redis.pcall('PUBLISH', channel, told)
return answer('released', left)

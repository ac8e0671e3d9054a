-- Claim: begin a term, or renew one. Changes either everything or, but for what PEXPIRE adds to a lock, nothing.
--
-- ARGV[1] 'begin' or 'renew'          ARGV[6] begin: the judged text       renew: the token
-- ARGV[2] holder id                   ARGV[7] begin: 1 if the lock of the record's own holder is stale
-- ARGV[3] TTL, milliseconds                   renew: the judged text if the lock is only kept; '' for a term that is led
--                                     ARGV[8] begin: the new token must be greater than this
-- ARGV[4] not_after, microseconds
-- ARGV[5] 1 to take the lock even where Redis is out of memory
-- ARGV[9] channel                     ARGV[10] how long the record lasts, milliseconds; '' for ever
-- ARGV[11] the writer's process       ARGV[12] the number of its attempt: no record ever equals another
-- ARGV[13] members                    ARGV[14] for how long its entry counts, milliseconds; '' for no entry
-- ARGV[15] its words                  ARGV[16] begin: 1 to begin even where Redis may evict the lock
--
-- Outcomes: begun, renewed; too_late, held, changed, superseded, evicting (nothing was written).
local op, id, ttl, under_oom, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[5], ARGV[9]

local seen = look()
-- A request that its sender gave up on may still arrive; then it must change nothing.
if now > tonumber(ARGV[4]) then return answer('too_late', seen) end

local record = named(seen.values)
local foreign = seen.lock and seen.lock ~= id
local token

if op == 'begin' then
  if judged(seen.values) ~= ARGV[6] then return answer('changed', seen) end
  local stale = ARGV[7] == '1' and seen.lock == record.holder and record.released == '0'
  if foreign and not stale then return answer('held', seen) end
  memory = redis.call('INFO', 'memory')
  local limit, policy = info(memory, 'maxmemory'), info(memory, 'maxmemory_policy')
  local evicts = limit and limit ~= '0' and policy and policy ~= 'noeviction'
  if evicts and ARGV[16] ~= '1' then return answer('evicting', seen) end
  -- Greater than all that came before, even if the store has lost them: then by the time of day.
  token = math.max(now, tonumber(ARGV[8]) + 1, tonumber(record.token or 0) + 1)
  -- From 2^53 on, one more is the same number to Lua.
  if token >= 2 ^ 53 then
    return redis.error_reply('ERR the last fencing token below 2^53 was given: delete the record, restart all agents, ' ..
      'and let those who fence forget it')
  end
else
  if foreign then return answer('held', seen) end
  -- Who leads no term any more has no lease that says that nobody else has led since.
  if ARGV[7] ~= '' and (seen.lock ~= id or judged(seen.values) ~= ARGV[7]) then return answer('changed', seen) end
  token = tonumber(ARGV[6])
  if record.schema then
    if record.schema ~= '1' then return answer('changed', seen) end
    local recorded = tonumber(record.token)
    if recorded > token then return answer('superseded', seen) end
    if recorded == token and (record.holder ~= id or record.released ~= '0') then return answer('superseded', seen) end
  end
end

-- The first write decides whether Redis runs a script when it is out of memory. PEXPIRE needs no
-- memory and is allowed; after it the rest of the script runs too. The key may be missing.
-- https://redis.io/docs/latest/develop/programmability/eval-intro/ ("Execution under low memory conditions")
local kept = under_oom == '1' and redis.call('PEXPIRE', LOCK, ttl) == 1
if not kept or foreign then redis.call('SET', LOCK, id, 'PX', ttl) end
local fence, deadline = whole(token), whole(now + ttl * 1000)
local written = { '1', id, fence, deadline, ttl, '0', generation, '', '0', ARGV[11], ARGV[12] }
-- Spelt out: a loop over FIELDS that builds these arguments is slower.
local noted = redis.pcall('HSET', RECORD, 'schema', '1', 'holder', id, 'token', fence, 'deadline', deadline,
  'ttl', ttl, 'released', '0', 'gen', generation, 'successor', '', 'hold_off', '0', 'process', ARGV[11],
  'attempt', ARGV[12])
-- Redis takes nothing back of a script that fails half way. A lock without a record, from a user who may not
-- write one, would keep out whoever can lead. SET is what this user may do: where there was no lock, one for a moment.
if type(noted) == 'table' then
  if seen.left == -1 then
    redis.call('SET', LOCK, seen.lock)
  else
    redis.call('SET', LOCK, seen.lock or id, 'PX', math.max(seen.left, 1))
  end
  return noted
end
if ARGV[10] ~= '' then redis.call('PEXPIRE', RECORD, ARGV[10]) end
-- A hint. Whoever may not publish leads all the same.
local done = op == 'begin' and 'begun' or 'renewed'
redis.pcall('PUBLISH', channel, done .. ' ' .. id .. ' ' .. fence)
if ARGV[14] ~= '' then
  enroll(ARGV[13], id, ARGV[14], ARGV[15])
  list_members(ARGV[13], true)
end
return answer(done, { lock = id, left = tonumber(ttl), values = written }, fence)

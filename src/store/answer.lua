-- The reply of every script: the outcome, and the store as it stands after it. `Reply` in script.rs reads it by these
-- positions.
local function answer(outcome, token)
  local seen = look()
  return {
    outcome,
    token or '0',
    whole(now),
    seen.lock,
    redis.call('PTTL', LOCK),
    seen.judged,
    seen.values,
    generation,
    uptime,
    replid2,
    redis.call('INFO', 'memory'),
    members,
  }
end

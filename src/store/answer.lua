-- INFO memory, where it was read: by a begin, which must not lead where Redis may evict the lock.
local memory = ''

-- The reply of every script: the outcome, and the store as it stands after it. `Reply` in reply.rs reads it by these
-- positions.
local function answer(outcome, seen, token)
  return {
    outcome, token or '0', whole(now), seen.lock, seen.left, seen.values, generation, uptime, replid2, memory,
    members,
  }
end

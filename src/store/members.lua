-- Members: who could take over. A hint that no rule of exclusion reads, so nothing here ever fails a script.
-- The key is not among KEYS: a user who may not touch it would be refused the whole script.

-- What list_members() has read: holder id, entry, holder id, entry …
local members = {}

-- Keeps the caller's entry for `lives` milliseconds; 0 removes it. `words` is 'READY STARTED VERSION INSTANCE'.
local function enroll(key, id, lives, words)
  -- First a write that needs no memory (see claim.lua). A user who may not remove an entry writes none.
  if type(redis.pcall('HDEL', key, id)) == 'table' or lives == '0' then return end
  redis.pcall('HSET', key, id, whole(now + lives * 1000) .. ' ' .. words .. ' ' .. whole(now))
  -- Of a fleet that is gone nothing is left behind.
  redis.pcall('PEXPIRE', key, '86400000')
end

-- Reads the entries that count, and removes the others if `prune` says so.
local function list_members(key, prune)
  local all = redis.pcall('HGETALL', key)
  for i = 1, #all, 2 do
    local deadline = tonumber(string.match(all[i + 1], '^(%d+) '))
    if deadline and deadline > now then
      members[#members + 1] = all[i]
      members[#members + 1] = all[i + 1]
    elseif prune then
      redis.pcall('HDEL', key, all[i])
    end
  end
end

-- The holder id of the member that is ready and has started last; '' if there is none.
local function youngest()
  local best, latest = '', -1
  for i = 1, #members, 2 do
    local started = tonumber(string.match(members[i + 1], '^%d+ 1 (%d+) '))
    if started and (started > latest or started == latest and members[i] > best) then
      best, latest = members[i], started
    end
  end
  return best
end

-- Prelude of every script: what stands in the store, seen in one atomic step.
--
-- KEYS[1] the lock     string, holds the holder id, with a TTL
-- KEYS[2] the record   hash, no TTL
--
-- Nothing here writes but what members.lua tries, so all of it works under MISCONF and out of memory. A key of another
-- type raises WRONGTYPE before anything is written.

-- Redis 6.2 with `lua-replicate-commands no` refuses a write after TIME unless this was called.
if redis.replicate_commands then redis.replicate_commands() end

local LOCK, RECORD = KEYS[1], KEYS[2]
local FIELDS = {
  'schema', 'holder', 'token', 'deadline', 'ttl', 'released', 'gen', 'successor', 'hold_off', 'process', 'attempt',
}

-- Microseconds, as tostring() writes them, lose digits.
local function whole(number) return string.format('%.0f', number) end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local server = redis.call('INFO', 'server')
local replication = redis.call('INFO', 'replication')
-- A pattern is tried at every character of the text, which costs more than INFO itself; a plain find does not.
local function info(text, name)
  local _, last = string.find(text, '\n' .. name .. ':', 1, true)
  return last and string.match(text, '^[^\r\n]*', last + 1)
end
-- A connection from before a failover goes on showing what the old primary, a replica now, is told: the same lock
-- in another generation. Whoever looks must dial again, as whoever writes here must.
if info(replication, 'role') == 'slave' then
  return redis.error_reply('READONLY this server is a replica: the lock is judged by what the primary says')
end
-- Changes when the server restarts (run_id) and when a replica is promoted (master_replid).
local run_id, replid = info(server, 'run_id'), info(replication, 'master_replid')
local uptime, replid2 = info(server, 'uptime_in_seconds'), info(replication, 'master_replid2')
if not (run_id and replid and uptime and replid2) then
  return redis.error_reply('ERR INFO hides run_id, uptime_in_seconds, master_replid or master_replid2: without them ' ..
    'nobody can tell that data was lost, and nobody is elected')
end
local generation = run_id .. ':' .. replid

-- The lock and how long it is left, and the record's values in the order of FIELDS.
local function look()
  local lock = redis.call('GET', LOCK)
  local left = lock and redis.call('PTTL', LOCK) or -2
  return { lock = lock, left = left, values = redis.call('HMGET', RECORD, unpack(FIELDS)) }
end

-- The record's values by their names.
local function named(values)
  local record = {}
  for i, name in ipairs(FIELDS) do record[name] = values[i] end
  return record
end

-- Generation and record as one text, on which the next term is judged. Each field carries its length, so that no two
-- different records have the same text. judged.rs writes and reads the same.
local function judged(values)
  local text = { generation }
  for i = 1, #FIELDS do text[i + 1] = values[i] and (#values[i] .. ':' .. values[i]) or '-' end
  return table.concat(text, ' ')
end

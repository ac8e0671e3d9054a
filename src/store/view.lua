-- Prelude of every script: what stands in the store, seen in one atomic step.
--
-- KEYS[1] the lock     string, holds the holder id, with a TTL
-- KEYS[2] the record   hash, no TTL
--
-- answer(outcome, token) is the reply of every script: the outcome, and the store as it stands after it.
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
local function info(text, name) return string.match(text, '\n' .. name .. ':([^\r\n]*)') end
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

-- `judged` is generation and record as one text. Each field carries its length, so that no two
-- different records have the same text.
local function look()
  local values = redis.call('HMGET', RECORD, unpack(FIELDS))
  local judged, record = { generation }, {}
  for i, name in ipairs(FIELDS) do
    record[name] = values[i]
    judged[i + 1] = values[i] and (#values[i] .. ':' .. values[i]) or '-'
  end
  return { lock = redis.call('GET', LOCK), values = values, record = record, judged = table.concat(judged, ' ') }
end


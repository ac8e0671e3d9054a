-- Look. Reads, and changes nothing but the caller's own entry among the members.
--
-- ARGV[1] members   ARGV[2] holder id, '' to read the members instead, as a command does
-- ARGV[3] for how long its entry counts, milliseconds   ARGV[4] its words
local seen = look()
if ARGV[2] == '' then list_members(ARGV[1], false) else enroll(ARGV[1], ARGV[2], ARGV[3], ARGV[4]) end
return answer('looked', seen)

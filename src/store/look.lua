-- Look. Reads, and changes nothing.
return answer('looked')

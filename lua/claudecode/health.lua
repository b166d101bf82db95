-- Owns `:checkhealth claudecode`.
local other = require("pairside.compatibility").other("claudecode.health")
if other ~= nil then
  return other
end

return require("pairside.health")

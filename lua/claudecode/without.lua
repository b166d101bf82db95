-- Owns what is said of functions of claudecode.nvim that have no meaning here: that they were called, once each.
local M = {}

local told = {}

--- Tells the person why nothing happens.
---@param name string the function
---@param why string
function M.meaning(name, why)
  if not told[name] then
    told[name] = true
    require("pairside.message").warn(("%s has no effect: %s"):format(name, why))
  end
end

return M

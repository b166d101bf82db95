-- Owns the choice to have no terminal in Neovim: agents are started elsewhere.
local M = { name = "none", embedded = false }

M.why = 'no terminal is kept here (terminal.provider is "none"): start the agent where you like'

--- It can always be used.
---@return boolean
function M.available()
  return true
end

return M

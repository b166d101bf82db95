-- Owns the function of claudecode.nvim that finds the folder of a git repository.
local other = require("pairside.compatibility").other("claudecode.cwd")
if other ~= nil then
  return other
end

local M = {}

--- The top of the git work tree that holds a folder; nil if there is none.
---@param folder string?
---@return string?
function M.git_root(folder)
  return vim.fs.root(folder or vim.fn.getcwd(), ".git")
end

return M

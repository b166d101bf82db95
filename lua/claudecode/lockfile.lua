-- Owns the functions of claudecode.nvim for the lock file, which pairside writes by itself here.
local other = require("pairside.compatibility").other("claudecode.lockfile")
if other ~= nil then
  return other
end

local M = {}

local function config_folder()
  local named = vim.env.CLAUDE_CONFIG_DIR
  return named and named ~= "" and vim.fs.normalize(named) or vim.fs.joinpath(vim.env.HOME or "~", ".claude")
end

--- Where lock files are.
M.lock_dir = vim.fs.joinpath(config_folder(), "ide")

for _, name in ipairs({ "create", "remove", "update" }) do
  M[name] = function()
    local why = "pairside writes and removes the lock file"
    require("claudecode.without").meaning(("lockfile.%s"):format(name), why)
    return false, why
  end
end

--- Fails: the token is made by pairside.
function M.generate_auth_token()
  error("lockfile.generate_auth_token is not offered: pairside makes the token", 2)
end

--- The token in the lock file of a port.
---@param port integer
---@return boolean found
---@return string? token
---@return string? problem
function M.get_auth_token(port)
  local path = vim.fs.joinpath(M.lock_dir, ("%d.lock"):format(port))
  local file, problem = io.open(path)
  if not file then
    return false, nil, problem
  end
  local text = file:read("*a")
  file:close()
  local read, lock = pcall(vim.json.decode, text)
  if not read or type(lock) ~= "table" or type(lock.authToken) ~= "string" then
    return false, nil, ("%s has no token"):format(path)
  end
  return true, lock.authToken
end

--- The folders that are open.
---@return string[]
function M.get_workspace_folders()
  return require("pairside.folders").list()
end

return M

-- Owns the peace with claudecode.nvim: what it provides itself is left to it, and the person is told once.
local M = {}

local PLUGIN = "claudecode.nvim"

local told = false

local function ours(path)
  return vim.startswith(vim.fs.normalize(path), vim.fs.normalize(require("pairside.options").root()) .. "/")
end

-- The file of a module of another plugin.
local function file(module)
  local path = module:gsub("%.", "/")
  for _, pattern in ipairs({ "lua/%s.lua", "lua/%s/init.lua" }) do
    for _, found in ipairs(vim.api.nvim_get_runtime_file(pattern:format(path), true)) do
      if not ours(found) then
        return found
      end
    end
  end
end

--- What another plugin provides under the name of one of our modules; nil if none does.
---@param module string
---@return any
function M.other(module)
  local path = file(module)
  return path and assert(loadfile(path))(module)
end

--- How it is known that claudecode.nvim is there too; nil if it is not.
---@return string?
function M.rival()
  local path = file("claudecode")
  if path then
    return vim.fs.dirname(vim.fs.dirname(vim.fs.dirname(path)))
  end
  for name, command in pairs(vim.api.nvim_get_commands({})) do
    if vim.startswith(name, "ClaudeCode") and not vim.startswith(command.definition, "pairside: ") then
      return ("the command :%s"):format(name)
    end
  end
end

--- What the person should know about both being there; nil if there is nothing.
---@return string?
function M.conflict()
  local rival = M.rival()
  if rival then
    return ("%s is loaded too (%s). Its commands are its own, and agents find two IDEs: remove one of the plugins"):format(
      PLUGIN,
      vim.fn.fnamemodify(rival, ":~")
    )
  end
end

--- Tells the person, once.
function M.warn()
  local conflict = not told and M.conflict()
  if conflict then
    told = true
    require("pairside.message").warn(conflict)
  end
end

return M

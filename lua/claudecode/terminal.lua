-- Owns the functions of claudecode.nvim for its terminal.
local other = require("pairside.compatibility").other("claudecode.terminal")
if other ~= nil then
  return other
end

local M = {}

local function terminal()
  return require("pairside.terminal")
end

-- Options for a single call are not taken: those of `setup` count.
local function overridden(name, options)
  if type(options) == "table" and next(options) ~= nil then
    local what = ("the first argument of terminal.%s"):format(name)
    require("claudecode.without").meaning(what, "options are set by setup()")
  end
end

--- Does nothing: the options of the terminal are taken by `require("claudecode").setup`.
function M.setup()
  require("claudecode.without").meaning("terminal.setup", 'its options are taken by require("claudecode").setup')
end

---@param options table?
---@param arguments string?
function M.open(options, arguments)
  overridden("open", options)
  terminal().open("", arguments)
end

function M.close()
  terminal().close("")
end

---@param options table?
---@param arguments string?
function M.simple_toggle(options, arguments)
  overridden("simple_toggle", options)
  terminal().toggle("", arguments)
end

---@param options table?
---@param arguments string?
function M.focus_toggle(options, arguments)
  overridden("focus_toggle", options)
  terminal().focus_toggle("", arguments)
end

---@param options table?
---@param arguments string?
function M.toggle(options, arguments)
  overridden("toggle", options)
  terminal().toggle("", arguments)
end

---@param options table?
function M.toggle_open_no_focus(options)
  overridden("toggle_open_no_focus", options)
  terminal().ensure_visible("")
end

---@param options table?
function M.ensure_visible(options)
  overridden("ensure_visible", options)
  terminal().ensure_visible("")
end

---@return integer? buffer
function M.get_active_terminal_bufnr()
  return terminal().buffer("")
end

--- Types a text into the agent's prompt.
---@param text string
---@param how { submit?: boolean, focus?: boolean }?
---@return boolean typed
---@return string? problem
function M.send_to_terminal(text, how)
  how = how or {}
  return terminal().type(text, { submit = how.submit, focus = how.focus })
end

return M

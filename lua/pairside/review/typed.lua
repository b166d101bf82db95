-- Owns the question whether what runs now is a command that the person gave in the current window.
--
-- A plugin that saves by itself runs in an autocommand, a timer or a callback; a person types a command, or a key that is
-- mapped to one. Neovim does not say which it is, so it is noted here.
local M = {}

local NAMESPACE = vim.api.nvim_create_namespace("pairside_keys")
local COMMAND = vim.api.nvim_replace_termcodes("<Cmd>", true, true, true)
-- A mapping to a Lua function; it has no name in the notation of keys.
local LUA = COMMAND:sub(1, 2) .. "g"

-- What these write is never just the file in the current window.
local MANY = {}
for _, name in ipairs({
  "wall", "wqall", "xall", "bufdo", "windo", "tabdo", "argdo", "cdo", "cfdo", "ldo", "lfdo", "wnext", "wprevious",
  "wNext", "next", "make", "qall", "quitall",
}) do
  MANY[name] = true
end
-- These write only what is flagged as modified.
local UPDATE = { update = true, xit = true, exit = true }

---@type { window: integer, many: boolean }?
local given = nil

local function forget()
  given = nil
end

-- The commands of a line, as Neovim reads it.
local function commands(line)
  local found = {}
  while line and line ~= "" and #found < 20 do
    local parsed, command = pcall(vim.api.nvim_parse_cmd, line, {})
    if not parsed then
      break
    end
    found[#found + 1] = command
    line = command.nextcmd
  end
  return found
end

--- Notes a command; called while the current buffer is a proposal.
---@param line string? unknown where the key is mapped to a function
local function note(line)
  given = { window = vim.api.nvim_get_current_win(), many = false }
  vim.schedule(forget)
  for _, command in ipairs(commands(line)) do
    if MANY[command.cmd] then
      given.many = true
    elseif UPDATE[command.cmd] and #command.args == 0 and #(command.range or {}) == 0 then
      -- Proposals are never flagged, see there. Now the command means this one.
      vim.bo.modified = true
    end
  end
end

---@param key string
---@param typed string
local function pressed(key, typed)
  if typed == "" then
    return
  end
  given = nil
  if (key == COMMAND or key == LUA) and vim.b.pairside_review then
    local line
    if key == COMMAND then
      local mapping = vim.fn.maparg(typed, vim.api.nvim_get_mode().mode:sub(1, 1), false, true)
      line = (mapping.rhs or ""):match("^%s*<[cC][mM][dD]>(.-)<[cC][rR]>")
    end
    note(line)
  end
end

-- Whether the autocommand that runs now was set off by another one.
local function nested()
  local stack = vim.fn.expand("<stack>")
  -- The words between the event and the pattern are in the person's language.
  local words = stack:match('BufWriteCmd([^"]*)"' .. vim.pesc(require("pairside.review.proposal").SCHEME) .. '%*"')
  if not words or vim.trim(words) == "" then
    return false
  end
  local first = stack:find(words, 1, true)
  return stack:find(words, first + 1, true) ~= nil
end

--- Whether a BufWriteCmd that runs now is what the person wants for just this buffer.
---@param buffer integer
---@return boolean
function M.means(buffer)
  return given ~= nil
    and not given.many
    and vim.api.nvim_get_current_buf() == buffer
    and vim.api.nvim_get_current_win() == given.window
    and not nested()
end

--- Listens while there are proposals.
---@param on boolean
function M.attend(on)
  if not on then
    vim.on_key(nil, NAMESPACE)
    pcall(vim.api.nvim_del_augroup_by_name, "pairside_typed")
    given = nil
    return
  end
  vim.on_key(pressed, NAMESPACE)
  local group = vim.api.nvim_create_augroup("pairside_typed", {})
  vim.api.nvim_create_autocmd("CmdlineLeave", {
    group = group,
    pattern = ":",
    desc = "pairside: whether a proposal is what the person writes",
    callback = function()
      if vim.b.pairside_review and not vim.v.event.abort then
        note(vim.fn.getcmdline())
      end
    end,
  })
  vim.api.nvim_create_autocmd("SafeState", {
    group = group,
    desc = "pairside: the command is over",
    callback = forget,
  })
end

return M

-- Owns what is said to the person in the message area. Nothing here can bring up a hit-enter prompt.
local M = {}

local KEPT = 200

---@type { text: string, level: integer, at: integer }[]
M.history = {}

local waiting = {}
local scheduled = false

-- A replaced vim.notify (a plugin's window) takes texts of any length; the one of Neovim writes to the command line.
local function replaced()
  local source = debug.getinfo(vim.notify, "S").source
  return not (source:find("vim/_editor", 1, true) or source:find("_core/editor", 1, true))
end

local function fitting(text)
  local line = vim.trim((text:gsub("%s*\n%s*", " · ")))
  local space = math.max(20, vim.v.echospace)
  if vim.fn.strdisplaywidth(line) <= space then
    return line
  end
  local more = "… (:Pairside messages)"
  local room = space - vim.fn.strdisplaywidth(more)
  local count = math.min(vim.fn.strcharlen(line), room)
  while count > 0 and vim.fn.strdisplaywidth(vim.fn.strcharpart(line, 0, count)) > room do
    count = count - 1
  end
  return vim.fn.strcharpart(line, 0, count) .. more
end

local flush

local function later()
  if not scheduled then
    scheduled = true
    vim.schedule(flush)
  end
end

function flush()
  scheduled = false
  local mode = vim.api.nvim_get_mode()
  local first = mode.mode:sub(1, 1)
  if #waiting > 0 and (mode.blocking or first == "c" or first == "r") then
    -- The line is the person's at the moment.
    local group = vim.api.nvim_create_augroup("pairside_message", {})
    vim.api.nvim_create_autocmd({ "CmdlineLeave", "ModeChanged", "SafeState" }, {
      group = group,
      callback = function()
        pcall(vim.api.nvim_del_augroup_by_id, group)
        later()
      end,
    })
    return
  end
  local one = table.remove(waiting, 1)
  if one == nil then
    return
  end
  if replaced() then
    pcall(vim.notify, one.text, one.level, { title = "pairside" })
  else
    -- Two messages without a redraw between them would scroll, and Neovim would ask for Enter.
    vim.cmd.redraw()
    local group = one.level >= vim.log.levels.ERROR and "ErrorMsg"
      or one.level >= vim.log.levels.WARN and "WarningMsg"
      or "None"
    vim.api.nvim_echo({ { fitting("pairside: " .. one.text), group } }, true, {})
  end
  if #waiting > 0 then
    later()
  end
end

---@param text string
---@param level integer
local function say(text, level)
  local one = { text = tostring(text), level = level, at = os.time() }
  M.history[#M.history + 1] = one
  while #M.history > KEPT do
    table.remove(M.history, 1)
  end
  waiting[#waiting + 1] = one
  later()
end

--- Something worth knowing. May be called anywhere, also where the API may not be.
---@param text string
function M.info(text)
  say(text, vim.log.levels.INFO)
end

--- Something did not go as the person may think.
---@param text string
function M.warn(text)
  say(text, vim.log.levels.WARN)
end

--- Something failed; the text says what to do.
---@param text string
function M.error(text)
  say(text, vim.log.levels.ERROR)
end

return M

-- Owns the `User` events: those of pairside, and beside them those that claudecode.nvim has for the same.
local message = require("pairside.message")

local M = {}

-- An agent says its name first and its process a moment later; one without a process is not waited for longer.
local INTRODUCTION_MS = 1000

-- How claudecode.nvim calls the ends of a review.
local REASONS = {
  accepted = "diff tab closed after save",
  rejected = "diff tab closed after reject",
  ["pairside has ended"] = "shutdown",
}

-- What claudecode.nvim calls an event, and its data made from ours.
---@type table<string, { name: string, data: fun(data: table): table }>
local COUNTERPARTS = {
  ReviewOpened = {
    name = "DiffOpened",
    data = function(data)
      return {
        tab_name = data.name,
        file_path = data.path,
        new_file_path = data.path,
        is_new_file = data.new == true,
        diff_window = data.window,
        target_window = data.original_window,
        terminal_window = data.terminal_window,
        tab_number = data.tabpage,
      }
    end,
  },
  ReviewClosed = {
    name = "DiffClosed",
    data = function(data)
      return { tab_name = data.name, file_path = data.path, reason = REASONS[data.reason] or data.reason }
    end,
  },
  SendComplete = {
    name = "SendComplete",
    data = function(data)
      return {
        file_path = data.path,
        start_line = data.first,
        end_line = data.last,
        context = data.context,
      }
    end,
  },
}

-- What is being fired; the innermost last, as a listener may set off the next event.
local firing = {}

--- Called by `emit` alone, through a command.
function M.fire_innermost()
  local one = firing[#firing]
  vim.api.nvim_exec_autocmds("User", { pattern = one.pattern, modeline = false, data = one.data })
end

local function emit(pattern, data)
  if vim.tbl_isempty(data) then
    data = nil
  end
  firing[#firing + 1] = { pattern = pattern, data = data }
  local before = vim.v.errmsg
  vim.v.errmsg = ""
  -- What a listener does wrong must not stop what it listens to, nor ask the person for a key: Neovim would show it as
  -- a message of many lines, unless a command is told to keep errors to itself. So it is told here, in a line.
  local done, problem = pcall(vim.cmd, 'silent! unsilent lua require("pairside.events").fire_innermost()')
  firing[#firing] = nil
  problem = vim.v.errmsg ~= "" and vim.v.errmsg or not done and tostring(problem) or nil
  if problem then
    local line = vim.split(problem, "\n", { plain = true })[1]:gsub("^Error executing lua callback: ", "")
    message.warn(("a listener of %s: %s"):format(pattern, line))
  else
    vim.v.errmsg = before
  end
end

--- Fires `User Pairside<name>`, and the event of claudecode.nvim for the same where it has one.
---@param name string
---@param data table?
function M.fire(name, data)
  data = data or {}
  emit("Pairside" .. name, data)
  local counterpart = COUNTERPARTS[name]
  if counterpart then
    emit("ClaudeCode" .. counterpart.name, counterpart.data(data))
  end
end

-- Agents that arrived and have not been told, by their number.
---@type table<integer, { facts: table, timer: uv.uv_timer_t }>
local nameless = {}

local function tell(id)
  local one = nameless[id]
  if one then
    nameless[id] = nil
    one.timer:stop()
    one.timer:close()
    M.fire("Connected", one.facts)
  end
end

local function arrived(event)
  local id = event.client_id
  if nameless[id] then
    return
  end
  local timer = assert(vim.uv.new_timer())
  nameless[id] = { facts = { client_id = id }, timer = timer }
  timer:start(INTRODUCTION_MS, 0, function()
    vim.schedule(function()
      if nameless[id] and nameless[id].timer == timer then
        tell(id)
      end
    end)
  end)
end

---@type table<string, fun(event: table)>
local TRANSLATED = {
  connected = arrived,
  introduced = function(event)
    local one = nameless[event.client_id]
    if one then
      one.facts.agent, one.facts.version, one.facts.pid = event.agent, event.version, event.pid
      if event.pid then
        tell(event.client_id)
      end
    end
  end,
  disconnected = function(event)
    tell(event.client_id)
    M.fire("Disconnected", {
      client_id = event.client_id,
      agent = event.agent,
      pid = event.pid,
      reason = event.reason,
      code = event.code,
      detail = event.detail,
    })
  end,
  change = function(event)
    if event.means ~= "edit" or event.reviewed then
      return
    end
    M.fire("UnreviewedChange", {
      change = event.change,
      turn = event.turn,
      client_id = event.client_id,
      path = event.path,
      agent = event.agent,
      pid = event.pid,
      added = event.added,
      removed = event.removed,
      first = event.first,
    })
    if event.first and require("pairside").status().review_where ~= "terminal" then
      -- Whoever expects a review and gets none has to be told why, once for each agent.
      message.warn(
        ("%s changed %s without a review: it is in a mode that does not ask. See :Pairside changes. To be asked first, "
          .. "press Shift-Tab in it until it shows manual mode, or start it with --permission-mode manual"):format(
          event.agent or "an agent",
          vim.fn.fnamemodify(event.path, ":~:.")
        )
      )
    end
  end,
  ["turn-ended"] = function(event)
    M.fire("TurnEnded", {
      client_id = event.client_id,
      turn = event.turn,
      agent = event.agent,
      pid = event.pid,
      files = event.files,
      added = event.added,
      removed = event.removed,
      unreviewed = event.unreviewed,
      by_other_means = event.by_other_means,
    })
  end,
  rival = function(event)
    message.warn(event.notice)
  end,
  sharing = function(event)
    M.fire("Sharing", { on = event.on })
  end,
  mentioned = function(event)
    M.fire("Mentioned", { client_id = event.client_id, path = event.path })
  end,
  ["mention-expired"] = function(event)
    M.fire("MentionExpired", { path = event.path, seconds = event.seconds })
  end,
}

-- JSON's null is a value of its own in Lua, and a true one.
local function without_null(facts)
  local found = {}
  for name, value in pairs(facts) do
    if value ~= vim.NIL then
      found[name] = value
    end
  end
  return found
end

--- Translates what pairside says happened. Called when the process runs.
function M.enable()
  local process = require("pairside.process")
  process.notices["events"] = function(params)
    for _, event in ipairs(params.events or {}) do
      local facts = without_null(event)
      local translated = TRANSLATED[event.kind]
      if translated then
        translated(facts)
      end
      require("pairside.changes").happened(facts)
    end
  end
end

--- The process has gone.
function M.disable()
  require("pairside.process").notices["events"] = nil
  for id in pairs(nameless) do
    nameless[id].timer:stop()
    nameless[id].timer:close()
    nameless[id] = nil
  end
end

return M

-- Owns what is seen of the agents' latest turn in open files: signs beside the lines that it changed, and the ways from
-- one to the next.
--
-- Which lines these are is asked of pairside, for files in windows only, and again whenever something happened to them.
-- The answer is about the file on disk. So a buffer is marked only while it holds just that; until then what was marked
-- before stays, and moves with the person's edits.
local message = require("pairside.message")
local paths = require("pairside.paths")
local process = require("pairside.process")

local M = {}

local api = vim.api

local GROUP = "pairside_changes"
local SPACE = api.nvim_create_namespace("pairside_changes")
-- What an agent writes within this time is asked for once.
local TOGETHER_MS = 50
-- Of so many hunks of a file the first ones are marked.
local HUNKS_MARKED = 2000
-- Above signs of version control, below those of diagnostics.
local PRIORITY = 7

---@class pairside.Mark a hunk of the latest turn
---@field ids integer[] the changes that it is of
---@field number integer among their hunks, from 1
---@field count integer how many lines it has in the file; 0 if it only deleted some
---@field row integer where it begins now, from 0; of deleted lines the one before
---@field last integer its last line now

---@class pairside.Marked what is known of a buffer
---@field asking boolean
---@field again boolean it is to be asked again after the answer
---@field marks table<integer, table> the hunks as pairside told them, by their extmarks
---@field stamp string? the file as it was when the buffer was read or written
---@field keys string[] what is mapped in it

---@type table<integer, pairside.Marked>
local marked = {}
-- Buffers that are to be asked for: at once if they are in a window, else when they come into one.
---@type table<integer, true>
local due = {}
---@type uv.uv_timer_t?
local timer
-- The turns that were heard of, by their agent.
---@type table<integer, integer>
local turns = {}
local shown = true

local function options()
  return require("pairside.options").values.changes
end

local function stamp_of(buffer)
  local found = vim.uv.fs_stat(api.nvim_buf_get_name(buffer))
  return found
    and ("%d.%d %d %d"):format(found.mtime.sec, found.mtime.nsec, found.size, found.ino)
end

local function colours()
  for name, link in pairs({
    PairsideChangeAdded = "Added",
    PairsideChangeChanged = "Changed",
    PairsideChangeDeleted = "Removed",
  }) do
    api.nvim_set_hl(0, name, { link = link, default = true })
  end
end

local function unmap(buffer, one)
  for _, keys in ipairs(one.keys) do
    pcall(vim.keymap.del, { "n", "x" }, keys, { buffer = buffer })
  end
  one.keys = {}
end

-- Keys are mapped where there is something that they could go to.
local function map(buffer, one)
  unmap(buffer, one)
  local acts = {
    next = { M.next, "the next line that the agent changed" },
    prev = { M.prev, "the previous line that the agent changed" },
    undo = {
      function()
        require("pairside.changes.undo").hunk()
      end,
      "take back what the agent changed here",
    },
  }
  for name, keys in pairs(options().keymaps) do
    if keys then
      local act, what = unpack(acts[name])
      vim.keymap.set(name == "undo" and { "n" } or { "n", "x" }, keys, function()
        act(vim.v.count1)
      end, { buffer = buffer, desc = "pairside: " .. what })
      one.keys[#one.keys + 1] = keys
    end
  end
end

local function clear(buffer, one)
  one.marks = {}
  if api.nvim_buf_is_valid(buffer) then
    api.nvim_buf_clear_namespace(buffer, SPACE, 0, -1)
    unmap(buffer, one)
  end
end

--- The line at which a hunk is seen: of one that only deleted lines the one before.
---@param hunk table as pairside tells it
---@return integer row from 0
function M.row(hunk)
  return hunk.count > 0 and hunk.start or math.max(0, hunk.start - 1)
end

-- A sign for each line of a hunk; one that only deleted lines has it where they were, as `_` below a line or `‾` above.
local function mark(buffer, hunk)
  local lines = api.nvim_buf_line_count(buffer)
  local text, group = hunk.start == 0 and "‾" or "_", "Deleted"
  if hunk.count > 0 then
    text, group = hunk.old_count == 0 and "+" or "~", hunk.old_count == 0 and "Added" or "Changed"
  end
  local row = math.min(M.row(hunk), lines - 1)
  local last = math.min(row + math.max(hunk.count, 1), lines) - 1
  local signs = shown and options().signs
  return api.nvim_buf_set_extmark(buffer, SPACE, row, 0, {
    end_row = last,
    end_col = #api.nvim_buf_get_lines(buffer, last, last + 1, false)[1],
    sign_text = signs and text or nil,
    sign_hl_group = signs and "PairsideChange" .. group or nil,
    invalidate = true,
    priority = PRIORITY,
  })
end

local function apply(buffer, one, hunks)
  clear(buffer, one)
  for index = 1, math.min(#hunks, HUNKS_MARKED) do
    one.marks[mark(buffer, hunks[index])] = hunks[index]
  end
  if #hunks > 0 then
    map(buffer, one)
  end
end

local function of(buffer)
  marked[buffer] = marked[buffer] or { asking = false, again = false, marks = {}, keys = {} }
  return marked[buffer]
end

local soon

local function ask(buffer)
  local one = of(buffer)
  one.stamp = one.stamp or stamp_of(buffer)
  if one.asking then
    one.again = true
    return
  end
  local path = paths.of(buffer)
  if not path then
    clear(buffer, one)
    return
  end
  if vim.bo[buffer].modified then
    return -- it is asked again when the person has written it, or is back at what is on disk
  end
  one.asking = true
  local tick = api.nvim_buf_get_changedtick(buffer)
  process.request("changes/marks", { path = path }, function(result)
    one.asking = false
    if marked[buffer] ~= one or not api.nvim_buf_is_loaded(buffer) then
      return
    end
    local is_old = one.again or tick ~= api.nvim_buf_get_changedtick(buffer)
    one.again = false
    local stamp = stamp_of(buffer)
    -- If the buffer is behind its file it will be read again, and if it is ahead of it, written: both come back here.
    if result and not vim.bo[buffer].modified and (stamp == nil or stamp == one.stamp) and not is_old then
      apply(buffer, one, stamp and result.marks or {})
    elseif is_old then
      soon(buffer)
    end
  end)
end

local function flush()
  for buffer in pairs(due) do
    if not api.nvim_buf_is_loaded(buffer) then
      due[buffer] = nil
    elseif #vim.fn.win_findbuf(buffer) > 0 then
      due[buffer] = nil
      ask(buffer)
    end
  end
end

function soon(buffer)
  if not timer or not paths.is_file(buffer) or vim.b[buffer].pairside_review then
    return
  end
  due[buffer] = true
  if not timer:is_active() then
    timer:start(TOGETHER_MS, 0, vim.schedule_wrap(function()
      if timer then
        flush()
      end
    end))
  end
end

local function everywhere()
  for _, buffer in ipairs(api.nvim_list_bufs()) do
    if api.nvim_buf_is_loaded(buffer) then
      soon(buffer)
    end
  end
end

local function at(path)
  local buffer = paths.buffer(path)
  if buffer then
    soon(buffer)
  end
end

---@type table<string, fun(event: table)>
local HAPPENED = {
  change = function(event)
    -- The first change of a turn takes the marks of the turn before away, in whatever file.
    if event.client_id and turns[event.client_id] ~= event.turn then
      turns[event.client_id] = event.turn
      everywhere()
    else
      at(event.path)
    end
  end,
  undone = function(event)
    vim.iter(event.paths or {}):each(at)
  end,
  -- Of very many changes at once only some are told one by one.
  ["turn-ended"] = everywhere,
  forgotten = everywhere,
  disconnected = function(event)
    if turns[event.client_id] then
      turns[event.client_id] = nil
      everywhere()
    end
  end,
}

--- Takes what pairside says happened.
---@param event table
function M.happened(event)
  local take = timer and HAPPENED[event.kind]
  if take then
    take(event)
  end
end

--- The hunks of the latest turn in a buffer, in the order of their lines as they are now.
---@param buffer integer 0 for the present one
---@return pairside.Mark[]
function M.hunks(buffer)
  buffer = buffer == 0 and api.nvim_get_current_buf() or buffer
  local one, found = marked[buffer], {}
  if not one or not api.nvim_buf_is_loaded(buffer) then
    return found
  end
  for _, extmark in ipairs(api.nvim_buf_get_extmarks(buffer, SPACE, 0, -1, { details = true })) do
    local id, row, _, details = unpack(extmark)
    local hunk = one.marks[id]
    if hunk and not details.invalid then
      found[#found + 1] =
        { ids = hunk.ids, number = hunk.number, count = hunk.count, row = row, last = details.end_row or row }
    end
  end
  return found
end

--- The hunks that lines of a buffer belong to. Lines that were deleted are at those before and behind them.
---@param buffer integer
---@param first integer from 0
---@param last integer itself included
---@return pairside.Mark[]
function M.within(buffer, first, last)
  local found, near = {}, {}
  for _, hunk in ipairs(M.hunks(buffer)) do
    if hunk.row <= last and hunk.last >= first then
      found[#found + 1] = hunk
    elseif hunk.count == 0 and hunk.row + 1 == first then
      near[#near + 1] = hunk
    end
  end
  return #found > 0 and found or near
end

--- Why there is nothing of the latest turn in a buffer, for the person.
---@return string
function M.why_none()
  if not process.hello then
    return "pairside does not run (:Pairside start)"
  end
  return "no line of this file was changed in the agent's latest turn (:Pairside changes)"
end

local function go(row)
  vim.cmd.normal({ "m'", bang = true })
  api.nvim_win_set_cursor(0, { row + 1, 0 })
  vim.cmd.normal({ "^zv", bang = true })
end

local NOUNS = { [1] = "next", [-1] = "previous" }

-- The file with changes of the latest turn that comes after or before another one, and its first or last hunk.
local function further(path, direction)
  local function told(failure)
    message.warn(failure or ("no %s file was changed in the agent's latest turn"):format(NOUNS[direction]))
  end
  process.request("changes", { fresh = false }, function(changes, failure)
    local names, seen = {}, {}
    for _, turn in ipairs(changes and changes.turns or {}) do
      for _, file in ipairs(turn.files) do
        local is_there = file.kind ~= "deleted" and file.path ~= path and (file.path < path) == (direction < 0)
        if is_there and not seen[file.path] then
          seen[file.path] = true
          names[#names + 1] = file.path
        end
      end
    end
    table.sort(names)
    local other = names[direction > 0 and 1 or #names]
    if not other then
      told(failure)
      return
    end
    process.request("changes/marks", { path = other }, function(result)
      local marks = result and result.marks or {}
      local hunk = marks[direction > 0 and 1 or #marks]
      local problem = require("pairside.documents").visit(other, hunk and M.row(hunk))
      if problem then
        message.error(problem)
      end
    end)
  end)
end

local function jump(direction, count, across)
  local buffer = api.nvim_get_current_buf()
  local here = api.nvim_win_get_cursor(0)[1] - 1
  local rows = {}
  for _, hunk in ipairs(M.hunks(buffer)) do
    local is_ahead = (hunk.row - here) * direction > 0
    if is_ahead and not vim.list_contains(rows, hunk.row) then
      table.insert(rows, direction > 0 and #rows + 1 or 1, hunk.row)
    end
  end
  if rows[1] then
    go(rows[math.min(count, #rows)])
  elseif across and process.hello then
    further(paths.of(buffer) or "", direction)
  elseif next(marked[buffer] and marked[buffer].marks or {}) then
    message.info(("no %s change in this file; with ! also in others"):format(NOUNS[direction]))
  else
    message.info(M.why_none())
  end
end

--- Goes to the next hunk of the latest turn, or so many ahead.
---@param count integer?
---@param across boolean? whether it may be in another file
function M.next(count, across)
  jump(1, count or 1, across)
end

--- Goes to the previous one.
---@param count integer?
---@param across boolean?
function M.prev(count, across)
  jump(-1, count or 1, across)
end

--- Shows the signs, or hides them until Neovim ends; without a value the other one of the two.
---@param on boolean?
---@return boolean on
function M.show_signs(on)
  if on == nil then
    on = not shown
  end
  shown = on
  everywhere()
  return shown
end

function M.enable()
  M.disable()
  timer = assert(vim.uv.new_timer())
  colours()
  local group = api.nvim_create_augroup(GROUP, {})
  local function on(events, callback)
    api.nvim_create_autocmd(events, { group = group, callback = callback })
  end
  on({ "BufReadPost", "BufWritePost" }, function(event)
    if paths.is_file(event.buf) then
      of(event.buf).stamp = stamp_of(event.buf)
      soon(event.buf)
    end
  end)
  on("BufWinEnter", function(event)
    if not marked[event.buf] or due[event.buf] then
      soon(event.buf)
    end
  end)
  -- The person is back at what is on disk.
  on("BufModifiedSet", function(event)
    if not vim.bo[event.buf].modified then
      soon(event.buf)
    end
  end)
  on("BufFilePost", function(event)
    soon(event.buf)
  end)
  on("BufUnload", function(event)
    if marked[event.buf] then
      pcall(clear, event.buf, marked[event.buf])
    end
    marked[event.buf], due[event.buf] = nil, nil
  end)
  on("ColorScheme", colours)
  everywhere()
end

function M.disable()
  pcall(api.nvim_del_augroup_by_name, GROUP)
  if timer then
    timer:stop()
    timer:close()
    timer = nil
  end
  for buffer, one in pairs(marked) do
    clear(buffer, one)
  end
  marked, due, turns = {}, {}, {}
end

return M

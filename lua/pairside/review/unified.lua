-- Owns what is drawn in a proposal that stands alone: deleted lines above where they were, added ones highlighted. And
-- single hunks, in every layout: which ones are left out.
local hunks = require("pairside.review.hunks")

local M = {}

local api = vim.api

local DRAWN = api.nvim_create_namespace("pairside_hunks")
local LEFT_OUT = api.nvim_create_namespace("pairside_left_out")
-- Edits are looked at when they pause for this long, and for large comparisons in proportion to what they cost.
local PAUSE_MS = 60
local SHARE = 10
-- More than this of one deletion, of one line, and more signs than this in one hunk, nobody looks at.
local DELETED_LINES = 400
local DELETED_BYTES = 1000
local SIGNS = 2000

---@class pairside.Unified
---@field hunks? pairside.Hunks
---@field early { dirty: table? } edits before the hunks are known
---@field drawn boolean
---@field attached boolean
---@field timer uv.uv_timer_t?
---@field cost number
---@field left table<integer, { lines: string[], count: integer, at_end: boolean?, ended: boolean?, marked: boolean? }> by mark
---@field waiting fun()[]

---@param review pairside.Review
---@return pairside.Unified
local function state(review)
  local one = review.unified
  if not one then
    one = { early = {}, drawn = false, attached = false, cost = 0, left = {}, waiting = {} }
    review.unified = one
  end
  return one
end

local function usable(review)
  return not review.over and review.buffer and api.nvim_buf_is_loaded(review.buffer)
end

-- A deleted line as it would be on screen.
local function shown(buffer, line)
  if #line > DELETED_BYTES then
    line = vim.fn.strcharpart(line:sub(1, DELETED_BYTES), 0, DELETED_BYTES) .. "…"
  end
  local tabstop = vim.bo[buffer].tabstop
  local parts, column = {}, 0
  for text, tab in line:gmatch("([^\t]*)(\t?)") do
    text = vim.fn.strtrans(text)
    parts[#parts + 1] = text
    column = column + vim.fn.strdisplaywidth(text)
    if tab ~= "" then
      local blanks = tabstop - column % tabstop
      parts[#parts + 1] = (" "):rep(blanks)
      column = column + blanks
    end
  end
  return table.concat(parts) .. (" "):rep(math.max(1, vim.o.columns - column))
end

local function deleted(one, review, hunk)
  local lines = {}
  for index = hunk.a + 1, hunk.a + math.min(hunk.ac, DELETED_LINES) do
    lines[#lines + 1] = { { shown(review.buffer, one.hunks.old[index] or ""), "PairsideDelete" } }
  end
  if hunk.ac > DELETED_LINES then
    local rest = ("… %d more deleted lines"):format(hunk.ac - DELETED_LINES)
    lines[#lines + 1] = { { shown(review.buffer, rest), "PairsideDelete" } }
  end
  return lines
end

local function draw(one, review, hunk)
  local buffer = review.buffer
  local size = api.nvim_buf_line_count(buffer)
  local function mark(row, options)
    options.strict = false
    hunk.marks[#hunk.marks + 1] = api.nvim_buf_set_extmark(buffer, DRAWN, math.min(row, size - 1), 0, options)
  end
  if hunk.bc > 0 then
    mark(hunk.b, { end_row = hunk.b + hunk.bc, hl_group = "PairsideAdd", hl_eol = true, priority = 90 })
    for row = hunk.b, hunk.b + math.min(hunk.bc, SIGNS) - 1 do
      mark(row, { sign_text = "+", sign_hl_group = "PairsideAddSign" })
    end
  end
  if hunk.ac > 0 then
    local options = { virt_lines = deleted(one, review, hunk), virt_lines_above = hunk.b < size }
    if hunk.bc == 0 then
      options.sign_text, options.sign_hl_group = hunk.b < size and "‾" or "_", "PairsideDeleteSign"
    end
    mark(hunk.b, options)
  end
end

-- What is deleted above the first line is only seen if the window is told to leave room for it.
local function uncover(one, review)
  local first = one.hunks.list[1]
  local window = review.shown and review.shown.window
  if not first or first.b > 0 or first.ac == 0 or not window or not api.nvim_win_is_valid(window) then
    return
  end
  api.nvim_win_call(window, function()
    local view = vim.fn.winsaveview()
    if view.topline == 1 then
      local room = math.max(1, api.nvim_win_get_height(window) - 2)
      view.topfill = math.min(first.ac, DELETED_LINES + 1, room)
      vim.fn.winrestview(view)
    end
  end)
end

local function draw_all(one, review)
  api.nvim_buf_clear_namespace(review.buffer, DRAWN, 0, -1)
  for _, hunk in ipairs(one.hunks.list) do
    hunk.marks = {}
    draw(one, review, hunk)
  end
  one.drawn = true
  uncover(one, review)
end

local function undraw(review, hunk)
  for _, mark in ipairs(hunk.marks) do
    api.nvim_buf_del_extmark(review.buffer, DRAWN, mark)
  end
  hunk.marks = {}
end

local function look(review)
  local one = state(review)
  if not one.hunks or not one.hunks.dirty or not usable(review) then
    return
  end
  local began = vim.uv.hrtime()
  local gone, come = hunks.refresh(one.hunks)
  if one.drawn then
    for _, hunk in ipairs(gone) do
      undraw(review, hunk)
    end
    for _, hunk in ipairs(come) do
      draw(one, review, hunk)
    end
    uncover(one, review)
  end
  one.cost = (vim.uv.hrtime() - began) / 1e6
end

local function later(review)
  local one = state(review)
  one.timer = one.timer or assert(vim.uv.new_timer())
  one.timer:start(math.max(PAUSE_MS, math.floor(one.cost * SHARE)), 0, vim.schedule_wrap(function()
    look(review)
  end))
end

local function attach(review)
  local one = state(review)
  if one.attached then
    return
  end
  one.attached = true
  api.nvim_buf_attach(review.buffer, false, {
    on_lines = function(_, _, _, first, last, now)
      if review.over then
        return true
      end
      hunks.edited(one.hunks or one.early, first, last, now)
      if one.hunks then
        later(review)
      end
    end,
    on_detach = function()
      one.attached = false
    end,
  })
end

-- Calls back when the hunks are known.
local function known(review, done)
  local one = state(review)
  if one.hunks then
    look(review)
    done()
    return
  end
  one.waiting[#one.waiting + 1] = done
  if #one.waiting > 1 then
    return
  end
  attach(review)
  -- What was edited before anybody listened cannot be known from pairside's hunks.
  local fresh = api.nvim_buf_get_changedtick(review.buffer) == review.filled
  local function ready(text, found)
    local waiting = one.waiting
    one.waiting = {}
    if not usable(review) then
      return
    end
    one.hunks = hunks.new(review.buffer, text, fresh and found or nil)
    one.hunks.dirty = fresh and one.early.dirty or nil
    one.early = {}
    look(review)
    for _, callback in ipairs(waiting) do
      callback()
    end
  end
  require("pairside.process").request("review/original", { id = review.id }, function(result, failure)
    if failure then
      one.waiting = {}
      if usable(review) then
        require("pairside.message").warn(failure)
      end
    else
      ready(result.text, result.hunks)
    end
  end)
end

local function to_first(one, review)
  local window = review.shown and review.shown.window
  local first = one.hunks.list[1]
  if window and first and api.nvim_win_is_valid(window) and api.nvim_win_get_cursor(window)[1] == 1 then
    local row = math.min(first.b + 1, api.nvim_buf_line_count(review.buffer))
    api.nvim_win_set_cursor(window, { row, 0 })
    uncover(one, review)
  end
end

--- Draws a review that has just been shown.
---@param review pairside.Review
function M.open(review)
  local window = review.shown.window
  api.nvim_set_option_value("signcolumn", "yes", { win = window, scope = "local" })
  for _, keys in ipairs({ "do", "dp" }) do
    if vim.fn.maparg(keys, "n") == "" then
      vim.keymap.set("n", keys, function()
        M.choose(review, keys == "dp")
      end, {
        buffer = review.buffer,
        desc = keys == "do" and "pairside: leave this hunk out" or "pairside: take this hunk in again",
      })
    end
  end
  known(review, function()
    if review.shown and review.shown.window == window then
      local one = state(review)
      draw_all(one, review)
      to_first(one, review)
    end
  end)
end

--- It is shown no more, or in another layout.
---@param review pairside.Review
function M.close(review)
  local one = review.unified
  if not one then
    return
  end
  if one.timer then
    one.timer:stop()
    one.timer:close()
    one.timer = nil
  end
  one.drawn = false
  if review.buffer and api.nvim_buf_is_valid(review.buffer) then
    api.nvim_buf_clear_namespace(review.buffer, DRAWN, 0, -1)
    for _, keys in ipairs({ "do", "dp" }) do
      pcall(vim.keymap.del, "n", keys, { buffer = review.buffer })
    end
  end
end

--- The buffer has another text, all of it.
---@param review pairside.Review
function M.refresh(review)
  local one = review.unified
  if one and one.hunks then
    api.nvim_buf_clear_namespace(review.buffer, LEFT_OUT, 0, -1)
    one.left = {}
    later(review)
  end
end

local function replace(buffer, first, count, lines)
  local whole = count == api.nvim_buf_line_count(buffer)
  if vim.deep_equal({ count, first }, { 0, 0 }) and require("pairside.review.proposal").is_empty(buffer) then
    -- The line that an empty buffer shows is none.
    count, whole = 1, true
  end
  if whole and #lines == 0 then
    -- No line at all, not an empty one.
    api.nvim_buf_call(buffer, function()
      vim.cmd("silent keepjumps %delete _")
    end)
    return
  end
  api.nvim_buf_set_lines(buffer, first, first + count, false, lines)
end

local function leave_out(one, review, hunk)
  local buffer = review.buffer
  local size = require("pairside.review.proposal").is_empty(buffer) and 0 or api.nvim_buf_line_count(buffer)
  local old = hunks.before(one.hunks, hunk)
  local record = { lines = api.nvim_buf_get_lines(buffer, hunk.b, hunk.b + hunk.bc, false), count = #old }
  if hunk.b + hunk.bc >= size and hunk.a + hunk.ac >= #one.hunks.old and #one.hunks.old > 0 then
    record.ended = vim.bo[buffer].endofline
    vim.bo[buffer].endofline = one.hunks.ended
  end
  if hunk.b == 0 and hunk.a == 0 and vim.bo[buffer].bomb ~= one.hunks.marked and #one.hunks.old > 0 then
    record.marked = vim.bo[buffer].bomb
    vim.bo[buffer].bomb = one.hunks.marked
  end
  replace(buffer, hunk.b, hunk.bc, old)
  local last = api.nvim_buf_line_count(buffer) - 1
  record.at_end = hunk.b > last
  local mark = api.nvim_buf_set_extmark(buffer, LEFT_OUT, math.min(hunk.b, last), 0, {
    end_row = math.min(hunk.b + #old, last + 1),
    strict = false,
    invalidate = false,
    sign_text = "·",
    sign_hl_group = "PairsideLeftOut",
    virt_text = { { " left out · dp takes it in again", "PairsideLeftOut" } },
  })
  one.left[mark] = record
end

-- What was left out at a line: its mark and where it is now.
local function left_at(one, review, line)
  for _, mark in ipairs(api.nvim_buf_get_extmarks(review.buffer, LEFT_OUT, 0, -1, { details = true })) do
    local id, row, details = mark[1], mark[2], mark[4]
    local record = one.left[id]
    if record then
      local to = math.max(details.end_row or row, row + 1)
      if (line >= row and line < to) or (record.count == 0 and (line == row or line == row - 1)) then
        return id, row, record
      end
    end
  end
end

local function take_in(one, review, id, row, record)
  local buffer = review.buffer
  api.nvim_buf_del_extmark(buffer, LEFT_OUT, id)
  one.left[id] = nil
  local size = api.nvim_buf_line_count(buffer)
  if record.at_end and record.count == 0 then
    row = size
  end
  replace(buffer, row, math.min(record.count, size - row), record.lines)
  if record.ended ~= nil then
    vim.bo[buffer].endofline = record.ended
  end
  if record.marked ~= nil then
    vim.bo[buffer].bomb = record.marked
  end
end

--- Leaves the hunk at the cursor out, or takes in one that was left out there.
---@param review pairside.Review
---@param back boolean? true: only take in, false: only leave out
function M.choose(review, back)
  local window = review.shown and review.shown.window
  if not window or not api.nvim_win_is_valid(window) then
    return
  end
  local line = api.nvim_win_get_cursor(window)[1] - 1
  known(review, function()
    if not usable(review) or not vim.bo[review.buffer].modifiable then
      return
    end
    local one = state(review)
    local hunk = back ~= true and hunks.at(one.hunks, line) or nil
    local id, row, record = nil, nil, nil
    if not hunk and back ~= false then
      id, row, record = left_at(one, review, line)
    end
    if hunk then
      leave_out(one, review, hunk)
    elseif id then
      take_in(one, review, id, row, record)
    else
      require("pairside.message").info(back and "nothing was left out here" or "there is no hunk here")
      return
    end
    look(review)
    if vim.wo[window].diff then
      vim.cmd.diffupdate()
    end
  end)
end

--- Leaves the hunk at the cursor out, or takes it in again.
---@param review pairside.Review
function M.toggle(review)
  M.choose(review, nil)
end

return M

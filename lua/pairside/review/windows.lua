-- Owns the windows of the review on screen: where they are opened, and that nothing of them is left.
--
-- A window that was there is never given another buffer, but for an empty one without a name. So nothing is abandoned, no
-- 'autowrite' or 'hidden' matters, and keys that somebody types reach the buffer they were typed for. The window that shows
-- the original anyway is used as it is, and gets back whatever a diff changes in it. Both values of `on_new_file_reject`
-- therefore mean the same: a window that was there stays, with its empty buffer, and one that was not goes.
local proposal = require("pairside.review.proposal")

local M = {}

local api = vim.api

-- What :diffthis, the winbar, the colours and scrolling together change in a window.
local LOCAL = {
  "diff", "scrollbind", "cursorbind", "wrap", "foldmethod", "foldcolumn", "foldenable", "foldlevel", "winbar",
  "winhighlight",
}
-- A diff has lines that only one window has in the colour of added ones, also where they are the ones that go.
local REMOVED = "DiffAdd:PairsideRemoved"
local MANY_LINES = 100000
local READABLE_COLUMNS = 80
-- Neovim leaves Terminal mode when it comes to its loop again, which is soon; where it does not, it stays in it.
local LEAVING_MS, TRIES = 10, 20
local HINTS = " :w accept · :q reject · do/dp hunks "

local TREES = {}
for _, filetype in ipairs({
  "neo-tree", "neo-tree-popup", "NvimTree", "oil", "minifiles", "netrw", "aerial", "tagbar", "Outline", "undotree",
  "snacks_picker_list", "snacks_layout_box", "snacks_explorer", "dirvish", "fern", "CHADTree", "nnn", "yazi",
  "dbui", "trouble", "Trouble", "qf", "help", "dashboard", "alpha", "starter", "snacks_dashboard",
}) do
  TREES[filetype] = true
end

---@class pairside.Shown what is on screen for a review, and how it was before
---@field tabpage integer
---@field window integer? of the proposal
---@field original_window integer? of the original, in the layouts that have one
---@field made table<integer, true> the windows that are ours
---@field reused integer? the window that showed the original before
---@field buffers integer[] to be deleted at the end, unless somebody uses them
---@field own_tab boolean
---@field dropped integer|boolean|nil the window where Neovim put the person who closed the proposal; true: just now
---@field leaving integer? the window in which the person is while its tab is left
---@field prior { window: integer, last: integer, mode: string }
---@field sizes table
---@field layout string
---@field views table<integer, table>
---@field options table<integer, table>
---@field folds table<integer, string>
---@field borrowed table? the empty window that shows something of the review
---@field hidden integer[] floating terminals that would cover the review
---@field scrollopt string

local function is_floating(window)
  return api.nvim_win_get_config(window).relative ~= ""
end

local function valid(window)
  return window ~= nil and api.nvim_win_is_valid(window)
end

local function set(window, name, value)
  pcall(api.nvim_set_option_value, name, value, { win = window, scope = "local" })
end

local function get(window, name)
  return api.nvim_get_option_value(name, { win = window })
end

--- The windows of the terminals of agents.
---@return table<integer, true>
local function terminals()
  local found, terminal = pcall(require, "pairside.terminal")
  local windows = {}
  if found and terminal.windows then
    local listed, list = pcall(terminal.windows)
    for _, window in ipairs(listed and list or {}) do
      if valid(window) then
        windows[window] = true
      end
    end
  end
  return windows
end

-- Whether a window shows a file, so that a review may share its place.
local function is_suitable(window)
  local buffer = api.nvim_win_get_buf(window)
  return not is_floating(window)
    and vim.bo[buffer].buftype == ""
    and not TREES[vim.bo[buffer].filetype]
    and not get(window, "diff")
    and not get(window, "previewwindow")
end

-- An empty buffer without a name, as Neovim starts with: nobody misses it while a review is there.
local function is_blank(window)
  local buffer = api.nvim_win_get_buf(window)
  return api.nvim_buf_get_name(buffer) == ""
    and not vim.bo[buffer].modified
    and vim.bo[buffer].bufhidden == ""
    and not get(window, "winfixbuf")
    and api.nvim_buf_line_count(buffer) == 1
    and api.nvim_buf_get_lines(buffer, 0, 1, false)[1] == ""
end

local function ordinary(tabpage)
  return vim.iter(api.nvim_tabpage_list_wins(tabpage)):filter(function(window)
    return not is_floating(window)
  end):totable()
end

local function has_diff(tabpage)
  return vim.iter(ordinary(tabpage)):any(function(window)
    return get(window, "diff")
  end)
end

local function shape(tabpage)
  return vim.inspect(vim.fn.winlayout(api.nvim_tabpage_get_number(tabpage)))
end

local function sizes(tabpage)
  local found = {}
  for _, window in ipairs(ordinary(tabpage)) do
    found[#found + 1] =
      { window = window, width = api.nvim_win_get_width(window), height = api.nvim_win_get_height(window) }
  end
  return found
end

-- A size can only be had when the others have made room, so it takes a second round.
local function resize(wanted)
  for _ = 1, 2 do
    for _, one in ipairs(wanted) do
      if valid(one.window) then
        api.nvim_win_set_width(one.window, one.width)
        api.nvim_win_set_height(one.window, one.height)
      end
    end
  end
end

-- New windows must not change the sizes of windows that are not concerned.
local function unequal(work, ...)
  local equal = vim.o.equalalways
  vim.o.equalalways = false
  local results = { pcall(work, ...) }
  vim.o.equalalways = equal
  if not results[1] then
    error(results[2], 0)
  end
  return unpack(results, 2)
end

local function split(shown, buffer, anchor, side, size)
  local config = { split = side, win = anchor }
  if size then
    local wide = side == "left" or side == "right"
    config[wide and "width" or "height"] = math.max(1, size)
  end
  local window = api.nvim_open_win(buffer, false, config)
  shown.made[window] = true
  -- What a window inherits from the one it was split from.
  for _, name in ipairs({ "diff", "scrollbind", "cursorbind", "previewwindow", "winfixwidth", "winfixheight" }) do
    if get(window, name) then
      set(window, name, false)
    end
  end
  return window
end

-- Folds that were made by hand, and which ones are closed, do not survive a diff.
local function keep_folds(window)
  local buffer = api.nvim_win_get_buf(window)
  if not get(window, "foldenable") or api.nvim_buf_line_count(buffer) > MANY_LINES then
    return nil
  end
  local file = vim.fn.tempname()
  local viewoptions = vim.o.viewoptions
  vim.o.viewoptions = "folds"
  local kept = pcall(api.nvim_win_call, window, function()
    vim.cmd.mkview({ args = { file }, bang = true, magic = { file = false }, mods = { noautocmd = true } })
  end)
  vim.o.viewoptions = viewoptions
  -- Nothing else that stands in such a file is wanted: it switches buffers and fires events.
  local lines = vim.iter(kept and vim.fn.readfile(file) or {}):filter(function(line)
    local bare = line:gsub("^sile?n?t?! ", ""):gsub("^keepjumps ", "")
    return bare:find("^normal! z[Eoc]$") or bare:find("^%d+,%d+fold$") or bare:find("^%d+$") or bare == "let &fdl = &fdl"
  end)
  local text = lines:map(function(line)
    return "silent! keepjumps " .. line
  end):join("\n")
  vim.fn.delete(file)
  return text
end

local function remember(shown, window)
  shown.views[window] = api.nvim_win_call(window, vim.fn.winsaveview)
  local options = {}
  for _, name in ipairs(LOCAL) do
    options[name] = get(window, name)
  end
  shown.options[window] = options
  shown.folds[window] = keep_folds(window)
end

-- The original: its buffer, loaded; for a new file one that says so. What was loaded for this is unloaded at the end.
local function open_original(review, shown)
  local path = review.path
  local buffer = require("pairside.paths").buffer(path)
  if buffer then
    review.original = buffer
    return buffer
  end
  if review.new then
    buffer = api.nvim_create_buf(false, true)
    vim.bo[buffer].bufhidden = "hide"
    proposal.call(buffer, proposal.name(review.id, path, "nothing yet"))
    vim.bo[buffer].modifiable = false
    shown.buffers[#shown.buffers + 1] = buffer
    return buffer
  end
  local before = {}
  for _, known in ipairs(api.nvim_list_bufs()) do
    before[known] = true
  end
  buffer = vim.fn.bufadd(path)
  if not before[buffer] then
    shown.buffers[#shown.buffers + 1] = buffer
  end
  vim.fn.bufload(buffer)
  review.original = buffer
  return buffer
end

-- Puts a buffer into an empty window; `release` puts the empty one back.
local function borrow(shown, window, buffer)
  local empty = api.nvim_win_get_buf(window)
  vim.bo[empty].bufhidden = "hide"
  remember(shown, window)
  api.nvim_win_call(window, function()
    vim.cmd.buffer({ args = { tostring(buffer) }, mods = { keepalt = true, keepjumps = true } })
  end)
  shown.borrowed = { window = window, empty = empty, buffer = buffer }
end

local function release(shown)
  local borrowed = shown.borrowed
  if not borrowed or not api.nvim_buf_is_valid(borrowed.empty) then
    return
  end
  if valid(borrowed.window) and api.nvim_win_get_buf(borrowed.window) == borrowed.buffer then
    set(borrowed.window, "winfixbuf", false)
    api.nvim_win_call(borrowed.window, function()
      vim.cmd.buffer({ args = { tostring(borrowed.empty) }, mods = { keepalt = true, keepjumps = true } })
    end)
  end
  vim.bo[borrowed.empty].bufhidden = ""
end

-- The window beside which a review is shown, best first: the one with the file, the one the person is in, the one they
-- were in before, any with a file. Nil if none has one.
local function choose(tabpage, original)
  local windows = vim.iter(ordinary(tabpage)):filter(is_suitable):totable()
  local current = api.nvim_tabpage_get_win(tabpage)
  local last = vim.fn.win_getid(vim.fn.winnr("#"))
  local best, least = nil, math.huge
  for index, window in ipairs(windows) do
    local rank = index + 3
    if original and api.nvim_win_get_buf(window) == original then
      rank = window == current and 0 or 1
    elseif window == current then
      rank = 2
    elseif window == last then
      rank = 3
    end
    if rank < least then
      best, least = window, rank
    end
  end
  return best
end

-- Where to split if no window shows a file: the largest, and away from the terminal's side.
local function beside(tabpage)
  local largest, size = nil, -1
  for _, window in ipairs(ordinary(tabpage)) do
    local area = api.nvim_win_get_width(window) * api.nvim_win_get_height(window)
    if area > size then
      largest, size = window, area
    end
  end
  local options = require("pairside.options").values.terminal
  local side = ({ left = "right", right = "left", top = "below", bottom = "above" })[options.split_side] or "left"
  local window = assert(largest)
  if side == "left" or side == "right" then
    return window, side, math.floor(api.nvim_win_get_width(window) * (1 - options.split_width_percentage))
  end
  return window, side, math.floor(api.nvim_win_get_height(window) * 0.7)
end

local function half(shown, layout)
  if layout == "unified" or not (valid(shown.window) and valid(shown.original_window)) then
    return
  end
  local measure = layout == "vertical" and "width" or "height"
  local ask, give = api["nvim_win_get_" .. measure], api["nvim_win_set_" .. measure]
  local whole = ask(shown.window) + ask(shown.original_window)
  give(shown.original_window, math.floor(whole / 2))
  give(shown.window, whole - math.floor(whole / 2))
end

-- Takes the first window of a review, and opens the second where the layout has one.
local function fill(shown, review, layout, first)
  if layout == "unified" then
    shown.window = first
  else
    shown.original_window = first
    shown.window = split(shown, review.buffer, first, layout == "vertical" and "right" or "below")
  end
end

-- Opens the windows in a tab of their own.
local function in_new_tab(shown, review, layout, original)
  vim.cmd.tabnew()
  local window, empty = api.nvim_get_current_win(), api.nvim_get_current_buf()
  shown.own_tab, shown.tabpage = true, api.nvim_get_current_tabpage()
  shown.made[window] = true
  api.nvim_win_set_buf(window, layout == "unified" and review.buffer or original)
  if api.nvim_buf_is_valid(empty) and #vim.fn.win_findbuf(empty) == 0 then
    pcall(api.nvim_buf_delete, empty, { force = true })
  end
  fill(shown, review, layout, window)
end

-- The window with the terminal of the agent that proposes; one of any agent where that runs elsewhere.
local function terminal_of(review, fits)
  local terminal = require("pairside.terminal")
  local name = review.pid and terminal.of_pid(review.pid)
  local buffer = name and terminal.buffer(name)
  local windows = vim.tbl_filter(function(window)
    return fits(window) and (not buffer or api.nvim_win_get_buf(window) == buffer)
  end, vim.tbl_keys(terminals()))
  table.sort(windows)
  return windows[1]
end

-- The agent's terminal is shown in the new tab too.
local function bring_terminal(shown, review)
  local options = require("pairside.options").values
  if options.diff_opts.hide_terminal_in_new_tab then
    return
  end
  local terminal = terminal_of(review, function(window)
    return not is_floating(window)
  end)
  if not terminal then
    return
  end
  local side = ({ left = "left", right = "right", top = "above", bottom = "below" })[options.terminal.split_side]
    or "right"
  local share = options.terminal.diff_split_width_percentage or options.terminal.split_width_percentage
  local size = (side == "left" or side == "right") and math.floor(vim.o.columns * share)
    or math.floor(vim.o.lines * options.terminal.split_height_percentage)
  -- Of the whole tab, not of one window in it.
  local config = { split = side, win = -1 }
  config[(side == "left" or side == "right") and "width" or "height"] = math.max(1, size)
  local opened, window = pcall(api.nvim_open_win, api.nvim_win_get_buf(terminal), false, config)
  if opened then
    shown.made[window] = true
    shown.terminal_window = window
    for _, name in ipairs({ "number", "relativenumber", "signcolumn", "wrap", "spell", "list", "winfixbuf" }) do
      set(window, name, get(terminal, name))
    end
  end
end

local function in_this_tab(shown, review, layout, original, may_borrow)
  local tabpage = shown.tabpage
  local anchor = choose(tabpage, original)
  local first = layout == "unified" and review.buffer or assert(original)
  local place
  if anchor and layout ~= "unified" and api.nvim_win_get_buf(anchor) == original then
    remember(shown, anchor)
    shown.reused, place = anchor, anchor
  elseif anchor and layout ~= "unified" and is_blank(anchor) and may_borrow(anchor) then
    borrow(shown, anchor, first)
    place = anchor
  elseif anchor then
    local width, height = api.nvim_win_get_width(anchor), api.nvim_win_get_height(anchor)
    if layout == "unified" and width >= 2 * READABLE_COLUMNS then
      place = split(shown, first, anchor, "right")
    else
      -- Below, with most of the room: side by side there would be three.
      place = split(shown, first, anchor, "below", is_blank(anchor) and height - 2 or math.floor(height * 0.7))
    end
  else
    local window, side, size = beside(tabpage)
    place = split(shown, first, window, side, size)
  end
  fill(shown, review, layout, place)
end

local function narrow_terminals(shown)
  local options = require("pairside.options").values
  local share = options.terminal.diff_split_width_percentage
  if not share or not options.diff_opts.auto_resize_terminal then
    return
  end
  for window in pairs(terminals()) do
    if api.nvim_win_get_tabpage(window) == shown.tabpage and not is_floating(window) and not shown.made[window] then
      -- Only one at a side: at the top or bottom it is as wide as the screen.
      if api.nvim_win_get_width(window) < vim.o.columns then
        api.nvim_win_set_width(window, math.max(1, math.floor(vim.o.columns * share)))
      end
    end
  end
end

local function uncover(shown)
  if require("pairside.options").values.diff_opts.keep_terminal_focus then
    return
  end
  for window in pairs(terminals()) do
    local config = api.nvim_win_get_config(window)
    if config.relative ~= "" and not config.hide and api.nvim_win_get_tabpage(window) == shown.tabpage then
      if pcall(api.nvim_win_set_config, window, { hide = true }) then
        shown.hidden[#shown.hidden + 1] = window
      end
    end
  end
end

--- What stands above the windows.
---@param shown pairside.Shown
---@param review pairside.Review
---@param more integer how many more proposals wait
function M.hint(shown, review, more)
  if not require("pairside.options").values.diff_opts.hints then
    return
  end
  local text = HINTS
  if more > 0 then
    text = text .. ("· %d more "):format(more)
  end
  if valid(shown.window) then
    set(shown.window, "winbar", "%#PairsideHint#" .. text .. "%<%*")
  end
  -- The rows of two windows side by side stand at the same height.
  if valid(shown.original_window) and get(shown.original_window, "winbar") == "" then
    set(shown.original_window, "winbar", "%#PairsideHint#%<" .. (review.new and " nothing yet " or " original ") .. "%*")
  end
end

local function diff(shown)
  shown.scrollopt = vim.o.scrollopt
  for _, window in ipairs({ shown.original_window, shown.window }) do
    api.nvim_win_call(window, vim.cmd.diffthis)
  end
  local colours = get(shown.original_window, "winhighlight")
  set(shown.original_window, "winhighlight", colours == "" and REMOVED or colours .. "," .. REMOVED)
end

-- Takes from a window that stays what a review has put into it.
local function plain(window)
  set(window, "winbar", "")
  set(window, "winhighlight", (get(window, "winhighlight"):gsub(",?" .. vim.pesc(REMOVED), "")))
end

-- Only what is on screen of the differences is wanted, and the first of them is where to begin.
local function to_first_change(window)
  api.nvim_win_call(window, function()
    pcall(vim.cmd.normal, { args = { "gg" }, bang = true, mods = { keepjumps = true } })
    if vim.fn.diff_hlID(1, 1) == 0 and vim.fn.diff_filler(1) == 0 then
      pcall(vim.cmd.normal, { args = { "]c" }, bang = true, mods = { keepjumps = true } })
    end
  end)
end

-- Begins Terminal mode in a window. While it is still that of another window, its end would take that back.
local function begin_to_type(window, tries)
  if api.nvim_get_mode().mode == "t" then
    if tries > 0 then
      vim.defer_fn(function()
        begin_to_type(window, tries - 1)
      end, LEAVING_MS)
    end
  elseif valid(window) and api.nvim_get_current_win() == window then
    vim.cmd.startinsert()
  end
end

--- Whether a review needs a tab of its own: the person wants that, or they compare something themselves.
---@param layout "vertical"|"horizontal"|"unified"
---@return boolean
function M.apart(layout)
  return require("pairside.options").values.diff_opts.open_in_new_tab
    or layout ~= "unified" and has_diff(api.nvim_get_current_tabpage())
end

--- Shows a review. Whatever fails, nothing is left of it.
---@param review pairside.Review
---@param layout "vertical"|"horizontal"|"unified"
---@param quiet boolean whether the person has not typed for a while, so that they can be moved
---@return pairside.Shown
function M.open(review, layout, quiet)
  local options = require("pairside.options").values.diff_opts
  local current = api.nvim_get_current_win()
  ---@type pairside.Shown
  local shown = {
    tabpage = api.nvim_get_current_tabpage(),
    made = {},
    buffers = {},
    own_tab = false,
    prior = {
      window = current,
      last = vim.fn.win_getid(vim.fn.winnr("#")),
      mode = api.nvim_get_mode().mode,
    },
    sizes = {},
    views = {},
    options = {},
    folds = {},
    hidden = {},
  }
  shown.home = shown.tabpage
  shown.layout, shown.sizes = shape(shown.tabpage), sizes(shown.tabpage)
  local moves = quiet and not is_floating(current) or terminals()[current] ~= nil and quiet
  moves = moves and not options.keep_terminal_focus
  local done, problem = pcall(unequal, function()
    local original = layout ~= "unified" and open_original(review, shown)
      or require("pairside.paths").buffer(review.path)
    review.original = review.original or (not review.new and original or nil)
    local apart = M.apart(layout)
    if not apart then
      -- Where there is no room for it, a tab has some.
      local fits = pcall(in_this_tab, shown, review, layout, original, function(anchor)
        return moves or anchor ~= current
      end)
      if not fits then
        M.close_windows(shown)
        apart = true
      end
    end
    if apart then
      in_new_tab(shown, review, layout, original)
      bring_terminal(shown, review)
    else
      narrow_terminals(shown)
    end
    half(shown, layout)
    set(shown.window, "winfixbuf", true)
    if shown.made[shown.original_window] then
      set(shown.original_window, "winfixbuf", true)
    end
    if layout ~= "unified" then
      diff(shown)
    end
    uncover(shown)
  end)
  if not done then
    M.close(shown, review)
    error(problem, 0)
  end
  shown.terminal_window = shown.terminal_window
    or terminal_of(review, function(window)
      return api.nvim_win_get_tabpage(window) == shown.tabpage
    end)
  local filetype, also = proposal.filetype(review)
  if filetype then
    api.nvim_win_call(shown.window, function()
      pcall(function()
        vim.bo[review.buffer].filetype = filetype
      end)
    end)
    if also then
      pcall(also, review.buffer)
    end
  end
  if layout ~= "unified" then
    to_first_change(shown.window)
  end
  if moves then
    api.nvim_set_current_win(shown.window)
  elseif shown.own_tab and valid(shown.terminal_window) then
    api.nvim_set_current_win(shown.terminal_window)
    if require("pairside.options").values.terminal.auto_insert then
      begin_to_type(shown.terminal_window, TRIES)
    end
  elseif shown.own_tab then
    api.nvim_set_current_win(shown.window)
  end
  return shown
end

local function restore_options(shown, window)
  local before = shown.options[window]
  if not before or not valid(window) then
    return
  end
  if get(window, "diff") and not before.diff then
    api.nvim_win_call(window, vim.cmd.diffoff)
  end
  for _, name in ipairs(LOCAL) do
    if get(window, name) ~= before[name] then
      set(window, name, before[name])
    end
  end
  local folds = shown.folds[window]
  if folds then
    -- Lines of it fail where the file is another one now.
    api.nvim_win_call(window, function()
      local view = vim.fn.winsaveview()
      pcall(api.nvim_exec2, folds, {})
      vim.fn.winrestview(view)
    end)
  end
end

-- The only window cannot be closed; it is given back to the file instead.
local function vacate(window, review)
  set(window, "winfixbuf", false)
  plain(window)
  if get(window, "diff") then
    api.nvim_win_call(window, vim.cmd.diffoff)
  end
  local buffer = review and review.original
  if not (buffer and api.nvim_buf_is_valid(buffer)) then
    buffer = api.nvim_create_buf(true, false)
  end
  vim.bo[buffer].buflisted = true
  api.nvim_win_set_buf(window, buffer)
end

--- The person closes the only window: one with the file takes its place, so that Neovim does not end.
---@param shown pairside.Shown
---@param review pairside.Review
---@param stays boolean whether it is needed afterwards too
function M.keep(shown, review, stays)
  local buffer = review.original
  if not (buffer and api.nvim_buf_is_valid(buffer)) then
    buffer = api.nvim_create_buf(true, false)
  end
  local window = api.nvim_open_win(buffer, false, { split = "left", win = shown.window })
  for _, name in ipairs({ "winfixbuf", "diff", "scrollbind", "cursorbind" }) do
    set(window, name, false)
  end
  plain(window)
  if not stays then
    shown.made[window] = true
  end
end

--- Closes the windows that are ours.
---@param shown pairside.Shown
---@param review pairside.Review?
function M.close_windows(shown, review)
  release(shown)
  for window in pairs(shown.made) do
    if valid(window) and not pcall(api.nvim_win_close, window, true) and valid(window) then
      vacate(window, review)
    end
  end
  shown.made = {}
end

--- Takes a review from the screen and leaves everything as it was.
---@param shown pairside.Shown
---@param review pairside.Review
function M.close(shown, review)
  local current = api.nvim_get_current_win()
  local ours = shown.made[current] or current == shown.window or shown.dropped == true or current == shown.dropped
  local prior = shown.prior
  unequal(function()
    if ours and valid(prior.window) then
      if valid(prior.last) and api.nvim_win_get_tabpage(prior.last) == api.nvim_win_get_tabpage(prior.window) then
        local ignored = vim.o.eventignore
        vim.o.eventignore = "all"
        pcall(api.nvim_set_current_win, prior.last)
        vim.o.eventignore = ignored
      end
      api.nvim_set_current_win(prior.window)
    end
    for window in pairs(shown.options) do
      if window == shown.reused then
        restore_options(shown, window)
      elseif valid(window) and get(window, "diff") then
        api.nvim_win_call(window, vim.cmd.diffoff)
      end
    end
    M.close_windows(shown, review)
    for window in pairs(shown.options) do
      if window ~= shown.reused then
        restore_options(shown, window)
      end
    end
  end)
  for _, window in ipairs(shown.hidden) do
    if valid(window) then
      pcall(api.nvim_win_set_config, window, { hide = false })
    end
  end
  if api.nvim_tabpage_is_valid(shown.home) and shape(shown.home) == shown.layout then
    resize(shown.sizes)
    for window, view in pairs(shown.views) do
      -- If the person went there themselves they stay where they are in it.
      if valid(window) and (ours or window ~= current) then
        api.nvim_win_call(window, function()
          vim.fn.winrestview(view)
        end)
      end
    end
  end
  -- Diffs add and remove this word of it.
  local function rest(value)
    return (("," .. value):gsub(",hor", ""))
  end
  if shown.scrollopt and rest(vim.o.scrollopt) == rest(shown.scrollopt) then
    vim.o.scrollopt = shown.scrollopt
  end
  for _, buffer in ipairs(shown.buffers) do
    M.forget(buffer)
  end
  if ours and prior.mode == "t" and valid(prior.window) and api.nvim_get_current_win() == prior.window then
    if vim.bo[api.nvim_win_get_buf(prior.window)].buftype == "terminal" then
      begin_to_type(prior.window, TRIES)
    end
  end
end

--- Deletes a buffer that was loaded for a review, unless the person uses it by now.
---@param buffer integer
function M.forget(buffer)
  if
    api.nvim_buf_is_valid(buffer)
    and #vim.fn.win_findbuf(buffer) == 0
    and not vim.bo[buffer].modified
    and not vim.bo[buffer].buflisted
  then
    pcall(api.nvim_buf_delete, buffer, { force = true })
  end
end

return M

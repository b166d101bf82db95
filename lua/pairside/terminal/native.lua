-- Owns the windows that Neovim itself makes for a terminal: a split at a side of the screen, or a float.
local sizes = require("pairside.terminal.sizes")

local M = { name = "native", embedded = true }

local FLOAT = 0.8
local SPLIT = { left = "left", right = "right", top = "above", bottom = "below" }
local AXIS = { left = "width", right = "width", top = "height", bottom = "height" }

-- What a window of a terminal looks like, whatever the window looks like that it was split from.
local LOOK = {
  number = false,
  relativenumber = false,
  signcolumn = "no",
  foldcolumn = "0",
  statuscolumn = "",
  colorcolumn = "",
  winbar = "",
  list = false,
  spell = false,
  cursorline = false,
  cursorcolumn = false,
  foldenable = false,
  diff = false,
  scrollbind = false,
  cursorbind = false,
  previewwindow = false,
  scrolloff = 0,
  sidescrolloff = 0,
}

--- It can always be used.
---@return boolean
function M.available()
  return true
end

--- The axis along which a terminal at this side takes room; nil for a float.
---@param side string
---@return "width"|"height"|nil
function M.axis(side)
  return AXIS[side]
end

--- How many columns or lines a terminal at this side has.
---@param side string
---@return integer
function M.extent(side)
  local options = require("pairside.options").values.terminal
  if AXIS[side] == "width" then
    return math.max(1, math.floor(vim.o.columns * options.split_width_percentage))
  end
  local lines = vim.o.lines - vim.o.cmdheight
  return math.max(1, math.floor(lines * options.split_height_percentage))
end

local function set_local(window, name, value)
  vim.api.nvim_set_option_value(name, value, { scope = "local", win = window })
end

local function float()
  local lines = vim.o.lines - vim.o.cmdheight - 2
  local width = math.max(1, math.floor(vim.o.columns * FLOAT))
  local height = math.max(1, math.floor(lines * FLOAT))
  local border = vim.o.winborder
  return {
    relative = "editor",
    width = width,
    height = height,
    col = math.floor((vim.o.columns - width) / 2),
    row = math.floor((lines - height) / 2),
    border = (border == nil or border == "") and "rounded" or nil,
  }
end

--- The windows of the current tab page that show a buffer.
---@param buffer integer
---@return integer[]
function M.windows(buffer)
  return vim.tbl_filter(function(window)
    return vim.api.nvim_win_get_buf(window) == buffer
  end, vim.api.nvim_tabpage_list_wins(0))
end

--- Runs something that makes a window; the others give way in proportion.
---@param one table the terminal
---@param side string
---@param make fun(): integer
---@return integer window
function M.make_room(one, side, make)
  local axis = AXIS[side]
  one.side = side
  if not axis then
    return make()
  end
  local before = sizes.now()
  local total = sizes.total(before, axis, {})
  local window = make()
  if vim.api.nvim_win_get_config(window).relative ~= "" then
    return window
  end
  local own = axis == "width" and vim.api.nvim_win_get_width(window) or vim.api.nvim_win_get_height(window)
  sizes.apply(sizes.spread(before, axis, total - own - 1, { window }))
  local mine = { width = vim.api.nvim_win_get_width(window), height = vim.api.nvim_win_get_height(window) }
  mine[axis] = own
  sizes.apply({ [window] = mine })
  one.layouts[vim.api.nvim_get_current_tabpage()] = { before = before, after = sizes.now({ window }) }
  return window
end

-- Runs something that closes windows of the current tab page; the others get back what they had.
---@param one table the terminal
---@param closing integer[]
---@param close fun()
local function give_back(one, closing, close)
  local axis = AXIS[one.side]
  local tab = vim.api.nvim_get_current_tabpage()
  local layout = one.layouts[tab]
  one.layouts[tab] = nil
  local now = sizes.now(closing)
  close()
  if not axis or not vim.api.nvim_tabpage_is_valid(tab) or vim.api.nvim_get_current_tabpage() ~= tab then
    return
  end
  local left = sizes.now()
  if vim.tbl_isempty(now) or not sizes.same_windows(left, now) then
    return
  end
  if layout and sizes.same(layout.after, now) then
    sizes.apply(layout.before)
  else
    for _, each in ipairs({ "width", "height" }) do
      now = sizes.spread(now, each, sizes.total(left, each, {}), {})
    end
    sizes.apply(now)
  end
end

--- Goes to a window of a terminal, and remembers where the person came from.
---@param one table the terminal
---@param window integer
function M.enter(one, window)
  local current = vim.api.nvim_get_current_win()
  one.came_from = current ~= window and current or one.came_from
  vim.api.nvim_set_current_win(window)
end

--- Shows a terminal in the current tab page.
---@param one table the terminal
---@param focus boolean
---@return integer? window
---@return string? problem
function M.show(one, focus)
  local window = M.windows(one.buffer)[1]
  if not window then
    local side = require("pairside.options").values.terminal.split_side
    local axis = AXIS[side]
    local made, problem = pcall(M.make_room, one, side, function()
      local config
      if axis then
        local kept = one.extents[axis]
        local extent = kept and kept.screen == (axis == "width" and vim.o.columns or vim.o.lines) and kept.extent
        config = { split = SPLIT[side], win = -1, [axis] = extent or M.extent(side) }
      else
        config = float()
      end
      window = vim.api.nvim_open_win(one.buffer, false, config)
      for name, value in pairs(LOOK) do
        set_local(window, name, value)
      end
      set_local(window, "winfixwidth", axis == "width")
      set_local(window, "winfixheight", axis == "height")
      return window
    end)
    if not made then
      return nil, problem
    end
  end
  if focus then
    M.enter(one, window)
  end
  return window
end

-- The window that gets the focus when these close.
local function next_focus(one, closing)
  for _, window in ipairs({ vim.fn.win_getid(vim.fn.winnr("#")), one.came_from or 0 }) do
    if
      window ~= 0
      and vim.api.nvim_win_is_valid(window)
      and vim.api.nvim_win_get_tabpage(window) == vim.api.nvim_get_current_tabpage()
      and not vim.tbl_contains(closing, window)
    then
      return window
    end
  end
end

-- Whether nothing but floats is left when these close.
local function is_last_window(closing)
  return #vim.api.nvim_list_tabpages() == 1 and vim.tbl_isempty(sizes.now(closing))
end

-- A window that cannot be closed, since it is the last one, shows something else.
local function replace(window, buffer)
  local others = vim.tbl_filter(function(info)
    return info.bufnr ~= buffer and vim.bo[info.bufnr].buftype == ""
  end, vim.fn.getbufinfo({ buflisted = 1 }))
  table.sort(others, function(one, other)
    return one.lastused > other.lastused
  end)
  set_local(window, "winfixwidth", false)
  set_local(window, "winfixheight", false)
  vim.api.nvim_win_set_buf(window, others[1] and others[1].bufnr or vim.api.nvim_create_buf(true, false))
end

--- Hides a terminal in the current tab page. Its process goes on.
---@param one table the terminal
---@param close? fun(window: integer) another way to close a window
function M.hide(one, close)
  local closing = M.windows(one.buffer)
  if #closing == 0 then
    return
  end
  local axis = AXIS[one.side]
  local is_last = is_last_window(closing)
  if axis and vim.api.nvim_win_get_config(closing[1]).relative == "" and not is_last then
    -- It comes back as large as it was, also where the person made it so: what runs in it sees no change.
    one.extents[axis] = {
      extent = axis == "width" and vim.api.nvim_win_get_width(closing[1]) or vim.api.nvim_win_get_height(closing[1]),
      screen = axis == "width" and vim.o.columns or vim.o.lines,
    }
  end
  if vim.tbl_contains(closing, vim.api.nvim_get_current_win()) then
    local window = next_focus(one, closing)
    if window then
      vim.api.nvim_set_current_win(window)
    end
  end
  if is_last then
    replace(closing[#closing], one.buffer)
    closing[#closing] = nil
  end
  give_back(one, closing, function()
    for _, window in ipairs(closing) do
      if vim.api.nvim_win_is_valid(window) then
        (close or vim.api.nvim_win_close)(window, true)
      end
    end
  end)
end

--- Fits the windows of a terminal to a screen that has changed.
---@param one table the terminal
function M.fit(one)
  local side = require("pairside.options").values.terminal.split_side
  for _, window in ipairs(vim.fn.win_findbuf(one.buffer)) do
    local is_float = vim.api.nvim_win_get_config(window).relative ~= ""
    if is_float and side == "float" then
      vim.api.nvim_win_set_config(window, float())
    elseif not is_float and AXIS[side] == "width" then
      vim.api.nvim_win_set_width(window, M.extent(side))
    elseif not is_float and AXIS[side] == "height" then
      vim.api.nvim_win_set_height(window, M.extent(side))
    end
  end
end

return M

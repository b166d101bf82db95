-- Owns the windows that snacks.nvim makes for a terminal, with its style "terminal" and its keys.
local native = require("pairside.terminal.native")

local M = { name = "snacks", embedded = true }

local function found()
  local loaded, snacks = pcall(require, "snacks")
  if loaded and type(snacks) == "table" then
    -- The style "terminal" is defined where its terminals are.
    local usable, terminal = pcall(function()
      return snacks.win and snacks.terminal
    end)
    return usable and terminal and snacks or nil
  end
end

--- Whether snacks.nvim is there.
---@return boolean
---@return string? problem
function M.available()
  if found() then
    return true
  end
  return false, "snacks.nvim is not there"
end

local function window_of(one)
  if one.snacks then
    return one.snacks
  end
  local snacks = assert(found())
  local options = require("pairside.options").values.terminal
  local side = options.split_side
  local config = {
    buf = one.buffer,
    position = side,
    relative = "editor",
    enter = false,
    show = false,
    b = { snacks_terminal = { cmd = one.launch.argv, cwd = one.launch.cwd, env = one.launch.set } },
  }
  if native.axis(side) == "width" then
    config.width, config.height = options.split_width_percentage, 0
  elseif native.axis(side) == "height" then
    config.width, config.height = 0, options.split_height_percentage
  end
  local own = snacks.config.get("terminal", { win = { style = "terminal" } })
  local resolved = snacks.win.resolve("terminal", own.win, config, options.snacks_win_opts)
  resolved.buf, resolved.show, resolved.enter = one.buffer, false, false
  one.snacks = snacks.win(resolved)
  return one.snacks
end

--- Shows a terminal in the current tab page.
---@param one table the terminal
---@param focus boolean
---@return integer? window
---@return string? problem
function M.show(one, focus)
  local window = native.windows(one.buffer)[1]
  if not window then
    local done, problem = pcall(function()
      local made = window_of(one)
      if made:win_valid() then
        -- It is in another tab page, and snacks.nvim has one window for each.
        made:hide()
      end
      local side = made.opts.position
      native.make_room(one, side, function()
        local axis = native.axis(side)
        local kept = axis and one.extents[axis]
        if axis then
          one.share = one.share or made.opts[axis]
          local same = kept and kept.screen == (axis == "width" and vim.o.columns or vim.o.lines)
          made.opts[axis] = same and kept.extent or one.share
        end
        made:show()
        return made.win
      end)
      window = made.win
    end)
    if not done then
      return nil, problem
    end
  end
  if focus then
    native.enter(one, window)
  end
  return window
end

--- Hides a terminal in the current tab page. Its process goes on.
---@param one table the terminal
function M.hide(one)
  native.hide(one, function(window)
    if one.snacks and one.snacks.win == window then
      one.snacks:hide()
    else
      vim.api.nvim_win_close(window, true)
    end
  end)
end

--- snacks.nvim does it by itself.
function M.fit() end

return M

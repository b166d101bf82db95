-- Owns the window in which something is shown to be read: a float that comes at once, is filled when what it shows is
-- known, and goes by `q`.
local M = {}

local api = vim.api

local MARGIN = 4

-- The page that is on screen: there is one at most.
---@type fun()?
local close_last = nil

---@class pairside.Page
---@field buffer integer
---@field window integer
---@field close fun()

---@class pairside.PageKey what a key does to a line of a page
---@field keys string
---@field desc string in few words, for the person
---@field run fun(line: integer, again: fun()) lines count from 1; `again` looks again
---@field stays? boolean whether the page stays on screen

-- How large the float is for these lines; wrapped ones take several rows. It has `least` columns if there is room.
local function size(title, lines, least)
  local room = math.max(20, vim.o.columns - MARGIN)
  local width = math.max(least, api.nvim_strwidth(title) + 4)
  for _, line in ipairs(lines) do
    width = math.max(width, api.nvim_strwidth(line))
  end
  width = math.min(width, room)
  local rows = 0
  for _, line in ipairs(lines) do
    rows = rows + math.max(1, math.ceil(api.nvim_strwidth(line) / width))
  end
  local height = math.max(1, math.min(rows, vim.o.lines - MARGIN - 2))
  return {
    relative = "editor",
    width = width,
    height = height,
    row = math.max(0, math.floor((vim.o.lines - height) / 2) - 2),
    col = math.max(0, math.floor((vim.o.columns - width) / 2) - 1),
  }
end

local function footer_of(keys)
  local hints = vim.tbl_map(function(one)
    return ("%s %s"):format(one.keys == "<CR>" and "Enter" or one.keys, one.desc)
  end, keys)
  return (" %s · q close "):format(table.concat(hints, " · "))
end

-- What comes from files and agents may have line breaks, and what is not fit for a screen.
local function clean(lines)
  return vim.tbl_map(function(line)
    return (line:gsub("%z", " "):gsub("[\r\n]", " "))
  end, lines)
end

--- Shows a page. `fill` is called now, and again by `r`; it hands the lines to the function that it is given, now or
--- later, also several times.
---@param title string
---@param fill fun(show: fun(lines: string[]))
---@param how? { filetype?: string, keys?: pairside.PageKey[] } `keys` are named at the lower border
---@return pairside.Page? page
function M.open(title, fill, how)
  how = how or {}
  if vim.fn.getcmdwintype() ~= "" then
    require("pairside.message").warn("close the command-line window first")
    return nil
  end
  local mode = vim.fn.mode()
  if mode:find("^[vVsS\22\19]") then
    vim.cmd.normal({ "\27", bang = true })
  elseif mode:find("^[iR]") then
    vim.cmd.stopinsert()
  end
  if close_last then
    close_last()
  end
  local buffer = api.nvim_create_buf(false, true)
  vim.bo[buffer].bufhidden = "wipe"
  vim.bo[buffer].filetype = how.filetype or "pairside"
  local back = api.nvim_get_current_win()
  local resting = api.nvim_get_mode().mode == "nt"
  local footer = how.keys and footer_of(how.keys) or nil
  local least = footer and api.nvim_strwidth(footer) or 0
  local config = size(title, { "" }, least)
  config.style, config.border = "minimal", "rounded"
  config.title, config.title_pos = (" %s "):format(title), "center"
  if footer then
    config.footer, config.footer_pos = footer, "center"
  end
  local window = api.nvim_open_win(buffer, true, config)
  for name, value in pairs({ wrap = true, linebreak = true, cursorline = true, winfixbuf = true, list = false }) do
    vim.wo[window][0][name] = value
  end
  vim.wo[window][0].winhighlight =
    "NormalFloat:PairsidePage,FloatBorder:PairsidePageBorder,FloatTitle:PairsidePageTitle,FloatFooter:PairsidePageTitle"
  for name, link in pairs({
    PairsidePage = "NormalFloat",
    PairsidePageBorder = "FloatBorder",
    PairsidePageTitle = "FloatTitle",
  }) do
    api.nvim_set_hl(0, name, { link = link, default = true })
  end

  local function show(lines)
    if not (api.nvim_buf_is_valid(buffer) and api.nvim_win_is_valid(window)) then
      return
    end
    lines = clean(lines)
    vim.bo[buffer].modifiable = true
    api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
    vim.bo[buffer].modifiable = false
    api.nvim_win_set_config(window, size(title, lines, least))
  end
  local function close()
    if api.nvim_win_is_valid(window) then
      local inside = api.nvim_get_current_win() == window
      api.nvim_win_close(window, true)
      if inside and api.nvim_win_is_valid(back) then
        api.nvim_set_current_win(back)
        if resting then
          -- Who had left Terminal mode is not put back into it: what they type next is not meant for the agent.
          vim.schedule(function()
            vim.schedule(vim.cmd.stopinsert)
          end)
        end
      end
    end
  end
  close_last = close
  local function map(keys, act, desc)
    vim.keymap.set("n", keys, act, { buffer = buffer, nowait = true, desc = "pairside: " .. desc })
  end
  map("q", close, "close this window")
  map("<Esc>", close, "close this window")
  local function again()
    fill(show)
  end
  map("r", again, "look again")
  for _, one in ipairs(how.keys or {}) do
    map(one.keys, function()
      local line = api.nvim_win_get_cursor(window)[1]
      if not one.stays then
        close()
      end
      one.run(line, again)
    end, one.desc)
  end
  show({ "…" })
  fill(show)
  return { buffer = buffer, window = window, close = close }
end

return M

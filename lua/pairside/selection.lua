-- Owns what pairside is told of the selection and the cursor. What follows from it is decided there.
--
-- Each move of the cursor only sees to it that the present state is reported within 50 ms; a timer that runs is not
-- started again, so a key that is held delays nothing. What was selected when visual mode is left is reported at once,
-- because the next report would not see it any more.
local process = require("pairside.process")
local text = require("pairside.text")

local M = {}

local EVERY_MS = 50
-- pairside cuts a selection at 100 kB; what is longer than this is not even read.
local READ_BYTES = 128 * 1024

local GROUP = "pairside_selection"
local BLOCK = "\22"
-- The kind of a selection by the mode: visual and select mode, and visual mode out of select mode.
local KINDS = {
  v = "v",
  V = "V",
  [BLOCK] = BLOCK,
  vs = "v",
  Vs = "V",
  [BLOCK .. "s"] = BLOCK,
  s = "v",
  S = "V",
  ["\19"] = BLOCK,
}

---@type uv.uv_timer_t?
local timer
local pending = false
-- What was reported last, and the buffer it was about.
---@type table?
local last
---@type integer?
local last_buffer
-- Where visual mode was entered: nothing that an operator has consumed since is selected any more.
---@type { buffer: integer, tick: integer }?
local entered

-- The name under which the buffer in front of the person is reported; nil if it is none of a file.
local function name_here()
  local buffer = vim.api.nvim_get_current_buf()
  local name = require("pairside.documents").name(buffer)
  if not name or vim.b[buffer].pairside_review then
    return nil
  end
  -- A file in a floating window is in front of the person if it is one they edit; a preview is not.
  if vim.api.nvim_win_get_config(0).relative ~= "" and not vim.bo[buffer].buflisted then
    return nil
  end
  return name
end

local function cursor()
  local at = vim.api.nvim_win_get_cursor(0)
  return text.position(0, at[1] - 1, at[2])
end

-- Where the character at a byte ends, with everything that is composed with it.
local function behind(row, column)
  local length = text.length(0, row)
  if column >= length then
    return length
  end
  local rest = vim.api.nvim_buf_get_text(0, row, column, row, math.min(column + 256, length), {})[1]
  return column + math.max(1, #vim.fn.strcharpart(rest, 0, 1, 1))
end

-- How many lines from `first` on, at most to `last`, are about as much as is read at all.
local function readable(first, last_row)
  local from = vim.api.nvim_buf_get_offset(0, first)
  if vim.api.nvim_buf_get_offset(0, last_row + 1) - from <= READ_BYTES then
    return last_row, true
  end
  local low, high = first, last_row
  while low < high do
    local middle = math.floor((low + high + 1) / 2)
    if vim.api.nvim_buf_get_offset(0, middle) - from <= READ_BYTES then
      low = middle
    else
      high = middle - 1
    end
  end
  return low, false
end

local function joined(lines)
  for index, line in ipairs(lines) do
    -- Vim script has a line feed where the buffer has a NUL.
    lines[index] = text.valid((line:gsub("\n", "\0")))
  end
  return table.concat(lines, "\n")
end

-- The beginning of what lies between two positions, where all of it would be too much.
local function beginning(from, to, last_row)
  local row, column = to[1], to[2]
  if last_row < row then
    row, column = last_row, text.length(0, last_row)
  end
  local before = vim.api.nvim_buf_get_offset(0, row) - vim.api.nvim_buf_get_offset(0, from[1])
  column = math.min(column, (row == from[1] and from[2] or 0) + READ_BYTES - before)
  local lines = vim.api.nvim_buf_get_text(0, from[1], from[2], row, column, {})
  -- If it ends inside of a character, that one is left out.
  return (text.valid(table.concat(lines, "\n"):sub(1, READ_BYTES)):gsub("(\239\191\189)+$", ""))
end

-- What is selected in lines and in characters, where `one` and `two` are its corners as of getpos().
local function stretch(kind, one, two)
  local from, to
  if kind == "V" then
    from = { one[2] - 1, 0 }
    to = { two[2] - 1, text.length(0, two[2] - 1) }
  else
    from = { one[2] - 1, math.min(one[3] - 1, text.length(0, one[2] - 1)) }
    local row, column = two[2] - 1, two[3] - 1
    local same = one[2] == two[2] and one[3] == two[3] and one[4] == two[4]
    if vim.o.selection ~= "exclusive" or same then
      to = { row, behind(row, column) }
    elseif column == 0 and row > from[1] then
      to = { row - 1, text.length(0, row - 1) }
    else
      to = { row, math.min(column, text.length(0, row)) }
    end
  end
  local last_row, whole = readable(from[1], to[1])
  if whole then
    return joined(vim.fn.getregion(one, two, { type = kind })), from, to
  end
  return beginning(from, to, last_row), from, to
end

-- A block to the ends of its lines, which is what `$` makes of it; getregion() does not know of that.
local function ragged(first, last_row, left)
  local lines = {}
  for row = first, last_row do
    local line = vim.api.nvim_buf_get_lines(0, row, row + 1, false)[1]
    local column = line == "" and 0 or vim.fn.virtcol2col(0, row + 1, left)
    local cells = column > 0 and vim.fn.virtcol({ row + 1, column }, 1) or { 0, 0 }
    if cells[2] < left then
      lines[#lines + 1] = ""
    elseif cells[1] < left then
      local rest = behind(row, column - 1)
      lines[#lines + 1] = (" "):rep(cells[2] - left + 1) .. line:sub(rest + 1)
    else
      lines[#lines + 1] = line:sub(column)
    end
  end
  return lines
end

-- What is selected in a block.
local function block(one, two, to_ends)
  local first, last_row = one[2] - 1, two[2] - 1
  local cells_one, cells_two =
    vim.fn.virtcol({ one[2], one[3], one[4] }, 1), vim.fn.virtcol({ two[2], two[3], two[4] }, 1)
  local left = math.max(1, math.min(cells_one[1], cells_two[1]))
  local right = math.max(cells_one[2], cells_two[2])
  if vim.o.selection == "exclusive" and cells_one[1] ~= cells_two[1] then
    right = math.max(left, math.max(cells_one[1], cells_two[1]) - 1)
  end
  -- The byte of the cell in a line, or the end of the line; behind the character for the right corner.
  local function byte(row, cell, after)
    local length = text.length(0, row)
    if length == 0 then
      return 0
    end
    local column = vim.fn.virtcol2col(0, row + 1, cell)
    if column < 1 or vim.fn.virtcol({ row + 1, column }, 1)[2] < cell then
      return length
    end
    return after and behind(row, column - 1) or column - 1
  end
  local from = { first, byte(first, left, false) }
  local to = { last_row, to_ends and text.length(0, last_row) or byte(last_row, right, true) }
  if to[1] == from[1] and to[2] < from[2] then
    to[2] = from[2]
  end
  local read, whole = readable(first, last_row)
  if to_ends then
    return joined(ragged(first, read, left)), from, to
  end
  if not whole then
    -- The corner in the last line that is read stands in the same cell as the one of the last line.
    local corner = { two[1], read + 1, math.max(1, vim.fn.virtcol2col(0, read + 1, right)), 0 }
    local start = { one[1], one[2], math.max(1, vim.fn.virtcol2col(0, one[2], left)), 0 }
    return joined(vim.fn.getregion(start, corner, { type = BLOCK, exclusive = false })), from, to
  end
  return joined(vim.fn.getregion(one, two, { type = BLOCK })), from, to
end

-- What lies between two corners of a selection, in whichever order they are.
local function selected(name, kind, one, two, to_ends)
  if two[2] < one[2] or two[2] == one[2] and (two[3] < one[3] or two[3] == one[3] and two[4] < one[4]) then
    one, two = two, one
  end
  local found, from, to
  if kind == BLOCK then
    found, from, to = block(one, two, to_ends)
  else
    found, from, to = stretch(kind, one, two)
  end
  return {
    path = name,
    text = found,
    start = text.position(0, from[1], from[2]),
    ["end"] = text.position(0, to[1], to[2]),
    cursor = cursor(),
  }
end

local function to_line_ends()
  return vim.fn.getcurpos()[5] == vim.v.maxcol
end

--- What is selected now, or where the cursor is; nil if no file is in front of the person.
---@return table?
function M.facts()
  local name = name_here()
  if not name then
    return nil
  end
  local kind = KINDS[vim.api.nvim_get_mode().mode]
  if kind then
    return selected(name, kind, vim.fn.getpos("v"), vim.fn.getpos("."), kind == BLOCK and to_line_ends())
  end
  local at = cursor()
  return { path = name, text = "", start = at, ["end"] = at }
end

local function same(one, two)
  if not one or not two then
    return one == two
  end
  for _, key in ipairs({ "start", "end", "cursor" }) do
    local a, b = one[key], two[key]
    if (a and a[1]) ~= (b and b[1]) or (a and a[2]) ~= (b and b[2]) then
      return false
    end
  end
  return one.path == two.path and one.text == two.text
end

local function tell(facts)
  last_buffer = vim.api.nvim_get_current_buf()
  if not same(facts, last) then
    last = facts
    process.notify("selection", facts)
  end
end

local function report()
  local facts = M.facts()
  if facts then
    tell(facts)
  elseif last_buffer and not vim.api.nvim_buf_is_loaded(last_buffer) then
    last, last_buffer = nil, nil
    process.notify("selection", {})
  end
end

local function due()
  if not timer then
    return
  end
  pending = false
  -- What cannot be told now will be after the next move.
  pcall(report)
end

-- Runs for each move of the cursor, so it does as good as nothing.
local function moved()
  if not pending and timer then
    pending = true
    timer:start(EVERY_MS, 0, vim.schedule_wrap(due))
  end
end

local function left_visual(kind)
  local before = entered
  entered = nil
  local buffer = vim.api.nvim_get_current_buf()
  if not before or before.buffer ~= buffer or before.tick ~= vim.api.nvim_buf_get_changedtick(buffer) then
    return
  end
  local name = name_here()
  if not name then
    return
  end
  local one, two = vim.fn.getpos("'<"), vim.fn.getpos("'>")
  if one[2] == 0 or two[2] == 0 then
    return
  end
  local facts = selected(name, kind, one, two, kind == BLOCK and to_line_ends())
  if timer then
    timer:stop()
  end
  pending = false
  tell(facts)
end

local function enter_visual()
  local buffer = vim.api.nvim_get_current_buf()
  entered = { buffer = buffer, tick = vim.api.nvim_buf_get_changedtick(buffer) }
end

local function mode_changed(event)
  local old, new = event.match:match("^(.-):(.*)$")
  local was, is = KINDS[old], KINDS[new]
  if is and not was then
    enter_visual()
  elseif was and not is then
    pcall(left_visual, was)
  end
  moved()
end

--- What was reported last; nil before there was anything.
---@return table?
function M.last()
  return last
end

function M.enable()
  M.disable()
  if not require("pairside.options").values.track_selection then
    return
  end
  timer = assert(vim.uv.new_timer())
  local group = vim.api.nvim_create_augroup(GROUP, {})
  vim.api.nvim_create_autocmd({ "CursorMoved", "CursorMovedI" }, { group = group, callback = moved })
  vim.api.nvim_create_autocmd({ "BufEnter", "WinEnter", "TextChanged", "BufFilePost", "BufUnload", "BufDelete" }, {
    group = group,
    callback = moved,
  })
  vim.api.nvim_create_autocmd("ModeChanged", { group = group, callback = mode_changed })
  -- A process that was started again knows nothing of what the person selected before they went to the terminal.
  local facts = M.facts()
  if facts then
    last = nil
    tell(facts)
  elseif last and last_buffer and vim.api.nvim_buf_is_loaded(last_buffer) then
    process.notify("selection", last)
  end
  if KINDS[vim.api.nvim_get_mode().mode] then
    enter_visual()
  end
end

function M.disable()
  pcall(vim.api.nvim_del_augroup_by_name, GROUP)
  if timer then
    timer:stop()
    timer:close()
    timer = nil
  end
  pending, entered = false, nil
end

return M

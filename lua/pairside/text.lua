-- Owns what becomes of the text of a buffer on its way out: valid UTF-8, and positions in UTF-16 units.
local M = {}

local REPLACEMENT = "\239\191\189"

-- How many bytes the character at `at` has; nil if none that UTF-8 knows begins there: no overlong forms, no
-- surrogates, nothing above U+10FFFF.
local function width(text, at)
  local first, second, third, fourth = text:byte(at, at + 3)
  local count, low, high
  if first < 0xC2 or first > 0xF4 then
    return nil
  elseif first < 0xE0 then
    count, low, high = 2, 0x80, 0xBF
  elseif first < 0xF0 then
    count, low, high = 3, first == 0xE0 and 0xA0 or 0x80, first == 0xED and 0x9F or 0xBF
  else
    count, low, high = 4, first == 0xF0 and 0x90 or 0x80, first == 0xF4 and 0x8F or 0xBF
  end
  if not second or second < low or second > high then
    return nil
  end
  if count > 2 and (not third or third < 0x80 or third > 0xBF) then
    return nil
  end
  if count > 3 and (not fourth or fourth < 0x80 or fourth > 0xBF) then
    return nil
  end
  return count
end

--- The text with U+FFFD for each byte that is no part of a character.
---@param text string
---@return string
function M.valid(text)
  local at = text:find("[\128-\255]")
  if not at then
    return text
  end
  local parts, done = nil, 1
  while at do
    local count = width(text, at)
    if not count then
      parts = parts or {}
      parts[#parts + 1] = text:sub(done, at - 1)
      parts[#parts + 1] = REPLACEMENT
      done = at + 1
    end
    at = text:find("[\128-\255]", at + (count or 1))
  end
  if not parts then
    return text
  end
  parts[#parts + 1] = text:sub(done)
  return table.concat(parts)
end

--- How many UTF-16 units a text has.
---@param text string
---@return integer
function M.units(text)
  if not text:find("[\128-\255]") then
    return #text
  end
  return (vim.str_utfindex(M.valid(text), "utf-16"))
end

--- The position of a byte in a loaded buffer as pairside writes it; a byte behind the end of its line is that end.
---@param buffer integer
---@param row integer from 0
---@param column integer in bytes, from 0
---@return integer[]
function M.position(buffer, row, column)
  if column <= 0 then
    return { row, 0 }
  end
  local length = M.length(buffer, row)
  local before = vim.api.nvim_buf_get_text(buffer, row, 0, row, math.min(column, length), {})[1]
  return { row, M.units(before) }
end

--- How many bytes a line has.
---@param buffer integer
---@param row integer from 0
---@return integer
function M.length(buffer, row)
  local lines = vim.api.nvim_buf_line_count(buffer)
  if row + 1 < lines then
    -- Offsets count one byte for the end of a line, whatever 'fileformat' says.
    return vim.api.nvim_buf_get_offset(buffer, row + 1) - vim.api.nvim_buf_get_offset(buffer, row) - 1
  end
  return #(vim.api.nvim_buf_get_lines(buffer, row, row + 1, false)[1] or "")
end

--- The byte of a line at which a UTF-16 unit stands; a unit behind the end of the line is that end.
---@param line string
---@param units integer
---@return integer
function M.byte(line, units)
  if units <= 0 then
    return 0
  end
  if not line:find("[\128-\255]") then
    return math.min(units, #line)
  end
  local at, count = 1, 0
  while at <= #line and count < units do
    local bytes = line:byte(at) < 0x80 and 1 or width(line, at) or 1
    count = count + (bytes == 4 and 2 or 1)
    at = at + bytes
  end
  return at - 1
end

return M

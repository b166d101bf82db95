-- Owns the hunks between the original and what stands in a proposal's buffer now.
--
-- They come from pairside, which has compared the two already, and are kept true while the person edits: only the lines
-- around an edit are compared again, so that the cost is that of the edit and not of the file.
local proposal = require("pairside.review.proposal")

local M = {}

local api = vim.api
local compare = vim.text and vim.text.diff or vim.diff

---@class pairside.Hunk lines from 0; `marks` belong to whoever draws it
---@field a integer the first line in the original
---@field ac integer how many there
---@field b integer the first line in the buffer
---@field bc integer how many there
---@field marks integer[]

---@class pairside.Hunks
---@field buffer integer
---@field old string[] the lines of the original
---@field ended boolean whether its last line is ended
---@field marked boolean whether it begins with a byte order mark
---@field list pairside.Hunk[]
---@field dirty? { s: integer, before: integer, now: integer } lines s to `before` of the last look are s to `now`

---@param buffer integer
---@return integer
local function count(buffer)
  return proposal.is_empty(buffer) and 0 or api.nvim_buf_line_count(buffer)
end

---@param lines string[]
---@param from integer
---@param to integer
---@param ended boolean whether the last one of all lines is
local function joined(lines, from, to, ended, last)
  if to <= from then
    return ""
  end
  return table.concat(lines, "\n", from + 1, to) .. ((ended or to < last) and "\n" or "")
end

-- The hunks between two runs of lines.
local function between(before, after, a, b)
  local found = {}
  for _, one in ipairs(compare(before, after, { result_type = "indices" })) do
    found[#found + 1] = {
      a = a + (one[2] > 0 and one[1] - 1 or one[1]),
      ac = one[2],
      b = b + (one[4] > 0 and one[3] - 1 or one[3]),
      bc = one[4],
      marks = {},
    }
  end
  return found
end

--- The hunks of a proposal.
---@param buffer integer
---@param text string? the original; nil if there is none
---@param found integer[][]? as pairside answers; without them the whole is compared
---@return pairside.Hunks
function M.new(buffer, text, found)
  local marked = text ~= nil and vim.startswith(text, "\239\187\191")
  local old, ended = {}, true
  if text and text ~= "" then
    old, ended = proposal.split(marked and text:sub(4) or text)
  end
  local hunks = { buffer = buffer, old = old, ended = ended, marked = marked, list = {} }
  if found then
    for _, one in ipairs(found) do
      hunks.list[#hunks.list + 1] = { a = one[1], ac = one[2], b = one[3], bc = one[4], marks = {} }
    end
  else
    local lines = api.nvim_buf_get_lines(buffer, 0, -1, false)
    local size = count(buffer)
    hunks.list = between(
      joined(old, 0, #old, ended, #old),
      joined(lines, 0, size, vim.bo[buffer].endofline, size),
      0,
      0
    )
  end
  return hunks
end

--- Lines `first` to `last` of the buffer became lines `first` to `now`.
---@param hunks { dirty: table? }
function M.edited(hunks, first, last, now)
  local dirty = hunks.dirty
  if not dirty then
    hunks.dirty = { s = first, before = last, now = now }
    return
  end
  if last > dirty.now then
    dirty.before = dirty.before + last - dirty.now
    dirty.now = last
  end
  dirty.s = math.min(dirty.s, first)
  dirty.now = dirty.now + now - last
end

--- Looks again at what was edited.
---@param hunks pairside.Hunks
---@return pairside.Hunk[] gone
---@return pairside.Hunk[] come
function M.refresh(hunks)
  local dirty = hunks.dirty
  hunks.dirty = nil
  if not dirty then
    return {}, {}
  end
  local list = hunks.list
  local from, to = #list + 1, 0
  local s, before = dirty.s, dirty.before
  -- Every hunk that touches the edit is looked at again as a whole.
  local changed = true
  while changed do
    changed = false
    for index, hunk in ipairs(list) do
      local touches = hunk.b + hunk.bc >= s and hunk.b <= before
      if touches and (index < from or index > to) then
        from, to = math.min(from, index), math.max(to, index)
        s, before = math.min(s, hunk.b), math.max(before, hunk.b + hunk.bc)
        changed = true
      end
    end
  end
  if to < from then
    -- None does: it lies between two of them.
    from = #list + 1
    for index, hunk in ipairs(list) do
      if hunk.b > before then
        from = index
        break
      end
    end
    to = from - 1
  end
  -- How far the lines of the original are from those of the buffer, before and behind.
  local left, right = 0, 0
  if from > 1 then
    local hunk = list[from - 1]
    left = hunk.a + hunk.ac - hunk.b - hunk.bc
  end
  right = left
  if to >= from then
    local hunk = list[to]
    right = hunk.a + hunk.ac - hunk.b - hunk.bc
  end
  local shift = dirty.now - dirty.before
  local size = count(hunks.buffer)
  local now = math.min(before + shift, size)
  local a_from, a_to = math.min(s + left, #hunks.old), math.min(math.max(before + right, s + left), #hunks.old)
  local lines = api.nvim_buf_get_lines(hunks.buffer, s, now, false)
  local after = #lines == 0 and ""
    or table.concat(lines, "\n") .. ((now < size or vim.bo[hunks.buffer].endofline) and "\n" or "")
  local come = between(joined(hunks.old, a_from, a_to, hunks.ended, #hunks.old), after, a_from, s)
  local gone, kept = {}, {}
  for index, hunk in ipairs(list) do
    if index < from then
      kept[#kept + 1] = hunk
    elseif index <= to then
      gone[#gone + 1] = hunk
    end
  end
  vim.list_extend(kept, come)
  for index = to + 1, #list do
    local hunk = list[index]
    hunk.b = hunk.b + shift
    kept[#kept + 1] = hunk
  end
  hunks.list = kept
  return gone, come
end

--- The hunk at a line of the buffer; one that only deletes is at the lines before and behind it.
---@param hunks pairside.Hunks
---@param line integer
---@return pairside.Hunk?
function M.at(hunks, line)
  local near
  for _, hunk in ipairs(hunks.list) do
    if line >= hunk.b and line < hunk.b + hunk.bc then
      return hunk
    elseif hunk.bc == 0 and (line == hunk.b or line == hunk.b - 1) then
      near = near or hunk
    end
  end
  return near
end

--- Lines of the original.
---@param hunks pairside.Hunks
---@param hunk pairside.Hunk
---@return string[]
function M.before(hunks, hunk)
  return vim.list_slice(hunks.old, hunk.a + 1, hunk.a + hunk.ac)
end

return M

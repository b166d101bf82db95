-- Owns the functions of claudecode.nvim for the selection.
local other = require("pairside.compatibility").other("claudecode.selection")
if other ~= nil then
  return other
end

local M = {}

local function selection()
  return require("pairside.selection")
end

--- Reports what is selected, while pairside runs and the option `track_selection` is on.
function M.enable()
  if require("pairside").is_running() then
    selection().enable()
  end
end

--- Reports it no more, until `enable` or the next start.
function M.disable()
  selection().disable()
end

-- A selection in the form of claudecode.nvim.
local function shown(facts)
  if not facts or not facts.path then
    return nil
  end
  local function position(at)
    return { line = at[1], character = at[2] }
  end
  return {
    text = facts.text,
    filePath = facts.path,
    fileUrl = vim.uri_from_fname(facts.path),
    selection = {
      start = position(facts.start),
      ["end"] = position(facts["end"]),
      isEmpty = facts.text == "",
    },
  }
end

--- What was reported last.
---@return table?
function M.get_latest_selection()
  return shown(selection().last())
end

--- Whole lines of the current buffer; nil if it has no file.
---@param first integer from 1
---@param last integer
---@return table?
function M.get_range_selection(first, last)
  local path = require("pairside.paths").of(0)
  if not path or first < 1 or last < first then
    return nil
  end
  last = math.min(last, vim.api.nvim_buf_line_count(0))
  local lines = vim.api.nvim_buf_get_lines(0, first - 1, last, false)
  if #lines == 0 then
    return nil
  end
  local text = require("pairside.text")
  return shown({
    path = path,
    text = table.concat(lines, "\n"),
    start = { first - 1, 0 },
    ["end"] = { last - 1, text.units(lines[#lines]) },
  })
end

--- Reports what is selected now.
function M.send_current_selection()
  local facts = selection().facts()
  if facts then
    require("pairside.process").notify("selection", facts)
  end
end

--- Mentions lines of the current buffer: those given, else what is selected.
---@param first integer? from 1
---@param last integer?
---@return boolean accepted
function M.send_at_mention_for_visual_selection(first, last)
  require("pairside.send").selection(first and { first, last or first })
  return true
end

return M

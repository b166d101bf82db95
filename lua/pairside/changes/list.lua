-- Owns the lists of what agents changed: the page of `:Pairside changes`, and the hunks in the quickfix list.
local idle = require("pairside.idle")
local message = require("pairside.message")
local process = require("pairside.process")

local M = {}

-- Of so many hunks there are entries, and so many lines of each file's hunks are asked for.
local HUNKS_LISTED = 5000
local LINES_ASKED = 20000

local function which(turn)
  if turn == "all" then
    return { all = true }
  end
  return { turn = turn }
end

local function go(entry)
  if entry.kind == "deleted" then
    require("pairside.changes.diff").ids(entry.ids)
    return
  end
  process.request("changes/marks", { path = entry.path }, function(result)
    local first = result and result.marks[1]
    for _, mark in ipairs(result and result.marks or {}) do
      if vim.deep_equal(mark.ids, entry.ids) then
        first = mark
        break
      end
    end
    local problem = require("pairside.documents").visit(entry.path, first and require("pairside.changes").row(first))
    if problem then
      message.error(problem)
    end
  end)
end

--- Shows the page.
---@param turn integer|"all"|nil without it the latest turns
function M.page(turn)
  local entries = {}
  local title = "pairside changes"
  if turn then
    title = title .. (turn == "all" and " of all turns" or (" of turn %d"):format(turn))
  end
  local function fill(show)
    process.request("changes", which(turn), function(changes, failure)
      local lines = { failure }
      entries = {}
      if changes then
        lines, entries = require("pairside.report").changes(changes)
      end
      show(lines)
    end)
  end
  local function on_entry(act)
    return function(line, again)
      if entries[line] then
        act(entries[line], again)
      end
    end
  end
  require("pairside.page").open(title, fill, {
    keys = {
      { keys = "<CR>", desc = "go there", run = on_entry(go) },
      {
        keys = "d",
        desc = "diff",
        run = on_entry(function(entry)
          require("pairside.changes.diff").ids(entry.ids)
        end),
      },
      {
        keys = "u",
        desc = "take back",
        stays = true,
        run = on_entry(function(entry, again)
          require("pairside.changes.undo").ids(entry.ids, again)
        end),
      },
    },
  })
end

-- The first line of a hunk, as in a patch.
local function line_of(hunk)
  local line = hunk.new[1] and "+" .. hunk.new[1] or hunk.old[1] and "-" .. hunk.old[1] or ""
  return (line:gsub("[\r\n]+$", ""))
end

-- The entries of one file. `starts` are the lines at which its hunks are now, by their numbers, where that is known.
local function entries_of(file, told, starts)
  if not told or not told.divisible or #(told.hunks or {}) == 0 then
    local note = file.note and file.note ~= "" and (" (%s)"):format(file.note) or ""
    return { { filename = file.path, lnum = 1, text = file.kind .. note } }
  end
  local found = {}
  for _, hunk in ipairs(told.hunks) do
    found[#found + 1] = {
      filename = file.path,
      lnum = math.max(1, (starts[hunk.number] or hunk.new_start) + (hunk.new_count > 0 and 1 or 0)),
      text = ("+%d -%d  %s"):format(hunk.new_count, hunk.old_count, line_of(hunk)),
      user_data = { ids = file.ids, hunk = hunk.number },
    }
  end
  return found
end

local function starts_of(file, result)
  local starts = {}
  for _, mark in ipairs(result and result.marks or {}) do
    if vim.deep_equal(mark.ids, file.ids) then
      starts[mark.number] = mark.start
    end
  end
  return starts
end

local function set(title, items)
  vim.fn.setqflist({}, " ", { title = title, items = items })
  -- Whoever has gone on typing meanwhile is not moved.
  idle.when(function()
    vim.cmd("botright copen")
  end)
end

--- Puts all hunks into the quickfix list.
---@param turn integer|"all"|nil without it the latest turns
function M.quickfix(turn)
  local title = ":Pairside changes quickfix" .. (turn and " " .. turn or "")
  process.request("changes", which(turn), function(changes, failure)
    if not changes then
      message.error(failure)
      return
    end
    local files, items = {}, {}
    for _, one in ipairs(changes.turns) do
      if not one.is_undo then
        vim.list_extend(files, one.files)
      end
    end
    -- One after the other: so many as an agent may have written would be a crowd.
    local function following(at)
      local file = files[at]
      if not file or #items > HUNKS_LISTED then
        if #items == 0 then
          message.info("no agent changed anything that is still there")
        else
          set(title, vim.list_slice(items, 1, HUNKS_LISTED))
        end
        return
      end
      if file.kind == "deleted" then
        items[#items + 1] = { filename = file.path, valid = 0, text = "deleted" }
        following(at + 1)
        return
      end
      process.request("changes/marks", { path = file.path }, function(marks)
        process.request("changes/show", { ids = file.ids, lines = LINES_ASKED }, function(told)
          vim.list_extend(items, entries_of(file, told, starts_of(file, marks)))
          following(at + 1)
        end)
      end)
    end
    following(1)
  end)
end

return M

-- Owns taking back, from Neovim, what agents changed: what is asked of pairside for it, and what the person is told.
--
-- pairside writes the files, and Neovim reads them again as after any other write. So nothing here touches a buffer.
local changes = require("pairside.changes")
local message = require("pairside.message")
local paths = require("pairside.paths")
local process = require("pairside.process")

local M = {}

local KINDS = { new = "comes back", deleted = "goes", modified = "", mode = "gets its old mode" }

local function named(path)
  local name = vim.fn.fnamemodify(path, ":~:.")
  return name == "" and path or name
end

local function amount(facts)
  return facts.added and (" +%d -%d"):format(facts.added, facts.removed or 0) or ""
end

-- A file of an undo as a few words.
local function file_line(file)
  if file.outcome ~= "undone" then
    return ("%s stays: %s"):format(named(file.path), file.why)
  end
  local kind = KINDS[file.kind] or ""
  return ("%s%s%s"):format(named(file.path), kind ~= "" and " " .. kind or "", amount(file))
end

local function late_line(file)
  return ("%s stays: it was changed after the agent had finished"):format(named(file.path))
end

-- The places where others changed the same lines, so that the person can look at them.
local function to_quickfix(files)
  local places = {}
  for _, file in ipairs(files) do
    for _, conflict in ipairs(file.conflicts or {}) do
      places[#places + 1] = {
        filename = file.path,
        lnum = conflict.start + 1,
        text = ("hunk %d was changed since: %s"):format(
          conflict.number,
          vim.trim((conflict.lines or {})[1] or "these lines are gone")
        ),
      }
    end
  end
  if #places > 0 then
    vim.fn.setqflist({}, " ", { title = "pairside: what could not be taken back", items = places })
  end
  return #places > 0
end

--- Tells what became of an undo, in a line.
---@param result table as pairside answers `undo`
function M.tell(result)
  local done, stayed = {}, {}
  local added, removed = 0, 0
  for _, file in ipairs(result.files) do
    if file.outcome == "undone" then
      done[#done + 1] = file
      added, removed = added + (file.added or 0), removed + (file.removed or 0)
    else
      stayed[#stayed + 1] = file_line(file)
    end
  end
  local parts = {}
  if #done == 1 then
    parts[1] = ("taken back: %s"):format(file_line(done[1]))
  elseif #done > 1 then
    parts[1] = ("taken back: %d files +%d -%d"):format(#done, added, removed)
  end
  vim.list_extend(parts, stayed)
  for _, file in ipairs(result.left or {}) do
    parts[#parts + 1] = late_line(file)
  end
  if result.complete == false then
    parts[#parts + 1] = "the work tree could not be looked at in time, so something may be missing"
  end
  if to_quickfix(result.files) then
    parts[#parts + 1] = "see :copen"
  end
  local say = #stayed > 0 and message.warn or message.info
  say(#parts > 0 and table.concat(parts, "; ") or "there is nothing to take back")
end

-- One after the other: which undo is the last is known only when the one before is over.
---@type (fun(over: fun()))[]
local waiting = {}
local is_busy = false

local function proceed()
  local work = not is_busy and table.remove(waiting, 1)
  if work then
    is_busy = true
    work(function()
      is_busy = false
      proceed()
    end)
  end
end

local function in_order(work)
  waiting[#waiting + 1] = work
  proceed()
end

local function send(params, over)
  process.request("undo", params, function(result, failure)
    -- Whatever comes of the telling, the next one is not held up.
    local told, problem = pcall(result and M.tell or message.error, result or failure)
    if not told then
      message.error(problem)
    end
    over(result)
  end)
end

local function perform(params, done)
  in_order(function(over)
    send(params, function(result)
      over()
      if done then
        done(result)
      end
    end)
  end)
end

-- Shows what would become of each file, and does it by a key. The page is there before it is known, so that no key that
-- was meant for a file meets it; until then the key does nothing.
local function confirm(title, params)
  local is_known = false
  local page
  local function fill(show)
    is_known = false
    process.request("undo", vim.tbl_extend("force", params, { dry_run = true }), function(result, failure)
      if not result then
        show({ failure })
        return
      end
      local lines = vim.tbl_map(file_line, result.files)
      for _, file in ipairs(result.left or {}) do
        lines[#lines + 1] = late_line(file)
      end
      is_known = vim.iter(result.files):any(function(file)
        return file.outcome == "undone"
      end)
      show(lines)
    end)
  end
  local function take_back()
    if is_known then
      page.close()
      perform(params)
    end
  end
  page = require("pairside.page").open(title, fill, {
    keys = { { keys = "<CR>", desc = "take this back", run = take_back, stays = true } },
  })
end

local function begin(title, params, at_once)
  if at_once then
    perform(params)
  else
    confirm(title, params)
  end
end

--- Takes back the hunk at the cursor, or all those that lines of this buffer belong to.
---@param range? integer[] the first and the last line, from 1
function M.hunk(range)
  local buffer = vim.api.nvim_get_current_buf()
  local row = vim.api.nvim_win_get_cursor(0)[1] - 1
  local hunks = changes.within(buffer, range and range[1] - 1 or row, range and range[2] - 1 or row)
  if #hunks == 0 then
    local any = #changes.hunks(buffer) > 0
    message.info(any and "nothing at the cursor was changed in the agent's latest turn" or changes.why_none())
    return
  end
  -- Hunks are numbered within what follows one another without anybody else in between.
  local groups, order = {}, {}
  for _, hunk in ipairs(hunks) do
    local name = table.concat(hunk.ids, ",")
    if not groups[name] then
      groups[name] = { ids = hunk.ids, hunks = {} }
      order[#order + 1] = groups[name]
    end
    table.insert(groups[name].hunks, hunk.number)
  end
  local function following(at)
    if order[at] then
      perform(order[at], function()
        following(at + 1)
      end)
    end
  end
  following(1)
end

--- Takes back what agents changed in a file last.
---@param path string
---@param at_once boolean? whether nothing is asked
function M.file(path, at_once)
  begin(("take back: %s"):format(named(path)), { path = paths.real(path) }, at_once)
end

--- Takes back a turn; without a number the latest ones.
---@param number integer?
---@param at_once boolean?
function M.turn(number, at_once)
  begin(number and ("take back turn %d"):format(number) or "take back the latest turn", { turn = number }, at_once)
end

--- Takes back changes by their ids, all of one file, without a question.
---@param ids integer[]
---@param done fun(result: table?)?
function M.ids(ids, done)
  perform({ ids = ids }, done)
end

-- The last turn that is an undo of agents' changes and still stands; nil if there is none.
local function last_undo(turns)
  local undos = {}
  for _, turn in ipairs(turns) do
    for _, change in ipairs(turn.is_undo and turn.changes or {}) do
      undos[change.id] = true
    end
  end
  for at = #turns, 1, -1 do
    -- What took an undo back is no undo of an agent's change.
    local stands = turns[at].is_undo
      and vim.iter(turns[at].changes):any(function(change)
        return change.state ~= "undone" and not undos[(change.undoes or {})[1]]
      end)
    if stands then
      return turns[at].turn
    end
  end
end

--- Takes back the last undo that still stands: the agent's change is there again.
function M.last()
  in_order(function(over)
    process.request("changes", { all = true, fresh = false }, function(result, failure)
      local turn = result and last_undo(result.turns)
      if turn then
        send({ turn = turn }, over)
        return
      end
      if result then
        message.info("no undo is left to be taken back")
      else
        message.error(failure)
      end
      over()
    end)
  end)
end

return M

-- Owns the public functions of the plugin.
local M = {}

-- The last snapshot that pairside sent, and what the status line says of it.
---@type table?
local snapshot = nil
local line = ""

-- What the running process was started with, and what would be used now.
local started_with = nil

local function configured()
  local options = require("pairside.options")
  if not options.is_set_up then
    M.setup()
  end
  return options
end

local function signature(options)
  return vim.inspect({ options.values.cmd, options.settings() })
end

local function complain(complaints)
  if #complaints > 0 then
    require("pairside.message").warn(table.concat(complaints, "\n"))
  end
end

--- Sets options; may be left out. What is wrong in them is named, and the default kept.
---@param given table?
function M.setup(given)
  local options = require("pairside.options")
  local _, complaints = options.setup(given)
  complain(complaints)
  M.refresh()
  if started_with and started_with ~= signature(options) and M.is_running() then
    require("pairside.message").info("some of these options count from the next start on: :Pairside restart")
  end
  -- The plugin may have come to 'runtimepath' too late for its commands.
  if not vim.g.loaded_pairside and not (vim.o.loadplugins and vim.v.vim_did_enter == 0) then
    vim.cmd.runtime("plugin/pairside.lua")
  end
end

-- What git and others open in an editor of its own is not what somebody works on with an agent, and a second IDE would
-- keep agents from the first.
local PASSING = { "COMMIT_EDITMSG", "MERGE_MSG", "TAG_EDITMSG", "NOTES_EDITMSG", "git-rebase-todo", "addp-hunk-edit.diff" }

--- Called once by the plugin itself, after the first screen has been drawn.
function M.entered()
  local automatic = vim.g.claudecode_auto_setup
  local compatibility = require("pairside.compatibility")
  if type(automatic) == "table" and not compatibility.rival() and not require("pairside.options").is_set_up then
    M.setup(automatic)
  end
  compatibility.warn()
  local passing = vim.list_contains(PASSING, vim.fs.basename(vim.api.nvim_buf_get_name(0)))
  if configured().values.auto_start and not passing then
    M.start()
  end
  vim.schedule(function()
    require("pairside.install").tags()
  end)
end

--- Starts serving agents.
function M.start()
  local options = configured()
  started_with = signature(options)
  require("pairside.process").start()
end

--- Stops serving agents.
function M.stop()
  require("pairside.process").stop()
end

--- Ends and starts again; agents reconnect by themselves.
function M.restart()
  local options = configured()
  started_with = signature(options)
  require("pairside.process").restart()
end

--- Whether agents are served.
---@return boolean
function M.is_running()
  local process = package.loaded["pairside.process"]
  return process ~= nil and process.hello ~= nil
end

--- What `pairside status --json` prints, as it was last told; `{ running = false }` while nothing is known.
--- It does not wait for anything.
---@return table
function M.status()
  if not M.is_running() then
    return { running = false }
  end
  local hello = require("pairside.process").hello
  return vim.deepcopy(snapshot)
    or { running = true, pid = hello.pid, port = hello.port, version = hello.version, lock_file = hello.lock_file }
end

--- Accepts the proposal that is meant: the one in the current window, else the one on screen.
function M.accept()
  require("pairside.review").accept()
end

--- Rejects the proposal that is meant. A text is typed into the agent's terminal, where that is one of pairside's.
---@param text string?
function M.reject(text)
  require("pairside.review").reject(nil, text)
end

--- Goes to the next lines that the agent's latest turn changed, in this file.
---@param count integer? so many ahead
function M.next_change(count)
  require("pairside.changes").next(count)
end

--- Goes to the previous ones.
---@param count integer?
function M.prev_change(count)
  require("pairside.changes").prev(count)
end

--- Takes back what the agent's latest turn changed at the cursor.
function M.undo()
  require("pairside.changes.undo").hunk()
end

--- Puts a file, a folder or lines of a file into an agent's prompt.
---@param path string
---@param first integer? the first line, from 1
---@param last integer? the last line, itself included; without it the first one alone
---@param done fun(result?: table, failure?: string)? is told how it went; without it a failure is shown
function M.mention(path, first, last, done)
  done = done or function(_, failure)
    if failure then
      require("pairside.message").error(failure)
    end
  end
  local full = vim.fs.normalize(vim.fn.fnamemodify(path, ":p"), { expand_env = false })
  if not vim.uv.fs_stat(full) then
    vim.schedule(function()
      done(nil, ("File or directory does not exist: %s"):format(path))
    end)
    return
  end
  require("pairside.send").mention({
    path = full,
    first = first and first - 1,
    last = first and (last or first) - 1,
    context = "mention",
  }, nil, done)
end

--- A few signs for a status line: who is connected, what waits, what was written without a review. Empty while agents
--- are not served. The signs are the option `statusline`; it is made anew by the plugin whenever it changes.
---@return string
function M.statusline()
  return line
end

local function described()
  if not M.is_running() then
    return ""
  end
  local signs = require("pairside.options").values.statusline
  local facts = snapshot or {}
  local words = {}
  local function add(sign, number)
    if number and number > 0 then
      words[#words + 1] = ("%s %d"):format(sign, number)
    end
  end
  add(signs.agent, facts.client_count)
  if #words == 0 then
    words[1] = signs.idle
  end
  add(signs.review, facts.pending_reviews)
  add(signs.change, facts.unreviewed_changes)
  if facts.sharing and facts.sharing.on == false then
    words[#words + 1] = signs.muted
  end
  return table.concat(words, " ")
end

--- Looks again at what the status line says.
function M.refresh()
  local now = described()
  if now ~= line then
    line = now
    vim.schedule(function()
      vim.cmd.redrawstatus({ bang = true })
    end)
  end
end

--- Takes a snapshot of pairside; nil when the process has gone.
---@param status table?
function M.learn(status)
  snapshot = status
  M.refresh()
end

return M

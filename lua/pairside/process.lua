-- Owns the child process `pairside frontend`: its start and end, and the messages that are exchanged with it.
--
-- What comes is dispatched to `verbs` (requests, answered at once with a table) and `notices` (notifications), which the
-- other modules fill. What is sent goes through `request` and `notify`. Nothing here waits.
local message = require("pairside.message")

local M = {}

local PROTOCOL = 1
local HELLO_MS = 20000
-- After so many ends in a row that nobody asked for it is not started again. One that ran this long counts anew.
local RETRIES = 5
local RETRY_MS = { 100, 300, 1000, 2000, 4000 }
local STEADY_MS = 60000

---@type table<string, fun(params: table): table?>
M.verbs = {}
---@type table<string, fun(params: table)>
M.notices = {}
---@type "stopped"|"starting"|"running"|"failed"
M.state = "stopped"
--- What pairside answered to `hello`, while it runs.
---@type table?
M.hello = nil
--- Why it does not run, where it should.
---@type string?
M.failure = nil

-- Everything about one child. A new one is another table, so nothing that an old one still says can be mistaken.
---@type { wire: pairside.Wire, wanted: boolean, started: integer, restarting: boolean, waiting: table, broken: string?, again: boolean? }?
local child = nil
local ends = 0
local told = false
local leaving = false

-- Modules that work while the process runs, in the order in which they are switched on.
local MODULES = { "paths", "events", "documents", "diagnostics", "selection", "folders", "review", "changes" }

local function switch(on)
  for _, name in ipairs(MODULES) do
    local found, module = pcall(require, "pairside." .. name)
    local work = found and module[on and "enable" or "disable"]
    if not found then
      message.error(("pairside.%s cannot be loaded: %s"):format(name, module))
    elseif work then
      local done, problem = pcall(work)
      if not done then
        message.error(("pairside.%s: %s"):format(name, problem))
      end
    end
  end
end

local function fire(name, data)
  local found, events = pcall(require, "pairside.events")
  if found then
    events.fire(name, data)
  end
end

-- An empty Lua table could be a list or an object; what is sent is an object.
local function object(value)
  if value == nil or next(value) == nil then
    return vim.empty_dict()
  end
  return value
end

local function fail(text)
  M.failure = text
  M.state = "failed"
  message.error(text)
end

local function requested(method, params)
  local verb = M.verbs[method]
  if not verb then
    return { failure = ("this front-end does not know %s: is the plugin as new as pairside?"):format(method) }
  end
  local done, answer = pcall(verb, params or {})
  if not done then
    return { failure = tostring(answer) }
  end
  return object(answer)
end

local function notified(method, params)
  local notice = M.notices[method]
  if notice then
    local done, problem = pcall(notice, params or {})
    if not done then
      message.error(("%s: %s"):format(method, problem))
    end
  end
end

-- Whoever waits for an answer is told when there will be none.
local function abandon(one, why)
  local waiting = one.waiting
  one.waiting = {}
  for _, done in pairs(waiting) do
    done(nil, why)
  end
end

local start

local function over(one, code, signal)
  if child ~= one then
    abandon(one, "pairside has ended")
    return
  end
  local was_running = M.state == "running"
  -- First of all: what is abandoned must not be taken for an answer of a process that is there.
  child, M.hello = nil, nil
  abandon(one, "pairside has ended")
  if was_running then
    switch(false)
    require("pairside").learn(nil)
    fire("Stopped", {})
  end
  if one.again and not leaving then
    M.state = "stopped"
    M.start()
    return
  end
  if leaving or not one.wanted then
    if M.state ~= "failed" then
      M.state = "stopped"
    end
    return
  end
  if M.state == "failed" then
    return
  end
  if one.restarting then
    M.state = "stopped"
    start()
    return
  end
  local how = one.broken or (signal ~= 0 and ("signal %d"):format(signal) or ("status %d"):format(code))
  -- What it wrote before it had a log is the only word there is of it.
  local last = vim.trim(one.wire.stderr()):match("[^\n]*$")
  if last ~= "" and not one.broken then
    how = ("%s: %s"):format(how, last)
  end
  if vim.uv.now() - one.started > STEADY_MS then
    ends = 0
  end
  ends = ends + 1
  if ends > RETRIES then
    fail(("pairside ended %d times in a row (%s). To try again: :Pairside start"):format(ends, how))
    return
  end
  if not told then
    told = true
    message.warn(("pairside ended (%s) and is started again"):format(how))
  end
  M.state = "starting"
  vim.defer_fn(function()
    if child == nil and M.state == "starting" and not leaving then
      M.state = "stopped"
      start()
    end
  end, RETRY_MS[ends])
end

local function answered(one, failure, hello)
  if child ~= one then
    return
  end
  if failure then
    one.wanted = false
    fail(failure)
    one.wire.stop()
    return
  end
  if hello.protocol ~= PROTOCOL or hello.version ~= require("pairside.version") then
    message.warn(
      ("the plugin is version %s and pairside is %s: update both (:checkhealth pairside)"):format(
        require("pairside.version"),
        hello.version
      )
    )
  end
  M.hello, M.failure, M.state = hello, nil, "running"
  switch(true)
  fire("Started", { port = hello.port, version = hello.version, pid = hello.pid })
  for _, notice in ipairs(hello.notices or {}) do
    message.warn(notice)
  end
  vim.defer_fn(function()
    if child == one then
      told = false
    end
  end, STEADY_MS)
end

function start()
  local options = require("pairside.options")
  local command, missing = options.find()
  if not command then
    fail(missing)
    return
  end
  local one = { wanted = true, started = vim.uv.now(), restarting = false, waiting = {} }
  local spawned, wire = pcall(require("pairside.wire").start, command, {
    request = requested,
    notification = function(method, params)
      if child == one then
        notified(method, params)
      end
    end,
    broken = function(why)
      one.broken = ("%s does not speak the protocol: %s"):format(table.concat(command, " "), why)
    end,
    exit = function(code, signal)
      over(one, code, signal)
    end,
  })
  if not spawned then
    fail(("cannot start %s: %s"):format(command[1], wire))
    return
  end
  one.wire = wire
  child, M.state = one, "starting"
  local settings = object(options.settings())
  local version = vim.version()
  M.request("hello", {
    protocol = PROTOCOL,
    editor = { name = "Neovim", version = ("%d.%d.%d"):format(version.major, version.minor, version.patch) },
    version = require("pairside.version"),
    folders = require("pairside.folders").list(),
    settings = settings,
    demotion_seconds = math.min(options.values.visual_demotion_delay_ms / 1000, 60),
  }, function(hello, failure)
    answered(one, failure, hello)
  end)
  vim.defer_fn(function()
    if child == one and M.state == "starting" then
      one.wanted = false
      fail(("pairside does not answer: %s"):format(table.concat(command, " ")))
      wire.stop()
    end
  end, HELLO_MS)
end

--- Starts the process, unless it runs.
function M.start()
  if child == nil then
    ends, told, M.failure = 0, false, nil
    start()
  elseif not child.wanted then
    child.again = true -- the one before is about to end
  end
end

--- Ends the process: it removes its lock file, and agents are told.
function M.stop()
  local one = child
  if one == nil then
    M.state = "stopped"
    return
  end
  one.wanted, one.again = false, false
  -- The end of its input is the end; it is not killed, because it has to clean up.
  one.wire.notify("exit", vim.empty_dict())
end

--- Ends the process and starts it again, on the same port.
function M.restart()
  if child == nil then
    M.start()
  else
    child.restarting = true
    child.wire.notify("exit", { restart = true })
  end
end

--- Whether it was asked to end or to start anew, by whomever: what it says from now on belongs to its end.
---@return boolean
function M.is_ending()
  return child ~= nil and (not child.wanted or child.restarting == true)
end

--- Asks pairside. `done` is told the result or why there is none, once, from the main loop.
---@param method string
---@param params table?
---@param done fun(result?: table, failure?: string)
function M.request(method, params, done)
  local one = child
  if one == nil then
    vim.schedule(function()
      done(nil, M.failure or "pairside does not run (:Pairside start)")
    end)
    return
  end
  local token = {}
  one.waiting[token] = done
  local problem = one.wire.request(method, object(params), function(failure, result)
    local waiting = one.waiting[token]
    one.waiting[token] = nil
    if not waiting then
      return
    end
    if failure then
      waiting(nil, failure.message or vim.inspect(failure))
    else
      waiting(result)
    end
  end)
  if problem then
    one.waiting[token] = nil
    vim.schedule(function()
      done(nil, problem)
    end)
  end
end

--- Tells pairside something; nothing happens while it does not run.
---@param method string
---@param params table?
function M.notify(method, params)
  if child ~= nil and M.state == "running" then
    child.wire.notify(method, object(params))
  end
end

--- Whether a notification has come already that is dispatched after what is dispatched now.
---@param method string
---@param test fun(params: table): boolean
---@return boolean
function M.ahead(method, test)
  return child ~= nil and child.wire.ahead(method, test)
end

M.notices["stopping"] = function()
  if child then
    child.wanted = false
  end
  message.info("pairside was stopped from outside. To start it again: :Pairside start")
end

M.notices["status"] = function(status)
  require("pairside").learn(status)
end

M.notices["restarting"] = function()
  if child then
    child.restarting = true
  end
end

vim.api.nvim_create_autocmd("VimLeavePre", {
  group = vim.api.nvim_create_augroup("pairside_process", {}),
  callback = function()
    leaving = true
  end,
})

return M

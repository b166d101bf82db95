-- Owns `:checkhealth pairside`: whether what pairside needs is there, what it does, and doctor's two questions.
local M = {}

local health = vim.health

local DOCTOR_MS = 8000

local function neovim()
  local version = vim.version()
  local text = ("Neovim %d.%d.%d"):format(version.major, version.minor, version.patch)
  if vim.fn.has("nvim-0.11") == 1 then
    health.ok(text)
  else
    health.error(text, "pairside needs Neovim 0.11 or newer")
  end
  local conflict = require("pairside.compatibility").conflict()
  if conflict then
    health.warn(conflict)
  end
end

local function options()
  local found = require("pairside.options")
  if #found.complaints == 0 then
    health.ok("Every option fits")
  end
  for _, complaint in ipairs(found.complaints) do
    health.warn(complaint)
  end
end

local function program()
  local command, missing = require("pairside.options").find()
  if not command then
    health.error(missing)
    return false
  end
  health.ok(("The program: %s"):format(table.concat(command, " ")))
  return true
end

local function process()
  local found = require("pairside.process")
  local plugin = require("pairside.version")
  local hello = found.hello
  if not hello then
    local text = ("pairside does not run (%s)"):format(found.state)
    if found.state == "failed" then
      health.error(("%s: %s"):format(text, found.failure or "?"))
    else
      health.warn(text, ":Pairside start")
    end
    return
  end
  health.ok(("pairside runs on port %d (pid %d)"):format(hello.port, hello.pid))
  if hello.version == plugin then
    health.ok(("Plugin and pairside are both %s"):format(plugin))
  else
    health.error(
      ("The plugin is %s, and pairside is %s"):format(plugin, hello.version),
      "Update both; where pairside is in the plugin's own folder: :Pairside install"
    )
  end
  if vim.uv.fs_stat(hello.lock_file) then
    health.ok(("Lock file: %s"):format(hello.lock_file))
  else
    health.error(("The lock file is gone: %s"):format(hello.lock_file), ":Pairside restart")
  end
end

local function agents()
  local status = require("pairside").status()
  if not status.running then
    return
  end
  local report = require("pairside.report")
  if status.client_count == 0 then
    health.info("No agent is connected")
  end
  for _, client in ipairs(status.clients) do
    health.ok(report.client(client))
  end
  for _, one in ipairs(vim.list_slice(status.departures, math.max(1, #status.departures - 2))) do
    health.info(("Left: %s"):format(report.departure(one)))
  end
  health.info(("Pending reviews: %d, changes without a review: %d"):format(
    status.pending_reviews,
    status.unreviewed_changes
  ))
  for _, line in ipairs(report.sharing(status.sharing)) do
    health.info(line)
  end
  for _, notice in ipairs(status.notices) do
    health.warn(notice)
  end
end

local function terminals()
  local provider = require("pairside.options").values.terminal.provider
  health.info(("Terminal provider: %s"):format(type(provider) == "table" and "a table of your own" or provider))
  if provider == "snacks" and not require("pairside.terminal.snacks").available() then
    health.warn("snacks.nvim is not there: Neovim's own terminal is used")
  end
  local launch, problem = require("pairside.terminal.launch").prepare({}, nil)
  if not launch then
    health.error(problem)
  elseif provider ~= "none" then
    if vim.fn.executable(launch.argv[1]) == 1 then
      health.ok(("The agent: %s"):format(table.concat(launch.argv, " ")))
    else
      health.warn(("%s cannot be run"):format(launch.argv[1]), "Install it, or name another: terminal_cmd")
    end
  end
end

local function changes()
  if vim.fn.executable("git") == 1 then
    health.ok("git is there: what commands of agents change is noticed in git work trees")
  else
    health.warn("git is missing: what commands of agents change is not noticed")
  end
end

local SAY = { ok = "ok", warn = "warn", fail = "error" }

local function doctor()
  local questions, failure
  local running = require("pairside.doctor").ask(function(...)
    questions, failure = ...
  end)
  -- This page is made at once, so it is waited for; everything else goes on meanwhile.
  if running then
    vim.wait(DOCTOR_MS, function()
      return questions ~= nil or failure ~= nil
    end, 20)
  end
  if not questions then
    health.warn(failure or "pairside doctor does not answer")
    return
  end
  for _, question in ipairs(questions) do
    health.start(("pairside: %s"):format(question.text))
    for _, check in ipairs(question.checks) do
      health[SAY[check.state]](check.text, check.fix)
    end
  end
end

--- Called by `:checkhealth`.
function M.check()
  health.start("pairside: the plugin")
  neovim()
  options()
  local found = program()
  health.start("pairside: the process")
  process()
  agents()
  changes()
  health.start("pairside: terminals")
  terminals()
  if found then
    doctor()
  end
end

return M

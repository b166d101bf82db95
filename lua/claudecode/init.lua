-- Owns the functions of claudecode.nvim under their names, so that configurations and plugins written for it go on
-- working. Where that plugin is installed too, its own are given.
local other = require("pairside.compatibility").other("claudecode")
if other ~= nil then
  return other
end

local M = {}

local function pairside()
  return require("pairside")
end

--- Its version, as claudecode.nvim told its own.
M.version = (function()
  local text = require("pairside.version")
  local major, minor, patch, prerelease = text:match("^(%d+)%.(%d+)%.(%d+)[-.]?(.*)$")
  return {
    major = tonumber(major),
    minor = tonumber(minor),
    patch = tonumber(patch),
    prerelease = prerelease ~= "" and prerelease or nil,
    string = function()
      return text
    end,
  }
end)()

--- What is so now; `server` is true while agents are served.
M.state = setmetatable({}, {
  __index = function(_, name)
    local hello = require("pairside.process").hello
    if name == "config" then
      return require("pairside.options").values
    elseif name == "port" then
      return hello and hello.port
    elseif name == "server" then
      return hello and require("claudecode.server.init") or nil
    elseif name == "initialized" then
      return require("pairside.options").is_set_up
    end
  end,
})

--- Takes a configuration of claudecode.nvim as it is.
---@param options table?
---@return table
function M.setup(options)
  pairside().setup(options)
  return M
end

---@param show_message boolean? (true) has no effect: a start that fails is told
---@return boolean started
---@return integer|string? port the port, where pairside runs; else why it does not
function M.start(show_message)
  local process = require("pairside.process")
  if process.hello then
    return false, "Already running"
  end
  pairside().start()
  return process.state ~= "failed", process.failure
end

---@return boolean stopped
---@return string? problem
function M.stop()
  if require("pairside.process").state == "stopped" then
    return false, "Not running"
  end
  pairside().stop()
  return true
end

--- Whether an agent is connected.
---@return boolean
function M.is_claude_connected()
  return (pairside().status().client_count or 0) > 0
end

--- Mentions a file or lines of it.
---@param path string
---@param first integer? the first line, from 0
---@param last integer? the last line, itself included
---@param context string? who asks; listeners of the event are told
---@return boolean accepted
---@return string? problem
function M.send_at_mention(path, first, last, context)
  if not pairside().is_running() then
    return false, "Claude Code integration is not running"
  end
  local full = vim.fs.normalize(vim.fn.fnamemodify(path, ":p"), { expand_env = false })
  local stat = vim.uv.fs_stat(full)
  if not stat then
    return false, ("path does not exist: %s"):format(path)
  elseif stat.type == "directory" then
    first = nil
  end
  require("pairside.send").all({
    { path = full, first = first, last = first and (last or first), context = context or "unknown" },
  })
  return true
end

--- Does nothing: mentions that wait are delivered as soon as an agent listens.
function M.process_mention_queue() end

--- Lets the person choose a model, and starts the agent with it.
---@param arguments string?
function M.open_with_model(arguments)
  require("pairside.terminal").select_model("", arguments)
end

---@return { version: string, major: integer, minor: integer, patch: integer, prerelease: string? }
function M.get_version()
  local version = M.version
  return {
    version = version.string(),
    major = version.major,
    minor = version.minor,
    patch = version.patch,
    prerelease = version.prerelease,
  }
end

return M

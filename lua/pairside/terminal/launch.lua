-- Owns how an agent is started: its command line, its environment and its folder.
local message = require("pairside.message")
local words = require("pairside.words")

local M = {}

-- What Neovim itself leaves out of a terminal's environment, unless it is told the whole of it.
local NOT_PASSED = { "COLUMNS", "LINES", "TERMCAP", "COLORFGBG", "COLORTERM", "TERM", "VIM", "VIMRUNTIME" }

---@class pairside.Launch
---@field argv string[]
---@field program string the name of the agent's program
---@field cwd string?
---@field set table<string, string> what its environment has beside ours
---@field unset string[] what it does not have

local function folder(name, path)
  if type(path) ~= "string" or path == "" then
    return nil
  end
  local expanded = vim.fn.fnamemodify(vim.fs.normalize(path, { expand_env = false }), ":p")
  expanded = #expanded > 1 and expanded:gsub("/+$", "") or expanded
  if vim.fn.isdirectory(expanded) == 0 then
    message.warn(("%s: there is no folder %s"):format(name, path))
    return nil
  end
  return expanded
end

--- Where the agent is started; nil for Neovim's own folder.
---@return string?
function M.cwd()
  local options = require("pairside.options").values.terminal
  local file
  local buffer = vim.api.nvim_get_current_buf()
  if require("pairside.paths").is_file(buffer) then
    file = vim.api.nvim_buf_get_name(buffer)
  end
  local here = vim.fn.getcwd()
  local file_dir = file and vim.fs.dirname(file)
  if options.cwd_provider then
    local done, path = pcall(options.cwd_provider, { file = file, file_dir = file_dir, cwd = here })
    if not done then
      message.error(("terminal.cwd_provider failed: %s"):format(path))
    end
    local found = done and folder("terminal.cwd_provider", path)
    if found then
      return found
    end
  end
  local found = folder("terminal.cwd", options.cwd)
  if found then
    return found
  end
  if options.git_repo_cwd then
    return vim.fs.root(file_dir and vim.uv.fs_stat(file_dir) and file_dir or here, ".git")
  end
end

--- How an agent is started with these arguments; nil and why if that cannot be said.
---@param args string[]
---@param cwd string?
---@return pairside.Launch?
---@return string? problem
function M.prepare(args, cwd)
  local options = require("pairside.options").values
  local argv, problem = words.split(options.terminal_cmd or "claude")
  if not argv then
    return nil, ("terminal_cmd: %s"):format(problem)
  end
  if #argv == 0 then
    return nil, "terminal_cmd is empty"
  end
  vim.list_extend(argv, args)
  local program = vim.fs.basename(argv[1])
  local hello = require("pairside.process").hello
  local known = hello and hello.environment or {}
  local given = known[program] or known.claude or {}
  local set = {}
  if program == "claude" or not known[program] then
    -- Claude Code then looks for an IDE by itself for half a minute: it finds a pairside that starts later.
    set.FORCE_CODE_TERMINAL = "true"
  end
  local unset = {}
  for name, value in pairs(given.set or {}) do
    set[name] = value
  end
  for _, name in ipairs(given.unset or {}) do
    unset[name] = true
  end
  for name, value in pairs(options.env or {}) do
    set[name], unset[name] = value, nil
  end
  -- Who names hosts that need no proxy means these as well, not instead.
  for _, name in ipairs({ "no_proxy", "NO_PROXY" }) do
    local own, ours = (options.env or {})[name], (given.set or {})[name]
    if own and ours then
      set[name] = M.hosts(ours, own)
    end
  end
  return { argv = argv, program = program, cwd = cwd, set = set, unset = vim.tbl_keys(unset) }
end

--- Two lists of hosts as one: trimmed, in order, each once.
---@param ... string
---@return string
function M.hosts(...)
  local found, seen = {}, {}
  for _, list in ipairs({ ... }) do
    for host in list:gmatch("[^%s,]+") do
      if not seen[host] then
        seen[host] = true
        found[#found + 1] = host
      end
    end
  end
  return table.concat(found, ",")
end

--- What `jobstart` is told beside the command line.
---@param launch pairside.Launch
---@param pty boolean whether it runs in a terminal of Neovim
---@return table
function M.options(launch, pty)
  local env, clear = launch.set, nil
  local present = vim.tbl_filter(function(name)
    return vim.env[name] ~= nil
  end, launch.unset)
  if #present > 0 then
    -- A variable can only be taken away by telling all the others.
    clear = true
    env = vim.fn.environ()
    for _, name in ipairs(present) do
      env[name] = nil
    end
    if pty then
      for _, name in ipairs(NOT_PASSED) do
        env[name] = nil
      end
      if vim.o.termguicolors then
        env.COLORTERM = "truecolor"
      end
    end
    for name, value in pairs(launch.set) do
      env[name] = value
    end
  end
  return { cwd = launch.cwd, env = next(env) and env or nil, clear_env = clear }
end

return M

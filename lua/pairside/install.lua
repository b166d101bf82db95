-- Owns `:Pairside install`: pairside in a `.venv` of the plugin's own, made by `make` in the background.
local message = require("pairside.message")

local M = {}

local TIMEOUT_MS = 600000

---@type vim.SystemObj?
local running = nil

-- Of what make and pip say the last line that names a cause.
local function cause(result)
  if result.signal == 15 or result.code == 124 then
    return ("nothing came of it within %d minutes"):format(TIMEOUT_MS / 60000)
  end
  local told = vim.split(vim.trim(result.stderr or ""), "\n", { plain = true })
  for at = #told, 1, -1 do
    if told[at]:find("^%s*ERROR: ") then
      return vim.trim(told[at])
    end
  end
  for at = #told, 1, -1 do
    if told[at] ~= "" and not told[at]:find("^make[:%[]") and not told[at]:find("^%[notice%]") then
      return told[at]
    end
  end
  return told[#told] ~= "" and told[#told] or ("status %d"):format(result.code)
end

--- Makes the tags of `:help pairside`, unless they are there. Plugin managers do that, packages do not.
function M.tags()
  local folder = require("pairside.options").root() .. "/doc"
  if not vim.uv.fs_stat(folder .. "/tags") and vim.uv.fs_access(folder, "W") then
    pcall(vim.cmd.helptags, { folder, magic = { file = false, bar = false } })
  end
end

--- Installs, and starts pairside then. What comes of it is told.
function M.run()
  if running then
    message.info("pairside is being installed already")
    return
  end
  if vim.fn.executable("make") == 0 then
    message.error("make is not found, and :Pairside install needs it")
    return
  end
  local root = require("pairside.options").root()
  message.info(("installing pairside into %s/.venv, this takes a moment"):format(vim.fn.fnamemodify(root, ":~")))
  local begun, problem = pcall(
    vim.system,
    { "make", "--no-print-directory", "install" },
    { cwd = root, text = true, timeout = TIMEOUT_MS },
    vim.schedule_wrap(function(result)
      running = nil
      if result.code ~= 0 then
        message.error(("pairside could not be installed: %s"):format(cause(result)))
        return
      end
      message.info("pairside is installed")
      M.tags()
      local pairside = require("pairside")
      if pairside.is_running() then
        pairside.restart()
      else
        pairside.start()
      end
    end)
  )
  if begun then
    running = problem
  else
    message.error(("make cannot be started: %s"):format(problem))
  end
end

return M

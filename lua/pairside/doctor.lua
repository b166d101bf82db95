-- Owns the two questions of `pairside doctor`, asked for an agent that would be started in a terminal here: does it
-- find this Neovim, and does it ask for reviews.
local M = {}

local TIMEOUT_MS = 10000

---@class pairside.Question
---@field text string the question and its answer
---@field checks { state: "ok"|"warn"|"fail", text: string, fix: string? }[]

-- What `pairside doctor` prints: the answers are its own.
---@return pairside.Question[]
local function read(text)
  local questions = {}
  for line in vim.gsplit(text, "\n", { plain = true }) do
    local state, found = line:match("^  (%l+)%s+(.+)$")
    local fix = line:match("^%s+Fix: (.+)$")
    local last = questions[#questions]
    if last and fix then
      last.checks[#last.checks].fix = fix
    elseif last and state then
      last.checks[#last.checks + 1] = { state = state, text = found }
    elseif line:find("^%S.*%? ") then
      questions[#questions + 1] = { text = line, checks = {} }
    end
  end
  return questions
end

-- In Neovim an agent is put into another mode by other means than in a shell.
local function for_neovim(questions)
  local command = require("pairside.options").values.terminal_cmd or ""
  for _, question in ipairs(questions) do
    for _, check in ipairs(question.checks) do
      if check.fix and check.fix:find("--review", 1, true) then
        check.fix = ":Pairside toggle --permission-mode manual, or the same in the option terminal_cmd, "
          .. "or Shift-Tab in the agent until it shows manual mode"
        if command:find("%-%-permission%-mode[%s=]+manual") then
          check.state = "ok"
          question.text = question.text:gsub("%? No, unless.*$", "? Yes, one that :Pairside starts.")
        end
      end
    end
  end
  return questions
end

--- Asks in the background.
---@param done fun(questions?: pairside.Question[], failure?: string)
---@return vim.SystemObj? running
function M.ask(done)
  local process = require("pairside.process")
  local words = { "doctor" }
  if process.hello then
    vim.list_extend(words, { "--port", tostring(process.hello.port) })
  end
  local command, missing = require("pairside.options").command(unpack(words))
  if not command then
    done(nil, missing)
    return nil
  end
  local launch = require("pairside.terminal.launch")
  local prepared = launch.prepare({}, launch.cwd())
  local how = prepared and launch.options(prepared, false) or {}
  local begun, running = pcall(
    vim.system,
    command,
    { text = true, timeout = TIMEOUT_MS, cwd = how.cwd, env = how.env, clear_env = how.clear_env },
    vim.schedule_wrap(function(result)
      local questions = read(result.stdout or "")
      if #questions > 0 then
        done(for_neovim(questions))
      else
        local why = vim.trim(result.stderr or ""):match("[^\n]*$")
        done(nil, ("pairside doctor failed: %s"):format(why ~= "" and why or ("status %d"):format(result.code)))
      end
    end)
  )
  if not begun then
    done(nil, ("pairside doctor cannot be started: %s"):format(running))
    return nil
  end
  return running
end

--- The answers as lines; what is well is left out.
---@param questions pairside.Question[]
---@return string[]
function M.lines(questions)
  local lines = {}
  for _, question in ipairs(questions) do
    lines[#lines + 1] = question.text
    for _, check in ipairs(question.checks) do
      if check.state ~= "ok" then
        lines[#lines + 1] = ("  %s"):format(check.text)
        if check.fix then
          lines[#lines + 1] = ("    Fix: %s"):format(check.fix)
        end
      end
    end
  end
  return lines
end

return M

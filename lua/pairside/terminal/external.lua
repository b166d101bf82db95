-- Owns agents in terminals outside of Neovim: the command that opens one.
local words = require("pairside.words")

local M = { name = "external", embedded = false }

M.why = "the agent runs in a terminal of its own, outside of Neovim"

local function template()
  return require("pairside.options").values.terminal.provider_opts.external_terminal_cmd
end

--- Whether there is a command, and else what is missing.
---@return boolean
---@return string? problem
function M.available()
  local given = template()
  if type(given) == "string" then
    local _, places = given:gsub("%%s", "")
    if places < 1 or places > 2 then
      return false,
        "terminal.provider_opts.external_terminal_cmd takes %s once (the command) or twice (the folder, the command)"
    end
    return true
  end
  if vim.is_callable(given) then
    return true
  end
  return false, "terminal.provider_opts.external_terminal_cmd does not say how to open a terminal"
end

-- A word that is %s and nothing else becomes as many words as there are. Inside of a longer word, where a shell or the
-- like reads on, it becomes one text.
local function filled(given, launch)
  local parsed, problem = words.parse(given)
  if not parsed then
    return nil, ("terminal.provider_opts.external_terminal_cmd: %s"):format(problem)
  end
  local _, places = given:gsub("%%s", "")
  local values = places == 2 and { { launch.cwd or vim.fn.getcwd() }, launch.argv } or { launch.argv }
  local argv, at = {}, 0
  for _, word in ipairs(parsed) do
    if word.text == "%s" and not word.quoted then
      at = at + 1
      vim.list_extend(argv, values[at])
    else
      local is_script = word.text:find("%s") ~= nil
      argv[#argv + 1] = word.text:gsub("%%s", function()
        at = at + 1
        local value = values[at]
        return #value == 1 and not is_script and value[1] or words.join(value)
      end)
    end
  end
  return argv
end

--- The command line that opens a terminal with an agent in it.
---@param launch pairside.Launch
---@return string[]? argv
---@return string? problem
function M.argv(launch)
  local given = template()
  if type(given) == "string" then
    return filled(given, launch)
  end
  local done, made = pcall(given, words.join(launch.argv), vim.deepcopy(launch.set))
  if not done then
    return nil, ("terminal.provider_opts.external_terminal_cmd failed: %s"):format(made)
  end
  if type(made) == "string" then
    return words.split(made)
  end
  if type(made) ~= "table" or #made == 0 or not vim.iter(made):all(function(word)
    return type(word) == "string"
  end) then
    return nil, "terminal.provider_opts.external_terminal_cmd returned neither a text nor a list of texts"
  end
  return made
end

return M

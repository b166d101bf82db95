-- Owns what happens at Neovim's start: the commands, which load the rest when they are used, and the start of pairside,
-- which waits until the first screen has been drawn.
if vim.g.loaded_pairside then
  return
end
vim.g.loaded_pairside = 1

if vim.fn.has("nvim-0.11") == 0 then
  vim.schedule(function()
    vim.notify("pairside needs Neovim 0.11 or newer", vim.log.levels.ERROR)
  end)
  return
end

local function define(name, subcommand, attributes)
  attributes.desc = ("pairside: %s"):format(subcommand or "serve agents")
  vim.api.nvim_create_user_command(name, function(call)
    require("pairside.command").run(call, subcommand)
  end, attributes)
end

define("Pairside", nil, {
  nargs = "*",
  bang = true,
  range = true,
  complete = function(lead, line, position)
    return require("pairside.command").complete(lead, line, position)
  end,
})

local function complete_files(lead)
  return require("pairside.command").complete_files(lead)
end

-- The commands of claudecode.nvim. Where that plugin is there too, they are its own.
for name, alias in pairs({
  ClaudeCode = { "toggle", nargs = "*" },
  ClaudeCodeFocus = { "focus", nargs = "*" },
  ClaudeCodeOpen = { "open", nargs = "*" },
  ClaudeCodeClose = { "close", nargs = 0 },
  ClaudeCodeSendText = { "send-text", nargs = "+", bang = true },
  ClaudeCodeSelectModel = { "select-model", nargs = "*" },
  ClaudeCodeAdd = { "add", nargs = "+", complete = complete_files },
  ClaudeCodeSend = { "send", nargs = 0, range = true },
  ClaudeCodeTreeAdd = { "tree-add", nargs = 0, range = true },
  ClaudeCodeDiffAccept = { "accept", nargs = 0 },
  ClaudeCodeDiffDeny = { "reject", nargs = 0 },
  ClaudeCodeCloseAllDiffs = { "close-reviews", nargs = 0 },
  ClaudeCodeStart = { "start", nargs = 0 },
  ClaudeCodeStop = { "stop", nargs = 0 },
  ClaudeCodeStatus = { "status", nargs = 0 },
}) do
  if vim.fn.exists(":" .. name) ~= 2 then
    local subcommand = table.remove(alias, 1)
    define(name, subcommand, alias)
  end
end

local function entered()
  vim.schedule(function()
    require("pairside").entered()
  end)
end

if vim.v.vim_did_enter == 1 then
  entered()
else
  vim.api.nvim_create_autocmd("VimEnter", {
    group = vim.api.nvim_create_augroup("pairside_start", {}),
    once = true,
    desc = "pairside: start after the first redraw",
    callback = entered,
  })
end

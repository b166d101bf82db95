-- Owns `:Pairside`: its subcommands, what they take, and how they are completed. The commands of claudecode.nvim are
-- the same subcommands by other names.
local message = require("pairside.message")

local M = {}

-- A call of a command, as Neovim tells it, and what is left of it for the subcommand.
---@class pairside.Call
---@field args string what follows the subcommand, as typed
---@field bang boolean
---@field range integer[]? the first and the last line, from 1
---@field alias string? the other name by which it was called

---@class pairside.Subcommand
---@field run fun(call: pairside.Call)
---@field complete? fun(lead: string, before: string[]): string[] `before` are the arguments that are typed already
---@field summary string

---@type table<string, pairside.Subcommand>
local SUBCOMMANDS = {}

local function pairside()
  return require("pairside")
end

local function process()
  return require("pairside.process")
end

-- Words that begin like what is typed.
local function starting(lead, words)
  return vim.tbl_filter(function(word)
    return vim.startswith(word, lead)
  end, words)
end

local function one_of(words)
  return function(lead, before)
    return #before == 0 and starting(lead, words) or {}
  end
end

-- One of a few words as the only argument; nil and an error if it is something else. Without an argument nil alone.
local function chosen(call, name, words)
  local word = vim.trim(call.args)
  if word == "" then
    return nil, true
  end
  if vim.tbl_contains(words, word) then
    return word, true
  end
  local meant = require("pairside.nearest").to(word, words)
  local guess = meant and (": did you mean %s?"):format(meant) or ""
  message.error((":Pairside %s takes %s%s"):format(name, table.concat(words, ", "), guess))
  return nil, false
end

-- Calls back once with the data of an event, unless another command of this kind comes first.
local function once(event, act)
  vim.api.nvim_create_autocmd("User", {
    group = vim.api.nvim_create_augroup("pairside_command", { clear = true }),
    pattern = "Pairside" .. event,
    once = true,
    callback = function(told)
      act(told.data or {})
    end,
  })
end

-- A page with what pairside answers.
local function ask(title, method, params, lines, how)
  require("pairside.page").open(title, function(show)
    process().request(method, params, function(result, failure)
      show(result and lines(result) or { failure })
    end)
  end, how)
end

-- Serving

local function tell_started(hello)
  message.info(("pairside serves agents on port %d"):format(hello.port))
end

SUBCOMMANDS["start"] = {
  summary = "serve agents",
  run = function()
    local hello = process().hello
    if hello then
      message.info(("pairside serves agents already, on port %d"):format(hello.port))
      return
    end
    once("Started", tell_started)
    pairside().start()
  end,
}

SUBCOMMANDS["stop"] = {
  summary = "serve agents no more",
  run = function()
    if process().state ~= "running" and process().state ~= "starting" then
      message.info("pairside does not run")
    else
      once("Stopped", function()
        message.info("pairside has stopped")
      end)
    end
    pairside().stop()
  end,
}

SUBCOMMANDS["restart"] = {
  summary = "start pairside anew, on the same port",
  run = function()
    once("Started", tell_started)
    pairside().restart()
  end,
}

SUBCOMMANDS["status"] = {
  summary = "show what pairside does, who is connected, what waits",
  run = function()
    local report = require("pairside.report")
    require("pairside.page").open("pairside status", function(show)
      local state, answers
      local function tell()
        local lines = vim.list_extend({}, state or { "…" })
        lines[#lines + 1] = ""
        show(vim.list_extend(lines, answers or { "pairside doctor is asked …" }))
      end
      if process().state == "running" then
        process().request("status", nil, function(status)
          state = report.status(status)
          tell()
        end)
      else
        state = report.status(nil)
      end
      tell()
      local doctor = require("pairside.doctor")
      doctor.ask(function(questions, failure)
        answers = questions and doctor.lines(questions) or { failure }
        tell()
      end)
    end)
  end,
}

SUBCOMMANDS["health"] = {
  summary = "look whether everything is as it should be",
  run = function()
    vim.cmd.checkhealth("pairside")
  end,
}

SUBCOMMANDS["install"] = {
  summary = "install pairside into the plugin's own folder",
  run = function()
    require("pairside.install").run()
  end,
}

SUBCOMMANDS["log"] = {
  summary = "show what happened lately",
  complete = one_of({ "wire" }),
  run = function(call)
    local word, fits = chosen(call, "log", { "wire" })
    if fits then
      ask("pairside log", "log", { wire = word == "wire" }, require("pairside.report").log)
    end
  end,
}

SUBCOMMANDS["messages"] = {
  summary = "show what pairside said, in full",
  run = function()
    require("pairside.page").open("pairside messages", function(show)
      show(require("pairside.report").messages(message.history))
    end)
  end,
}

-- Terminals

local function terminal()
  return require("pairside.terminal")
end

local function terminal_names(lead, before)
  if #before > 0 then
    return {}
  end
  local names = {}
  for _, one in ipairs(terminal().status()) do
    if one.name ~= "" then
      names[#names + 1] = one.name
    end
  end
  return starting(lead, names)
end

-- The name of a terminal, where the first word is one and no option, and the rest as it was typed. The commands of
-- claudecode.nvim have no names: there everything is for the agent.
local function addressed(call)
  local name, rest = call.args:match("^%s*([^%s%-'\"\\][^%s'\"\\]*)%s*(.*)$")
  if call.alias or not name then
    return "", call.args
  end
  return name, rest
end

for name, act in pairs({
  toggle = { "toggle", "show the agent's terminal, or hide it" },
  focus = { "focus_toggle", "go to the agent's terminal, or hide it from there" },
  open = { "open", "show the agent's terminal and go there" },
  ["select-model"] = { "select_model", "choose a model, and start the agent with it" },
}) do
  SUBCOMMANDS[name] = {
    summary = act[2],
    complete = terminal_names,
    run = function(call)
      local which, args = addressed(call)
      terminal()[act[1]](which, args)
    end,
  }
end

SUBCOMMANDS["close"] = {
  summary = "end the agent in a terminal, and close its windows",
  complete = terminal_names,
  run = function(call)
    local name = vim.trim(call.args)
    if name == "" then
      name = terminal().current() or ""
    end
    terminal().close(name)
  end,
}

-- The terminal that is meant where none is named: the one that the person is in, else the only one, else the
-- unnamed one.
local function intended_terminal()
  local here = terminal().current()
  if here then
    return here
  end
  local all = vim.tbl_filter(function(one)
    return one.running
  end, terminal().status())
  return #all == 1 and all[1].name or ""
end

SUBCOMMANDS["send-text"] = {
  summary = "type a text into the agent's prompt; with ! without Enter",
  run = function(call)
    if vim.trim(call.args) == "" then
      message.error("there is no text to type")
      return
    end
    require("pairside.send").text(call.args, not call.bang, intended_terminal())
  end,
}

-- Sending

local function prompt_of(call)
  local prompt = vim.trim(call.args)
  return prompt ~= "" and prompt or nil
end

SUBCOMMANDS["send"] = {
  summary = "mention what is selected, and type a text behind it; with ! without Enter",
  run = function(call)
    require("pairside.send").selection(call.range, prompt_of(call), not call.bang)
  end,
}

SUBCOMMANDS["choose"] = {
  summary = "the same, for an agent that you choose",
  run = function(call)
    require("pairside.send").choose(call.range, prompt_of(call), not call.bang)
  end,
}

--- Completes names of files as `add` reads them.
---@param lead string
---@return string[]
function M.complete_files(lead)
  local found = vim.fn.getcompletion((lead:gsub("^['\"]", ""):gsub("\\(.)", "%1")), "file")
  return vim.tbl_map(function(name)
    return vim.fn.escape(name, " \t\\'\"")
  end, found)
end

SUBCOMMANDS["add"] = {
  summary = "mention a file, a folder or lines of a file; with ! also what is not shared",
  complete = function(lead, before)
    return #before == 0 and M.complete_files(lead) or {}
  end,
  run = function(call)
    require("pairside.send").add(call.args, { command = call.alias or "Pairside add", force = call.bang })
  end,
}

SUBCOMMANDS["tree-add"] = {
  summary = "mention the files that are meant in a file tree",
  run = function(call)
    require("pairside.send").tree(call.range)
  end,
}

-- Reviews

local function review()
  return require("pairside.review")
end

local function pending_ids(lead, before)
  if #before > 0 then
    return {}
  end
  return starting(
    lead,
    vim.tbl_map(function(one)
      return tostring(one.id)
    end, review().pending())
  )
end

-- Of the commands that take the number of a review.
local function with_id(name, act)
  return function(call)
    local text = vim.trim(call.args)
    local id = text:find("^%d+$") and tonumber(text) or nil
    if text ~= "" and not id then
      message.error((":Pairside %s takes the number of a proposal, or nothing"):format(name))
      return
    end
    act(id)
  end
end

SUBCOMMANDS["accept"] = {
  summary = "accept the proposal on screen",
  complete = pending_ids,
  run = with_id("accept", function(id)
    review().accept(id)
  end),
}

SUBCOMMANDS["reject"] = {
  summary = "reject the proposal on screen, and tell the agent what to do instead",
  run = function(call)
    pairside().reject(prompt_of(call))
  end,
}

SUBCOMMANDS["review"] = {
  summary = "show a proposal that waits",
  complete = pending_ids,
  run = with_id("review", function(id)
    review().show(id)
  end),
}

SUBCOMMANDS["close-reviews"] = {
  summary = "reject every pending proposal",
  run = function()
    review().close_all()
  end,
}

SUBCOMMANDS["hunk"] = {
  summary = "leave the hunk at the cursor out of the proposal, or take it in again",
  run = function()
    review().toggle_hunk()
  end,
}

local LAYOUTS = { "vertical", "horizontal", "unified" }
SUBCOMMANDS["layout"] = {
  summary = "show the proposal on screen in another layout",
  complete = one_of(LAYOUTS),
  run = function(call)
    local layout, fits = chosen(call, "layout", LAYOUTS)
    if fits then
      review().toggle_layout(layout)
    end
  end,
}

-- A switch that pairside keeps: it is asked how it is, and told how it is to be.
local function switch(name, words, method, value, told)
  SUBCOMMANDS[name].complete = one_of(words)
  SUBCOMMANDS[name].run = function(call)
    local word, fits = chosen(call, name, words)
    if not fits then
      return
    end
    local function done(result, failure)
      if result then
        message.info(told(result))
      else
        message.error(failure)
      end
    end
    if word == "toggle" then
      process().request(method, nil, function(result, failure)
        if result then
          process().request(method, value(nil, result), done)
        else
          message.error(failure)
        end
      end)
    elseif word or name == "review-where" then
      process().request(method, word and value(word, nil), done)
    else
      ask("pairside share", method, nil, require("pairside.report").shared)
    end
  end
end

SUBCOMMANDS["review-where"] = { summary = "say where proposals are reviewed" }
switch("review-where", { "here", "terminal", "toggle" }, "review/where", function(word, now)
  return { where = word or (now.where == "here" and "terminal" or "here") }
end, function(result)
  return result.where == "here" and "proposals are reviewed here"
    or "proposals are left to the agents' own terminals (:Pairside review-where here)"
end)

SUBCOMMANDS["share"] = { summary = "show what agents are told, or turn that on or off" }
switch("share", { "on", "off", "toggle" }, "share", function(word, now)
  if now then
    return { on = not now.on }
  end
  return { on = word == "on" }
end, function(result)
  return result.on and "sharing is on"
    or "sharing is off: agents are told nothing any more (:Pairside share on)"
end)

-- What agents changed

-- The number of a turn, "all", or nothing; nil and false if it is something else.
local function which_turn(word, usage)
  if word == nil or word == "all" then
    return word, true
  end
  local number = word:find("^%d+$") and tonumber(word)
  if number and number > 0 and number < 2 ^ 31 then
    return number, true
  end
  message.error(("%s: %s is neither the number of a turn nor all"):format(usage, word))
  return nil, false
end

SUBCOMMANDS["changes"] = {
  summary = "show what agents changed, turn by turn",
  complete = function(lead, before)
    if #before == 0 then
      return starting(lead, { "all", "patch", "quickfix" })
    end
    return #before == 1 and before[1] ~= "all" and starting(lead, { "all" }) or {}
  end,
  run = function(call)
    local usage = ":Pairside changes [patch|quickfix] [N|all]"
    local words = vim.split(vim.trim(call.args), "%s+", { trimempty = true })
    local how = (words[1] == "patch" or words[1] == "quickfix") and table.remove(words, 1) or nil
    if #words > 1 then
      message.error(("it is %s"):format(usage))
      return
    end
    local turn, fits = which_turn(words[1], usage)
    if not fits then
      return
    elseif how == "quickfix" then
      require("pairside.changes.list").quickfix(turn)
    elseif how == "patch" then
      local here = vim.fn.getcwd()
      local root = require("pairside.paths").real(vim.fs.root(here, ".git") or here)
      local which = { root = root, all = turn == "all" or nil, turn = turn ~= "all" and turn or nil }
      ask("pairside changes patch", "changes/patches", which, require("pairside.report").patches, { filetype = "diff" })
    else
      require("pairside.changes.list").page(turn)
    end
  end,
}

local JUMPS = { "next", "prev", "signs" }
SUBCOMMANDS["change"] = {
  summary = "go to the next lines that the agent changed, or the previous; with ! also in other files",
  complete = one_of(JUMPS),
  run = function(call)
    local word, count = call.args:match("^%s*(%S*)%s*(%d*)%s*$")
    local wanted, fits = chosen({ args = word or call.args }, "change", JUMPS)
    if not fits then
      return
    end
    local changes = require("pairside.changes")
    if wanted == "signs" then
      message.info(changes.show_signs() and "changed lines have signs" or "changed lines have no signs any more")
    else
      changes[wanted or "next"](tonumber(count), call.bang)
    end
  end,
}

-- The real path of a file that was named in a command, else that of the file in this window.
local function file_meant(name)
  if name and name ~= "" then
    local full = name:find("^[%%#]") and vim.fn.expand(name) or name
    return require("pairside.paths").real(vim.fn.fnamemodify(full, ":p"))
  end
  local here = require("pairside.paths").of(vim.api.nvim_get_current_buf())
  if not here then
    message.error("there is no file in this window: name one")
  end
  return here
end

-- The words of a command in which blanks of names stand in quotes or behind a backslash.
local function words_of(call)
  local words, problem = require("pairside.words").split(call.args)
  if not words then
    message.error(problem)
  end
  return words
end

local UNDOS = { "file", "turn", "last" }
SUBCOMMANDS["undo"] = {
  summary = "take back what the agent changed: at the cursor, in a file, in a turn; or take the last undo back",
  complete = function(lead, before)
    if #before == 0 then
      return starting(lead, UNDOS)
    end
    return #before == 1 and before[1] == "file" and M.complete_files(lead) or {}
  end,
  run = function(call)
    local words = words_of(call)
    if not words then
      return
    end
    local what, fits = chosen({ args = words[1] or "" }, "undo", UNDOS)
    if not fits then
      return
    end
    local undo = require("pairside.changes.undo")
    if what == "file" and #words <= 2 then
      local path = file_meant(words[2])
      if path then
        undo.file(path, call.bang)
      end
    elseif what == "turn" and #words <= 2 then
      local number = words[2] and words[2]:find("^%d+$") and tonumber(words[2]) or nil
      if words[2] and not number then
        message.error((":Pairside undo turn takes the number of a turn, not %s"):format(words[2]))
      else
        undo.turn(number, call.bang)
      end
    elseif what == "last" and #words == 1 then
      undo.last()
    elseif not what then
      undo.hunk(call.range)
    else
      message.error("it is :Pairside undo [file [FILE]|turn [N]|last]")
    end
  end,
}

SUBCOMMANDS["diff"] = {
  summary = "show a file before and after what the agent changed",
  complete = function(lead, before)
    if #before == 0 then
      return vim.list_extend(starting(lead, { "turn" }), M.complete_files(lead))
    end
    return #before == 1 and before[1] ~= "turn" and starting(lead, { "turn" }) or {}
  end,
  run = function(call)
    local words = words_of(call)
    if not words then
      return
    end
    local turn
    if #words >= 2 and words[#words - 1] == "turn" and words[#words]:find("^%d+$") then
      turn = tonumber(table.remove(words))
      table.remove(words)
    end
    if #words > 1 then
      message.error("it is :Pairside diff [FILE] [turn N]")
      return
    end
    local path = file_meant(words[1])
    if path then
      require("pairside.changes.diff").file(path, turn)
    end
  end,
}

-- Dispatch

--- The subcommands and what they do, in order.
---@return { name: string, summary: string }[]
function M.all()
  local names = vim.tbl_keys(SUBCOMMANDS)
  table.sort(names)
  return vim.tbl_map(function(name)
    return { name = name, summary = SUBCOMMANDS[name].summary }
  end, names)
end

--- Runs a command.
---@param call table as Neovim tells it
---@param subcommand string? of which this is another name
function M.run(call, subcommand)
  local args, bang, alias = call.args, call.bang, nil
  if subcommand then
    alias = call.name
  else
    local word, rest = args:match("^%s*(%S+)%s?(.*)$")
    subcommand, args = word or "status", rest or ""
    if #subcommand > 1 and vim.endswith(subcommand, "!") then
      subcommand, bang = subcommand:sub(1, -2), true
    end
  end
  local found = SUBCOMMANDS[subcommand]
  if not found then
    local meant = require("pairside.nearest").to(subcommand, vim.tbl_keys(SUBCOMMANDS))
    local guess = meant and (", did you mean %s?"):format(meant) or ""
    message.error(("there is no :Pairside %s%s"):format(subcommand, guess))
    return
  end
  found.run({
    args = args,
    bang = bang,
    range = call.range and call.range > 0 and { call.line1, call.line2 } or nil,
    alias = alias,
  })
end

--- Completes `:Pairside`.
---@param lead string
---@param line string
---@param position integer
---@return string[]
function M.complete(lead, line, position)
  -- Ranges, modifiers and the bang stand before what counts here.
  local typed = line:sub(1, position):match("Pairside!?%s+(.*)$") or ""
  local before = typed:sub(1, #typed - #lead)
  local words = require("pairside.words").split(before) or vim.split(vim.trim(before), "%s+")
  if #words == 0 then
    local names = vim.tbl_keys(SUBCOMMANDS)
    table.sort(names)
    return starting(lead, names)
  end
  local found = SUBCOMMANDS[(words[1]:gsub("!$", ""))]
  return found and found.complete and found.complete(lead, vim.list_slice(words, 2)) or {}
end

return M

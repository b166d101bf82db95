-- Owns sending: files, lines and texts that the person puts into an agent's prompt.
--
-- Which agent gets a mention, and how long it waits for one, is pairside's decision; here it is found out what is meant,
-- and told what became of it.
local message = require("pairside.message")

local M = {}

-- Between a mention and a text for the same prompt, which go separate ways.
local SETTLE_MS = 150

local function terminal()
  return require("pairside.terminal")
end

---@class pairside.Mention
---@field path string as the person calls the file, absolute
---@field first integer? lines from 0
---@field last integer? the last one included
---@field context string what it comes from, for those who listen

---@class pairside.SendOptions
---@field client_id? integer only to this agent; else the one that was used last
---@field force? boolean also what is excluded from sharing
---@field prompt? string a text to type into the prompt behind it
---@field submit? boolean whether Enter is pressed behind that text
---@field quiet? boolean says nothing where it went well

-- How a mention is named to the person: lines from 1.
local function named(one)
  local name = vim.fn.fnamemodify(one.path, ":~:.")
  name = name == "" and one.path or name
  if not one.first then
    return name
  end
  return one.first == one.last and ("%s:%d"):format(name, one.first + 1)
    or ("%s:%d-%d"):format(name, one.first + 1, one.last + 1)
end

local function told(one)
  require("pairside.events").fire("SendComplete", {
    path = one.path,
    first = one.first,
    last = one.last,
    context = one.context,
  })
end

local function pid_of(client)
  return type(client.pid) == "number" and client.pid or nil
end

-- The terminal of an agent; nil if it runs elsewhere.
local function terminal_of(client)
  local pid = pid_of(client)
  return pid and terminal().of_pid(pid)
end

-- Types a text into the prompt of the agent that was told of a file.
local function type_behind(text, submit, client)
  local name = terminal_of(client)
  if not name then
    local agent = type(client.agent) == "string" and client.agent or "the agent"
    message.warn(("the text was not typed: %s does not run in a terminal of this Neovim"):format(agent))
    return
  end
  vim.defer_fn(function()
    local typed, problem = terminal().type(text, { submit = submit == true, name = name })
    if not typed then
      message.warn(("the text was not typed: %s"):format(problem))
    end
  end, SETTLE_MS)
end

-- The client that has this number, if it is still there.
local function with_client(id, done)
  require("pairside.process").request("status", nil, function(status)
    for _, client in ipairs(status and status.clients or {}) do
      if client.id == id then
        done(client)
        return
      end
    end
  end)
end

-- Mentions that wait for an agent, oldest first.
---@type { real: string, one: pairside.Mention, prompt?: string, submit?: boolean }[]
local waiting = {}

local function take_waiting(real)
  for at, one in ipairs(waiting) do
    if one.real == real then
      return table.remove(waiting, at)
    end
  end
end

-- Follows what waits until nothing does.
local function follow()
  local group = vim.api.nvim_create_augroup("pairside_send", { clear = true })
  local function on(pattern, act)
    vim.api.nvim_create_autocmd("User", {
      group = group,
      pattern = pattern,
      callback = function(event)
        act(event.data or {})
        if #waiting == 0 then
          pcall(vim.api.nvim_del_augroup_by_id, group)
        end
      end,
    })
  end
  on("PairsideMentioned", function(data)
    local found = take_waiting(data.path)
    if found then
      told(found.one)
      if found.prompt then
        with_client(data.client_id, function(client)
          type_behind(found.prompt, found.submit, client)
        end)
      end
    end
  end)
  on("PairsideMentionExpired", function(data)
    local found = take_waiting(data.path)
    if found then
      message.error(("%s was not sent: no agent came within %g s"):format(named(found.one), data.seconds))
    end
  end)
  on("PairsideStopped", function()
    for _, found in ipairs(waiting) do
      message.error(("%s was not sent: pairside ended"):format(named(found.one)))
    end
    waiting = {}
  end)
end

--- Mentions one file, folder or range of lines. `done` is told pairside's answer, or why there is none.
---@param one pairside.Mention
---@param how? pairside.SendOptions
---@param done fun(result?: table, failure?: string)
function M.mention(one, how, done)
  how = how or {}
  local real = require("pairside.paths").real(one.path)
  require("pairside.process").request("mention", {
    path = real,
    said = one.path ~= real and one.path or nil,
    first = one.first,
    last = one.last,
    client_id = how.client_id,
    force = how.force or nil,
  }, function(result, failure)
    if result and result.delivered then
      told(one)
    elseif result then
      waiting[#waiting + 1] = { real = real, one = one }
      follow()
    end
    done(result, failure)
  end)
end

local warned = false

-- The terminal of the agent that was told, or of the one that is awaited, is shown. An agent elsewhere is left alone.
local function show_agent(result)
  local options = require("pairside.options").values
  if options.focus_after_send then
    local kept = options.terminal.provider
    if (kept == "none" or kept == "external") and not warned then
      warned = true
      message.warn(
        ('focus_after_send has no effect with terminal.provider "%s": listen to User PairsideSendComplete'):format(kept)
      )
    end
  end
  local function show(name)
    if not name then
      return
    elseif options.focus_after_send then
      terminal().open(name)
    else
      terminal().ensure_visible(name)
    end
  end
  if result.delivered then
    show(terminal_of(result))
    return
  end
  -- One that has come this very moment does not listen yet: it is awaited, and no other is started.
  require("pairside.process").request("status", nil, function(status)
    local clients = status and status.clients or {}
    show(#clients == 0 and "" or vim.iter(clients):map(terminal_of):next())
  end)
end

local function unshared(failure)
  return (failure:gsub("To mention it all the same: %-%-force", "To mention it all the same: :Pairside add! FILE"))
end

-- Mentions several, one after the other, and tells what became of them.
---@param list pairside.Mention[]
---@param how? pairside.SendOptions
local function all(list, how)
  how = how or {}
  local sent, failures, last = 0, {}, nil
  local function finish()
    if #list == 1 and failures[1] then
      message.error(unshared(failures[1]))
    elseif #failures > 0 and sent == 0 then
      message.error(("Failed to add any files: %s"):format(unshared(failures[1])))
    elseif #failures > 0 then
      message.warn(("Added %d/%d files: %s"):format(sent, #list, unshared(failures[1])))
    elseif last then
      local what = #list == 1 and named(list[1]) or ("%d files"):format(sent)
      if not last.delivered then
        message.info(("%s: waits up to %g s for an agent"):format(what, last.waits_seconds or 0))
      elseif not how.quiet then
        message.info(("%s: sent to %s"):format(what, last.agent or "the agent"))
      end
    end
    if last then
      show_agent(last)
      if how.prompt and how.prompt ~= "" then
        if last.delivered then
          type_behind(how.prompt, how.submit, last)
        elseif #waiting > 0 then
          waiting[#waiting].prompt, waiting[#waiting].submit = how.prompt, how.submit
        end
      end
    end
  end
  local function step(at)
    local one = list[at]
    if not one then
      finish()
      return
    end
    M.mention(one, how, function(result, failure)
      if result then
        sent, last = sent + 1, result
      else
        failures[#failures + 1] = failure
      end
      step(at + 1)
    end)
  end
  step(1)
end

--- Mentions files, folders or lines, one after the other, tells the person how it went, and shows the agent's terminal.
---@param list pairside.Mention[]
---@param how? pairside.SendOptions
function M.all(list, how)
  all(list, how)
end

local VISUAL = "^[vV\22]"

-- The lines that are selected at this moment, from 1; Visual mode is left.
local function take_visual()
  if not vim.fn.mode():find(VISUAL) then
    return nil
  end
  local first, last = vim.fn.line("v"), vim.fn.line(".")
  vim.cmd.normal({ "\27", bang = true })
  return { math.min(first, last), math.max(first, last) }
end

-- The lines of a buffer that are meant where no range was given: those that are selected, also where Visual mode was
-- left and the cursor has not moved since, else that of the cursor.
local function standing(path, line, done)
  require("pairside.process").request("share", nil, function(result)
    local selection = result and type(result.now) == "table" and result.now.selection
    if type(selection) == "table" and selection.path == path and selection.characters > 0 then
      local first, last = selection.start[1], selection["end"][1]
      if selection["end"][2] == 0 and last > first then
        last = last - 1
      end
      if line - 1 >= first and line - 1 <= selection["end"][1] then
        done({ first + 1, last + 1 })
        return
      end
    end
    done({ line, line })
  end)
end

--- Mentions lines of the current buffer: those of `range`, else what is selected, else the line of the cursor. In a file
--- tree the files that are meant there.
---@param range? integer[] the first and the last line, from 1
---@param prompt? string a text that is typed behind the mention
---@param submit? boolean whether Enter is pressed behind it
---@param how? pairside.SendOptions
function M.selection(range, prompt, submit, how)
  how = vim.tbl_extend("force", how or {}, { prompt = prompt, submit = submit })
  local visual = take_visual()
  range = range or visual
  local buffer = vim.api.nvim_get_current_buf()
  if require("pairside.trees").is_tree(vim.bo[buffer].filetype) then
    M.tree(range, how)
    return
  end
  local paths = require("pairside.paths")
  if not paths.is_file(buffer) then
    message.error("this buffer has no file: there is nothing to send")
    return
  end
  local name = vim.fs.normalize(vim.fn.fnamemodify(vim.api.nvim_buf_get_name(buffer), ":p"), { expand_env = false })
  if not vim.uv.fs_stat(name) then
    message.error(("File or directory does not exist: %s (write it first)"):format(name))
    return
  end
  local count = vim.api.nvim_buf_line_count(buffer)
  local function send(lines)
    local first = math.max(1, math.min(lines[1], count))
    local last = math.max(first, math.min(lines[2], count))
    all({ { path = name, first = first - 1, last = last - 1, context = "Send" } }, how)
  end
  if range then
    send({ math.min(range[1], range[2]), math.max(range[1], range[2]) })
  else
    standing(paths.of(buffer), vim.api.nvim_win_get_cursor(0)[1], send)
  end
end

--- Mentions the files that are meant in the file tree of the current window.
---@param range? integer[] the lines of the tree, from 1
---@param how? pairside.SendOptions
function M.tree(range, how)
  range = range or take_visual()
  local paths, problem = require("pairside.trees").files(range)
  if not paths then
    message.warn(problem)
    return
  end
  all(
    vim.tbl_map(function(path)
      return { path = path, context = "TreeAdd" }
    end, paths),
    how
  )
end

local function exists(path)
  return path ~= "" and vim.uv.fs_stat(path) ~= nil
end

-- A file as it is called in a command line: special names of Vim stand for theirs unless there is such a file.
local function expanded(word)
  if not word.quoted and word.text:find("^[%%#<]") and not exists(word.text) then
    local found = vim.fn.expand(word.text)
    return found ~= "" and found or word.text
  end
  return word.text
end

local function line_number(which, text)
  local number = text:find("^[+-]?%d+$") and tonumber(text)
  if not number then
    return nil, ("Invalid %s line number: %s"):format(which:lower(), text)
  elseif number < 1 then
    return nil, ("%s line must be positive: %d"):format(which, number)
  end
  return number
end

-- What the arguments of `add` mean; nil and why if they mean nothing.
---@return pairside.Mention?
---@return string? problem
local function parse(args, command)
  local words = require("pairside.words")
  local found, problem
  if type(args) == "table" then
    found = vim.tbl_map(function(word)
      return { text = word, quoted = false }
    end, args)
  else
    found, problem = words.parse(args or "")
  end
  if not found then
    return nil, problem
  end
  if #found == 0 or found[1].text == "" then
    return nil, "No file path provided"
  end
  -- A name with blanks that nobody quoted is taken if there is such a file.
  local path, rest
  for count = #found, 2, -1 do
    local joined = table.concat(
      vim.tbl_map(function(word)
        return word.text
      end, vim.list_slice(found, 1, count)),
      " "
    )
    if #found - count <= 2 and exists(joined) then
      path, rest = joined, vim.list_slice(found, count + 1)
      break
    end
  end
  if not path then
    path, rest = expanded(found[1]), vim.list_slice(found, 2)
  end
  if #rest > 2 then
    return nil, ("Too many arguments. Usage: %s <file-path> [start-line] [end-line]"):format(command)
  end
  local first, last
  if rest[1] then
    first, problem = line_number("Start", rest[1].text)
    if not first then
      return nil, problem
    end
  end
  if rest[2] then
    last, problem = line_number("End", rest[2].text)
    if not last then
      return nil, problem
    end
    if first > last then
      return nil, ("Start line (%d) must be <= end line (%d)"):format(first, last)
    end
  end
  local absolute = vim.fs.normalize(vim.fn.fnamemodify(path, ":p"), { expand_env = false })
  local stat = vim.uv.fs_stat(absolute)
  if not stat then
    return nil, ("File or directory does not exist: %s"):format(path)
  end
  if stat.type == "directory" then
    first, last = nil, nil
  end
  return {
    path = absolute,
    first = first and first - 1,
    last = first and (last or first) - 1,
    context = "Add",
  }
end

--- Mentions a file or a folder: a path, and perhaps its first and its last line.
---@param args string|string[] as typed behind the command
---@param how? pairside.SendOptions|{ command?: string }
function M.add(args, how)
  local one, problem = parse(args, how and how.command or "Pairside add")
  if not one then
    message.error(problem)
    return
  end
  all({ one }, how)
end

--- Types a text into the agent's prompt.
---@param text string
---@param submit? boolean (true) whether Enter is pressed behind it
---@param name? string of the terminal
function M.text(text, submit, name)
  local typed, problem = terminal().type(text, { submit = submit ~= false, name = name })
  if not typed then
    message.warn(problem)
  end
end

--- Lets the person choose an agent, and sends it what `selection` would.
---@param range? integer[]
---@param prompt? string
---@param submit? boolean
function M.choose(range, prompt, submit)
  range = range or take_visual()
  local window = vim.api.nvim_get_current_win()
  require("pairside.process").request("status", nil, function(result, failure)
    if not result then
      message.error(failure)
      return
    end
    local clients = result.clients
    if #clients == 0 then
      message.warn("no agent is connected")
      return
    end
    vim.ui.select(clients, {
      prompt = "Send to:",
      format_item = function(client)
        local pid = type(client.pid) == "number" and client.pid or nil
        local name = pid and terminal().of_pid(pid)
        local where = name and (name == "" and ", in this Neovim" or (", in the terminal %s"):format(name)) or ""
        local agent = type(client.agent) == "string" and client.agent or "an agent"
        return ("%s%s%s"):format(agent, pid and (" (pid %d)"):format(pid) or "", where)
      end,
    }, function(client)
      if client and vim.api.nvim_win_is_valid(window) then
        vim.api.nvim_win_call(window, function()
          M.selection(range, prompt, submit, { client_id = client.id })
        end)
      end
    end)
  end)
end

return M

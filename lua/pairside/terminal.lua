-- Owns the agents' terminals in Neovim: by name, each with one process at most, and the windows that show them.
--
-- The name "" is that of the terminal that is meant when none is named. Where a terminal's window comes from is the
-- provider's business (terminal/*.lua); buffer and process of what runs inside of Neovim are kept here.
local message = require("pairside.message")

local M = {}

local WAIT_MS = 5000
local POLL_MS = 30
-- How long a process has after each of the signals that ask it to end.
local GRACE_MS = 1500
local PASTE_BEGIN, PASTE_END = "\27[200~", "\27[201~"

---@class pairside.Terminal
---@field name string
---@field provider table
---@field state "waiting"|"running"|"closing"|"ended"
---@field launch pairside.Launch?
---@field buffer integer?
---@field job integer?
---@field pid integer?
---@field focus boolean whether it gets the focus once it starts
---@field layouts table<integer, table> the sizes of the windows beside it, by tab page
---@field extents table<string, table> how large it was when it was hidden
---@field again? { args: string[], focus: boolean } what starts when the present process has ended

---@type table<string, pairside.Terminal>
local terminals = {}

local warned = {}

local function warn_once(text)
  if not warned[text] then
    warned[text] = true
    message.warn(text)
  end
end

local function options()
  return require("pairside.options").values
end

local function called(name)
  return name == "" and "the terminal" or ("the terminal %s"):format(name)
end

-- The words that are given for an agent: a list, or a text as in a command line.
local function words(args)
  if type(args) ~= "string" then
    return args or {}
  end
  local found, problem = require("pairside.words").split(args)
  if not found then
    message.error(problem)
  end
  return found
end

-- Providers

local REQUIRED = { "setup", "open", "close", "simple_toggle", "focus_toggle", "get_active_bufnr", "is_available" }
local set_up = setmetatable({}, { __mode = "k" })

-- Whether a provider of the person's own can be used.
local function usable(custom)
  for _, name in ipairs(REQUIRED) do
    if not vim.is_callable(custom[name]) then
      return false, ("terminal.provider has no function %s"):format(name)
    end
  end
  local done, available = pcall(custom.is_available)
  if not done then
    return false, ("terminal.provider.is_available failed: %s"):format(available)
  elseif not available then
    return false, "terminal.provider is not available"
  end
  if not set_up[custom] then
    local prepared, problem = pcall(custom.setup, options().terminal)
    if not prepared then
      return false, ("terminal.provider.setup failed: %s"):format(problem)
    end
    set_up[custom] = true
  end
  return true
end

local function by_name(name)
  return require("pairside.terminal." .. name)
end

--- The provider that counts: a module, and the person's own table if it is one.
---@return table provider
---@return table? custom
local function provider()
  local chosen = options().terminal.provider
  if type(chosen) == "table" then
    local found, problem = usable(chosen)
    if found then
      return { name = "custom", embedded = false }, chosen
    end
    warn_once(("%s: Neovim's own terminal is used"):format(problem))
    return by_name("native")
  end
  if chosen == "auto" then
    return by_name("snacks").available() and by_name("snacks") or by_name("native")
  end
  local known = ({ snacks = true, native = true, external = true, none = true })[chosen]
  if not known then
    warn_once(("terminal.provider %s is not known: Neovim's own terminal is used"):format(vim.inspect(chosen)))
    return by_name("native")
  end
  local found, problem = by_name(chosen).available()
  if not found then
    warn_once(("%s: Neovim's own terminal is used"):format(problem))
    return by_name("native")
  end
  return by_name(chosen)
end

-- A provider of the person's own keeps one terminal, and is asked for everything.
local function delegate(custom, name, call)
  if name ~= "" then
    message.error(("terminal.provider keeps one terminal: there is no %s"):format(name))
    return
  end
  local done, problem = pcall(call)
  if not done then
    message.error(("terminal.provider failed: %s"):format(problem))
  end
end

local function custom_buffer(custom)
  local done, buffer = pcall(custom.get_active_bufnr)
  if done and type(buffer) == "number" and vim.api.nvim_buf_is_valid(buffer) then
    return buffer
  end
end

local function custom_job(custom)
  local buffer = custom_buffer(custom)
  local channel = buffer and vim.bo[buffer].channel or 0
  if channel == 0 then
    return nil
  end
  local done, pid = pcall(vim.fn.jobpid, channel)
  if done and pid > 0 then
    return { buffer = buffer, job = channel, pid = pid }
  end
end

-- What has to be there before a process can start

-- Calls back when Neovim has started and the options stand: `nvim +ClaudeCode` is earlier than that.
local function once_entered(proceed)
  local function set_up()
    return require("pairside.options").is_set_up
  end
  if vim.v.vim_did_enter == 1 and set_up() then
    proceed()
    return
  end
  local function later()
    vim.schedule(function()
      if not set_up() then
        require("pairside").setup()
      end
      proceed()
    end)
  end
  if vim.v.vim_did_enter == 1 then
    later()
  else
    vim.api.nvim_create_autocmd("VimEnter", { once = true, callback = later })
  end
end

-- Calls back when pairside runs, or when there is no use in waiting for it.
local function when_ready(proceed)
  local process = require("pairside.process")
  if process.state ~= "starting" then
    if process.state == "stopped" then
      message.info("pairside does not run (:Pairside start): the agent is not connected to this Neovim")
    end
    proceed()
    return
  end
  local timer = assert(vim.uv.new_timer())
  local deadline = vim.uv.now() + WAIT_MS
  timer:start(
    POLL_MS,
    POLL_MS,
    vim.schedule_wrap(function()
      local waiting = process.state == "starting"
      if timer:is_closing() or waiting and vim.uv.now() < deadline then
        return
      end
      timer:stop()
      timer:close()
      if waiting then
        message.warn("pairside does not answer yet: the agent starts without it")
      end
      proceed()
    end)
  )
end

-- Pastes

local original_paste, wrapped_paste

local function wants_paste_fix()
  local fix = options().terminal.fix_streamed_paste
  if fix ~= "auto" then
    return fix
  end
  local fixed = vim.version.parse("0.12.2")
  return vim.version.lt(vim.version(), fixed)
end

-- A large paste reaches `vim.paste` in pieces, and older Neovims hand each to the terminal as a paste of its own.
local function fix_paste()
  if wrapped_paste or not wants_paste_fix() then
    return
  end
  original_paste = vim.paste
  local pieces
  wrapped_paste = function(lines, phase)
    if phase == 1 then
      pieces = M.current() and {} or nil
    end
    if phase == -1 or not pieces then
      return original_paste(lines, phase)
    end
    if #pieces == 0 then
      vim.list_extend(pieces, lines)
    elseif #lines > 0 then
      pieces[#pieces] = pieces[#pieces] .. lines[1]
      vim.list_extend(pieces, lines, 2)
    end
    if phase ~= 3 then
      return true
    end
    local whole = pieces
    pieces = nil
    return original_paste(whole, -1)
  end
  vim.paste = wrapped_paste
end

-- A terminal is no more. What is there for all of them goes with the last.
local function remove(one)
  if terminals[one.name] == one then
    terminals[one.name] = nil
  end
  if not vim.tbl_isempty(terminals) then
    return
  end
  pcall(vim.api.nvim_del_augroup_by_name, "pairside_terminal")
  -- Whoever wrapped it again keeps what they have.
  if wrapped_paste and vim.paste == wrapped_paste then
    vim.paste = original_paste
    wrapped_paste = nil
  end
end

-- Buffers

local function group()
  return vim.api.nvim_create_augroup("pairside_terminal", { clear = false })
end

local function prepare_buffer(one)
  one.buffer = vim.api.nvim_create_buf(false, true)
  vim.bo[one.buffer].bufhidden = "hide"
  vim.bo[one.buffer].swapfile = false
  vim.keymap.set("t", "<S-CR>", function()
    -- What Claude Code takes for a new line in every terminal: a backslash, and Enter. At once, or a key that is typed
    -- quickly comes between, and it is Enter alone.
    vim.api.nvim_chan_send(one.job, "\\\r")
  end, { buffer = one.buffer, desc = "New line in the agent's prompt" })
  if options().terminal.ctrl_z ~= "pass" then
    -- A process that suspends itself here could not be continued: there is no shell around it.
    vim.keymap.set("t", "<C-z>", "<Nop>", { buffer = one.buffer, desc = "Not for an agent without a shell" })
  end
  local pending = false
  local function insert()
    if options().terminal.auto_insert and one.state == "running" and vim.api.nvim_get_current_buf() == one.buffer then
      pending = true
      vim.cmd.startinsert()
    end
  end
  one.insert = insert
  vim.api.nvim_create_autocmd({ "BufEnter", "WinEnter" }, { group = group(), buffer = one.buffer, callback = insert })
  vim.api.nvim_create_autocmd("TermEnter", {
    group = group(),
    buffer = one.buffer,
    callback = function()
      pending = false
    end,
  })
  vim.api.nvim_create_autocmd({ "BufLeave", "WinLeave" }, {
    group = group(),
    buffer = one.buffer,
    callback = function()
      if pending then
        -- It was left before it began: the next window must not be typed into.
        pending = false
        vim.cmd.stopinsert()
      end
    end,
  })
  vim.api.nvim_create_autocmd("BufWipeout", {
    group = group(),
    buffer = one.buffer,
    callback = function()
      -- Neovim ends the process together with the buffer.
      if one.state == "running" then
        one.state = "closing"
      elseif one.state == "ended" then
        remove(one)
      end
    end,
  })
end

local function follow_screen()
  local name = group()
  if #vim.api.nvim_get_autocmds({ group = name, event = "VimResized" }) > 0 then
    return
  end
  vim.api.nvim_create_autocmd("VimResized", {
    group = name,
    callback = function()
      for _, one in pairs(terminals) do
        if one.buffer and vim.api.nvim_buf_is_valid(one.buffer) then
          one.provider.fit(one)
        end
      end
    end,
  })
end

-- The last line that a terminal shows.
local function last_line(buffer)
  local lines = vim.api.nvim_buf_get_lines(buffer, 0, -1, false)
  for at = #lines, 1, -1 do
    local line = vim.trim(lines[at])
    if line ~= "" and not line:find("^%[Process exited") then
      return vim.fn.strcharpart(line, 0, 200)
    end
  end
end

local function forget_buffer(one)
  local buffer = one.buffer
  if not buffer or not vim.api.nvim_buf_is_valid(buffer) then
    return
  end
  local here = vim.api.nvim_get_current_tabpage()
  if #one.provider_windows(one) > 0 then
    pcall(one.provider.hide, one)
  end
  -- Windows in other tab pages go with the buffer, but no tab page that would be the last.
  if vim.api.nvim_buf_is_valid(buffer) then
    pcall(vim.api.nvim_buf_delete, buffer, { force = true })
  end
  if vim.api.nvim_tabpage_is_valid(here) and vim.api.nvim_get_current_tabpage() ~= here then
    vim.api.nvim_set_current_tabpage(here)
  end
  one.buffer = nil
end

-- Processes

local begin

local function ended(one, code)
  local wanted = one.state == "closing"
  local known = terminals[one.name] == one
  one.state, one.job, one.pid = "ended", nil, nil
  if not known then
    return
  end
  local visible = one.buffer and vim.api.nvim_buf_is_valid(one.buffer)
  if code ~= 0 and not wanted and vim.v.exiting == vim.NIL then
    local last = visible and last_line(one.buffer)
    message.error(("%s exited with code %d%s"):format(one.launch.program, code, last and (": %s"):format(last) or ""))
  end
  if wanted or options().terminal.auto_close or not visible then
    forget_buffer(one)
    remove(one)
  end
  if one.again then
    begin(one.name, one.again.args, one.again.focus)
  end
end

-- Starts a process; nil and why if there will be none.
local function spawn(argv, how, one)
  if not argv[1]:find("/", 1, true) and vim.fn.executable(argv[1]) == 0 then
    return nil, ("%s cannot be run: is it installed, and in PATH? (terminal_cmd names another)"):format(argv[1])
  end
  how.on_exit = function(_, code)
    vim.schedule(function()
      ended(one, code)
    end)
  end
  local done, job = pcall(vim.fn.jobstart, argv, how)
  if not done then
    return nil, (tostring(job):gsub("^.-(E%d+:)", "%1"))
  elseif job <= 0 then
    return nil, ("%s cannot be run"):format(argv[1])
  end
  return job
end

local function drop(one, problem)
  forget_buffer(one)
  remove(one)
  message.error(problem)
end

local tip_told = false

local function start_embedded(one)
  prepare_buffer(one)
  local window, problem = one.provider.show(one, false)
  if not window then
    drop(one, ("there is no room for the terminal: %s"):format(problem))
    return
  end
  local how = require("pairside.terminal.launch").options(one.launch, true)
  how.term = true
  local job
  vim.api.nvim_win_call(window, function()
    job, problem = spawn(one.launch.argv, how, one)
  end)
  if not job then
    drop(one, problem)
    return
  end
  one.job, one.pid, one.state = job, vim.fn.jobpid(job), "running"
  if one.provider.name == "native" then
    vim.bo[one.buffer].filetype = "pairside_terminal"
  end
  vim.b[one.buffer].pairside_terminal = one.name
  follow_screen()
  fix_paste()
  if one.focus then
    one.provider.show(one, true)
    one.insert()
  end
  if one.provider.name == "native" and options().terminal.show_native_term_exit_tip and not tip_told then
    tip_told = true
    message.info("Ctrl-\\ Ctrl-N leaves Terminal mode")
  end
end

local function start_external(one)
  local argv, problem = one.provider.argv(one.launch)
  if not argv then
    drop(one, problem)
    return
  end
  local how = require("pairside.terminal.launch").options(one.launch, false)
  how.detach = true
  local job
  job, problem = spawn(argv, how, one)
  if not job then
    drop(one, problem)
    return
  end
  one.job, one.pid, one.state = job, vim.fn.jobpid(job), "running"
end

function begin(name, args, focus)
  local chosen = provider()
  local launch = require("pairside.terminal.launch")
  ---@type pairside.Terminal
  local one = {
    name = name,
    provider = chosen,
    state = "waiting",
    focus = focus,
    layouts = {},
    extents = {},
    provider_windows = function(self)
      return self.buffer and by_name("native").windows(self.buffer) or {}
    end,
  }
  terminals[name] = one
  -- The folder is that of the file that the person is in now.
  local cwd = launch.cwd()
  when_ready(function()
    if terminals[name] ~= one or one.state ~= "waiting" then
      return
    end
    local problem
    one.launch, problem = launch.prepare(args, cwd)
    if not one.launch then
      drop(one, problem)
    elseif chosen.embedded then
      start_embedded(one)
    else
      start_external(one)
    end
  end)
end

-- A process group gets a signal; it may be gone already.
local function signal(one, number)
  if one.pid then
    pcall(vim.uv.kill, -one.pid, number)
  end
end

-- Asks a process to end, and in the end makes it.
local function stop(one)
  if one.state ~= "running" then
    return
  end
  one.state = "closing"
  local job, pid = one.job, one.pid
  local function after(times, act)
    vim.defer_fn(function()
      if one.state == "closing" and one.pid == pid then
        act()
      end
    end, times * GRACE_MS)
  end
  signal(one, "sighup")
  -- One that is stopped takes no signal before it goes on.
  signal(one, "sigcont")
  after(1, function()
    signal(one, "sigterm")
  end)
  after(2, function()
    signal(one, "sigkill")
    pcall(vim.fn.jobstop, job)
  end)
end

-- One that was stopped, as by Ctrl-Z, goes on when the person looks at it again.
local function wake(one)
  if not one.pid then
    return
  end
  local file = io.open(("/proc/%d/stat"):format(one.pid))
  if file then
    local state = file:read("*a"):match("%) (%a)")
    file:close()
    if state == "T" then
      signal(one, "sigcont")
    end
  end
end

-- Actions

local function leave_visual_mode()
  if vim.fn.mode():find("^[vVsS\22\19]") then
    vim.cmd.normal({ "\27", bang = true })
  end
end

local function in_command_window()
  if vim.fn.getcmdwintype() ~= "" then
    message.warn("close the command-line window first")
    return true
  end
  return false
end

local function not_passed_on(one, args)
  if #args > 0 then
    message.warn(
      ("%s runs already, so %s is not passed on. To start anew: :Pairside close, then again"):format(
        called(one.name),
        table.concat(args, " ")
      )
    )
  end
end

-- Shows a terminal, and starts it if need be.
local function present(name, args, focus)
  local one = terminals[name]
  if one and one.state == "waiting" then
    one.focus = one.focus or focus
    not_passed_on(one, args)
  elseif one and one.state == "closing" then
    one.again = { args = args, focus = focus }
  elseif one and one.state == "running" then
    not_passed_on(one, args)
    if one.provider.embedded then
      wake(one)
      local window, problem = one.provider.show(one, focus)
      if not window then
        message.error(("there is no room for the terminal: %s"):format(problem))
      elseif focus then
        one.insert()
      end
    end
  else
    if one then
      forget_buffer(one)
      remove(one)
    end
    begin(name, args, focus)
  end
end

local function is_visible(one)
  return one ~= nil and one.provider.embedded and #one.provider_windows(one) > 0
end

-- The environment for a provider of the person's own, and what else it is told.
local function told(args)
  local launch, problem = require("pairside.terminal.launch").prepare(args, require("pairside.terminal.launch").cwd())
  if not launch then
    error(problem, 0)
  end
  local config = vim.tbl_extend("force", options().terminal, { cwd = launch.cwd })
  return require("pairside.words").join(launch.argv), launch.set, config
end

-- What all actions begin with; nil if there is nothing to do.
local function intended(name, args, act_custom)
  args = words(args)
  if not args or in_command_window() then
    return nil
  end
  leave_visual_mode()
  name = name or ""
  local running = terminals[name]
  if running and running.state ~= "ended" then
    return name, args
  end
  local chosen, custom = provider()
  if custom then
    when_ready(function()
      delegate(custom, name, function()
        act_custom(custom, told(args))
      end)
    end)
    return nil
  elseif chosen.name == "none" then
    return nil, nil, chosen.why
  end
  return name, args
end

local function explain(why)
  if why then
    message.info(why)
  end
end

local function toggle(name, args)
  local wanted, given, why = intended(name, args, function(custom, ...)
    custom.simple_toggle(...)
  end)
  if not wanted then
    explain(why)
    return
  end
  local one = terminals[wanted]
  if one and one.state == "running" and not one.provider.embedded then
    stop(one)
  elseif is_visible(one) then
    if one.state == "running" then
      not_passed_on(one, given)
    end
    one.provider.hide(one)
  else
    present(wanted, given, true)
  end
end

local function focus_toggle(name, args)
  local wanted, given, why = intended(name, args, function(custom, ...)
    custom.focus_toggle(...)
  end)
  if not wanted then
    explain(why)
    return
  end
  local one = terminals[wanted]
  if is_visible(one) and vim.api.nvim_get_current_buf() == one.buffer then
    one.provider.hide(one)
  else
    if one and one.state == "running" and not one.provider.embedded then
      message.info(one.provider.why)
    end
    present(wanted, given, true)
  end
end

local function open(name, args)
  local wanted, given, why = intended(name, args, function(custom, command, env, config)
    custom.open(command, env, config, true)
  end)
  if wanted then
    present(wanted, given, true)
  else
    explain(why)
  end
end

local function ensure_visible(name)
  local wanted = intended(name, nil, function(custom, command, env, config)
    if vim.is_callable(custom.ensure_visible) then
      custom.ensure_visible()
      return
    end
    local buffer = custom_buffer(custom)
    if not buffer or #by_name("native").windows(buffer) == 0 then
      custom.open(command, env, config, false)
    end
  end)
  if wanted and not is_visible(terminals[wanted]) then
    present(wanted, {}, false)
  end
end

--- Shows a terminal and gives it the focus, or hides it if it can be seen. Its process goes on.
---@param name? string
---@param args? string|string[] for the agent, where it is started by this
function M.toggle(name, args)
  once_entered(function()
    toggle(name, args)
  end)
end

--- Gives a terminal the focus; hides it if it has it.
---@param name? string
---@param args? string|string[]
function M.focus_toggle(name, args)
  once_entered(function()
    focus_toggle(name, args)
  end)
end

--- Shows a terminal and gives it the focus.
---@param name? string
---@param args? string|string[]
function M.open(name, args)
  once_entered(function()
    open(name, args)
  end)
end

--- Shows a terminal where it cannot be seen. The focus stays where it is.
---@param name? string
function M.ensure_visible(name)
  once_entered(function()
    ensure_visible(name)
  end)
end

--- Ends the process of a terminal, and closes its windows.
---@param name? string
function M.close(name)
  name = name or ""
  local one = terminals[name]
  if not one then
    local chosen, custom = provider()
    if custom then
      delegate(custom, name, custom.close)
    elseif chosen.name ~= "none" then
      message.info(("%s does not run"):format(called(name)))
    end
    return
  end
  one.again = nil
  if one.state == "waiting" then
    remove(one)
    return
  end
  if is_visible(one) and not in_command_window() then
    one.provider.hide(one)
  end
  if one.state == "running" then
    stop(one)
  elseif one.state == "ended" then
    forget_buffer(one)
    remove(one)
  end
end

--- Types a text into an agent's prompt.
---@param text string
---@param how? { submit?: boolean, focus?: boolean, name?: string } `submit` (true) presses Enter after it
---@return boolean typed
---@return string? problem
function M.type(text, how)
  how = how or {}
  local name = how.name or ""
  -- Control characters are keys in a terminal; a text has none but line breaks and tabs.
  text = text:gsub("\r\n?", "\n"):gsub("[%z\1-\8\11-\31\127]", "")
  if text == "" then
    return false, "there is no text to type"
  end
  local one = terminals[name]
  local job = one and one.state == "running" and one.provider.embedded and one.job
  if not job then
    local chosen, custom = provider()
    if one and one.state == "running" then
      return false, one.provider.why
    elseif custom and name == "" then
      local found = custom_job(custom)
      job = found and found.job
    elseif chosen.name == "none" then
      return false, chosen.why
    end
  end
  if not job then
    return false, ("%s does not run: :Pairside open"):format(called(name))
  end
  if text:find("\n", 1, true) then
    text = PASTE_BEGIN .. text .. PASTE_END
  end
  local done, problem = pcall(vim.api.nvim_chan_send, job, text .. (how.submit ~= false and "\r" or ""))
  if not done then
    return false, tostring(problem)
  end
  if how.focus then
    M.open(name)
  end
  return true
end

--- Lets the person choose a model, and starts the agent with it.
---@param name? string
---@param args? string|string[] more arguments
function M.select_model(name, args)
  local given = words(args)
  if not given then
    return
  end
  local models = options().models or {}
  if #models == 0 then
    message.error("No models configured for selection")
    return
  end
  vim.ui.select(models, {
    prompt = "Select Claude model:",
    format_item = function(model)
      return model.name
    end,
  }, function(model)
    if model then
      M.toggle(name, vim.list_extend({ "--model", model.value }, given))
    end
  end)
end

-- What there is

-- Every terminal in which something runs, ours and that of a provider of the person's own.
local function all()
  local found = {}
  for name, one in pairs(terminals) do
    found[#found + 1] = {
      name = name,
      buffer = one.buffer,
      pid = one.pid,
      job = one.job,
      running = one.state == "running",
      visible = is_visible(one),
      provider = one.provider.name,
    }
  end
  if type(options().terminal.provider) == "table" then
    local _, custom = provider()
    local one = custom and custom_job(custom)
    if one then
      found[#found + 1] = {
        name = "",
        buffer = one.buffer,
        pid = one.pid,
        job = one.job,
        running = true,
        visible = #by_name("native").windows(one.buffer) > 0,
        provider = "custom",
      }
    end
  end
  table.sort(found, function(one, other)
    return one.name < other.name
  end)
  return found
end

--- Every terminal there is.
---@return { name: string, pid: integer?, running: boolean, visible: boolean, provider: string }[]
function M.status()
  return vim.tbl_map(function(one)
    return { name = one.name, pid = one.pid, running = one.running, visible = one.visible, provider = one.provider }
  end, all())
end

--- The windows, in all tab pages, that show one of our terminals.
---@return integer[]
function M.windows()
  local found = {}
  for _, one in ipairs(all()) do
    if one.buffer and vim.api.nvim_buf_is_valid(one.buffer) then
      vim.list_extend(found, vim.fn.win_findbuf(one.buffer))
    end
  end
  return found
end

--- The name of the terminal that the person is in; nil outside of them.
---@return string?
function M.current()
  local buffer = vim.api.nvim_get_current_buf()
  for _, one in ipairs(all()) do
    if one.buffer == buffer then
      return one.name
    end
  end
end

--- The buffer of a terminal; nil if it has none.
---@param name? string
---@return integer?
function M.buffer(name)
  for _, one in ipairs(all()) do
    if one.name == (name or "") and one.buffer and vim.api.nvim_buf_is_valid(one.buffer) then
      return one.buffer
    end
  end
end

local function parent(pid)
  local file = io.open(("/proc/%d/stat"):format(pid))
  if file then
    -- The name of the program, in parentheses, may have any characters.
    local found = file:read("*a"):match(".*%) %a (%d+)")
    file:close()
    return tonumber(found)
  end
  if vim.uv.fs_stat("/proc/self/stat") then
    return nil
  end
  local info = vim.api.nvim_get_proc(pid)
  return type(info) == "table" and info.ppid or nil
end

--- The name of the terminal in which a process runs; nil if it is none of ours.
---@param pid integer
---@return string?
function M.of_pid(pid)
  local names = {}
  for _, one in ipairs(all()) do
    if one.pid and one.running then
      names[one.pid] = one.name
    end
  end
  if vim.tbl_isempty(names) then
    return nil
  end
  for _ = 1, 64 do
    if names[pid] then
      return names[pid]
    end
    local above = parent(pid)
    if not above or above <= 1 then
      return nil
    end
    pid = above
  end
end

return M

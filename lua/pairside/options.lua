-- Owns the options: their names, their defaults, what they take, and the values that count.
--
-- `vim.g.pairside` is read first, what `setup` is given goes on top. A value that does not fit is named, and the default
-- is kept, so that a mistake in one option never switches the rest off.
local M = {}

---@class pairside.Option
---@field default any
---@field takes string what it takes, for the person
---@field fits fun(value: any): boolean

---@type table<string, string>
local TYPES = { boolean = "true or false", table = "a table", string = "a text" }

local function of_type(name, default)
  return {
    default = default,
    takes = TYPES[name],
    fits = function(value)
      return type(value) == name
    end,
  }
end

local function one_of(words, default)
  return {
    default = default,
    takes = '"' .. table.concat(vim.tbl_map(tostring, words), '", "') .. '"',
    fits = function(value)
      return vim.tbl_contains(words, value)
    end,
  }
end

local function number(takes, default, fits)
  return {
    default = default,
    takes = takes,
    fits = function(value)
      return type(value) == "number" and value == value and fits(value)
    end,
  }
end

local function share(default)
  return number("a number between 0 and 1", default, function(value)
    return value > 0 and value < 1
  end)
end

local function milliseconds(default, least)
  return number(("a number of milliseconds from %d"):format(least), default, function(value)
    return value >= least and value < math.huge
  end)
end

local function port(default)
  return number("a whole number from 1 to 65535", default, function(value)
    return value >= 1 and value <= 65535 and value % 1 == 0
  end)
end

local function is_text(value)
  return type(value) == "string" and value ~= ""
end

local function is_words(value)
  return type(value) == "table" and vim.islist(value) and #value > 0 and vim.iter(value):all(is_text)
end

local function is_callable(value)
  return vim.is_callable(value)
end

local function is_key(value)
  return value == false or is_text(value)
end

local PROVIDERS = { "auto", "snacks", "native", "external", "none" }
local PROVIDER_FUNCTIONS =
  { "setup", "open", "close", "simple_toggle", "focus_toggle", "get_active_bufnr", "is_available" }

-- A leaf has `fits`; everything else is a table of options.
local SCHEMA = {
  cmd = {
    takes = 'a program, or a list like { "pairside", "frontend" }',
    fits = function(value)
      return is_text(value) or is_words(value)
    end,
  },
  auto_start = of_type("boolean", true),
  port_range = { min = port(10000), max = port(32767) },
  terminal_cmd = {
    takes = "a text: the command of the agent and its arguments",
    fits = is_text,
  },
  env = {
    default = {},
    takes = "a table of texts by names",
    fits = function(value)
      return type(value) == "table"
        and vim.iter(value):all(function(name, text)
          return type(name) == "string" and type(text) == "string"
        end)
    end,
  },
  log_level = one_of({ "trace", "debug", "info", "warn", "error" }, "info"),
  track_selection = of_type("boolean", true),
  focus_after_send = of_type("boolean", false),
  visual_demotion_delay_ms = milliseconds(50, 0),
  connection_wait_delay = milliseconds(600, 0),
  connection_timeout = milliseconds(10000, 1),
  queue_timeout = milliseconds(60000, 50),
  review_where = one_of({ "here", "terminal" }, "here"),
  models = {
    default = {
      { name = "Opus", value = "opus" },
      { name = "Opus, 1M context", value = "opus[1m]" },
      { name = "Sonnet", value = "sonnet" },
      { name = "Sonnet, 1M context", value = "sonnet[1m]" },
      { name = "Haiku", value = "haiku" },
      { name = "The default of your account", value = "default" },
    },
    takes = 'a list of { name = "…", value = "…" }',
    fits = function(value)
      return type(value) == "table"
        and vim.islist(value)
        and #value > 0
        and vim.iter(value):all(function(model)
          return type(model) == "table" and is_text(model.name) and is_text(model.value)
        end)
    end,
  },
  statusline = {
    idle = of_type("string", "○"),
    agent = of_type("string", "●"),
    review = of_type("string", "±"),
    change = of_type("string", "!"),
    muted = of_type("string", "⊘"),
  },
  diff_opts = {
    layout = one_of({ "vertical", "horizontal", "unified" }, "vertical"),
    open_in_new_tab = of_type("boolean", false),
    keep_terminal_focus = of_type("boolean", false),
    hide_terminal_in_new_tab = of_type("boolean", false),
    on_new_file_reject = one_of({ "keep_empty", "close_window" }, "keep_empty"),
    auto_resize_terminal = of_type("boolean", true),
    hints = of_type("boolean", true),
    keymaps = {
      accept = { takes = "keys, or false", fits = is_key },
      reject = { takes = "keys, or false", fits = is_key },
    },
  },
  changes = {
    signs = of_type("boolean", true),
    keymaps = {
      next = { takes = "keys, or false", fits = is_key },
      prev = { takes = "keys, or false", fits = is_key },
      undo = { takes = "keys, or false", fits = is_key },
    },
  },
  terminal = {
    split_side = one_of({ "left", "right", "top", "bottom", "float" }, "right"),
    split_width_percentage = share(0.30),
    split_height_percentage = share(0.30),
    diff_split_width_percentage = share(nil),
    provider = {
      default = "auto",
      takes = '"' .. table.concat(PROVIDERS, '", "') .. '", or a table with the functions ' .. table.concat(
        PROVIDER_FUNCTIONS,
        ", "
      ),
      fits = function(value)
        return vim.tbl_contains(PROVIDERS, value)
          or type(value) == "table"
            and vim.iter(PROVIDER_FUNCTIONS):all(function(name)
              return is_callable(value[name])
            end)
      end,
    },
    provider_opts = {
      external_terminal_cmd = {
        takes = "a text with %s once (the command) or twice (the folder, the command), or a function",
        fits = function(value)
          if type(value) ~= "string" then
            return is_callable(value)
          end
          local _, places = value:gsub("%%s", "")
          return places == 1 or places == 2
        end,
      },
    },
    show_native_term_exit_tip = of_type("boolean", true),
    auto_close = of_type("boolean", true),
    auto_insert = of_type("boolean", true),
    snacks_win_opts = of_type("table", {}),
    fix_streamed_paste = one_of({ true, false, "auto" }, "auto"),
    cwd = { takes = "a folder", fits = is_text },
    git_repo_cwd = of_type("boolean", false),
    cwd_provider = { takes = "a function", fits = is_callable },
    ctrl_z = one_of({ "ignore", "pass" }, "ignore"),
  },
}
SCHEMA.terminal.fix_streamed_paste.takes = 'true, false, "auto"'

-- Of options that have a counterpart in `pairside config` the names there, and the text that stands for a value.
local SETTINGS = {
  { "serve.ports", { "port_range" }, function(range)
    return ("%d-%d"):format(range.min, range.max)
  end },
  { "review.where", { "review_where" }, tostring },
  { "limits.mention_seconds", { "queue_timeout" }, function(value)
    return ("%.15g"):format(value / 1000)
  end },
  { "serve.log", { "log_level" }, function(level)
    return ({ trace = "debug", debug = "debug", info = "info", warn = "warning", error = "warning" })[level]
  end },
}

local function is_leaf(option)
  return option.fits ~= nil
end

local function defaults(schema)
  local values = {}
  for name, option in pairs(schema) do
    if is_leaf(option) then
      values[name] = vim.deepcopy(option.default)
    else
      values[name] = defaults(option)
    end
  end
  return values
end

-- Every option's full name, like "terminal.split_side".
local function names(schema, prefix, found)
  found = found or {}
  for name, option in pairs(schema) do
    found[#found + 1] = prefix .. name
    if not is_leaf(option) then
      names(option, prefix .. name .. ".", found)
    end
  end
  return found
end

local function shown(value)
  if type(value) == "function" then
    return "a function"
  end
  local text = vim.inspect(value, { newline = " ", indent = "" })
  if vim.fn.strchars(text) > 60 then
    text = vim.fn.strcharpart(text, 0, 59) .. "…"
  end
  return text
end

local function meant(name, prefix, schema)
  local here = require("pairside.nearest").to(name, vim.tbl_keys(schema))
  if here then
    return prefix .. here
  end
  for _, known in ipairs(names(SCHEMA, "")) do
    if known:match("[^.]+$") == name then
      return known
    end
  end
end

---@param schema table
---@param given table
---@param values table is changed
---@param prefix string
---@param complaints string[] is added to
---@param chosen table<string, true> is added to: what was given and taken
local function take(schema, given, values, prefix, complaints, chosen)
  local keys = vim.tbl_keys(given)
  table.sort(keys, function(one, other)
    return tostring(one) < tostring(other)
  end)
  for _, key in ipairs(keys) do
    local value, option = given[key], schema[key]
    local name = prefix .. tostring(key)
    if option == nil then
      local like = type(key) == "string" and meant(key, prefix, schema)
      complaints[#complaints + 1] = ("there is no option %s%s"):format(
        name,
        like and (", did you mean %s?"):format(like) or ""
      )
    elseif is_leaf(option) then
      if option.fits(value) then
        values[key] = value
        chosen[name] = true
      else
        complaints[#complaints + 1] = ("%s is %s, it takes %s"):format(name, shown(value), option.takes)
      end
    elseif type(value) ~= "table" then
      complaints[#complaints + 1] = ("%s is %s, it takes a table"):format(name, shown(value))
    else
      take(option, value, values[key], name .. ".", complaints, chosen)
    end
  end
end

-- Puts options under the names that they have now. `given` is a copy.
local function renamed(given, complaints)
  local terminal = type(given.terminal) == "table" and given.terminal or nil
  for _, name in ipairs({ "cwd", "git_repo_cwd", "cwd_provider" }) do
    if given[name] ~= nil and (given.terminal == nil or terminal) then
      terminal = terminal or {}
      given.terminal = terminal
      if terminal[name] == nil then
        terminal[name] = given[name]
      end
      given[name] = nil
    end
  end
  -- Switches of claudecode.nvim's own tests.
  given.disable_broadcast_debouncing = nil
  given.enable_broadcast_debouncing_in_tests = nil

  local diff = given.diff_opts
  if type(diff) ~= "table" then
    return
  end
  local function old(name, apply)
    local value = diff[name]
    if value == nil then
      return
    end
    diff[name] = nil
    if type(value) ~= "boolean" then
      complaints[#complaints + 1] = ("diff_opts.%s is %s, it took true or false"):format(name, shown(value))
      return
    end
    complaints[#complaints + 1] = ("diff_opts.%s is deprecated, %s"):format(name, apply(value))
  end
  old("vertical_split", function(value)
    diff.layout = value and "vertical" or "horizontal"
    return ('taken as diff_opts.layout = "%s"'):format(diff.layout)
  end)
  old("open_in_current_tab", function(value)
    diff.open_in_new_tab = not value
    return ("taken as diff_opts.open_in_new_tab = %s"):format(tostring(diff.open_in_new_tab))
  end)
  for _, name in ipairs({ "auto_close_on_accept", "show_diff_stats" }) do
    old(name, function()
      return "it has no effect"
    end)
  end
  if diff.layout == "inline" then
    diff.layout = "unified"
    complaints[#complaints + 1] = 'diff_opts.layout = "inline" is called "unified" now'
  end
end

-- Rules about more than one option.
local function agree(values, complaints, chosen)
  local ports = values.port_range
  if ports.min > ports.max then
    complaints[#complaints + 1] = ("port_range.min (%d) is above port_range.max (%d), both are left as they were"):format(
      ports.min,
      ports.max
    )
    values.port_range = defaults(SCHEMA.port_range)
    chosen["port_range.min"], chosen["port_range.max"] = nil, nil
  end
  local terminal = values.terminal
  if terminal.provider == "external" and terminal.provider_opts.external_terminal_cmd == nil then
    complaints[#complaints + 1] = 'terminal.provider is "external", and terminal.provider_opts.external_terminal_cmd '
      .. "does not say how to open one"
  end
end

local function apply(given, where, values, complaints, chosen)
  if given == nil then
    return
  end
  if type(given) ~= "table" then
    complaints[#complaints + 1] = ("%s is %s, it takes a table"):format(where, shown(given))
    return
  end
  -- One level of copies is enough: only what is changed here is copied, and functions and objects stay what they are.
  given = vim.tbl_extend("force", {}, given)
  for _, name in ipairs({ "diff_opts", "terminal" }) do
    if type(given[name]) == "table" then
      given[name] = vim.tbl_extend("force", {}, given[name])
    end
  end
  renamed(given, complaints)
  take(SCHEMA, given, values, "", complaints, chosen)
end

---@type table what counts
M.values = defaults(SCHEMA)

---@type string[] what was wrong with what was given
M.complaints = {}

-- What somebody gave; the rest is left to the settings of pairside.
---@type table<string, true>
local chosen = {}

---@type boolean whether `setup` has been called
M.is_set_up = false

--- Takes options. What does not fit is left out.
---@param given table?
---@return table values
---@return string[] complaints
function M.setup(given)
  local values, complaints = defaults(SCHEMA), {}
  chosen = {}
  apply(vim.g.pairside, "vim.g.pairside", values, complaints, chosen)
  apply(given, "what setup() is given", values, complaints, chosen)
  agree(values, complaints, chosen)
  M.values, M.complaints, M.is_set_up = values, complaints, true
  return values, complaints
end

--- Every option by its full name, in order, with its default and what it takes; for the help and its test.
---@return { name: string, default: any, takes: string }[]
function M.all()
  local found = {}
  local function walk(schema, prefix)
    for name, option in pairs(schema) do
      if is_leaf(option) then
        found[#found + 1] = { name = prefix .. name, default = option.default, takes = option.takes }
      else
        walk(option, prefix .. name .. ".")
      end
    end
  end
  walk(SCHEMA, "")
  table.sort(found, function(one, other)
    return one.name < other.name
  end)
  return found
end

--- What `hello` says: settings of pairside by their names, and only those that were given here. Those that were not are
--- as in pairside's own file and environment.
---@return table<string, string>
function M.settings()
  local found = {}
  for _, one in ipairs(SETTINGS) do
    local name, path, text = unpack(one)
    local given = vim.iter(chosen):any(function(option)
      return option == path[1] or vim.startswith(option, path[1] .. ".")
    end)
    if given then
      found[name] = text(vim.tbl_get(M.values, unpack(path)))
    end
  end
  return found
end

--- The folder of this plugin.
---@return string
function M.root()
  return vim.fs.dirname(vim.fs.dirname(vim.fs.dirname(debug.getinfo(1, "S").source:sub(2))))
end

--- The command that starts `pairside frontend`; nil and what to do if there is none.
---@return string[]? command
---@return string? missing
function M.find()
  local given = M.values.cmd
  if given ~= nil then
    local command = type(given) == "string" and { given, "frontend" } or vim.list_slice(given)
    command[1] = vim.startswith(command[1], "~") and vim.fs.normalize(command[1]) or command[1]
    if vim.fn.executable(command[1]) == 0 then
      return nil, ("%s cannot be run; the option cmd names it"):format(command[1])
    end
    return command
  end
  local own = vim.fs.joinpath(M.root(), ".venv", "bin", "pairside")
  local program = vim.fn.executable(own) == 1 and own or vim.fn.exepath("pairside")
  if program ~= "" then
    return { program, "frontend" }
  end
  local root = vim.fn.shellescape(M.root())
  return nil,
    ("type :Pairside install, its program is missing. Or in a shell: uv tool install %s, or: pipx install %s"):format(
      root,
      root
    )
end

--- The command line of another command of the same pairside; nil and what to do if there is none.
---@param ... string its words, like "doctor", "--json"
---@return string[]? command
---@return string? missing
function M.command(...)
  local command, missing = M.find()
  if not command then
    return nil, missing
  end
  if command[#command] ~= "frontend" then
    return nil, "the option cmd does not end with frontend, so nothing else can be asked of that program"
  end
  command[#command] = nil
  return vim.list_extend(command, { ... })
end

return M

-- Owns the files that are open in Neovim, towards pairside: which there are, how one is shown, written and read again.
--
-- Agents ask for that at any moment. So nothing here asks the person a question while something is half typed, moves
-- them away from what they type, or loses what is not written yet.
local idle = require("pairside.idle")
local message = require("pairside.message")
local paths = require("pairside.paths")
local process = require("pairside.process")
local text = require("pairside.text")

local M = {}

local GROUP = "pairside_documents"
-- The person is not moved, nor asked, if a key came within this time.
local QUIET_MS = 500
-- A file that an agent wanted to show is not shown any more if the person was busy for that long: they are elsewhere.
local SHOW_MS = 10000
-- While a buffer is written for an agent nobody is there to answer questions; they are looked for this often. The
-- timer runs only while Neovim waits for a key, so that is as good as at once.
local QUESTION_MS = 1
local ANSWERED_NS = 300 * 1000 * 1000

-- Where Neovim's name of a language is not that of the Language Server Protocol.
local LANGUAGES = {
  bash = "shellscript",
  cs = "csharp",
  dosbatch = "bat",
  eruby = "erb",
  gitcommit = "git-commit",
  gitrebase = "git-rebase",
  make = "makefile",
  objc = "objective-c",
  objcpp = "objective-cpp",
  plaintex = "tex",
  ps1 = "powershell",
  sh = "shellscript",
  tex = "latex",
  text = "plaintext",
  zsh = "shellscript",
}

---@type table<integer, { name: string, kind: string, value: string? }>
local names = {}
-- The buffer of a file that was in front of the person last.
---@type integer?
local front
-- Whether pairside is to be told of the next change: it has asked since the last one.
local listed = false
-- Buffers whose next change will be noticed.
---@type table<integer, boolean>
local attached = {}
-- A file that is to be shown when the person may be moved.
---@type table?
local to_show
-- Buffers whose file is other than what the person edits, until they have said what is to be done.
---@type table<integer, table>
local asking = {}
-- Buffers that are to be read again when nothing is half typed in them.
---@type table<integer, table>
local to_reload = {}

--- The name under which pairside knows a buffer: the path of its file as Neovim calls it; nil if it is none of a file.
---@param buffer integer
---@return string?
function M.name(buffer)
  local name = vim.api.nvim_buf_get_name(buffer)
  local kind = vim.bo[buffer].buftype
  local last = names[buffer]
  if last and last.name == name and last.kind == kind then
    return last.value
  end
  local value = nil
  if paths.is_file(buffer) and name:sub(1, 1) == "/" and text.valid(name) == name then
    local found = vim.uv.fs_stat(name)
    -- Trees of folders have buffers that look like files until their plugin has come to them.
    if not found or found.type ~= "directory" then
      value = name
    end
  end
  names[buffer] = { name = name, kind = kind, value = value }
  return value
end

local function is_listed(buffer)
  return vim.api.nvim_buf_is_loaded(buffer) and vim.bo[buffer].buflisted and M.name(buffer) ~= nil
end

-- The file in front of the person, or the one that was before they went to a terminal.
local function active()
  local here = vim.api.nvim_get_current_buf()
  if is_listed(here) then
    return here
  end
  if front and vim.api.nvim_buf_is_valid(front) and is_listed(front) then
    return front
  end
  for _, window in ipairs(vim.api.nvim_tabpage_list_wins(0)) do
    local buffer = vim.api.nvim_win_get_buf(window)
    if is_listed(buffer) then
      return buffer
    end
  end
end

local function changed()
  if listed then
    listed = false
    process.notify("documents/changed", {})
  end
end

-- Buffers that nobody sees change too, and no autocommand tells of it.
local function attach(buffer)
  if attached[buffer] then
    return
  end
  attached[buffer] = vim.api.nvim_buf_attach(buffer, false, {
    on_lines = function()
      attached[buffer] = nil
      changed()
      return true
    end,
    on_reload = changed,
    on_detach = function()
      attached[buffer] = nil
      changed()
    end,
  })
end

local function language(buffer)
  local filetype = vim.bo[buffer].filetype
  if filetype ~= "" then
    return LANGUAGES[filetype] or filetype
  end
end

process.verbs["documents/list"] = function()
  local documents = {}
  local in_front = active()
  listed = true
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    if is_listed(buffer) then
      attach(buffer)
      documents[#documents + 1] = {
        path = M.name(buffer),
        lines = vim.api.nvim_buf_line_count(buffer),
        language = language(buffer),
        active = buffer == in_front or nil,
        dirty = vim.bo[buffer].modified or nil,
      }
    end
  end
  return { documents = documents }
end

-- Opening

-- A swap file of a Neovim that did not end well: it may hold what was never written, and Neovim would ask about it.
local function orphaned_swap(path)
  local base = vim.fs.basename(path)
  for _, folder in ipairs(vim.opt.directory:get()) do
    local name
    if folder == "." or folder:sub(1, 2) == "./" then
      name = vim.fs.joinpath(vim.fs.dirname(path), folder:sub(3), "." .. base .. ".swp")
    else
      local file = folder:sub(-2) == "//" and path:gsub("/", "%%") or base
      name = vim.fs.joinpath((folder:gsub("(.)/+$", "%1")), file .. ".swp")
    end
    if vim.uv.fs_stat(name) then
      local info = vim.fn.swapinfo(name)
      -- It says whose home it means, by name.
      local of = (info.fname or ""):gsub("^~[^/]*", function()
        return vim.uv.os_homedir()
      end)
      local other = of ~= "" and paths.real(of) ~= paths.real(path)
      if not other and (info.error or info.pid <= 0) then
        return name
      end
    end
  end
end

-- Something went on beneath a function that may show questions and messages; none of them must be left for the person.
local function quietly(work)
  local shortmess = vim.o.shortmess
  vim.opt.shortmess:append("AF")
  local done, problem = pcall(work)
  vim.o.shortmess = shortmess
  if not done then
    error(problem, 0)
  end
end

local function plain(problem)
  local line = vim.split(tostring(problem), "\n")[1]
  return (line:gsub("^.-Vim[^:]*:", ""))
end

-- The buffer of a file, loaded.
local function loaded(path)
  local buffer = paths.buffer(path)
  if buffer then
    return buffer
  end
  local found, problem = vim.uv.fs_stat(path)
  if not found then
    error(("cannot open %s: %s"):format(path, problem), 0)
  elseif found.type == "directory" then
    error(("cannot open %s: it is a folder"):format(path), 0)
  end
  local swap = orphaned_swap(path)
  if swap then
    error(
      ("%s was not opened: there is a swap file of it, perhaps with changes that were never saved. "
        .. "The person should open it in Neovim and decide."):format(path),
      0
    )
  end
  buffer = vim.fn.bufadd(path)
  local ok, why = pcall(quietly, function()
    vim.fn.bufload(buffer)
  end)
  if not ok and not vim.api.nvim_buf_is_loaded(buffer) then
    error(("cannot open %s: %s"):format(path, plain(why)), 0)
  end
  vim.bo[buffer].buflisted = true
  return buffer
end

local function is_float(window)
  return vim.api.nvim_win_get_config(window).relative ~= ""
end

-- Whether another buffer may take the place of what a window shows.
local function is_suitable(window)
  local buffer = vim.api.nvim_win_get_buf(window)
  local options, kept = vim.wo[window], vim.bo[buffer]
  if is_float(window) or options.winfixbuf or options.diff or options.previewwindow or kept.buftype ~= "" then
    return false
  end
  if vim.b[buffer].pairside_review or (vim.api.nvim_buf_get_name(buffer) ~= "" and not M.name(buffer)) then
    return false
  end
  -- Trees and the like that have not said what they are: they are in no list of buffers.
  if not kept.buflisted and kept.filetype ~= "" then
    return false
  end
  local stays = vim.o.hidden and (kept.bufhidden == "" or kept.bufhidden == "hide") or kept.bufhidden == "hide"
  return stays or not kept.modified or #vim.fn.win_findbuf(buffer) > 1
end

-- The window in which a file is to be shown, in this order: one that shows it here, the present one, the one before,
-- the first suitable one here, one that shows it elsewhere. nil: it needs one of its own. A tab page that shows
-- something else is left as it is.
local function window_for(buffer)
  local here = vim.api.nvim_tabpage_list_wins(0)
  local candidates = { vim.api.nvim_get_current_win(), vim.fn.win_getid(vim.fn.winnr("#")) }
  vim.list_extend(candidates, here)
  for _, window in ipairs(candidates) do
    if window ~= 0 and vim.api.nvim_win_get_buf(window) == buffer and not is_float(window) and not vim.wo[window].diff then
      return window
    end
  end
  for _, window in ipairs(candidates) do
    if window ~= 0 and is_suitable(window) then
      return window
    end
  end
  for _, window in ipairs(vim.fn.win_findbuf(buffer)) do
    if not is_float(window) and not vim.wo[window].diff then
      return window
    end
  end
end

-- A new window beside what cannot be replaced, on the side that the agent's terminal does not have.
local function split_for(buffer)
  local beside = vim.api.nvim_get_current_win()
  if is_float(beside) then
    beside = vim.iter(vim.api.nvim_tabpage_list_wins(0)):find(function(window)
      return not is_float(window)
    end)
  end
  local options = require("pairside.options").values.terminal or {}
  local opposite = { left = "right", right = "left", top = "below", bottom = "above" }
  local window = vim.api.nvim_open_win(buffer, false, {
    split = opposite[options.split_side] or "left",
    win = beside,
  })
  for _, name in ipairs({ "winfixbuf", "winfixwidth", "winfixheight", "diff", "scrollbind", "cursorbind" }) do
    vim.wo[window][0][name] = false
  end
  return window
end

local function preview_for(buffer)
  for _, window in ipairs(vim.api.nvim_tabpage_list_wins(0)) do
    if vim.wo[window].previewwindow and not vim.wo[window].winfixbuf then
      vim.api.nvim_win_set_buf(window, buffer)
      return window
    end
  end
  local beside = window_for(buffer) or vim.api.nvim_get_current_win()
  if vim.api.nvim_win_get_tabpage(beside) ~= vim.api.nvim_get_current_tabpage() or is_float(beside) then
    return split_for(buffer)
  end
  local window = vim.api.nvim_open_win(buffer, false, {
    split = "above",
    win = beside,
    height = vim.o.previewheight,
  })
  vim.wo[window].previewwindow = true
  vim.wo[window].winfixheight = true
  return window
end

-- Line and byte of a position of pairside's, clamped to what there is.
local function spot(buffer, position)
  local row = math.max(0, math.min(position[1], vim.api.nvim_buf_line_count(buffer) - 1))
  local line = vim.api.nvim_buf_get_lines(buffer, row, row + 1, false)[1] or ""
  local units = position[1] > row and math.huge or position[2]
  return row, text.byte(line, units), line
end

-- The byte at which the character before another one begins: positions are between characters, cursors upon them.
local function before(line, column)
  if column <= 0 then
    return 0
  end
  local head = line:sub(1, column)
  return #vim.fn.strcharpart(head, 0, vim.fn.strcharlen(head) - 1, 1)
end

local function select(buffer, window, from, to)
  local row, column = spot(buffer, from)
  local last_row, last_column, last_line = spot(buffer, to)
  if last_row < row or last_row == row and last_column < column then
    row, column, last_row, last_column = last_row, last_column, row, column
    last_line = vim.api.nvim_buf_get_lines(buffer, last_row, last_row + 1, false)[1] or ""
  end
  local function to(at_row, at_column)
    vim.api.nvim_win_set_cursor(window, { at_row + 1, at_column })
    -- In a closed fold all of its lines would be selected.
    vim.cmd.normal({ "zv", bang = true })
  end
  vim.cmd.normal({ "m'", bang = true })
  if last_row > row or last_column > column then
    if last_column == 0 then
      -- It ends before the first character of a line, so the last one is the end of the line above.
      last_row = last_row - 1
      last_line = vim.api.nvim_buf_get_lines(buffer, last_row, last_row + 1, false)[1] or ""
      last_column = #last_line
    end
    if vim.o.selection ~= "exclusive" then
      last_column = before(last_line, last_column)
    end
    to(last_row, last_column)
    to(row, column)
    vim.cmd.normal({ "v", bang = true })
    vim.api.nvim_win_set_cursor(window, { last_row + 1, last_column })
  else
    to(row, column)
  end
  if row + 1 < vim.fn.line("w0") or last_row + 1 > vim.fn.line("w$") then
    vim.cmd.normal({ "zz", bang = true })
  end
end

local function show(wanted)
  local buffer = wanted.buffer
  if not vim.api.nvim_buf_is_loaded(buffer) then
    return
  end
  local window
  if wanted.preview then
    window = preview_for(buffer)
  else
    window = window_for(buffer) or split_for(buffer)
    if vim.api.nvim_win_get_buf(window) ~= buffer then
      vim.api.nvim_win_set_buf(window, buffer)
    end
  end
  vim.api.nvim_set_current_win(window)
  if wanted.start then
    select(buffer, window, wanted.start, wanted["end"] or wanted.start)
  end
end

--- Shows a file at once, to a person who has just asked for it.
---@param path string
---@param row integer? the line to go to, from 0
---@return string? problem
function M.visit(path, row)
  local done, problem = pcall(function()
    show({ buffer = loaded(path), start = row and { row, 0 } })
  end)
  return not done and plain(problem) or nil
end

--- The buffer of a file, loaded and shown nowhere; raises an error for the person.
---@param path string
---@return integer buffer
function M.load(path)
  return loaded(path)
end

local function forget_to_show()
  if to_show then
    idle.forget(to_show.waiter)
    to_show = nil
  end
end

-- A file is loaded at once. The person is moved to it at once too if they are not in the middle of something, else when
-- they no longer are, if that is soon; pairside need not know, because agents have nothing to wait for.
process.verbs["file/open"] = function(params)
  local wanted = {
    buffer = loaded(params.path),
    preview = params.preview,
    start = params.start,
    ["end"] = params["end"],
  }
  forget_to_show()
  if params.focus == false then
    return {}
  end
  if idle.now(QUIET_MS) then
    show(wanted)
    return {}
  end
  to_show = wanted
  local since = vim.uv.now()
  wanted.waiter = idle.when(function()
    to_show = nil
    if vim.uv.now() - since < SHOW_MS then
      local done, problem = pcall(show, wanted)
      if not done then
        message.warn(("cannot show %s: %s"):format(params.path, plain(problem)))
      end
    end
  end, { quiet = QUIET_MS })
  return {}
end

-- Writing

-- Runs something that writes a buffer. A question that comes up is answered with Escape: it is for the person, and an
-- agent must not answer it in their place.
local function unasked(work)
  local asked = false
  local answered = nil ---@type integer?
  local watch = assert(vim.uv.new_timer())
  watch:start(QUESTION_MS, QUESTION_MS, function()
    local mode = vim.api.nvim_get_mode().mode
    -- One for each question: a second would reach the person. A question that stands for so long is another one.
    if mode:sub(1, 1) ~= "r" then
      answered = nil
    elseif not answered or vim.uv.hrtime() - answered > ANSWERED_NS then
      asked, answered = true, vim.uv.hrtime()
      vim.api.nvim_input("<Esc>")
    end
  end)
  local confirm = vim.o.confirm
  vim.o.confirm = false
  local done, problem = pcall(work)
  vim.o.confirm = confirm
  watch:stop()
  watch:close()
  if asked then
    -- The question is still on screen, and without this Neovim would want Enter for it.
    vim.cmd.redraw({ bang = true })
  end
  return done, problem, asked
end

process.verbs["document/save"] = function(params)
  local buffer = paths.buffer(params.path)
  if not buffer then
    error(("%s is not open in Neovim"):format(params.path), 0)
  end
  local done, problem, asked = unasked(function()
    vim.api.nvim_buf_call(buffer, function()
      vim.api.nvim_cmd({ cmd = "update", mods = { silent = true, noautocmd = false } }, {})
    end)
  end)
  if not done then
    error(("%s was not saved: %s"):format(params.path, plain(problem)), 0)
  elseif asked or vim.bo[buffer].modified then
    error(
      ("%s was not saved: %s"):format(
        params.path,
        asked and "Neovim asks about it, perhaps because the file was changed on disk; the person should save it"
          or "it still has unsaved changes"
      ),
      0
    )
  end
  return {}
end

-- Reading again

-- Has Neovim look at the file of a buffer, and do what `choose` says of it: "reload", or "" for nothing. Neither
-- 'autoread' nor an autocommand of the person has a say, and Neovim asks nothing. Returns the reason that Neovim had.
local function check(buffer, choose)
  local reason
  local autocmd = vim.api.nvim_create_autocmd("FileChangedShell", {
    group = vim.api.nvim_create_augroup("pairside_reload", {}),
    buffer = buffer,
    nested = false,
    callback = function()
      reason = vim.v.fcs_reason
      vim.v.fcs_choice = choose(reason)
    end,
  })
  -- All of the text, so that the history survives also in a long file.
  local undoreload = vim.o.undoreload
  vim.o.undoreload = -1
  local done, problem = pcall(quietly, function()
    vim.api.nvim_cmd({ cmd = "checktime", range = { buffer }, mods = { silent = true } }, {})
  end)
  vim.o.undoreload = undoreload
  pcall(vim.api.nvim_del_autocmd, autocmd)
  pcall(vim.api.nvim_del_augroup_by_name, "pairside_reload")
  if not done then
    message.warn(("cannot read %s again: %s"):format(vim.api.nvim_buf_get_name(buffer), plain(problem)))
  end
  return reason
end

-- How each window of a buffer looks at it. Neovim keeps that for one window only.
local function views(buffer)
  local kept = {}
  for _, window in ipairs(vim.fn.win_findbuf(buffer)) do
    kept[window] = vim.api.nvim_win_call(window, vim.fn.winsaveview)
  end
  return kept
end

local function restore(kept)
  for window, view in pairs(kept) do
    if vim.api.nvim_win_is_valid(window) then
      vim.api.nvim_win_call(window, function()
        vim.fn.winrestview(view)
      end)
    end
  end
end

local function read_anyway(buffer)
  local kept = views(buffer)
  local undoreload = vim.o.undoreload
  vim.o.undoreload = -1
  local done, problem = pcall(vim.api.nvim_buf_call, buffer, function()
    vim.api.nvim_cmd({ cmd = "edit", bang = true, mods = { silent = true } }, {})
  end)
  vim.o.undoreload = undoreload
  restore(kept)
  if not done then
    message.warn(("cannot read %s: %s"):format(vim.api.nvim_buf_get_name(buffer), plain(problem)))
  end
end

local function differ(buffer)
  local name = vim.api.nvim_buf_get_name(buffer)
  local mine = vim.api.nvim_get_current_win()
  local window = vim.api.nvim_open_win(vim.api.nvim_create_buf(false, true), false, { split = "right", win = mine })
  local disk = vim.api.nvim_win_get_buf(window)
  local done, problem = pcall(vim.api.nvim_buf_call, disk, function()
    vim.api.nvim_cmd({ cmd = "read", args = { vim.fn.fnameescape(name) }, mods = { silent = true, keepalt = true } }, {})
    vim.api.nvim_buf_set_lines(disk, 0, 1, false, {})
  end)
  if not done then
    vim.api.nvim_win_close(window, true)
    message.warn(("cannot read %s: %s"):format(name, plain(problem)))
    return
  end
  vim.bo[disk].bufhidden = "wipe"
  vim.bo[disk].filetype = vim.bo[buffer].filetype
  vim.bo[disk].modifiable = false
  for _, one in ipairs({ mine, window }) do
    vim.api.nvim_win_call(one, vim.cmd.diffthis)
  end
  vim.api.nvim_create_autocmd("BufWipeout", {
    buffer = disk,
    once = true,
    callback = function()
      if vim.api.nvim_win_is_valid(mine) and vim.api.nvim_win_get_buf(mine) == buffer then
        vim.api.nvim_win_call(mine, function()
          vim.cmd.diffoff()
        end)
      end
    end,
  })
  message.info("right: the file on disk; :w! keeps yours, :e! loads it")
end

local CHOICES = {
  { name = "Keep mine", run = function() end },
  { name = "Load the file from disk; u takes it back", run = read_anyway },
  { name = "Show the difference", run = differ },
}

-- Asks what is to become of unsaved changes, once, when the person is in that buffer and not typing.
local function ask(buffer)
  if asking[buffer] then
    return
  end
  local name = vim.fn.fnamemodify(vim.api.nvim_buf_get_name(buffer), ":~:.")
  asking[buffer] = idle.when(function()
    asking[buffer] = nil
    if not vim.bo[buffer].modified then
      check(buffer, function()
        return "reload"
      end)
      return
    end
    vim.ui.select(CHOICES, {
      prompt = ("%s was changed on disk, and you have unsaved changes:"):format(name),
      format_item = function(choice)
        return choice.name
      end,
    }, function(choice)
      if choice and vim.api.nvim_buf_is_loaded(buffer) then
        choice.run(buffer)
      end
    end)
  end, {
    quiet = QUIET_MS,
    ready = function()
      if not vim.api.nvim_buf_is_loaded(buffer) then
        idle.forget(asking[buffer])
        asking[buffer] = nil
        return false
      end
      return vim.api.nvim_get_current_buf() == buffer and vim.api.nvim_get_mode().mode == "n"
    end,
  })
  if vim.api.nvim_get_current_buf() ~= buffer then
    message.warn(("%s was changed on disk, and you have unsaved changes in it: nothing is lost"):format(name))
  end
end

-- The file of a buffer may have changed: read it, or ask.
local function refresh(buffer)
  local kept = views(buffer)
  local was_modified = vim.bo[buffer].modified
  local reason = check(buffer, function(reason)
    return not vim.bo[buffer].modified and (reason == "changed" or reason == "time") and "reload" or ""
  end)
  restore(kept)
  if reason == "deleted" then
    message.warn(
      ("%s was deleted on disk; its buffer is kept"):format(
        vim.fn.fnamemodify(vim.api.nvim_buf_get_name(buffer), ":~:.")
      )
    )
  elseif was_modified and reason and reason ~= "mode" then
    ask(buffer)
  end
end

-- Text must not change beneath what is half typed. Windows may just have been closed, though, as after a review: an
-- agent that writes then asks at once what is found in the new text.
local function may_refresh(buffer)
  return vim.api.nvim_get_current_buf() ~= buffer or idle.settled(true)
end

process.verbs["files/changed"] = function(params)
  local awaits = {}
  for _, path in ipairs(params.paths) do
    local buffer = paths.buffer(path)
    if buffer and may_refresh(buffer) then
      refresh(buffer)
      if require("pairside.diagnostics").awaited(buffer) then
        awaits[#awaits + 1] = path
      end
    elseif buffer and not to_reload[buffer] then
      to_reload[buffer] = idle.when(function()
        to_reload[buffer] = nil
        if vim.api.nvim_buf_is_loaded(buffer) then
          refresh(buffer)
        end
      end)
    end
  end
  return { awaits = awaits }
end

-- Written from Neovim: by the person, so no agent did it. Told before anything else can be found out about that file.
local function saved(event)
  local name = event.match
  if vim.bo[event.buf].buftype ~= "acwrite" and not vim.b[event.buf].pairside_review and name:sub(1, 1) == "/" then
    process.notify("document/saved", { path = name })
  end
end

function M.enable()
  M.disable()
  idle.enable()
  local group = vim.api.nvim_create_augroup(GROUP, {})
  vim.api.nvim_create_autocmd({ "BufWritePost", "FileAppendPost", "FileWritePost" }, {
    group = group,
    callback = saved,
  })
  vim.api.nvim_create_autocmd("BufEnter", {
    group = group,
    callback = function(event)
      if is_listed(event.buf) then
        front = event.buf
        changed()
      end
    end,
  })
  vim.api.nvim_create_autocmd({
    "BufAdd",
    "BufDelete",
    "BufFilePost",
    "BufModifiedSet",
    "BufNewFile",
    "BufReadPost",
    "BufUnload",
    "BufWipeout",
    "BufWritePost",
    "FileType",
  }, {
    group = group,
    callback = function(event)
      if event.event == "BufWipeout" then
        names[event.buf] = nil
      end
      changed()
    end,
  })
  vim.api.nvim_create_autocmd("OptionSet", {
    group = group,
    pattern = { "buflisted", "buftype", "modified" },
    callback = changed,
  })
  front = active()
end

function M.disable()
  pcall(vim.api.nvim_del_augroup_by_name, GROUP)
  forget_to_show()
  idle.disable()
  asking, to_reload, names, listed = {}, {}, {}, false
end

return M

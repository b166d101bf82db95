-- Owns the look at one changed file: its text before beside the file as it is, in a tab page of its own, as a diff.
--
-- The text before can be written nowhere. The file is the person's, as in any other window. When one of the two windows
-- goes, all goes, unless the person has put something else there.
local documents = require("pairside.documents")
local message = require("pairside.message")
local paths = require("pairside.paths")
local process = require("pairside.process")

local M = {}

local api = vim.api

local SCHEME = "pairside://before/"
local BOM = "\239\187\191"

local function named(path)
  local name = vim.fn.fnamemodify(path, ":~:.")
  return name == "" and path or name
end

-- The lines of a text as Neovim shows those of a file that is read with the same settings as this buffer.
local function lines_of(text, like)
  local lines = require("pairside.review.proposal").split(text)
  lines[1] = lines[1]:gsub("^" .. BOM, "")
  if like and vim.bo[like].fileformat == "dos" then
    for at, line in ipairs(lines) do
      lines[at] = line:gsub("\r$", "")
    end
  end
  return lines
end

local function scratch(name, text, like)
  local proposal = require("pairside.review.proposal")
  local buffer = api.nvim_create_buf(false, true)
  vim.bo[buffer].bufhidden = "wipe"
  vim.bo[buffer].undolevels = -1
  proposal.call(buffer, SCHEME .. name)
  api.nvim_buf_set_lines(buffer, 0, -1, false, text and lines_of(text, like) or {})
  vim.bo[buffer].modifiable = false
  vim.bo[buffer].modified = false
  return buffer
end

-- The buffer of the file as it is; and whether it was made for this.
local function present(path)
  if not vim.uv.fs_stat(path) then
    return nil
  end
  local known = paths.buffer(path)
  if known then
    return known, false
  end
  local listed = vim.fn.bufexists(path) == 1
  return documents.load(path), not listed
end

-- Everything that is to be put away.
local function put_away(shown)
  if shown.over then
    return
  end
  shown.over = true
  pcall(api.nvim_del_augroup_by_id, shown.group)
  for _, window in ipairs({ shown.before_window, shown.file_window }) do
    if api.nvim_win_is_valid(window) then
      pcall(api.nvim_win_call, window, vim.cmd.diffoff)
    end
  end
  if api.nvim_tabpage_is_valid(shown.tabpage) then
    local ours = vim.iter(api.nvim_tabpage_list_wins(shown.tabpage)):all(function(window)
      return window == shown.before_window or window == shown.file_window
    end)
    local inside = api.nvim_get_current_tabpage() == shown.tabpage
    if ours and #api.nvim_list_tabpages() > 1 then
      if inside and api.nvim_win_is_valid(shown.back) then
        api.nvim_set_current_win(shown.back)
      end
      if api.nvim_tabpage_is_valid(shown.tabpage) then
        pcall(vim.cmd.tabclose, api.nvim_tabpage_get_number(shown.tabpage))
      end
    elseif api.nvim_win_is_valid(shown.before_window) and #api.nvim_tabpage_list_wins(shown.tabpage) > 1 then
      api.nvim_win_close(shown.before_window, true)
    end
  end
  for _, buffer in ipairs(shown.scratches) do
    if api.nvim_buf_is_valid(buffer) then
      pcall(api.nvim_buf_delete, buffer, { force = true })
    end
  end
  local made = shown.made
  if made and api.nvim_buf_is_valid(made) and not vim.bo[made].modified and #vim.fn.win_findbuf(made) == 0 then
    pcall(api.nvim_buf_delete, made, {})
  end
end

local function open(told)
  local path = told.path
  local file, made = present(path)
  local name = named(path)
  local before = scratch(("%s (before)"):format(name), told.before, file)
  local scratches = { before }
  if not file then
    file = scratch(("%s (there is no such file now)"):format(name), nil, nil)
    scratches[2] = file
  end
  local filetype = vim.bo[file].filetype
  if filetype == "" then
    filetype = vim.filetype.match({ filename = path, buf = before }) or ""
  end
  local back = api.nvim_get_current_win()
  vim.cmd.tabnew()
  local empty = api.nvim_get_current_buf()
  local left = api.nvim_get_current_win()
  -- What a window has from the one it was made in would be in the way, or be left in the file's next window.
  for _, option in ipairs({ "winfixbuf", "diff", "scrollbind", "cursorbind", "previewwindow" }) do
    vim.wo[left][0][option] = false
  end
  api.nvim_win_set_buf(left, before)
  if api.nvim_buf_is_valid(empty) then
    pcall(api.nvim_buf_delete, empty, {})
  end
  local below = require("pairside.options").values.diff_opts.layout == "horizontal"
  local right = api.nvim_open_win(file, true, { split = below and "below" or "right", win = left })
  -- Colours only: a filetype would start language servers for a text that is no file.
  if filetype ~= "" then
    local language = vim.treesitter.language.get_lang(filetype)
    if not (language and pcall(vim.treesitter.start, before, language)) then
      vim.bo[before].syntax = filetype
    end
  end
  for _, window in ipairs({ left, right }) do
    api.nvim_win_call(window, vim.cmd.diffthis)
  end
  local shown = {
    tabpage = api.nvim_get_current_tabpage(),
    before_window = left,
    file_window = right,
    back = back,
    scratches = scratches,
    made = made and file or nil,
    group = api.nvim_create_augroup(("pairside_diff_%d"):format(left), {}),
  }
  api.nvim_create_autocmd("WinClosed", {
    group = shown.group,
    pattern = { tostring(left), tostring(right) },
    callback = function()
      -- Windows are not closed while another one is being closed.
      vim.schedule(function()
        put_away(shown)
      end)
    end,
  })
  for _, buffer in ipairs(scratches) do
    vim.keymap.set("n", "q", function()
      put_away(shown)
    end, { buffer = buffer, nowait = true, desc = "pairside: close this diff" })
  end
  vim.cmd.normal({ "gg", bang = true })
  if vim.fn.diff_hlID(1, 1) == 0 then
    vim.cmd("silent! normal! ]c")
  end
end

local function show(which)
  process.request("changes/show", which, function(told, failure)
    if not told then
      message.error(failure)
    elseif not told.divisible then
      message.warn(("%s cannot be shown: %s"):format(named(told.path), told.note or "binary"))
    elseif vim.fn.getcmdwintype() ~= "" then
      message.warn("close the command-line window first")
    else
      local done, problem = pcall(open, told)
      if not done then
        message.error(problem)
      end
    end
  end)
end

--- Shows what changes, by their ids, did to a file.
---@param ids integer[] all of one file
function M.ids(ids)
  show({ ids = ids })
end

--- Shows what a turn did to a file; without a number the last one that changed it.
---@param path string
---@param turn integer?
function M.file(path, turn)
  path = paths.real(path)
  process.request("changes", { path = path, turn = turn }, function(changes, failure)
    if not changes then
      message.error(failure)
      return
    end
    local entries = {}
    for _, one in ipairs(changes.turns) do
      for _, file in ipairs(one.files) do
        if file.path == path then
          entries[#entries + 1] = file
        end
      end
    end
    if #entries == 0 then
      local where = turn and ("in turn %d "):format(turn) or ""
      message.info(("nothing that an agent changed %sin %s is there"):format(where, named(path)))
      return
    end
    if #entries > 1 then
      message.info("others wrote this file in between: what they changed is shown too")
    end
    show({ ids = entries[1].ids })
  end)
end

return M

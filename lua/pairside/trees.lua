-- Owns the way from what file trees show to the files that are meant. Trees are known by their filetype alone.
local M = {}

-- `marked` tells what is marked or selected in a tree, and `at` what a line of it stands for; the root of a tree stands
-- for nothing where the lines of a range are asked for (`ranged`). Both are called with the tree's window as the current
-- one, and raise a text for the person.
---@class pairside.Tree
---@field marked? fun(window: integer): string[]
---@field at fun(window: integer, line: integer, ranged: boolean): string|string[]|nil

---@type table<string, pairside.Tree>
local TREES = {}

local function need(name)
  local found, module = pcall(require, name)
  if not found then
    error(("%s not available"):format(name), 0)
  end
  return module
end

-- Runs something with the cursor at a line.
local function at_line(window, line, act)
  vim.api.nvim_win_set_cursor(window, { line, 0 })
  return act()
end

TREES["NvimTree"] = {
  marked = function()
    local api = need("nvim-tree.api")
    return vim.tbl_map(function(node)
      return node.absolute_path
    end, api.marks.list() or {})
  end,
  at = function(window, line, ranged)
    local api = need("nvim-tree.api")
    return at_line(window, line, function()
      local node = api.tree.get_node_under_cursor()
      if not node or ranged and not node.parent then
        return nil
      end
      return node.absolute_path
    end)
  end,
}

TREES["neo-tree"] = {
  at = function(window, line, ranged)
    local state = need("neo-tree.sources.manager").get_state_for_window(window)
    local node = state and state.tree and state.tree:get_node(line)
    if not node or node.type == "message" or ranged and node:get_depth() == 1 then
      return nil
    end
    return node.path or node:get_id()
  end,
}

TREES["oil"] = {
  at = function(window, line)
    local oil = need("oil")
    local buffer = vim.api.nvim_win_get_buf(window)
    local entry = oil.get_entry_on_line(buffer, line)
    local folder = oil.get_current_dir(buffer)
    local name = entry and (entry.parsed_name or entry.name)
    if not name or not folder or name == "." or name == ".." then
      return nil
    end
    return vim.fs.joinpath(folder, name)
  end,
}

TREES["minifiles"] = {
  at = function(window, line)
    local entry = need("mini.files").get_fs_entry(vim.api.nvim_win_get_buf(window), line)
    return entry and entry.path
  end,
}

local WIDE, TREE = 2, 3

-- What the name under the cursor stands for.
local function netrw_path(window)
  local folder = vim.b[vim.api.nvim_win_get_buf(window)].netrw_curdir
  local word = vim.fn["netrw#Call"]("NetrwGetWord")
  if vim.w[window].netrw_liststyle == TREE then
    folder = vim.fn["netrw#Call"]("NetrwTreePath", vim.w[window].netrw_treetop)
    if vim.endswith(word, "/") then
      -- The path of a folder in a tree is its own.
      return folder
    end
  end
  if word == "./" or word == "../" or word == "" then
    return nil
  end
  if not vim.uv.fs_lstat(vim.fs.joinpath(folder, word)) then
    -- What `ls -F` puts behind a pipe or a socket.
    word = word:gsub("[|=]$", "")
  end
  return vim.startswith(word, "/") and word or vim.fs.joinpath(folder, word)
end

TREES["netrw"] = {
  marked = function()
    local marked = vim.fn["netrw#Expose"]("netrwmarkfilelist")
    return type(marked) == "table" and marked or {}
  end,
  at = function(window, line, ranged)
    -- Asking for the name in the lines above the list does what Enter does there.
    if line < (vim.w[window].netrw_bannercnt or 1) then
      return nil
    end
    local text = vim.api.nvim_buf_get_lines(vim.api.nvim_win_get_buf(window), line - 1, line, false)[1]
    if text == "" then
      return nil
    end
    if not ranged then
      return netrw_path(window)
    elseif vim.w[window].netrw_liststyle ~= WIDE then
      return at_line(window, line, function()
        return netrw_path(window)
      end)
    end
    -- Several names stand side by side.
    local found = {}
    vim.api.nvim_win_set_cursor(window, { line, 0 })
    found[1] = netrw_path(window)
    local width = vim.b[vim.api.nvim_win_get_buf(window)].netrw_cpf
    for column = width, vim.fn.strdisplaywidth(text) - 1, width do
      vim.fn.cursor(line, vim.fn.virtcol2col(window, line, column + 1))
      found[#found + 1] = netrw_path(window)
    end
    return found
  end,
}

-- The picker in whose list a window is.
local function picker(window)
  local snacks = need("snacks")
  for _, one in ipairs(snacks.picker.get({ tab = true })) do
    if one.list and one.list.win and one.list.win.win == window then
      return one, snacks
    end
  end
  error("this list is none of snacks.nvim's pickers", 0)
end

local function item_path(snacks, item)
  return item and snacks.picker.util.path(item) or nil
end

TREES["snacks_picker_list"] = {
  marked = function(window)
    local one, snacks = picker(window)
    local found = {}
    for _, item in ipairs(one:selected()) do
      found[#found + 1] = item_path(snacks, item)
    end
    return found
  end,
  at = function(window, line, ranged)
    local one, snacks = picker(window)
    local item = one.list:get(one.list:row2idx(line))
    if item and ranged and item.dir and not item.parent then
      return nil
    end
    return item_path(snacks, item and one:resolve(item) or item)
  end,
}

--- Whether buffers of this filetype are trees.
---@param filetype string
---@return boolean
function M.is_tree(filetype)
  return TREES[filetype] ~= nil
end

--- The files and folders that are meant in the tree of the current window: those of the lines in `range`, else those
--- that are marked, else that of the line of the cursor. nil and why if there are none.
---@param range? integer[] the first and the last line, from 1
---@return string[]? paths
---@return string? problem
function M.files(range)
  local window = vim.api.nvim_get_current_win()
  local buffer = vim.api.nvim_win_get_buf(window)
  local filetype = vim.bo[buffer].filetype
  local tree = TREES[filetype]
  if not tree then
    return nil, ("Not in a supported tree buffer (current filetype: %s)"):format(filetype)
  end
  local view = vim.fn.winsaveview()
  local paths, seen = {}, {}
  local add
  function add(path)
    if type(path) == "table" then
      vim.iter(path):each(add)
      return
    elseif type(path) ~= "string" or path == "" then
      return
    end
    path = #path > 1 and path:gsub("/+$", "") or path
    -- What is not on disk, such as the entries of a help picker or a line that is being edited, is no file.
    if not seen[path] and vim.uv.fs_lstat(path) then
      seen[path] = true
      paths[#paths + 1] = path
    end
  end
  local done, problem = pcall(function()
    if range then
      local last = math.min(range[2], vim.api.nvim_buf_line_count(buffer))
      for line = math.max(1, range[1]), last do
        add(tree.at(window, line, true))
      end
      return
    end
    for _, path in ipairs(tree.marked and tree.marked(window) or {}) do
      add(path)
    end
    if #paths == 0 then
      add(tree.at(window, vim.api.nvim_win_get_cursor(window)[1], false))
    end
  end)
  if vim.api.nvim_win_is_valid(window) then
    vim.api.nvim_win_call(window, function()
      vim.fn.winrestview(view)
    end)
  end
  if not done then
    return nil, (tostring(problem):gsub("^[^\n]-:%d+: ", ""))
  end
  if #paths == 0 then
    return nil, "No files selected"
  end
  return paths
end

return M

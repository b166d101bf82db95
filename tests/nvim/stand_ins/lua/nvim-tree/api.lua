-- Stands in for nvim-tree: what its public API says of a buffer of filetype NvimTree whose lines are paths.
local M = { marks = {}, tree = {} }

M.marked = {}

local function node(path, parent)
  return { absolute_path = path, type = vim.fn.isdirectory(path) == 1 and "directory" or "file", parent = parent }
end

function M.marks.list()
  return vim.tbl_map(function(path)
    return node(path, {})
  end, M.marked)
end

function M.tree.get_node_under_cursor()
  local line = vim.api.nvim_win_get_cursor(0)[1]
  local path = vim.api.nvim_buf_get_lines(0, line - 1, line, false)[1]
  if path == "" then
    return nil
  end
  -- The first line is the root, which has no parent.
  return node(path, line > 1 and {} or nil)
end

return M

-- Stands in for mini.files: what its public API says of a buffer of filetype minifiles whose lines are paths.
local M = {}

function M.get_fs_entry(buffer, line)
  buffer = (buffer == nil or buffer == 0) and vim.api.nvim_get_current_buf() or buffer
  line = line or vim.api.nvim_win_get_cursor(0)[1]
  local path = vim.api.nvim_buf_get_lines(buffer, line - 1, line, false)[1]
  if not path or path == "" then
    return nil
  end
  return {
    fs_type = vim.fn.isdirectory(path) == 1 and "directory" or "file",
    name = vim.fs.basename(path),
    path = path,
  }
end

return M

-- Stands in for oil.nvim: what its public API says of a buffer of filetype oil whose lines are names.
local M = {}

function M.get_current_dir(buffer)
  return vim.api.nvim_buf_get_name(buffer):match("^oil://(.*)$")
end

function M.get_entry_on_line(buffer, line)
  local name = vim.api.nvim_buf_get_lines(buffer, line - 1, line, false)[1]
  if not name or name == "" then
    return nil
  end
  return { name = (name:gsub("/$", "")), type = vim.endswith(name, "/") and "directory" or "file" }
end

return M

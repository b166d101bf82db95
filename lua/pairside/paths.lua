-- Owns the way between buffers and files: exact, by real path, whatever characters a name has.
local M = {}

-- By buffer: the name that was looked up, and its real path. A link that is set elsewhere later is seen when the buffer
-- is read, written or renamed.
local known = {}

--- The real path of a file; of one that does not exist the real path of what does of it, and the rest.
---@param name string
---@return string
function M.real(name)
  name = vim.fs.abspath and vim.fs.abspath(name) or vim.fn.fnamemodify(name, ":p")
  local real = vim.uv.fs_realpath(name)
  if real then
    return real
  end
  local rest = {}
  local path = name:gsub("(.)/+$", "%1")
  while path ~= "/" and path ~= "." and path ~= "" do
    table.insert(rest, 1, vim.fs.basename(path))
    path = vim.fs.dirname(path)
    real = vim.uv.fs_realpath(path)
    if real then
      return (real == "/" and "" or real) .. "/" .. table.concat(rest, "/")
    end
  end
  return name
end

--- Whether a buffer is one of a file: named, of no special type, and not behind a protocol.
---@param buffer integer
---@return boolean
function M.is_file(buffer)
  if vim.bo[buffer].buftype ~= "" then
    return false
  end
  local name = vim.api.nvim_buf_get_name(buffer)
  return name ~= "" and not name:find("^%a[%w+.-]*://")
end

--- The real path of a buffer's file; nil if it has none.
---@param buffer integer
---@return string?
function M.of(buffer)
  if not M.is_file(buffer) then
    return nil
  end
  local name = vim.api.nvim_buf_get_name(buffer)
  local last = known[buffer]
  if not last or last.name ~= name then
    last = { name = name, real = M.real(name) }
    known[buffer] = last
  end
  return last.real
end

--- The loaded buffer of a file, exactly; nil if there is none.
---@param path string
---@return integer?
function M.buffer(path)
  local wanted = M.real(path)
  for _, buffer in ipairs(vim.api.nvim_list_bufs()) do
    if vim.api.nvim_buf_is_loaded(buffer) and M.of(buffer) == wanted then
      return buffer
    end
  end
end

function M.enable()
  local group = vim.api.nvim_create_augroup("pairside_paths", {})
  vim.api.nvim_create_autocmd({ "BufFilePost", "BufReadPost", "BufWritePost", "BufWipeout", "BufDelete" }, {
    group = group,
    callback = function(event)
      known[event.buf] = nil
    end,
  })
end

function M.disable()
  pcall(vim.api.nvim_del_augroup_by_name, "pairside_paths")
  known = {}
end

return M

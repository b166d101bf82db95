-- Owns the buffer of a proposal: how a text gets into it, and how exactly that text, or what the person made of it, gets
-- out again.
--
-- Such a buffer is never flagged as modified, whatever is typed into it. So `:wall`, `:wqall` and autosave pass it by,
-- `:quit` and `:bdelete` are not refused, and Neovim can be left. That it was edited is known from its changedtick.
local M = {}

--- What the names of all these buffers begin with.
M.SCHEME = "pairside://review/"

local BOM = "\239\187\191"

--- The lines of a text and whether the last one is ended. Only LF ends a line.
---@param text string
---@return string[] lines at least one
---@return boolean ended
function M.split(text)
  local lines, count, from = {}, 0, 1
  local find, sub = string.find, string.sub
  while true do
    local at = find(text, "\n", from, true)
    if not at then
      break
    end
    count = count + 1
    lines[count] = sub(text, from, at - 1)
    from = at + 1
  end
  local rest = sub(text, from)
  if rest == "" and count > 0 then
    return lines, true
  end
  lines[count + 1] = rest
  return lines, false
end

-- Names may hold anything but NUL and "/". What would be drawn over the screen or break a command line does not.
local function harmless(name)
  return (name:gsub("[%c\127]", "?"))
end

--- A buffer name that no other buffer has.
---@param id integer
---@param path string
---@param what string
---@return string
function M.name(id, path, what)
  return ("%s%d/%s (%s)"):format(M.SCHEME, id, harmless(vim.fs.basename(path)), what)
end

--- Gives a buffer a name; if some buffer has it already, one like it.
---@param buffer integer
---@param name string
function M.call(buffer, name)
  local wanted, number = name, 1
  while not pcall(vim.api.nvim_buf_set_name, buffer, wanted) and number < 100 do
    number = number + 1
    wanted = ("%s %d"):format(name, number)
  end
end

--- Puts a text into a buffer. It is the beginning: it cannot be undone.
---@param buffer integer
---@param text string
local function fill(buffer, text)
  local options = vim.bo[buffer]
  local marked = vim.startswith(text, BOM)
  if marked then
    text = text:sub(#BOM + 1)
  end
  local lines, ended = M.split(text)
  options.modifiable = true
  options.undolevels = -1
  vim.api.nvim_buf_set_lines(buffer, 0, -1, false, {})
  if text ~= "" then
    vim.api.nvim_buf_set_lines(buffer, 0, -1, false, lines)
  end
  options.undolevels = -123456 -- the value that stands for "as the global one"
  options.fileformat = "unix"
  options.bomb = marked
  options.fixendofline = false
  -- What is typed into an empty file ends with a newline, as everywhere in Neovim.
  options.endofline = ended or text == ""
  options.modified = false
end

--- A new buffer with a proposal.
---@param review pairside.Review
---@return integer
function M.open(review)
  local buffer = vim.api.nvim_create_buf(false, true)
  local options = vim.bo[buffer]
  options.buftype = "acwrite"
  options.bufhidden = "hide"
  options.swapfile = false
  options.undofile = false
  options.modeline = false
  M.call(buffer, M.name(review.id, review.path, review.new and "NEW FILE - proposed" or "proposed"))
  vim.b[buffer].pairside_review = review.id
  -- People who use autosave with claudecode.nvim have left out buffers with this variable.
  vim.b[buffer].claudecode_diff_tab_name = review.name
  fill(buffer, review.text)
  vim.api.nvim_buf_attach(buffer, false, {
    on_lines = function(_, changed)
      vim.bo[changed].modified = false
    end,
  })
  review.filled = vim.api.nvim_buf_get_changedtick(buffer)
  return buffer
end

--- What `:edit!` does: the proposal as it came.
---@param review pairside.Review
function M.refill(review)
  fill(review.buffer, review.text)
  review.filled = vim.api.nvim_buf_get_changedtick(review.buffer)
end

--- The filetype of a proposal: that of the file, known from its buffer, its name or the text.
---@param review pairside.Review
---@return string?
---@return fun(buffer: integer)?
function M.filetype(review)
  local original = review.original
  if original and vim.api.nvim_buf_is_loaded(original) and vim.bo[original].filetype ~= "" then
    return vim.bo[original].filetype
  end
  local found, filetype, also = pcall(vim.filetype.match, { filename = review.path, buf = review.buffer })
  if found then
    return filetype, also
  end
end

--- What stands in the buffer now, exactly.
---@param buffer integer
---@return string
function M.text(buffer)
  local lines = vim.api.nvim_buf_get_lines(buffer, 0, -1, false)
  local options = vim.bo[buffer]
  local mark = options.bomb and BOM or ""
  -- Without any line and with one empty line a buffer looks the same, but it is not the same file.
  if #lines == 1 and lines[1] == "" and M.is_empty(buffer) then
    return mark
  end
  if options.endofline then
    lines[#lines + 1] = ""
  end
  return mark .. table.concat(lines, "\n")
end

--- Whether there is not even an empty line.
---@param buffer integer
---@return boolean
function M.is_empty(buffer)
  return vim.api.nvim_buf_call(buffer, function()
    return vim.fn.wordcount().bytes == 0
  end)
end

--- The text if the person changed something, else nil.
---@param review pairside.Review
---@return string?
function M.edited(review)
  local buffer = review.buffer
  if not vim.api.nvim_buf_is_loaded(buffer) or vim.api.nvim_buf_get_changedtick(buffer) == review.filled then
    return nil
  end
  return M.text(buffer)
end

return M

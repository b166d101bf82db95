-- Owns what pairside is told of diagnostics, whoever found them: what vim.diagnostic knows.
local paths = require("pairside.paths")
local process = require("pairside.process")
local text = require("pairside.text")

local M = {}

local GROUP = "pairside_diagnostics"
-- Several sources report at nearly the same time.
local TOGETHER_MS = 20
-- When Neovim reads a file again it closes the document and opens it anew. Some servers take back what they found when
-- it is closed; that nothing is left then says nothing about the new text. If no other report follows, it counts.
local FAREWELL_MS = 1200

---@type uv.uv_timer_t?
local timer
-- Buffers that are to be reported.
---@type table<integer, boolean>
local due = {}
-- Buffers whose text was read and that nothing has looked at since: when they were read, whether once more, how many
-- reports came since, which questions to servers were asked since (their numbers, and the client), and which clients
-- have answered one.
---@class pairside.Unseen
---@field at integer
---@field reports integer
---@field reload boolean
---@field questions table<string, integer>
---@field answered table<integer, boolean>
---@type table<integer, pairside.Unseen>
local unseen = {}
-- The paths of the buffers for which something was reported.
---@type table<integer, string>
local reported = {}

local function of_buffer(buffer)
  local loaded = vim.api.nvim_buf_is_loaded(buffer)
  local count = loaded and vim.api.nvim_buf_line_count(buffer) or 0
  local function position(row, column)
    row, column = math.max(0, row), math.max(0, column)
    if not loaded then
      return { row, column }
    elseif row >= count then
      return { row, 0 }
    end
    return text.position(buffer, row, column)
  end
  local diagnostics = {}
  for _, one in ipairs(vim.diagnostic.get(buffer)) do
    local row = one.lnum or 0
    local start = position(row, one.col or 0)
    local stop = position(one.end_lnum or row, one.end_col or one.col or 0)
    if stop[1] < start[1] or stop[1] == start[1] and stop[2] < start[2] then
      stop = start
    end
    diagnostics[#diagnostics + 1] = {
      message = text.valid(tostring(one.message)),
      severity = one.severity or vim.diagnostic.severity.ERROR,
      start = start,
      ["end"] = stop,
      source = one.source and text.valid(tostring(one.source)) or nil,
      code = one.code ~= nil and text.valid(tostring(one.code)) or nil,
    }
  end
  return diagnostics
end

local function name_of(buffer)
  return vim.api.nvim_buf_is_valid(buffer) and require("pairside.documents").name(buffer) or nil
end

local function tell()
  if not timer then
    return
  end
  local files = {}
  for buffer in pairs(due) do
    local name = name_of(buffer)
    -- While it is awaited, what is known is about the old text, and must not be taken for what is found in the new one.
    if name and not M.awaited(buffer) then
      local diagnostics = of_buffer(buffer)
      files[#files + 1] = { path = name, diagnostics = diagnostics }
      reported[buffer] = #diagnostics > 0 and name or nil
    elseif not name and reported[buffer] then
      files[#files + 1] = { path = reported[buffer], diagnostics = {} }
      reported[buffer] = nil
    end
  end
  due = {}
  if #files > 0 then
    process.notify("diagnostics/changed", { files = files })
  end
end

local function soon(buffer)
  if not timer then
    return
  end
  due[buffer] = true
  if not timer:is_active() then
    timer:start(TOGETHER_MS, 0, vim.schedule_wrap(tell))
  end
end

-- The language servers of a buffer that find something; those that have never said anything are not counted.
local function servers(buffer)
  local asked, tells = {}, 0
  if not package.loaded["vim.lsp"] or not package.loaded["vim.diagnostic"] then
    return asked, tells
  end
  local known = vim.diagnostic.get_namespaces()
  for _, client in ipairs(vim.lsp.get_clients({ bufnr = buffer })) do
    if client:supports_method("textDocument/diagnostic", buffer) then
      asked[#asked + 1] = client.id
    elseif known[vim.lsp.diagnostic.get_namespace(client.id)] then
      tells = tells + 1
    end
  end
  return asked, tells
end

--- Whether something is going to look at the new text of a buffer, and to report what it finds.
---@param buffer integer
---@return boolean
function M.awaited(buffer)
  if not unseen[buffer] then
    return false
  end
  local asked, tells = servers(buffer)
  return #asked + tells > 0
end

local function seen(buffer)
  unseen[buffer] = nil
  soon(buffer)
end

local function diagnosed(event)
  local buffer = event.buf
  local before = unseen[buffer]
  if not before then
    soon(buffer)
    return
  end
  before.reports = before.reports + 1
  local asked, tells = servers(buffer)
  if #asked > 0 then
    -- It may be another's, or the one with which Neovim takes back the old ones; the answers count.
    return
  end
  local nothing = event.data and event.data.diagnostics and #event.data.diagnostics == 0
  if nothing and before.reload and before.reports <= tells then
    local left = FAREWELL_MS - (vim.uv.now() - before.at)
    vim.defer_fn(function()
      if unseen[buffer] == before and timer then
        seen(buffer)
      end
    end, math.max(0, left))
    return
  end
  seen(buffer)
end

-- A server was asked what it finds in a buffer, or has answered. A question from before the buffer was read, and one
-- that was withdrawn, say nothing about its new text.
local function asked_or_answered(data)
  local buffer, kind = data.request.bufnr, data.request.type
  local before = unseen[buffer]
  local number = ("%d/%d"):format(data.client_id, data.request_id)
  if not before then
    if kind == "complete" then
      soon(buffer)
    end
  elseif kind == "pending" then
    before.questions[number] = data.client_id
  elseif kind == "cancel" then
    before.questions[number] = nil
  elseif before.questions[number] then
    before.answered[data.client_id] = true
    for _, client in ipairs((servers(buffer))) do
      if not before.answered[client] then
        return
      end
    end
    seen(buffer)
  end
end

process.verbs["diagnostics/get"] = function(params)
  local files = {}
  if not package.loaded["vim.diagnostic"] then
    return { files = files }
  end
  local wanted = params.path and paths.real(params.path)
  local buffers = {}
  for _, one in ipairs(vim.diagnostic.get()) do
    buffers[one.bufnr] = true
  end
  local open = wanted and paths.buffer(wanted)
  if open then
    buffers[open] = true
  end
  for buffer in vim.spairs(buffers) do
    local name = name_of(buffer)
    if name and (not wanted or buffer == open or paths.of(buffer) == wanted) then
      local diagnostics = of_buffer(buffer)
      files[#files + 1] = { path = name, diagnostics = diagnostics }
      reported[buffer] = #diagnostics > 0 and name or nil
    end
  end
  return { files = files }
end

function M.enable()
  M.disable()
  timer = assert(vim.uv.new_timer())
  local group = vim.api.nvim_create_augroup(GROUP, {})
  vim.api.nvim_create_autocmd("DiagnosticChanged", { group = group, callback = diagnosed })
  vim.api.nvim_create_autocmd("BufReadPost", {
    group = group,
    callback = function(event)
      -- A document that servers know already is closed and opened anew.
      local asked, tells = servers(event.buf)
      unseen[event.buf] = {
        at = vim.uv.now(),
        reports = 0,
        reload = #asked + tells > 0,
        questions = {},
        answered = {},
      }
    end,
  })
  -- A server that was asked and has nothing new to say leaves what it found as it was, so its answer is what counts.
  vim.api.nvim_create_autocmd("LspRequest", {
    group = group,
    callback = function(event)
      if event.data.request.method == "textDocument/diagnostic" then
        asked_or_answered(event.data)
      end
    end,
  })
  vim.api.nvim_create_autocmd({ "BufUnload", "BufWipeout" }, {
    group = group,
    callback = function(event)
      unseen[event.buf] = nil
      if reported[event.buf] then
        soon(event.buf)
      end
    end,
  })
end

function M.disable()
  pcall(vim.api.nvim_del_augroup_by_name, GROUP)
  if timer then
    timer:stop()
    timer:close()
    timer = nil
  end
  due, unseen, reported = {}, {}, {}
end

return M

-- Owns the conversation with the child process: JSON-RPC 2.0 over its standard input and output, each message behind a
-- header with its length, as in the Language Server Protocol.
--
-- Whatever comes out of the child, nothing here raises an error into Neovim's event loop, where it would end up as a
-- prompt. What is read is decoded at once and dispatched in the main loop, in the order in which it came.
local M = {}

local HEADER_BYTES = 8192
local STDERR_BYTES = 4096
-- A child that was asked to end and has not by then is ended.
local STUBBORN_MS = 3000
local ENCODED = { luanil = { object = true, array = true } }

---@class pairside.Wire
---@field request fun(method: string, params: table, done: fun(problem?: table, result?: table)): string? what is wrong
---@field notify fun(method: string, params: table): string? what is wrong
---@field ahead fun(method: string, test: fun(params: table): boolean): boolean whether such a notification has come
---@field stop fun() asks the child to end, and sees to it that it does
---@field stderr fun(): string the last of what it wrote there

---@class pairside.Listener
---@field request fun(method: string, params: table): table answers at once
---@field notification fun(method: string, params: table)
---@field broken fun(why: string) what comes is no protocol; the child is ended
---@field exit fun(code: integer, signal: integer) once, after everything else

-- Cuts what comes into messages. Raises an error where it is no protocol.
local function reader(take)
  local chunks, size, wanted = {}, 0, nil
  local function whole()
    local text = #chunks == 1 and chunks[1] or table.concat(chunks)
    chunks = { text }
    return text
  end
  return function(data)
    chunks[#chunks + 1], size = data, size + #data
    while true do
      if not wanted then
        local text = whole()
        local first, last = text:find("\r\n\r\n", 1, true)
        if not first then
          if size > HEADER_BYTES or not ("content-length:"):find(text:sub(1, 15):lower(), 1, true) then
            error(("%q is no header"):format(text:sub(1, 80)), 0)
          end
          return
        end
        wanted = tonumber(text:sub(1, first - 1):lower():match("content%-length:%s*(%d+)"))
        if not wanted then
          error(("%q is no header"):format(text:sub(1, 80)), 0)
        end
        chunks, size = { text:sub(last + 1) }, size - last
      end
      if size < wanted then
        return
      end
      local text = whole()
      local message = #text == wanted and text or text:sub(1, wanted)
      chunks, size, wanted = { text:sub(wanted + 1) }, size - wanted, nil
      take(message)
    end
  end
end

--- Starts a child. Raises an error if that is not possible.
---@param command string[]
---@param listener pairside.Listener
---@return pairside.Wire
function M.start(command, listener)
  local wire = {}
  local child ---@type vim.SystemObj
  local inbox, first, scheduled = {}, 1, false
  local asked, last_id = {}, 0
  local broken, ended = false, false
  local stderr = ""

  local function send(message)
    local encoded, text = pcall(vim.json.encode, message)
    if not encoded then
      return tostring(text)
    end
    local written = not ended and pcall(child.write, child, ("Content-Length: %d\r\n\r\n%s"):format(#text, text))
    return not written and "pairside has ended" or nil
  end

  local function dispatch(message)
    if message.method and message.id ~= nil then
      -- Neovim may have been busy for so long that nobody waits for it any more.
      local withdrawn = wire.ahead("$/cancelRequest", function(params)
        return params.id == message.id
      end)
      local result = withdrawn and { failure = "withdrawn" } or listener.request(message.method, message.params or {})
      local problem = send({ jsonrpc = "2.0", id = message.id, result = result })
      if problem then
        send({ jsonrpc = "2.0", id = message.id, result = { failure = problem } })
      end
    elseif message.method then
      listener.notification(message.method, message.params or {})
    else
      local done = asked[message.id]
      if done then
        asked[message.id] = nil
        done(message.error, message.result)
      end
    end
  end

  local function drain()
    scheduled = false
    while first <= #inbox do
      local message = inbox[first]
      inbox[first] = false
      first = first + 1
      pcall(dispatch, message)
    end
    inbox, first = {}, 1
  end

  local function fail(why)
    if not broken then
      broken = true
      vim.schedule(function()
        listener.broken(why)
        wire.stop()
      end)
    end
  end

  local read = reader(function(text)
    local message = vim.json.decode(text, ENCODED)
    if type(message) ~= "table" or (message.method == nil and message.id == nil) then
      error(("%q is no message"):format(text:sub(1, 80)), 0)
    end
    inbox[#inbox + 1] = message
    if not scheduled then
      scheduled = true
      vim.schedule(drain)
    end
  end)

  child = vim.system(command, {
    stdin = true,
    stdout = function(_, data)
      if data and not broken then
        local done, why = pcall(read, data)
        if not done then
          fail(why)
        end
      end
    end,
    stderr = function(_, data)
      if data then
        stderr = (stderr .. data):sub(-STDERR_BYTES)
      end
    end,
    -- In a process group of its own: when Neovim is suspended the agents are still served.
    detach = true,
  }, function(result)
    ended = true
    vim.schedule(function()
      drain()
      listener.exit(result.code, result.signal)
    end)
  end)

  function wire.request(method, params, done)
    last_id = last_id + 1
    asked[last_id] = done
    local problem = send({ jsonrpc = "2.0", id = last_id, method = method, params = params })
    if problem then
      asked[last_id] = nil
    end
    return problem
  end

  function wire.notify(method, params)
    return send({ jsonrpc = "2.0", method = method, params = params })
  end

  function wire.ahead(method, test)
    for index = first, #inbox do
      local message = inbox[index]
      if message.method == method and message.id == nil and test(message.params or {}) then
        return true
      end
    end
    return false
  end

  function wire.stop()
    pcall(child.kill, child, "sigterm")
    vim.defer_fn(function()
      if not ended then
        pcall(child.kill, child, "sigkill")
      end
    end, STUBBORN_MS)
  end

  function wire.stderr()
    return stderr
  end

  return wire
end

return M

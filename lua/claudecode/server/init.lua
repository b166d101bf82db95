-- Owns the functions of claudecode.nvim for its server, which is a process of its own here.
local other = require("pairside.compatibility").other("claudecode.server")
if other ~= nil then
  return other
end

local M = {}

---@return boolean started
---@return string? problem
function M.start()
  return require("claudecode").start()
end

---@return boolean stopped
---@return string? problem
function M.stop()
  return require("claudecode").stop()
end

local function no_wire(name)
  M[name] = function()
    require("claudecode.without").meaning(
      ("server.%s"):format(name),
      "what agents are told is sent by pairside alone (:help pairside-api)"
    )
    return false
  end
end

no_wire("send")
no_wire("send_response")
no_wire("broadcast")

--- What is known without waiting.
---@return { running: boolean, port: integer?, client_count: integer, clients: table[] }
function M.get_status()
  local status = require("pairside").status()
  return {
    running = status.running == true,
    port = status.port,
    client_count = status.client_count or 0,
    clients = vim.tbl_map(function(client)
      return { id = client.id, state = "connected", agent = client.agent, pid = client.pid }
    end, status.clients or {}),
  }
end

return M

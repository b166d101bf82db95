-- Owns the functions of claudecode.nvim for its diffs, which are reviews here.
local other = require("pairside.compatibility").other("claudecode.diff")
if other ~= nil then
  return other
end

local M = {}

local function review()
  return require("pairside.review")
end

function M.accept_current_diff()
  review().accept()
end

function M.deny_current_diff()
  review().reject()
end

--- Rejects every pending proposal.
---@return integer count
function M.close_all_diffs()
  return review().close_all()
end

--- Rejects every pending proposal.
---@return integer count
function M.close_pending_diffs()
  return review().close_all()
end

--- Does nothing: what an agent proposed goes when it leaves, and nothing of the others.
---@return integer count
function M.close_diffs_for_client()
  require("claudecode.without").meaning("diff.close_diffs_for_client", "proposals go with the agent that made them")
  return 0
end

--- Rejects the proposal of this name.
---@param name string
---@return boolean found
function M.close_diff_by_tab_name(name)
  local found = false
  for _, one in ipairs(review().pending()) do
    if one.name == name then
      found = true
      review().reject(one.id)
    end
  end
  return found
end

--- Fails: only what an agent proposes is reviewed.
function M.open_diff_blocking()
  error("diff.open_diff_blocking is not offered: only what an agent proposes is reviewed", 2)
end

return M

-- Owns the question whether the person may be disturbed: nothing is half typed, and no key came for a while.
local M = {}

-- How often it is looked again while something waits for it; SafeState is faster where there is one.
local AGAIN_MS = 100
local PAUSE_MS = 20

local MODES = { n = true, nt = true, t = true }

local last_key = 0
local enabled = false
---@type { run: fun(), quiet: integer?, ready: (fun(): boolean)? }[]
local waiting = {}
local timer
local looking = false

--- Whether nothing is half typed: no operator, no mapping, no insertion, no command line, no question.
---@param restless boolean? yes also while Neovim has not come to rest after the last key
---@return boolean
function M.settled(restless)
  local mode = vim.api.nvim_get_mode()
  return not mode.blocking
    and MODES[mode.mode] == true
    -- While a terminal gets the keys Neovim counts as never safe.
    and not vim.fn.state((restless or mode.mode == "t") and "oxm" or "oSxm"):find(".")
    and vim.fn.getcmdwintype() == ""
end

--- Whether nothing is half typed and no key came for so many milliseconds.
---@param quiet integer?
---@return boolean
function M.now(quiet)
  return M.settled() and (vim.uv.hrtime() - last_key) / 1e6 >= (quiet or 0)
end

local function look()
  if #waiting == 0 then
    return
  end
  for _, one in ipairs({ unpack(waiting) }) do
    if vim.list_contains(waiting, one) and M.now(one.quiet) and (not one.ready or one.ready()) then
      M.forget(one)
      one.run()
    end
  end
end

local function settle()
  if #waiting == 0 and timer then
    timer:stop()
    timer:close()
    timer = nil
    pcall(vim.api.nvim_del_augroup_by_name, "pairside_idle")
  elseif #waiting > 0 and not timer then
    timer = assert(vim.uv.new_timer())
    timer:start(AGAIN_MS, AGAIN_MS, vim.schedule_wrap(look))
    vim.api.nvim_create_autocmd("SafeState", {
      group = vim.api.nvim_create_augroup("pairside_idle", {}),
      callback = function()
        -- Whatever is scheduled brings the next SafeState: without a pause this would never rest.
        if not looking then
          looking = true
          vim.schedule(look)
          vim.defer_fn(function()
            looking = false
          end, PAUSE_MS)
        end
      end,
    })
  end
end

--- Runs a function once, as soon as nothing is half typed, no key came for `quiet` milliseconds, and `ready` says yes.
---@param run fun()
---@param options? { quiet?: integer, ready?: fun(): boolean }
---@return table waiter for `forget`
function M.when(run, options)
  local one = { run = run, quiet = options and options.quiet, ready = options and options.ready }
  waiting[#waiting + 1] = one
  settle()
  vim.schedule(look)
  return one
end

--- It is not wanted any more.
---@param waiter table?
function M.forget(waiter)
  for index, one in ipairs(waiting) do
    if one == waiter then
      table.remove(waiting, index)
      break
    end
  end
  settle()
end

function M.enable()
  if enabled then
    return
  end
  enabled = true
  vim.on_key(function(_, typed)
    if typed ~= "" then
      last_key = vim.uv.hrtime()
    end
  end, vim.api.nvim_create_namespace("pairside_idle"))
end

function M.disable()
  enabled = false
  waiting = {}
  settle()
  vim.on_key(nil, vim.api.nvim_create_namespace("pairside_idle"))
end

return M

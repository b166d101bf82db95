-- Owns the reviews: which proposals there are, which one is on screen, and what counts as a verdict on it.
--
-- One review is on screen at a time, the others wait in the order in which they came. Windows are opened and closed only
-- while nothing is half typed. A verdict is what the person does to this one proposal:
--
-- - `:w` and its relatives accept, typed or mapped (`typed.lua`); a plugin that saves by itself does not.
-- - Closing the last window with the proposal while being in it rejects, and so does closing its tab, or deleting its
--   buffer. Closing it from another window (`:only`) takes it from the screen and decides nothing.
-- - Closing the window with the original decides nothing.
local idle = require("pairside.idle")
local message = require("pairside.message")
local process = require("pairside.process")

local M = {}

local api = vim.api

local GROUP, REVIEWING = "pairside_review", "pairside_reviewing"
-- A person who stopped typing so long ago may be moved to another window.
local QUIET_MS = 500
-- What is typed so soon was meant for something else.
local UNSEEN_MS = 300
local ENDED = "pairside has ended"

---@class pairside.Review
---@field id integer
---@field path string
---@field name string the agent's own name for it
---@field agent string
---@field text string
---@field new boolean
---@field pid integer?
---@field buffer integer? of the proposal
---@field original integer? the buffer of the file
---@field filled integer the changedtick of the untouched proposal
---@field shown pairside.Shown? what is on screen
---@field seen boolean whether it has been on screen
---@field sealed table? it has been on screen for so short a time that it takes no keys yet
---@field aside boolean the person closed it from elsewhere: it is not shown again by itself
---@field asked boolean? the person asked for it by a command
---@field deciding string? the outcome that pairside has been told
---@field over string? why it is no longer pending
---@field layout string?
---@field told_dirty boolean

---@type table<integer, pairside.Review>
local reviews = {}
---@type integer[] the ids, oldest first
local order = {}
---@type table? what waits for the person to stop
local waiter = nil

local function options()
  return require("pairside.options").values.diff_opts
end

local function windows()
  return require("pairside.review.windows")
end

local function proposal()
  return require("pairside.review.proposal")
end

---@param buffer integer
---@return pairside.Review?
local function of_buffer(buffer)
  for _, review in pairs(reviews) do
    if review.buffer == buffer then
      return review
    end
  end
end

local function listed()
  return vim.tbl_map(function(id)
    return reviews[id]
  end, order)
end

local function pending()
  return vim.tbl_filter(function(review)
    return not review.over and not review.deciding
  end, listed())
end

local function on_screen()
  return vim.iter(listed()):find(function(review)
    return review.shown ~= nil
  end)
end

local function basename(review)
  return vim.fs.basename(review.path)
end

local pump

-- The original has unsaved changes: what the agent wants to write is made from something else.
local function dirty(review)
  local buffer = require("pairside.paths").buffer(review.path)
  return buffer ~= nil and vim.bo[buffer].modified
end

local function refusal(review)
  return ("%s has unsaved changes: write them (:w) or give them up (:e!), then the proposal can be reviewed"):format(
    review.path
  )
end

-- The same when the proposal has only come: it is not kept, and the agent asks in its own terminal.
local function refused(review)
  return ("%s has unsaved changes: write them (:w) or give them up (:e!), answer No to the agent, and ask it again"):format(
    review.path
  )
end

local function guarded(review)
  return review.sealed ~= nil
end

local function hint()
  local review = on_screen()
  if review and review.shown then
    windows().hint(review.shown, review, #pending() - 1)
  end
end

-- What has been shown by mistake a moment ago takes no keys: neither are they typed into it, nor do they accept it.
local function seal(review)
  local buffer = review.buffer
  local mark = {}
  vim.bo[buffer].modifiable = false
  review.sealed, review.seen = mark, true
  vim.defer_fn(function()
    if review.sealed == mark then
      review.sealed = nil
      if api.nvim_buf_is_valid(buffer) then
        vim.bo[buffer].modifiable = true
      end
    end
  end, UNSEEN_MS)
end

local function map(review, keys, wanted, what)
  if keys then
    vim.keymap.set("n", keys, function()
      if guarded(review) then
        message.info(("%s has just been shown: once more to %s it"):format(basename(review), wanted))
      else
        M[wanted](review.id)
      end
    end, { buffer = review.buffer, desc = what })
  end
end

local function prepare(review)
  review.buffer = proposal().open(review)
  local keymaps = options().keymaps or {}
  map(review, keymaps.accept, "accept", "pairside: accept this proposal")
  map(review, keymaps.reject, "reject", "pairside: reject this proposal")
  if vim.fn.maparg("ZZ", "n") == "" then
    -- By itself it would only close the window: the buffer is never flagged as modified.
    vim.keymap.set("n", "ZZ", "<Cmd>xit<CR>", { buffer = review.buffer, desc = "pairside: accept this proposal" })
  end
end

-- The groups of claudecode.nvim for the same: who gave them a look sees it.
local THEIRS = {
  PairsideAdd = "ClaudeCodeInlineDiffAdd",
  PairsideDelete = "ClaudeCodeInlineDiffDelete",
  PairsideAddSign = "ClaudeCodeInlineDiffAddSign",
  PairsideDeleteSign = "ClaudeCodeInlineDiffDeleteSign",
}

local function colours()
  for name, link in pairs({
    PairsideAdd = "DiffAdd",
    PairsideDelete = "DiffDelete",
    PairsideRemoved = "DiffDelete",
    PairsideAddSign = "Added",
    PairsideDeleteSign = "Removed",
    PairsideLeftOut = "Comment",
    PairsideHint = "WinBar",
  }) do
    api.nvim_set_hl(0, name, { link = link, default = true })
    local theirs = THEIRS[name]
    if
      theirs
      and next(api.nvim_get_hl(0, { name = theirs, create = false }))
      and api.nvim_get_hl(0, { name = name }).link == link
    then
      api.nvim_set_hl(0, name, { link = theirs })
    end
  end
end

local function show(review)
  colours()
  if not (review.buffer and api.nvim_buf_is_loaded(review.buffer)) then
    if review.buffer and api.nvim_buf_is_valid(review.buffer) then
      pcall(api.nvim_buf_delete, review.buffer, { force = true })
    end
    review.unified = nil
    prepare(review)
  end
  local layout = review.layout or options().layout
  local again = review.seen
  -- Who asks for it wants to be there.
  review.shown = windows().open(review, layout, review.asked or idle.now(QUIET_MS))
  review.asked = nil
  review.aside = false
  seal(review)
  if layout == "unified" then
    require("pairside.review.unified").open(review)
  end
  hint()
  if again then
    return
  end
  require("pairside.events").fire("ReviewOpened", {
    id = review.id,
    agent = review.agent,
    pid = review.pid,
    path = review.path,
    name = review.name,
    new = review.new,
    window = review.shown.window,
    original_window = review.shown.original_window or review.shown.window,
    terminal_window = review.shown.terminal_window,
    tabpage = review.shown.own_tab and review.shown.tabpage or nil,
  })
end

-- Takes a review from the screen; the buffer of the proposal, with what the person made of it, stays.
local function unshow(review)
  local shown = review.shown
  if shown then
    review.shown = nil
    require("pairside.review.unified").close(review)
    windows().close(shown, review)
  end
end

local function attend()
  local any = next(reviews) ~= nil
  require("pairside.review.typed").attend(any)
  if not any then
    pcall(api.nvim_del_augroup_by_name, REVIEWING)
    return
  end
  M.listen()
end

-- Removes a review. This is its end, however it came.
local function finish(review)
  unshow(review)
  local buffer = review.buffer
  reviews[review.id] = nil
  order = vim.tbl_filter(function(id)
    return id ~= review.id
  end, order)
  if buffer and api.nvim_buf_is_valid(buffer) then
    pcall(api.nvim_buf_delete, buffer, { force = true })
  end
  attend()
  if review.seen then
    require("pairside.events").fire("ReviewClosed", {
      id = review.id,
      agent = review.agent,
      path = review.path,
      name = review.name,
      new = review.new,
      reason = review.over,
    })
  end
end

-- Whether a review may be shown now, as far as it is concerned itself.
local function eligible(review)
  if review.over or review.deciding or review.aside or review.shown then
    return false
  end
  if dirty(review) then
    if not review.told_dirty then
      review.told_dirty = true
      message.warn(refusal(review))
    end
    return false
  end
  -- A tab of its own moves the person, so it waits until they pause.
  return review.asked or not windows().apart(review.layout or options().layout) or idle.now(QUIET_MS)
end

local function is_urgent(review)
  return review.over ~= nil
end

local function work()
  return vim.iter(listed()):any(is_urgent) or (not on_screen() and vim.iter(listed()):any(function(review)
    return not (review.over or review.deciding or review.aside) and not dirty(review)
  end))
end

-- Does what is to be done on screen.
local function turn()
  for _, review in ipairs(listed()) do
    if review.over then
      finish(review)
    end
  end
  if not on_screen() then
    local review = vim.iter(listed()):find(eligible)
    if review then
      local shown, problem = pcall(show, review)
      if not shown then
        review.aside = true
        message.error(("the proposal for %s cannot be shown (%s): :Pairside accept, :Pairside reject"):format(
          review.path,
          problem
        ))
      end
    end
  end
  hint()
end

--- Does it now if the person lets us, else as soon as they do.
function pump()
  idle.forget(waiter)
  waiter = nil
  if idle.settled() then
    turn()
  end
  if work() then
    waiter = idle.when(pump)
  end
end

local function over(review, reason)
  if not review.over then
    review.over = reason
    pump()
  end
end

-- Tells pairside what the person decided.
---@param review pairside.Review
---@param outcome "accepted"|"rejected"
---@param after? fun()
local function decide(review, outcome, after)
  if review.deciding or review.over then
    return
  end
  review.deciding = outcome
  local text = outcome == "accepted" and review.buffer and proposal().edited(review) or nil
  process.request("review/decided", { id = review.id, outcome = outcome, text = text }, function(result, failure)
    if failure then
      review.deciding = nil
      message.warn(failure)
      if reviews[review.id] == review and not review.over and not review.shown then
        review.aside = true
      end
      return
    end
    if result.outcome ~= outcome then
      message.info(("nothing of the proposal for %s was left: it is rejected"):format(basename(review)))
    end
    if after then
      after()
    end
    over(review, outcome)
  end)
  hint()
end

-- What `:w` in a proposal does.
local function written(buffer)
  vim.bo[buffer].modified = false
  local review = of_buffer(buffer)
  if not review or not require("pairside.review.typed").means(buffer) then
    return
  end
  if review.over or review.deciding then
    message.info(("the proposal for %s is decided already"):format(basename(review)))
  elseif guarded(review) then
    message.info(("the proposal for %s has just been shown: once more to accept it"):format(basename(review)))
  else
    decide(review, "accepted")
  end
end

-- A window was closed in which a proposal was.
local function closed(window)
  local review = on_screen()
  local shown = review and review.shown
  if not shown or shown.window ~= window then
    return
  end
  local here = shown.leaving ~= nil or api.nvim_get_current_tabpage() == shown.tabpage
  local current = (shown.leaving or api.nvim_get_current_win()) == window
  local early = guarded(review)
  -- The verdict may be known before what is scheduled here comes to its turn.
  shown.dropped = current
  vim.schedule(function()
    if review.shown ~= shown then
      return
    end
    if current then
      shown.dropped = api.nvim_get_current_win()
    end
    if review.over then
      return
    end
    local others = api.nvim_buf_is_valid(review.buffer) and vim.fn.win_findbuf(review.buffer) or {}
    if #others > 0 then
      shown.window = others[1]
      shown.made[others[1]] = true
      return
    end
    local verdict = here and (current or not api.nvim_tabpage_is_valid(shown.tabpage))
    if review.deciding then
      return
    elseif not verdict then
      review.aside = true
      message.info(("the proposal for %s is still pending: :Pairside accept, :Pairside reject"):format(basename(review)))
      unshow(review)
      pump()
    elseif early then
      -- It was closed before anybody can have read it.
      unshow(review)
      pump()
    else
      decide(review, "rejected")
    end
  end)
end

-- The buffer of a proposal was deleted.
local function unloaded(buffer)
  local review = of_buffer(buffer)
  if not review or review.over then
    return
  end
  local early = guarded(review)
  vim.schedule(function()
    if review.over or review.deciding or review.buffer ~= buffer or api.nvim_buf_is_loaded(buffer) then
      return
    elseif early then
      pump()
    else
      decide(review, "rejected")
    end
  end)
end

-- The last window would take Neovim with it. Windows with help and previews do not count as one.
local function quitting()
  local review = on_screen()
  local shown = review and review.shown
  if not shown or api.nvim_get_current_win() ~= shown.window or #api.nvim_list_tabpages() > 1 then
    return
  end
  local ordinary, counted = 0, 0
  for _, window in ipairs(api.nvim_tabpage_list_wins(0)) do
    if api.nvim_win_get_config(window).relative == "" then
      ordinary = ordinary + 1
      if vim.bo[api.nvim_win_get_buf(window)].buftype ~= "help" and not vim.wo[window].previewwindow then
        counted = counted + 1
      end
    end
  end
  if counted == 1 then
    windows().keep(shown, review, ordinary == 1)
  end
end

--- Listens to what the person does while there are reviews.
function M.listen()
  if vim.fn.exists("#" .. REVIEWING) == 1 then
    return
  end
  local group = api.nvim_create_augroup(REVIEWING, {})
  local pattern = proposal().SCHEME .. "*"
  local function on(event, what, also)
    api.nvim_create_autocmd(event, vim.tbl_extend("force", { group = group, callback = what }, also or {}))
  end
  on("BufWriteCmd", function(event)
    written(event.buf)
  end, { pattern = pattern, desc = "pairside: accept a proposal" })
  on("BufReadCmd", function(event)
    local review = of_buffer(event.buf)
    if review then
      proposal().refill(review)
      require("pairside.review.unified").refresh(review)
    end
  end, { pattern = pattern, desc = "pairside: the proposal as it came" })
  on("WinClosed", function(event)
    closed(tonumber(event.match))
  end, { desc = "pairside: reject a proposal" })
  on("TabLeave", function()
    local review = on_screen()
    local shown = review and review.shown
    if shown and shown.tabpage == api.nvim_get_current_tabpage() then
      -- The last window of a tab is closed after the next tab has been entered.
      shown.leaving = api.nvim_get_current_win()
      vim.schedule(function()
        shown.leaving = nil
      end)
    end
  end, { desc = "pairside: reject a proposal" })
  on({ "BufUnload", "BufWipeout" }, function(event)
    unloaded(event.buf)
  end, { pattern = pattern, desc = "pairside: reject a proposal" })
  on("QuitPre", quitting, { desc = "pairside: reject a proposal" })
  on("BufModifiedSet", function(event)
    if not vim.bo[event.buf].modified and #pending() > 0 then
      vim.schedule(pump)
    end
  end, { desc = "pairside: a proposal for this file can be shown" })
end

-- Which review is meant: that of this id, or in this window, or on screen, or the oldest.
local function meant(id)
  local review
  if id then
    review = reviews[id]
  else
    review = of_buffer(api.nvim_get_current_buf()) or on_screen()
    if not review or review.over or review.deciding then
      review = pending()[1]
    end
  end
  if not review or review.over or review.deciding then
    message.info(id and ("there is no pending proposal %d"):format(id) or "no proposal is pending")
    return nil
  end
  return review
end

--- Accepts a proposal as it stands in its buffer.
---@param id? integer
function M.accept(id)
  local review = meant(id)
  if review then
    decide(review, "accepted")
  end
end

--- Rejects a proposal. A text is typed into the agent's terminal, where that is one of ours.
---@param id? integer
---@param text? string
function M.reject(id, text)
  local review = meant(id)
  if not review then
    return
  end
  decide(review, "rejected", text and text ~= "" and function()
    local terminal = require("pairside.terminal")
    local name = review.pid and terminal.of_pid(review.pid)
    if not name then
      message.warn(("%s does not run in one of pairside's terminals: %q is not typed"):format(review.agent, text))
      return
    end
    local typed, problem = terminal.type(text, { name = name })
    if not typed then
      message.warn(problem)
    end
  end or nil)
end

--- Rejects every pending proposal.
---@return integer how many
function M.close_all()
  local all = pending()
  for _, review in ipairs(all) do
    decide(review, "rejected")
  end
  message.info(#all == 0 and "no proposal is pending" or #all == 1 and "1 proposal rejected"
    or ("%d proposals rejected"):format(#all))
  return #all
end

--- The proposals that wait for a verdict, oldest first.
---@return { id: integer, path: string, name: string, agent: string, new: boolean, shown: boolean, edited: boolean }[]
function M.pending()
  return vim.tbl_map(function(review)
    return {
      id = review.id,
      path = review.path,
      name = review.name,
      agent = review.agent,
      new = review.new,
      shown = review.shown ~= nil,
      edited = review.buffer ~= nil
        and api.nvim_buf_is_loaded(review.buffer)
        and api.nvim_buf_get_changedtick(review.buffer) ~= review.filled,
    }
  end, pending())
end

--- Shows a proposal, also one that was put aside; the one on screen waits meanwhile.
---@param id? integer
function M.show(id)
  local review = id and reviews[id] or pending()[1]
  if not review or review.over or review.deciding then
    message.info("no proposal is pending")
    return
  end
  if review.shown then
    api.nvim_set_current_win(review.shown.window)
    return
  end
  if dirty(review) then
    message.warn(refusal(review))
    return
  end
  local current = on_screen()
  if current then
    unshow(current)
  end
  review.aside, review.asked = false, true
  order = vim.list_extend({ review.id }, vim.tbl_filter(function(known)
    return known ~= review.id
  end, order))
  pump()
end

--- Shows the proposal on screen in another layout; what was edited stays.
---@param layout "vertical"|"horizontal"|"unified"
function M.toggle_layout(layout)
  local review = on_screen()
  if not review then
    message.info("no proposal is on screen")
    return
  end
  local current = review.layout or options().layout
  review.layout = layout or (current == "unified" and "vertical" or "unified")
  review.asked = true
  unshow(review)
  pump()
end

--- Leaves the hunk at the cursor out of the proposal on screen, or takes it in again.
function M.toggle_hunk()
  local review = of_buffer(api.nvim_get_current_buf())
  if not review then
    message.info("the cursor is not in a proposal")
    return
  end
  require("pairside.review.unified").toggle(review)
end

local function asked(params)
  ---@type pairside.Review
  local review = {
    id = params.id,
    path = params.path,
    name = params.name,
    agent = params.agent,
    text = params.text,
    new = params.new == true,
    pid = params.pid,
    filled = 0,
    aside = false,
    seen = false,
    told_dirty = false,
  }
  if process.ahead("review/hide", function(told)
    return told.id == review.id
  end) then
    -- It was over before Neovim had the time to hear of it.
    return { state = "waiting" }
  end
  if dirty(review) then
    message.warn(refused(review))
    return { failure = refused(review) }
  end
  if reviews[review.id] then
    -- Of a process that has gone; the person has not let us take it away yet.
    reviews[review.id].over = reviews[review.id].over or ENDED
    finish(reviews[review.id])
  end
  reviews[review.id] = review
  order[#order + 1] = review.id
  attend()
  if not on_screen() and idle.settled() and eligible(review) then
    local shown, problem = pcall(show, review)
    if not shown then
      review.over = "setup failed"
      finish(review)
      return { failure = ("the proposal cannot be shown: %s"):format(problem) }
    end
    return { state = "shown" }
  end
  pump()
  hint()
  return { state = review.shown and "shown" or "waiting" }
end

function M.enable()
  idle.enable()
  -- They cannot be deleted, so they are there from the beginning.
  for _, name in ipairs({ "keys", "hunks", "left_out" }) do
    api.nvim_create_namespace("pairside_" .. name)
  end
  api.nvim_create_augroup(GROUP, {})
  colours()
  api.nvim_create_autocmd("ColorScheme", { group = GROUP, callback = colours, desc = "pairside: highlight groups" })
  process.verbs["review/show"] = asked
  process.notices["review/hide"] = function(params)
    local review = reviews[params.id]
    if review then
      over(review, review.deciding or process.is_ending() and ENDED or "decided elsewhere")
    end
  end
end

--- The process has gone, and with it whoever would be told a verdict.
function M.disable()
  process.verbs["review/show"] = nil
  process.notices["review/hide"] = nil
  pcall(api.nvim_del_augroup_by_name, GROUP)
  if vim.v.exiting ~= vim.NIL then
    return
  end
  for _, review in ipairs(listed()) do
    review.over = review.over or ENDED
  end
  pump()
end

return M

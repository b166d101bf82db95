-- Owns how facts about pairside read as lines: its state, what is shared, what agents changed, the log.
local M = {}

local NAMES = 5

local REASONS = {
  closed = "it said goodbye",
  lost = "the connection broke without a goodbye",
  violation = "it broke the rules of the protocol",
  unresponsive = "it gave no sign of life or took nothing any more",
  shutdown = "pairside stopped",
  crashed = "a defect of pairside; see its log",
}

-- JSON's null is a value in Lua, and a true one.
local function known(value)
  if value ~= vim.NIL then
    return value
  end
end

local function count(number, one)
  return ("%d %s%s"):format(number, one, number == 1 and "" or "s")
end

local function clock(at)
  local today = os.date("%Y-%m-%d", math.floor(at)) == os.date("%Y-%m-%d")
  return tostring(os.date(today and "%H:%M:%S" or "%Y-%m-%d %H:%M:%S", math.floor(at)))
end

local function named(path)
  local name = vim.fn.fnamemodify(path, ":~:.")
  return name == "" and path or name
end

local function agent(facts)
  local name = known(facts.agent) or "an agent"
  local pid = known(facts.pid)
  return pid and ("%s (pid %d)"):format(name, pid) or name
end

local function versioned(facts)
  local version = known(facts.version)
  local pid = known(facts.pid)
  return ("%s%s (%s)"):format(
    known(facts.agent) or "an agent",
    version and " " .. version or "",
    pid and ("pid %d"):format(pid) or "process unknown"
  )
end

local function amount(facts)
  local added, removed = known(facts.added), known(facts.removed)
  return added and (" +%d -%d"):format(added, removed or 0) or ""
end

--- How and why an agent left.
---@param facts table
---@return string
function M.departure(facts)
  local parts = {}
  if REASONS[facts.reason] then
    parts[1] = REASONS[facts.reason]
  end
  local detail = known(facts.detail)
  if detail and detail ~= "" then
    parts[#parts + 1] = detail
  end
  local code = known(facts.code)
  return ("%s%s%s"):format(
    facts.reason,
    code and (" %d"):format(code) or "",
    #parts > 0 and (" (%s)"):format(table.concat(parts, "; ")) or ""
  )
end

--- A client as a line.
---@param client table
---@return string
function M.client(client)
  local parts = {
    versioned(client),
    ("since %s"):format(clock(client.connected_at)),
    ("last heard %d s ago"):format(math.max(0, os.time() - math.floor(client.last_received_at))),
  }
  if client.calls_in_flight > 0 then
    parts[#parts + 1] = count(client.calls_in_flight, "call") .. " in flight"
  end
  if client.open_reviews > 0 then
    parts[#parts + 1] = count(client.open_reviews, "open review")
  end
  local pid = known(client.pid)
  local terminal = pid and package.loaded["pairside.terminal"] and require("pairside.terminal").of_pid(pid)
  if terminal then
    parts[#parts + 1] = terminal == "" and "in the terminal here" or ("in the terminal %s here"):format(terminal)
  end
  return table.concat(parts, ", ")
end

--- What agents may know, and what they can know now.
---@param sharing table
---@return string[]
function M.sharing(sharing)
  if not sharing.on then
    return { "Sharing is off, agents are told nothing (:Pairside share on)" }
  end
  local now, parts = sharing.now, {}
  local selection = known(now.selection)
  if selection and selection.characters > 0 then
    parts[#parts + 1] = ("lines %d to %d of %s"):format(
      selection.start[1] + 1,
      selection["end"][1] + 1,
      named(selection.path)
    )
  end
  local open = now.open_files or {}
  if #open > 0 then
    local names = vim.tbl_map(named, vim.list_slice(open, 1, NAMES))
    parts[#parts + 1] = ("open: %s%s"):format(
      table.concat(names, ", "),
      #open > NAMES and (" and %d more"):format(#open - NAMES) or ""
    )
  end
  local found, files = 0, 0
  for _, number in pairs(now.diagnostics or {}) do
    found, files = found + number, files + 1
  end
  if found > 0 then
    parts[#parts + 1] = ("%s in %s"):format(count(found, "diagnostic"), count(files, "file"))
  end
  return { ("Shared with agents now: %s"):format(#parts > 0 and table.concat(parts, "; ") or "nothing") }
end

--- All about sharing, for a page of its own.
---@param sharing table
---@return string[]
function M.shared(sharing)
  local lines = M.sharing(sharing)
  if sharing.on then
    for _, kind in ipairs({ "selection", "open_files", "diagnostics" }) do
      lines[#lines + 1] = ("share.%s: %s"):format(kind, sharing[kind] and "on" or "off")
    end
    lines[#lines + 1] = ("Never files like %s (share.exclude)"):format(table.concat(sharing.exclude or {}, ", "))
  end
  return lines
end

local STATES = {
  stopped = "stopped (:Pairside start)",
  starting = "starting",
  running = "running",
  failed = "not running",
}

-- The process, as far as it is known here.
local function process_lines(status)
  local process = require("pairside.process")
  local plugin = require("pairside.version")
  local version = vim.version()
  local lines = {}
  local editor = ("Neovim %d.%d.%d, plugin %s"):format(version.major, version.minor, version.patch, plugin)
  if not status then
    lines[1] = ("pairside is %s%s"):format(
      STATES[process.state],
      process.failure and (": %s"):format(process.failure) or ""
    )
    lines[2] = editor
    return lines
  end
  lines[1] = ("pairside %s serves %s on port %d (pid %d)"):format(
    status.version,
    table.concat(vim.tbl_map(named, status.workspace_folders), ", "),
    status.port,
    status.pid
  )
  lines[2] = editor
  if status.version ~= plugin then
    lines[#lines + 1] = ("Note: plugin and pairside differ: update both (:checkhealth pairside)")
  end
  for _, notice in ipairs(status.notices or {}) do
    lines[#lines + 1] = ("Note: %s"):format(notice)
  end
  lines[#lines + 1] = ("Lock file: %s"):format(named(status.lock_file))
  return lines
end

local function terminal_lines()
  local terminal = package.loaded["pairside.terminal"]
  local all = terminal and terminal.status() or {}
  if #all == 0 then
    return { "Terminals: none (:Pairside open)" }
  end
  local lines = { "Terminals:" }
  for _, one in ipairs(all) do
    lines[#lines + 1] = ("  %s: %s%s, %s, provider %s"):format(
      one.name == "" and "(unnamed)" or one.name,
      one.running and "runs" or "has ended",
      one.pid and (" (pid %d)"):format(one.pid) or "",
      one.visible and "on screen" or "hidden",
      one.provider
    )
  end
  return lines
end

local function review_lines(status)
  local loaded = package.loaded["pairside.review"]
  local pending = loaded and loaded.pending() or {}
  local lines = {}
  if status.pending_reviews == 0 then
    lines[1] = "Reviews: none pending"
  else
    lines[1] = ("Reviews: %d pending"):format(status.pending_reviews)
  end
  for _, one in ipairs(pending) do
    lines[#lines + 1] = ("  %d: %s proposes %s%s, %s%s"):format(
      one.id,
      one.agent,
      one.new and "the new file " or "",
      named(one.path),
      one.shown and "on screen" or "waits (:Pairside review)",
      one.edited and ", edited here" or ""
    )
  end
  if status.review_where == "terminal" then
    lines[#lines + 1] = "Proposals are left to the agents' own terminals (:Pairside review-where here)"
  end
  if status.unreviewed_changes > 0 then
    lines[#lines + 1] = ("%s without a review (:Pairside changes)"):format(count(status.unreviewed_changes, "change"))
  end
  return lines
end

--- The state of everything.
---@param status table? what pairside says of itself; nil while it does not run
---@return string[]
function M.status(status)
  local lines = process_lines(status)
  if status then
    lines[#lines + 1] = ""
    lines[#lines + 1] = status.client_count == 0 and "No agent is connected"
      or ("%s connected:"):format(count(status.client_count, "agent"))
    for _, client in ipairs(status.clients) do
      lines[#lines + 1] = "  " .. M.client(client)
    end
    for _, one in ipairs(vim.list_slice(status.departures, math.max(1, #status.departures - 2))) do
      lines[#lines + 1] = ("Left at %s: %s: %s"):format(clock(one.at), agent(one), M.departure(one))
    end
    lines[#lines + 1] = ""
    vim.list_extend(lines, review_lines(status))
    vim.list_extend(lines, M.sharing(status.sharing))
  end
  vim.list_extend(lines, terminal_lines())
  return lines
end

local MEANS = { other = "by other means" }

-- A file of a turn as it is now, in words.
local function changed_file(file)
  local tags = {}
  for _, means in ipairs(file.means) do
    tags[#tags + 1] = MEANS[means]
  end
  if file.late then
    tags[#tags + 1] = "after the agent had finished"
  end
  if file.reviewed then
    tags[#tags + 1] = "reviewed"
  end
  local note = known(file.note)
  if note and note ~= "" then
    tags[#tags + 1] = note
  end
  local tagged = #tags > 0 and ("  [%s]"):format(table.concat(tags, ", ")) or ""
  return ("  %s %s%s%s"):format(file.kind, named(file.path), amount(file), tagged)
end

-- What a turn was, and how much of it is left.
local function turn_line(turn)
  local ended = known(turn.ended_at)
  local when = clock(turn.began_at)
  if turn.is_undo then
    return ("Turn %d  %s  taken back by %s"):format(turn.turn, when, turn.agent)
  end
  local undone = 0
  for _, change in ipairs(turn.changes) do
    undone = undone + (change.state == "undone" and 1 or 0)
  end
  return ("Turn %d  %s  %s%s%s"):format(
    turn.turn,
    when,
    agent(turn),
    ended and "" or ", goes on",
    undone > 0 and (", %s taken back"):format(count(undone, "change")) or ""
  )
end

--- What agents changed, turn by turn.
---@param changes table as pairside answers
---@return string[] lines
---@return table<integer, table> files what a line is about
function M.changes(changes)
  local lines, files = {}, {}
  for _, turn in ipairs(changes.turns) do
    lines[#lines + 1] = turn_line(turn)
    for _, file in ipairs(turn.files) do
      lines[#lines + 1] = changed_file(file)
      files[#lines] = file
    end
  end
  if #lines == 0 then
    lines[1] = "No agent changed anything"
  end
  if (changes.earlier or 0) > 0 then
    lines[#lines + 1] = ("%s before: :Pairside changes all"):format(count(changes.earlier, "turn"))
  end
  if changes.complete == false then
    lines[#lines + 1] = "Note: the work tree could not be looked at in time, so something may be missing; r looks again"
  end
  for _, folder in ipairs(changes.uncovered or {}) do
    lines[#lines + 1] = ("Note: %s is a repository of its own: what commands change in it is not noticed"):format(
      named(folder)
    )
  end
  for _, notice in ipairs(changes.notices or {}) do
    lines[#lines + 1] = ("Note: %s"):format(notice)
  end
  return lines, files
end

--- The same as a patch.
---@param patches table[]
---@return string[]
function M.patches(patches)
  local lines = {}
  for _, one in ipairs(patches) do
    local patch = known(one.patch)
    if patch then
      vim.list_extend(lines, vim.split((patch:gsub("\n$", "")), "\n", { plain = true }))
    else
      lines[#lines + 1] = ("# no patch for %s: %s"):format(named(one.path), known(one.note) or "?")
    end
  end
  if #lines == 0 then
    lines[1] = "# No agent changed anything that is still there"
  end
  return lines
end

local EVENTS = {
  connected = function(event)
    return ("client %d arrived"):format(event.client_id)
  end,
  introduced = function(event)
    return ("client %d is %s"):format(event.client_id, versioned(event))
  end,
  disconnected = function(event)
    return ("%s left: %s"):format(agent(event), M.departure(event))
  end,
  review = function(event)
    return ("review %d: %s proposes %s"):format(event.review, agent(event), named(event.path))
  end,
  decided = function(event)
    return ("review %d (%s): %s by %s"):format(event.review, named(event.path), event.outcome, known(event.by) or "?")
  end,
  change = function(event)
    if event.means == "undo" then
      return ("%s took back changes of %s%s"):format(event.agent, named(event.path), amount(event))
    end
    local is_unasked = event.means == "edit" and not event.reviewed
    return ("%s%s changed %s%s%s"):format(
      is_unasked and "! " or "",
      agent(event),
      named(event.path),
      amount(event),
      is_unasked and " without a review" or event.means == "other" and " by other means" or ""
    )
  end,
  turn = function(event)
    return ("turn %d of %s begins"):format(event.turn, agent(event))
  end,
  ["turn-ended"] = function(event)
    return ("turn %d of %s has ended: %s%s"):format(event.turn, agent(event), count(event.files, "file"), amount(event))
  end,
  undone = function(event)
    return ("turn %d: %s took back %s"):format(
      event.turn,
      event.by,
      table.concat(vim.tbl_map(named, vim.list_slice(event.paths, 1, NAMES)), ", ")
    )
  end,
  forgotten = function(event)
    return ("forgot %s"):format(count(event.changes, "change"))
  end,
  mentioned = function(event)
    return ("mentioned %s"):format(named(event.path))
  end,
  ["mention-expired"] = function(event)
    return ("the mention of %s expired: no agent came within %g s"):format(named(event.path), event.seconds)
  end,
  rival = function(event)
    return ("! %s"):format(event.notice)
  end,
  ["rival-gone"] = function(event)
    return ("the other IDE on port %d is gone"):format(event.port)
  end,
  sharing = function(event)
    return event.on and "sharing is on" or "sharing is off: agents are told nothing any more"
  end,
  ["hook-failed"] = function(event)
    return ("! %s: %s"):format(event.hook, event.why)
  end,
  ["review-where"] = function(event)
    return event.here and "proposals are reviewed here" or "proposals are left to the agents' own terminals"
  end,
  restarting = function(event)
    return ("pairside %s is started in place of this one"):format(event.version)
  end,
  call = function(event)
    return ("client %d called %s (%.3f s): %s"):format(
      event.client_id,
      event.tool,
      event.seconds,
      tostring(event.outcome)
    )
  end,
}

--- What happened lately.
---@param log table
---@return string[]
function M.log(log)
  local entries = {}
  for _, event in ipairs(log.events or {}) do
    local told = EVENTS[event.kind]
    entries[#entries + 1] = { event.at, told and told(event) or event.kind }
  end
  for _, frame in ipairs(log.frames or {}) do
    local told = ("client %d %s %d bytes"):format(frame.client_id, frame.direction, frame.length)
    entries[#entries + 1] = { frame.at, told }
  end
  -- Those of the same moment stay in the order in which they were told.
  for at, entry in ipairs(entries) do
    entry[3] = at
  end
  table.sort(entries, function(one, other)
    if one[1] ~= other[1] then
      return one[1] < other[1]
    end
    return one[3] < other[3]
  end)
  local lines = vim.tbl_map(function(entry)
    return ("%s %s"):format(clock(entry[1]), entry[2])
  end, entries)
  return #lines > 0 and lines or { "Nothing happened yet" }
end

--- What was said to the person.
---@param history { text: string, level: integer, at: integer }[]
---@return string[]
function M.messages(history)
  local lines = {}
  for _, one in ipairs(history) do
    local text = vim.split(one.text, "\n", { plain = true })
    local mark = one.level >= vim.log.levels.WARN and "! " or ""
    lines[#lines + 1] = ("%s %s%s"):format(clock(one.at), mark, text[1])
    for _, more in ipairs(vim.list_slice(text, 2)) do
      lines[#lines + 1] = "  " .. more
    end
  end
  return #lines > 0 and lines or { "Nothing was said" }
end

return M

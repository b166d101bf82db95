-- Owns the sizes of the windows beside a terminal: they give way in proportion, and get back what they had.
local M = {}

---@alias pairside.Sizes table<integer, { width: integer, height: integer }>

local function is_float(window)
  return vim.api.nvim_win_get_config(window).relative ~= ""
end

--- The sizes of the windows of the current tab page that are no floats.
---@param except integer[]?
---@return pairside.Sizes
function M.now(except)
  local found = {}
  for _, window in ipairs(vim.api.nvim_tabpage_list_wins(0)) do
    if not is_float(window) and not vim.tbl_contains(except or {}, window) then
      found[window] = { width = vim.api.nvim_win_get_width(window), height = vim.api.nvim_win_get_height(window) }
    end
  end
  return found
end

--- Whether the same windows have the same sizes.
---@param one pairside.Sizes
---@param other pairside.Sizes
---@return boolean
function M.same(one, other)
  return vim.deep_equal(one, other)
end

--- Whether both tell of the same windows.
---@param one pairside.Sizes
---@param other pairside.Sizes
---@return boolean
function M.same_windows(one, other)
  for window in pairs(one) do
    if other[window] == nil then
      return false
    end
  end
  return vim.tbl_count(one) == vim.tbl_count(other)
end

-- The tree of `winlayout()` without some windows.
local function without(node, except)
  if node[1] == "leaf" then
    return not vim.tbl_contains(except, node[2]) and node or nil
  end
  local children = {}
  for _, child in ipairs(node[2]) do
    local kept = without(child, except)
    if kept then
      children[#children + 1] = kept
    end
  end
  if #children < 2 then
    return children[1]
  end
  return { node[1], children }
end

local function along(node, axis)
  return (node[1] == "row") == (axis == "width")
end

local function size(node, sizes, axis)
  if node[1] == "leaf" then
    return sizes[node[2]] and sizes[node[2]][axis] or 1
  end
  local total = along(node, axis) and #node[2] - 1 or 0
  for _, child in ipairs(node[2]) do
    local one = size(child, sizes, axis)
    total = along(node, axis) and total + one or math.max(total, one)
  end
  return total
end

local FIXED = { width = "winfixwidth", height = "winfixheight" }

local function is_fixed(node, axis)
  return node[1] == "leaf" and vim.wo[node[2]][FIXED[axis]]
end

local function spread(node, sizes, axis, target, found)
  if node[1] == "leaf" then
    found[node[2]] = vim.tbl_extend("force", sizes[node[2]], { [axis] = math.max(1, target) })
    return
  end
  if not along(node, axis) then
    for _, child in ipairs(node[2]) do
      spread(child, sizes, axis, target, found)
    end
    return
  end
  local children = node[2]
  local room = target - (#children - 1)
  local loose, before = 0, 0
  for _, child in ipairs(children) do
    if is_fixed(child, axis) then
      room = room - size(child, sizes, axis)
    else
      loose = loose + 1
      before = before + size(child, sizes, axis)
    end
  end
  -- Fixed windows keep their size while the others have a line each.
  local fixed_too = loose == 0 or room < loose
  if fixed_too then
    room, loose, before = target - (#children - 1), #children, size(node, sizes, axis) - (#children - 1)
  end
  for _, child in ipairs(children) do
    local had = size(child, sizes, axis)
    if is_fixed(child, axis) and not fixed_too then
      spread(child, sizes, axis, had, found)
    else
      local share = loose == 1 and room or math.floor(room * had / math.max(1, before) + 0.5)
      share = math.max(1, math.min(share, room - (loose - 1)))
      spread(child, sizes, axis, share, found)
      room, before, loose = room - share, before - had, loose - 1
    end
  end
end

--- The sizes that windows get where others, which are not told of in `sizes`, come or go.
---@param sizes pairside.Sizes of before
---@param axis "width"|"height"
---@param target integer what all of them have together
---@param except integer[] the others
---@return pairside.Sizes
function M.spread(sizes, axis, target, except)
  local root = without(vim.fn.winlayout(), except)
  local found = {}
  if root then
    spread(root, sizes, axis, target, found)
  end
  return found
end

--- What the windows have together along an axis.
---@param sizes pairside.Sizes
---@param axis "width"|"height"
---@param except integer[]
---@return integer
function M.total(sizes, axis, except)
  local root = without(vim.fn.winlayout(), except)
  return root and size(root, sizes, axis) or 0
end

--- Gives windows their sizes.
---@param sizes pairside.Sizes
function M.apply(sizes)
  -- A window's size depends on that of those before it: the second time they fit.
  for _ = 1, 2 do
    for _, window in ipairs(vim.api.nvim_tabpage_list_wins(0)) do
      local one = sizes[window]
      if one then
        if vim.api.nvim_win_get_width(window) ~= one.width then
          pcall(vim.api.nvim_win_set_width, window, one.width)
        end
        if vim.api.nvim_win_get_height(window) ~= one.height then
          pcall(vim.api.nvim_win_set_height, window, one.height)
        end
      end
    end
  end
end

return M

-- Owns the guess which known word was meant by one that is not known.
local M = {}

-- The number of letters to insert, delete, replace or swap with their neighbour.
local function distance(from, to)
  local before, row = {}, {}
  for j = 0, #to do
    row[j] = j
  end
  for i = 1, #from do
    local above = row
    row = { [0] = i }
    for j = 1, #to do
      local same = from:byte(i) == to:byte(j)
      row[j] = math.min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (same and 0 or 1))
      if i > 1 and j > 1 and from:byte(i) == to:byte(j - 1) and from:byte(i - 1) == to:byte(j) then
        row[j] = math.min(row[j], before[j - 2] + 1)
      end
    end
    before = above
  end
  return row[#to]
end

--- The known word that is like a given one; nil if none is.
---@param word string
---@param known string[]
---@return string?
function M.to(word, known)
  local given = word:sub(1, 64):lower()
  local best, least = nil, math.max(1, math.floor(#given / 3)) + 1
  for _, one in ipairs(known) do
    local apart = distance(given, one:lower())
    if apart < least then
      best, least = one, apart
    end
  end
  if best or #given < 3 then
    return best
  end
  for _, one in ipairs(known) do
    if one:lower():sub(1, #given) == given then
      return one
    end
  end
end

return M

-- Owns command lines as texts: their words as a POSIX shell would see them, without a shell.
local M = {}

---@class pairside.Word
---@field text string
---@field quoted boolean whether any of it was in quotes or behind a backslash

local function home()
  return vim.env.HOME or vim.uv.os_homedir() or "~"
end

--- The words of a text. Quotes and backslashes count as in a shell, and so does a `~` at the start of a word; variables,
--- patterns and everything else stand for themselves. nil and why if a quote is not closed.
---@param text string
---@return pairside.Word[]?
---@return string? problem
function M.parse(text)
  local words = {}
  ---@type { parts: string[], quoted: boolean, tilde: boolean }?
  local word = nil
  local at = 1
  local function put(part, quoted)
    word = word or { parts = {}, quoted = false, tilde = false }
    if not quoted and part == "~" and #word.parts == 0 then
      word.tilde = true
    end
    word.parts[#word.parts + 1] = part
    word.quoted = word.quoted or quoted
  end
  local function close()
    if word then
      local whole = table.concat(word.parts)
      if word.tilde and (whole == "~" or whole:sub(2, 2) == "/") then
        whole = home() .. whole:sub(2)
      end
      words[#words + 1] = { text = whole, quoted = word.quoted }
      word = nil
    end
  end
  while at <= #text do
    local char = text:sub(at, at)
    if char:find("%s") then
      close()
    elseif char == "'" then
      local stop = text:find("'", at + 1, true)
      if not stop then
        return nil, "a quote ' is not closed"
      end
      put(text:sub(at + 1, stop - 1), true)
      at = stop
    elseif char == '"' then
      put("", true)
      at = at + 1
      while text:sub(at, at) ~= '"' do
        if at > #text then
          return nil, 'a quote " is not closed'
        end
        if text:sub(at, at) == "\\" and text:sub(at + 1, at + 1):find('["\\$`]') then
          at = at + 1
        end
        put(text:sub(at, at), true)
        at = at + 1
      end
    elseif char == "\\" and at < #text then
      at = at + 1
      put(text:sub(at, at), true)
    else
      put(char, false)
    end
    at = at + 1
  end
  close()
  return words
end

--- The words of a text, as texts.
---@param text string
---@return string[]?
---@return string? problem
function M.split(text)
  local words, problem = M.parse(text)
  if not words then
    return nil, problem
  end
  return vim.tbl_map(function(word)
    return word.text
  end, words)
end

--- One text that a POSIX shell takes for these words.
---@param words string[]
---@return string
function M.join(words)
  return table.concat(
    vim.tbl_map(function(word)
      if word ~= "" and not word:find("[^%w@%%+=:,./_-]") then
        return word
      end
      return "'" .. word:gsub("'", "'\\''") .. "'"
    end, words),
    " "
  )
end

return M

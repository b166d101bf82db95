-- Owns which folders are open: the working directories of Neovim, its tab pages and windows, and the roots of language
-- servers.
local paths = require("pairside.paths")
local process = require("pairside.process")

local M = {}

local GROUP = "pairside_folders"

local scheduled = false
---@type string?
local last

--- The folders that are open, each once, the global working directory first.
---@return string[]
function M.list()
  local folders, seen = {}, {}
  local function add(folder)
    if type(folder) ~= "string" or folder:sub(1, 1) ~= "/" or require("pairside.text").valid(folder) ~= folder then
      return
    end
    folder = folder:gsub("(.)/+$", "%1")
    local found = vim.uv.fs_stat(folder)
    local real = paths.real(folder)
    if found and found.type == "directory" and not seen[real] then
      seen[real] = true
      folders[#folders + 1] = folder
    end
  end
  add(vim.fn.getcwd(-1, -1))
  for number, tab in ipairs(vim.api.nvim_list_tabpages()) do
    add(vim.fn.getcwd(-1, number))
    for _, window in ipairs(vim.api.nvim_tabpage_list_wins(tab)) do
      -- By its number in its tab page: windows of others are not found by their ids.
      local position = vim.api.nvim_win_get_number(window)
      if vim.fn.haslocaldir(position, number) == 1 then
        add(vim.fn.getcwd(position, number))
      end
    end
  end
  -- Where no language server was used yet, vim.lsp need not be loaded for this.
  if package.loaded["vim.lsp"] then
    for _, client in ipairs(vim.lsp.get_clients()) do
      for _, folder in ipairs(client.workspace_folders or {}) do
        if vim.startswith(folder.uri, "file:") then
          add(vim.uri_to_fname(folder.uri))
        end
      end
      add(client.root_dir)
    end
  end
  return folders
end

local function tell()
  scheduled = false
  if not last then
    return
  end
  local folders = M.list()
  local now = table.concat(folders, "\0")
  if now ~= last then
    last = now
    process.notify("folders", { folders = folders })
  end
end

local function changed()
  if not scheduled then
    scheduled = true
    vim.schedule(tell)
  end
end

function M.enable()
  M.disable()
  -- What hello said may be old by now.
  last = ""
  local group = vim.api.nvim_create_augroup(GROUP, {})
  vim.api.nvim_create_autocmd({ "DirChanged", "LspAttach", "LspDetach", "TabClosed", "WinClosed" }, {
    group = group,
    callback = changed,
  })
  changed()
end

function M.disable()
  pcall(vim.api.nvim_del_augroup_by_name, GROUP)
  last = nil
end

return M

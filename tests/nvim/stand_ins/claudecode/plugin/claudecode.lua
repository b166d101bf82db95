-- Stands in for another plugin of this name: one of its commands.
vim.api.nvim_create_user_command("ClaudeCode", function()
  vim.g.other_plugin_ran = true
end, { desc = "Toggle Claude Code" })

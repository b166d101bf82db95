"""The front-end for Neovim as people use it: a real Neovim with a screen, a real server, a scripted agent."""

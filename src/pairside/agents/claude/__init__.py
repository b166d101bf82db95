"""Claude Code's protocol: found by a lock file, MCP over a WebSocket. OpenCode speaks it too."""

"""The IDE side of terminal coding agents: one small process that serves any editor."""

__version__ = "0.1.0"

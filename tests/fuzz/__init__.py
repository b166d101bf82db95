"""Hostile input on every surface: nothing crashes, nothing hangs, nothing leaks, and good clients are served on."""

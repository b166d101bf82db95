"""Owns the order in which agents see the tools."""

from __future__ import annotations

from pairside.tools import Toolbox, diagnostics, diff, files, selection, workspace


def toolbox() -> Toolbox:
    """Every tool there is."""
    everything = Toolbox()
    for module in (files, diff, selection, workspace, diagnostics):
        everything.include(module.toolbox)
    return everything

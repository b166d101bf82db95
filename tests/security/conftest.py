"""Owns what the tests of attacks need: the fixtures of the command line's."""

from __future__ import annotations

from tests.cli.conftest import connect, home, robot, served, terminal

__all__ = ["connect", "home", "robot", "served", "terminal"]

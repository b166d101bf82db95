"""Owns what keys are called on the keyboard."""

from __future__ import annotations

_NAMES = {
    "slash": "/", "question_mark": "?", "right_square_bracket": "]", "left_square_bracket": "[", "escape": "Esc",
    "pagedown": "PgDn", "pageup": "PgUp", "enter": "Enter", "space": "Space", "up": "↑", "down": "↓", "left": "←",
    "right": "→", "home": "Home", "end": "End", "tab": "Tab",
}  # fmt: skip


def key_name(key: str) -> str:
    """What a key is called on the keyboard."""
    parts = key.split("+")
    named = [_NAMES.get(part, part) for part in parts]
    if len(parts) > 1:
        named = [one.capitalize() if len(one) > 1 else one.upper() for one in named]
    return "+".join(named)

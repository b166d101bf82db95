"""Owns the line in which a person types: what its keys do is done in the order in which they came."""

from __future__ import annotations

from textual import events
from textual.binding import BindingsMap
from textual.widgets import Input

_KEYS = BindingsMap(Input.BINDINGS).key_to_bindings


class Typed(Input):
    """What the person types.

    Textual looks for what a key like Backspace does only when that key has bubbled up to the app; the letters that were
    typed after it would stand there by then, and be deleted in place of those before.
    """

    async def on_key(self, event: events.Key) -> None:
        """Do at once what a key does here."""
        if event.is_printable:
            return
        for binding in _KEYS.get(event.key, ()):
            event.stop()
            event.prevent_default()
            await self.run_action(binding.action)

"""Owns the page with all facts of one thing: of an agent, of one that left, of an event."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from pairside.text import printable, printable_line
from pairside.tui.reading import Copy

VALUE_CHARACTERS = 8000
"""Of a longer value only the beginning is shown, and how much is left out."""


def text_of(facts: Sequence[tuple[str, str]]) -> str:
    """Facts as a text, for the clipboard: each name with its value."""
    return "\n".join(f"{name}:{_value(value)}" for name, value in facts)


class Facts(ModalScreen[None]):
    """Names and their values. A value may have several lines; nothing else in it is obeyed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Close", show=False, tooltip="Back to the list"),
        Binding("y", "copy", "Copy", show=False, tooltip="Copy all of it"),
        Binding("j", "scroll(1)", "Down", show=False, tooltip="A line further"),
        Binding("k", "scroll(-1)", "Up", show=False, tooltip="A line back"),
    ]

    DEFAULT_CSS: ClassVar[str] = """
    Facts {
        align: center middle;
        & > Vertical {
            width: 100; max-width: 98%; height: auto; max-height: 96%;
            background: $surface; border: round $primary;
        }
        & VerticalScroll { height: auto; max-height: 100%; padding: 0 1; }
    }
    """

    def __init__(self, title: str, facts: Sequence[tuple[str, str]]) -> None:
        super().__init__()
        self._title = title
        self._facts = facts

    def compose(self) -> ComposeResult:
        """A line for each fact; a value with several lines stands below its name."""
        parts: list[str | tuple[str, str]] = []
        for name, value in self._facts:
            parts += [(name, "bold"), f":{_value(value)}\n"]
        with Vertical() as box:
            box.border_title = Content(f"{printable(self._title)} (Esc closes, y copies)")
            with VerticalScroll():
                yield Static(Content.assemble(*parts).rstrip(), markup=False)

    def on_mount(self) -> None:
        """The keys scroll it at once."""
        self.query_one(VerticalScroll).focus()

    def action_scroll(self, step: int) -> None:
        """A line further or back."""
        self.query_one(VerticalScroll).scroll_relative(y=step, animate=False)

    def action_copy(self) -> None:
        """All facts into the clipboard."""
        self.post_message(Copy(text_of(self._facts)))


def _value(value: str) -> str:
    """A value as it follows its name: safe to show, and not without end. Several lines are set in, below the name."""
    left_out = len(value) - VALUE_CHARACTERS
    lines = [printable_line(line).expandtabs(4) for line in value[:VALUE_CHARACTERS].split("\n")]
    if left_out > 0:
        lines[-1] += f" … {left_out:,} more characters"
    return f" {lines[0]}" if len(lines) == 1 else "".join(f"\n  {line}" for line in lines)

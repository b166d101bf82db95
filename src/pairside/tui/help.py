"""Owns the page that tells all keys. It is made from the bindings themselves, so nothing can be missing."""

from __future__ import annotations

from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from pairside.tui.agents import AgentsView
from pairside.tui.changes import ChangesView
from pairside.tui.diff import DiffView
from pairside.tui.entries import EntryList
from pairside.tui.facts import Facts
from pairside.tui.keys import key_name
from pairside.tui.log import LogView
from pairside.tui.picker import Picker
from pairside.tui.preview import Preview
from pairside.tui.reading import Reading
from pairside.tui.reviews import ReviewsView

AFTERWORD = """\
Mouse: click a file, a hunk, a view's name or a key below; the wheel scrolls. Hold Shift to select text.
Line by line, for screen readers and plain terminals: pairside review, and pairside review --changes."""


class Help(ModalScreen[None]):
    """All keys, by where they work."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,enter", "dismiss", "Close", show=False)]

    DEFAULT_CSS: ClassVar[str] = """
    Help {
        align: center middle;
        & > Vertical { width: 100; max-width: 98%; height: 96%; background: $surface; border: round $primary; }
        & VerticalScroll { padding: 0 1; }
    }
    """

    def compose(self) -> ComposeResult:
        """The keys, then what has no key."""
        with Vertical() as box:
            box.border_title = "Keys (Esc closes)"
            with VerticalScroll():
                yield Static(Content(self._text()), markup=False)

    def on_mount(self) -> None:
        """The keys scroll it at once."""
        self.query_one(VerticalScroll).focus()

    def _text(self) -> str:
        parts: list[tuple[str, Any]] = [("Everywhere", type(self.app))]
        parts += [
            ("Proposals", ReviewsView),
            ("Changes", ChangesView),
            ("Proposals and changes", Reading),
            ("In a list", EntryList),
            ("In a diff", DiffView),
            ("Agents", AgentsView),
            ("Log", LogView),
            ("A page of facts", Facts),
            ("Picking a file", Picker),
            ("Picking lines of it", Preview),
        ]
        lines: list[str] = []
        for title, owner in parts:
            lines += ["", title] if lines else [title]
            for binding in owner.__dict__.get("BINDINGS", ()):
                if not isinstance(binding, Binding) or not binding.description:
                    continue
                keys = " ".join(key_name(key.strip()) for key in binding.key.split(","))
                lines.append(f"  {keys:<14} {binding.tooltip or binding.description}")
        return "\n".join([*lines, "", AFTERWORD])

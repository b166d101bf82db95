"""Owns a question with a few answers, each by a key of its own or a click."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from pairside.tui.keys import key_name

AROUND_ROWS = 9
"""So many rows a question of up to three rows, its answers and the frame take."""


class Confirm(ModalScreen[str]):
    """A question; its result is the key of the answer. Escape is always the last answer."""

    DEFAULT_CSS: ClassVar[str] = """
    Confirm {
        align: center middle;
        & > Vertical {
            width: 100;
            max-width: 98%;
            height: auto;
            max-height: 96%;
            background: $surface;
            border: round $primary;
            padding: 0 1;
        }
        & VerticalScroll { height: auto; }
        & Horizontal { height: auto; align-horizontal: center; margin-top: 1; }
        & Button { min-width: 8; margin: 0 1; }
    }
    """

    def __init__(self, question: str, answers: Sequence[tuple[str, str]], *, details: Sequence[str] = ()) -> None:
        """`answers` are keys and what they do; `details` are lines below the question."""
        super().__init__()
        self._question = question
        self._answers = answers
        self._details = details

    def compose(self) -> ComposeResult:
        """The question, the details, the answers."""
        with Vertical():
            yield Static(Content(self._question), markup=False)
            if self._details:
                with VerticalScroll():
                    yield Static(Content("\n".join(self._details)), markup=False)
            with Horizontal():
                for key, words in self._answers:
                    yield Button(Content(f"{key_name(key)}  {words}"), id=f"answer-{key}", compact=True)

    def on_resize(self, event: events.Resize) -> None:
        """The details scroll in what the question and the answers leave."""
        for details in self.query(VerticalScroll):
            details.styles.max_height = max(1, event.size.height - AROUND_ROWS)

    def on_key(self, event: events.Key) -> None:
        """A key answers."""
        keys = [key for key, _ in self._answers]
        if event.key in keys:
            event.stop()
            self.dismiss(event.key)
        elif event.key == "escape":
            event.stop()
            self.dismiss(keys[-1])

    def on_button_pressed(self, message: Button.Pressed) -> None:
        """A click answers."""
        message.stop()
        self.dismiss((message.button.id or "").removeprefix("answer-"))

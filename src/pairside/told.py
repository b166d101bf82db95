"""Owns how positions and diagnostics stand in the messages of observers and front-ends."""

from __future__ import annotations

from typing import Annotated

import msgspec

from pairside.editor import Diagnostic, Position, Range, Severity

Count = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
Place = tuple[Count, Count]
"""A 0-based line and a 0-based UTF-16 column."""


class Found(msgspec.Struct):
    """A diagnostic; the end is exclusive."""

    message: str
    severity: Severity
    start: Place
    end: Place
    source: str | None = None
    code: str | None = None

    def diagnostic(self) -> Diagnostic:
        """The value that it stands for."""
        span = Range(Position(*self.start), Position(*self.end))
        return Diagnostic(self.message, self.severity, span, self.source, self.code)

"""Owns the terminal UI: an observer with a screen. Textual is imported here alone, and only where the UI is opened."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pairside.tui.app import Ending


class ThemeError(Exception):
    """There is no such theme; the message names those that there are."""


def run(
    port: int, folder: str, *, find: Callable[[], int | None], gone: Callable[[], str], theme: str, mark: str
) -> Ending:
    """Show the UI of the server on `port` until the person leaves; says how it stood then.

    `folder` becomes the current one, so that names are short, and the person's editor starts there. `find` looks for a
    server of it again where that one is gone, and `gone` says so to the person. `mark` is what an agent has set in our
    environment.

    Raises:
        ThemeError: There is no such theme.
    """
    from pairside.tui.app import Ending, PairsideApp

    with contextlib.suppress(OSError):
        os.chdir(folder)
    app = PairsideApp(port, find=find, gone=gone, mark=mark)
    if theme:
        if theme not in app.available_themes:
            raise ThemeError(f"ui.theme: there is no theme {theme}; themes: {', '.join(sorted(app.available_themes))}")
        app.theme = theme
    return app.run() or Ending()

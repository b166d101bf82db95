"""Owns the exit statuses of the commands, which scripts rely on."""

from __future__ import annotations

from typing import IO, Any

import click


class Exit:
    """The exit statuses; what each means is in `MEANINGS`."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NONE_PENDING = 3
    NO_SERVER = 4
    DECIDED = 5
    REFUSED = 6
    SERVED = 7


MEANINGS = {
    Exit.OK: "Done.",
    Exit.FAILED: "It could not be done; the message says why.",
    Exit.USAGE: "The command line or a setting is wrong, or it is open which of several reviews or servers is meant.",
    Exit.NONE_PENDING: "No review is pending, or there is none of that id.",
    Exit.NO_SERVER: "No server serves this folder, or it has stopped.",
    Exit.DECIDED: "The review was decided already; the message says how and by whom.",
    Exit.REFUSED: "Only the person may do that: the command ran in an agent's own shell.",
    Exit.SERVED: "`pairside serve`: another pairside serves this folder already.",
}
"""Each exit status has one meaning for every command."""


class Failure(click.ClickException):
    """A command ends here, with a message for the person on standard error and a status for scripts."""

    def __init__(self, message: str, status: int = Exit.FAILED) -> None:
        super().__init__(message)
        self.exit_code = status  # type: ignore[misc]  # click declares it for the class, and reads it here

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message, which stands for itself."""
        if self.message:
            click.echo(self.message, file=file, err=file is None)

"""Owns the numbers that bound what a peer can cost us; each can be set by the person who runs pairside."""

from __future__ import annotations

from typing import NamedTuple


class Limits(NamedTuple):
    """Every bound of a server. Times are seconds, sizes are bytes.

    The defaults are for a dozen agents on one machine. None of them may be switched off: a limit that
    is not there is a way for one client to take the others down.
    """

    port_min: int = 10_000
    """Lowest port to listen on."""
    port_max: int = 32_767
    """Highest port to listen on; the ephemeral range of Linux lies above."""
    clients: int = 32
    """Agents connected at once; one more is answered 503."""
    handshakes: int = 64
    """Connections that have not finished their handshake; one more is answered 503."""
    handshake_seconds: float = 5.0
    """How long a handshake may take from the first byte of TCP to the last byte of its header."""
    handshake_bytes: int = 32 * 1024
    """Size of a handshake's request line and headers."""
    message_bytes: int = 32 * 1024 * 1024
    """Size of one incoming message, its fragments added up."""
    fragments: int = 131_072
    """Fragments of one incoming message."""
    unsent_bytes: int = 16 * 1024 * 1024
    """What may wait for a client that reads slowly; a client with more waiting is dropped."""
    calls: int = 64
    """Requests of one client being worked on; one more is answered with an error."""
    ping_seconds: float = 30.0
    """A client that was silent for this long is sent a ping."""
    silence_seconds: float = 90.0
    """A client that was silent for this long is dropped; a CLI stopped with Ctrl-Z answers nothing."""
    linger_seconds: float = 1.0
    """How long a socket stays open after the conversation on it has ended."""
    selection_bytes: int = 100_000
    """Length of the selected text that is sent to agents; the rest is cut off at a character."""
    mention_seconds: float = 60.0
    """How long a mention waits for an agent to connect."""
    before_image_bytes: int = 8 * 1024 * 1024
    """Of a file larger than this it is only noted that it changed."""
    changes_bytes: int = 256 * 1024 * 1024
    """What the contents of all changed files may take together, on disk; the oldest turns are forgotten first."""
    snapshot_files: int = 200_000
    """A git work tree with more files than this is not looked at for changes by other means."""
    hooks: int = 8
    """Programs of hooks.on_review that run at once; for one more proposal none is run."""
    hook_seconds: float = 3600.0
    """How long the program of a hook may run before it is ended."""

"""Owns `pairside frontend`: the server that an editor starts as its child and speaks with over pipes.

The protocol is in docs/front-ends.md. Whatever else this process or a library of it prints goes to the log.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import IO, TYPE_CHECKING, Any

import click

import pairside as package
from pairside import config
from pairside.cli.exits import Exit
from pairside.cli.signals import Signals
from pairside.text import printable

if TYPE_CHECKING:
    import asyncio

    from pairside.editors.frontend import FrontendEditor, Hello
    from pairside.peer import Disconnect
    from pairside.serve import Serving

log = logging.getLogger(__name__)

HELLO_SECONDS = 20.0
LOG_BYTES = 1024 * 1024
"""A log that is larger is begun anew."""
PROGRAMS = ("claude", "opencode")
"""The agents' programs of which a front-end is told what their environment needs."""


@click.command()
def frontend() -> None:
    """Serve the editor that starts it.

    Editors start this, not people. It speaks the front-end protocol on standard input and output: see
    docs/front-ends.md.
    """
    from pairside.cli.serve import CHECKED

    if os.environ.pop(CHECKED, None) == str(os.getppid()):
        click.echo(package.__version__)  # the one that runs wants to know what would start in its place
        return
    signals = Signals()
    output = open(os.dup(1), "wb", buffering=0)  # noqa: SIM115  # the event loop closes it
    _log_instead()
    import asyncio

    status = Exit.OK
    try:
        status = asyncio.run(_serve(sys.stdin.buffer, output, signals))
    finally:
        signals.ignore()
    logging.shutdown()
    # What waits for an editor that is gone, or takes nothing, must not keep the process.
    os._exit(status)


def _log_instead() -> None:
    """Let everything that is printed go to the log file."""
    from pairside import runtime

    descriptor = None
    with contextlib.suppress(runtime.RuntimeDirectoryError, OSError):
        path = os.path.join(runtime.directory(os.environ), "frontend.log")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
        if os.fstat(descriptor).st_size > LOG_BYTES:
            os.ftruncate(descriptor, 0)
    if descriptor is None:
        descriptor = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.WARNING,
        format=f"%(asctime)s {os.getpid()} %(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%d %H:%M:%S",
    )


async def _serve(input: IO[bytes], output: IO[bytes], signals: Signals) -> int:
    """Serve until the editor leaves, or somebody asks to stop; returns the exit status."""
    import asyncio

    from pairside.cli.loop import complain_in_words
    from pairside.editors.frontend import Framed, FrontendEditor
    from pairside.jsonrpc import INVALID_REQUEST, RpcError

    loop = asyncio.get_running_loop()
    complain_in_words(loop)
    stopping = asyncio.Event()
    editor = FrontendEditor(await Framed.over(input, output))
    conversation = asyncio.create_task(editor.run())

    def stop() -> None:
        loop.call_soon_threadsafe(stopping.set)

    with signals.call(stop):
        stopped = asyncio.create_task(stopping.wait())
        try:
            first: set[asyncio.Future[Any]] = {conversation, editor.hello, stopped, editor.asked_to_exit}
            await asyncio.wait(first, timeout=HELLO_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if not editor.hello.done():
                return _status(conversation)
            try:
                await _served(editor, editor.hello.result(), conversation, stopped)
                return _status(conversation)
            except _CannotStart as error:
                editor.welcome.set_exception(RpcError(INVALID_REQUEST, f"pairside cannot start: {error}"))
                await asyncio.sleep(0)
                await asyncio.wait({conversation, asyncio.ensure_future(editor.channel.taken())}, timeout=1)
                return Exit.FAILED
        finally:
            stopped.cancel()
            conversation.cancel()
            await asyncio.wait({conversation})
            editor.channel.close()


def _status(conversation: asyncio.Task[Disconnect]) -> int:
    """The exit status after a conversation: a front-end that broke the protocol has to notice it."""
    from pairside.peer import Reason

    if not conversation.done() or conversation.result().reason is not Reason.VIOLATION:
        return Exit.OK
    log.error("the front-end broke the protocol: %s", printable(conversation.result().detail))
    return Exit.FAILED


class _CannotStart(Exception):
    """The server cannot start; the message says why and what to do."""


async def _served(editor: FrontendEditor, hello: Hello, conversation: Any, stopped: Any) -> None:
    """Serve an editor that has introduced itself.

    Raises:
        _CannotStart: No agent can be served.
    """
    import asyncio

    from pairside.cli.serve import next_version
    from pairside.serve import StartError, serving

    try:
        settings = config.load(os.environ, hello.settings, by_flags=False)
    except config.ConfigError as error:
        raise _CannotStart(str(error)) from None
    logging.getLogger().setLevel(settings.log.upper())
    # At DEBUG it logs the headers of the handshake, the token among them.
    logging.getLogger("websockets").setLevel(max(logging.INFO, logging.getLogger().level))
    try:
        async with serving(
            tuple(hello.folders),
            limits=settings.limits,
            environment=os.environ,
            editor=editor,
            share=settings.share,
            reviews_here=settings.review_where == "here",
            recording=settings.changes,
            hooks=settings.hooks,
            next_version=next_version,
        ) as served:
            editor.welcome.set_result(_welcome(served))
            asked = asyncio.create_task(served.stopped.wait())
            await asyncio.wait(
                {conversation, stopped, asked, editor.asked_to_exit}, return_when=asyncio.FIRST_COMPLETED
            )
            asked.cancel()
            if editor.asked_to_exit.done() and editor.asked_to_exit.result():
                served.restarting.set()
    except (StartError, OSError) as error:
        raise _CannotStart(str(error)) from None


def _welcome(served: Serving) -> dict[str, Any]:
    """What a front-end is told when agents can connect."""
    from pairside.agents.claude.environment import beside
    from pairside.editors.frontend import PROTOCOL

    environment: dict[str, Any] = {}
    for program in PROGRAMS:
        variables = beside(os.environ, agent=program, port=served.port, lock_file=served.lock_file).variables
        environment[program] = {
            "set": {name: value for name, value in variables.items() if value is not None},
            "unset": [name for name, value in variables.items() if value is None],
        }
    return {
        "protocol": PROTOCOL,
        "version": package.__version__,
        "pid": os.getpid(),
        "port": served.port,
        "lock_file": served.lock_file,
        "adopted": served.adopted,
        "environment": environment,
        "notices": served.notices(),
    }

"""Owns what a server says of troubles of its event loop that are no defect: one line now and then, no tracebacks."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from typing import Any

log = logging.getLogger(__name__)

AGAIN_SECONDS = 60.0
_SHORT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


def complain_in_words(loop: asyncio.AbstractEventLoop) -> None:
    """Have a loop that cannot accept a connection say so once a minute; it tries again each second by itself."""
    said_at = -AGAIN_SECONDS

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        nonlocal said_at
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _SHORT and "accept" in context.get("message", ""):
            if time.monotonic() - said_at >= AGAIN_SECONDS:
                said_at = time.monotonic()
                log.warning("new connections have to wait: %s. Those that are there are served.", error.strerror)
        elif "_start_serving" in context.get("message", "") and isinstance(error, ValueError):
            pass  # it wanted to try again, and the server has stopped
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)

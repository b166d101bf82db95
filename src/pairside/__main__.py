"""Owns the start of the program: `pairside` and `python -m pairside`."""

from __future__ import annotations

import errno
import os
import sys

_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main() -> None:
    """Run the command line."""
    if os.name == "nt":
        sys.exit("pairside runs on Linux, macOS and WSL2; Windows itself is not supported yet.")
    for stream in (sys.stdout, sys.stderr):
        # Whatever the terminal's character set cannot show comes out as an escape, not as a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    from pairside.cli import pairside

    try:
        try:
            pairside(prog_name="pairside")
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        if error.errno not in _CANNOT_WRITE:
            raise
        # What could not be written must not be tried again when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stderr.write(f"Cannot write the output: {error.strerror}.\n")
        sys.exit(1)


if __name__ == "__main__":
    main()

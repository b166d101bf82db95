"""Owns the start of the program: `pairside` and `python -m pairside`."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line."""
    if os.name == "nt":
        sys.exit("pairside runs on Linux, macOS and WSL2; Windows itself is not supported yet.")
    for stream in (sys.stdout, sys.stderr):
        # Whatever the terminal's character set cannot show comes out as an escape, not as a traceback.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    from pairside.cli import pairside

    pairside(prog_name="pairside")


if __name__ == "__main__":
    main()

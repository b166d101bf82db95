"""Owns the loopback-only network namespace that the end-to-end tests run in.

A real agent CLI is run with the real network out of reach: whatever it tries, only 127.0.0.1 answers. All
that talks in a test (CLI, pairside, model endpoint) must share one namespace, so the whole test run is put
into it:

    python tests/e2e/netns.py -- python -m pytest tests/e2e
    python tests/e2e/netns.py --optional -- python -m pytest

With ``--optional`` the command runs all the same, after a warning, where no namespace is to be had; the tests
that need one then skip, or fail when the environment variable CI is set.

Linux only. Root may do it, and so may an ordinary user where unprivileged user namespaces are allowed.
Nothing has to be installed: ``lo`` is brought up by ioctl (netdevice(7)).
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence

# linux/sched.h
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

# linux/sockios.h, linux/if.h
SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 0x1
IFREQ_FLAGS = struct.Struct("16sh14x")

PROBE_TIMEOUT = 10.0


def is_loopback_only() -> bool:
    """True when this process sees no network interface but ``lo``."""
    return [name for _, name in socket.if_nameindex()] == ["lo"]


def enter() -> None:
    """Move this process into a loopback-only network namespace; do nothing when it is in one already.

    Call it before any thread exists: the kernel moves only the calling thread, and refuses a new user
    namespace to a process with several.

    Raises:
        OSError: the kernel or the platform does not allow it.
    """
    if not is_loopback_only():
        _unshare()
    _bring_up_loopback()
    if not is_loopback_only():
        raise OSError(f"interfaces besides lo in a new namespace: {socket.if_nameindex()}")


def available() -> bool:
    """True when `enter` works here, tried in a subprocess so that this process stays where it is."""
    probe = [sys.executable, __file__, "--", sys.executable, "-c", ""]
    try:
        return subprocess.run(probe, capture_output=True, timeout=PROBE_TIMEOUT, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _unshare() -> None:
    if sys.platform != "linux":
        raise OSError("network namespaces exist on Linux only")
    uid, gid = os.getuid(), os.getgid()
    flags = CLONE_NEWNET if uid == 0 else CLONE_NEWNET | CLONE_NEWUSER
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        errno = ctypes.get_errno()
        raise OSError(errno, f"unshare: {os.strerror(errno)} (needs root or unprivileged user namespaces)")
    if flags & CLONE_NEWUSER:
        # user_namespaces(7): setgroups has to be denied before an unprivileged process may write gid_map.
        for name, line in (
            ("setgroups", "deny"),
            ("uid_map", f"{uid} {uid} 1"),
            ("gid_map", f"{gid} {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(line)


def _bring_up_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, SIOCGIFFLAGS, IFREQ_FLAGS.pack(b"lo", 0))
        flags: int = IFREQ_FLAGS.unpack(answer)[1]
        if not flags & IFF_UP:
            fcntl.ioctl(sock, SIOCSIFFLAGS, IFREQ_FLAGS.pack(b"lo", flags | IFF_UP))


def main(arguments: Sequence[str]) -> int:
    """Run a command in a loopback-only namespace, replacing this process.

    Returns only on failure: 125 when no namespace is to be had, 127 when the command cannot be run.
    """
    parser = argparse.ArgumentParser(description="Run a command in a loopback-only network namespace.")
    parser.add_argument("--optional", action="store_true", help="without a namespace, run it after a warning")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    options = parser.parse_args(arguments)
    try:
        enter()
    except OSError as error:
        print(f"netns: *** NO LOOPBACK-ONLY NETWORK NAMESPACE: {error} ***", file=sys.stderr, flush=True)
        if not options.optional:
            return 125
    try:
        os.execvp(options.command[0], options.command)
    except OSError as error:
        print(f"netns: {options.command[0]}: {error.strerror}", file=sys.stderr)
        return 127


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

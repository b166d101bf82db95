"""Owns one question: does the process at the other end of a loopback connection belong to our user?

The kernel is asked for that one socket (sock_diag(7)); where it does not answer, `/proc/net/tcp` is read, which
takes longer the more sockets the machine has. On other systems than Linux nobody can tell: the token decides.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys

_SOCK_DIAG = 4  # NETLINK_SOCK_DIAG
_BY_FAMILY = 20  # SOCK_DIAG_BY_FAMILY
_REQUEST = 1  # NLM_F_REQUEST
_ALL_STATES = 0xFFFFFFFF
_NO_COOKIE = b"\xff" * 8
_HEADER = struct.Struct("=IHHII")
_UID_OFFSET = _HEADER.size + 64  # struct inet_diag_msg: 4 bytes, the 48 of the socket's id, three counters

Address = tuple[str, int]


def is_ours(transport: asyncio.Transport) -> bool:
    """Whether the peer's socket belongs to our user; True where that cannot be found out."""
    if not sys.platform.startswith("linux"):
        return True
    theirs, ours = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
    if theirs is None or ours is None:  # it went away while it was being accepted
        return True
    uid = owner(theirs, ours)
    return uid is None or uid == os.getuid()


def owner(local: Address, remote: Address) -> int | None:
    """The uid of the IPv4 TCP socket bound to `local` and connected to `remote`; None if it cannot be told."""
    try:
        return _ask_kernel(local, remote)
    except OSError:
        pass
    try:
        return _read_table(local, remote)
    except OSError:
        return None


def _ask_kernel(local: Address, remote: Address) -> int | None:
    pad = b"\0" * 12
    socket_id = (
        struct.pack("!HH", local[1], remote[1])
        + socket.inet_aton(local[0]) + pad
        + socket.inet_aton(remote[0]) + pad
        + struct.pack("=I", 0) + _NO_COOKIE
    )  # fmt: skip
    body = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _ALL_STATES) + socket_id
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG) as netlink:
        netlink.settimeout(0.05)
        netlink.send(_HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST, 1, 0) + body)
        answer = netlink.recv(4096)
    kind: int = _HEADER.unpack_from(answer)[1]
    if kind != _BY_FAMILY or len(answer) < _UID_OFFSET + 4:
        raise OSError("no such socket")
    uid: int = struct.unpack_from("=I", answer, _UID_OFFSET)[0]
    return uid


def _read_table(local: Address, remote: Address) -> int | None:
    wanted = f"{_hex(local)} {_hex(remote)}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in table:
            if wanted in line:
                return int(line.split()[7])
    return None


def _hex(address: Address) -> str:
    number: int = struct.unpack("=I", socket.inet_aton(address[0]))[0]
    return f"{number:08X}:{address[1]:04X}"

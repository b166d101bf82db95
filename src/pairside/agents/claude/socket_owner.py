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


class SocketOwners:
    """Asks whose sockets are, on behalf of one server."""

    def __init__(self) -> None:
        self._netlink: socket.socket | None = None
        self._asked = 0
        self._kernel_answers = False
        """The kernel has named an owner before. So when it knows of no socket there is none any more."""

    def is_ours(self, transport: asyncio.Transport) -> bool:
        """Whether the peer's socket belongs to our user; True where that cannot be found out."""
        if not sys.platform.startswith("linux"):
            return True
        theirs, ours = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if theirs is None or ours is None:  # it went away while it was being accepted
            return True
        uid = self.owner(theirs, ours)
        return uid is None or uid == os.getuid()

    def owner(self, local: Address, remote: Address) -> int | None:
        """The uid of the IPv4 TCP socket bound to `local` and connected to `remote`; None if it cannot be told."""
        try:
            uid = self.ask_kernel(local, remote)
        except OSError:
            self.close()
            self._kernel_answers = False
        else:
            if uid is not None:
                self._kernel_answers = True
            if self._kernel_answers:
                return uid
        try:
            return read_table(local, remote)
        except OSError:
            return None

    def ask_kernel(self, local: Address, remote: Address) -> int | None:
        """The uid that the kernel names; None if it knows of no such socket, or cannot look for one.

        Raises:
            OSError: It does not answer.
        """
        if self._netlink is None:
            self._netlink = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _SOCK_DIAG)
            self._netlink.setblocking(False)  # the answer is there when send returns
        self._asked += 1
        pad = b"\0" * 12
        socket_id = (
            struct.pack("!HH", local[1], remote[1])
            + socket.inet_aton(local[0]) + pad
            + socket.inet_aton(remote[0]) + pad
            + struct.pack("=I", 0) + _NO_COOKIE
        )  # fmt: skip
        body = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _ALL_STATES) + socket_id
        header = _HEADER.pack(_HEADER.size + len(body), _BY_FAMILY, _REQUEST, self._asked & 0xFFFFFFFF, 0)
        self._netlink.send(header + body)
        answer = self._netlink.recv(4096)
        _, kind, _, sequence, _ = _HEADER.unpack_from(answer)
        if sequence != self._asked & 0xFFFFFFFF:
            raise OSError("an answer to another question")
        if kind != _BY_FAMILY or len(answer) < _UID_OFFSET + 4:
            return None
        uid: int = struct.unpack_from("=I", answer, _UID_OFFSET)[0]
        return uid

    def close(self) -> None:
        """Let go of the kernel."""
        if self._netlink is not None:
            self._netlink.close()
            self._netlink = None


def read_table(local: Address, remote: Address) -> int | None:
    """The uid of a socket by `/proc/net/tcp`; None if it is not listed.

    Raises:
        OSError: There is no such table.
    """
    wanted = f"{_hex(local)} {_hex(remote)}"
    with open("/proc/net/tcp", encoding="ascii") as table:
        for line in table:
            if wanted in line:
                return int(line.split()[7])
    return None


def _hex(address: Address) -> str:
    number: int = struct.unpack("=I", socket.inet_aton(address[0]))[0]
    return f"{number:08X}:{address[1]:04X}"

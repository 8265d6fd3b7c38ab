"""Where processes listen."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .processes import Process

LISTENING = "0A"
"""A state of /proc/net/tcp."""


def listening(pids: Iterable[int]) -> set[tuple[IPv4Address | IPv6Address, int]]:
    """Return the addresses and ports at which any of these processes takes connections. Linux only."""
    theirs = {inode for pid in pids for inode in _sockets(pid)}
    return {(address, port) for inode, address, port in _table() if inode in theirs}


@dataclass(frozen=True)
class Listener:
    """A place at which a process takes connections."""

    address: IPv4Address | IPv6Address
    port: int
    command: str


def listeners(processes: Iterable[Process]) -> list[Listener]:
    """List where each of these processes takes connections, with its command. Linux only."""
    return [
        Listener(address, port, process.command)
        for process in processes
        for address, port in sorted(listening([process.pid]), key=str)
    ]


def _sockets(pid: int) -> Iterator[str]:
    """Yield the inodes of a process's sockets; none when it has gone."""
    with suppress(OSError):
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                kind, _, inode = os.readlink(entry).partition(":[")
                if kind == "socket":
                    yield inode.rstrip("]")


def _table() -> Iterator[tuple[str, IPv4Address | IPv6Address, int]]:
    """Yield inode, address and port of every socket of the machine that listens."""
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == LISTENING:
                place, port = fields[1].split(":")
                yield fields[9], _address(place), int(port, 16)


def _address(place: str) -> IPv4Address | IPv6Address:
    """Read an address of /proc/net/tcp or tcp6: words of four bytes in the machine's order, taken for little-endian."""
    packed = bytes.fromhex(place)
    address = ip_address(b"".join(packed[start : start + 4][::-1] for start in range(0, len(packed), 4)))
    return getattr(address, "ipv4_mapped", None) or address

"""Free ports, chosen by the operating system and held until the run ends.

A port is bound here, without listening and at first without SO_REUSEADDR, so that no other run (and no outgoing
connection) can take it. SO_REUSEADDR is set afterwards: then a child that sets it too may bind the port and listen,
again and again, while it stays ours. (Linux, inet_csk_bind_conflict: two sockets that allow reuse conflict only when
one listens.)
"""

from __future__ import annotations

import socket
from dataclasses import dataclass

from tana.types.errors import Unavailable

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Ports:
    """The four listeners of a validator."""

    ledger: int
    t4: int
    peer: int
    status: int


class HeldPorts:
    """Ports that are ours until `release`."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def take(self) -> int:
        """One free port. Raises `Unavailable` where the system has none."""
        held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            held.bind((HOST, 0))
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        except OSError as error:
            held.close()
            raise Unavailable(
                f"no free port was found: {error.strerror}",
                remedy="stop what listens on this machine",
                code="no_free_port",
            ) from None
        self._sockets.append(held)
        return int(held.getsockname()[1])

    def take_validator(self) -> Ports:
        """The four ports of a validator."""
        return Ports(self.take(), self.take(), self.take(), self.take())

    def release(self) -> None:
        while self._sockets:
            self._sockets.pop().close()

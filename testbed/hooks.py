"""How the testbed steers a validator from inside: hooks that obey what the harness wants at the moment.

Keys and values: `heartbeat` = `off` sends no more heartbeats; `byzantine` = a lie as `testbed.byzantine.wish` writes
it, empty for an honest node; `clock` = how wrong its clock is, as `testbed.clock` writes it. A real node reads them
from its control file, a simulated one from the dict that stands for it.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from tana.node.effects import Effect
from tana.node.hooks import Beginning, Hooks
from tana.node.inputs import Input, PeerConnected, PeerDisconnected, TimerFired
from testbed.byzantine import Behaviour
from testbed.byzantine.wish import read_wish
from testbed.clock import SteeredClock

MAX_PAST_LIARS = 4
"""Lies that are over and still stuck to, where a peer asks about heights past."""


class ControlledHooks(Hooks):
    """Hooks that look at the wishes of the harness whenever they are asked; for lies and the clock once in each
    announce interval. Without a `clock` the node's own is not theirs to set. `routes` are the ports of this machine to
    dial instead of others, where the harness lies between the node and its peers."""

    def __init__(
        self,
        read: Callable[[], Mapping[str, str]],
        clock: SteeredClock | None = None,
        routes: Mapping[str, int] | None = None,
    ) -> None:
        self._read = read
        self._clock = clock
        self._routes = routes or {}
        self._wish = ""
        self._liar: Behaviour | None = None
        self._beginning: Beginning | None = None
        self._peers: dict[bytes, None] = {}
        self._past_liars: deque[Behaviour] = deque(maxlen=MAX_PAST_LIARS)

    def may_send_heartbeat(self) -> bool:
        return self._read().get("heartbeat") != "off"

    def get_route(self, address: tuple[str, int]) -> tuple[str, int]:
        host, port = address
        return host, self._routes.get(str(port), port)

    def now_ms(self) -> int:
        return super().now_ms() if self._clock is None else self._clock.now_ms()

    def on_begin(self, beginning: Beginning) -> None:
        self._beginning = beginning
        self._peers = {}
        self._wish, self._liar = "", None
        self._past_liars.clear()
        self._obey(beginning)

    def on_step(self, input: Input, now_ms: int, effects: list[Effect]) -> list[Effect]:
        match input:
            case TimerFired(timer) if timer.kind == "announce":
                assert self._beginning is not None, "a machine begins before it steps"
                self._obey(self._beginning)
            case PeerConnected(peer):
                self._peers[peer] = None
            case PeerDisconnected(peer):
                self._peers.pop(peer, None)
            case _:
                pass
        for liar in self._past_liars:
            effects = liar.stick_to(effects)
        return effects if self._liar is None else self._liar.on_step(input, now_ms, effects)

    def _obey(self, beginning: Beginning) -> None:
        """Begin to lie as asked, or end it; set the clock as asked."""
        wishes = self._read()
        if self._clock is not None:
            self._clock.obey(wishes.get("clock", ""))
        wish = wishes.get("byzantine", "")
        if wish == self._wish:
            return
        self._wish = wish
        if self._liar is not None:
            self._liar.on_end()
            self._past_liars.append(self._liar)
        self._liar = read_wish(wish, beginning.genesis) if wish else None
        if self._liar is not None:
            self._liar.on_begin(beginning)
            self._liar.meet(self._peers)


def read_control_file(path: Path) -> Mapping[str, str]:
    """The wishes in a node's control file (replaced whole by the harness); none where there is no file."""
    try:
        values: dict[str, str] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return values


def write_control_file(path: Path, key: str, value: str) -> None:
    """Set one wish. Whoever reads the file sees the old wishes or the new."""
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({**read_control_file(path), key: value}), "utf-8")
    temporary.replace(path)

"""The interface of backends: a mesh and validators that can be started, asked, broken and watched.

The runner is synchronous. Time passes only in `advance`: a real poll interval on real processes, a turn of the
virtual clock in simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from tana.crypto.keys import Signer
from testbed.damage import Harm

MESH = "mesh"
CONTROL = "headscale"

Place = Literal["service", "sidecar", "anchor"]
Verb = Literal["kill", "stop", "start", "restart", "pause", "unpause"]


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request to a node. `port` is `mesh`, `ledger` or `status`; `path` may have a query."""

    target: str
    port: str
    method: str
    path: str
    body: Any = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node answered. Status 0 means that it gave no answer; then `body` is the reason in words."""

    status: int
    body: Any

    @property
    def is_ok(self) -> bool:
        return 200 <= self.status < 300


class Containers(Protocol):
    """What only a backend of containers can do. Members are validator ids, `MESH` and `CONTROL`.

    A member has up to three containers: `service`, `sidecar` (Tailscale), and `anchor`, which owns their network.
    `CONTROL` has its service only. Verbs return once the engine has done them.
    """

    network: str
    """`tailnet` or `bridge`."""

    def act(self, member: str, place: Place, verb: Verb) -> None:
        """Kill, stop, start, restart, pause or unpause one container."""

    def excuse(self, member: str, place: Place) -> None:
        """From now on this container may end and start by itself: a fault makes it. Else that ends the run."""

    def watch(self, member: str, place: Place) -> None:
        """From now on the end of this container is nobody's wish again."""

    def is_up(self, member: str, place: Place) -> bool:
        """Whether the container runs (a paused one does not)."""

    def run(self, member: str, place: Place, arguments: Sequence[str], timeout_s: int = 20) -> tuple[int, str]:
        """Run a command inside a container; its exit code and output."""

    def run_beside(
        self, member: str, arguments: Sequence[str], timeout_s: int = 20, tools: Place = "sidecar"
    ) -> tuple[int, str]:
        """Run a command as root in the member's network namespace, from a container made for it.

        `tools` says of which image: the sidecar's has iptables and ip, the service's has Python and the testbed.
        """

    def disconnect(self, member: str) -> None:
        """Take the member's anchor off the underlay network."""

    def connect(self, member: str) -> None:
        """Put the member's anchor back on the underlay network, with its address and names."""

    def get_underlay_ip(self, member: str) -> str:
        """The member's address on the bridge network of the engine."""


MAX_RATE = 0.95
"""However many faults add up, a few messages come through: what must be live can be."""
Pair = tuple[str, str]
"""A directed link: from one validator to another."""


class Cuts(Protocol):
    """Where links can be cut, between validators and from them to the mesh. Cuts add up."""

    unit: str
    """What it counts: messages, or packets."""

    def cut(self, pairs: Sequence[Pair]) -> None:
        """Let directed links carry nothing; their ends do not notice."""

    def heal(self, pairs: Sequence[Pair]) -> None:
        """Take back one cut of each."""

    def carries(self, pair: Pair) -> bool:
        """Whether a directed link is whole; where that can be seen, something has come through since it was not."""

    def count_cut(self) -> int:
        """How many were kept from passing since the start."""


class Losses(Protocol):
    """Where some of what validators send each other can be lost. Rates add up."""

    unit: str
    """What it counts: messages, or packets."""

    def change_rate(self, kind: str, by: float) -> None:
        """Raise (or lower) the share that meets `loss`; on `Links` also `duplicate` or `reorder`."""

    def count(self, what: str) -> int:
        """How many were `sent` or `lost`, since the start or the first loss."""


class Links(Losses, Protocol):
    """What only a backend can do to whom links belong. Delays add up too."""

    def change_delay(self, least_by_ms: int, most_by_ms: int) -> None:
        """Let messages take longer (or not so long any more): at least, and at most."""

    def count(self, what: str) -> int:
        """Messages `sent`, `lost`, `duplicated`, `reordered` or `delayed` since the start."""

    def reset(self, pairs: Sequence[Pair]) -> int:
        """End connections of the first of each pair to the second abruptly; how many there were.

        Where the harness carries real connections, the second learns of it over the link, if that carries anything.
        """

    def limit(self, bytes_per_second: int) -> None:
        """How much each link carries from now on, in each direction; 0 is as much as comes."""


class Backend(Protocol):
    """What every backend can do. Node names are validator ids and `MESH`."""

    name: str
    is_virtual: bool
    """Whether time passes only as the harness lets it."""
    containers: Containers | None
    """What faults and checks of containers act through; None on other backends."""
    cuts: Cuts | None
    """What cuts links; None where nothing in the scenario does."""
    losses: Losses | None
    """What loses messages or packets; None where nothing in the scenario does."""
    links: Links | None
    """What faults of links act through; None where those are not the harness's own."""

    def start_mesh(self) -> None:
        """Start the mesh. Returns at once; raises `TanaError` where it cannot even be tried."""

    def start_validator(self, node: str) -> None:
        """Start a validator, for the first time or again, on the data it has. Returns at once."""

    def is_running(self, node: str) -> bool:
        """Whether the node runs now, as the backend itself sees it."""

    def kill(self, node: str) -> None:
        """kill -9: nothing is flushed, nothing is said."""

    def stop(self, node: str) -> None:
        """Ask the node to end, and wait until it has."""

    def pause(self, node: str) -> None:
        """Let the node stand still without ending it."""

    def resume(self, node: str) -> None:
        """Let a paused node go on."""

    def control(self, node: str, key: str, value: str) -> None:
        """Set a hook of the testbed's validator, such as `heartbeat` to `off` (see `testbed.hooks`)."""

    def damage(self, node: str, how: str, seed: str) -> Harm:
        """Damage the data of a validator that does not run, see `testbed.damage`."""

    def recover(self, node: str, height: int, round: int) -> str:
        """Give a validator that does not run a new sign-state as `tana validator recover` does; what that says.

        Raises `Conflict` with the code `slot_too_low` where others have seen more, `Unavailable` where it fails.
        """

    def request_all(self, requests: Sequence[Request]) -> list[Answer]:
        """Answers in the order of the requests, which may run side by side."""

    def knock(self, node: str, signer: Signer, chain_id: bytes) -> str | None:
        """How a validator's peer listener ends a handshake by that key: `admitted`, the code of its refusal, or a
        reason in words; None where this backend has no listeners."""

    def now_ms(self) -> int:
        """The cluster's clock, ms since 1970."""

    def advance(self) -> None:
        """Let one poll interval pass."""

    def read_log(self, node: str) -> list[dict[str, Any]]:
        """Log entries of a node since the last call; each has at least `event`."""

    def describe_exit(self, node: str) -> str:
        """Why a node that does not run ended, in one line; empty where nothing is known."""

    def collect_logs(self, folder: Path) -> None:
        """Leave `<node>.log` of every node in the folder."""

    def collect_journals(self, folder: Path) -> None:
        """Leave `<node>.journal` of every validator that kept one in the folder. Called after `cleanup`."""

    def cleanup(self) -> None:
        """End everything that was started. May be called twice."""

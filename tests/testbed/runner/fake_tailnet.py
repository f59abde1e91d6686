"""A cluster on a tailnet as the steps of `testbed.runner.tailnet` see it, whose parts can be made to misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from testbed.backends.base import CONTROL, MESH, Answer, Place, Request, Verb
from testbed.checkers.base import Checker
from testbed.cluster import Cluster
from testbed.history import Event, History
from testbed.plan import make_plan
from testbed.ports import Ports
from testbed.scenario import load_scenario
from testbed.screen import SilentScreen
from tests.testbed.faults.fakes import MEMBERS, NODES, FakeContainers
from tests.testbed.forging import ROOT

POLL_MS = 100
CHAIN_ID = "ab" * 32
PORTS = Ports(ledger=8080, t4=8180, peer=9000, status=9001)
SIDECAR = "tailscale"
INSIDE = ["python", "-m", "testbed.inside"]


@dataclass
class Behaviour:
    """How the members behave; as it stands, they are on the tailnet and nowhere else."""

    device: str = "tailscale0"
    bridge_answers: dict[int, str] = field(
        default_factory=lambda: {8080: "HTTP 403", 9001: "HTTP 403", 8190: "HTTP 403", 8180: "refused", 9000: "refused"}
    )
    firewalled_answer: str = "silent"
    claim_status: int = 403
    claim_is_logged: bool = True
    link_answer: str = "wrong_identity"
    link_owner: str = ""
    """Whose place every link leads to; empty: its peer's."""
    eth0_has_marker: bool = False
    takes_transactions: bool = True
    loses_transactions: bool = False
    goes_elsewhere: bool = False
    """Whether what is submitted reaches the others, but not by the tailnet."""
    extra_nodes: tuple[str, ...] = ()
    stops: bool = True
    """Whether a container that is told to stop does."""


class FakeTailnet(FakeContainers):
    def __init__(self, behaviour: Behaviour) -> None:
        super().__init__()
        self.behaviour = behaviour
        self.refused: list[dict[str, Any]] = []
        """What the mesh wrote down and nobody has read."""
        self.has_transactions = False
        self.acts: list[tuple[str, str, str]] = []
        self._captures: dict[str, threading.Event] = {}

    def act(self, member: str, place: Place, verb: Verb) -> None:
        self.acts.append((member, place, verb))
        if self.behaviour.stops or verb != "stop":
            super().act(member, place, verb)

    def run(self, member: str, place: Place, arguments: Sequence[str], timeout_s: int = 20) -> tuple[int, str]:
        words = list(arguments)
        if words[:3] == INSIDE:
            return 0, json.dumps(self._answer_inside(member, words[3:]))
        if words[:3] == ["ip", "route", "get"]:
            return 0, f"{words[3]} dev {self.behaviour.device} table 52 src 100.64.0.1 uid 0"
        if words[:3] == ["ip", "route", "show"]:
            return 0, "default via 192.168.16.1 dev eth0"
        if words[:3] == [SIDECAR, "whois", "--json"]:
            number = int(words[3].partition(":")[0].rpartition(".")[2])
            name = self.behaviour.link_owner or MEMBERS[number - 1]
            return 0, json.dumps({"Node": {"Name": f"{name}.tana.internal."}})
        if words[:3] == ["headscale", "nodes", "list"]:
            assert member == CONTROL
            names = [*MEMBERS, *self.behaviour.extra_nodes]
            return 0, json.dumps(
                [
                    {"id": number, "given_name": name, "ip_addresses": [f"100.64.0.{number}"]}
                    for number, name in enumerate(names, 1)
                ]
            )
        return super().run(member, place, arguments, timeout_s)

    def run_beside(
        self, member: str, arguments: Sequence[str], timeout_s: int = 20, tools: Place = "sidecar"
    ) -> tuple[int, str]:
        if list(arguments[:4]) != [*INSIDE, "capture"]:
            return super().run_beside(member, arguments, timeout_s, tools)
        assert tools == "service"
        stopped = self._captures.setdefault(member, threading.Event())
        if not stopped.wait(timeout_s):
            return 137, "nobody told it to stop"
        found = {
            "tailscale0": {"packets": 30, "missed": 0, "hits": [12, 0]},
            "eth0": {"packets": 40, "missed": 0, "hits": [int(self.behaviour.eth0_has_marker), 2]},
        }
        return 0, json.dumps(found)

    def get_underlay_ip(self, member: str) -> str:
        return "192.168.16.250" if member == CONTROL else super().get_underlay_ip(member)

    def _answer_inside(self, member: str, words: list[str]) -> Any:
        match words:
            case ["tell", word]:
                capture = self._captures.get(member)
                if capture is not None and word == "stop":
                    capture.set()
                return capture is not None
            case ["knock", host, *ports]:
                return {port: self._answer_knock(host, int(port)) for port in ports}
            case ["link", *_]:
                return self.behaviour.link_answer
            case ["ask", method, url, text, *_]:
                return self._answer_request(member, method, url, json.loads(text) if text else None)
        raise AssertionError(words)

    def _answer_knock(self, host: str, port: int) -> str:
        if any("tana-proof" in chains for chains in self.chains.values()):
            return self.behaviour.firewalled_answer
        if host.startswith("100.64."):
            return "open" if port == PORTS.peer else "HTTP 200"
        return self.behaviour.bridge_answers[port]

    def _answer_request(self, member: str, method: str, url: str, body: Any) -> dict[str, Any]:
        path = url.partition("//")[2].partition("/")[2]
        if path in ("register", "heartbeat"):
            if self.behaviour.claim_is_logged:
                self.refused.append({"event": "mesh_claim_refused", "visitor": f"{member}.tana.internal"})
            return {"status": self.behaviour.claim_status, "body": {"code": "wrong_identity"}}
        if path == "transactions":
            if not self.behaviour.takes_transactions:
                return {"status": 503, "body": {"code": "mempool_full"}}
            self.has_transactions = True
            if not self.behaviour.goes_elsewhere:
                self.received_bytes += len(json.dumps(body))
            return {"status": 202, "body": {}}
        if path.startswith("transactions/"):
            status = "unknown" if self.behaviour.loses_transactions else "committed"
            return {"status": 200, "body": {"status": status}}
        return {"status": 403, "body": {}}


class FakeBackend:
    """Time passes when it is told to; what the testbed asks from the host is answered."""

    name = "docker"
    is_virtual = True

    def __init__(self, containers: FakeTailnet) -> None:
        self.containers = containers
        self._now_ms = 1_000

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self) -> None:
        self._now_ms += POLL_MS

    def read_log(self, node: str) -> list[dict[str, Any]]:
        found, self.containers.refused = self.containers.refused, []
        return found if node == MESH else []

    def request_all(self, requests: Sequence[Request]) -> list[Answer]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Answer:
        if request.path == "/peers":
            others = [name for name in NODES if name != request.target]
            rows = [{"id": name, "address": f"100.64.0.{MEMBERS.index(name) + 1}:9000"} for name in others]
            return Answer(200, {"peers": rows})
        if request.target == MESH:
            return Answer(403, {"code": "not_on_tailnet"})
        if request.method == "POST":
            return Answer(200, {"results": [{"status": "committed"}] * len(request.body)})
        return Answer(200, {"status": "committed", "height": 3})


class FakeTailnetCluster(Cluster):
    """Every observation finds one more block on every validator that runs on the tailnet with all its parts."""

    backend: FakeBackend  # type: ignore[assignment]

    def __init__(self, behaviour: Behaviour, checkers: Sequence[Checker]) -> None:
        scenario = load_scenario(ROOT / "scenarios" / "tailnet.toml", frozenset({"containers", "tailnet"}))
        plan = make_plan(scenario, 1, 8190, [PORTS] * 3)
        containers = FakeTailnet(behaviour)
        backend: Any = FakeBackend(containers)
        super().__init__(plan, backend, checkers, History(), SilentScreen())
        self.events: list[Event] = []
        self.tailnet = containers
        self._tip = 0
        self.observe()

    def record(self, kind: str, node: str = "", /, **data: Any) -> Event:
        event = super().record(kind, node, **data)
        self.events.append(event)
        return event

    def observe(self) -> None:
        self._tip += 1
        self.tailnet.packets += 1
        for node in self.node_ids:
            down = {member for member, _ in self.tailnet.down}
            if node in down:
                self.view.health[node] = None
                continue
            self.view.health[node] = {"peers": 2, "chain_id": CHAIN_ID, "state": "validating", "height": self._tip}
            self.view.mesh[node] = {"status": "active", "id": node}
            self.view.read_height[node] = self._tip
            if self.tailnet.has_transactions and not self.tailnet.behaviour.loses_transactions:
                self.view.committed[node] = {event.data["id"] for event in self.events if event.kind == "submitted"}
            self.record("block", node, height=self._tip)
        self.raise_violation()

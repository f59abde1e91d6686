"""The running cluster as the runner sees it: asks every node, records what is new, and lets the checkers judge.

Everything that the steps wait for is read from what nodes answered (`View`), never from what the harness did.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from testbed import answers
from testbed.backends.base import MESH, Answer, Backend, Containers, Cuts, Links, Losses, Request
from testbed.byzantine import LIED
from testbed.checkers.base import Checker
from testbed.damage import LOSES, Harm
from testbed.history import Event, History
from testbed.plan import Plan
from testbed.screen import Screen, make_rows
from testbed.verdict import Outcome, RunEnded, Verdict

BLOCKS_PER_REQUEST = 50
NOTABLE = frozenset(
    (
        *("prevote_nil", "equivocation", "sync_refused", "vote_refused", "halted", "heartbeat_failed", LIED),
        *("sign_state_torn_tail_cut", "chain_behind_sign_state", "sign_state_recovered"),
    )
)
"""Log entries that go into the history: they explain a run that fails, or show that a fault was applied."""

Condition = Callable[[], bool]


@dataclass
class View:
    """The latest answers by node."""

    health: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    mesh: dict[str, dict[str, Any]] = field(default_factory=dict)
    topology: list[dict[str, Any]] | None = None
    read_height: dict[str, int] = field(default_factory=dict)
    """How far the blocks of a node have been read, from its first."""
    committed: dict[str, set[str]] = field(default_factory=dict)
    """Transaction ids in the blocks read."""
    supply_height: dict[str, int] = field(default_factory=dict)
    answered_height: dict[str, int] = field(default_factory=dict)
    """The height that a node answered last."""
    unreachable: dict[str, str] = field(default_factory=dict)
    """Why a node gave no answer the last time."""
    refusals: dict[str, dict[str, Any]] = field(default_factory=dict)
    """The last notable log entry of a node."""
    accused: dict[str, set[str]] = field(default_factory=dict)
    """Public keys against which there is evidence in the blocks read, by the node that answered them."""
    logged: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    """Notable log entries, by node and name."""
    signed_height: dict[str, int] = field(default_factory=dict)
    """By public key the highest block read whose certificate holds its precommit."""
    lies: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """The heights about which a node says that it lied, by node and behaviour."""


class Cluster:
    """Plan, backend, history and checkers of one run. Faults and steps act through it."""

    def __init__(
        self, plan: Plan, backend: Backend, checkers: Sequence[Checker], history: History, screen: Screen
    ) -> None:
        self.plan = plan
        self.backend = backend
        self.checkers = checkers
        self.history = history
        self.screen = screen
        self.view = View()
        self.started: set[str] = set()
        self.killed: set[str] = set()
        """Nodes that a fault has ended: any other that does not run has crashed."""
        self.paused: set[str] = set()
        self.voters = {node.node_id for node in plan.nodes if node.power}
        """Who has a vote by the genesis and what the sovereign has changed since."""
        self.start_ms = backend.now_ms()

    @property
    def node_ids(self) -> tuple[str, ...]:
        return self.plan.node_ids

    @property
    def containers(self) -> Containers:
        """What acts on containers. Scenarios that need it are refused where a backend has none."""
        assert self.backend.containers is not None, f"{self.backend.name} has no containers"
        return self.backend.containers

    @property
    def cuts(self) -> Cuts:
        """What cuts links. Scenarios that need it are refused where a backend has none."""
        assert self.backend.cuts is not None, f"{self.backend.name} cuts no links"
        return self.backend.cuts

    @property
    def losses(self) -> Losses:
        """What loses messages or packets. Scenarios that need it are refused where a backend has none."""
        assert self.backend.losses is not None, f"{self.backend.name} loses nothing"
        return self.backend.losses

    @property
    def links(self) -> Links:
        """What acts on links. Scenarios that need it are refused where a backend has none."""
        assert self.backend.links is not None, f"{self.backend.name} has no links of its own"
        return self.backend.links

    # ------------------------------------------------------------------ the record

    def record(self, kind: str, node: str = "", /, **data: Any) -> Event:
        """Add a fact to the history and give it to every checker."""
        event = self.history.append(self.backend.now_ms() - self.start_ms, kind, node, **data)
        for checker in self.checkers:
            checker.feed(event)
        return event

    def raise_violation(self) -> None:
        """End the run where a checker has found a violation."""
        for checker in self.checkers:
            if checker.violation:
                raise RunEnded(Verdict(checker.name, Outcome.VIOLATED, checker.violation, checker.facts))

    # ------------------------------------------------------------------ acting

    def start(self, node: str) -> None:
        """Start the mesh or a validator."""
        if node == MESH:
            self.backend.start_mesh()
        else:
            self.backend.start_validator(node)
        self.started.add(node)
        self.killed.discard(node)

    def kill(self, node: str) -> None:
        self.killed.add(node)
        self.backend.kill(node)

    def stop(self, node: str) -> None:
        """Ask a node to end, and wait until it has."""
        self.killed.add(node)
        self.backend.stop(node)

    def pause(self, node: str) -> None:
        """Let a node stand still; until it goes on it is not asked, for each answer would be waited for in vain."""
        self.paused.add(node)
        self.backend.pause(node)

    def resume(self, node: str) -> None:
        self.backend.resume(node)
        self.paused.discard(node)

    def restart(self, node: str) -> None:
        """Start a node again on the data it has; its blocks are read again from the first."""
        self.view.read_height[node] = 0
        self.view.committed[node] = set()
        self.view.accused[node] = set()
        self.start(node)

    def damage(self, node: str, how: str) -> Harm:
        """Damage the data of a validator that does not run; the seed of the run decides how."""
        harm = self.backend.damage(node, how, f"{self.plan.seed}/{node}/{self.history.count}")
        self.record("damaged", target=node, how=how, lost=LOSES[how], at=harm.at, size_bytes=harm.size_bytes)
        return harm

    def recover(self, node: str, height: int, round: int) -> str:
        """`tana validator recover` on a validator that does not run; what it says."""
        return self.backend.recover(node, height, round)

    def is_running(self, node: str) -> bool:
        return self.backend.is_running(node)

    def control(self, node: str, key: str, value: str) -> None:
        self.backend.control(node, key, value)

    def get_health(self, node: str) -> dict[str, Any] | None:
        return self.view.health.get(node)

    def list_logged(self, node: str, event: str) -> list[dict[str, Any]]:
        return self.view.logged.get((node, event), [])

    def get_signed_height(self, node: str) -> int:
        return self.view.signed_height.get(self.plan.get_node(node).key.public_text, 0)

    def count_lies(self, node: str, behaviour: str) -> int:
        """About how many heights a node says that it has lied."""
        return len(self.view.lies.get((node, behaviour), ()))

    def get_mesh_row(self, node: str) -> dict[str, Any] | None:
        return self.view.mesh.get(node)

    def ask(self, target: str, port: str, method: str, path: str, body: Any = None) -> Answer:
        return self.backend.request_all([Request(target, port, method, path, body)])[0]

    def ask_mesh(self, method: str, path: str, body: Any = None) -> Answer:
        return self.ask(MESH, MESH, method, path, body)

    # ------------------------------------------------------------------ watching

    def wait_until(self, condition: Condition, what: str, timeout_ms: int) -> bool:
        """Watch the cluster until the condition holds; False where it does not in time."""
        deadline_ms = self.backend.now_ms() + timeout_ms
        while True:
            self.observe()
            if condition():
                return True
            if self.backend.now_ms() >= deadline_ms:
                return False
            self.backend.advance()

    def require(
        self,
        condition: Condition,
        check: str,
        what: str,
        timeout_ms: int,
        *,
        explain: Callable[[], str],
        outcome: Outcome = Outcome.VIOLATED,
    ) -> None:
        """Wait for what must happen; where it does not, end the run with the cause that `explain` finds."""
        if not self.wait_until(condition, what, timeout_ms):
            cause = explain()
            line = f"{cause} (waited {timeout_ms} ms for {what})" if cause else f"{what}: not within {timeout_ms} ms"
            raise RunEnded(Verdict(check, outcome, line))

    def observe(self) -> None:
        """Ask every node once, record what is new, and end the run where a checker objects."""
        nodes = [node for node in self.plan.node_ids if node in self.started]
        if MESH in self.started:
            self._may_ask(MESH)
        asked = [node for node in nodes if self._may_ask(node)]
        requests = [Request(node, "status", "GET", "/health") for node in asked]
        if MESH in self.started:
            requests += [Request(MESH, MESH, "GET", "/nodes?status=all"), Request(MESH, MESH, "GET", "/topology")]
        found = self.backend.request_all(requests)
        for node, answer in zip(asked, found, strict=False):
            self._note_health(node, answer)
        if MESH in self.started:
            self._note_mesh(*found[len(asked) :])
        self._read_chains(asked)
        for node in nodes:
            self._read_log(node)
        self.screen.update(make_rows(self.plan.node_ids, self.view.health, self.view.mesh, self.backend.now_ms()))
        self.raise_violation()

    def refresh(self) -> None:
        """Observe, and record the mesh's topology even where it is the same as before."""
        self.view.topology = None
        self.observe()

    def _may_ask(self, node: str) -> bool:
        if node in self.paused:
            self._note_unreachable(node, "it is paused")
            return False
        if self.backend.is_running(node):
            return True
        reason = self.backend.describe_exit(node) or "it does not run"
        self._note_unreachable(node, reason)
        if node not in self.killed:
            # A node that never answered may lack a port or a library: that says nothing about the network.
            height = self.view.answered_height.get(node)
            outcome = Outcome.COULD_NOT_TELL if height is None else Outcome.VIOLATED
            where = "" if height is None else f" at height {height}"
            raise RunEnded(Verdict("alive", outcome, f"{node}{where}: nobody ended it and {reason}"))
        return False

    def _note_unreachable(self, node: str, reason: str) -> None:
        self.view.health[node] = None
        if self.view.unreachable.get(node) != reason:
            self.view.unreachable[node] = reason
            self.record("unreachable", node, reason=reason)

    def _note_health(self, node: str, answer: Answer) -> None:
        if not answer.is_ok:
            self._note_unreachable(node, str(answer.body))
            return
        self.view.unreachable.pop(node, None)
        facts = answers.read_health(answer.body)
        self.view.answered_height[node] = facts["height"]
        if facts != self.view.health.get(node):
            self.view.health[node] = facts
            self.record("health", node, **facts)

    def _note_mesh(self, nodes: Answer, topology: Answer) -> None:
        if not (nodes.is_ok and topology.is_ok):
            if self.view.unreachable.get(MESH) != str(nodes.body):
                self.view.unreachable[MESH] = str(nodes.body)
                self.record("unreachable", MESH, reason=str(nodes.body))
            return
        self.view.unreachable.pop(MESH, None)
        rows = {row["id"]: answers.read_mesh_node(row) for row in nodes.body["nodes"]}
        if rows != self.view.mesh:
            self.view.mesh = rows
            self.record("mesh_nodes", MESH, nodes=list(rows.values()))
        listed = [answers.read_topology_node(row) for row in topology.body["nodes"]]
        if listed != self.view.topology:
            self.view.topology = listed
            self.record("topology", MESH, nodes=listed)

    def _read_chains(self, nodes: Sequence[str]) -> None:
        """New blocks of each node and, at each new height, the money it says there is."""
        behind, requests = [], []
        for node in nodes:
            health = self.view.health.get(node)
            first = self.view.read_height.get(node, 0) + 1
            if health is None or health["height"] < first:
                continue
            behind.append(node)
            requests.append(Request(node, "ledger", "GET", f"/blocks?from={first}&limit={BLOCKS_PER_REQUEST}"))
            requests.append(Request(node, "ledger", "GET", "/state/supply"))
        found = self.backend.request_all(requests)
        for index, node in enumerate(behind):
            blocks, supply = found[2 * index : 2 * index + 2]
            if blocks.is_ok:
                for body in blocks.body["blocks"]:
                    self._note_block(node, answers.read_block(body))
            if supply.is_ok and supply.body["height"] != self.view.supply_height.get(node):
                self.view.supply_height[node] = supply.body["height"]
                self.record("supply", node, height=supply.body["height"], supply=supply.body["supply"])

    def _note_block(self, node: str, facts: dict[str, Any]) -> None:
        if facts["height"] != self.view.read_height.get(node, 0) + 1:
            return
        self.view.read_height[node] = facts["height"]
        ids = (answers.read_transaction_id(body) for body in facts["transactions"])
        self.view.committed.setdefault(node, set()).update(ids)
        self.view.accused.setdefault(node, set()).update(item["validator"] for item in facts["evidence"])
        for key, _ in (facts["certificate"] or {}).get("signatures", ()):
            self.view.signed_height[key] = max(self.view.signed_height.get(key, 0), facts["height"])
        self.record("block", node, **facts)

    def _read_log(self, node: str) -> None:
        for entry in self.backend.read_log(node):
            if entry.get("event") in NOTABLE:
                facts = {
                    key: value for key, value in entry.items() if key not in ("event", "node", "name", "timestamp")
                }
                if entry["event"] == LIED:
                    self.view.lies.setdefault((node, facts["behaviour"]), []).append(facts["height"])
                else:
                    self.view.refusals[node] = {"name": entry["event"], **facts}
                    self.view.logged.setdefault((node, entry["event"]), []).append(facts)
                self.record("log", node, name=entry["event"], **facts)

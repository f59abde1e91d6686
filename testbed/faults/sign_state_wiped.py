"""sign_state_wiped: validators lose what they signed while down, and abstain. Undone by `tana validator recover`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from tana.node.recovery import Slot, read_seen
from tana.types.errors import Conflict
from testbed.damage import WIPE_SIGN_STATE
from testbed.faults.base import Cluster, Fault, NotApplied

ABSTAINING = "abstaining"
COMMAND = "tana validator recover"
"""What a validator that lost its sign-state must tell its operator to do."""
MARGINS = (0, 4, 16, 64)
"""By how many heights an operator goes above what the others say, try after try: the chain may go on meanwhile."""


class SignStateWiped(Fault):
    """It strikes a validator and its `peers`, whose operators recover them one after the other."""

    kind = "sign_state_wiped"
    removes_power = True
    takes_peers = True
    how: ClassVar[str] = WIPE_SIGN_STATE
    complaint: ClassVar[str] = "is missing"
    """What the validator must say of its sign-state."""
    _height_before = -1

    def __init__(self, cluster: Cluster, node: str, timeout_ms: int, peers: Sequence[str] = ()) -> None:
        super().__init__(cluster, node, timeout_ms, peers)
        self._nodes = (node, *self.peers)
        self._seen: dict[str, Slot] = {}
        """The highest slot that a validator had seen when it began to abstain."""

    @classmethod
    def find_broken(cls, node: str, peers: Sequence[str], node_ids: Sequence[str]) -> frozenset[str]:
        return frozenset({node, *peers})

    def apply(self) -> None:
        self._height_before = self.get_height_before()
        for node in self._nodes:
            self._stop(node)
            self.cluster.damage(node, self.how)
            self.cluster.restart(node)

    def verify(self) -> str:
        reasons = [self._wait_abstaining(node) for node in self._nodes]
        return f"{' and '.join(self._nodes)} abstain: {reasons[-1]}"

    def undo(self) -> None:
        slots = {node: self._recover(node) for node in self._nodes}
        for node, (height, _) in slots.items():
            self._wait_signing(node, height)

    def describe_effect(self) -> str:
        for node, (height, _) in self._seen.items():
            if (signed := self.cluster.get_signed_height(node)) > height:
                raise NotApplied(f"{node} signed block {signed} without its sign-state, which it lost at {height}")
        return f"a chain at height {self._height_before} lost a voter" if self._height_before > 0 else ""

    def _wait_abstaining(self, node: str) -> str:
        """Wait until it abstains. Returns why it says it does, which must name what its operator is to do."""
        self.require(
            lambda: self._get_state(node) == ABSTAINING,
            f"{node} to abstain",
            lambda: f"{node} does not abstain but is {self._get_state(node)}",
        )
        reason: str = (self.cluster.get_health(node) or {})["reason"]
        for words in (self.complaint, COMMAND):
            if words not in reason:
                raise NotApplied(f"{node} abstains and does not say {words!r}: {reason}")
        self._seen[node] = self._find_slot(self.cluster.node_ids)
        return reason

    def _wait_signing(self, node: str, height: int) -> None:
        self.require(
            lambda: self.cluster.get_signed_height(node) > height,
            f"{node} to sign above height {height}",
            f"{node} signs nothing after its recovery above height {height}",
        )

    # ------------------------------------------------------------------ as its operator does

    def _recover(self, node: str) -> Slot:
        """Give a validator a new sign-state above what the others have seen. Returns that slot."""
        self._stop(node)
        refusal = ""
        for margin in MARGINS:
            height, round = self._find_slot(other for other in self.cluster.node_ids if other != node)
            slot = (height + margin, 0 if margin else round)
            try:
                self.cluster.recover(node, *slot)
            except Conflict as error:
                if error.code != "slot_too_low":
                    raise
                refusal = error.message
                continue
            break
        else:
            raise NotApplied(f"{node} cannot be recovered: {refusal}")
        self.cluster.restart(node)
        self.require(
            lambda: self._get_state(node) not in ("", ABSTAINING),
            f"{node} to come back from its recovery",
            lambda: f"{node} is {self._get_state(node) or 'not to be reached'} after its recovery",
        )
        return slot

    def _find_slot(self, nodes: Iterable[str]) -> Slot:
        """The highest slot that any of these validators has seen, as far as they answer."""
        answers = [self.cluster.ask(node, "status", "GET", "/health") for node in nodes]
        seen = [slot for answer in answers if answer.is_ok and (slot := read_seen(answer.body)) is not None]
        if not seen:
            raise NotApplied("no other validator says what it has seen")
        return max(seen)

    def _stop(self, node: str) -> None:
        if self.cluster.get_health(node) is None or not self.cluster.is_running(node):
            raise NotApplied(f"{node} was not running")
        self.cluster.stop(node)
        if self.cluster.is_running(node):
            raise NotApplied(f"{node} still runs after being asked to end")

    def _get_state(self, node: str) -> str:
        return str((self.cluster.get_health(node) or {}).get("state", ""))

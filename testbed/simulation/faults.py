"""What a planned fault does to a simulated world: apply, and undo. Each remembers whether it touched anything."""

from __future__ import annotations

from typing import Protocol

from testbed.simulation.clients import Order
from testbed.simulation.clock import Clock
from testbed.simulation.disk import Disk
from testbed.simulation.network import Network
from testbed.simulation.node import SimulatedNode
from testbed.simulation.schedule import PlannedFault
from testbed.simulation.scheduler import Scheduler

LOOK_MS = 7
OPERATOR_MS = 150
"""How long an operator takes to look after a validator: what it sent before it died has arrived, or is lost."""
LOOKS_MAX = 300
"""How often, and how many times, a fault looks whether its moment has come."""


class Site(Protocol):
    """What faults may act on."""

    scheduler: Scheduler
    network: Network
    keys: tuple[bytes, ...]
    clocks: list[Clock]
    disks: list[Disk]

    def get_node(self, number: int) -> SimulatedNode | None:
        """The running incarnation of a node."""

    def kill(self, number: int) -> None: ...

    def start(self, number: int) -> None: ...

    def change_power(self, number: int, power: int) -> Order:
        """Let the sovereign give a node that voting power; 0: it leaves."""

    def replace_key(self, old: int, new: int) -> Order | None:
        """Let the sovereign put a node's key in the place of a member's; None where that is no member's."""

    def set_mesh(self, *, is_up: bool) -> int:
        """Let the mesh answer, or nobody; returns how many calls it has left unanswered so far."""

    def deny(self, number: int) -> bool:
        """The sovereign denies a node at the mesh; False where the mesh does not answer."""

    def wipe_data(self, number: int) -> None:
        """Empty the data folder of a node that is down."""

    def wipe_sign_state(self, number: int) -> None:
        """Lose the log of a node that is down."""

    def recover(self, number: int) -> bool:
        """Give a node that abstains a new sign-state, as its operator does; False where others do not answer yet."""


class SimulatedFault:
    """Base of all. `evidence` says what it touched; it stays empty where there was nothing to touch."""

    def __init__(self, site: Site, plan: PlannedFault) -> None:
        self.site = site
        self.plan = plan
        self.evidence = ""

    def apply(self) -> None:
        raise NotImplementedError

    def undo(self) -> None:
        """Take it away, whatever became of it."""
        raise NotImplementedError


class Crash(SimulatedFault):
    """The node dies after some more effects, between two of them, and with it what it had not flushed."""

    def apply(self) -> None:
        node = self.site.get_node(self.plan.nodes[0])
        if node is not None and node.effects_left is None:
            node.effects_left = self.plan.effects
            self._height = node.machine.ledger.height
            self._node = node
            self.evidence = f"{node.name} at height {self._height} had {self.plan.effects} more effects to live"

    def undo(self) -> None:
        if not self.evidence:
            return
        number = self.plan.nodes[0]
        if self._node.is_alive:
            # It has had nothing to do since.
            self.site.kill(number)
        self.damage(number)
        self.site.start(number)

    def damage(self, number: int) -> None:
        """What else happens to its disk while it is down."""


class CrashLocked(Crash):
    """Whoever is the next to be locked for a while dies: what it is locked on must be in its log."""

    _height = -1
    _candidate: SimulatedNode | None = None

    def apply(self) -> None:
        self._looks = 0
        self._look()

    def undo(self) -> None:
        self._looks = LOOKS_MAX
        if self.evidence:
            self.site.start(self._number)

    def _look(self) -> None:
        """Look around until somebody is locked at the same height as at the last look."""
        if self._looks >= LOOKS_MAX:
            return
        for number in range(len(self.site.keys)):
            node = self.site.get_node(number)
            if node is None or node.machine.core.locked_round < 0:
                continue
            core = node.machine.core
            if node is self._candidate and core.height == self._height:
                self._number = number
                self.evidence = f"{node.name} was locked since round {core.locked_round} of height {core.height}"
                self.site.kill(number)
                return
            self._candidate, self._height = node, core.height
            break
        self._looks += 1
        self.site.scheduler.call_after(LOOK_MS, self._look)


class WipedData(Crash):
    """It also loses its blocks and its state, not its sign-state."""

    def damage(self, number: int) -> None:
        # Another fault's end may have started it again since.
        self.site.kill(number)
        self.site.wipe_data(number)


class WipedSignState(Crash):
    """It also loses its sign-state, and must abstain from then on."""

    def damage(self, number: int) -> None:
        self.site.kill(number)
        self.site.wipe_sign_state(number)


class RecoveredSignState(WipedSignState):
    """It loses its sign-state, and its operator recovers it once everybody says what they have seen."""

    def undo(self) -> None:
        super().undo()
        if self.evidence:
            self.site.scheduler.call_after(OPERATOR_MS, self._operate)

    def _operate(self) -> None:
        if not self.site.recover(self.plan.nodes[0]):
            self.site.scheduler.call_after(OPERATOR_MS, self._operate)


class Pause(SimulatedFault):
    """The node stands still; what is due or arrives meanwhile waits."""

    def apply(self) -> None:
        node = self.site.get_node(self.plan.nodes[0])
        if node is not None and not node.is_paused:
            self._node = node
            node.pause()
            self.evidence = f"{node.name} stood still at height {node.machine.ledger.height}"

    def undo(self) -> None:
        if self.evidence and self._node.is_alive:
            self._node.resume()


class Cut(SimulatedFault):
    """Some directed links carry nothing."""

    def apply(self) -> None:
        self._pairs = [(self.site.keys[one], self.site.keys[other]) for one, other in self.find_pairs()]
        self._before = self.site.network.cut
        self.site.network.cut_links(self._pairs, is_noticed=self.plan.is_noticed)

    def undo(self) -> None:
        count = self.site.network.cut - self._before
        self.evidence = f"{count} messages were cut off" if count or self.plan.is_noticed else ""
        self.site.network.heal_links(self._pairs, is_noticed=self.plan.is_noticed)

    def find_pairs(self) -> list[tuple[int, int]]:
        """(from, to) by node numbers."""
        raise NotImplementedError

    def _between(self, some: tuple[int, ...], others: list[int]) -> list[tuple[int, int]]:
        return [pair for one in some for other in others for pair in ((one, other), (other, one))]

    def _others(self) -> list[int]:
        return [number for number in range(len(self.site.keys)) if number not in self.plan.nodes]


class Isolated(Cut):
    """One node and all others do not hear each other."""

    def find_pairs(self) -> list[tuple[int, int]]:
        return self._between(self.plan.nodes, self._others())


class Halves(Isolated):
    """Two groups do not hear each other."""


class Ring(Cut):
    """Everybody hears only the next and the one before."""

    def find_pairs(self) -> list[tuple[int, int]]:
        count = len(self.site.keys)
        numbers = range(count)
        return [(one, other) for one in numbers for other in numbers if (one - other) % count not in (0, 1, count - 1)]


class OneWay(Cut):
    """Some do not hear one node, which hears them."""

    def find_pairs(self) -> list[tuple[int, int]]:
        return [(self.plan.nodes[0], other) for other in self.plan.nodes[1:]]


class HalfConnected(Cut):
    """One node and half of the others do not hear each other."""

    def find_pairs(self) -> list[tuple[int, int]]:
        return self._between(self.plan.nodes[:1], list(self.plan.nodes[1:]))


class Rate(SimulatedFault):
    """More messages than before are lost, doubled or overtaken."""

    def apply(self) -> None:
        self._before = self._count()
        self._change(self.plan.rate)

    def undo(self) -> None:
        count = self._count() - self._before
        self.evidence = f"{count} messages: {self.plan.kind}" if count else ""
        self._change(-self.plan.rate)

    def _change(self, by: float) -> None:
        self.site.network.change_rate(self.plan.kind, by)

    def _count(self) -> int:
        network = self.site.network
        return {"loss": network.lost, "duplicate": network.duplicated, "reorder": network.reordered}[self.plan.kind]


class Delay(SimulatedFault):
    """Every message may take longer."""

    def apply(self) -> None:
        self._before = self.site.network.sent
        self.site.network.conditions.delay_ms_max += self.plan.by

    def undo(self) -> None:
        count = self.site.network.sent - self._before
        self.evidence = f"{count} messages took up to {self.plan.by} ms longer" if count else ""
        self.site.network.conditions.delay_ms_max -= self.plan.by


class Slow(SimulatedFault):
    """Whatever one node sends or gets takes longer."""

    def apply(self) -> None:
        self._before = self.site.network.sent
        self.site.network.slow_down(self.site.keys[self.plan.nodes[0]], self.plan.by)

    def undo(self) -> None:
        self.evidence = f"{self.plan.by} ms slower" if self.site.network.sent > self._before else ""
        self.site.network.slow_down(self.site.keys[self.plan.nodes[0]], -self.plan.by)


class ClockOffset(SimulatedFault):
    """A node's clock is set, and set back."""

    def apply(self) -> None:
        self._clock.shift(self.plan.by)
        self.evidence = f"its clock was {self._clock.offset_ms} ms ahead"

    def undo(self) -> None:
        self._clock.shift(-self.plan.by)

    @property
    def _clock(self) -> Clock:
        return self.site.clocks[self.plan.nodes[0]]


class Power(SimulatedFault):
    """A validator gets another voting power, or a follower its first: the chain decides, and it stays so."""

    def apply(self) -> None:
        self._order = self.site.change_power(self.plan.nodes[0], self.plan.by)

    def undo(self) -> None:
        order = self._order
        done = f"committed at height {order.height}" if order.height else f"refused: {order.refusal}"
        self.evidence = f"power {self.plan.by} {done}" if order.height or order.refusal else ""


class Leave(Power):
    """A validator leaves the set, and follows from then on."""


class Join(Power):
    """A follower joins the set."""


class ReplacedKey(Power):
    """A node's key votes in the place of another's, as `tana validator replace-key` has it; both go on running."""

    def apply(self) -> None:
        self._replacement = self.site.replace_key(*self.plan.nodes)

    def undo(self) -> None:
        order = self._replacement
        if order is not None and (order.height or order.refusal):
            done = f"committed at height {order.height}" if order.height else f"refused: {order.refusal}"
            self.evidence = f"a key in the place of another: {done}"


class MeshDown(SimulatedFault):
    """The mesh answers nobody: the chain goes on, and so does whoever restarts."""

    def apply(self) -> None:
        self._before = self.site.set_mesh(is_up=False)

    def undo(self) -> None:
        count = self.site.set_mesh(is_up=True) - self._before
        self.evidence = f"{count} heartbeats had no answer" if count else ""


class Denied(Power):
    """The sovereign denies a node at the mesh and takes its power: it leaves, and is cut off."""

    def apply(self) -> None:
        self._is_denied = self.site.deny(self.plan.nodes[0])
        super().apply()

    def undo(self) -> None:
        super().undo()
        if self._is_denied:
            self.evidence = f"denied at the mesh, {self.evidence}"


class ClockDrift(ClockOffset):
    """A node's clock runs at another speed."""

    def apply(self) -> None:
        self._before = self._clock.drift_ppm
        self._clock.set_drift(self.plan.by)
        self.evidence = f"its clock gained {self.plan.by} microseconds a second"

    def undo(self) -> None:
        self._clock.set_drift(self._before)


SIMULATED_FAULTS: dict[str, type[SimulatedFault]] = {
    "crash": Crash,
    "crash_locked": CrashLocked,
    "wiped_data": WipedData,
    "wiped_sign_state": WipedSignState,
    "pause": Pause,
    "isolated": Isolated,
    "halves": Halves,
    "ring": Ring,
    "one_way": OneWay,
    "half_connected": HalfConnected,
    "loss": Rate,
    "duplicate": Rate,
    "reorder": Rate,
    "delay": Delay,
    "slow": Slow,
    "clock_offset": ClockOffset,
    "clock_drift": ClockDrift,
    "power": Power,
    "leave": Leave,
    "join": Join,
    "recovered_sign_state": RecoveredSignState,
    "replaced_key": ReplacedKey,
    "mesh_down": MeshDown,
    "denied": Denied,
}

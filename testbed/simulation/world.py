"""A simulated run of a schedule: nodes, links, clients and faults in virtual time, judged while it runs.

Phase 1: everything that the schedule wants goes wrong, until some node has decided the first part of the heights.
Phase 2: only a quorum is healed, the others stay broken, and the quorum must go on. Phase 3: all is well, and every
node must come to the last height. What must happen must happen within a bound of virtual time that follows from the
timeouts and from the highest round that any node had reached.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from tana.consensus.tendermint import Tendermint
from tana.crypto.keys import format_public_key, verify
from tana.ledger.mempool import Admission
from tana.node.effects import Broadcast, Commit, Effect
from tana.node.hooks import NO_HOOKS, Hooks
from tana.node.inputs import Input
from tana.node.machine import Machine, MachineConfig
from tana.types.messages import PRECOMMIT, Vote
from tana.types.transaction import SignedTransaction
from tana.types.validator_set import ValidatorSet
from testbed.byzantine import BEHAVIOURS, Behaviour, Trigger
from testbed.byzantine.several import Several
from testbed.gauges import read_gauges
from testbed.invariants import make_invariants
from testbed.simulation.adversary import Adversary
from testbed.simulation.bounds import compute_bound_ms, count_growing_rounds
from testbed.simulation.cast import BEGIN_MS, CLIENTS, make_genesis, make_identities, make_signer
from testbed.simulation.clients import Clients, Order
from testbed.simulation.clock import Clock
from testbed.simulation.disk import Disk
from testbed.simulation.faults import SIMULATED_FAULTS, SimulatedFault
from testbed.simulation.lock_splitter import LockSplitter
from testbed.simulation.mesh import SimulatedMesh
from testbed.simulation.network import Conditions, Network
from testbed.simulation.node import SimulatedNode
from testbed.simulation.schedule import MEMBERSHIP, ClockPlan, PlannedFault, Schedule
from testbed.simulation.scheduler import Scheduler
from testbed.simulation.signing import verify_stand_in
from testbed.story import Begun
from testbed.trace import Begin, Trace, Violation

FIRST_PHASE_MS_MAX = 30_000
"""Phase 1 ends then, however far the chain has come: without a quorum it may stand still for good."""
GAUGE_STEPS: Final = 50
"""How often it is looked at what the node that takes a step holds in memory."""
HEIGHTS_AHEAD_MAX = 500
"""Whoever is not at the height that all must come to, while others are so far beyond it, does not catch up."""
HEIGHTS_TO_SPLIT = 2
"""Above the last height: everybody enters it with good links."""
ROUNDS_TO_SPLIT = 10
LOOK_MS = 2
"""How often it is looked at whether locks clash."""
HEARTBEAT_MS = 1_000
SOVEREIGN_MS = 50
"""How often the sovereign looks whether its order is carried out, where no clients set the pace."""

# Names that are final need not be looked up each time where this is compiled.
_BROADCAST: Final[type[Broadcast]] = Broadcast
_VOTE: Final[type[Vote]] = Vote


@dataclass
class FaultWindow:
    """A fault that was asked for, with what became of it. Times are in ms since the run began, −1: never."""

    plan: PlannedFault
    applied_ms: int = -1
    undone_ms: int = -1
    evidence: str = ""


@dataclass
class Outcome:
    """How a run ended."""

    trace_hash: str
    violation: Violation | None
    heights: int
    """The last height that every node decided that had to come to the end: not traitors, nor who was denied."""
    decisions: int
    steps: int
    virtual_ms: int
    acknowledged: int
    windows: list[FaultWindow] = field(default_factory=list)


class Listener(Protocol):
    """Who is told what happens, as it does (see `testbed.story`). Times are in ms since the run began."""

    def on_begin(self, node: str, at_ms: int, frame: Begun, machine: Machine) -> None: ...

    def on_step(self, node: str, at_ms: int, input: Input, effects: Sequence[Effect], machine: Machine) -> None: ...

    def on_event(self, at_ms: int, event: Mapping[str, Any]) -> None:
        """Something that happened to the run: a fault, a death, the next phase."""


@dataclass(frozen=True, slots=True)
class _Begun:
    height: int
    records: Sequence[object]
    abstain_reason: str


class World:
    """See the module. Whether somebody listens changes nothing."""

    def __init__(self, schedule: Schedule, listener: Listener | None = None) -> None:
        self.schedule = schedule
        self.listener = listener
        self.scheduler = Scheduler(BEGIN_MS)
        verifier = verify if schedule.has_real_signatures else verify_stand_in
        self.trace = Trace(make_invariants(), verifier, is_virtual=True)
        self.violation: Violation | None = None
        self.identities = make_identities(schedule)
        self.keys = tuple(identity.key for identity in self.identities)
        self.genesis = make_genesis(schedule)
        self.config = MachineConfig(
            propose_timeout_ms=schedule.timing.propose_timeout_ms,
            prevote_timeout_ms=schedule.timing.prevote_timeout_ms,
            precommit_timeout_ms=schedule.timing.precommit_timeout_ms,
            timeout_delta_ms=schedule.timing.timeout_delta_ms,
            empty_block_interval_ms=schedule.timing.empty_block_interval_ms,
            announce_interval_ms=schedule.timing.announce_interval_ms,
            sync_timeout_ms=schedule.timing.sync_timeout_ms,
        )
        links = schedule.links
        conditions = Conditions(links.delay_ms_min, links.delay_ms_max, links.loss, links.duplicate, links.reorder)
        self.network = Network(
            self.scheduler,
            str(schedule.seed),
            conditions=conditions,
            has_wire=schedule.has_wire,
            is_admitted=self._is_admitted,
        )
        clocks = schedule.clocks or (ClockPlan(),) * schedule.nodes
        self.clocks = [Clock(self.scheduler, plan.offset_ms, plan.drift_ppm) for plan in clocks]
        self.disks = [Disk() for _ in self.keys]
        self.windows: list[FaultWindow] = []
        self._nodes: list[SimulatedNode | None] = [None] * schedule.nodes
        self._incarnations = [0] * schedule.nodes
        self._hash = hashlib.sha256()
        self._trail: list[bytes] = []
        """Signatures and hashes that the hash of the trace does not hold yet."""
        self._moments: list[int] = []
        """Of each step since then: when, which node, and how many effects."""
        self._heights = [0] * schedule.nodes
        self._steps = 0
        self._decisions = 0
        self._planned = list(schedule.faults)
        self._traitors = self._make_traitors()
        self._active: dict[int, tuple[FaultWindow, SimulatedFault]] = {}
        self._fault_count = 0
        self._are_faults_on = True
        self._tick_ms = schedule.transaction_interval_ms
        if not self._tick_ms and any(fault.kind in MEMBERSHIP for fault in schedule.faults):
            self._tick_ms = SOVEREIGN_MS
        self._goal: tuple[tuple[int, ...], int] | None = None
        self.clashing_locks = 0
        """On how many different blocks validators were locked when the first phase ended."""
        self._adversary: Adversary | None = None
        if schedule.adversary_ms:
            self._adversary = Adversary(
                self.scheduler,
                self._get_validators,
                schedule.adversary_ms,
                keys=self.keys,
                seed=str(schedule.seed),
            )
            self.network.inspector = self._adversary
        signers = [make_signer(schedule, f"client/{number}") for number in range(CLIENTS)]
        sovereign = make_signer(schedule, "sovereign")
        self.clients = Clients(self, signers, sovereign, str(schedule.seed))
        self.mesh = SimulatedMesh(sovereign, verifier, BEGIN_MS)
        self._members = frozenset(self.keys[number] for number, power in enumerate(schedule.get_powers()) if power)
        self._members_height = 0

    # ------------------------------------------------------------------ the run

    def run(self) -> Outcome:
        """All three phases, or up to the first violation."""
        self.mesh.bring_up(self.identities, self.genesis, BEGIN_MS)
        for number in range(self.schedule.nodes):
            self.start(number)
        self.scheduler.call_after(HEARTBEAT_MS, self._beat)
        if self._tick_ms:
            self.scheduler.call_after(self._tick_ms, self._tick_clients)
        self._begin_due_faults(0)
        everybody = range(self.schedule.nodes)
        self._tell("phase", words="phase 1: faults come and go")
        self._run_to_any(self.schedule.first_phase_heights)
        bad = self.schedule.list_bad()
        quorum = tuple(number for number in everybody if number not in bad)
        self._heal()
        if self.schedule.has_split_locks:
            self._split_locks(quorum)
        self._break(self.schedule.broken)
        goal = max(self._heights) + self.schedule.second_phase_heights
        self._run_to_all(quorum, goal, (17, "two_phase"), "a quorum is healed and the others stay broken")
        self._mend()
        gone = {*self._traitors, *self.schedule.list_denied()}
        correct = tuple(number for number in everybody if number not in gone)
        goal = max(goal + 1, self.schedule.heights, *self._heights)
        self._run_to_all(correct, goal, (19, "catch_up"), "everything is healed")
        self._finish()
        self._hash_trail()
        return Outcome(
            trace_hash=self._hash.hexdigest(),
            violation=self.violation,
            heights=min(self._heights[number] for number in correct),
            decisions=self._decisions,
            steps=self._steps,
            virtual_ms=self.scheduler.now_ms - BEGIN_MS,
            acknowledged=self.clients.acknowledged,
            windows=self.windows,
        )

    def _run_to_any(self, height: int) -> None:
        self._goal = ((), height)
        if max(self._heights) < height:
            self.scheduler.run_until(BEGIN_MS + FIRST_PHASE_MS_MAX)
        self._goal = None

    def _run_to_all(self, numbers: tuple[int, ...], height: int, title: tuple[int, str], why: str) -> None:
        """Run until each of these nodes has decided `height`; a violation where they do not within the bound."""
        if self.violation is not None:
            return
        bound_ms = compute_bound_ms(self.schedule, self.config, self._heights, self._get_highest_round(), height)
        self._tell("phase", words=f"{why}: {len(numbers)} nodes must come to height {height} within {bound_ms} ms")
        names = [self.identities[number].name for number in numbers]
        missing = [identity.name for identity in self.identities if identity.name not in names]
        self.trace.expect(
            self.at_ms, "begin", "must", names, why, missing, rounds_growing=count_growing_rounds(self.schedule)
        )
        began_ms = self.scheduler.now_ms
        self._goal = (numbers, height)
        if min(self._heights[number] for number in numbers) < height:
            self.scheduler.run_until(began_ms + bound_ms)
        self._goal = None
        late = [number for number in numbers if self._heights[number] < height]
        if late and self.violation is None:
            places = ", ".join(self._describe_place(number) for number in late)
            elapsed_ms = self.scheduler.now_ms - began_ms
            self.violate(*title, f"{why} since {elapsed_ms} ms and not everybody came to height {height}: {places}")
        self.trace.expect(self.at_ms, "end", "must", names, why, missing)
        self._note_trace()

    def _finish(self) -> None:
        """Let the invariants judge what only the end shows."""
        self.trace.finish(is_complete=self.violation is None)
        self._note_trace()

    def _note_trace(self) -> None:
        if self.trace.violation is not None and self.violation is None:
            self.violation = self.trace.violation
            self.scheduler.stop()

    def _tell(self, kind: str, **facts: Any) -> None:
        if self.listener is not None:
            self.listener.on_event(self.at_ms, {"kind": kind, **facts})

    def _get_highest_round(self) -> int:
        return max((node.machine.core.round for node in self._nodes if node is not None), default=0)

    def violate(self, number: int, name: str, line: str, node: str = "") -> None:
        """End the run with its first violation. Numbers are those of the invariants, 0 for what needs none."""
        if self.violation is None:
            self.violation = Violation(number, name, line, self.at_ms, node)
        self.scheduler.stop()

    @property
    def at_ms(self) -> int:
        """Virtual time since the run began."""
        return self.scheduler.now_ms - BEGIN_MS

    def _describe_place(self, number: int) -> str:
        node = self._nodes[number]
        name = self.identities[number].name
        if node is None:
            return f"{name} is down at height {self._heights[number]}"
        status = node.machine.status()
        return (
            f"{name} is {status.state} at height {status.height}, round {status.round}, step {status.step} with power"
            f" {status.step_power} of {status.quorum_power}"
        )

    def _make_traitors(self) -> dict[int, Hooks]:
        """The hooks of those that lie: one behaviour, or several at once."""
        accomplices = [self.keys[traitor.node] for traitor in self.schedule.traitors]
        behaviours: dict[int, list[Behaviour]] = {}
        for traitor in self.schedule.traitors:
            behaviours.setdefault(traitor.node, []).append(
                BEHAVIOURS[traitor.behaviour](
                    Trigger(probability=traitor.probability, from_ms=traitor.from_ms or None),
                    seed=f"{self.schedule.seed}/{traitor.node}",
                    accomplices=accomplices,
                )
            )
        return {node: Several(chosen) if len(chosen) > 1 else chosen[0] for node, chosen in behaviours.items()}

    def describe_nodes(self) -> dict[str, dict[str, Any]]:
        """Where each node stands, for whoever reads a failed run."""
        return {identity.name: self._describe_node(number) for number, identity in enumerate(self.identities)}

    def _describe_node(self, number: int) -> dict[str, Any]:
        node = self._nodes[number]
        facts: dict[str, Any] = {"height": self.disks[number].blocks.height, "incarnations": self._incarnations[number]}
        if node is None:
            return {**facts, "state": "down"}
        core, status = node.machine.core, node.machine.status()
        return {
            **facts,
            "state": status.state,
            "reason": status.reason,
            "deciding_height": status.deciding_height,
            "round": status.round,
            "step": status.step,
            "locked_round": core.locked_round,
            "locked_block": (core.locked_hash or b"").hex(),
            "valid_round": core.valid_round,
            "valid_block": (core.valid_hash or b"").hex(),
            "votes_held": core.votes.count(),
            "missing": list(status.missing),
            "peers": len(status.peers),
            "clock_ahead_ms": self.clocks[number].offset_ms,
        }

    # ------------------------------------------------------------------ nodes

    def get_node(self, number: int) -> SimulatedNode | None:
        return self._nodes[number]

    def start(self, number: int) -> None:
        if self._nodes[number] is not None:
            return
        self._incarnations[number] += 1
        disk = self.disks[number]
        if self.schedule.has_wire:
            disk.reread()
        node = SimulatedNode(
            self.identities[number],
            disk,
            self.config,
            scheduler=self.scheduler,
            clock=self.clocks[number],
            network=self.network,
            watcher=self,
            hooks=self._traitors.get(number, NO_HOOKS),
            incarnation=self._incarnations[number],
        )
        self._nodes[number] = node
        self._heights[number] = disk.blocks.height
        node.begin(self.genesis)

    def kill(self, number: int) -> None:
        node = self._nodes[number]
        if node is not None:
            node.die()
            self._note_death(number, "killed")

    def wipe_data(self, number: int) -> None:
        self.disks[number].wipe_data()
        self.trace.wipe(self.identities[number].name, self.at_ms)

    def wipe_sign_state(self, number: int) -> None:
        self.disks[number].wipe_sign_state()
        self.trace.wipe_sign_state(self.identities[number].name, self.at_ms)

    def recover(self, number: int) -> bool:
        disk, node = self.disks[number], self._nodes[number]
        if node is not None and not disk.abstain_reason:
            return True
        others = [other for index, other in enumerate(self._nodes) if index != number]
        seen = [other.machine.get_highest_seen() for other in others if other is not None and not other.is_paused]
        if node is None or len(seen) < len(others):
            return False
        height = compute_recovery_height([height for height, _ in seen])
        self.kill(number)
        disk.recover((height, 0, PRECOMMIT))
        self.start(number)
        name = self.identities[number].name
        self._tell("phase", words=f"{name} is recovered, and signs nothing up to height {height} round 0")
        return True

    def replace_key(self, old: int, new: int) -> Order | None:
        for number in self.list_running():
            node = self._nodes[number]
            assert node is not None
            member = node.machine.ledger.upcoming_members.by_key.get(self.keys[old])
            if member is not None:
                wanted = {"nodeId": member.node_id, "power": member.power}
                replaces = format_public_key(self.keys[old])
                return self.clients.order(self.keys[new], {**wanted, "replaces": replaces})
        return None

    def change_power(self, number: int, power: int) -> Order:
        identity = self.identities[number]
        return self.clients.order(identity.key, {"nodeId": identity.name, "power": power})

    def set_mesh(self, *, is_up: bool) -> int:
        self.mesh.is_up = is_up
        return self.mesh.unanswered

    def deny(self, number: int) -> bool:
        is_denied = self.mesh.deny(self.identities[number].name, self.scheduler.now_ms)
        self.network.review()
        return is_denied

    def _is_admitted(self, one: bytes, other: bytes) -> bool:
        """Peers are whoever the mesh approved, and whoever is in the chain's set."""
        known = self.mesh.approved | self._members
        return one in known and other in known

    def _beat(self) -> None:
        """Every node that runs sends a heartbeat."""
        self.scheduler.call_after(HEARTBEAT_MS, self._beat)
        for number in self.list_running():
            self.mesh.beat(self.identities[number], self.clocks[number].now_ms(), self.scheduler.now_ms)

    def _note_members(self, node: SimulatedNode, height: int) -> None:
        """The newest set is who peers are admitted by."""
        if height > self._members_height:
            self._members_height = height
            self._members = frozenset(item.public_key for item in node.machine.ledger.validators.validators)
            self.network.review()

    def _note_death(self, number: int, reason: str) -> None:
        self._nodes[number] = None
        self.clients.on_death(number)
        self.trace.end(self.identities[number].name, self.at_ms, reason)
        height = self._heights[number]
        self._tell("death", node=self.identities[number].name, words=f"is gone at height {height}: {reason}")

    def _get_validators(self, key: bytes) -> ValidatorSet | None:
        node = self._nodes[self.keys.index(key)]
        return node.machine.core.validators if node is not None else None

    # ------------------------------------------------------------------ faults

    def _begin_due_faults(self, height: int) -> None:
        while self._planned and self._planned[0].at_height <= height:
            plan = self._planned.pop(0)
            self.scheduler.call_after(plan.after_ms, self._apply, plan)

    def _apply(self, plan: PlannedFault) -> None:
        if not self._are_faults_on:
            return
        window = FaultWindow(plan, applied_ms=self.scheduler.now_ms - BEGIN_MS)
        self.windows.append(window)
        fault = SIMULATED_FAULTS[plan.kind](self, plan)
        fault.apply()
        self._tell_fault(window, "applied")
        self._fault_count += 1
        self._active[self._fault_count] = (window, fault)
        self.scheduler.call_after(plan.duration_ms, self._undo, self._fault_count)

    def _undo(self, number: int) -> None:
        found = self._active.pop(number, None)
        if found is not None:
            window, fault = found
            fault.undo()
            window.undone_ms = self.scheduler.now_ms - BEGIN_MS
            window.evidence = fault.evidence
            self._tell_fault(window, "undone")

    def _tell_fault(self, window: FaultWindow, phase: str) -> None:
        target = " ".join(map(self.schedule.get_name, window.plan.nodes)) or "all links"
        self._tell("fault", fault=window.plan.kind, target=target, phase=phase, evidence=window.evidence)

    def _heal(self) -> None:
        """All faults end, and whatever there is of bad luck."""
        self._are_faults_on = False
        for number in list(self._active):
            self._undo(number)
        for node in self._nodes:
            if node is not None:
                node.effects_left = None
        conditions = self.network.conditions
        conditions.loss = conditions.duplicate = conditions.reorder = 0.0
        conditions.delay_ms_max = conditions.delay_ms_min + 3
        if self._adversary is not None:
            self._adversary.is_active = False

    def _split_locks(self, numbers: tuple[int, ...]) -> None:
        """Let validators lock different blocks at a height to come, for as many rounds as that may take."""
        if self.violation is not None:
            return
        height = max(self._heights) + HEIGHTS_TO_SPLIT
        keys = [self.keys[number] for number in numbers]
        splitter = LockSplitter(height, keys, self._get_core, seed=str(self.schedule.seed))
        self.network.inspector = splitter
        self._tell("phase", words=f"votes of height {height} are held back until locks clash")
        kinds = ("propose", "prevote", "precommit")
        limit_ms = self.scheduler.now_ms + sum(
            self.config.of(kind, round) for round in range(ROUNDS_TO_SPLIT) for kind in kinds
        )
        while self.violation is None and self.scheduler.now_ms < limit_ms and max(self._heights) < height:
            self.scheduler.run_until(self.scheduler.now_ms + LOOK_MS)
            if splitter.is_done():
                break
        self.network.inspector = self._adversary
        self.clashing_locks = len({*splitter.find_locks().values()})
        restarted = splitter.draw_restarted()
        if restarted is not None:
            self.kill(self.keys.index(restarted))
            self.start(self.keys.index(restarted))
        self._tell("phase", words=f"validators are locked on {self.clashing_locks} different blocks at height {height}")

    def _get_core(self, key: bytes) -> Tendermint | None:
        node = self._nodes[self.keys.index(key)]
        return node.machine.core if node is not None else None

    def _break(self, broken: Sequence[int]) -> None:
        """Some nodes stay broken, and some links cut."""
        self._unlinked = self._pair(self.schedule.unlinked)
        self.network.cut_links(self._unlinked)
        self._cut = [
            pair
            for number in broken
            for other in range(self.schedule.nodes)
            if other != number
            for pair in ((self.keys[number], self.keys[other]), (self.keys[other], self.keys[number]))
        ]
        if self.schedule.is_broken_mute:
            self.network.cut_links(self._cut)
        else:
            for number in broken:
                self.kill(number)

    def _pair(self, unlinked: Sequence[int]) -> list[tuple[bytes, bytes]]:
        """Both directions of the link between two nodes, none where no two are named."""
        found = [self.keys[number] for number in unlinked]
        return [(one, other) for one in found for other in found if one != other]

    def _mend(self) -> None:
        """What `_break` left broken is healed too."""
        self.network.heal_links(self._unlinked)
        if self.schedule.is_broken_mute:
            self.network.heal_links(self._cut)
        else:
            for number in self.schedule.broken:
                self.start(number)

    # ------------------------------------------------------------------ Watcher

    def on_begin(self, node: SimulatedNode) -> None:
        ledger = node.machine.ledger
        begin = Begin(
            key=node.key,
            incarnation=node.incarnation,
            height=ledger.height,
            validators=ledger.validators,
            sign_floor=node.disk.sign_floor,
            is_correct=node.number not in self._traitors,
            chain_id=ledger.chain_id,
            state_root=ledger.state_root,
            block_hash=ledger.block_hash,
            genesis=self.genesis,
        )
        self.trace.begin(node.name, self.at_ms, begin)
        if self.listener is not None:
            begun = _Begun(ledger.height, node.disk.records, node.disk.abstain_reason)
            self.listener.on_begin(node.name, self.at_ms, begun, node.machine)

    def on_step(self, node: SimulatedNode, input: Input, effects: Sequence[Effect]) -> None:
        self._steps += 1
        now_ms, trace = self.scheduler.now_ms, self.trace
        at_ms = now_ms - BEGIN_MS
        if self._steps % GAUGE_STEPS == 0:
            trace.gauges(node.name, at_ms, read_gauges(node.machine))
        trace.step(node.name, at_ms, input, effects)
        if trace.violation is not None:
            self._note_trace()
        if self.listener is not None:
            self.listener.on_step(node.name, at_ms, input, effects, node.machine)
        moments = self._moments
        moments.append(now_ms)
        moments.append(node.number)
        moments.append(len(effects))
        for effect in effects:
            if type(effect) is _BROADCAST:
                message = effect.message
                if type(message) is _VOTE:
                    self._trail.append(message.signature)

    def on_commit(self, node: SimulatedNode, commit: Commit) -> None:
        number, height = node.number, commit.block.height
        self._decisions += 1
        self._trail.append(commit.block.hash)
        self._hash_trail()
        self._heights[number] = height
        self.clients.on_commit(number, commit.execution.transaction_ids, height)
        header = commit.block.header
        if header.next_validators_hash != header.validators_hash:
            self._note_members(node, height)
        if self._planned:
            self._begin_due_faults(height)
        if self._goal is not None:
            numbers, goal = self._goal
            is_reached = height >= goal and all(self._heights[item] >= goal for item in numbers)
            if is_reached or height >= goal + HEIGHTS_AHEAD_MAX:
                self.scheduler.stop()

    def _hash_trail(self) -> None:
        moments = struct.pack(f"{len(self._moments)}q", *self._moments)
        self._hash.update(moments + b"".join(self._trail))
        self._moments.clear()
        self._trail.clear()

    def on_report(self, node: SimulatedNode, name: str, fields: Mapping[str, object]) -> None:
        if name == "halted" and node.number not in self._traitors:
            self.violate(0, "halted", f"{node.name} will not go on: {fields['reason']}", node.name)

    def on_dropped(self, node: SimulatedNode, transactions: Sequence[tuple[str, str]]) -> None:
        """Clients send again what is not acknowledged."""

    def on_death(self, node: SimulatedNode, error: Exception | None) -> None:
        self._note_death(node.number, "killed" if error is None else "crashed")
        if error is not None:
            self.violate(0, "alive", f"{node.name} ended by itself: {type(error).__name__}: {error}", node.name)

    # ------------------------------------------------------------------ Bank

    def _tick_clients(self) -> None:
        self.scheduler.call_after(self._tick_ms, self._tick_clients)
        self.clients.tick()

    def now_ms(self) -> int:
        return self.scheduler.now_ms

    def list_running(self) -> Sequence[int]:
        return [number for number, node in enumerate(self._nodes) if node is not None and not node.is_paused]

    def submit(self, number: int, transaction: SignedTransaction) -> Admission | None:
        node = self._nodes[number]
        assert node is not None
        self.trace.submitted(self.at_ms, transaction)
        admissions = node.submit((transaction,))
        return admissions[0] if admissions else None

    def find_committed(self, number: int, transaction_id: str) -> int | None:
        return self.disks[number].blocks.find_transaction(transaction_id)

    def get_nonce(self, number: int, account_id: str) -> int:
        node = self._nodes[number]
        account = node.machine.ledger.get_account(account_id) if node is not None else None
        return account.nonce if account is not None else 0

    def get_height(self, number: int) -> int:
        return self._heights[number]

    def acknowledge(self, number: int, transaction_id: str, height: int) -> None:
        self.trace.acknowledged(self.at_ms, self.identities[number].name, transaction_id, height)


def compute_recovery_height(seen: Sequence[int]) -> int:
    """The height that an operator recovers at, by the heights that others have seen.

    Whoever signs at a height has final all below it, and for that a quorum signed at the one before: so nobody has
    signed above the highest height seen and one.
    """
    return max(seen) + 2


def run_schedule(schedule: Schedule) -> Outcome:
    """Run a schedule to its end."""
    return World(schedule).run()

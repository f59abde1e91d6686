"""Replay: the journals of a run are fed into the machine again, which must do again what it did.

The frames of all nodes are taken in the order of their times. Each incarnation of a node begins on a ledger that is
made from what the incarnations before it committed, synced blocks included. Every step's effects are compared with the
digests in the journal; what the machine does goes into a trace, and the run's history with it: what clients sent and
were told, and what the chain had to do.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from tana.crypto import keys
from tana.crypto.keys import KeyPair, parse_signature
from tana.ledger.ledger import Ledger
from tana.ledger.mempool import Mempool
from tana.node.effects import Append, Commit, Effect, Signed
from tana.node.inputs import Input
from tana.node.machine import Machine, MachineConfig
from tana.types.block import Header
from tana.types.errors import SettingsError, StorageError, TanaError
from tana.types.genesis import Genesis
from tana.types.transaction import sign_body
from testbed.invariants import make_invariants
from testbed.invariants.statements import Statement
from testbed.journal import (
    DIGEST_BYTES,
    SUFFIX,
    BeginFrame,
    Frame,
    FullFrame,
    GaugesFrame,
    StepFrame,
    digest_effects,
    read_frames,
    read_input,
    read_kind,
)
from testbed.needs import CHAIN, EXPECTATIONS, GAUGES, RUNS, STEPS, TRANSACTIONS
from testbed.plan import make_key
from testbed.trace import Begin, Trace
from testbed.verdict import Outcome, Verdict

DONE = frozenset({"submitted", "damaged"})
"""Events that tell what the harness did, not what it saw."""


class Watcher(Protocol):
    """Who is told what happens in a replay, in the order of time. Times are in ms since the run began."""

    def on_begin(self, node: str, at_ms: int, frame: BeginFrame, machine: Machine) -> None:
        """An incarnation of a node begins."""

    def on_step(self, node: str, at_ms: int, input: Input, effects: Sequence[Effect], machine: Machine) -> None:
        """A node has taken a step; these effects were performed."""

    def on_event(self, at_ms: int, event: Mapping[str, Any]) -> None:
        """An event of the run's history."""


@dataclass(frozen=True)
class Divergence:
    """A step whose effects are not those in the journal, or a journal that cannot be replayed."""

    node: str
    incarnation: int
    step: int
    at_ms: int
    line: str

    def __str__(self) -> str:
        return self.line


@dataclass
class NodeReplay:
    """One node's journal and its machine, made again."""

    name: str
    key: KeyPair
    is_correct: bool
    machine: Machine | None = None
    incarnation: int = 0
    step: int = 0
    steps: int = 0
    divergence: Divergence | None = None
    is_full: bool = False
    states: dict[int, tuple[Header, tuple[tuple[bytes, bytes | None], ...]]] = field(default_factory=dict)
    """By height what it committed: the header, and the changes of the state."""


class MemoVerifier:
    """The real check of signatures, each done once for all nodes."""

    def __init__(self) -> None:
        self._known: dict[tuple[bytes, bytes, bytes], bool] = {}

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        asked = (public_key, message, signature)
        known = self._known.get(asked)
        if known is None:
            known = self._known[asked] = keys.verify(public_key, message, signature)
        return known


@dataclass(frozen=True)
class Run:
    """What there is of a run: its nodes' keys and journals, and its history from `start_ms` on.

    Without any history it is not known what was submitted and what had to happen.
    """

    keys: Mapping[str, KeyPair]
    """The node keys, by node id."""
    traitors: frozenset[str]
    start_ms: int
    events: list[dict[str, Any]]
    journals: Mapping[str, bytes]
    is_virtual: bool

    @property
    def node_ids(self) -> tuple[str, ...]:
        return tuple(self.keys)

    @property
    def absent(self) -> list[str]:
        """Nodes that ran and have no journal."""
        ran = {event["node"] for event in self.events if event["kind"] == "health"}
        return [name for name in self.node_ids if name in ran and name not in self.journals]


def load_run(folder: Path) -> Run:
    """Read a run's folder. Raises `SettingsError` naming what is missing in it."""
    history, journals = folder / "history.jsonl", folder / "journals"
    if not history.is_file():
        raise SettingsError(
            f"{folder} is no run's folder: it has no history.jsonl", remedy="give one of runs/", field="run"
        )
    events = _read_events(history)
    run = next((event for event in events if event["kind"] == "run"), None)
    if run is None or "start_ms" not in run:
        raise SettingsError(
            f"{history} does not begin with its run: it was written by another version or before anything began",
            field="run",
        )
    keys = {item["node_id"]: make_key(run["seed"], f"node/{item['node_id']}") for item in run["validators"]}
    files = sorted(path for path in journals.glob(f"*{SUFFIX}") if path.is_file())
    strangers = [path for path in files if path.name.removesuffix(SUFFIX) not in keys]
    if strangers:
        raise SettingsError(f"{strangers[0]}: the run has no such node", remedy="remove it", field="run")
    return Run(
        keys=keys,
        traitors=frozenset(run["traitors"]),
        start_ms=run["start_ms"],
        events=events,
        journals={path.name.removesuffix(SUFFIX): path.read_bytes() for path in files},
        is_virtual=run.get("is_virtual", False),
    )


def _read_events(history: Path) -> list[dict[str, Any]]:
    """The events of a run. Raises `SettingsError` naming file and line."""
    events: list[dict[str, Any]] = []
    try:
        for line in history.read_text("utf-8").splitlines():
            event = msgspec.json.decode(line, type=dict[str, Any])
            if "kind" not in event:
                raise ValueError("it has no kind")
            events.append(event)
    except (OSError, ValueError) as error:
        raise SettingsError(
            f"{history}:{len(events) + 1}: no event of a run: {error}",
            remedy="give a run's folder as the testbed wrote it",
            field="run",
        ) from None
    return events


class Replay:
    """One replay of a run. `play` it once; then `trace`, `nodes` and `divergence` say what came of it."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.verifier = MemoVerifier()
        # What needs two runs cannot be fed by one.
        invariants = [invariant for invariant in make_invariants() if RUNS not in invariant.needs]
        self.trace = Trace(invariants, self.verifier, is_virtual=run.is_virtual)
        self.nodes = {name: NodeReplay(name, key, name not in run.traitors) for name, key in run.keys.items()}
        self.watchers: list[Watcher] = []
        self._chain: dict[int, tuple[Header, tuple[tuple[bytes, bytes | None], ...]]] = {}
        self._offset_us = 0
        self._lost: dict[str, set[str]] = {}
        """What faults have taken from a node since it began last: its chain, its sign-state."""

    @property
    def divergence(self) -> Divergence | None:
        """The earliest step of a correct node that could not be taken again; None where all could.

        A traitor's behaviour may reach into its machine, which no journal tells.
        """
        found = [node.divergence for node in self.nodes.values() if node.divergence is not None and node.is_correct]
        return min(found, key=lambda item: item.at_ms, default=None)

    @property
    def steps(self) -> int:
        return sum(node.steps for node in self.nodes.values())

    def play(self) -> None:
        """Take every step again."""
        # What the harness did was so before its ms, and everything else was noted after it had happened.
        streams = [self._read_history(is_done=True), self._read_history(is_done=False)]
        for feed in (TRANSACTIONS, EXPECTATIONS) if self.run.events else ():
            self.trace.offer(feed)
        if not any(self.run.journals.values()):
            for feed in (STEPS, GAUGES, CHAIN):
                self.trace.offer(feed)
        for name, data in self.run.journals.items():
            self._offset_us = self._offset_us or _read_offset_us(data)
            streams.append(self._read_journal(self.nodes[name], data))
        for name in self.run.absent:
            self._miss(self.nodes[name], f"{name} has no journal")
        for at_us, _, name, item, following in heapq.merge(*streams, key=lambda entry: entry[:2]):
            if isinstance(item, dict):
                self._on_event(item)
                continue
            self._on_frame(self.nodes[name], self._to_ms(at_us), item, following)
            if following is None:
                self.trace.close(name)

    def finish(self, *, is_complete: bool = True) -> list[Verdict]:
        """The verdicts of the invariants, and first the one about the journals themselves."""
        for words in self._list_short():
            self.trace.miss(STEPS, words)
        return [self._judge_journals(), *self.trace.finish(is_complete=is_complete)]

    # ------------------------------------------------------------------ what happened, in order

    def _read_history(self, *, is_done: bool) -> Iterator[Entry]:
        for index, event in enumerate(self.run.events):
            if (event["kind"] in DONE) == is_done:
                at_us = (self.run.start_ms + event["at_ms"]) * 1000 - self._offset_us
                yield at_us if is_done else at_us + 999, index, "", event, None

    def _read_journal(self, node: NodeReplay, data: bytes) -> Iterator[Entry]:
        """Frames with the frame that follows, which tells what became of the last step of an incarnation."""
        frames = read_frames(data)
        frame = next(frames, None)
        index = 0
        while frame is not None:
            following = next(frames, None)
            if isinstance(frame, GaugesFrame) or not isinstance(following, GaugesFrame):
                yield frame.at_us, index, node.name, frame, following
            else:
                # The gauges of a step stand behind it: what comes after those says whether it was the last.
                gauges, following = following, next(frames, None)
                yield frame.at_us, index, node.name, frame, following
                yield gauges.at_us, index, node.name, gauges, following
            frame = following
            index += 1

    def _to_ms(self, at_us: int) -> int:
        return (at_us + self._offset_us) // 1000 - self.run.start_ms

    def _on_frame(self, node: NodeReplay, at_ms: int, frame: Frame, following: Frame | None) -> None:
        if node.divergence is not None:
            return
        if isinstance(frame, StepFrame):
            self._on_step(node, at_ms, frame, following)
        elif isinstance(frame, BeginFrame):
            self._on_begin(node, at_ms, frame)
        elif isinstance(frame, GaugesFrame):
            self.trace.gauges(node.name, at_ms, frame.gauges)
        elif isinstance(frame, FullFrame):
            node.is_full = True
            self._miss(node, f"the journal of {node.name} reached its bound {at_ms} ms after the start")

    def _on_begin(self, node: NodeReplay, at_ms: int, frame: BeginFrame) -> None:
        node.incarnation += 1
        node.step = 0
        if node.machine is not None:
            self.trace.end(node.name, at_ms, "it ended")
            lost = self._lost.pop(node.name, ())
            if "chain" in lost:
                self.trace.wipe(node.name, at_ms)
            if "sign_state" in lost:
                self.trace.wipe_sign_state(node.name, at_ms)
        try:
            machine = node.machine = self._make_machine(node, frame)
        except TanaError as error:
            self._diverge(node, at_ms, f"cannot begin again at height {frame.height}: {error.message}")
            return
        self.trace.begin(
            node.name,
            at_ms,
            Begin(
                key=frame.key,
                incarnation=node.incarnation,
                height=frame.height,
                validators=machine.ledger.validators,
                sign_floor=frame.sign_floor,
                is_correct=node.is_correct,
                chain_id=machine.ledger.chain_id,
                state_root=frame.state_root,
                block_hash=frame.block_hash,
                genesis=machine.ledger.genesis,
            ),
        )
        for watcher in self.watchers:
            watcher.on_begin(node.name, at_ms, frame, machine)

    def _make_machine(self, node: NodeReplay, frame: BeginFrame) -> Machine:
        """The machine as it was made. Raises `StorageError` where what was committed before is not known."""
        if not frame.is_real:
            raise StorageError("its signatures are a stand-in that cannot be checked here")
        genesis = msgspec.json.decode(frame.genesis, type=Genesis)
        if frame.key != node.key.public_key:
            raise StorageError(f"its key is not the one that {node.name} has by the run's seed")
        ledger = Ledger.from_genesis(genesis, self.verifier)
        if frame.height > 0:
            rows = dict(ledger.tree.items())
            header: Header | None = None
            for height in range(1, frame.height + 1):
                found = node.states.get(height) or self._chain.get(height)
                if found is None:
                    raise StorageError(f"no journal has the block of height {height}")
                header, changes = found
                for key, value in changes:
                    if value is None:
                        rows.pop(key, None)
                    else:
                        rows[key] = value
            assert header is not None
            ledger = Ledger.restore(genesis, rows.items(), header, self.verifier)
        if (ledger.block_hash, ledger.state_root) != (frame.block_hash, frame.state_root):
            raise StorageError("it began on another block or state than it had committed")
        return Machine(
            MachineConfig(**frame.config),  # type: ignore[arg-type]
            ledger,
            Mempool(ledger),
            None if frame.abstain_reason else node.key,
            self.verifier,
            own_key=frame.key,
            records=frame.records,
            sign_floor=frame.sign_floor,
            abstain_reason=frame.abstain_reason,
        )

    def _on_step(self, node: NodeReplay, at_ms: int, frame: StepFrame, following: Frame | None) -> None:
        machine = node.machine
        assert machine is not None, "a journal begins with a beginning"
        node.step += 1
        node.steps += 1
        input = read_input(frame.input)
        try:
            effects = machine.step(input, frame.now_ms)
        except Exception as error:
            self._diverge(node, at_ms, f"step {node.step}, {describe_input(input)}: the machine failed: {error!r}")
            return
        digests = digest_effects(effects)
        if digests != frame.digests:
            words = describe_difference(effects, digests, frame.digests)
            self._diverge(node, at_ms, f"step {node.step}, {describe_input(input)}: {words}")
            return
        performed = list_performed(effects, following) if isinstance(following, BeginFrame) else effects
        for effect in performed:
            if isinstance(effect, Commit):
                state = (effect.block.header, effect.execution.changes)
                node.states[effect.block.height] = state
                self._chain.setdefault(effect.block.height, state)
        self.trace.step(node.name, at_ms, input, performed)
        for watcher in self.watchers:
            watcher.on_step(node.name, at_ms, input, performed, machine)

    def _on_event(self, event: dict[str, Any]) -> None:
        at_ms, kind = event["at_ms"], event["kind"]
        if kind == "submitted":
            body = {key: value for key, value in event["body"].items() if key not in ("signature", "id")}
            self.trace.submitted(at_ms, sign_body(body, parse_signature(event["body"]["signature"])))
        elif kind == "acknowledged" and event["node"] in self.trace.world.nodes:
            self.trace.acknowledged(at_ms, event["node"], event["id"], event["height"] or 0)
        elif kind == "damaged":
            self._lost.setdefault(event["target"], set()).add(event["lost"])
        elif kind == "expectation":
            nodes = event["nodes"]
            missing = [name for name in self.run.node_ids if name not in nodes]
            self.trace.expect(at_ms, event["phase"], event["progress"], nodes, event["why"], missing)
        for watcher in self.watchers:
            watcher.on_event(at_ms, event)

    # ------------------------------------------------------------------ what cannot be told

    def _miss(self, node: NodeReplay, what: str) -> None:
        if node.is_correct:
            self.trace.miss(STEPS, what)
            self.trace.miss(GAUGES, what)

    def _diverge(self, node: NodeReplay, at_ms: int, words: str) -> None:
        line = f"{node.name}, incarnation {node.incarnation}, {words}"
        node.divergence = Divergence(node.name, node.incarnation, node.step, at_ms, line)
        self._miss(node, f"the journal of {node.name} cannot be replayed")

    def _list_short(self) -> list[str]:
        """Correct nodes that answered more blocks than their journals tell of: something of those is gone."""
        answered: dict[str, int] = {}
        for event in self.run.events:
            if event["kind"] == "health" and isinstance(event.get("height"), int):
                answered[event["node"]] = max(answered.get(event["node"], 0), event["height"])
        return [
            f"the journal of {node.name} ends at height {told}, and it answered height {answered[node.name]}"
            for node in self.nodes.values()
            if node.is_correct and node.name in self.run.journals and not node.is_full and node.divergence is None
            if (told := max(node.states, default=0)) < answered.get(node.name, 0)
        ]

    def _judge_journals(self) -> Verdict:
        """Every step taken again gave the same effects."""
        if self.divergence is not None:
            facts = {"node": self.divergence.node, "step": self.divergence.step, "at_ms": self.divergence.at_ms}
            return Verdict("journals", Outcome.VIOLATED, self.divergence.line, facts)
        if short := self._list_short():
            return Verdict("journals", Outcome.COULD_NOT_TELL, "; ".join(short))
        absent = self.run.absent
        full = [node.name for node in self.nodes.values() if node.is_full]
        if absent or full:
            what = f"no journal of {', '.join(absent)}" if absent else f"the journal of {', '.join(full)} is full"
            return Verdict("journals", Outcome.COULD_NOT_TELL, what)
        return Verdict(
            "journals", Outcome.PROVEN, f"{self.steps} steps of {len(self.nodes)} nodes taken again, same effects"
        )


Entry = tuple[int, int, str, Any, Frame | None]
"""When, in what order of its stream, whose, what, and what follows it there."""


def _read_offset_us(data: bytes) -> int:
    """What to add to a journal's times to have the wall clock."""
    first = next(read_frames(data), None)
    return first.wall_us - first.at_us if isinstance(first, BeginFrame) else 0


def list_performed(effects: Sequence[Effect], following: BeginFrame) -> list[Effect]:
    """The effects that were performed of a step which may have been the last before a death.

    How the node began afterwards tells: it knows every signature that was durable, and has every block it committed.
    Where a fault has taken that from it, it was asked to end before: then all was performed.
    """
    performed: list[Effect] = []
    for effect in effects:
        if isinstance(effect, Commit):
            was_performed = effect.block.height <= following.height or following.height < effect.block.height - 1
        elif isinstance(effect, Append) and isinstance(effect.record, Signed):
            is_known = Statement(effect.record.message).slot <= following.sign_floor
            was_performed = is_known or bool(following.abstain_reason)
        else:
            was_performed = True
        if not was_performed:
            break
        performed.append(effect)
    return performed


def describe_input(input: Input) -> str:
    """An input in a few words."""
    words = repr(input)
    return words if len(words) <= 160 else f"{words[:157]}…"


def describe_difference(effects: Sequence[Effect], digests: bytes, recorded: bytes) -> str:
    """The first effect that is not the recorded one."""
    count = len(recorded) // DIGEST_BYTES
    for index in range(max(len(effects), count)):
        ours = digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
        theirs = recorded[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
        if ours != theirs:
            now = describe_effect(effects[index]) if ours else "nothing"
            then = f"{read_kind(recorded, index)} ({theirs[1:].hex()})" if theirs else "nothing"
            return f"effect {index + 1} of {count} is now {now} ≠ then {then}"
    raise AssertionError("the digests differ")


def describe_effect(effect: Effect) -> str:
    words = repr(effect)
    return words if len(words) <= 240 else f"{words[:237]}…"

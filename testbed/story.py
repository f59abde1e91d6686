"""The story of a run, told from its journals: who proposed, voted, locked and decided what, and what was broken.

Told calmly: a height that was decided is one line, those that went as they should are one together. Of a height that
was not decided, everything is told. `Zoom` asks for every vote of a height or a node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from tana.node.effects import Append, Commit, Effect, Halt, Report, Signed
from tana.node.inputs import Input, TimerFired
from tana.node.machine import Machine
from tana.types.messages import PRECOMMIT, VOTE_NAMES, Proposal, Vote

CALM_TIMERS = frozenset({"announce", "gossip", "work", "sync", "empty_block"})
VOTING = frozenset({"proposal", "prevote", "precommit", "timeout", "round", "commit"})
"""What a height that was decided is told of in one line."""
CAUSES = (
    "timeout of propose",
    "nil prevote",
    "timeout of prevote",
    "nil precommit",
    "timeout of precommit",
)
"""Why a round fails, from the cause to what follows from it."""
TELLING_REPORTS = frozenset(
    {"equivocation", "evidence_committed", "validators_changed", "sync_refused", "prevote_nil", "lied", "restored"}
)


@dataclass(frozen=True)
class Zoom:
    """What the reader wants to see closely: a node, a height, or both."""

    node: str = ""
    height: int = 0

    @property
    def is_on(self) -> bool:
        return bool(self.node or self.height)


@dataclass(frozen=True)
class Line:
    """One thing that happened. `height` is the one it is about, 0 for none; a detail is told only in a zoom."""

    at_ms: int
    node: str
    height: int
    kind: str
    words: str
    is_detail: bool = False

    def to_json(self) -> dict[str, Any]:
        return {"at_ms": self.at_ms, "node": self.node, "height": self.height, "kind": self.kind, "words": self.words}

    def __str__(self) -> str:
        return f"{self.at_ms:>8} ms  {self.node:<12}  {self.words}"


@dataclass
class _Height:
    """What became of a height, over all nodes."""

    first_ms: int
    first_node: str
    proposer: str = ""
    round: int = 0
    transactions: int = 0
    block: str = ""
    nodes: list[str] = field(default_factory=list)
    last_ms: int = 0


class Begun(Protocol):
    """What a machine begins with: a journal's `BeginFrame`, or a simulated disk."""

    @property
    def height(self) -> int: ...

    @property
    def records(self) -> Sequence[object]: ...

    @property
    def abstain_reason(self) -> str: ...


class StoryTeller:
    """A watcher of a replay (see `testbed.replay.Watcher`) that writes down what is worth telling."""

    def __init__(self, names: Mapping[bytes, str]) -> None:
        self._names = names
        self._rounds: dict[str, tuple[int, int]] = {}
        self._heights: dict[int, _Height] = {}
        self._troubles: dict[int, dict[tuple[int, str], dict[str, None]]] = {}
        """By height the rounds that failed: what happened on which nodes."""
        self._turns: dict[tuple[int, int], str] = {}
        """Whose turn a round was, by height and round."""
        self.lines: list[Line] = []

    # ------------------------------------------------------------------ Watcher

    def on_begin(self, node: str, at_ms: int, frame: Begun, machine: Machine) -> None:
        words = f"begins at height {frame.height}" if frame.height == 0 else f"begins again at height {frame.height}"
        if frame.abstain_reason:
            words += f", abstains: {frame.abstain_reason}"
        if frame.records:
            words += f", with {len(frame.records)} records in its log"
        self._tell(at_ms, node, 0, "begin", words)

    def on_step(self, node: str, at_ms: int, input: Input, effects: Sequence[Effect], machine: Machine) -> None:
        height = machine.core.height
        if isinstance(input, TimerFired) and input.timer.kind not in CALM_TIMERS and input.timer.height == height:
            words = f"timeout of {input.timer.kind} in round {input.timer.round}"
            self._tell(at_ms, node, height, "timeout", words, is_detail=not effects)
            if effects:
                self._note_trouble(node, height, input.timer.round, f"timeout of {input.timer.kind}")
        for effect in effects:
            self._tell_effect(node, at_ms, effect)
        now = (machine.core.height, machine.core.round)
        if now[1] >= 0 and now not in self._turns:
            self._turns[now] = machine.core.validators.get_proposer(now[1]).node_id
        if now != self._rounds.get(node) and now[1] > 0:
            self._tell(at_ms, node, now[0], "round", f"is in round {now[1]} of height {now[0]}")
        self._rounds[node] = now

    def on_event(self, at_ms: int, event: Mapping[str, Any]) -> None:
        match event["kind"]:
            case "fault":
                words = f"fault {event['fault']} on {event['target']} {event['phase'].replace('_', ' ')}"
                self._tell(at_ms, "", 0, "fault", f"{words}: {event['evidence']}" if event["evidence"] else words)
            case "phase":
                self._tell(at_ms, "", 0, "phase", event["words"])
            case "death":
                self._tell(at_ms, event["node"], 0, "death", event["words"])
            case "step":
                self._tell(at_ms, "", 0, "step", f"step {event['name']} {event['phase']}", is_detail=True)
            case "expectation" if event["progress"] == "must_not":
                verb = "must not go on" if event["phase"] == "begin" else "may go on again"
                self._tell(at_ms, "", 0, "expectation", f"the chain {verb}: {event['why']}")
            case "unreachable":
                self._tell(at_ms, event["node"], 0, "unreachable", f"gives no answer: {event['reason']}")

    # ------------------------------------------------------------------ telling

    def tell(self, zoom: Zoom) -> Iterator[str]:
        """The story in lines: a decided height is one line, quiet ones are one together; or everything in the zoom."""
        quiet: list[int] = []
        for line in self.lines:
            if zoom.is_on:
                if self._is_in(line, zoom):
                    yield str(line)
                continue
            known = self._heights.get(line.height)
            if line.kind in VOTING and known is not None:
                if line.kind != "commit" or known.first_node != line.node or known.first_ms != line.at_ms:
                    continue
                if known.round == 0:
                    quiet.append(line.height)
                    continue
                words = self._describe_troubled(line.height, known)
            elif line.is_detail:
                continue
            else:
                words = str(line)
            yield from self._tell_quiet(quiet)
            quiet = []
            yield words
        yield from self._tell_quiet(quiet)

    def to_json(self, zoom: Zoom) -> list[dict[str, Any]]:
        """Everything that happened, or everything about what the reader zooms in on."""
        return [line.to_json() for line in self.lines if not zoom.is_on or self._is_in(line, zoom)]

    @staticmethod
    def _is_in(line: Line, zoom: Zoom) -> bool:
        return zoom.node in ("", line.node) and zoom.height in (0, line.height)

    def _tell_quiet(self, heights: list[int]) -> Iterator[str]:
        """Heights that were decided in round 0, in one line."""
        if not heights:
            return
        facts = [self._heights[height] for height in heights]
        which = f"height {heights[0]}" if len(heights) == 1 else f"heights {heights[0]} to {heights[-1]}"
        transactions = sum(item.transactions for item in facts)
        by = f" by {facts[0].proposer}" if len(heights) == 1 else ""
        words = f"{which} proposed{by} and decided in round 0, {transactions} transactions"
        last = max(item.last_ms for item in facts)
        yield str(Line(facts[0].first_ms, "", heights[-1], "heights", f"{words}, everywhere by {last} ms"))

    def _describe_troubled(self, height: int, known: _Height) -> str:
        """A height that needed more than one round, and what went wrong in the others."""
        found = self._troubles.get(height, {})
        troubles = []
        for round in range(known.round):
            # The first cause explains the others: no proposal in time makes nil votes, and those make timeouts.
            cause = next(((what, found[round, what]) for what in CAUSES if (round, what) in found), None)
            if cause is not None:
                turn = self._turns.get((height, round), "somebody")
                troubles.append(f"round {round} was {turn}'s: {cause[0]} on {', '.join(sorted(cause[1]))}")
        words = f"height {height} decided in round {known.round}, {known.transactions} transactions"
        return str(Line(known.first_ms, "", height, "height", f"{words}; {'; '.join(troubles)}"))

    def _tell(self, at_ms: int, node: str, height: int, kind: str, words: str, *, is_detail: bool = False) -> None:
        self.lines.append(Line(at_ms, node, height, kind, words, is_detail))

    def _tell_effect(self, node: str, at_ms: int, effect: Effect) -> None:
        match effect:
            case Append(Signed(message)):
                self._tell_signed(node, at_ms, message)
            case Commit():
                self._tell_commit(node, at_ms, effect)
            case Report(name, fields):
                words = f"{name} {' '.join(f'{key}={_shorten(value)}' for key, value in fields.items())}"
                height = fields.get("height")
                is_detail = name not in TELLING_REPORTS
                self._tell(at_ms, node, height if isinstance(height, int) else 0, name, words, is_detail=is_detail)
            case Halt(reason):
                self._tell(at_ms, node, 0, "halt", f"stops: {reason}")

    def _tell_signed(self, node: str, at_ms: int, message: Vote | Proposal) -> None:
        height, round = message.height, message.round
        value = "nil" if message.block_hash is None else f"{message.block_hash.hex()[:8]}…"
        if isinstance(message, Proposal):
            since = f", valid since round {message.valid_round}" if message.valid_round >= 0 else ""
            words, kind = f"proposes {value} in round {round} of height {height}{since}", "proposal"
        else:
            kind = VOTE_NAMES[message.kind]
            locks = ", and is locked on it" if message.kind == PRECOMMIT and message.block_hash is not None else ""
            words = f"{kind}s {value} in round {round} of height {height}{locks}"
        self._tell(at_ms, node, height, kind, words)
        if message.block_hash is None:
            self._note_trouble(node, height, round, f"nil {kind}")

    def _tell_commit(self, node: str, at_ms: int, commit: Commit) -> None:
        block, certificate = commit.block, commit.certificate
        height = block.height
        known = self._heights.get(height)
        if known is None:
            known = self._heights[height] = _Height(at_ms, node)
            known.proposer = self._names.get(block.header.producer, block.header.producer.hex()[:8])
            known.round = certificate.round
            known.transactions = len(block.transactions)
            known.block = block.hash.hex()
        known.nodes.append(node)
        known.last_ms = at_ms
        signers = ", ".join(self._names.get(item.validator, "?") for item in certificate.signatures)
        words = f"commits {block.hash.hex()[:8]}… at height {height}, round {certificate.round}, signed by {signers}"
        is_fork = known.block != block.hash.hex()
        words += " ≠ the block of others" if is_fork else ""
        self._tell(at_ms, node, height, "fork" if is_fork else "commit", words)

    def _note_trouble(self, node: str, height: int, round: int, what: str) -> None:
        self._troubles.setdefault(height, {}).setdefault((round, what), {})[node] = None


def _shorten(value: object) -> str:
    words = str(value)
    return words if len(words) <= 60 else f"{words[:57]}…"

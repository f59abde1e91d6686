"""The story of a run, told from its journals: who proposed, voted, locked and decided what, and what was broken.

Told calmly: heights that went as they should are one line together. `Zoom` asks for every vote of a height or a node.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tana.node.effects import Append, Commit, Effect, Halt, Report, Signed
from tana.node.inputs import Input, TimerFired
from tana.node.machine import Machine
from tana.types.messages import PRECOMMIT, VOTE_NAMES, Proposal, Vote
from testbed.journal import BeginFrame

CALM_TIMERS = frozenset({"announce", "gossip", "work", "sync", "empty_block"})
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
    """One thing that happened. `height` is the one it is about, 0 for none; `is_calm` that it went as it should."""

    at_ms: int
    node: str
    height: int
    kind: str
    words: str
    is_calm: bool = False
    is_detail: bool = False

    def to_json(self) -> dict[str, Any]:
        return {"at_ms": self.at_ms, "node": self.node, "height": self.height, "kind": self.kind, "words": self.words}

    def __str__(self) -> str:
        return f"{self.at_ms:>8} ms  {self.node:<12}  {self.words}"


@dataclass
class _Height:
    """What became of a height, over all nodes."""

    first_ms: int
    proposer: str = ""
    round: int = 0
    transactions: int = 0
    block: str = ""
    nodes: list[str] = field(default_factory=list)
    last_ms: int = 0


class StoryTeller:
    """A watcher of a replay (see `testbed.replay.Watcher`) that writes down what is worth telling."""

    def __init__(self, names: Mapping[bytes, str]) -> None:
        self._names = names
        self._rounds: dict[str, tuple[int, int]] = {}
        self._heights: dict[int, _Height] = {}
        self.lines: list[Line] = []

    # ------------------------------------------------------------------ Watcher

    def on_begin(self, node: str, at_ms: int, frame: BeginFrame, machine: Machine) -> None:
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
        for effect in effects:
            self._tell_effect(node, at_ms, effect)
        now = (machine.core.height, machine.core.round)
        if now != self._rounds.get(node) and now[1] > 0:
            self._tell(at_ms, node, now[0], "round", f"is in round {now[1]} of height {now[0]}")
        self._rounds[node] = now

    def on_event(self, at_ms: int, event: Mapping[str, Any]) -> None:
        match event["kind"]:
            case "fault":
                words = f"fault {event['fault']} on {event['target']} {event['phase'].replace('_', ' ')}"
                self._tell(at_ms, "", 0, "fault", f"{words}: {event['evidence']}" if event["evidence"] else words)
            case "step":
                self._tell(at_ms, "", 0, "step", f"step {event['name']} {event['phase']}", is_detail=True)
            case "expectation" if event["progress"] == "must_not":
                verb = "must not go on" if event["phase"] == "begin" else "may go on again"
                self._tell(at_ms, "", 0, "expectation", f"the chain {verb}: {event['why']}")
            case "unreachable":
                self._tell(at_ms, event["node"], 0, "unreachable", f"gives no answer: {event['reason']}")

    # ------------------------------------------------------------------ telling

    def tell(self, zoom: Zoom) -> Iterator[str]:
        """The story in lines: quiet heights together, or everything about what the reader zooms in on."""
        quiet: list[Line] = []
        for line in self.lines:
            if zoom.is_on:
                if self._is_in(line, zoom):
                    yield str(line)
            elif line.is_calm and self._is_quiet(line.height):
                if line.kind == "commit" and self._heights[line.height].first_ms == line.at_ms:
                    quiet.append(line)
            elif not line.is_detail:
                yield from self._tell_quiet(quiet)
                quiet = []
                yield str(line)
        yield from self._tell_quiet(quiet)

    def to_json(self, zoom: Zoom) -> list[dict[str, Any]]:
        """Everything that happened, or everything about what the reader zooms in on."""
        return [line.to_json() for line in self.lines if not zoom.is_on or self._is_in(line, zoom)]

    @staticmethod
    def _is_in(line: Line, zoom: Zoom) -> bool:
        return zoom.node in ("", line.node) and zoom.height in (0, line.height)

    def _is_quiet(self, height: int) -> bool:
        known = self._heights.get(height)
        return known is not None and known.round == 0

    def _tell_quiet(self, lines: list[Line]) -> Iterator[str]:
        """Heights that were decided in round 0, in one line."""
        seen = sorted({line.height for line in lines})
        if not seen:
            return
        facts = [self._heights[height] for height in seen]
        which = f"height {seen[0]}" if len(seen) == 1 else f"heights {seen[0]} to {seen[-1]}"
        transactions = sum(item.transactions for item in facts)
        by = f" by {facts[0].proposer}" if len(seen) == 1 else ""
        words = f"{which} proposed{by} and decided in round 0, {transactions} transactions"
        last = max(item.last_ms for item in facts)
        yield str(Line(lines[0].at_ms, "", seen[-1], "heights", f"{words}, everywhere by {last} ms"))

    def _tell(
        self,
        at_ms: int,
        node: str,
        height: int,
        kind: str,
        words: str,
        *,
        is_calm: bool = False,
        is_detail: bool = False,
    ) -> None:
        self.lines.append(Line(at_ms, node, height, kind, words, is_calm, is_detail))

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
        is_calm = round == 0 and message.block_hash is not None
        self._tell(at_ms, node, height, kind, words, is_calm=is_calm, is_detail=round == 0)

    def _tell_commit(self, node: str, at_ms: int, commit: Commit) -> None:
        block, certificate = commit.block, commit.certificate
        height = block.height
        known = self._heights.get(height)
        if known is None:
            known = self._heights[height] = _Height(at_ms)
            known.proposer = self._names.get(block.header.producer, block.header.producer.hex()[:8])
            known.round = certificate.round
            known.transactions = len(block.transactions)
            known.block = block.hash.hex()
        known.nodes.append(node)
        known.last_ms = at_ms
        signers = ", ".join(self._names.get(item.validator, "?") for item in certificate.signatures)
        words = f"commits {block.hash.hex()[:8]}… at height {height}, round {certificate.round}, signed by {signers}"
        is_fork = known.block != block.hash.hex()
        is_calm = certificate.round == 0 and not is_fork
        words += " ≠ the block of others" if is_fork else ""
        self._tell(at_ms, node, height, "commit", words, is_calm=is_calm)


def _shorten(value: object) -> str:
    words = str(value)
    return words if len(words) <= 60 else f"{words[:57]}…"

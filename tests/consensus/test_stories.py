"""Golden stories: readable scripts of two to four nodes. `pytest tests/consensus --rewrite` writes them anew.

A line that begins with `> ` is a command, the lines below it are what happened, `#` begins a comment.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tana.types.messages import PRECOMMIT, PREVOTE, BlockPart, Proposal, Vote, VoteQuorum
from tests.consensus.helpers import Cluster, Envelope, Message

STORIES = sorted((Path(__file__).parent / "stories").glob("*.txt"))
ALL_LINES = set(range(2, 68)) - {25, 31}
"""The lines of Algorithm 1 that are statements: 1 is a heading, 25 and 31 are the word `else`."""


class Story:
    """Plays a script's commands on a cluster."""

    def __init__(self) -> None:
        self.output: list[str] = []
        self.cluster: Cluster | None = None
        self.lost: list[Callable[[Envelope], bool]] = []

    def play(self, command: str) -> list[str]:
        self.output = []
        verb, *words = command.split()
        getattr(self, f"do_{verb}")(*words)
        return self.output or ["(nothing)"]

    @property
    def net(self) -> Cluster:
        assert self.cluster is not None, "a story begins with `nodes`"
        return self.cluster

    def do_nodes(self, *powers: str) -> None:
        self.cluster = Cluster([int(power) for power in powers])
        self.cluster.say = self.output_line
        proposers = [
            self.index_of(self.cluster.validators.get_proposer(round).public_key) for round in range(len(powers))
        ]
        self.output_line(f"proposers of the first rounds: {' '.join(map(str, proposers))}")

    def index_of(self, key: bytes) -> int:
        return [item.public_key for item in self.net.validators.validators].index(key)

    def output_line(self, line: str) -> None:
        self.output.append(line)

    def do_work(self, *nodes: str) -> None:
        for node in nodes:
            self.net.work(int(node))

    def do_deliver(self) -> None:
        self.net.deliver(lambda envelope: not any(is_lost(envelope) for is_lost in self.lost))

    def do_lose(self, kind: str, sender: str, receiver: str) -> None:
        """lose proposal|block|prevote|precommit|all FROM|* TO|*: such messages are lost from now on."""

        def is_lost(envelope: Envelope) -> bool:
            return (
                kind in ("all", kind_of(envelope.message))
                and sender in ("*", str(envelope.sender))
                and receiver in ("*", str(envelope.receiver))
            )

        self.lost.append(is_lost)
        self.output_line("ok")

    def do_heal(self) -> None:
        self.lost = []
        self.output_line("ok")

    def do_fire(self, kind: str, *nodes: str) -> None:
        for node in nodes:
            self.net.fire(int(node), kind)

    def do_announce(self) -> None:
        """Everyone announces to everyone, and what is lacking is delivered."""
        self.net.announce_all()
        self.do_deliver()

    def do_refuse(self, node: str, label: str) -> None:
        """The node's application finds the block with that label invalid."""
        self.net.nodes[int(node)].application.refused.add(int(label))
        self.output_line("ok")

    def do_early(self, node: str, label: str) -> None:
        """The node's clock says that the block with that label lies too far ahead."""
        self.net.nodes[int(node)].application.early.add(int(label))
        self.output_line("ok")

    def do_crash(self, node: str) -> None:
        self.net.crash(int(node))
        self.output_line("ok")

    def do_restart(self, node: str) -> None:
        self.net.restart(int(node))

    def do_lie(self, traitor: str, kind: str, value: str, round: str, *victims: str) -> None:
        """lie TRAITOR prevote|precommit nil|NAME|other ROUND VICTIM...: they get such a vote, signed by the traitor."""
        blocks = [block for node in self.net.nodes for block in node.core.blocks.values()]
        hashes = {self.net.name(block.hash): block.hash for block in blocks} | {"nil": None, "other": b"o" * 32}
        for victim in victims:
            height = self.net.nodes[int(victim)].core.height
            vote = Vote(PREVOTE if kind == "prevote" else PRECOMMIT, height, int(round), hashes[value], b"", b"")
            self.net.give(int(victim), self.net.lie(int(traitor), vote))
        if not self.output:
            self.output_line("ok")

    def do_propose_other(self, traitor: str, *victims: str) -> None:
        """The victims get a proposal of round 0 for a block that nobody has, signed by the traitor."""
        for victim in victims:
            proposal = Proposal(self.net.nodes[int(victim)].core.height, 0, b"o" * 32, -1, b"", b"")
            self.net.give(int(victim), self.net.lie(int(traitor), proposal))
        if not self.output:
            self.output_line("ok")

    def do_accused(self) -> None:
        """Against whom each node has evidence."""
        for index, found in sorted(self.net.accused.items()):
            names = sorted({f"{self.index_of(item.validator)} of a double {item.kind}" for item in found})
            self.output_line(f"{index} accuses {', '.join(names)}")

    def do_state(self) -> None:
        for node in self.net.nodes:
            core = node.core
            self.output_line(
                f"{node.index} height {core.height} round {core.round} {core.step.name.lower()}"
                f" locked {self.net.name(core.locked_hash)}@{core.locked_round}"
                f" valid {self.net.name(core.valid_hash)}@{core.valid_round}"
            )


def kind_of(message: Message) -> str:
    match message:
        case Vote():
            return "prevote" if message.kind == 1 else "precommit"
        case Proposal():
            return "proposal"
        case BlockPart():
            return "block"
        case VoteQuorum():
            return "quorum"


def play(text: str) -> tuple[str, set[int]]:
    """The script with its outputs as they are now, and the lines of the paper that were executed."""
    story = Story()
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("> "):
            lines += [line, *(f"  {said}" for said in story.play(line[2:]))]
        elif not line.startswith("  "):
            lines.append(line)
    assert story.net.lines is not None
    return "\n".join(lines) + "\n", story.net.lines


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_story_is_as_told(path: Path, pytestconfig: pytest.Config) -> None:
    told = path.read_text()
    happened, _ = play(told)
    if pytestconfig.getoption("rewrite"):
        path.write_text(happened)
        told = happened
    assert happened == told


def test_every_line_of_the_paper_is_reached() -> None:
    reached: set[int] = set()
    for path in STORIES:
        reached |= play(path.read_text())[1]
    assert reached == ALL_LINES


def test_a_story_that_ends_otherwise_is_noticed() -> None:
    told = STORIES[0].read_text().replace("decides", "abandons")
    assert play(told)[0] != told

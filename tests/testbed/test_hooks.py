"""Hooks that the harness steers: lies begin and end as asked, in the middle of a node's life."""

from __future__ import annotations

from tana.types.messages import PeerMessage, Vote
from testbed.byzantine import Trigger
from testbed.byzantine.wish import write_wish
from testbed.clock import SteeredClock, write_clock
from testbed.hooks import ControlledHooks
from tests.testbed.byzantine.traitors import TraitorNet

LIAR = 3


class Steered:
    """Four nodes, the last of which does what `wishes` say. `said` are the votes of its own that left it, by slot."""

    def __init__(self) -> None:
        self.wishes: dict[str, str] = {}
        self.net = TraitorNet(4, {LIAR: ControlledHooks(lambda: self.wishes)})
        self.said: dict[tuple[int, int, int], set[bytes | None]] = {}
        self.net.is_lost = self._listen

    def _listen(self, sender: int, receiver: int, message: PeerMessage) -> bool:
        if sender == LIAR and isinstance(message, Vote) and message.validator == self.net.keys[LIAR].public_key:
            slot = (message.height, message.round, message.kind)
            self.said.setdefault(slot, set()).add(message.block_hash)
        return False

    def ask(self, behaviour: str) -> None:
        self.wishes["byzantine"] = write_wish(behaviour, Trigger(), "1", ()) if behaviour else ""

    def run_to(self, height: int) -> None:
        self.net.run_until(lambda: all(len(node.chain) >= height for node in self.net.correct))

    def double_heights(self) -> set[int]:
        return {height for (height, _, _), values in self.said.items() if len(values) > 1}


def test_lies_begin_and_end_as_asked() -> None:
    steered = Steered()
    steered.run_to(2)
    assert not steered.double_heights()
    steered.ask("double_prevote")
    steered.run_to(5)
    heights = steered.double_heights()
    assert heights
    assert min(heights) >= 2
    steered.ask("")
    steered.run_to(8)
    last = max(steered.double_heights())
    steered.run_to(last + 4)
    assert max(steered.double_heights()) == last


def test_one_lie_after_another() -> None:
    steered = Steered()
    steered.ask("withholds_votes")
    steered.run_to(3)
    assert not steered.said
    steered.ask("always_nil")
    steered.run_to(6)
    assert {value for values in steered.said.values() for value in values} == {None}
    steered.ask("")
    steered.run_to(9)
    assert any(None not in values for values in steered.said.values())
    assert not steered.double_heights(), "a lie about a height is told to its end"


def test_the_same_key_twice_begins_in_the_middle() -> None:
    steered = Steered()
    steered.run_to(3)
    steered.ask("same_key_twice")
    steered.run_to(12)
    reports = [report for report in steered.net.nodes[0].reports if report.name == "equivocation"]
    assert {report.fields["validator"] for report in reports} == {steered.net.keys[LIAR].public_key.hex()}


def test_the_clock_is_set_in_the_middle_and_set_right() -> None:
    wishes: dict[str, str] = {}
    hooks = ControlledHooks(lambda: wishes, SteeredClock(lambda: 1_000))
    net = TraitorNet(4, {LIAR: hooks})
    net.run_until(lambda: all(len(node.chain) >= 2 for node in net.correct))
    assert hooks.now_ms() == 1_000
    wishes["clock"] = write_clock(3_000, 0)
    net.run_until(lambda: hooks.now_ms() == 4_000)
    del wishes["clock"]
    net.run_until(lambda: hooks.now_ms() == 1_000)


def test_only_ports_with_a_route_are_dialed_elsewhere() -> None:
    hooks = ControlledHooks(dict, routes={"9000": 41_000})
    assert hooks.get_route(("127.0.0.1", 9000)) == ("127.0.0.1", 41_000)
    assert hooks.get_route(("127.0.0.1", 9001)) == ("127.0.0.1", 9001)

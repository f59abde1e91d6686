"""Journals: whole frames or none, bounded, and the node does the same with one as without."""

from __future__ import annotations

from pathlib import Path

import pytest

from tana.consensus.effects import Timer
from tana.crypto.keys import verify
from tana.node.effects import (
    Admitted,
    Append,
    Broadcast,
    Dropped,
    Effect,
    Flush,
    Halt,
    Report,
    Seen,
    Send,
    ServeBlocks,
    SetTimer,
    Signed,
)
from tana.node.hooks import Beginning, Hooks
from tana.node.inputs import Input, PeerConnected, PeerDisconnected, Received, Started, Submitted, TimerFired
from tana.types.messages import PREVOTE, Vote
from testbed.journal import (
    DIGEST_BYTES,
    FOLDER,
    MAX_WAITING,
    SUFFIX,
    BeginFrame,
    FullFrame,
    GaugesFrame,
    JournalHooks,
    MemoryJournals,
    StepFrame,
    collect_journals,
    digest_effects,
    find_end,
    open_journal,
    pack_frame,
    read_frames,
    read_input,
    read_kind,
    write_input,
)
from tests.ledger import chain
from tests.node.machine_net import MachineNet

VOTE = Vote(PREVOTE, 3, 0, None, b"v" * 32, b"s" * 64)
OTHER = Vote(PREVOTE, 3, 1, None, b"v" * 32, b"t" * 64)


def keep_journal(inner: Hooks | None = None, *, heights: int = 3, max_bytes: int = 10**9) -> list[bytes]:
    """The frames of one node of a small cluster."""
    writes: list[bytes] = []
    hooks = JournalHooks(writes.append, inner or Hooks(), max_bytes=max_bytes)
    net = MachineNet(4)
    node = net.nodes[0]
    hooks.on_begin(Beginning(net.genesis, node.machine, node.key, verify, (), (0, 0, 0), ""))
    give = net.give

    def give_and_record(receiver: object, input: Input) -> None:
        if receiver is not node:
            give(receiver, input)  # type: ignore[arg-type]
            return
        effects = node.machine.step(input, net.now_ms)
        for effect in hooks.on_step(input, net.now_ms, effects):
            net._perform(node, effect)

    net.give = give_and_record  # type: ignore[assignment, method-assign]
    net.run_until(net.all_at(heights))
    hooks.flush()
    return [pack_frame(frame) for frame in read_frames(b"".join(writes))]


def begin_journal(writes: list[bytes]) -> JournalHooks:
    """Hooks of a node that has begun; the beginning is not among the writes."""
    net = MachineNet(4)
    node = net.nodes[0]
    hooks = JournalHooks(writes.append, Hooks())
    hooks.on_begin(Beginning(net.genesis, node.machine, node.key, verify, (), (0, 0, 0), ""))
    hooks.on_step(Started(), 1_000, [])
    writes.clear()
    return hooks


def test_a_journal_holds_beginning_steps_and_gauges() -> None:
    frames = list(read_frames(b"".join(keep_journal())))
    assert isinstance(frames[0], BeginFrame)
    steps = [frame for frame in frames if isinstance(frame, StepFrame)]
    assert {frame.at_us for frame in steps} == {frame.at_us for frame in steps if frame.at_us >= frames[0].at_us}
    assert [message.height for frame in steps for message in frame.signed if isinstance(message, Vote)][-1] >= 3
    assert any(isinstance(frame, GaugesFrame) and frame.gauges.validators == 4 for frame in frames)


def test_a_torn_tail_is_cut_off() -> None:
    data = b"".join(keep_journal())
    whole = len(list(read_frames(data)))
    for lost in (1, 7, 9):
        assert len(list(read_frames(data[:-lost]))) == whole - 1
        assert find_end(data[:-lost]) < len(data) - lost
    assert find_end(data) == len(data)


def test_a_damaged_frame_ends_the_journal() -> None:
    frames = keep_journal()
    damaged = bytearray(b"".join(frames))
    damaged[len(frames[0]) + 20] ^= 1
    assert len(list(read_frames(bytes(damaged)))) == 1


def test_a_journal_is_bounded() -> None:
    frames = keep_journal(max_bytes=5_000)
    assert sum(map(len, frames)) < 6_000
    assert isinstance(list(read_frames(b"".join(frames)))[-1], FullFrame)


def test_lies_come_after_what_is_recorded() -> None:
    class Silent(Hooks):
        def on_step(self, input: Input, now_ms: int, effects: list[Effect]) -> list[Effect]:
            return [effect for effect in effects if not isinstance(effect, Broadcast | Send)]

    frames = list(read_frames(b"".join(keep_journal(Silent()))))
    kinds = {
        read_kind(frame.digests, index)
        for frame in frames
        if isinstance(frame, StepFrame)
        for index in range(len(frame.digests) // DIGEST_BYTES)
    }
    assert "broadcast" in kinds


@pytest.mark.parametrize(
    "effect",
    [Flush(), Broadcast(VOTE), Send(b"p" * 32, VOTE), Admitted(1, ()), Report("equivocation", {}), Halt("a")],
    ids=lambda effect: type(effect).__name__,
)
def test_a_step_is_written_before_an_effect_that_outlives_it(effect: Effect) -> None:
    writes: list[bytes] = []

    class Performing(Hooks):
        def on_step(self, input: Input, now_ms: int, effects: list[Effect]) -> list[Effect]:
            assert effect not in effects or len(list(read_frames(b"".join(writes)))) == 2
            return effects

    hooks = begin_journal(writes)
    hooks._inner = Performing()
    hooks.on_step(Received(b"p" * 32, VOTE), 1_001, [Append(Seen(VOTE))])
    assert not writes
    hooks.on_step(Received(b"p" * 32, OTHER), 1_002, [Append(Seen(OTHER)), effect])
    assert len(writes) == 1
    assert [step.now_ms for step in read_frames(writes[0]) if isinstance(step, StepFrame)] == [1_001, 1_002]


def test_steps_do_not_wait_without_end() -> None:
    writes: list[bytes] = []
    hooks = begin_journal(writes)
    for number in range(MAX_WAITING):
        assert not writes
        hooks.on_step(Received(b"p" * 32, VOTE), 1_001, [SetTimer(Timer("propose", 3, number), 500)])
    assert len(list(read_frames(writes[0]))) == MAX_WAITING
    hooks.on_step(Received(b"p" * 32, VOTE), 1_002, [])
    hooks.on_step(Received(b"p" * 32, VOTE), 2_000, [])
    assert [type(frame) for frame in read_frames(writes[1])] == [StepFrame, StepFrame]
    assert [type(frame) for frame in read_frames(writes[2])] == [GaugesFrame]


def test_incarnations_in_memory_keep_their_order(tmp_path: Path) -> None:
    journals = MemoryJournals(lambda: 7)
    net = MachineNet(4)
    node = net.nodes[0]
    for now_ms in (1_001, 2_001):
        hooks = journals.wrap("validator-1", Hooks())
        hooks.on_begin(Beginning(net.genesis, node.machine, node.key, verify, (), (0, 0, 0), ""))
        hooks.on_step(Started(), now_ms, [])
        hooks.on_step(Received(b"p" * 32, VOTE), now_ms + 1, [])
    journals.write(tmp_path)
    frames = list(read_frames((tmp_path / f"validator-1{SUFFIX}").read_bytes()))
    assert [type(frame) for frame in frames] == 2 * [BeginFrame, StepFrame, GaugesFrame, StepFrame]


def test_each_incarnation_has_a_file_and_they_are_collected_whole(tmp_path: Path) -> None:
    folder = tmp_path / "nodes" / "validator-1" / FOLDER
    frames = keep_journal()
    for _ in range(2):
        write = open_journal(folder)
        for frame in frames:
            write(frame)
        write(frames[-1][:-3])
    collect_journals(tmp_path / "nodes", ["validator-1", "validator-2"], tmp_path / "journals")
    assert [path.name for path in (tmp_path / "journals").iterdir()] == [f"validator-1{SUFFIX}"]
    collected = list(read_frames((tmp_path / "journals" / f"validator-1{SUFFIX}").read_bytes()))
    assert len(collected) == 2 * len(frames)


@pytest.mark.parametrize(
    "input",
    [
        Started(),
        PeerConnected(b"p" * 32),
        PeerDisconnected(b"p" * 32),
        Received(b"p" * 32, VOTE),
        TimerFired(Timer("propose", 3, 1)),
        Submitted(7, (chain.transfer(chain.ALICE, chain.BOB, 0),)),
    ],
    ids=lambda input: type(input).__name__,
)
def test_inputs_are_read_as_they_were_written(input: Input) -> None:
    assert read_input(write_input(input)) == input


def test_different_effects_have_different_digests() -> None:
    effects: list[Effect] = [
        Append(Signed(VOTE)),
        Append(Seen(VOTE)),
        Append(Signed(OTHER)),
        Flush(),
        Broadcast(VOTE),
        Broadcast(OTHER),
        Send(b"p" * 32, VOTE),
        Send(b"q" * 32, VOTE),
        SetTimer(Timer("propose", 3, 1), 500),
        SetTimer(Timer("propose", 3, 1), 501),
        Admitted(1, ()),
        Dropped((("ab", "expired"),)),
        ServeBlocks(b"p" * 32, 1, 2),
        ServeBlocks(b"p" * 32, 1, 3),
        Report("equivocation", {"height": 3}),
        Report("equivocation", {"height": 4}),
        Halt("a"),
        Halt("b"),
    ]
    assert len({digest_effects([effect]) for effect in effects}) == len(effects)
    assert digest_effects(effects) == b"".join(digest_effects([effect]) for effect in effects)

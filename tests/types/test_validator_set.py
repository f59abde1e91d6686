"""Validator sets: quorum arithmetic against a written-out table, fair rotation, and bounds."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tana.types.errors import InvalidInput
from tana.types.validator_set import MAX_TOTAL_POWER, MAX_VALIDATORS, Members, Validator, ValidatorSet


def make_set(*powers: int) -> ValidatorSet:
    return ValidatorSet.create(
        Validator(bytes([index]) * 32, power, f"validator-{index}") for index, power in enumerate(powers)
    )


# Total power; the least power above two thirds (a quorum); the least that is one third or more.
# A chain of total n with quorum q survives the silence of n − q power.
ARITHMETIC = [
    (1, 1, 1),
    (2, 2, 1),
    (3, 3, 1),
    (4, 3, 2),
    (5, 4, 2),
    (6, 5, 2),
    (7, 5, 3),
    (8, 6, 3),
    (9, 7, 3),
    (10, 7, 4),
    (11, 8, 4),
    (12, 9, 4),
    (13, 9, 5),
    (30, 21, 10),
    (100, 67, 34),
    (99, 67, 33),
    (2**48, 187649984473771, 93824992236886),
]


@pytest.mark.parametrize(("total", "quorum", "third"), ARITHMETIC)
def test_quorum_table(total: int, quorum: int, third: int) -> None:
    validators = make_set(total)
    assert validators.quorum_power == quorum
    assert validators.is_quorum(quorum)
    assert not validators.is_quorum(quorum - 1)
    assert validators.is_one_third(third)
    assert not validators.is_one_third(third - 1)


@given(st.lists(st.integers(1, 2**40), min_size=1, max_size=8))
def test_two_quorums_share_more_than_a_third(powers: list[int]) -> None:
    validators = make_set(*powers)
    shared = 2 * validators.quorum_power - validators.total_power
    assert validators.is_one_third(shared)
    assert not validators.is_quorum(validators.quorum_power - 1)
    assert validators.is_quorum(validators.total_power)


powers_lists = st.lists(st.integers(1, 12), min_size=1, max_size=7)


@settings(deadline=None)
@given(powers_lists, st.integers(0, 30))
def test_rotation_is_fair_from_anywhere(powers: list[int], start: int) -> None:
    """Over `total_power` turns each validator proposes exactly as often as it has power."""
    validators = make_set(*powers).advanced(start)
    proposers: Counter[str] = Counter()
    for _ in range(validators.total_power):
        proposers[validators.get_proposer(0).node_id] += 1
        validators = validators.advanced()
    assert proposers == {f"validator-{index}": power for index, power in enumerate(powers)}


@settings(deadline=None)
@given(powers_lists)
def test_a_round_is_a_turn_ahead(powers: list[int]) -> None:
    validators = make_set(*powers)
    ahead = [validators.advanced(round).get_proposer(0).node_id for round in range(8)]
    assert [validators.get_proposer(round).node_id for round in range(8)] == ahead


@settings(deadline=None)
@given(powers_lists, st.integers(0, 40))
def test_priorities_stay_in_bounds_and_sum_to_zero(powers: list[int], steps: int) -> None:
    validators = make_set(*powers).advanced(steps)
    assert sum(validators.priorities) == 0
    assert all(abs(priority) <= validators.total_power for priority in validators.priorities)


@given(powers_lists, st.integers(0, 10))
def test_rows_round_trip(powers: list[int], steps: int) -> None:
    validators = make_set(*powers).advanced(steps)
    assert ValidatorSet.from_rows(validators.to_rows()) == validators


@given(powers_lists, st.randoms(use_true_random=False))
def test_order_of_creation_does_not_matter(powers: list[int], random: object) -> None:
    validators = make_set(*powers)
    shuffled = list(validators.validators)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert ValidatorSet.create(shuffled) == validators
    assert ValidatorSet.create(shuffled).hash == validators.hash


def test_hash_covers_all_but_the_priorities() -> None:
    validators = make_set(1, 2)
    assert validators.advanced().hash == validators.hash
    assert make_set(2, 1).hash != validators.hash
    renamed = [Validator(item.public_key, item.power, "x" + item.node_id) for item in validators.validators]
    assert ValidatorSet.create(renamed).hash != validators.hash


def test_power_of_a_stranger_is_zero() -> None:
    assert make_set(5).get_power(b"\xff" * 32) == 0
    assert make_set(5).get_power(b"\0" * 32) == 5


@pytest.mark.parametrize(
    "validators",
    [
        [],
        [Validator(index.to_bytes(32, "big"), 1, f"v{index}") for index in range(MAX_VALIDATORS + 1)],
        [Validator(b"a" * 32, 1, "a"), Validator(b"a" * 32, 2, "b")],
        [Validator(b"a" * 32, 0, "a")],
        [Validator(b"a" * 32, -1, "a")],
        [Validator(b"a" * 32, 1.5, "a")],  # type: ignore[arg-type]
        [Validator(b"a" * 32, MAX_TOTAL_POWER + 1, "a")],
        [Validator(b"a" * 32, MAX_TOTAL_POWER, "a"), Validator(b"b" * 32, 1, "b")],
    ],
)
def test_invalid_set(validators: list[Validator]) -> None:
    with pytest.raises(InvalidInput):
        ValidatorSet.create(validators)


def test_largest_sets_are_taken() -> None:
    many = ValidatorSet.create(Validator(index.to_bytes(32, "big"), 1, f"v{index}") for index in range(MAX_VALIDATORS))
    assert len(many) == MAX_VALIDATORS
    assert make_set(MAX_TOTAL_POWER).total_power == MAX_TOTAL_POWER


def test_who_stays_keeps_its_place_and_who_joins_comes_last() -> None:
    before = make_set(1, 1, 1).advanced(2)
    newcomer = Validator(b"n" * 32, 1, "new")
    after = before.changed(Members.create([*before.validators, newcomer]))
    order = [after.advanced(step).get_proposer(0).node_id for step in range(8)]
    assert order[0] == before.get_proposer(0).node_id
    assert "new" not in order[:3]
    assert "new" in order
    known = dict(zip(before.members.powers, before.priorities, strict=True))
    now = dict(zip(after.members.powers, after.priorities, strict=True))
    assert len({now[key] - priority for key, priority in known.items()}) == 1, "the same distance for all who stay"


def test_to_leave_and_come_back_wins_no_turn() -> None:
    current = make_set(1, 1, 1, 1)
    hopper = current.validators[0].public_key
    turns = 0
    for height in range(80):
        others = [item for item in current.validators if item.public_key != hopper]
        is_in = height % 4 != 3
        members = Members.create([*others, Validator(hopper, 1, "hopper")] if is_in else others)
        current = current.advanced().changed(members)
        turns += current.get_proposer(0).public_key == hopper
    assert turns <= 80 // 5


@given(st.lists(st.lists(st.integers(0, 2**40), min_size=4, max_size=4).filter(any), min_size=1, max_size=30))
def test_no_series_of_changes_makes_priorities_grow(series: list[list[int]]) -> None:
    current = make_set(1, 1, 1, 1)
    keys = [item.public_key for item in current.validators]
    for powers in series:
        chosen = [Validator(key, power, key.hex()) for key, power in zip(keys, powers, strict=True) if power]
        current = current.changed(Members.create(chosen)).advanced()
        assert max(map(abs, current.priorities)) <= 4 * current.total_power
        assert abs(sum(current.priorities)) < len(current)

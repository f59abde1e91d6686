from __future__ import annotations

from dataclasses import dataclass

from tana.types.lazy import lazy


@dataclass(frozen=True)
class Counting:
    calls: list[int]

    @lazy
    def value(self) -> int:
        """What is kept."""
        self.calls.append(1)
        return len(self.calls)


def test_computed_once_for_each_object() -> None:
    one, other = Counting([]), Counting([7])
    assert (one.value, one.value, other.value, other.value) == (1, 1, 2, 2)
    assert one.calls == [1]


def test_equality_is_not_touched() -> None:
    one, other = Counting([]), Counting([1])
    assert one.value == 1
    assert one == other


def test_the_class_shows_what_it_is_for() -> None:
    assert Counting.value.__doc__ == "What is kept."

"""The catalogue: what every step, fault, checker and behaviour says of itself, as tables for the docs."""

from __future__ import annotations

import importlib
import typing
from collections.abc import Callable

import msgspec

from testbed.byzantine import ALL_BEHAVIOURS, Behaviour
from testbed.checkers import CHECKERS, Checker
from testbed.checkers.tailnet import TailnetChecker
from testbed.faults import FAULTS
from testbed.invariants import INVARIANTS, Invariant
from testbed.needs import BACKENDS
from testbed.scenario import Timing
from testbed.steps import Step
from testbed.timeline import MUST, MUST_NOT, compute_expectation

CLUSTERS = ((3, 1), (4, 1), (7, 2))
"""Validators and traitors among them, for which behaviours are described."""
BEGIN, END = "<!-- catalogue: begin -->", "<!-- catalogue: end -->"


def describe_part(part: type) -> str:
    """What a fault's or checker's file says in its first line, without the name in front.

    Where a file has several checkers, each says it itself.
    """
    if issubclass(part, TailnetChecker):
        return _first_line(part)
    words = (importlib.import_module(part.__module__).__doc__ or "").splitlines()[0]
    return words.partition(": ")[2] or words


def render_catalogue() -> str:
    """Markdown tables of every step with its fields, the timing settings, every fault and every checker."""
    steps = [
        (f"`{kind.__struct_config__.tag}`", _first_line(kind), _describe_fields(kind)) for kind in typing.get_args(Step)
    ]
    return "\n\n".join(
        [
            "### Steps\n\n" + _table(("do", "what it does", "fields (default)"), steps),
            "### Timing\n\n" + _table(("field", "default"), _list_fields(Timing)),
            "### Faults\n\n"
            + _table(
                ("fault", "what it does"), [(f"`{kind}`", describe_part(fault)) for kind, fault in FAULTS.items()]
            ),
            "### Checkers\n\n"
            + _table(
                ("checker", "what it holds", "fed by"),
                [(f"`{checker.name}`", describe_part(checker), _describe_backends(checker)) for checker in CHECKERS],
            ),
            "### Invariants\n\n"
            + _table(
                ("number", "invariant", "what it holds", "fed by"),
                [
                    (str(kind.number), f"`{kind.name}`", describe_part(kind), _describe_backends(kind))
                    for kind in INVARIANTS
                ],
            ),
        ]
    )


def render_behaviours() -> str:
    """A Markdown table of every Byzantine behaviour, and what it must do to 3, 4 and 7 validators."""
    rows = [
        (
            f"`{kind}`",
            _first_line(behaviour).rpartition(". ")[0],
            *(describe_outcome(behaviour, count, traitors) for count, traitors in CLUSTERS),
        )
        for kind, behaviour in ALL_BEHAVIOURS.items()
    ]
    heads = (f"{traitors} of {count}" for count, traitors in CLUSTERS)
    return _table(("behaviour", "what the traitor does", *heads), rows)


def describe_outcome(behaviour: type[Behaviour], count: int, traitors: int) -> str:
    """What quorum arithmetic says of a behaviour: P it goes on, H it halts, E evidence is committed; safe always."""
    powers = {str(number): 1 for number in range(count)}
    liars = list(powers)[:traitors]
    progress, _ = compute_expectation(powers, liars if behaviour.is_withholding else (), liars)
    if progress == MUST:
        return "P, E" if behaviour.is_punished else "P"
    return "H" if progress == MUST_NOT else "safe"


def replace_catalogue(text: str, render: Callable[[], str] = render_catalogue) -> str:
    """A document with what stands between its two marks replaced by the tables as they are now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{render()}\n\n{END}{after}"


def _describe_backends(kind: type[Checker] | type[Invariant]) -> str:
    backends = kind.get_backends()
    return "every backend" if len(backends) == len(BACKENDS) else ", ".join(backends)


def _describe_fields(kind: type[msgspec.Struct]) -> str:
    return ", ".join(f"{name} ({default})" for name, default in _list_fields(kind))


def _list_fields(kind: type[msgspec.Struct]) -> list[tuple[str, str]]:
    return [
        (f"`{item.name}`", "required" if item.required else repr(item.default)) for item in msgspec.structs.fields(kind)
    ]


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").splitlines()[0]


def _table(head: tuple[str, ...], rows: typing.Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

"""The command `testbed mutants`: plant one bug after another, and see that the fuzzer catches each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tana.types.errors import SettingsError
from testbed.cli_telling import Jobs, told

if TYPE_CHECKING:
    from testbed.mutants import Hunt, Mutant

LIMIT_S_MAX = 86_400
DOCUMENT = Path("docs/planted-bugs.md")


def mutants(
    *,
    only: Annotated[list[str] | None, typer.Option(help="Plant this one only; may be given several times.")] = None,
    limit_s: Annotated[float, typer.Option(help="Seconds of one core within which each must be caught.")] = 60.0,
    jobs: Jobs = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print the hunts as JSON and nothing else.")] = False,
    write: Annotated[bool, typer.Option(help="Write the rows of docs/planted-bugs.md anew.")] = False,
) -> None:
    """Plant each bug of tests/mutants in a process of its own and run the fuzzer's seeds until one catches it.

    Exit code: 0 all were caught, 1 one was not, 2 could not tell, 130 interrupted.
    """
    from testbed.mutants import FOLDER, hunt_all, list_mutants, render_row, update_table
    from testbed.simulation.fuzz import resolve_jobs

    hunts: list[Hunt] = []
    with told():
        known = list_mutants(FOLDER)
        chosen = _choose(known, only or [])
        workers = resolve_jobs(jobs)
        if not 0 < limit_s <= LIMIT_S_MAX:
            raise SettingsError(
                f"--limit-s is {limit_s}", remedy=f"give a number of seconds up to {LIMIT_S_MAX}", field="limit_s"
            )
        for hunt in hunt_all(chosen, limit_s, workers):
            hunts.append(hunt)
            if not as_json:
                typer.echo(describe_hunt(hunt))
    hunts.sort(key=lambda hunt: hunt.name)
    if write:
        by_name = {mutant.name: mutant for mutant in known}
        rows = {hunt.name: render_row(by_name[hunt.name], hunt) for hunt in hunts}
        DOCUMENT.write_text(update_table(DOCUMENT.read_text("utf-8"), rows, by_name), "utf-8")
    survivors = [hunt.name for hunt in hunts if not hunt.is_caught]
    if as_json:
        facts = [
            {
                "mutant": hunt.name,
                "invariant": hunt.invariant,
                "seed": hunt.seed,
                "nodes": hunt.nodes,
                "seeds": hunt.seeds,
                "seconds": round(hunt.seconds, 3),
                "is_caught": hunt.is_caught,
            }
            for hunt in hunts
        ]
        typer.echo(json.dumps(facts))
    else:
        words = f", {', '.join(survivors)} not" if survivors else ""
        typer.echo(f"{len(hunts) - len(survivors)} of {len(hunts)} caught{words}")
    raise typer.Exit(int(bool(survivors)))


def describe_hunt(hunt: Hunt) -> str:
    """One line: what caught the bug, with how many seeds, in how many seconds."""
    effort = f"{hunt.seeds} seeds, {hunt.seconds:.1f} s"
    if not hunt.invariant:
        return f"✗ {hunt.name:<28} not caught: {effort}"
    if not hunt.is_in_time:
        return f"✗ {hunt.name:<28} caught by {hunt.invariant} too late: {effort}"
    if not hunt.is_caught:
        return f"✗ {hunt.name:<28} caught by {hunt.invariant}, which it was not expected to violate: {hunt.line}"
    return f"✓ {hunt.name:<28} {hunt.invariant:<16} {effort} (seed {hunt.seed}, {hunt.nodes} nodes)"


def _choose(known: list[Mutant], names: list[str]) -> list[Mutant]:
    unknown = sorted(set(names) - {mutant.name for mutant in known})
    if unknown:
        raise SettingsError(
            f"--only {unknown[0]}: there is no such mutant",
            remedy=f"use one of {', '.join(mutant.name for mutant in known)}",
            field="only",
        )
    return [mutant for mutant in known if not names or mutant.name in names]

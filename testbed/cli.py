"""The `testbed` command: run a scenario, or list what there is."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from tana.cli.options import show_example
from tana.types.errors import TanaError, Unavailable
from testbed import cli_simulation
from testbed.cli_mutants import mutants
from testbed.cli_telling import told
from testbed.cli_twins import twins
from testbed.verdict import Outcome

app = typer.Typer(
    help="Bring up a cluster, break it on purpose, and prove that it converged.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
SCENARIOS = Path("scenarios")


@app.command(epilog=show_example("testbed run scenarios/converge.toml --backend simulation --seed 7"))
def run(
    scenario: Annotated[Path, typer.Argument(help="The scenario's TOML file.")] = SCENARIOS / "converge.toml",
    *,
    backend: Annotated[
        str,
        typer.Option(help="docker, processes, simulation, or auto: docker where an engine answers, else processes."),
    ] = "auto",
    network: Annotated[
        str | None, typer.Option(metavar="tailnet|bridge", help="The network of the backend docker; default tailnet.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides keys, workload and, in simulation, everything.")] = 1,
    runs_dir: Annotated[Path, typer.Option(help="Where the run's folder is made.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print summary.json and nothing else.")] = False,
    keep: Annotated[bool, typer.Option(help="Keep the nodes' data folders, also when all is proven.")] = False,
) -> None:
    """Run a scenario. Exit code: 0 proven, 1 violated, 2 could not tell, 130 interrupted."""
    from testbed.backends.choice import AUTO, NO_IMAGE, choose_backend
    from testbed.runner.report import format_verdicts
    from testbed.runner.run import EXIT_INTERRUPTED, Options
    from testbed.runner.run import run as run_scenario

    try:
        chosen, chosen_network, words = choose_backend(backend, network)
        if words:
            typer.echo(words, err=True)
        options = Options(scenario, chosen, seed, runs_dir, keep_data=keep, is_silent=as_json, network=chosen_network)
        try:
            result = run_scenario(options)
        except Unavailable as error:
            if backend != AUTO or error.code != NO_IMAGE:
                raise
            typer.echo(f"backend: plain processes after all, as {error}", err=True)
            result = run_scenario(dataclasses.replace(options, backend="processes", network=""))
    except TanaError as error:
        typer.echo(f"could not tell: {error}", err=True)
        raise typer.Exit(Outcome.COULD_NOT_TELL.exit_code) from None
    except KeyboardInterrupt:
        typer.echo("interrupted before anything was started", err=True)
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        typer.echo(json.dumps(result.summary, ensure_ascii=False, default=list))
    else:
        lines = format_verdicts(result.verdicts, result.outcome, result.folder, result.summary["command"])
        typer.echo("\n".join(lines))
    raise typer.Exit(result.exit_code)


app.command(epilog=show_example("testbed twins --seeds 200"))(twins)
app.command(epilog=show_example("testbed mutants --only lock_forgotten"))(mutants)


@app.command(epilog=show_example("testbed replay runs/latest --height 7", "testbed replay 42"))
def replay(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="RUN_FOLDER|SEED|FILE", help="A run's folder, a seed of `fuzz`, or the file of a schedule."
        ),
    ],
    *,
    nodes: Annotated[int, typer.Option(help="Of a seed: the validators of its run.")] = 4,
    heights: Annotated[int, typer.Option(help="Of a seed: the blocks of its run.")] = 60,
    node: Annotated[str, typer.Option(help="Tell everything about this node.")] = "",
    height: Annotated[int, typer.Option(help="Tell everything about this height.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print verdicts and story as JSON and nothing else.")] = False,
) -> None:
    """Take every step of a run again, judge it, and tell its story. Exit code: 0, 1, 2 as for run.

    A run's folder is replayed from its journals; a seed, or a schedule that was written to a file, is simulated again.
    """
    from testbed.cli_replay import replay_folder
    from testbed.story import Zoom

    zoom = Zoom(node, height)
    with told():
        if Path(subject).is_dir():
            code = replay_folder(Path(subject), zoom, as_json=as_json)
        else:
            code = cli_simulation.replay_seed(subject, nodes, heights, zoom, as_json=as_json)
    raise typer.Exit(code)


@app.command(epilog=show_example("testbed down --images"))
def down(
    *,
    images: Annotated[bool, typer.Option(help="Remove the images too that runs of this checkout made.")] = False,
) -> None:
    """Remove the containers, networks and volumes that runs of this checkout left in Docker, and nothing else."""
    from testbed.backends.docker_engine import find_engine

    try:
        engine = find_engine()
    except TanaError as error:
        typer.echo(f"nothing to remove: {error.message}")
        return
    from testbed.backends.docker_image import remove_images
    from testbed.backends.docker_leftovers import remove_all
    from testbed.backends.docker_sdk import connect, explained

    try:
        with explained("the engine does not answer"):
            client = connect(engine.host)
        removed = remove_all(client) + (remove_images(client) if images else [])
    except TanaError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(Outcome.COULD_NOT_TELL.exit_code) from None
    typer.echo(f"removed from Docker: {len(removed)} ({', '.join(removed)})" if removed else "nothing to remove")


@app.command("list", epilog=show_example("testbed list"))
def list_parts(
    scenarios: Annotated[Path, typer.Option(help="The folder of the scenarios.")] = SCENARIOS,
) -> None:
    """List scenarios, backends, faults, checkers and invariants, each with what it says of itself."""
    from testbed.catalogue import describe_part
    from testbed.checkers import CHECKERS
    from testbed.faults import FAULTS
    from testbed.invariants import INVARIANTS
    from testbed.runner.setup import BACKENDS

    if not scenarios.is_dir():
        typer.echo(
            f"could not tell: {scenarios} is no folder: give the one of the scenarios with --scenarios", err=True
        )
        raise typer.Exit(Outcome.COULD_NOT_TELL.exit_code)
    _print_section("scenarios", [_describe_scenario(path) for path in sorted(scenarios.glob("*.toml"))])
    _print_section("backends", list(BACKENDS.items()))
    _print_section("faults", [(kind, describe_part(fault)) for kind, fault in sorted(FAULTS.items())])
    _print_section("checkers", [(checker.name, describe_part(checker)) for checker in CHECKERS])
    _print_section("invariants", [(f"{kind.number:>2} {kind.name}", describe_part(kind)) for kind in INVARIANTS])


app.command(epilog=show_example("testbed fuzz --seeds 1000 --nodes 4 --jobs auto"))(cli_simulation.fuzz)
app.command(epilog=show_example("testbed shrink 42"))(cli_simulation.shrink)


def _describe_scenario(path: Path) -> tuple[str, str]:
    from testbed.scenario import load_scenario

    try:
        return str(path), load_scenario(path).description
    except TanaError as error:
        return str(path), f"unusable: {error.message}"


def _print_section(title: str, rows: list[tuple[str, str]]) -> None:
    width = max((len(name) for name, _ in rows), default=0)
    typer.echo(title)
    for name, words in rows:
        typer.echo(f"  {name:<{width}}  {words}")


def main() -> None:
    """Entry point of the `testbed` command."""
    app()

"""`make bench-net`: the same cluster in containers on a plain bridge and on a tailnet, side by side.

Measured are the time from nothing to the first block of three approved validators with the images at hand, once as
`docker compose up` brings them up and once as the testbed does, and submit to final under a steady load. The networks
take turns, so that what else the machine does meets both.

Exit code: 0 where every limit is kept, 1 where one is not, 2 where it could not be measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx

from benchmarks.cluster import running_cluster
from benchmarks.load import WAIT_MS, Source, hold_rate
from tana.types.errors import TanaError, Unavailable
from testbed.backends.docker_engine import Compose, find_engine
from testbed.backends.docker_image import name_images, provide_images
from testbed.backends.docker_leftovers import Watchdog, remove_run
from testbed.backends.docker_model import ROOT, check_checkout
from testbed.backends.docker_sdk import connect
from testbed.compose import get_validator_names

BRIDGE, TAILNET = "bridge", "tailnet"
UP_LIMIT_MS = {BRIDGE: 8_000, TAILNET: 12_000}
RATIO_LIMIT = 2.0
"""Finality on the tailnet over that on the bridge."""
RATE = 100
COMPOSE_TIMEOUT_S = 60
EXIT_NOT_KEPT, EXIT_COULD_NOT_TELL = 1, 2
NODES = get_validator_names(3)


@dataclass
class Measured:
    """What one network came to, in ms; one value for each run."""

    compose_up: list[float] = field(default_factory=list)
    testbed_up: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, epilog="example: python -m benchmarks.net --runs 3")
    parser.add_argument("--runs", type=int, default=5, help="how often each figure is measured (default 5)")
    parser.add_argument("--seconds", type=int, default=10, help=f"how long {RATE} tx/s are held (default 10)")
    arguments = parser.parse_args()
    measured = {network: Measured() for network in (BRIDGE, TAILNET)}
    try:
        for number in range(arguments.runs):
            for network, found in measured.items():
                print(f"run {number + 1} of {arguments.runs}, {network}", file=sys.stderr, flush=True)
                found.compose_up.append(measure_compose_up_ms(network))
                measure_testbed(network, found, arguments.seconds)
    except TanaError as error:
        print(f"could not tell: {error}", file=sys.stderr)
        sys.exit(EXIT_COULD_NOT_TELL)
    lines, is_kept = judge(measured[BRIDGE], measured[TAILNET])
    print("\n".join(lines))
    sys.exit(0 if is_kept else EXIT_NOT_KEPT)


def measure_testbed(network: str, found: Measured, seconds: int) -> None:
    """The testbed's own way up, and then submit to final at `RATE`."""

    async def load(source: Source) -> list[float]:
        async with httpx.AsyncClient(timeout=WAIT_MS / 1000 + 5, trust_env=False) as http:
            await source.create_users(http)
            done = await hold_rate(source, http, RATE, seconds)
            if done.refused:
                raise Unavailable(f"{done.refused} transactions were not final in time or refused on the {network}")
            return sorted(done.latencies_ms)

    with running_cluster("net.toml", "docker", network) as bench:
        found.testbed_up.append(bench.up_ms)
        latencies_ms = asyncio.run(load(Source(bench)))
    found.p50.append(statistics.median(latencies_ms))
    found.p99.append(latencies_ms[int(len(latencies_ms) * 0.99)])


def measure_compose_up_ms(network: str) -> float:
    """From `docker compose up` on the committed files to the first block on every validator. Raises `TanaError`."""
    check_checkout()
    engine = find_engine()
    client = connect(engine.host)
    project = f"tana-bench-{secrets.token_hex(3)}"
    names = ["docker-compose.yml"] + (["docker-compose.bridge.yml"] if network == BRIDGE else [])
    compose = Compose(project, [ROOT / name for name in names], make_environment(), ROOT)
    model = json.loads(compose.run("config", "--format", "json", timeout_s=COMPOSE_TIMEOUT_S))
    with tempfile.TemporaryDirectory(prefix="tana-bench-") as folder:
        provide_images(client, compose, model, Path(folder), print)
    watchdog = Watchdog(project, engine.host)
    try:
        clock = time.perf_counter()
        replace(compose, pass_fds=[watchdog.descriptor]).run("up", "--detach", timeout_s=COMPOSE_TIMEOUT_S)
        urls = [find_health_url(compose, node) for node in NODES]
        wait_first_block(urls)
        return (time.perf_counter() - clock) * 1000
    finally:
        remove_run(client, project)
        watchdog.dismiss()


def make_environment() -> dict[str, str]:
    """That of a user who brings the cluster up: the engine chooses the ports, the images are those of the testbed."""
    ports = {f"{node.upper().replace('-', '_')}_{port}_PORT": "" for node in NODES for port in ("LEDGER", "STATUS")}
    return {**os.environ, **name_images(), "MESH_PORT": "", **ports}


def find_health_url(compose: Compose, node: str) -> str:
    return f"http://{compose.run('port', f'{node}-anchor', '9001', timeout_s=COMPOSE_TIMEOUT_S).strip()}/health"


def wait_first_block(urls: Sequence[str]) -> None:
    """Until every validator has a final block. Raises `Unavailable` where that takes too long."""
    waiting, deadline = list(urls), time.monotonic() + COMPOSE_TIMEOUT_S
    with httpx.Client(timeout=5, trust_env=False) as http:
        while waiting:
            if time.monotonic() > deadline:
                raise Unavailable(f"no first block at {waiting[0]} after {COMPOSE_TIMEOUT_S} s")
            if read_height(http, waiting[0]) >= 1:
                waiting.pop(0)
            else:
                time.sleep(0.02)


def read_height(http: httpx.Client, url: str) -> int:
    """The last final height at a health URL, 0 while nobody answers there."""
    try:
        answer = http.get(url)
    except httpx.TransportError:
        return 0
    return int(answer.json().get("currentHeight") or 0) if answer.is_success else 0


# ---------------------------------------------------------------------- the verdict


def judge(bridge: Measured, tailnet: Measured) -> tuple[list[str], bool]:
    """The table, a line for each limit that is not kept, and whether all are. Medians are judged."""
    lines = [f"{'ms: median (least to most)':44} {BRIDGE:>24} {TAILNET:>24} {'ratio':>6}"]
    broken = []
    for what, pick in FIGURES:
        values = {BRIDGE: pick(bridge), TAILNET: pick(tailnet)}
        medians = {network: statistics.median(values[network]) for network in (BRIDGE, TAILNET)}
        ratio = medians[TAILNET] / medians[BRIDGE]
        cells = [f"{format_values(values[network]):>24}" for network in (BRIDGE, TAILNET)]
        lines.append(f"{what:44} {' '.join(cells)} {ratio:6.2f}")
        if what.startswith("up"):
            broken += [
                f"limit not kept: {what} on the {network}: {medians[network]:.0f} ms > {UP_LIMIT_MS[network]} ms"
                for network in (BRIDGE, TAILNET)
                if medians[network] > UP_LIMIT_MS[network]
            ]
        elif ratio > RATIO_LIMIT:
            broken.append(f"limit not kept: {what}: {ratio:.2f} times the bridge's on the tailnet > {RATIO_LIMIT:.0f}")
    limits = " and ".join(f"{UP_LIMIT_MS[network]} ms on the {network}" for network in (BRIDGE, TAILNET))
    kept = f"all limits kept: up within {limits}, finality within {RATIO_LIMIT:.0f} times the bridge's"
    return [*lines, *(broken or [kept])], not broken


FIGURES: tuple[tuple[str, Callable[[Measured], list[float]]], ...] = (
    ("up to first block, docker compose up", lambda found: found.compose_up),
    ("up to first block, testbed", lambda found: found.testbed_up),
    (f"submit to final at {RATE} tx/s, p50", lambda found: found.p50),
    (f"submit to final at {RATE} tx/s, p99", lambda found: found.p99),
)


def format_values(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f} ({min(values):.0f} to {max(values):.0f})"


if __name__ == "__main__":
    main()

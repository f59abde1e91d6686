"""Kills validator processes with SIGKILL at random moments, under load, and shows that nothing is lost or signed twice.

`python -m tests.soak.kill --kills 200 --seed 1` runs four validators as processes, with a client that sends transfers
and counts those that are acknowledged as final. One validator after another is killed and started again at once;
a second may be hit before the first is back. Which, and after what time, comes from the seed.

What is looked at, after each kill and at the end:
- whoever was killed starts again, and at the end all reach a common height;
- no validator ever signed two messages for one (height, round, kind): everything in every sign-state, what a node
  signed itself and what it took from the others, read at each kill, before pruning can forget it;
- one block at each height on every validator, and every acknowledged transaction in it, exactly once;
- the journals that the validators keep, across every kill: taken again they give the same effects, and no invariant of
  the testbed is violated.

Exit codes: 0 proven, 1 violated, 2 could not tell (the time was up before the kills were done).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import structlog

from tana.cli.output import print_fields
from tana.client.keyfiles import get_node_key_path, read_key
from tana.ledger.ledger import Ledger
from tana.node.log import list_segment_files
from tana.node.segment import SegmentReader
from tana.node.store import ChainStore
from tana.types.block import Block
from tana.types.errors import StorageError
from tana.types.genesis import SignedGenesis
from tana.types.messages import Proposal, Vote
from testbed.child import CONTROL_VARIABLE
from testbed.journal import SUFFIX, collect_journals
from testbed.replay import Replay, Run
from testbed.verdict import Outcome
from tests.cli.helpers import find_port_offset
from tests.node.cluster import SOVEREIGN, Mesh, make_transfer, run_mesh, wait_until

ROOT = Path(__file__).parents[2]
_LEDGER_PORT, _STATUS_PORT = 8080, 9001
_PORTS = (_LEDGER_PORT, 8180, 9000, _STATUS_PORT)
_PORT_STEPS = (0, 40, 80, 120)
"""Four validators: one may be down and the chain goes on."""
BATCH = 20
AMOUNT = "0.01"
MAX_NONCE = 9_000
"""Alice has 100.00: a transfer more than this would be refused."""
STARTING_SHARE = 0.2
"""How many kills hit a validator that has only just been started, whatever it is doing."""
MAX_DELAY_S = 0.4
PATIENCE_S = 120
"""After this, what should come true counts as never coming true."""

Slot = tuple[bytes, int, int, int]


class Violation(Exception):
    """Two facts that must not be true together."""


class OutOfTime(Exception):
    """The time was up first."""


@dataclass
class Validator:
    """One validator process on ports and folders of its own."""

    node_id: str
    root: Path
    mesh_url: str
    port_offset: int
    process: asyncio.subprocess.Process | None = None
    lives: int = 0

    @property
    def data(self) -> Path:
        return self.root / self.node_id

    @property
    def log_path(self) -> Path:
        return self.root / f"{self.node_id}.log"

    async def start(self) -> None:
        environment = {
            **os.environ,
            "TANA_NODE_ID": self.node_id,
            "TANA_SOVEREIGN": SOVEREIGN.public_text,
            "MESH_URL": self.mesh_url,
            "TANA_DATA_DIR": str(self.data),
            "TANA_CONFIG_DIR": str(self.root / "config"),
            "TANA_EMPTY_BLOCK_INTERVAL_MS": "200",
            "TANA_PROPOSE_TIMEOUT_MS": "300",
            "TANA_PREVOTE_TIMEOUT_MS": "150",
            "TANA_PRECOMMIT_TIMEOUT_MS": "150",
            "TANA_PORT_OFFSET": str(self.port_offset),
            CONTROL_VARIABLE: str(self.root / "nodes" / self.node_id / "control.json"),
        }
        self.lives += 1
        with self.log_path.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "testbed.validator",
                env=environment,
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )

    async def kill(self) -> None:
        """Raises `Violation` where it had ended by itself."""
        self.check_alive()
        assert self.process is not None, "it was started"
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        if self.process is not None and self.process.returncode is None:
            self.process.terminate()
            await self.process.wait()

    def check_alive(self) -> None:
        if self.process is not None and self.process.returncode is not None:
            end = self.log_path.read_text()[-2000:]
            raise Violation(f"{self.node_id} ended by itself with {self.process.returncode}:\n{end}")

    @property
    def ledger_url(self) -> str:
        return f"http://127.0.0.1:{_LEDGER_PORT + self.port_offset}"

    @property
    def status_url(self) -> str:
        return f"http://127.0.0.1:{_STATUS_PORT + self.port_offset}"


@dataclass
class Evidence:
    """What every sign-state has ever shown: the first message of each slot, and where it was found."""

    messages: dict[Slot, tuple[Vote | Proposal, str]] = field(default_factory=dict)

    def read(self, validator: Validator) -> None:
        """Take in a dead validator's log. Raises `Violation` where a slot has two messages."""
        for path in list_segment_files(validator.data / "sign-state"):
            with contextlib.suppress(StorageError):
                # A log under construction may end anywhere; the validator itself judges it when it starts.
                for record in SegmentReader(path, is_last=True).read_records():
                    if isinstance(record.message, Vote | Proposal):
                        self.add(record.message, validator.node_id)

    def add(self, message: Vote | Proposal, source: str) -> None:
        slot = (message.validator, message.height, message.round, message.kind if isinstance(message, Vote) else 0)
        known, first_source = self.messages.setdefault(slot, (message, source))
        if known != message:
            raise Violation(
                f"{slot[0].hex()[:16]} signed twice at height {slot[1]} round {slot[2]} kind {slot[3]}: "
                f"{known} in the log of {first_source}, {message} in that of {source}"
            )


@dataclass
class Client:
    """Sends transfers, each until it is acknowledged, to whichever validator answers."""

    validators: list[Validator]
    chance: random.Random
    acknowledged: dict[str, int] = field(default_factory=dict)
    """Height by transaction id."""

    async def run(self) -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=5) as http:
            for first in range(0, MAX_NONCE, BATCH):
                bodies = [make_transfer(nonce, AMOUNT) for nonce in range(first, first + BATCH)]
                while not await self._send(http, bodies):
                    pass

    async def _send(self, http: httpx.AsyncClient, bodies: list[dict[str, Any]]) -> bool:
        """Whether all of a batch is final."""
        url = self.chance.choice(self.validators).ledger_url
        try:
            response = await http.post(f"{url}/transactions?wait=commit&timeout_ms=2000", json=bodies)
            rows = response.json()["results"] if response.status_code == 200 else []
        except (httpx.HTTPError, ValueError):
            rows = []
        for row in rows:
            if row["status"] == "committed":
                self.acknowledged.setdefault(row["id"], row.get("height", 0))
        if not rows:
            # Nobody listens there at the moment: let others run.
            await asyncio.sleep(0.02)
        return bool(rows) and all(row["status"] == "committed" for row in rows)


async def soak(root: Path, *, kills: int, seed: int, max_seconds: float) -> dict[str, object]:
    """Run it all. What was shown, as numbers. Raises `Violation` or `OutOfTime`."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory(), processors=[lambda *_: ""])
    deadline = time.monotonic() + max_seconds
    chance = random.Random(seed)
    evidence = Evidence()
    async with run_mesh() as mesh:
        offset = find_port_offset(tuple(port + step for port in _PORTS for step in _PORT_STEPS))
        validators = [
            Validator(f"validator-{number}", root, mesh.url, offset + step)
            for number, step in enumerate(_PORT_STEPS, start=1)
        ]
        try:
            signed = await _begin(mesh, validators)
            client = Client(validators, random.Random(seed + 1))
            load = asyncio.create_task(client.run())
            try:
                for number in range(1, kills + 1):
                    if time.monotonic() > deadline:
                        raise OutOfTime(f"{number - 1} of {kills} kills in {max_seconds:g} s")
                    victim = chance.choice(validators)
                    await _kill_once(victim, chance, evidence)
                    if load.done():
                        load.result()
                    done = f"{len(client.acknowledged)} transactions acknowledged (seed {seed})"
                    print(f"kill {number}/{kills}: {victim.node_id}; {done}", flush=True)
            finally:
                load.cancel()
                await asyncio.gather(load, return_exceptions=True)
            await _settle(validators)
        finally:
            await asyncio.gather(*(validator.stop() for validator in validators))
    for validator in validators:
        evidence.read(validator)
    height, found = _compare(validators, signed, client.acknowledged)
    steps = _replay(root, [validator.node_id for validator in validators])
    return {
        "kills": kills,
        "seed": seed,
        "lives": sum(validator.lives for validator in validators),
        "signed messages compared": len(evidence.messages),
        "acknowledged transactions": len(client.acknowledged),
        "transactions on the chain": found,
        "height": height,
        "steps replayed": steps,
    }


async def _begin(mesh: Mesh, validators: list[Validator]) -> SignedGenesis:
    for validator in validators:
        await validator.start()

    async def all_registered() -> bool:
        for validator in validators:
            validator.check_alive()
        return len(mesh.list_nodes()) == len(validators)

    await wait_until(all_registered, PATIENCE_S)
    for validator in validators:
        mesh.approve(validator.node_id)
    signed = mesh.publish_genesis()
    for validator in validators:
        await _wait_health(validator, lambda health: health["currentHeight"] >= 1)
    return signed


async def _kill_once(victim: Validator, chance: random.Random, evidence: Evidence) -> None:
    """Kill, read what the dead one left, and start it again."""
    if chance.random() >= STARTING_SHARE:
        await _wait_health(victim, lambda health: health["state"] in ("validating", "syncing"))
    # The fault itself: a moment that nothing in the validator chooses.
    await asyncio.sleep(chance.uniform(0, MAX_DELAY_S))
    await victim.kill()
    evidence.read(victim)
    await victim.start()


async def _wait_health(validator: Validator, is_met: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first `/health` of a validator that meets a condition. Raises `Violation` where it needs an operator."""
    async with httpx.AsyncClient(trust_env=False, timeout=5) as http:

        async def look() -> dict[str, Any] | None:
            validator.check_alive()
            try:
                health: dict[str, Any] = (await http.get(f"{validator.status_url}/health")).json()
            except httpx.HTTPError:
                return None
            if health["state"] in ("abstaining", "stopped"):
                raise Violation(f"{validator.node_id} is {health['state']}: {health.get('reason')}")
            return health if is_met(health) else None

        return await wait_until(look, PATIENCE_S)


async def _settle(validators: list[Validator]) -> None:
    """Everybody is back and has every block that anybody had when the load ended."""
    heights = [(await _wait_health(validator, lambda _: True))["currentHeight"] for validator in validators]
    for validator in validators:
        await _wait_health(validator, lambda health: health["currentHeight"] > max(heights) + 1)


def _compare(validators: list[Validator], signed: SignedGenesis, acknowledged: dict[str, int]) -> tuple[int, int]:
    """The common height and the number of transactions up to it. Raises `Violation`."""
    genesis_entries = list(Ledger.from_genesis(signed.genesis).tree.items())
    stores = [ChainStore.open(item.data / "chain.db", signed.chain_id, genesis_entries) for item in validators]
    height = min(store.height for store in stores)
    seen: dict[bytes, int] = {}
    for number in range(1, height + 1):
        blocks = [_read_block(store, number) for store in stores]
        if len({block.hash for block in blocks}) != 1:
            hashes = {item.node_id: block.hash.hex() for item, block in zip(validators, blocks, strict=True)}
            raise Violation(f"height {number} has several blocks: {hashes}")
        for raw in blocks[0].transactions:
            if raw.leaf in seen:
                raise Violation(f"a transaction is in block {seen[raw.leaf]} and again in block {number}")
            seen[raw.leaf] = number
    for transaction_id in acknowledged:
        for validator, store in zip(validators, stores, strict=True):
            if store.find_transaction(transaction_id) is None:
                raise Violation(f"{validator.node_id} lost the acknowledged transaction {transaction_id}")
    for store in stores:
        store.close()
    return height, len(seen)


def _replay(root: Path, node_ids: list[str]) -> int:
    """Take every step of every life again; how many those were. Raises `Violation`."""
    collect_journals(root / "nodes", node_ids, root / "journals")
    replay = Replay(
        Run(
            keys={name: read_key(get_node_key_path(name, root / "config"), node_id=name) for name in node_ids},
            traitors=frozenset(),
            start_ms=0,
            events=[],
            journals={name: (root / "journals" / f"{name}{SUFFIX}").read_bytes() for name in node_ids},
            is_virtual=False,
        )
    )
    replay.play()
    for verdict in replay.finish():
        if verdict.outcome is Outcome.VIOLATED or (
            verdict.check == "journals" and verdict.outcome is not Outcome.PROVEN
        ):
            raise Violation(str(verdict))
    return replay.steps


def _read_block(store: ChainStore, height: int) -> Block:
    stored = store.get_block(height)
    assert stored is not None, "heights up to the tip are all there"
    return Block.decode(stored.data)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-seconds", type=float, default=1800)
    wanted = parser.parse_args()
    command = f"python -m tests.soak.kill --kills {wanted.kills} --seed {wanted.seed}"
    if wanted.kills < 1 or wanted.max_seconds <= 0:
        parser.error("--kills and --max-seconds must be more than nothing")
    folder = Path(tempfile.mkdtemp(prefix="tana-soak-"))
    try:
        shown = asyncio.run(soak(folder, kills=wanted.kills, seed=wanted.seed, max_seconds=wanted.max_seconds))
    except Violation as error:
        print(f"violated: {error}\nlogs and data: {folder}\nagain: {command}")
        return 1
    except OutOfTime as error:
        print(f"could not tell: {error}\nlogs and data: {folder}")
        return 2
    shutil.rmtree(folder)
    print_fields(shown)
    print("proven")
    return 0


if __name__ == "__main__":
    sys.exit(main())

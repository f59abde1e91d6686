"""Changes of the validator set with `tana mesh` and `tana validator`, on validators that run."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tana.cli.main import app
from tana.cli.membership import Progress, compute_step
from tana.client.keyfiles import get_sovereign_key_path, write_key
from tana.types.errors import Conflict
from tests.node.cluster import SOVEREIGN, Cluster, Node, run_cluster, wait_until

Result = tuple[int, str]


@pytest.fixture(autouse=True)
def sovereign_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TANA_CONFIG_DIR", str(tmp_path / "keys"))
    monkeypatch.delenv("TANA_LEDGER_URL", raising=False)
    write_key(get_sovereign_key_path(), SOVEREIGN)


async def _tana(cluster: Cluster, *arguments: str) -> Result:
    """A command of the sovereign, beside the running nodes."""
    words = [*arguments, "--mesh-url", cluster.mesh.url]
    result = await asyncio.to_thread(CliRunner().invoke, app, words)
    return result.exit_code, result.output


async def _get_powers(cluster: Cluster, node: Node) -> dict[str, int]:
    answer: dict[str, Any] = await cluster.get(node, "ledger", "/validators")
    return {row["id"]: row["power"] for row in answer["upcoming"]}


def _read_json(said: str) -> Any:
    """The document behind the lines of progress."""
    return json.loads(said[said.index("{") :])


def test_node_joins_a_running_chain(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(3)
            first = cluster.nodes[0]
            await cluster.wait_height(first, 3)
            newcomer = await cluster.start_node("validator-4")
            await cluster.wait_registered("validator-4")
            code, said = await _tana(cluster, "mesh", "approve", "validator-4", "--json")
            assert code == 0, said
            outcome = _read_json(said)
            assert (outcome["status"], outcome["power"], len(outcome["transactions"])) == ("active", 1, 1)
            await cluster.wait_height(newcomer, outcome["fromHeight"])
            await cluster.wait_state(newcomer, "validating")

            async def has_voted() -> bool:
                latest = await cluster.get(first, "ledger", "/blocks/latest")
                key = (await cluster.get_health(newcomer))["publicKey"]
                return any(row["validator"] == key for row in latest["certificate"]["signatures"])

            await wait_until(has_voted)
            code, said = await _tana(cluster, "mesh", "approve", "validator-4")
            assert code == 0, said
            assert "votes with a power of 1 already" in said
            assert await _get_powers(cluster, first) == {f"validator-{number}": 1 for number in (1, 2, 3, 4)}

    asyncio.run(play())


def test_approval_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    """The node is approved and not there yet; later it is; in between the command ends at any moment."""

    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(3)
            first = cluster.nodes[0]
            await cluster.wait_height(first, 2)
            newcomer = await cluster.start_node("validator-4")
            await cluster.wait_registered("validator-4")
            await newcomer.stop()
            code, said = await _tana(cluster, "mesh", "approve", "validator-4", "--timeout-ms", "300")
            assert code == 3
            assert "has not caught up" in said
            assert "run the same command again" in said
            assert await _get_powers(cluster, first) == {f"validator-{number}": 1 for number in (1, 2, 3)}
            await newcomer.start()
            code, said = await _tana(cluster, "mesh", "approve", "validator-4")
            assert code == 0, said
            assert (await _get_powers(cluster, first))["validator-4"] == 1

    asyncio.run(play())


def test_invalid_approval_of_a_node_that_would_not_sign(tmp_path: Path) -> None:
    """A validator that abstains costs the chain its fault to spare: it gets no vote."""

    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(3)
            first = cluster.nodes[0]
            await cluster.wait_height(first, 1)
            newcomer = await cluster.start_node("validator-4")
            await cluster.wait_registered("validator-4")
            await newcomer.stop()
            shutil.rmtree(tmp_path / "validator-4" / "sign-state")
            await newcomer.start()
            code, said = await _tana(cluster, "mesh", "approve", "validator-4")
            assert code == 1
            assert "validator-4 would not vote: the sign-state" in said
            assert "tana validator recover" in said
            assert len(await _get_powers(cluster, first)) == 3

    asyncio.run(play())


def test_approval_without_a_vote(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(1)
            await cluster.wait_height(cluster.nodes[0], 1)
            follower = await cluster.start_node("follower")
            await cluster.wait_registered("follower")
            code, said = await _tana(cluster, "mesh", "approve", "follower", "--power", "0")
            assert code == 0, said
            await cluster.wait_state(follower, "following")
            assert await _get_powers(cluster, follower) == {"validator-1": 1}

    asyncio.run(play())


def test_denied_validator_leaves_and_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tana.node.discovery._PAUSE_S", 3600.0)

    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(4)
            first, last = cluster.nodes[0], cluster.nodes[3]
            for node in cluster.nodes:
                await cluster.wait_height(node, 2)
            code, said = await _tana(cluster, "mesh", "deny", "validator-4")
            assert code == 0, said
            assert "validator-4 has no vote from height" in said
            assert await _get_powers(cluster, first) == {f"validator-{number}": 1 for number in (1, 2, 3)}

            async def is_cut_off() -> bool:
                return all([(await cluster.get_health(node))["peers"] == 2 for node in cluster.nodes[:3]])

            await wait_until(is_cut_off)

            async def is_alone() -> bool:
                return bool((await cluster.get_health(last))["peers"] == 0)

            await wait_until(is_alone)
            reached = (await cluster.get_health(first))["currentHeight"]
            await cluster.wait_height(first, reached + 3)
            code, said = await _tana(cluster, "mesh", "deny", "validator-4")
            assert code == 0, said
            assert "validator-4 has no vote" in said

    asyncio.run(play())


def test_power_changes_in_steps(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(3)
            first = cluster.nodes[0]
            await cluster.wait_height(first, 2)
            code, said = await _tana(cluster, "validator", "set-power", "validator-2", "4", "--json")
            assert code == 0, said
            # 1 → 2 → 3 → 4: a third of 3, of 4, of 5.
            assert len(_read_json(said)["transactions"]) == 3
            assert (await _get_powers(cluster, first))["validator-2"] == 4
            code, said = await _tana(cluster, "validator", "list")
            assert code == 0, said
            assert "validator-2" in said
            code, said = await _tana(cluster, "validator", "set-power", "validator-2", "1")
            assert code == 0, said
            reached = (await cluster.get_health(first))["currentHeight"]
            await cluster.wait_height(first, reached + 3)

    asyncio.run(play())


def test_key_is_replaced(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(4)
            first, old = cluster.nodes[0], cluster.nodes[3]
            await cluster.wait_height(first, 2)
            new = await cluster.start_node("validator-4b")
            await cluster.wait_registered("validator-4b")
            code, said = await _tana(cluster, "validator", "replace-key", "validator-4", "validator-4b")
            assert code == 1
            assert "tana mesh approve validator-4b --power 0" in said
            code, said = await _tana(cluster, "mesh", "approve", "validator-4b", "--power", "0")
            assert code == 0, said
            for _ in range(2):
                code, said = await _tana(cluster, "validator", "replace-key", "validator-4", "validator-4b")
                assert code == 0, said
            await cluster.wait_state(new, "validating")
            await cluster.wait_state(old, "following")
            answer = await cluster.get(first, "ledger", "/validators")
            keys = {row["id"]: row["publicKey"] for row in answer["upcoming"]}
            assert keys["validator-4"] == (await cluster.get_health(new))["publicKey"]
            assert len(keys) == 4

    asyncio.run(play())


def test_invalid_requests_on_a_running_chain(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            code, said = await _tana(cluster, "validator", "list")
            assert (code, "no genesis" in said) == (1, True)
            await cluster.start_approved(1)
            (only,) = cluster.nodes
            await cluster.wait_height(only, 1)
            for arguments, word in (
                (("validator", "set-power", "validator-9", "1"), "is no validator"),
                (("validator", "set-power", "validator-1", "0"), "at most a third"),
                (("validator", "replace-key", "validator-1", "validator-9"), "validator-9"),
                (("mesh", "approve", "validator-9"), "validator-9"),
            ):
                code, said = await _tana(cluster, *arguments)
                assert code == 1, said
                assert word in said
            for wrong in (
                ("validator", "set-power", "validator-1", "-1"),
                ("validator", "set-power", "validator-1", "many"),
                ("mesh", "approve", "validator-1", "--power", "-1"),
            ):
                code, said = await _tana(cluster, *wrong)
                assert code == 2, said
            code, said = await _tana(cluster, "validator", "list", "--ledger-url", "http://127.0.0.1:1")
            assert code == 3, said
            await only.stop()
            code, said = await _tana(cluster, "validator", "list")
            assert code == 3
            assert "--ledger-url" in said

    asyncio.run(play())


def test_invalid_ledger_of_another_chain(tmp_path: Path) -> None:
    async def play() -> None:
        async with run_cluster(tmp_path / "one") as one, run_cluster(tmp_path / "two") as two:
            for cluster in (one, two):
                await cluster.start_approved(1, config_dir=str(cluster.root / "config"))
                await cluster.wait_height(cluster.nodes[0], 1)
            code, said = await _tana(one, "validator", "list", "--ledger-url", two.nodes[0].url("ledger"))
            assert code == 1
            assert "is on chain" in said

    asyncio.run(play())


def test_change_of_an_interrupted_run_is_not_sent_again(tmp_path: Path) -> None:
    """The chain stands still when the command is interrupted; its change waits, and the next run waits for it."""

    async def play() -> None:
        async with run_cluster(tmp_path) as cluster:
            await cluster.start_approved(3, height=2)
            first, second, third = cluster.nodes
            await third.stop()
            arguments = ("validator", "set-power", "validator-1", "2", "--timeout-ms", "300")
            for _ in range(2):
                code, said = await _tana(cluster, *arguments)
                assert code == 3, said
                assert "is not final after 300 ms" in said
            pending = await cluster.get(second, "ledger", "/transactions/pending")
            assert [row["type"] for row in pending["transactions"]] == ["validator_change"]
            await third.start()
            code, said = await _tana(cluster, "validator", "set-power", "validator-1", "2")
            assert code == 0, said
            sovereign = await cluster.get(first, "ledger", f"/balances/{SOVEREIGN.public_text}")
            assert sovereign["nonce"] == 1

    asyncio.run(play())


@pytest.mark.parametrize(
    ("current", "wanted", "total", "power"),
    [(0, 10, 30, 10), (0, 10, 10, 3), (3, 10, 13, 7), (10, 0, 30, 0), (10, 0, 20, 4), (4, 0, 14, 0), (5, 6, 15, 6)],
)
def test_step_is_at_most_a_third(current: int, wanted: int, total: int, power: int) -> None:
    assert compute_step(current, wanted, total) == power
    assert 3 * abs(power - current) <= total


def test_invalid_step_where_a_third_is_less_than_one() -> None:
    with pytest.raises(Conflict, match="at most a third") as caught:
        compute_step(0, 1, 2)
    assert "--power" in caught.value.remedy


def test_progress_is_bounded(capsys: pytest.CaptureFixture[str]) -> None:
    clock = iter([0.0, 0.1, 0.5, 1.0, 1.2, 2.5, 2.6])
    now = [0.0]

    def read() -> float:
        return now[0]

    progress = Progress(read)
    for number, at in enumerate(clock):
        now[0] = at
        progress.say(f"height {number}")
    assert capsys.readouterr().err.split("\n") == ["height 0", "height 3", "height 5", ""]

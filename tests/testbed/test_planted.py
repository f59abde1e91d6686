"""What must be found is planted into the simulated cluster: each turns the run red, the first line names the cause."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from tana.ledger import ledger as ledger_module
from tana.ledger.ledger import Ledger
from tana.ledger.rules import Context, apply_transaction
from tana.ledger.state import State
from tana.node.effects import Broadcast, Commit, Effect, Send
from tana.node.hooks import Hooks
from tana.node.inputs import Input
from tana.types.transaction import Transaction
from tana.types.validator_set import ValidatorSet
from testbed.backends import simulation
from testbed.hooks import ControlledHooks
from testbed.runner.run import Options, Result, run
from testbed.simulation.disk import Disk
from tests.testbed.forging import CONVERGE


def run_converge(folder: Path) -> Result:
    return run(Options(CONVERGE, "simulation", runs_dir=folder, is_silent=True))


def assert_first_line(result: Result, *words: str) -> None:
    assert result.exit_code == 1, result.verdicts[0]
    first_line = result.summary["first_line"]
    for word in words:
        assert word in first_line, first_line


def plant(monkeypatch: pytest.MonkeyPatch, node: str, hooks: type[ControlledHooks]) -> None:
    def make_hooks(name: str, disk: Disk) -> Hooks:
        kind = hooks if name == node else ControlledHooks
        return kind(lambda: disk.control)

    monkeypatch.setattr(simulation, "make_hooks", make_hooks)


def test_quorum_one_too_low(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ValidatorSet, "is_quorum", lambda self, power: 3 * power >= 2 * self.total_power)
    monkeypatch.setattr(ValidatorSet, "quorum_power", property(lambda self: -(-2 * self.total_power // 3)))
    assert_first_line(run_converge(tmp_path), "VIOLATED certificates: validator-", "power 2 of 3", "needs 3")


def test_quorum_one_too_low_and_certificates_padded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no certificate gives it away, the chain that goes on without its third validator does."""
    monkeypatch.setattr(ValidatorSet, "is_quorum", lambda self, power: 3 * power >= 2 * self.total_power)
    monkeypatch.setattr(ValidatorSet, "quorum_power", property(lambda self: -(-2 * self.total_power // 3)))
    from testbed.checkers import Certificates

    monkeypatch.setattr(Certificates, "on_block", lambda self, event: None)
    line = ("VIOLATED no_progress_without_quorum: validator-", "power 2 of 3", "validator-3 was gone")
    assert_first_line(run_converge(tmp_path), *line)


class WrongStateRoot(ControlledHooks):
    """Computes another state after every block."""

    def wrap_ledger(self, ledger: Ledger) -> Ledger:
        finish: Any = ledger._finish

        def finish_wrongly(state: State) -> Any:
            changes, undo, tree = finish(state)
            return changes, undo, tree.updated({b"planted": b"1"})

        ledger._finish = finish_wrongly  # type: ignore[method-assign]
        return ledger


def test_state_root_wrong_on_one_validator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "validator-2", WrongStateRoot)
    line = ("VIOLATED state_root: ", "validator-2", " at height 1: ", "… ≠ ", "votes nil")
    assert_first_line(run_converge(tmp_path), *line)


def test_transaction_executed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def apply_twice(state: State, transaction: Transaction, context: Context) -> None:
        apply_transaction(state, transaction, context)
        if transaction.type == "transfer":
            sender = state.get_account(transaction.sender)
            assert sender is not None
            state.set_account(transaction.sender, replace(sender, nonce=transaction.nonce))
            apply_transaction(state, transaction, context)

    monkeypatch.setattr(ledger_module, "apply_transaction", apply_twice)
    line = ("VIOLATED money: validator-1 at height ", "USD ≠ ", "transactions add up to")
    assert_first_line(run_converge(tmp_path), *line)


def test_deposit_executed_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def apply_twice(state: State, transaction: Transaction, context: Context) -> None:
        apply_transaction(state, transaction, context)
        if transaction.type == "deposit":
            sovereign = state.get_account(transaction.sender)
            assert sovereign is not None
            state.set_account(transaction.sender, replace(sovereign, nonce=transaction.nonce))
            apply_transaction(state, transaction, context)

    monkeypatch.setattr(ledger_module, "apply_transaction", apply_twice)
    line = ("VIOLATED money: validator-", "supply 2400000 USD ≠ 1200000")
    assert_first_line(run_converge(tmp_path), *line)


class NoHeartbeat(ControlledHooks):
    """Never sends a heartbeat."""

    def may_send_heartbeat(self) -> bool:
        return False


def test_heartbeat_never_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "validator-2", NoHeartbeat)
    line = ("VIOLATED heartbeats: validator-2 has sent no heartbeat since approval", "mesh says")
    assert_first_line(run_converge(tmp_path), *line)


class Deaf(ControlledHooks):
    """Obeys nobody: the harness cannot stop its heartbeat."""

    def may_send_heartbeat(self) -> bool:
        return True


def test_fault_not_applied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "validator-2", Deaf)
    line = ("VIOLATED faults: heartbeat_stopped on validator-2 was not applied", "still active")
    assert_first_line(run_converge(tmp_path), *line)


class Silent(ControlledHooks):
    """Says nothing to its peers."""

    def on_step(self, input: Input, now_ms: int, effects: list[Effect]) -> list[Effect]:
        return [effect for effect in effects if not isinstance(effect, Broadcast | Send)]


def test_standstill_names_who_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "validator-3", Silent)
    line = (
        "VIOLATED progress: validator-1 waits at height 1",
        "power 2 of the 3 needed",
        "votes of validator-3 are missing",
    )
    assert_first_line(run_converge(tmp_path), *line)


class Crashes(ControlledHooks):
    """Has a bug that ends the node at its third block."""

    def on_step(self, input: Input, now_ms: int, effects: list[Effect]) -> list[Effect]:
        for effect in effects:
            assert not isinstance(effect, Commit) or effect.block.height < 3, "a bug"
        return effects


def test_crash_names_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "validator-1", Crashes)
    line = ("VIOLATED alive: validator-1 at height ", "nobody ended it and it crashed: AssertionError: a bug")
    assert_first_line(run_converge(tmp_path), *line)


def test_history_and_report_of_a_failed_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "validator-2", NoHeartbeat)
    result = run_converge(tmp_path)
    names: Sequence[str] = sorted(path.name for path in result.folder.iterdir())
    assert names == ["history.jsonl", "journals", "junit.xml", "logs", "summary.json"]
    assert result.summary["recent_events"], "the events around the violation"
    assert 'failures="1"' in (result.folder / "junit.xml").read_text("utf-8")

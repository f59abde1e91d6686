"""Changes of the validator set, from the sovereign's machine: one transaction of the sovereign after another until the
set is as wanted.

Every step looks at the chain first and does only what is missing. So a command may be interrupted at any moment and
run again: it goes on where it stopped and does nothing twice.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tana.cli.locating import APPROVED, ASK_TIMEOUT_MS, find_ledger_url, get_ledger_url
from tana.cli.output import print_json
from tana.cli.submit import SubmitOptions, complete, require_final, sign
from tana.client.http import HttpClient
from tana.client.mesh import MeshClient
from tana.client.validator import ValidatorClient
from tana.crypto.keys import KeyPair, format_signature
from tana.types.errors import Conflict, NotFound, TanaError, Unavailable
from tana.types.transaction import Transaction

CHANGE_TYPE = "validator_change"
LONGEST_WAIT_MS = 60_000
"""One request waits no longer; then the transaction is asked for."""
POLL_MS = 200
SAY_EVERY_MS = 1_000
EXPIRES_IN = 1_000
"""Heights: a change that nobody takes must not surprise anybody days later."""
_WORKING = ("following", "validating")


@dataclass(frozen=True)
class Wanted:
    """What a node's key is to be on the chain. `replaces` is the printed key whose place it takes."""

    node_id: str
    public_key: str
    power: int
    replaces: str | None = None


@dataclass(frozen=True)
class Outcome:
    """What is true now: `from_height` is the height from which on the power counts, None where it did already."""

    node_id: str
    public_key: str
    power: int
    from_height: int | None
    transaction_ids: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "nodeId": self.node_id,
            "publicKey": self.public_key,
            "power": self.power,
            "fromHeight": self.from_height,
            "transactions": list(self.transaction_ids),
        }


class Chain:
    """A running chain as the sovereign changes it: through one validator's ledger, `client`."""

    def __init__(self, client: ValidatorClient, sovereign: KeyPair, timeout_ms: int) -> None:
        self._client = client
        self._sovereign = sovereign
        self._timeout_ms = timeout_ms

    def list_upcoming(self) -> dict[str, dict[str, Any]]:
        """The members after every final change, by public key."""
        return {row["publicKey"]: row for row in self._client.list_validators()["upcoming"]}

    def find_member(self, node_id: str) -> dict[str, Any]:
        """The member of this id. Raises `NotFound`."""
        for row in self.list_upcoming().values():
            if row["id"] == node_id:
                return row
        raise NotFound(
            f"{node_id} is no validator of the chain",
            remedy="see who is with `tana validator list`; a new one is let in with `tana mesh approve`",
            code="unknown_validator",
        )

    def reach(self, wanted: Wanted) -> Outcome:
        """Submit what is missing and wait until it is final. Raises the error of a refusal, `Unavailable` where a
        change is not final in time."""
        transaction_ids: list[str] = []
        from_height = None
        while True:
            members = self.list_upcoming()
            current = members[wanted.public_key]["power"] if wanted.public_key in members else 0
            if current == wanted.power:
                return Outcome(wanted.node_id, wanted.public_key, current, from_height, tuple(transaction_ids))
            total = sum(row["power"] for row in members.values())
            power = compute_step(current, wanted.power, total)
            if wanted.replaces is not None and current == 0:
                power = wanted.power
            answer = self._change(wanted, power, replaces=wanted.replaces if current == 0 else None)
            if answer is not None:
                transaction_ids.append(answer["id"])
                from_height = int(answer["height"]) + 2
                say(f"{wanted.node_id} has a power of {power} from height {from_height} on")

    def _change(self, wanted: Wanted, power: int, replaces: str | None) -> dict[str, Any] | None:
        """One change, final; None where it has become true without us."""
        content = {"nodeId": wanted.node_id, "power": power} | ({"replaces": replaces} if replaces else {})
        pending = self._find_pending(wanted.public_key)
        if pending is not None:
            return self._wait_pending(pending)
        draft = Transaction(
            CHANGE_TYPE, self._sovereign.public_text, wanted.public_key, 0, 0, None, None, contract_input=content
        )
        options = SubmitOptions(None, EXPIRES_IN, True, self._timeout_ms, False)
        signed = sign(self._sovereign, complete(self._client, draft, options))
        body = {**signed.transaction.to_json(), "signature": format_signature(signed.signature)}
        try:
            answer = self._client.submit(body, wait=True, timeout_ms=min(self._timeout_ms, LONGEST_WAIT_MS))
        except TanaError as error:
            # Somebody else's change, or one of an earlier run, was faster.
            if error.code == "no_change":
                return None
            raise
        return answer if answer["status"] == "committed" else self._wait_pending(signed.id)

    def _find_pending(self, public_key: str) -> str | None:
        """A change of this key that waits already, sent by an earlier run."""
        for row in self._client.list_pending():
            if row["type"] == CHANGE_TYPE and row["to"] == public_key and row["from"] == self._sovereign.public_text:
                return str(row["id"])
        return None

    def _wait_pending(self, transaction_id: str) -> dict[str, Any] | None:
        deadline = time.monotonic() + self._timeout_ms / 1000
        while time.monotonic() < deadline:
            found = self._client.find_transaction(transaction_id)
            if found is None:
                return None
            if found["status"] == "committed":
                return found
            time.sleep(POLL_MS / 1000)
        require_final({"id": transaction_id, "status": "pending"}, self._timeout_ms)
        return None


def compute_step(current: int, wanted: int, total: int) -> int:
    """The power to go to in one block: a third of the total at most may be gained or lost. Raises `Conflict` where a
    third of the total is less than one."""
    most = total // 3
    if most == 0:
        raise Conflict(
            f"the validators have a power of {total} together, and a block changes at most a third of it: this chain "
            "can change nobody's power",
            remedy="give validators more power where a chain begins: tana genesis create --power NODE=10",
            code="too_little_power",
        )
    return min(wanted, current + most) if wanted > current else max(wanted, current - most)


def open_chain(mesh_url: str, ledger_url: str | None) -> ValidatorClient | None:
    """A client of a validator on the mesh's chain; None before there is a genesis. Raises `Unavailable`, `Conflict`."""
    with MeshClient(mesh_url) as mesh:
        signed = mesh.get_genesis()
        if signed is None:
            return None
        chain_id = signed.chain_id.hex()
        url = ledger_url or find_ledger_url(mesh, chain_id)
    client = ValidatorClient(url)
    try:
        found = client.get_health().get("chainId")
        if found != chain_id:
            raise Conflict(
                f"the validator at {url} is on chain {found}, and the mesh's chain is {chain_id}",
                remedy="correct --ledger-url or --mesh-url",
                code="other_chain",
            )
    except TanaError:
        client.close()
        raise
    return client


def read_new_key(mesh_url: str, node_id: str) -> str:
    """The printed key of an approved node. Raises `NotFound`, `Conflict` where it is not approved."""
    with MeshClient(mesh_url) as mesh:
        node = mesh.get_node(node_id)
    if node.status not in APPROVED:
        raise Conflict(
            f"{node_id} is {node.status} at the mesh",
            remedy=f"let it in first: tana mesh approve {node_id} --power 0",
            code="not_approved",
        )
    return node.public_key.lower()


def wait_caught_up(mesh_url: str, node_id: str, client: ValidatorClient, timeout_ms: int) -> None:
    """Wait until a node has every block that is final now, and say how far it is. Raises `Unavailable` where that takes
    too long, `Conflict` where it would not vote.

    The node itself is asked; where it cannot be reached from here, its heartbeats tell.
    """
    target = int(client.get_health()["currentHeight"])
    deadline = time.monotonic() + timeout_ms / 1000
    progress = Progress()
    with MeshClient(mesh_url) as mesh:
        while True:
            health = _ask_node(mesh, node_id)
            state, height = health.get("state", "silent"), int(health.get("height") or 0)
            if state in _WORKING and health.get("reason"):
                raise Conflict(
                    f"{node_id} would not vote: {health['reason']}",
                    remedy="mend that first; then run the same command again",
                    code="cannot_sign",
                )
            if state in _WORKING and height >= target:
                return
            progress.say(f"{node_id} is {state} {height}/{target}")
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{node_id} has not caught up after {timeout_ms // 1000} s: it is {state} {height}/{target}",
                    remedy="see its log and /health; then run the same command again, it goes on from here",
                    code="not_caught_up",
                )
            time.sleep(POLL_MS / 1000)


def _ask_node(mesh: MeshClient, node_id: str) -> dict[str, Any]:
    """`state`, `height` and perhaps `reason` of a node, as far as it or its last heartbeat says."""
    node = mesh.get_node(node_id)
    url = get_ledger_url(node)
    if url is not None:
        try:
            with HttpClient(url, service="validator", timeout_ms=ASK_TIMEOUT_MS) as client:
                health = client.get("/health")
            if health.get("publicKey") == node.public_key.lower():
                names = {"state": "state", "height": "currentHeight", "reason": "reason"}
                return {name: health.get(field) for name, field in names.items()}
        except TanaError:
            pass
    return node.consensus or {}


class Progress:
    """Lines on stderr, one a second at most, and none twice in a row."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._said = ""
        self._said_at = -float("inf")

    def say(self, words: str) -> None:
        if words != self._said and self._now() - self._said_at >= SAY_EVERY_MS / 1000:
            say(words)
            self._said, self._said_at = words, self._now()


def say(words: str) -> None:
    """A line for people, beside what a script reads."""
    print(words, file=sys.stderr, flush=True)


def print_change(outcome: Outcome, as_json: bool) -> None:
    """What is true now."""
    if as_json:
        print_json(outcome.to_json())
    elif outcome.power == 0:
        since = f" from height {outcome.from_height} on" if outcome.from_height else ""
        print(f"{outcome.node_id} has no vote{since}")
    elif outcome.from_height is None:
        print(f"{outcome.node_id} votes with a power of {outcome.power} already")
    else:
        print(f"{outcome.node_id} votes with a power of {outcome.power} from height {outcome.from_height} on")

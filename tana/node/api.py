"""The HTTP surface of a validator, without HTTP: the ledger's and the status port's calls as pure handlers.

`NodeApi.handle` takes method, path, query and the parsed JSON body, and returns a status and a JSON value. The real
node serves it over Starlette, the simulation calls it directly. `wait=commit` is done by whoever serves it, on top.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tana import __version__
from tana.crypto.keys import format_public_key, parse_public_key
from tana.node.blocks import BlockSource, StoredBlock
from tana.node.machine import Machine
from tana.node.submission import Answer, Submission, Submit, refuse_other_type, to_answer
from tana.node.views import (
    find_target_height,
    show_balances,
    show_block,
    show_consensus,
    show_highest_seen,
    show_transaction,
    show_validators,
)
from tana.types.block import RawTransaction
from tana.types.errors import InvalidInput, NotFound, TanaError, Unavailable
from tana.types.messages import PRECOMMIT

MAX_BLOCKS = 100
MAX_BLOCKS_BYTES = 4 * 1024 * 1024
"""A listing of blocks ends before it grows over this."""
MAX_PENDING = 1000

Query = Mapping[str, str]


@dataclass
class NodeInfo:
    """What a node says of itself before (and beside) its machine: `state` is one of those of `/health`."""

    node_id: str
    public_key: bytes
    state: str = "pending"
    reason: str = ""
    is_denied: bool = False
    """Whether the mesh denied this node since it joined: its peers cut it off."""
    recovered: dict[str, Any] | None = None
    """The last recovery of this node's sign-state, where there was one."""
    node_ids: dict[bytes, str] = field(default_factory=dict)
    """Names of nodes by key, as far as they are known."""


@dataclass(frozen=True)
class _Running:
    machine: Machine
    blocks: BlockSource
    submission: Submission
    get_addresses: Callable[[], Mapping[bytes, str]]


class NodeApi:
    """All calls. Before `start`, only `/health` and `/peers` know an answer."""

    def __init__(
        self,
        info: NodeInfo,
        machine: Machine | None = None,
        blocks: BlockSource | None = None,
        submit: Submit | None = None,
    ) -> None:
        self.info = info
        self._running: _Running | None = None
        if machine is not None and blocks is not None and submit is not None:
            self.start(machine, blocks, submit)

    def start(
        self,
        machine: Machine,
        blocks: BlockSource,
        submit: Submit,
        get_addresses: Callable[[], Mapping[bytes, str]] = dict,
    ) -> None:
        """From now on the machine answers. `submit` gives transactions to it as one input, `get_addresses` says where
        the other end of each link is."""
        is_committed = _make_committed_check(blocks)
        self._running = _Running(machine, blocks, Submission(submit, is_committed), get_addresses)

    def handle(self, method: str, path: str, query: Query | None = None, body: Any = None) -> Answer:
        """The status and JSON value of one request. Never raises for what a client did."""
        try:
            return self._route(method, [part for part in path.split("/") if part], query or {}, body)
        except TanaError as error:
            return to_answer(error)

    def _route(self, method: str, parts: list[str], query: Query, body: Any) -> Answer:
        match method, parts:
            case "GET", ["health"]:
                return 200, self._get_health()
            case "GET", ["peers"]:
                return 200, self._get_peers()
            case "GET", ["quorum", block_hash]:
                return 200, self._get_quorum(block_hash)
            case "POST", ["transactions"]:
                return self._post_transactions(body)
            case "POST", ["users"]:
                refuse_other_type(body, "user_creation")
                return self._get_running().submission.submit_one(body)
            case "GET", ["transactions", "pending"]:
                return 200, self._get_pending(query)
            case "GET", ["transactions", transaction_id]:
                return 200, self._get_transaction(transaction_id)
            case "GET", ["blocks"]:
                return 200, self._get_blocks(query)
            case "GET", ["blocks", height]:
                return 200, self._get_block(height)
            case "GET", ["balances", account_id]:
                return 200, self._get_balances(account_id)
            case "GET", ["users"]:
                return 200, self._get_users()
            case "GET", ["validators"]:
                return 200, show_validators(self._get_running().machine.ledger)
            case "GET", ["state", "supply"]:
                return 200, self._get_supply()
        raise NotFound(f"there is no {method} /{'/'.join(parts)}", remedy="see docs/api.md for every call")

    def _get_running(self) -> _Running:
        if self._running is None:
            raise Unavailable(
                f"the node is {self.info.state} and has no chain yet", remedy="ask again once it validates or follows"
            )
        return self._running

    # ------------------------------------------------------------------ status

    def _get_health(self) -> dict[str, Any]:
        info = self.info
        health: dict[str, Any] = {
            "status": "ok",
            "service": "validator",
            "version": __version__,
            "validatorId": info.node_id,
            "publicKey": format_public_key(info.public_key),
            "state": info.state,
            "reason": info.reason,
            "peers": 0,
            "currentHeight": 0,
        }
        if self._running is not None:
            machine = self._running.machine
            status = machine.status()
            health |= {
                "state": status.state,
                "reason": status.reason,
                "peers": len(status.peers),
                "currentHeight": status.height,
                "blockHash": status.block_hash.hex(),
                "stateRoot": status.state_root.hex(),
                "blockTime": status.time_ms,
                "chainId": machine.ledger.chain_id.hex(),
                "round": status.round,
                "step": status.step,
                "pending": len(machine.mempool),
                "consensus": show_consensus(status) | show_highest_seen(*machine.get_highest_seen()),
            }
            if status.state == "syncing":
                target = find_target_height(status, machine.ledger.validators)
                health["syncing"] = {"height": status.height, "target": target}
            if info.is_denied and not status.reason:
                health["reason"] = "the sovereign denied this node, for good: its peers have cut it off"
        if info.recovered is not None:
            health["recovered"] = info.recovered
        if not health["reason"]:
            del health["reason"]
        return health

    def _get_peers(self) -> dict[str, Any]:
        if self._running is None:
            return {"peers": []}
        machine = self._running.machine
        status = machine.status()
        heights, addresses = dict(status.peer_heights), self._running.get_addresses()
        validators = {item.public_key: item for item in machine.ledger.validators.validators}
        rows = []
        for key in status.peers:
            validator = validators.get(key)
            rows.append(
                {
                    "id": validator.node_id if validator else self.info.node_ids.get(key),
                    "publicKey": format_public_key(key),
                    "address": addresses.get(key),
                    "height": heights.get(key, 0),
                    "power": validator.power if validator else 0,
                }
            )
        return {"peers": rows}

    def _get_quorum(self, text: str) -> dict[str, Any]:
        """Who precommitted a block: by its certificate where it is final, else by the votes held now."""
        running = self._get_running()
        block_hash = _parse_hash(text)
        validators = running.machine.ledger.validators
        height = running.blocks.find_block(block_hash)
        if height is not None:
            stored = running.blocks.get_block(height)
            assert stored is not None, "a final block is there"
            voters = [item.validator for item in stored.certificate.signatures]
        else:
            core = running.machine.core
            tally = core.votes.get(core.round, PRECOMMIT)
            voters = [vote.validator for vote in tally.select(block_hash)]
        names = {item.public_key: item.node_id for item in validators.validators}
        power = sum(validators.get_power(key) for key in voters)
        return {
            "blockHash": text.lower(),
            "height": height,
            "committed": height is not None,
            "hasQuorum": height is not None or validators.is_quorum(power),
            "power": power,
            "quorumPower": validators.quorum_power,
            "totalPower": validators.total_power,
            "voters": [{"id": names.get(key), "publicKey": format_public_key(key)} for key in voters],
        }

    # ------------------------------------------------------------------ ledger

    def _post_transactions(self, body: Any) -> Answer:
        submission = self._get_running().submission
        return submission.submit_many(body) if isinstance(body, list) else submission.submit_one(body)

    def _get_pending(self, query: Query) -> dict[str, Any]:
        limit = _parse_count(query, "limit", default=MAX_PENDING, highest=MAX_PENDING)
        mempool = self._get_running().machine.mempool
        rows = [show_transaction(RawTransaction(stx.text, stx.signature)) for stx in mempool.list_pending(limit)]
        return {"transactions": rows, "count": len(mempool)}

    def _get_transaction(self, transaction_id: str) -> dict[str, Any]:
        running = self._get_running()
        pending = running.machine.mempool.get(transaction_id)
        if pending is not None:
            shown = show_transaction(RawTransaction(pending.text, pending.signature))
            return {"id": transaction_id, "status": "pending", "transaction": shown}
        height = running.blocks.find_transaction(transaction_id)
        if height is None:
            raise NotFound(
                f"transaction {transaction_id} is neither pending nor committed here",
                remedy="if its nonce is still free and it has not expired, send it again",
                code="unknown_transaction",
            )
        block = show_block(_read_block(running.blocks, height))
        shown = next(row for row in block["transactions"] if row["id"] == transaction_id)
        return {
            "id": transaction_id,
            "status": "committed",
            "height": height,
            "blockHash": block["hash"],
            "transaction": shown,
        }

    def _get_blocks(self, query: Query) -> dict[str, Any]:
        """Blocks from a height on, ascending; without `from`, the latest. `next` is where to go on."""
        blocks = self._get_running().blocks
        limit = _parse_count(query, "limit", default=20, highest=MAX_BLOCKS)
        first = _parse_count(query, "from", default=max(blocks.height - limit + 1, 1), highest=2**62)
        rows: list[dict[str, Any]] = []
        size_bytes, height = 0, first
        while height <= blocks.height and len(rows) < limit:
            stored = _read_block(blocks, height)
            size_bytes += len(stored.data)
            if rows and size_bytes > MAX_BLOCKS_BYTES:
                break
            rows.append(show_block(stored))
            height += 1
        return {"blocks": rows, "height": blocks.height, "next": height if height <= blocks.height else None}

    def _get_block(self, text: str) -> dict[str, Any]:
        blocks = self._get_running().blocks
        height = blocks.height if text == "latest" else _parse_number(text, "height")
        if not 1 <= height <= blocks.height:
            raise NotFound(f"there is no block {text}: the chain's height is {blocks.height}", code="unknown_block")
        return show_block(_read_block(blocks, height))

    def _get_balances(self, account_id: str) -> dict[str, Any]:
        ledger = self._get_running().machine.ledger
        account_id = format_public_key(parse_public_key(account_id, "account"))
        account = ledger.get_account(account_id)
        if account is None:
            raise NotFound(f"account {account_id} does not exist", code="unknown_account", field="account")
        return {"height": ledger.height, **show_balances(account_id, account, ledger.genesis)}

    def _get_users(self) -> dict[str, Any]:
        ledger = self._get_running().machine.ledger
        rows = [
            {
                "id": user.account_id,
                "publicKey": user.account_id,
                "username": user.username,
                "role": user.role,
                "displayName": user.display_name,
                "bio": user.bio,
            }
            for user in ledger.list_users()
        ]
        return {"height": ledger.height, "users": rows}

    def _get_supply(self) -> dict[str, Any]:
        """The sum of all balances in smallest units, as strings: they may not fit a JSON number."""
        ledger = self._get_running().machine.ledger
        return {
            "height": ledger.height,
            "stateRoot": ledger.state_root.hex(),
            "supply": {code: str(units) for code, units in ledger.get_supply().items()},
        }


def _make_committed_check(blocks: BlockSource) -> Callable[[str], bool]:
    return lambda transaction_id: blocks.find_transaction(transaction_id) is not None


def _read_block(blocks: BlockSource, height: int) -> StoredBlock:
    stored = blocks.get_block(height)
    assert stored is not None, "heights up to the tip are all there"
    return stored


def _parse_hash(text: str) -> bytes:
    try:
        block_hash = bytes.fromhex(text)
    except ValueError:
        block_hash = b""
    if len(block_hash) != 32:
        raise InvalidInput("the block hash must be 64 hexadecimal characters", field="blockHash")
    return block_hash


def _parse_count(query: Query, name: str, *, default: int, highest: int) -> int:
    if name not in query:
        return default
    number = _parse_number(query[name], name)
    if not 1 <= number <= highest:
        raise InvalidInput(f"{name} must be from 1 to {highest}", field=name)
    return number


def _parse_number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise InvalidInput(f"{name} must be a whole number", field=name)
    return int(text)

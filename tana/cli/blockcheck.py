"""Is this block final on this chain? Checked from a node's JSON and a genesis alone, without believing the node.

1. The header's fields give the hash that the node names.
2. The header names this chain, and (in a walk) the block before as parent.
3. The transactions give the header's count and root, and each is signed by its sender; the evidence gives its root,
   and is signed by the validator it convicts.
4. The certificate has more than two thirds of the power of the validators of that height.
5. In a walk from block 1, executing evidence and transactions gives the header's state root.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tana.consensus.certificate import verify_certificate
from tana.crypto.evidence import is_evidence_signed
from tana.crypto.keys import parse_public_key, parse_signature, verify
from tana.crypto.merkle import compute_root
from tana.ledger.ledger import Ledger
from tana.types.block import Block, Certificate, CommitSignature, Header, RawTransaction
from tana.types.errors import InvalidInput
from tana.types.evidence import Evidence
from tana.types.genesis import Genesis
from tana.types.messages import VOTE_NAMES, Proposal, Vote
from tana.types.transaction import SignedTransaction, sign_body
from tana.types.validator_set import ValidatorSet

_Value = TypeVar("_Value")
_VOTE_KINDS = {name: kind for kind, name in VOTE_NAMES.items()}
_REMEDY = "do not trust this node: compare with another one (--ledger-url)"


class ChainWalk:
    """Checks block after block from block 1, and executes them: nothing is taken on trust but the genesis."""

    def __init__(self, genesis: Genesis) -> None:
        self.ledger = Ledger.from_genesis(genesis)
        self.transaction_count = 0

    def advance(self, body: Any) -> None:
        """Check the next block. Raises `InvalidInput` naming the block and what is wrong with it."""
        ledger = self.ledger
        block, certificate = parse_block(body)
        name = _name(block.header)
        _require(block.height == ledger.height + 1, name, f"does not follow height {ledger.height}", "wrong_height")
        _require(block.header.parent == ledger.block_hash, name, "names another parent", "wrong_parent")
        check_block(block, certificate, ledger.chain_id, ledger.validators)
        try:
            ledger.execute_certified(block)
        except InvalidInput as error:
            raise _refuse(name, error.message, error.code) from None
        ledger.commit(block)
        self.transaction_count += len(block.transactions)


def check_block(block: Block, certificate: Certificate, chain_id: bytes, validators: ValidatorSet) -> None:
    """Rules 2 to 4 for one block (parent apart). Raises `InvalidInput` naming the block and what is wrong with it."""
    header, name = block.header, _name(block.header)
    _require(header.chain_id == chain_id, name, f"is of the chain {header.chain_id.hex()}", "wrong_chain")
    _require(
        header.validators_hash == validators.hash,
        name,
        "has other validators (--all follows changes of the set)",
        "wrong_validators",
    )
    count = len(block.transactions)
    _require(
        header.transaction_count == count, name, f"has {count} transactions, not what its header says", "wrong_count"
    )
    root = compute_root([raw.leaf for raw in block.transactions])
    _require(header.transactions_root == root, name, "has another transactions root than its header", "wrong_root")
    root = compute_root([item.hash for item in block.evidence])
    _require(header.evidence_root == root, name, "has another evidence root than its header", "wrong_root")
    for evidence in block.evidence:
        is_signed = is_evidence_signed(evidence, chain_id, verify)
        _require(is_signed, name, "has evidence that its validator did not sign", "bad_signature")
    is_its_own = certificate.height == header.height and certificate.block_hash == block.hash
    _require(is_its_own, name, "has another block's certificate", "wrong_certificate")
    try:
        verify_certificate(certificate, chain_id, validators, verify)
    except InvalidInput as error:
        raise _refuse(name, error.message, error.code) from None


def parse_block(body: Any) -> tuple[Block, Certificate]:
    """Rule 1: the block and its certificate from `GET /blocks/{height}`, with every transaction's signature checked.

    Raises `InvalidInput` naming the field that is missing or malformed, or what does not agree.
    """
    transactions = tuple(_read(body, "transactions", lambda rows: [_parse_transaction(row) for row in rows]))
    header = Header(
        version=_read(body, "version", _parse_int),
        chain_id=_read(body, "chainId", _parse_hash),
        height=_read(body, "height", _parse_int),
        parent=_read(body, "previousHash", _parse_hash),
        time_ms=_read(body, "timestamp", _parse_int),
        producer=_read(body, "producer", parse_public_key),
        transaction_count=_read(body, "txCount", _parse_int),
        transactions_root=_read(body, "txRoot", _parse_hash),
        state_root=_read(body, "stateRoot", _parse_hash),
        validators_hash=_read(body, "validatorsHash", _parse_hash),
        next_validators_hash=_read(body, "nextValidatorsHash", _parse_hash),
        evidence_root=_read(body, "evidenceRoot", _parse_hash),
    )
    evidence = tuple(_read(body, "evidence", _parse_evidence_list))
    block = _create_block(header, transactions, evidence)
    _require(
        _read(body, "hash", _parse_hash) == block.hash, _name(header), "has another hash than its fields", "wrong_hash"
    )
    return block, _read(body, "certificate", _parse_certificate)


def _create_block(header: Header, transactions: tuple[RawTransaction, ...], evidence: tuple[Evidence, ...]) -> Block:
    try:
        # Decoding holds every field to its bounds; creating does not.
        return Block.decode(Block.create(header, transactions, evidence).data)
    except (InvalidInput, OverflowError):
        raise _refuse("the block", "has a field that is out of its bounds", "malformed_block") from None


def _parse_evidence_list(rows: Any) -> list[Evidence]:
    if not isinstance(rows, list):
        raise TypeError("not a list")
    return [_parse_evidence(row) for row in rows]


def _parse_evidence(row: Any) -> Evidence:
    return Evidence(
        first=_read(row, "first", lambda message: _parse_signed(row, message)),
        second=_read(row, "second", lambda message: _parse_signed(row, message)),
    )


def _parse_signed(row: Any, message: Any) -> Vote | Proposal:
    """One of the two messages of an evidence; what both share stands beside them."""
    height, round = _read(row, "height", _parse_int), _read(row, "round", _parse_int)
    validator = _read(row, "validator", parse_public_key)
    signature = _read(message, "signature", parse_signature)
    block_hash = None if message["blockHash"] is None else _read(message, "blockHash", _parse_hash)
    if row["kind"] == "proposal":
        valid_round = _read(message, "validRound", _parse_int)
        return Proposal(height, round, block_hash or b"", valid_round, validator, signature)
    return Vote(_VOTE_KINDS[row["kind"]], height, round, block_hash, validator, signature)


def _parse_certificate(body: Any) -> Certificate:
    return Certificate(
        height=_read(body, "height", _parse_int),
        round=_read(body, "round", _parse_int),
        block_hash=_read(body, "blockHash", _parse_hash),
        signatures=tuple(
            CommitSignature(_read(row, "validator", parse_public_key), _read(row, "signature", parse_signature))
            for row in _read(body, "signatures", list)
        ),
    )


def _parse_transaction(row: Any) -> RawTransaction:
    signature = _read(row, "signature", parse_signature)
    signed = sign_body({key: value for key, value in row.items() if key != "id"}, signature)
    _check_signature(signed)
    return RawTransaction(signed.text, signed.signature)


def _check_signature(signed: SignedTransaction) -> None:
    if not verify(bytes.fromhex(signed.transaction.sender[8:]), signed.text, signed.signature):
        raise _refuse(f"transaction {signed.id}", "is not signed by its sender", "bad_signature")


def _read(body: Any, field: str, parse: Callable[[Any], _Value]) -> _Value:
    """One field of a JSON object through its parser. Raises `InvalidInput` naming the field."""
    value = body.get(field) if isinstance(body, dict) else None
    if value is None:
        raise _refuse("the block", f"lacks the field {field}", "missing_field")
    try:
        return parse(value)
    except (ValueError, TypeError, AttributeError, KeyError):
        raise _refuse("the block", f"has a malformed {field}", "malformed_block") from None


def _parse_int(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a whole number")
    return value


def _parse_hash(text: Any) -> bytes:
    value = bytes.fromhex(text)
    if len(value) != 32:
        raise ValueError("a hash has 32 bytes")
    return value


def _name(header: Header) -> str:
    return f"block {header.height}"


def _require(holds: bool, name: str, fault: str, code: str) -> None:
    if not holds:
        raise _refuse(name, fault, code)


def _refuse(name: str, fault: str, code: str) -> InvalidInput:
    return InvalidInput(f"{name} {fault}", remedy=_REMEDY, code=code)

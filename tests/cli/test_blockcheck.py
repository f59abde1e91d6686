from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tana.cli.blockcheck import ChainWalk, check_block, parse_block
from tana.crypto.keys import KeyPair, format_signature
from tana.crypto.merkle import compute_root
from tana.ledger.ledger import Ledger
from tana.node.blocks import StoredBlock
from tana.node.views import show_block
from tana.types.block import Block, Certificate, CommitSignature, Header
from tana.types.errors import InvalidInput
from tana.types.evidence import Evidence
from tana.types.genesis import Genesis, parse_genesis
from tana.types.messages import PRECOMMIT, PREVOTE, Proposal, Vote, proposal_sign_bytes, vote_sign_bytes
from tana.types.transaction import SignedTransaction, Transaction, parse_signed_text

Json = dict[str, Any]
SOVEREIGN, ALICE, STRANGER = (KeyPair.from_seed(bytes([number]) * 32) for number in (1, 2, 3))
VALIDATORS = [KeyPair.from_seed(bytes([number]) * 32) for number in (11, 12, 13, 14)]
CREATED_AT_MS = 1_763_424_000_000


def make_genesis() -> Genesis:
    return parse_genesis(
        {
            "version": 1,
            "createdAt": CREATED_AT_MS,
            "sovereign": SOVEREIGN.public_text,
            "currencies": [{"code": "USD", "decimals": 2}],
            "validators": [
                {"nodeId": f"validator-{index}", "publicKey": key.public_text, "power": 1}
                for index, key in enumerate(VALIDATORS)
            ],
            "accounts": [],
            "parameters": {},
        }
    )


def sign(key: KeyPair, transaction: Transaction) -> SignedTransaction:
    text = transaction.to_text().encode()
    return parse_signed_text(text, key.sign(text))


def make_certificate(chain_id: bytes, height: int, block_hash: bytes, signers: list[KeyPair]) -> Certificate:
    message = vote_sign_bytes(chain_id, PRECOMMIT, height, 0, block_hash)
    return Certificate(
        height, 0, block_hash, tuple(CommitSignature(key.public_key, key.sign(message)) for key in signers)
    )


def make_chain(genesis: Genesis, count: int, signers: list[KeyPair] | None = None) -> list[Json]:
    """The JSON of blocks 1 to `count`; each one gives Alice money, the first also creates her."""
    ledger = Ledger.from_genesis(genesis)
    sovereign, alice = SOVEREIGN.public_text, ALICE.public_text
    bodies = []
    for index in range(count):
        deposit = Transaction("deposit", sovereign, alice, CREATED_AT_MS, index, "12.50", "USD")
        transactions = [sign(SOVEREIGN, deposit)]
        if index == 0:
            profile = {"username": "@alice", "displayName": "Alïce 🦊"}
            user = Transaction("user_creation", alice, alice, CREATED_AT_MS, 0, contract_input=profile)
            transactions.insert(0, sign(ALICE, user))
        block = ledger.build_block(VALIDATORS[0].public_key, CREATED_AT_MS + 1000 * index, transactions)
        assert len(block.transactions) == len(transactions)
        ledger.execute(block)
        ledger.commit(block)
        certificate = make_certificate(ledger.chain_id, block.height, block.hash, signers or VALIDATORS[:3])
        bodies.append(show_block(StoredBlock(block.data, certificate)))
    return bodies


GENESIS = make_genesis()
CHAIN = make_chain(GENESIS, 3)


@pytest.mark.parametrize("value", [None, "x", -1, {}, 1.5, True, [1], [[]], [{}]])
def test_invalid_type_of_evidence(value: object) -> None:
    with pytest.raises(InvalidInput):
        check({**CHAIN[0], "evidence": value})


def check(body: Any) -> None:
    block, certificate = parse_block(body)
    check_block(block, certificate, GENESIS.compute_chain_id(), GENESIS.to_validator_set())


def test_good_block() -> None:
    for body in CHAIN:
        check(body)


def test_good_chain_ends_in_the_nodes_state_root() -> None:
    chain = ChainWalk(GENESIS)
    for body in CHAIN:
        chain.advance(body)
    assert chain.ledger.state_root.hex() == CHAIN[-1]["stateRoot"]
    assert chain.transaction_count == 4


HEADER_FIELDS = (
    "hash",
    "previousHash",
    "timestamp",
    "producer",
    "txRoot",
    "stateRoot",
    "txCount",
    "chainId",
    "validatorsHash",
    "nextValidatorsHash",
    "evidenceRoot",
    "height",
)


@pytest.mark.parametrize("field", HEADER_FIELDS)
def test_invalid_header_field(field: str) -> None:
    body = copy.deepcopy(CHAIN[1])
    value = body[field]
    body[field] = value + 1 if isinstance(value, int) else value[:-1] + ("0" if value[-1] != "0" else "1")
    with pytest.raises(InvalidInput, match="has another hash than its fields"):
        check(body)


@pytest.mark.parametrize("value", [None, "x", -1, 2**70, [], {}, "zz" * 32, "00", 1.5, True])
@pytest.mark.parametrize("field", [*HEADER_FIELDS, "version", "certificate", "transactions"])
def test_invalid_type(field: str, value: object) -> None:
    body = {**copy.deepcopy(CHAIN[0]), field: value}
    with pytest.raises(InvalidInput):
        check(body)


@pytest.mark.parametrize("field", [*HEADER_FIELDS, "version", "certificate", "transactions"])
def test_invalid_missing_field(field: str) -> None:
    body = copy.deepcopy(CHAIN[0])
    del body[field]
    with pytest.raises(InvalidInput, match=f"lacks the field {field}"):
        check(body)


@pytest.mark.parametrize("body", [None, [], 7, "text", {}])
def test_invalid_body(body: object) -> None:
    with pytest.raises(InvalidInput, match="lacks the field"):
        check(body)


def change_amount(body: Json) -> None:
    body["transactions"][1]["amount"] = "9999.00"


def forge_signature(body: Json) -> None:
    body["transactions"][1]["signature"] = format_signature(STRANGER.sign(b"anything"))


def drop_transaction(body: Json) -> None:
    del body["transactions"][1]


def swap_transactions(body: Json) -> None:
    body["transactions"].reverse()


def drop_precommit(body: Json) -> None:
    del body["certificate"]["signatures"][0]


def repeat_precommit(body: Json) -> None:
    signatures = body["certificate"]["signatures"]
    signatures[0] = signatures[1]


def use_strangers_precommit(body: Json) -> None:
    chain_id, block_hash = bytes.fromhex(body["chainId"]), bytes.fromhex(body["hash"])
    message = vote_sign_bytes(chain_id, PRECOMMIT, body["height"], 0, block_hash)
    body["certificate"]["signatures"][0] = {
        "validator": STRANGER.public_text,
        "signature": format_signature(STRANGER.sign(message)),
    }


def forge_precommit(body: Json) -> None:
    signature = STRANGER.sign(b"x")
    body["certificate"]["signatures"][0]["signature"] = format_signature(signature)


def move_certificate_to_another_round(body: Json) -> None:
    body["certificate"]["round"] = 1


def take_another_blocks_certificate(body: Json) -> None:
    body["certificate"] = CHAIN[1]["certificate"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (change_amount, "is not signed by its sender"),
        (forge_signature, "is not signed by its sender"),
        (drop_transaction, "has 1 transactions, not what its header says"),
        (swap_transactions, "another transactions root"),
        (drop_precommit, "its power is 2 and a quorum needs 3"),
        (repeat_precommit, "is there twice"),
        (use_strangers_precommit, "is not a validator"),
        (forge_precommit, "signature of .* is wrong"),
        (move_certificate_to_another_round, "signature of .* is wrong"),
        (take_another_blocks_certificate, "another block's certificate"),
    ],
)
def test_invalid_block(spoil: Callable[[Json], None], words: str) -> None:
    body = copy.deepcopy(CHAIN[0])
    spoil(body)
    with pytest.raises(InvalidInput, match=words) as caught:
        check(body)
    assert caught.value.remedy


def test_invalid_chain_of_another_genesis() -> None:
    body = CHAIN[0]
    block, certificate = parse_block(body)
    with pytest.raises(InvalidInput, match="is of the chain"):
        check_block(block, certificate, bytes(32), GENESIS.to_validator_set())


def test_invalid_block_order() -> None:
    chain = ChainWalk(GENESIS)
    chain.advance(CHAIN[0])
    with pytest.raises(InvalidInput, match="block 3 does not follow height 1"):
        chain.advance(CHAIN[2])


def make_convicting_chain() -> list[Json]:
    """Three blocks; the second one convicts validator 3 of a double prevote and validator 2 of a double proposal."""
    ledger = Ledger.from_genesis(GENESIS)
    votes = []
    for value in (None, b"b" * 32):
        signature = VALIDATORS[3].sign(vote_sign_bytes(ledger.chain_id, PREVOTE, 1, 0, value))
        votes.append(Vote(PREVOTE, 1, 0, value, VALIDATORS[3].public_key, signature))
    proposals = []
    for valid_round in (-1, 1):
        signature = VALIDATORS[2].sign(proposal_sign_bytes(ledger.chain_id, 1, 2, b"b" * 32, valid_round))
        proposals.append(Proposal(1, 2, b"b" * 32, valid_round, VALIDATORS[2].public_key, signature))
    bodies = []
    for evidence in ([], [Evidence.create(*votes), Evidence.create(*proposals)], [], []):
        block = ledger.build_block(VALIDATORS[0].public_key, ledger.time_ms + 1000, (), evidence=evidence)
        signers = [key for key in VALIDATORS if ledger.validators.get_power(key.public_key)]
        ledger.commit(block)
        certificate = make_certificate(ledger.chain_id, block.height, block.hash, signers)
        bodies.append(show_block(StoredBlock(block.data, certificate)))
    return bodies


CONVICTING = make_convicting_chain()


def test_good_chain_with_evidence_and_the_validators_that_are_left() -> None:
    chain = ChainWalk(GENESIS)
    for body in CONVICTING:
        chain.advance(body)
    assert len(CONVICTING[1]["evidence"]) == 2
    assert chain.ledger.validators.total_power == 2


@pytest.mark.parametrize("field", ["kind", "height", "round", "validator"])
def test_invalid_evidence_field(field: str) -> None:
    body = copy.deepcopy(CONVICTING[1])
    row = body["evidence"][0]
    others = {"kind": "precommit", "validator": VALIDATORS[0].public_text, "height": 2, "round": 1}
    row[field] = others[field] if row[field] != others[field] else "prevote"
    with pytest.raises(InvalidInput, match="evidence"):
        check(body)


@pytest.mark.parametrize("field", ["blockHash", "signature"])
def test_invalid_evidence_message(field: str) -> None:
    body = copy.deepcopy(CONVICTING[1])
    row = body["evidence"][0]["second"]
    row[field] = row[field][:-2] + ("00" if row[field][-2:] != "00" else "11")
    with pytest.raises(InvalidInput, match="another evidence root"):
        check(body)


def test_invalid_evidence_left_out() -> None:
    with pytest.raises(InvalidInput, match="another evidence root"):
        check({**CONVICTING[1], "evidence": CONVICTING[1]["evidence"][:1]})


def test_invalid_evidence_that_its_validator_did_not_sign() -> None:
    block, _ = parse_block(CONVICTING[1])
    first, second = block.evidence[0].first, block.evidence[0].second
    forged = Evidence(msgspec.structs.replace(first, signature=b"f" * 64), second)
    header = msgspec.structs.replace(block.header, evidence_root=compute_root([forged.hash]))
    body = certify(Block.create(header, block.transactions, [forged]))
    with pytest.raises(InvalidInput, match="did not sign"):
        check(body)


def test_invalid_parent_of_a_fork() -> None:
    chain = ChainWalk(GENESIS)
    chain.advance(CHAIN[0])
    fork = make_chain(GENESIS, 2, VALIDATORS)
    chain.advance(fork[1])
    with pytest.raises(InvalidInput, match="names another parent"):
        chain.advance(rebuild(CHAIN[2], previousHash="11" * 32))


def test_invalid_state_root_that_a_quorum_signed() -> None:
    chain = ChainWalk(GENESIS)
    with pytest.raises(InvalidInput, match=r"block 1 .*state root"):
        chain.advance(rebuild(CHAIN[0], stateRoot="22" * 32))


def rebuild(body: Json, **fields: str) -> Json:
    """The block with other header fields, its hash computed anew and certified by a quorum all the same."""
    block, _ = parse_block(body)
    values = {name: getattr(block.header, name) for name in Header.__struct_fields__}
    names = {"previousHash": "parent", "stateRoot": "state_root"}
    values |= {names[name]: bytes.fromhex(text) for name, text in fields.items()}
    return certify(Block.create(Header(**values), block.transactions))


def certify(forged: Block) -> Json:
    certificate = make_certificate(forged.header.chain_id, forged.height, forged.hash, VALIDATORS[:3])
    return show_block(StoredBlock(forged.data, certificate))

"""The mempool: what it takes, in which order it gives, and what it lets go of after a commit."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tana.crypto.keys import KeyPair
from tana.ledger.ledger import Ledger
from tana.ledger.mempool import MAX_GAP_HEIGHTS, Mempool
from tana.types.transaction import SignedTransaction
from tests.ledger.chain import (
    ALICE,
    BOB,
    CAROL,
    PRODUCER,
    SOVEREIGN,
    STAFF,
    CountingVerifier,
    create_user,
    deposit,
    make_genesis,
    sign,
    transfer,
    withdraw,
)

DAVE = KeyPair.from_seed(b"d" * 32)


class Node:
    """A ledger and its mempool."""

    def __init__(self, **bounds: int) -> None:
        self.verifier = CountingVerifier()
        self.ledger = Ledger.from_genesis(make_genesis(), self.verifier)
        self.mempool = Mempool(self.ledger, **bounds)

    def add(self, *transactions: SignedTransaction) -> list[str]:
        """Statuses, or codes where refused."""
        admissions = [self.mempool.add(stx) for stx in transactions]
        return [admission.code or admission.status for admission in admissions]

    def commit_candidates(self) -> list[tuple[str, str]]:
        """A block of what the mempool offers."""
        return self.commit(*self.mempool.candidates(), all_must_fit=False)

    def commit(self, *transactions: SignedTransaction, all_must_fit: bool = True) -> list[tuple[str, str]]:
        """A block of other transactions, as another node may have built it."""
        block = self.ledger.build_block(PRODUCER, 0, transactions)
        assert not all_must_fit or len(block.transactions) == len(transactions)
        return self.mempool.on_commit(self.ledger.commit(block))

    def offered(self) -> list[str]:
        return [stx.id for stx in self.mempool.candidates()]


@pytest.fixture
def node() -> Node:
    return Node()


def ids(*transactions: SignedTransaction) -> list[str]:
    return [stx.id for stx in transactions]


def test_empty_mempool_has_no_work(node: Node) -> None:
    assert not node.mempool.has_work()
    assert node.offered() == []
    assert len(node.mempool) == node.mempool.size_bytes == 0


def test_takes_a_transaction_through_to_its_block(node: Node) -> None:
    stx = transfer(ALICE, BOB, 0)
    assert node.add(stx) == ["accepted"]
    assert node.mempool.has_work()
    assert node.mempool.get(stx.id) is stx
    assert node.mempool.list_pending() == [stx]
    assert (len(node.mempool), node.mempool.size_bytes) == (1, stx.size_bytes)
    assert node.commit_candidates() == []
    assert not node.mempool.has_work()
    assert node.mempool.get(stx.id) is None
    assert (len(node.mempool), node.mempool.size_bytes) == (0, 0)


def test_a_retry_is_known_and_then_committed(node: Node) -> None:
    stx = transfer(ALICE, BOB, 0)
    assert node.add(stx, stx) == ["accepted", "known"]
    node.commit_candidates()
    assert node.add(stx) == ["committed"]


def test_a_signature_is_verified_once(node: Node) -> None:
    stx = transfer(ALICE, BOB, 0)
    node.add(stx, stx)
    node.commit_candidates()
    assert node.verifier.calls == 1


def test_a_bad_copy_does_not_poison_the_good_one(node: Node) -> None:
    good = transfer(ALICE, BOB, 0)
    bad = SignedTransaction(good.text, bytes(64), good.transaction)
    assert node.add(bad, good) == ["bad_signature", "accepted"]


def test_gives_senders_in_order_of_arrival_and_their_nonces_in_order(node: Node) -> None:
    alice = [transfer(ALICE, BOB, nonce) for nonce in range(3)]
    bob = [transfer(BOB, ALICE, nonce) for nonce in range(2)]
    node.add(bob[1], alice[0], alice[2], bob[0], alice[1])
    assert node.offered() == ids(*alice, *bob)


def test_a_served_sender_goes_to_the_back(node: Node) -> None:
    alice = [transfer(ALICE, BOB, nonce) for nonce in range(2)]
    bob = transfer(BOB, ALICE, 0)
    node.add(*alice, bob)
    node.commit(alice[0])
    assert node.offered() == ids(bob, alice[1])


def test_waits_for_missing_nonces(node: Node) -> None:
    first, second, third = (transfer(ALICE, BOB, nonce) for nonce in range(3))
    assert node.add(third, second) == ["accepted", "accepted"]
    assert not node.mempool.has_work()
    assert node.offered() == []
    node.add(first)
    assert node.offered() == ids(first, second, third)


def test_a_new_user_may_send_before_its_creation_is_final(node: Node) -> None:
    assert node.add(transfer(CAROL, BOB, 1)) == ["unknown_account"]
    assert node.add(create_user(CAROL, CAROL, 0, "@carol"), transfer(CAROL, BOB, 1)) == ["accepted", "accepted"]


def test_another_block_may_use_a_nonce_up(node: Node) -> None:
    mine, theirs = transfer(ALICE, BOB, 0), transfer(ALICE, CAROL, 0, "3.00")
    later = transfer(ALICE, BOB, 1)
    node.add(mine, later)
    assert node.commit(create_user(STAFF, CAROL, 0, "@carol")) == []
    assert node.commit(theirs) == [(mine.id, "nonce_too_low")]
    assert node.offered() == ids(later)


def test_a_block_may_close_a_gap(node: Node) -> None:
    later = transfer(ALICE, BOB, 1)
    node.add(later)
    node.commit(transfer(ALICE, BOB, 0))
    assert node.offered() == ids(later)


def test_a_block_may_leave_a_gap(node: Node) -> None:
    last = transfer(ALICE, BOB, 2)
    node.add(transfer(ALICE, BOB, 0), last)
    node.commit_candidates()
    assert not node.mempool.has_work()
    node.add(transfer(ALICE, BOB, 1))
    assert node.mempool.has_work()


def test_invalid_head_is_dropped_with_what_follows(node: Node) -> None:
    """Else `has_work` would promise work for ever, and the chain would make empty blocks at full speed."""
    first, second, third = transfer(ALICE, BOB, 0, "60"), transfer(ALICE, BOB, 1, "60"), transfer(ALICE, BOB, 2)
    node.add(first, second, third)
    dropped = node.commit(first)
    assert dropped == [(second.id, "insufficient_balance"), (third.id, "earlier_dropped")]
    assert not node.mempool.has_work()


@pytest.mark.parametrize(
    ("pending", "rival", "reason"),
    [
        (create_user(CAROL, CAROL, 0, "@c"), create_user(DAVE, DAVE, 0, "@c"), "username_taken"),
        (create_user(STAFF, CAROL, 0, "@c"), create_user(CAROL, CAROL, 0, "@d"), "account_exists"),
        (create_user(CAROL, CAROL, 0, "@c"), create_user(STAFF, CAROL, 0, "@d"), "account_exists"),
        (withdraw(ALICE, 0, "60"), transfer(ALICE, BOB, 0, "60"), "insufficient_balance"),
        (transfer(ALICE, BOB, 0, "60"), withdraw(ALICE, 0, "60"), "insufficient_balance"),
        (
            create_user(STAFF, CAROL, 0, "@c"),
            sign(SOVEREIGN, STAFF, "role_change", 0, contractInput={"role": "user"}),
            "not_permitted",
        ),
    ],
)
def test_invalid_after_a_rival_is_committed(
    pending: SignedTransaction, rival: SignedTransaction, reason: str, node: Node
) -> None:
    assert node.add(pending) == ["accepted"]
    assert node.commit(rival) == [(pending.id, reason)]
    assert not node.mempool.has_work()


def test_two_sovereigns_may_not_deposit_more_than_there_can_be(node: Node) -> None:
    node.commit(sign(SOVEREIGN, ALICE, "role_change", 0, contractInput={"role": "sovereign"}))
    half = "50000000000000000"
    mine = sign(ALICE, BOB, "deposit", 0, amount=half, currencyCode="USD")
    assert node.add(mine) == ["accepted"]
    assert node.commit(deposit(BOB, 1, half)) == [(mine.id, "supply_exceeded")]


def test_expired_transactions_go_with_what_follows(node: Node) -> None:
    first = transfer(ALICE, BOB, 0)
    expiring = transfer(ALICE, BOB, 1, metadata={"expiresAtHeight": 2})
    later = transfer(ALICE, BOB, 2, metadata={"expiresAtHeight": 2})
    other = transfer(BOB, ALICE, 0, metadata={"expiresAtHeight": 3})
    node.add(first, expiring, later, other)
    assert node.commit() == []
    assert node.commit() == [(expiring.id, "expired"), (later.id, "earlier_dropped")]
    assert node.offered() == ids(first, other)
    assert node.commit() == [(other.id, "expired")]
    assert node.add(expiring) == ["expired"]


def test_nothing_is_left_of_a_transaction_that_expires_in_the_far_future(node: Node) -> None:
    node.add(transfer(ALICE, BOB, 0, metadata={"expiresAtHeight": 10**12}))
    node.commit_candidates()
    assert node.mempool._expiring == {}
    assert node.mempool._queues == {}
    assert node.mempool._dependents == {}


def test_a_gap_is_not_waited_for_longer_than_its_bound(node: Node) -> None:
    first, third = transfer(ALICE, BOB, 1), transfer(ALICE, BOB, 3)
    node.add(first, third)
    for _ in range(MAX_GAP_HEIGHTS - 1):
        assert node.commit() == []
    assert node.commit() == [(first.id, "nonce_gap"), (third.id, "earlier_dropped")]
    assert len(node.mempool) == 0
    assert node.mempool._waiting == {}


def test_a_ready_transaction_waits_as_long_as_it_takes(node: Node) -> None:
    node.add(transfer(ALICE, BOB, 1), transfer(ALICE, BOB, 0))
    for _ in range(MAX_GAP_HEIGHTS + 1):
        assert node.commit() == []
    assert node.mempool.has_work()


def test_invalid_nonce_below_the_accounts(node: Node) -> None:
    node.commit(transfer(ALICE, BOB, 0))
    assert node.add(transfer(ALICE, BOB, 0, "2.00")) == ["nonce_too_low"]


def test_invalid_nonce_too_far_ahead() -> None:
    node = Node(max_per_sender=3)
    assert node.add(transfer(ALICE, BOB, 2), transfer(ALICE, BOB, 3)) == ["accepted", "nonce_too_high"]


def test_invalid_nonce_taken_by_another_pending(node: Node) -> None:
    assert node.add(transfer(ALICE, BOB, 0), transfer(ALICE, BOB, 0, "2.00")) == ["accepted", "nonce_taken"]


def test_invalid_by_the_rules_is_refused_with_words(node: Node) -> None:
    admission = node.mempool.add(transfer(ALICE, BOB, 0, "100.01"))
    assert (admission.status, admission.code, admission.field) == ("refused", "insufficient_balance", "amount")
    assert "100.00" in admission.message
    assert node.verifier.calls == 0


def test_invalid_form_is_refused_before_its_turn(node: Node) -> None:
    assert node.add(transfer(ALICE, BOB, 5, "1", "EUR")) == ["unknown_currency"]
    assert node.add(sign(ALICE, BOB, "contract_call", 5)) == ["unsupported_type"]


def test_invalid_count_over_the_bound() -> None:
    node = Node(max_transactions=2)
    assert node.add(*(transfer(ALICE, BOB, nonce) for nonce in range(3))) == ["accepted", "accepted", "mempool_full"]
    node.commit_candidates()
    assert node.add(transfer(ALICE, BOB, 2)) == ["accepted"]


def test_invalid_bytes_over_the_bound() -> None:
    size_bytes = transfer(ALICE, BOB, 0).size_bytes
    node = Node(max_bytes=size_bytes)
    assert node.add(transfer(ALICE, BOB, 0), transfer(ALICE, BOB, 1)) == ["accepted", "mempool_full"]


def test_invalid_size_that_fits_no_block() -> None:
    ledger = Ledger.from_genesis(make_genesis(maxBlockBytes=1024), CountingVerifier())
    mempool = Mempool(ledger)
    assert mempool.add(transfer(ALICE, BOB, 0, metadata={"note": "x" * 600})).code == "too_large"
    assert mempool.add(transfer(ALICE, BOB, 0)).status == "accepted"


def test_pending_listing_is_bounded(node: Node) -> None:
    node.add(*(transfer(ALICE, BOB, nonce) for nonce in range(3)))
    assert [stx.transaction.nonce for stx in node.mempool.list_pending(limit=2)] == [0, 1]


people = st.sampled_from([ALICE, BOB, CAROL, DAVE])
events = st.lists(
    st.one_of(
        st.tuples(st.just("transfer"), people, people, st.integers(0, 4), st.sampled_from(["1", "60", "99.99"])),
        st.tuples(st.just("expiring"), people, people, st.integers(0, 4), st.sampled_from(["1", "60"])),
        st.tuples(st.just("create"), people, people, st.integers(0, 1), st.sampled_from(["@x", "@y"])),
        st.tuples(st.just("withdraw"), people, people, st.integers(0, 3), st.sampled_from(["1", "60"])),
        st.tuples(st.sampled_from(["commit", "rival"]), people, people, st.just(0), st.just("5")),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=150)
@given(events)
def test_has_work_never_promises_an_empty_block(
    story: list[tuple[str, KeyPair, KeyPair, int, str]],
) -> None:
    """After anything: where there is work, a block of the candidates is not empty, and the books agree."""
    node = Node()
    seen: dict[str, str] = {}
    for kind, sender, recipient, nonce, detail in story:
        stx: SignedTransaction | None = None
        match kind:
            case "transfer":
                stx = transfer(sender, recipient, nonce, detail)
            case "expiring":
                expiry = {"expiresAtHeight": node.ledger.height + 2}
                stx = transfer(sender, recipient, nonce, detail, metadata=expiry)
            case "create":
                stx = create_user(sender, recipient, nonce, detail)
            case "withdraw":
                stx = withdraw(recipient, nonce, detail)
            case _:
                rivals = list(node.mempool.candidates())
                if kind == "rival":
                    account = node.ledger.get_account(sender.public_text)
                    rivals = [transfer(sender, recipient, account.nonce if account else 0, detail)]
                block = node.ledger.build_block(PRODUCER, 0, rivals)
                execution = node.ledger.commit(block)
                for transaction_id, reason in node.mempool.on_commit(execution):
                    assert seen.pop(transaction_id) == "pending"
                    assert reason
                for transaction_id in execution.transaction_ids:
                    seen.pop(transaction_id, None)
        if stx is not None and node.mempool.add(stx).status == "accepted":
            seen[stx.id] = "pending"
        pending = node.mempool.list_pending()
        assert {item.id for item in pending} == set(seen)
        assert node.mempool.size_bytes == sum(item.size_bytes for item in pending)
        if node.mempool.has_work():
            assert node.ledger.build_block(PRODUCER, 0, node.mempool.candidates()).transactions
        else:
            assert node.offered() == []

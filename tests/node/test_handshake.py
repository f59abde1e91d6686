"""The handshake: two honest sides meet, and every forged or borrowed message is refused."""

from __future__ import annotations

import msgspec
import pytest

from tana.crypto.keys import verify
from tana.node.handshake import PROTOCOL_VERSION, Handshake, Hello, Proof, Role
from tana.types.errors import Forbidden, InvalidInput, TanaError, Unauthorized
from tests.node.cluster import make_key

CHAIN = b"c" * 32
DIALER = make_key("dialer")
LISTENER = make_key("listener")
MALLORY = make_key("mallory")


def _make(role: Role, chain_id: bytes = CHAIN, challenge: bytes | None = None) -> Handshake:
    return Handshake(
        role,
        signer=DIALER if role == "dialer" else LISTENER,
        chain_id=chain_id,
        challenge=challenge or role.ljust(32).encode(),
        is_admitted=lambda key: key in (DIALER.public_key, LISTENER.public_key),
        verifier=verify,
        expected_peer=LISTENER.public_key if role == "dialer" else None,
    )


def _make_pair() -> tuple[Handshake, Handshake]:
    dialer, listener = _make("dialer"), _make("listener")
    listener.read_hello(dialer.write_hello())
    dialer.read_hello(listener.write_hello())
    return dialer, listener


def _assert_refused(expected: type[TanaError], code: str, handshake: Handshake, data: bytes) -> None:
    with pytest.raises(expected) as caught:
        handshake.read_hello(data)
    assert caught.value.code == code


def _encode_hello(**changes: object) -> bytes:
    hello = Hello(PROTOCOL_VERSION, CHAIN, DIALER.public_key, b"x" * 32)
    return msgspec.msgpack.encode(msgspec.structs.replace(hello, **changes))


def test_both_sides_prove_themselves() -> None:
    dialer, listener = _make_pair()
    listener.read_proof(dialer.write_proof())
    dialer.read_proof(listener.write_proof())
    assert (dialer.peer, listener.peer) == (LISTENER.public_key, DIALER.public_key)


def test_invalid_wrong_chain() -> None:
    _assert_refused(Forbidden, "wrong_chain", _make("listener"), _make("dialer", chain_id=b"o" * 32).write_hello())


def test_invalid_wrong_version() -> None:
    _assert_refused(Forbidden, "wrong_version", _make("listener"), _encode_hello(version=PROTOCOL_VERSION + 1))


def test_invalid_unknown_key() -> None:
    _assert_refused(Forbidden, "unknown_peer", _make("listener"), _encode_hello(public_key=MALLORY.public_key))


def test_invalid_other_node_answers() -> None:
    _assert_refused(Forbidden, "unexpected_peer", _make("dialer"), _encode_hello(public_key=MALLORY.public_key))


def test_invalid_reflected_hello() -> None:
    dialer = _make("dialer")
    _assert_refused(Forbidden, "reflection", dialer, dialer.write_hello())
    same_challenge = _encode_hello(public_key=LISTENER.public_key, challenge="dialer".ljust(32).encode())
    _assert_refused(Forbidden, "reflection", dialer, same_challenge)


@pytest.mark.parametrize("data", [b"", b"\x00", b"GET / HTTP/1.1", b"\x94\xa5hello", b"x" * 2000])
def test_invalid_hello_is_garbage(data: bytes) -> None:
    _assert_refused(InvalidInput, "malformed_handshake", _make("listener"), data)


def test_invalid_proof_is_garbage() -> None:
    _, listener = _make_pair()
    with pytest.raises(InvalidInput, match="cannot be decoded"):
        listener.read_proof(b"\x01\x02")


def test_invalid_proof_by_another_key() -> None:
    _, listener = _make_pair()
    with pytest.raises(Unauthorized):
        listener.read_proof(msgspec.msgpack.encode(Proof(MALLORY.sign(b"anything"))))


def test_invalid_proof_of_an_earlier_link() -> None:
    dialer, _ = _make_pair()
    recorded = dialer.write_proof()
    listener = _make("listener", challenge=b"another challenge, fresh".ljust(32))
    listener.read_hello(dialer.write_hello())
    with pytest.raises(Unauthorized):
        listener.read_proof(recorded)


def test_invalid_proof_of_the_other_role() -> None:
    dialer, listener = _make_pair()
    reflected = listener.write_proof()
    with pytest.raises(Unauthorized):
        listener.read_proof(reflected)
    dialer.read_proof(reflected)


def test_invalid_relay_to_a_third_node() -> None:
    """Mallory passes an honest dialer's proof on to another listener: it names the listener it was made for."""
    dialer = _make("dialer")
    relayed_challenge = b"challenge of the third".ljust(32)
    dialer._expected_peer = MALLORY.public_key
    dialer._is_admitted = lambda key: True
    third = _make("listener", challenge=relayed_challenge)
    third.read_hello(dialer.write_hello())
    dialer.read_hello(_encode_hello(public_key=MALLORY.public_key, challenge=relayed_challenge))
    with pytest.raises(Unauthorized):
        third.read_proof(dialer.write_proof())

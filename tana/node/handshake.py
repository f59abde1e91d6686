"""How two nodes prove to each other who they are before a link carries anything.

Both sides send a `Hello` with a fresh random challenge, then a `Proof`: a signature over the domain tag, the protocol
version, the chain id, the signer's role, both keys and both challenges. So a proof is worth nothing in another
link, on another chain, in the other direction, or as any other signature of this node.

    dialer                             listener
    Hello(challenge a)  ──────────▶
                        ◀──────────   Hello(challenge b)      the listener knows the dialer's key is admitted
    Proof(a, b)         ──────────▶
                        ◀──────────   Proof(b, a)             the listener has verified the dialer

Pure: no sockets, no randomness. `Handshake` is one side; the runtime carries the bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Annotated, Literal

import msgspec

from tana.crypto.keys import Signer, Verifier
from tana.types.errors import Forbidden, InvalidInput, Unauthorized
from tana.types.fields import Hash, PublicKey, Signature

PROTOCOL_VERSION = 1
CHALLENGE_BYTES = 32
MAX_HANDSHAKE_BYTES = 1024

Role = Literal["dialer", "listener"]
_DOMAIN = b"tana/link/1"
_ROLE_BYTES = {"dialer": 1, "listener": 2}


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello", forbid_unknown_fields=True):
    """Who speaks, of which chain, and the random bytes that the other side must sign."""

    version: Annotated[int, msgspec.Meta(ge=0, le=2**16)]
    chain_id: Hash
    public_key: PublicKey
    challenge: Hash


class Proof(msgspec.Struct, frozen=True, array_like=True, tag="proof", forbid_unknown_fields=True):
    """The signature that proves the key of the `Hello`."""

    signature: Signature


_encoder = msgspec.msgpack.Encoder()
_hello_decoder = msgspec.msgpack.Decoder(Hello)
_proof_decoder = msgspec.msgpack.Decoder(Proof)


class Handshake:
    """One side of one handshake.

    `challenge` must be 32 fresh random bytes. `is_admitted` says whether a node key may have a link; a dialer also
    knows whom it expects (`expected_peer`). Methods raise `InvalidInput`, `Unauthorized` or `Forbidden`: the link
    is to be closed then.
    """

    def __init__(
        self,
        role: Role,
        *,
        signer: Signer,
        chain_id: bytes,
        challenge: bytes,
        is_admitted: Callable[[bytes], bool],
        verifier: Verifier,
        expected_peer: bytes | None = None,
    ) -> None:
        assert len(challenge) == CHALLENGE_BYTES, "a challenge has 32 bytes"
        self._role: Role = role
        self._signer = signer
        self._chain_id = chain_id
        self._own = Hello(PROTOCOL_VERSION, chain_id, signer.public_key, challenge)
        self._is_admitted = is_admitted
        self._verifier = verifier
        self._expected_peer = expected_peer
        self._peer: Hello | None = None

    @property
    def peer(self) -> bytes:
        """The other side's key: claimed after `read_hello`, proven after `read_proof`."""
        assert self._peer is not None, "no hello was read"
        return self._peer.public_key

    def write_hello(self) -> bytes:
        return _encoder.encode(self._own)

    def read_hello(self, data: bytes) -> None:
        """Take the other side's hello."""
        hello = _decode_hello(data)
        if hello.version != PROTOCOL_VERSION:
            raise Forbidden(
                f"the peer speaks protocol version {hello.version} and this node {PROTOCOL_VERSION}",
                remedy="run the same version of Tana on both",
                code="wrong_version",
            )
        if hello.chain_id != self._chain_id:
            raise Forbidden(f"the peer is on chain {hello.chain_id.hex()[:16]}…, another chain", code="wrong_chain")
        if hello.public_key == self._own.public_key or hello.challenge == self._own.challenge:
            raise Forbidden("the peer is this node, or repeats what it says", code="reflection")
        if self._expected_peer not in (None, hello.public_key):
            raise Forbidden("another node answers at this peer's address", code="unexpected_peer")
        if not self._is_admitted(hello.public_key):
            raise Forbidden(
                f"node key ed25519_{hello.public_key.hex()} is neither a validator of this chain nor an approved node",
                code="unknown_peer",
            )
        self._peer = hello

    def write_proof(self) -> bytes:
        assert self._peer is not None, "the proof answers a hello"
        message = _proof_bytes(self._chain_id, self._role, self._own, self._peer)
        return _encoder.encode(Proof(self._signer.sign(message)))

    def read_proof(self, data: bytes) -> None:
        """Take and verify the other side's proof: after this the link is theirs."""
        assert self._peer is not None, "the proof comes after the hello"
        try:
            proof = _proof_decoder.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InvalidInput(f"the peer's proof cannot be decoded: {error}", code="malformed_handshake") from None
        other: Role = "listener" if self._role == "dialer" else "dialer"
        message = _proof_bytes(self._chain_id, other, self._peer, self._own)
        if not self._verifier(self.peer, message, proof.signature):
            raise Unauthorized("the peer's proof does not verify", code="bad_proof")


def _decode_hello(data: bytes) -> Hello:
    if len(data) > MAX_HANDSHAKE_BYTES:
        raise InvalidInput("the peer's hello is too large", code="malformed_handshake")
    try:
        return _hello_decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"the peer's hello cannot be decoded: {error}", code="malformed_handshake") from None


def _proof_bytes(chain_id: bytes, role: Role, signer: Hello, other: Hello) -> bytes:
    return struct.pack(
        ">16sHB32s32s32s32s32s",
        _DOMAIN,
        PROTOCOL_VERSION,
        _ROLE_BYTES[role],
        chain_id,
        signer.public_key,
        other.public_key,
        signer.challenge,
        other.challenge,
    )

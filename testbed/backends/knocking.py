"""Knocking at a validator's peer listener: a handshake as anybody may try it, and how the validator ends it.

`python -m testbed.backends.knocking HOST PORT CHAIN_ID` knocks from inside a container, with the key in TESTBED_KEY.
"""

from __future__ import annotations

import os
import secrets
import sys

from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.sync.client import connect

from tana.crypto.keys import KeyPair, Signer, verify
from tana.node.handshake import CHALLENGE_BYTES, Handshake
from tana.types.errors import TanaError

ADMITTED = "admitted"
TIMEOUT_S = 5


def knock_at(host: str, port: int, signer: Signer, chain_id: bytes) -> str:
    """`ADMITTED` where the listener lets this key in, else the code of its refusal, or why there was no answer."""
    handshake = Handshake(
        "dialer",
        signer=signer,
        chain_id=chain_id,
        challenge=secrets.token_bytes(CHALLENGE_BYTES),
        is_admitted=lambda key: True,
        verifier=verify,
    )
    try:
        with connect(f"ws://{host}:{port}", open_timeout=TIMEOUT_S, close_timeout=TIMEOUT_S, proxy=None) as link:
            link.send(handshake.write_hello())
            handshake.read_hello(link.recv(TIMEOUT_S, decode=False))
            link.send(handshake.write_proof())
            handshake.read_proof(link.recv(TIMEOUT_S, decode=False))
            return ADMITTED
    except ConnectionClosed as closed:
        return closed.rcvd.reason if closed.rcvd is not None else "the link broke"
    except (TanaError, WebSocketException, OSError) as error:
        return f"no handshake: {error}"


def main() -> None:
    host, port, chain_id = sys.argv[1:]
    print(knock_at(host, int(port), KeyPair.from_text(os.environ["TESTBED_KEY"]), bytes.fromhex(chain_id)))


if __name__ == "__main__":
    main()

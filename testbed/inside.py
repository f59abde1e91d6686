"""What the testbed runs inside a member's network namespace, where only the standard library and this package are.

    python -m testbed.inside ask METHOD URL [BODY [TOKEN CA]]     one HTTP request: {"status", "body"}
    python -m testbed.inside knock HOST PORT…                     how each port ends a GET /health
    python -m testbed.inside link HOST PORT SEED CHAIN            how a peer listener ends a handshake with that key
    python -m testbed.inside capture TEXT[,TEXT] INTERFACE…      counts packets until told to stop; needs NET_RAW
    python -m testbed.inside tell WORD                            to the capture: `ready?` or `stop`

Each prints one line of JSON.
"""

from __future__ import annotations

import http.client
import json
import select
import socket
import ssl
import struct
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

TIMEOUT_S = 3
CAPTURE_PORT = 48_190
"""UDP, on loopback: where a capture is told to stop."""
MASK_BYTES = 4
"""The period of the mask that WebSocket clients put over what they send (RFC 6455, 5.3)."""
REFUSED, SILENT = "refused", "silent"
_ALL_PROTOCOLS = 0x0003
_SOL_PACKET, _PACKET_STATISTICS = 263, 6
_MAX_PACKET_BYTES = 1 << 17
_BUFFER_BYTES = 1 << 25


def ask(method: str, url: str, body: str = "", token: str = "", ca: str = "") -> dict[str, Any]:
    """The status and parsed answer of a request; status 0 and the reason where none comes."""
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url, body.encode() or None, headers, method=method)
    context = ssl.create_default_context(cadata=ca) if ca else None
    # Nothing here may take a proxy of the environment.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=TIMEOUT_S) as response:
            return {"status": response.status, "body": _parse(response.read())}
    except urllib.error.HTTPError as error:
        return {"status": error.code, "body": _parse(error.read())}
    except OSError as error:
        return {"status": 0, "body": str(error)}


def knock(host: str, port: int) -> str:
    """`refused`, `silent`, another error in words, or `HTTP <status>`; `open` where it is not HTTP."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/health")
        return f"HTTP {connection.getresponse().status}"
    except ConnectionRefusedError:
        return REFUSED
    except TimeoutError:
        return SILENT
    except http.client.HTTPException:
        return "open"
    except OSError as error:
        return error.strerror or str(error)
    finally:
        connection.close()


def find_texts(texts: Sequence[bytes], packet: bytes) -> list[bool]:
    """Whether a packet holds each text, in the clear or under a mask of four bytes.

    Such a mask leaves the difference of any two bytes that are four apart as it is: that is what is compared.
    """
    haystack = _differ(packet)
    return [_differ(text) in haystack for text in texts]


def capture(texts: Sequence[bytes], interfaces: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Per interface how many packets passed, how many more were not looked at, and how many held each text."""
    assert all(len(text) >= 4 * MASK_BYTES for text in texts), "a short text is found by chance"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        control.bind(("127.0.0.1", CAPTURE_PORT))
        watches = [_Watch(name, texts) for name in interfaces]
        is_stopped = False
        while True:
            # Stopped, it still takes what has passed before.
            readable: list[socket.socket | _Watch] = [*watches, control]
            ready, _, _ = select.select(readable, [], [], 0 if is_stopped else None)
            if control in ready:
                word, sender = control.recvfrom(64)
                control.sendto(word, sender)
                is_stopped = is_stopped or word == b"stop"
            busy: list[_Watch] = [watch for watch in watches if watch in ready]
            for watch in busy:
                watch.take()
            if is_stopped and not busy:
                return {watch.interface: watch.finish() for watch in watches}


class _Watch:
    """All packets of one interface, in both directions."""

    def __init__(self, interface: str, texts: Sequence[bytes]) -> None:
        self.interface = interface
        self._texts = texts
        self._packets = 0
        self._hits = [0] * len(texts)
        # Without a protocol it captures nothing until it is bound: before, it would see all interfaces.
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
        self._socket.bind((interface, _ALL_PROTOCOLS))

    def fileno(self) -> int:
        return self._socket.fileno()

    def take(self) -> None:
        found = find_texts(self._texts, self._socket.recv(_MAX_PACKET_BYTES))
        self._packets += 1
        self._hits = [hits + is_there for hits, is_there in zip(self._hits, found, strict=True)]

    def finish(self) -> dict[str, Any]:
        # packet(7): received and dropped since the last call.
        _, missed = struct.unpack("II", self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8))
        self._socket.close()
        return {"packets": self._packets, "missed": missed, "hits": self._hits}


def tell(word: str) -> bool:
    """Whether the capture of this namespace heard it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        control.settimeout(TIMEOUT_S)
        try:
            control.connect(("127.0.0.1", CAPTURE_PORT))
            control.send(word.encode())
            return control.recv(64) == word.encode()
        except OSError:
            return False


def _differ(data: bytes) -> bytes:
    length = max(len(data) - MASK_BYTES, 0)
    return (int.from_bytes(data[:length]) ^ int.from_bytes(data[MASK_BYTES:])).to_bytes(length)


def _parse(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode("utf-8", "replace")[:500]


def main(arguments: list[str]) -> Any:
    """Do what the command line asks for; its result."""
    command, *rest = arguments
    match command:
        case "ask":
            return ask(*rest)
        case "knock":
            ports = rest[1:]
            # Side by side: one that is silent costs the whole timeout.
            with ThreadPoolExecutor(len(ports)) as pool:
                return dict(zip(ports, pool.map(lambda port: knock(rest[0], int(port)), ports), strict=True))
        case "link":
            from tana.crypto.keys import KeyPair
            from testbed.backends.knocking import knock_at

            host, port, seed, chain_id = rest
            return knock_at(host, int(port), KeyPair.from_seed(bytes.fromhex(seed)), bytes.fromhex(chain_id))
        case "capture":
            texts, interfaces = rest[0].split(","), rest[1:]
            return capture([text.encode() for text in texts], interfaces)
        case "tell":
            return tell(*rest)
    raise SystemExit(f"there is no command {command!r}")


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1:])))

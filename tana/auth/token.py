"""Service auth tokens: short-lived signed claims that one service shows to another.

A token is `{serviceId, nodeId, timestamp, expiresAt, payload?, signature}` and travels as
`Authorization: Bearer base64(JSON)`. The signature covers the canonical text of the first four and the payload
(`{}` where it is absent). Our own tokens name the method and path of the one request they are for in the payload,
so that a token seen on its way is worth nothing elsewhere; tokens of older clients name neither and are
accepted unless the verifier is strict.

Times are ms since 1970.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Protocol

from tana.crypto import keys
from tana.types import canonical
from tana.types.errors import Forbidden, InvalidInput, Unauthorized

SERVICES = ("ledger", "t4", "mesh", "identity", "notifications")
TOKEN_LIFE_MS = 3_600_000
CLOCK_SKEW_MS = 60_000
MAX_HEADER_BYTES = 8 * 1024
"""A longer Authorization header is refused before anything of it is decoded."""

_SCHEME = "bearer "
_REQUIRED_FIELDS = ("serviceId", "nodeId", "timestamp", "expiresAt", "signature")
_ALL_FIELDS = frozenset((*_REQUIRED_FIELDS, "payload"))
_MAX_TIME_MS = 2**53 - 1
_MAX_NODE_ID_LENGTH = 128
_REMEDY = "send Authorization: Bearer with a token signed by the service's key"


class KeySource(Protocol):
    """Finds the public key (32 bytes) of a node's service; None for a node that is not approved."""

    def get(self, node_id: str, service_id: str) -> bytes | None: ...


@dataclass(frozen=True)
class Token:
    """A token's fields, not verified by construction. `signature` is printed, in any of its three forms."""

    service_id: str
    node_id: str
    timestamp_ms: int
    expires_at_ms: int
    payload: dict[str, Any] | None
    signature: str

    def to_json(self) -> dict[str, Any]:
        """The fields under their wire names, in wire order."""
        fields: dict[str, Any] = {
            "serviceId": self.service_id,
            "nodeId": self.node_id,
            "timestamp": self.timestamp_ms,
            "expiresAt": self.expires_at_ms,
        }
        if self.payload is not None:
            fields["payload"] = self.payload
        return {**fields, "signature": self.signature}

    def to_header(self) -> str:
        """The value of the Authorization header."""
        return "Bearer " + base64.b64encode(canonical.to_utf8(canonical.dumps(self.to_json()))).decode("ascii")

    def to_text(self) -> str:
        """What the signature covers."""
        return signed_text(self.service_id, self.node_id, self.timestamp_ms, self.expires_at_ms, self.payload)


def signed_text(
    service_id: str, node_id: str, timestamp_ms: int, expires_at_ms: int, payload: dict[str, Any] | None
) -> str:
    """The canonical text that a token's signature covers."""
    return canonical.dumps(
        {
            "serviceId": service_id,
            "nodeId": node_id,
            "timestamp": timestamp_ms,
            "expiresAt": expires_at_ms,
            "payload": payload or {},
        }
    )


def issue_token(
    signer: keys.Signer,
    node_id: str,
    service_id: str,
    now_ms: int,
    *,
    payload: dict[str, Any] | None = None,
    life_ms: int = TOKEN_LIFE_MS,
) -> Token:
    """A token of `node_id`'s service, signed with that service's key and valid for `life_ms` from `now_ms` on."""
    expires_at_ms = now_ms + life_ms
    signature = signer.sign(canonical.to_utf8(signed_text(service_id, node_id, now_ms, expires_at_ms, payload)))
    # Existing services print the signature of a token with the prefix of keys.
    return Token(service_id, node_id, now_ms, expires_at_ms, payload, keys.KEY_PREFIX + signature.hex())


def issue_request_token(
    signer: keys.Signer, node_id: str, service_id: str, now_ms: int, *, method: str, path: str
) -> Token:
    """A token that is good for one method and path only, which is what our own clients send."""
    return issue_token(signer, node_id, service_id, now_ms, payload={"method": method.upper(), "path": path})


def parse_header(header: str | None) -> Token:
    """The token in an Authorization header, not yet verified. Raises `Unauthorized` saying what is wrong with it."""
    if not header:
        raise Unauthorized("the request carries no token", remedy=_REMEDY, code="token_missing", field="Authorization")
    if len(header) > MAX_HEADER_BYTES:
        raise _malformed(f"the header has {len(header)} bytes and at most {MAX_HEADER_BYTES} are allowed")
    if header[: len(_SCHEME)].lower() != _SCHEME:
        raise _malformed("the scheme is not Bearer")
    try:
        body = canonical.loads(base64.b64decode(header[len(_SCHEME) :].strip(), validate=True))
        return _parse_token(body)
    except (binascii.Error, ValueError):
        raise _malformed("it is not base64") from None
    except InvalidInput as error:
        raise _malformed(error.message) from None


def verify_token(token: Token, key_source: KeySource, now_ms: int) -> None:
    """Check a token's times and its signature by the key of its node's service. Raises `Unauthorized`."""
    if token.timestamp_ms > now_ms + CLOCK_SKEW_MS:
        raise Unauthorized(
            f"the token is from the future: issued {token.timestamp_ms - now_ms} ms ahead of this clock",
            remedy="set the sender's clock",
            code="token_from_future",
            field="timestamp",
        )
    if now_ms > token.expires_at_ms + CLOCK_SKEW_MS:
        raise Unauthorized(
            f"the token expired {now_ms - token.expires_at_ms} ms ago",
            remedy="issue a new one",
            code="token_expired",
            field="expiresAt",
        )
    public_key = key_source.get(token.node_id, token.service_id)
    if public_key is None:
        raise Unauthorized(
            f"no approved node {token.node_id!r} has a key for service {token.service_id}",
            remedy="register the node with its services and have it approved",
            code="unknown_key",
            field="nodeId",
        )
    # Malformed signatures were refused when the token was parsed.
    if not keys.verify(public_key, canonical.to_utf8(token.to_text()), keys.parse_signature(token.signature)):
        raise Unauthorized("the token's signature is wrong", code="bad_signature", field="signature")


def verify_request(
    header: str | None,
    key_source: KeySource,
    now_ms: int,
    *,
    service_id: str,
    method: str,
    path: str,
    strict: bool = False,
) -> Token:
    """The verified token of a request that only `service_id` may make.

    Raises `Unauthorized` for no token, a bad one, or one made for another request, and `Forbidden` for a good token of
    another service. `strict` refuses tokens that do not name method and path.
    """
    token = parse_header(header)
    verify_token(token, key_source, now_ms)
    _check_request(token.payload or {}, {"method": method, "path": path}, strict)
    if token.service_id != service_id:
        raise Forbidden(
            f"service {token.service_id} may not do this, only {service_id}", code="wrong_service", field="serviceId"
        )
    return token


def _check_request(payload: dict[str, Any], request: dict[str, str], strict: bool) -> None:
    for name, actual in request.items():
        if name not in payload:
            if strict:
                raise Unauthorized(
                    f"the token does not name the {name} it is for",
                    remedy="put method and path into the token's payload",
                    code="token_unbound",
                    field=name,
                )
        elif payload[name] != actual:
            raise Unauthorized(f"the token is for another {name}", code="token_for_other_request", field=name)


def _parse_token(body: Any) -> Token:
    if not isinstance(body, dict):
        raise InvalidInput("it must be a JSON object")
    for name in _REQUIRED_FIELDS:
        if body.get(name) is None:
            raise InvalidInput(f"{name} is missing")
    for name in body:
        if name not in _ALL_FIELDS:
            raise InvalidInput(f"{name!r} is not a field of a token")
    if body["serviceId"] not in SERVICES:
        raise InvalidInput(f"serviceId must be one of {', '.join(SERVICES)}")
    node_id = body["nodeId"]
    if not isinstance(node_id, str) or not 1 <= len(node_id) <= _MAX_NODE_ID_LENGTH:
        raise InvalidInput(f"nodeId must be a string of 1 to {_MAX_NODE_ID_LENGTH} characters")
    payload = body.get("payload")
    if payload is not None and not isinstance(payload, dict):
        raise InvalidInput("payload must be an object")
    keys.parse_signature(body["signature"])
    token = Token(
        service_id=body["serviceId"],
        node_id=node_id,
        timestamp_ms=_time(body, "timestamp"),
        expires_at_ms=_time(body, "expiresAt"),
        payload=payload,
        signature=body["signature"],
    )
    if token.expires_at_ms <= token.timestamp_ms:
        raise InvalidInput("expiresAt must be later than timestamp")
    token.to_text()  # refuses a payload that is nested too deep
    return token


def _time(body: dict[str, Any], name: str) -> int:
    value = body[name]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_TIME_MS:
        raise InvalidInput(f"{name} must be a whole number of ms from 0 to {_MAX_TIME_MS}")
    return value


def _malformed(reason: str) -> Unauthorized:
    return Unauthorized(
        f"the token is malformed: {reason}", remedy=_REMEDY, code="token_malformed", field="Authorization"
    )

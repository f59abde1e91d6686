"""The bodies of requests: their fields, bounds and shapes. Unknown fields are refused by name.

Field names are those of the JSON. Optional fields may be null or left out. What a body says is not yet verified.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from tana.types.errors import InvalidInput
from tana.types.genesis import NodeId, PublicKeyText

ServiceType = Literal["ledger", "t4", "consensus", "mesh", "identity", "notifications"]
MAX_SERVICES = 16
_MAX_INTEGER = 2**53 - 1
_HOSTNAME = (
    r"^(?=.{1,253}\Z)([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.?\Z"
)

Hostname = Annotated[str, msgspec.Meta(pattern=_HOSTNAME)]
Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Milliseconds = Annotated[int, msgspec.Meta(ge=0, le=_MAX_INTEGER)]
HashText = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
SignatureText = Annotated[str, msgspec.Meta(max_length=256)]
KeyText = Annotated[str, msgspec.Meta(max_length=128)]
ShortText = Annotated[str, msgspec.Meta(max_length=64)]


class RegisteredService(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    type: ServiceType
    port: Port
    publicKey: PublicKeyText


class Registration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    nodeId: NodeId
    publicKey: PublicKeyText
    tailscaleHostname: Hostname
    services: Annotated[tuple[RegisteredService, ...], msgspec.Meta(max_length=MAX_SERVICES)]
    signature: SignatureText
    tailscaleIP: ShortText | None = None
    bodySignature: SignatureText | None = None


class ServiceHealth(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`lastCheck` is Unix milliseconds, or a time as text."""

    type: ServiceType
    healthy: bool
    lastCheck: Milliseconds | ShortText | None = None


class ConsensusReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    height: Milliseconds
    state: Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,32}\Z")]
    blockHash: HashText | None = None
    stateRoot: HashText | None = None


class HeartbeatBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    nodeId: NodeId
    timestamp: Milliseconds
    signature: SignatureText
    tailscaleIP: ShortText | None = None
    services: Annotated[tuple[ServiceHealth, ...], msgspec.Meta(max_length=MAX_SERVICES)] | None = None
    consensus: ConsensusReport | None = None
    bodySignature: SignatureText | None = None


class SovereignDecision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of approve and deny."""

    approverPublicKey: KeyText
    signature: SignatureText


class SovereignAddition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    publicKey: PublicKeyText
    approverPublicKey: KeyText
    signature: SignatureText


class SovereignQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    message: str
    signature: str
    publicKey: str | None = None


_AnyBody = TypeVar("_AnyBody", bound=msgspec.Struct)
_NAMED_FIELD = re.compile(r"Object (?:missing required|contains unknown) field `(.*)`", re.DOTALL)
_PATH = re.compile(r" - at `\$\.?(.*)`\Z", re.DOTALL)
_MAX_NAME = 80


def parse_body(body: Any, kind: type[_AnyBody]) -> _AnyBody:
    """The typed body.

    Raises `InvalidInput` that names the field; codes "missing_field", "unknown_field", "invalid_field".
    """
    try:
        parsed = msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise _explain(str(error)) from None
    except UnicodeEncodeError:
        # JSON can spell a lone surrogate, which has no UTF-8, and which msgspec can neither compare nor print.
        raise InvalidInput("a name or text in the body is no UTF-8: a lone surrogate", code="invalid_text") from None
    if isinstance(parsed, Registration | HeartbeatBody):
        check_ip(parsed.tailscaleIP)
        check_unique_types([service.type for service in parsed.services or ()])
    return parsed


def check_ip(address: str | None) -> None:
    """Refuse what is no address that one host can be reached at (a scope after % means nothing elsewhere)."""
    if address is None:
        return
    try:
        parsed = ipaddress.ip_address(address.replace("%", " "))
    except ValueError:
        parsed = None
    if parsed is None or parsed.is_unspecified or parsed.is_multicast:
        raise InvalidInput(
            "tailscaleIP is no IPv4 or IPv6 address of a host", code="invalid_field", field="tailscaleIP"
        )


def check_unique_types(types: Sequence[str]) -> None:
    """Refuse a list of services that names one type twice."""
    if len(set(types)) != len(types):
        raise InvalidInput("services names one type twice", code="duplicate_service", field="services")


def _explain(reason: str) -> InvalidInput:
    """The error for msgspec's words, such as "Object missing required field `port` - at `$.services[0]`"."""
    path_match = _PATH.search(reason)
    path = path_match.group(1) if path_match else ""
    reason = _PATH.sub("", reason)
    named = _NAMED_FIELD.match(reason)
    if named is None:
        name = _shorten(path)
        return InvalidInput(f"{name or 'the body'} is invalid: {reason}", code="invalid_field", field=name)
    name = _shorten(f"{path}.{named.group(1)}" if path else named.group(1))
    if "missing" in reason[:16]:
        return InvalidInput(f"{name} is missing", code="missing_field", field=name)
    return InvalidInput(
        f"{name} is unknown", remedy="leave it out, or check its spelling", code="unknown_field", field=name
    )


def _shorten(name: str) -> str:
    return name if len(name) <= _MAX_NAME else name[:_MAX_NAME] + "…"

"""The genesis: who validates, who holds what, and the rules, signed once by the sovereign.

Its canonical text is what is signed; SHA-256 of that text is the chain id.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from tana.types import canonical
from tana.types.block import MAX_BLOCK_BYTES
from tana.types.errors import InvalidInput
from tana.types.money import MAX_UNITS, parse_amount
from tana.types.validator_set import Validator, ValidatorSet

PublicKeyText = Annotated[str, msgspec.Meta(pattern=r"^ed25519_[0-9a-f]{64}\Z")]
NodeId = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")]
CurrencyCode = Annotated[str, msgspec.Meta(pattern=r"^[A-Z0-9]{2,12}\Z")]
Username = Annotated[str, msgspec.Meta(pattern=r"^(@[a-z0-9_]{1,31})?\Z")]
ROLES = ("sovereign", "staff", "user")


class GenesisCurrency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A currency: code such as USD, and how many decimal places its amounts have."""

    code: CurrencyCode
    decimals: Annotated[int, msgspec.Meta(ge=0, le=18)]


class GenesisValidator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    nodeId: NodeId
    publicKey: PublicKeyText
    power: Annotated[int, msgspec.Meta(ge=1, le=2**48)]


class GenesisAccount(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An account that exists from the start. `balances` are decimal strings by currency code; no username is ""."""

    publicKey: PublicKeyText
    username: Username
    role: str
    balances: dict[str, str]


class GenesisParameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules that every validator must share."""

    maxBlockBytes: Annotated[int, msgspec.Meta(ge=1024, le=MAX_BLOCK_BYTES)] = 1024 * 1024
    maxBlockTransactions: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 5_000
    requireChainId: bool = False
    maxClockLeadMs: Annotated[int, msgspec.Meta(ge=100, le=3_600_000)] = 10_000
    evidenceMaxAgeHeights: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 10_000


class Genesis(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the sovereign signs. Field names are those of the JSON text, in its order."""

    version: Annotated[int, msgspec.Meta(ge=1, le=1)]
    createdAt: Annotated[int, msgspec.Meta(ge=0, le=2**53 - 1)]
    sovereign: PublicKeyText
    currencies: tuple[GenesisCurrency, ...]
    validators: tuple[GenesisValidator, ...]
    accounts: tuple[GenesisAccount, ...]
    parameters: GenesisParameters

    def to_text(self) -> str:
        """The canonical text that is signed."""
        return canonical.dumps(msgspec.to_builtins(self))

    def compute_chain_id(self) -> bytes:
        """SHA-256 of the canonical text, 32 bytes."""
        return hashlib.sha256(self.to_text().encode("utf-8")).digest()

    def to_validator_set(self) -> ValidatorSet:
        """The validators of height 1. Raises `InvalidInput` where they are no valid set."""
        return ValidatorSet.create(
            Validator(bytes.fromhex(item.publicKey[8:]), item.power, item.nodeId) for item in self.validators
        )

    def get_decimals(self, code: str) -> int | None:
        """Decimal places of a currency, None for one that this chain does not have."""
        return self._decimals.get(code)

    @property
    def _decimals(self) -> dict[str, int]:
        return {currency.code: currency.decimals for currency in self.currencies}


@dataclass(frozen=True)
class SignedGenesis:
    """A genesis with the sovereign's printed signature over its text (not verified by construction)."""

    genesis: Genesis
    signature: str

    @functools.cached_property
    def chain_id(self) -> bytes:
        return self.genesis.compute_chain_id()

    def to_json(self) -> dict[str, Any]:
        """The body of `PUT /genesis` and `GET /genesis`: `{genesis, signature, chainId}`."""
        return {
            "genesis": msgspec.to_builtins(self.genesis),
            "signature": self.signature,
            "chainId": self.chain_id.hex(),
        }


def parse_genesis(body: Any) -> Genesis:
    """A genesis from JSON values. Raises `InvalidInput` naming the field that is wrong, unknown or contradictory."""
    try:
        genesis = msgspec.convert(body, Genesis)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        # The latter is a lone surrogate: a character in JSON that has no bytes in UTF-8.
        raise InvalidInput(f"the genesis is malformed: {error}", code="malformed_genesis", field="genesis") from None
    _check_unique("currencies", [currency.code for currency in genesis.currencies])
    _check_unique("accounts", [account.publicKey for account in genesis.accounts])
    _check_unique("validators", [validator.nodeId for validator in genesis.validators])
    genesis.to_validator_set()
    _check_unique("usernames", [account.username for account in genesis.accounts if account.username])
    _check_accounts(genesis)
    return genesis


def parse_signed_genesis(body: Any) -> SignedGenesis:
    """The body `{genesis, signature}`; a `chainId` beside them must agree. Raises `InvalidInput`."""
    if not isinstance(body, dict) or not set(body) <= {"genesis", "signature", "chainId"}:
        raise InvalidInput("the body must be {genesis, signature}", field="genesis")
    signature = body.get("signature")
    if not isinstance(signature, str):
        raise InvalidInput("signature is missing", code="missing_field", field="signature")
    signed = SignedGenesis(parse_genesis(body.get("genesis")), signature)
    if body.get("chainId") not in (None, signed.chain_id.hex()):
        raise InvalidInput("chainId is not the hash of the genesis", field="chainId")
    return signed


def _check_accounts(genesis: Genesis) -> None:
    decimals = {currency.code: currency.decimals for currency in genesis.currencies}
    supply = dict.fromkeys(decimals, 0)
    for account in genesis.accounts:
        if account.role not in ROLES:
            raise InvalidInput(f"account role {account.role!r} is unknown", field="role")
        if account.publicKey == genesis.sovereign and account.role != "sovereign":
            raise InvalidInput("the sovereign's own account must have role sovereign", field="role")
        for code, amount in account.balances.items():
            if code not in decimals:
                raise InvalidInput(f"account balance in {code}, which is not among the currencies", field="balances")
            supply[code] += parse_amount(amount, decimals[code], "balances")
            if supply[code] > MAX_UNITS:
                raise InvalidInput(
                    f"the balances in {code} sum to more than {MAX_UNITS} smallest units", field="balances"
                )


def _check_unique(field: str, names: list[str]) -> None:
    if len(set(names)) != len(names):
        raise InvalidInput(f"{field} names one thing twice", code="malformed_genesis", field=field)

"""Who takes part in a simulated run, with their keys: nodes, clients, a sovereign; and the genesis that names them."""

from __future__ import annotations

import functools
from typing import Final

from tana.crypto.keys import KeyPair, Signer, Verifier, format_public_key, verify
from tana.types.genesis import Genesis, GenesisAccount, GenesisCurrency, GenesisParameters, GenesisValidator
from testbed.plan import make_key
from testbed.simulation.clients import CURRENCY
from testbed.simulation.node import Identity
from testbed.simulation.schedule import Schedule
from testbed.simulation.signing import StandInKey, verify_stand_in

BEGIN_MS: Final = 1_750_000_000_000
"""When virtual time begins (June 2025)."""
CLIENTS = 6


def make_signer(schedule: Schedule, label: str) -> Signer:
    """A key of this run: the same for every seed, for a seed decides faults and not keys."""
    key = _make_key(label)
    return key if schedule.has_real_signatures else StandInKey(key.public_key)


def make_identities(schedule: Schedule) -> tuple[Identity, ...]:
    verifier: Verifier = verify if schedule.has_real_signatures else verify_stand_in
    return tuple(
        Identity(schedule.get_name(number), make_signer(schedule, f"node/{number}"), verifier, number)
        for number in range(schedule.nodes)
    )


def make_genesis(schedule: Schedule) -> Genesis:
    """The genesis of a run: its nodes with their powers, a sovereign, and clients that have money."""
    sovereign = format_public_key(_make_key("sovereign").public_key)
    validators = tuple(
        GenesisValidator(schedule.get_name(number), _make_key(f"node/{number}").public_text, power)
        for number, power in enumerate(schedule.get_powers())
        if power
    )
    accounts = [GenesisAccount(sovereign, "", "sovereign", {CURRENCY: "1000000.00"})]
    accounts += [
        GenesisAccount(_make_key(f"client/{number}").public_text, "", "user", {CURRENCY: "1000.00"})
        for number in range(CLIENTS)
    ]
    return Genesis(
        version=1,
        createdAt=BEGIN_MS - 1,
        sovereign=sovereign,
        currencies=(GenesisCurrency(CURRENCY, 2),),
        validators=validators,
        accounts=tuple(accounts),
        parameters=GenesisParameters(),
    )


@functools.cache
def _make_key(label: str) -> KeyPair:
    return make_key(0, label)

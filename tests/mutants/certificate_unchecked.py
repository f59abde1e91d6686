"""Certificate unchecked: what a peer calls final is final, whatever signatures it comes with."""

from tana.node import machine
from testbed.planting import Patch

CAUGHT_BY = ("certificates", "agreement")


def plant(patch: Patch) -> None:
    patch.set(machine, "verify_certificate", lambda certificate, chain_id, validators, verifier: None)

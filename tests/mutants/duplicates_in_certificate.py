"""Duplicates in a certificate: a signature that stands in it three times is counted three times."""

from tana.consensus import certificate
from tana.node import machine
from testbed.planting import Patch

CAUGHT_BY = ("certificates", "agreement")


def plant(patch: Patch) -> None:
    patch.edit(certificate, "verify_certificate", "if item.validator in seen:", "if False:")
    patch.set(machine, "verify_certificate", certificate.verify_certificate)

"""Never re-sent: a vote leaves once, and is gone where the link loses it."""

from tana.node import machine
from testbed.planting import Patch

CAUGHT_BY = ("recovery", "two_phase", "catch_up")


def plant(patch: Patch) -> None:
    patch.set(machine, "find_lacking", lambda core, announcement: [])

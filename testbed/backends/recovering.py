"""`tana validator recover` as backends run it: the command for a validator, and what its end means."""

from __future__ import annotations

from tana.cli.group import EXIT_REFUSED
from tana.types.errors import Conflict, Unavailable

COMMAND = ("python", "-m", "tana.cli.main", "validator", "recover")
TIMEOUT_S = 60


def make_recovery(node: str, sovereign: str, height: int, round: int) -> list[str]:
    """The flags for a validator whose other settings are in the environment."""
    return ["--node-id", node, "--sovereign", sovereign, "--height", str(height), "--round", str(round), "--json"]


def read_recovery(code: int, output: str) -> str:
    """What it says where it has done it. Raises `Conflict` with the code `slot_too_low`, `Unavailable` otherwise."""
    if code == 0:
        return output.strip()
    reason = " ".join(output.split()).removeprefix("error: ") or f"it ended with exit code {code}"
    if code == EXIT_REFUSED and " is too low: " in reason:
        raise Conflict(reason, code="slot_too_low")
    raise Unavailable(f"tana validator recover: {reason}", code="not_recovered")

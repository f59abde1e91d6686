"""The testbed's validator takes the command of the Compose files."""

from __future__ import annotations

import pytest

from testbed.validator import read_flags

KEY = "ed25519_" + "ab" * 32


def test_flags_of_the_command() -> None:
    words = ["tana", "validator", "run", "--sovereign", KEY, "--hostname", "validator-1", "--ip", ""]
    assert read_flags(words) == {"sovereign": KEY, "hostname": "validator-1", "ip": ""}
    assert read_flags([]) == {}


def test_invalid_another_command() -> None:
    with pytest.raises(AssertionError, match="another command"):
        read_flags(["tana", "mesh", "serve"])

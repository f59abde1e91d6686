"""log_garbled: a byte in the middle of validators' logs is another one, and they abstain until they are recovered."""

from __future__ import annotations

from testbed.damage import GARBLE
from testbed.faults.sign_state_wiped import SignStateWiped


class LogGarbled(SignStateWiped):
    kind = "log_garbled"
    how = GARBLE
    complaint = "is damaged at byte"

"""What every child process of the testbed does first: it dies with the harness, however that ends.

`python -m testbed.child ARGUMENTS` is the `tana` command as a child: the mesh runs as `mesh serve …`.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PARENT_VARIABLE = "TESTBED_PARENT_PID"
CONTROL_VARIABLE = "TESTBED_CONTROL"
"""Where a validator of the testbed finds its control file."""
ROUTES_VARIABLE = "TESTBED_ROUTES"
"""JSON: the port that a validator of the testbed dials instead of a peer's, by the peer's."""
JOURNAL_VARIABLE = "TESTBED_JOURNAL"
"""`off`: a validator of the testbed keeps no journal, as one in production (benchmarks measure that)."""
_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask the kernel to kill this process when the harness is gone (Linux, prctl(2)), also by kill -9."""
    parent = int(os.environ.pop(PARENT_VARIABLE, "0"))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # The harness may have died before the call above: then nobody would ever send the signal.
    if parent and os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    die_with_parent()
    from tana.cli.main import main

    main()

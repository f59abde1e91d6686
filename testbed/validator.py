"""A validator of the testbed: the real one, with hooks that the harness steers. `tana validator run` has none.

Settings come from the environment, as for any validator; so does the path of the control file.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tana.types.errors import TanaError
from testbed.child import CONTROL_VARIABLE, die_with_parent


def main() -> None:
    die_with_parent()
    from tana.node.main import run_validator_process
    from tana.node.settings import load_settings
    from testbed.hooks import ControlledHooks, read_control_file

    control = Path(os.environ[CONTROL_VARIABLE])
    try:
        run_validator_process(load_settings({}, os.environ), ControlledHooks(lambda: read_control_file(control)))
    except TanaError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

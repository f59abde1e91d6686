"""A validator of the testbed: the real one, with hooks that the harness steers. `tana validator run` has none.

Settings come from the environment, as for any validator; so does the path of the control file, beside which the node
keeps its journal. In a container the command of the Compose files follows, whose flags count first:
`python -m testbed.validator tana validator run --ip …`.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tana.types.errors import TanaError
from testbed.child import CONTROL_VARIABLE, JOURNAL_VARIABLE, ROUTES_VARIABLE, die_with_parent

COMMAND = ["tana", "validator", "run"]


def read_flags(arguments: Sequence[str]) -> dict[str, str | None]:
    """The settings that a command `tana validator run --NAME VALUE …` gives."""
    if not arguments:
        return {}
    words = list(arguments[len(COMMAND) :])
    assert list(arguments[: len(COMMAND)]) == COMMAND, f"{arguments} is another command"
    flags: dict[str, str | None] = {
        name.removeprefix("--").replace("-", "_"): value for name, value in zip(words[::2], words[1::2], strict=True)
    }
    if "sovereign" in flags:
        from tana.cli.sovereign import find_sovereign

        flags["sovereign"] = find_sovereign(flags["sovereign"])
    return flags


def main() -> None:
    die_with_parent()
    from tana.node.hooks import Hooks
    from tana.node.main import run_validator_process
    from tana.node.settings import load_settings
    from testbed.clock import SteeredClock
    from testbed.hooks import ControlledHooks, read_control_file
    from testbed.journal import FOLDER, JournalHooks, open_journal

    control = Path(os.environ[CONTROL_VARIABLE])
    try:
        settings = load_settings(read_flags(sys.argv[1:]), os.environ)
        routes = json.loads(os.environ.get(ROUTES_VARIABLE, "{}"))
        hooks: Hooks = ControlledHooks(lambda: read_control_file(control), SteeredClock(), routes)
        with contextlib.ExitStack() as stack:
            if os.environ.get(JOURNAL_VARIABLE) != "off":
                hooks = journal = JournalHooks(open_journal(control.with_name(FOLDER)), hooks)
                stack.callback(journal.flush)
            run_validator_process(settings, hooks)
    except TanaError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

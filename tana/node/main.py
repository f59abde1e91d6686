"""A validator as a process: logs, event loop, garbage collector, then `run_validator` until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tana.node.hooks import Hooks
    from tana.node.settings import ValidatorSettings


def run_validator_process(settings: ValidatorSettings, hooks: Hooks | None = None) -> None:
    """Run a validator in this process until SIGTERM or SIGINT. Raises what `run_validator` raises."""
    with _hide_modules("rich", "pygments"):
        import httpx  # noqa: F401
        import structlog  # noqa: F401
    import uvloop

    from tana.node.hooks import NO_HOOKS
    from tana.node.logging import configure_logging
    from tana.node.runtime import run_validator

    configure_logging(settings.log_format, settings.log_level)
    # What is loaded by now stays for good; blocks come and go in bulk. Fewer full collections, shorter pauses.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_validator(settings, hooks or NO_HOOKS))


@contextlib.contextmanager
def _hide_modules(*names: str) -> Iterator[None]:
    """Make optional packages look uninstalled meanwhile.

    structlog and httpx import rich where they find it, for tracebacks and a command line that no validator uses: a
    tenth of a second and 8 MiB in every process.
    """
    hidden = [name for name in names if name not in sys.modules]
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]

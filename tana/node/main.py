"""A validator as a process: logs, event loop, garbage collector, then `run_validator` until a signal."""

from __future__ import annotations

import asyncio
import gc

import uvloop

from tana.node.hooks import NO_HOOKS, Hooks
from tana.node.logging import configure_logging
from tana.node.runtime import run_validator
from tana.node.settings import ValidatorSettings


def run_validator_process(settings: ValidatorSettings, hooks: Hooks = NO_HOOKS) -> None:
    """Run a validator in this process until SIGTERM or SIGINT. Raises what `run_validator` raises."""
    configure_logging(settings.log_format, settings.log_level)
    # What is loaded by now stays for good; blocks come and go in bulk. Fewer full collections, shorter pauses.
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run_validator(settings, hooks))

"""Structured logs on standard output: one JSON object per line, or readable lines on a terminal.

Whatever third-party code logs through the standard library at warning or above comes out the same way.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any, TextIO, cast

import orjson
import structlog

# Dataclasses go through `_describe`: their fields may be secrets that their representation hides.
_OPTIONS = orjson.OPT_NON_STR_KEYS | orjson.OPT_PASSTHROUGH_DATACLASS
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logging(log_format: str = "auto", level: str = "info", stream: TextIO | None = None) -> None:
    """Set the process's logs up. `log_format` is json, text, or auto (text on a terminal)."""
    output = sys.stdout if stream is None else stream
    is_text = log_format == "text" or (log_format == "auto" and output.isatty())
    renderer: Any = structlog.dev.ConsoleRenderer(colors=output.isatty()) if is_text else _render_json
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Patient(output))),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_ToStructlog(logging.WARNING)]
    # A link's end and a peer's garbage are ours to tell, in one line; this library would print a traceback.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)


class _Patient:
    """Writes to a stream and goes on where that fails: a log on a full disk must not end a validator whose own disk has
    room, nor hide the reason where it has not."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._stream.flush()


class _ToStructlog(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["exc_info"] = record.exc_info
        structlog.get_logger().log(record.levelno, "library", **fields)


def _render_json(_logger: Any, _method: str, event: Any) -> str:
    return orjson.dumps(event, default=_describe, option=_OPTIONS).decode()


def _describe(value: Any) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)

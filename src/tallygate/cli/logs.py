"""Logs: one line of JSON per event on standard error, or lines for people on a terminal. Set up here and only here.

An event below the level costs a call of an empty function; one at the level costs one encoding and one write. What
other libraries say by `logging` (uvicorn, asyncio) goes the same way, warnings and worse.

A line that cannot be written (the disk is full, the reader of the pipe is gone) is lost, and nothing else with it:
a log must never stand between a call and its ending.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec
import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}

_encode = msgspec.json.Encoder(enc_hook=repr).encode


def configure_logs(level: str, *, pretty: bool, lasting: bool = False) -> None:
    """Set logging up for this process.

    Args:
        level: The least urgent lines to show.
        pretty: Whether people read them.
        lasting: Whether this is the last word, so that loggers need not ask again at each line.
    """
    if pretty:
        processors: list[Processor] = [
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ]
        factory: object = structlog.WriteLoggerFactory(_Lossy(sys.stderr))  # type: ignore[arg-type]
    else:
        processors = [_render]
        factory = structlog.BytesLoggerFactory(_Lossy(sys.stderr.buffer))  # type: ignore[arg-type]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=factory,  # type: ignore[arg-type]
        cache_logger_on_first_use=lasting,
    )
    logging.basicConfig(handlers=[_Forward()], level=logging.WARNING, force=True)


class _Lossy:
    """A file for lines, of which those are lost that cannot be written."""

    def __init__(self, file: IO[Any]) -> None:
        self._file = file

    def write(self, line: Any) -> None:
        """Write a line if that is possible."""
        try:  # noqa: SIM105  (`suppress` takes a third of a microsecond, twice a line)
            self._file.write(line)
        except OSError:
            pass

    def flush(self) -> None:
        """Let it out if that is possible."""
        try:  # noqa: SIM105  (as above)
            self._file.flush()
        except OSError:
            pass


class _Forward(logging.Handler):
    """Passes on what libraries log."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log it as one of our events."""
        logger = structlog.get_logger()
        logger.log(record.levelno, record.getMessage(), logger=record.name, exc_info=record.exc_info)


def _render(logger: WrappedLogger, level: str, event: EventDict) -> bytes:
    """Return an event as JSON, with its level and its time: one step, since a call waits for its line."""
    if "exc_info" in event:
        event = structlog.processors.format_exc_info(logger, level, event)
    event["level"] = level
    event["timestamp"] = datetime.now(UTC)
    return _encode(event)

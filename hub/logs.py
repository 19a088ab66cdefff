"""What the hub says of itself, on standard error: text for people, or one JSON object a line.

Times are ISO 8601 in UTC. Whatever logs through Python's `logging` (websockets, aiohttp, asyncio)
comes out the same way. No log holds a token, nor what users wrote: the frames that websockets shows
at debug level do, and the transactions that aiosqlite shows there, so they are never shown. Bad
input is the peer's fault, not the hub's: a quiet line, no traceback, and nothing of the input.
"""

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final

import structlog
from structlog.types import Processor

from hub.names import printable
from hub.settings import LogFormat, LogLevel

_PEERS_FAULT: Final = (EOFError, ConnectionError, TimeoutError)
_PEERS_PACKAGES: Final = ("websockets", "aiohttp")
"""An exception of these packages tells of the peer; one from anywhere else is the hub's own bug."""


def configure(log_level: LogLevel, log_format: LogFormat) -> None:
    """Send all logs, from this level up, to standard error in this format."""
    level = logging.getLevelNamesMapping()[log_level.upper()]
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(_text() if as_text else _json()))
    logging.basicConfig(handlers=[handler], level=level, force=True)
    _quieten(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_both(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def _both() -> list[Processor]:
    """What is done with a line of ours and with one of `logging` alike."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _formatter(last: list[Processor]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_both(),
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
    )


def _json() -> list[Processor]:
    return [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]


def _text() -> list[Processor]:
    colors = sys.stderr.isatty() and not os.environ.get("NO_COLOR")
    plain = structlog.dev.plain_traceback  # a rich one would show local variables, and tokens
    return [_printable, structlog.dev.ConsoleRenderer(colors=colors, exception_formatter=plain)]


def _printable(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Keep what a peer sent from moving the cursor or starting a line of its own."""
    return {
        key: printable(value) if isinstance(value, str) else value for key, value in event.items()
    }


def _quieten(level: int) -> None:
    """Let the libraries' lines about single connections through at debug level only."""
    is_debug = level <= logging.DEBUG
    for name in ("websockets", "aiosqlite", "aiohttp.access"):
        logging.getLogger(name).setLevel(logging.INFO if is_debug else max(level, logging.WARNING))
    for name in ("websockets.server", "aiohttp.server"):
        logger = logging.getLogger(name)
        logger.filters = [_BadInput(shown=is_debug)]


class _BadInput(logging.Filter):
    """Turns an error that is the peer's fault into one line at debug level."""

    def __init__(self, *, shown: bool) -> None:
        super().__init__()
        self._shown = shown

    def filter(self, record: logging.LogRecord) -> bool:
        fault = record.exc_info[1] if record.exc_info else None
        if fault is None or not _is_peers(fault):
            return True
        record.msg, record.args = f"{record.getMessage()}: {_told(fault)}", None
        record.exc_info = None
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        return self._shown


def _is_peers(fault: BaseException) -> bool:
    package = type(fault).__module__.partition(".")[0]
    return package in _PEERS_PACKAGES or isinstance(fault, _PEERS_FAULT)


def _told(fault: BaseException) -> str:
    """What went wrong. Those packages' own exceptions quote what came, and a token may be in it."""
    name = type(fault).__name__
    if isinstance(fault, _PEERS_FAULT):
        return f"{name}: {' '.join(str(fault).split())}"
    return name

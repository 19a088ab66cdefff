"""What the hub says of itself, on standard error: text for people, or one JSON object a line.

Times are ISO 8601 in UTC. Whatever logs through Python's `logging` (websockets, aiohttp, asyncio)
comes out the same way. Logs hold no tokens: the frames that websockets shows at debug level, which
may carry them, are never shown. Bad input of a peer is no fault of the hub: at most a quiet line.
"""

import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any, Final

import structlog
from structlog.types import EventDict, Processor

from hub.settings import LogFormat, LogLevel

_NOISY: Final = ("websockets.server", "aiohttp.server")
_BAD_INPUT: Final = ("opening handshake failed", "Error handling request from %s")
"""What these two say when a peer sends no HTTP, or gives up half-way: with a traceback, as errors."""


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
            *_common(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )

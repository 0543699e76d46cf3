"""
Structured logs on stderr: one event a line, with an action word, never with a secret.
"""

from __future__ import annotations

import logging
import re
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from contextlib import AbstractContextManager

    from structlog.typing import FilteringBoundLogger, Processor

# Keys of an event whose value is never shown, whoever passes it.
_SECRET = re.compile(r"seed|secret|password|private|api_key|mnemonic|token|raw", re.IGNORECASE)
# A URL's credentials, path and query can hold a key: scheme, host and port are enough to know
# which one it is.
_URL = re.compile(r"\b((?:https?|wss?)://)(?:[^/\s]*@)?([^/\s?#'\"<>]+)[^\s'\"<>]*", re.IGNORECASE)

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}


def redact_urls(text: str) -> str:
    """
    Return the text with every URL cut down to scheme, host and port.
    """
    return _URL.sub(r"\1\2", text)


def _redact(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in event.items():
        if _SECRET.search(key):
            event[key] = "[redacted]"
        elif isinstance(value, str):
            event[key] = redact_urls(value)
    return event


def configure(level: str = "info", *, json: bool = False) -> None:
    """
    Send logs to stderr: readable lines, or one JSON document a line.
    """
    import structlog  # noqa: PLC0415 - it is slow to import, and no --help logs

    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _redact,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def get() -> FilteringBoundLogger:
    """
    Return the logger; events are named by what was done (`request_confirmed`, `transaction_sent`).
    """
    import structlog  # noqa: PLC0415

    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def bound(**context: str) -> AbstractContextManager[None]:
    """
    Add context to every event of this task, until the block ends.
    """
    import structlog  # noqa: PLC0415

    return structlog.contextvars.bound_contextvars(**context)

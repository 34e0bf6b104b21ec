"""Configure the logs of every process: one JSON object per line on standard output, including those of libraries.

structlog renders the product's events; the standard library's records (aiohttp, kubernetes_asyncio, asyncio) pass
through the same processors, so that a log collector reads one format. The last processor before rendering withholds key
material, as a safeguard: no call may log any.
"""

import logging
import re
import sys
from typing import Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

LogLevel = Literal["debug", "info", "warning", "error"]
LOG_LEVELS: Final[tuple[LogLevel, ...]] = ("debug", "info", "warning", "error")

WITHHELD: Final = "[withheld]"
_KEY_MATERIAL: Final = re.compile(r"-----BEGIN |\bBearer\s+\S|\beyJ[\w-]{10,}\.[\w-]+\.")
"""PEM block, Authorization header, or JSON Web Token (RFC 7519: its header begins `{"`)."""


def configure_logging(level: LogLevel = "info", *, stream: TextIO | None = None) -> None:
    """Send every log line of the process to `stream` as JSON.

    Args:
        level: The lowest severity to write.
        stream: The destination; standard output if None.
    """
    before_rendering: tuple[Processor, ...] = (
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before_rendering,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream if stream is not None else sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before_rendering,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                withhold_key_material,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def withhold_key_material(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace each value that contains a PEM block, a bearer token or a JSON Web Token, at any depth."""
    return {key: _withheld(value) for key, value in event.items()}


def _withheld(value: object) -> object:
    match value:
        case bytes() | bytearray():
            return f"[{len(value)} bytes]"
        case str():
            return WITHHELD if _KEY_MATERIAL.search(value) else value
        case dict():
            return {key: _withheld(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_withheld(inner) for inner in value]
        case None | bool() | int() | float():
            return value
        case _:
            return _withheld(repr(value))

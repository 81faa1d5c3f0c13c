"""Logging: JSON lines outside a terminal, readable lines on one. Never local variables: they hold secrets."""

import logging
import sys
from typing import Any, Final, TextIO

import msgspec
import structlog

_encode = msgspec.json.Encoder(enc_hook=str).encode
_QUIET: Final = ("asyncio", "uvicorn.access")


def _to_json(_: Any, __: str, event: dict[str, Any]) -> str:
    return _encode({key: value for key, value in event.items() if value is not None}).decode()


def configure_logging(level: str, stream: TextIO = sys.stderr) -> None:
    """Sends our own and the libraries' log lines through one set of processors to one stream."""
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = _to_json
    if stream.isatty():
        renderer = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    number = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared[:1], *shared[2:], renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.error").setLevel(max(number, logging.WARNING))

"""Logging: JSON lines, or readable ones on a terminal. Never local variables: they hold secrets.

Loggers, ours and the libraries', go through structlog. The line of each request does not: encoded straight from a
struct it takes a quarter of the time, and all lines of one iteration of the event loop share a write.
"""

import asyncio
import logging
import os
import stat
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, Final, TextIO
from uuid import UUID

import asyncpg
import msgspec
import structlog

from gateway.request import RequestContext

_encoder: Final = msgspec.json.Encoder(enc_hook=str)
_QUIET: Final = ("asyncio", "httpcore", "uvicorn.access")
ATOMIC_BYTES: Final = 4096
"""What a pipe takes in one piece (PIPE_BUF): longer writes of several processes could be mixed."""


class RequestLine(msgspec.Struct, omit_defaults=True):
    """What is logged of one request."""

    timestamp: datetime
    level: str
    event: str
    method: str
    route: str
    """The template of the path."""
    status: int
    duration_ms: float
    request_id: str
    trace_id: str
    tenant_id: UUID | None = None
    client: str = ""
    """The client's IP address."""
    code: str | None = None
    """The error's code."""
    cause: str | None = None
    """The cause of a 5xx, on one line."""
    exception: str | None = None
    """The traceback of a 500, without values."""


class OnceAMinute(logging.Filter):
    """Drops a logger's messages that it logged within the last minute: for what is retried until it succeeds."""

    def __init__(self) -> None:
        super().__init__()
        self._logged_at: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the message is logged."""
        is_due = record.created >= self._logged_at.get(record.msg, 0) + 60
        if is_due:
            self._logged_at[record.msg] = record.created
        return is_due


class _Output:
    """Writes lines to a stream, all those of one iteration of the event loop together."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[bytes] = []
        try:
            self._descriptor = stream.fileno()
            self._is_pipe = stat.S_ISFIFO(os.fstat(self._descriptor).st_mode)
        except (OSError, ValueError):
            self._descriptor = -1

    def write(self, line: bytes) -> None:
        """Adds a line, to be written in the next iteration of the event loop."""
        self._lines.append(line)
        if len(self._lines) == 1:
            try:
                asyncio.get_running_loop().call_soon(self.flush)
            except RuntimeError:
                self.flush()

    def flush(self) -> None:
        """Writes the lines added so far."""
        lines, self._lines = self._lines, []
        if self._descriptor < 0:
            self._stream.write(b"".join(lines).decode())
            return
        self._stream.flush()  # what others have written to it comes first
        try:
            for part in _parts(lines) if self._is_pipe else [b"".join(lines)]:
                written = 0
                while written < len(part):
                    written += os.write(self._descriptor, part[written:])
        except OSError:
            pass  # nobody reads the log: requests must not fail for that


def _parts(lines: list[bytes]) -> list[bytes]:
    """Lines joined as far as a pipe takes them in one piece."""
    parts = [b""]
    for line in lines:
        if parts[-1] and len(parts[-1]) + len(line) > ATOMIC_BYTES:
            parts.append(b"")
        parts[-1] += line
    return parts


class _Logging:
    """How requests are logged: set by configure_logging."""

    output: _Output | None = None
    """None: readable lines, through structlog."""
    level: int = logging.INFO


def log_request(method: str, route: str, context: RequestContext, seconds: float) -> None:
    """Logs one request once its response is sent: as an error when it has a cause to log."""
    is_error = context.error is not None
    if _Logging.level > (logging.ERROR if is_error else logging.INFO):
        return
    line = RequestLine(
        datetime.now(UTC),
        "error" if is_error else "info",
        "request",
        method,
        route,
        context.status,
        round(seconds * 1000, 3),
        context.request_id,
        context.trace_id,
        context.tenant_id,
        context.client,
        context.code,
    )
    if context.error is not None:
        line.cause = describe(_origin(context.error))
        if context.status == 500:
            line.exception = _stack(context.error)
    if _Logging.output is None:
        _print(line)
    else:
        _Logging.output.write(_encoder.encode(line) + b"\n")


def _print(line: RequestLine) -> None:
    """Logs a request for a person."""
    log = structlog.get_logger()
    fields = {
        name: value
        for name, value in msgspec.structs.asdict(line).items()
        if value is not None and name in ("tenant_id", "request_id", "code", "cause", "exception")
    }
    write = log.error if line.level == "error" else log.info
    write(f"{line.method} {line.route} {line.status} in {line.duration_ms:.1f} ms", **fields)


def _origin(error: BaseException) -> BaseException:
    """What an exception was raised from in the first place."""
    passed: set[int] = set()
    while error.__cause__ is not None and id(error) not in passed:
        passed.add(id(error))  # a chain may lead back to itself
        error = error.__cause__
    return error


def describe(error: BaseException) -> str:
    """An exception on one line. Without the detail and hint of a database error: they quote rows."""
    text = str(error.args[0]) if isinstance(error, asyncpg.PostgresError) and error.args else str(error)
    code = f" {error.sqlstate}" if isinstance(error, asyncpg.PostgresError) and error.sqlstate else ""
    return " ".join(f"{type(error).__name__}{code}: {text}".split())


def _stack(error: BaseException) -> str:
    """The tracebacks of an exception and its causes: only the text of the program, no values."""
    parts = []
    current: BaseException | None = error
    passed: set[int] = set()
    while current is not None and id(current) not in passed:
        passed.add(id(current))
        parts.append("".join(traceback.format_tb(current.__traceback__)) + describe(current))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\n\nThe above exception led to the following one:\n\n".join(reversed(parts))


def _to_json(_: Any, __: str, event: dict[str, Any]) -> str:
    return _encoder.encode({key: value for key, value in event.items() if value is not None}).decode()


def configure_logging(level: str, stream: TextIO = sys.stderr) -> None:
    """Sends all log lines to one stream: ours, the libraries', and those of requests."""
    is_terminal = stream.isatty()
    add_time = structlog.processors.TimeStamper(fmt="%H:%M:%S" if is_terminal else "iso", utc=not is_terminal)
    format_exception = structlog.processors.ExceptionRenderer(lambda information: _stack(information[1]))
    shared: list[Any] = [structlog.stdlib.add_log_level, add_time, format_exception]
    renderer: Any = structlog.dev.ConsoleRenderer(pad_event_to=0) if is_terminal else _to_json
    number = logging.getLevelNamesMapping()[level.upper()]
    _Logging.output = None if is_terminal else _Output(stream)
    _Logging.level = number
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.ExtraAdder(), *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("uvicorn.error").setLevel(max(number, logging.WARNING))

"""One request: what every layer on the way needs to know about it and its response."""

import random
import re
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast
from uuid import UUID

if TYPE_CHECKING:
    from litestar.types import Receive, Scope

from gateway.errors import ApiError

REFUSAL: Final = "cardbase.refusal"
"""Key of a scope: the ApiError of a request that the server itself refuses."""
_PRINTABLE: Final = re.compile(rb"[\x21-\x7e]{1,128}")
_TRACE_PARENT: Final = re.compile(
    rb"(?:00(?=.{53}$)|(?!00|ff)[0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"
)
"""W3C Trace Context: version, trace id, parent id, flags; only versions after 00 may have more after them."""


def _taken_over(value: bytes | None) -> str | None:
    """A caller's id, if it is valid: 1 to 128 printable characters."""
    return value.decode("ascii") if value is not None and _PRINTABLE.fullmatch(value) else None


def _trace_of(trace_parent: bytes | None) -> str | None:
    """The trace id of a traceparent header, if it is valid."""
    found = _TRACE_PARENT.fullmatch(trace_parent) if trace_parent is not None else None
    return found[1].decode("ascii") if found else None


def _new_id() -> str:
    # Not a secret, and the system's generator would cost a system call each time.
    return f"{random.getrandbits(128):032x}"


def _joined(raw_headers: Any) -> dict[bytes, bytes]:
    values: dict[bytes, list[bytes]] = {}
    for name, value in raw_headers:
        values.setdefault(name, []).append(value)
    return {name: b", ".join(several) for name, several in values.items()}


class RequestContext:
    """What is known about one request. It travels in the ASGI scope."""

    __slots__ = (
        "begun_after",
        "called",
        "client",
        "code",
        "error",
        "headers",
        "idempotency",
        "request_id",
        "started",
        "status",
        "tenant_id",
        "trace_id",
        "vary",
    )

    def __init__(self, raw_headers: Any, client: str = "") -> None:
        self.started = perf_counter()
        self.client = client
        """Its IP address; empty when it is not known."""
        self.headers: dict[bytes, bytes] = dict(raw_headers)
        """Request headers, names in lower case; a repeated one's values are joined (RFC 9110, section 5.3)."""
        if len(self.headers) != len(raw_headers):
            # Never just the last one: a proxy in front of us may have decided by the first.
            self.headers = _joined(raw_headers)
        self.request_id = _taken_over(self.headers.get(b"x-request-id")) or _new_id()
        self.trace_id = (
            _taken_over(self.headers.get(b"x-trace-id")) or _trace_of(self.headers.get(b"traceparent")) or _new_id()
        )
        self.tenant_id: UUID | None = None
        self.status = 500
        self.code: str | None = None
        """The error's code."""
        self.error: BaseException | None = None
        """The cause of a 5xx, for the log only."""
        self.called: tuple[str, float] | None = None
        """The database function that was called, and the seconds it took, waiting for a connection included."""
        self.begun_after: float | None = None
        """Seconds until the response began, for one that goes on indefinitely, such as an event stream."""
        self.idempotency: str | None = None
        """What became of the idempotency key: hit, miss, reused or in_progress."""
        self.vary: bytes | None = None
        """Request headers that the response depends on. Litestar's CORS would overwrite a Vary header of ours."""


def context_of(scope: "Scope") -> RequestContext:
    """The context that a scope carries."""
    return cast("RequestContext", scope["cardbase.context"])  # type: ignore[typeddict-item]


async def read_body(context: RequestContext, receive: "Receive", maximum_bytes: int) -> bytes:
    """The request's body. Raises ApiError 413 above maximum_bytes, before reading it if its length is declared."""
    declared = context.headers.get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > maximum_bytes:
        raise too_large(maximum_bytes)
    body, has_more = bytearray(), True
    while has_more:
        message: Any = await receive()
        if message["type"] == "http.disconnect":
            raise ApiError(400, message="The client closed the connection before the body was complete.")
        body += message.get("body", b"")  # never a list of parts: one of a single byte would take fifty
        has_more = message.get("more_body", False)
        if len(body) > maximum_bytes:
            raise too_large(maximum_bytes)
    return bytes(body)


def too_large(maximum_bytes: int) -> ApiError:
    """A 413 that states the limit."""
    return ApiError(413, message=f"The body has more than {maximum_bytes} bytes. Send it in parts.")


def record_error(context: RequestContext, api_error: ApiError, error: BaseException) -> None:
    """Records, for log and metrics, why a request failed."""
    context.code = api_error.code
    context.error = error if api_error.status >= 500 else None
    context.idempotency = {"IDEMPOTENCY_KEY_REUSED": "reused", "IDEMPOTENCY_IN_PROGRESS": "in_progress"}.get(
        api_error.code
    )

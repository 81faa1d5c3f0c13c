"""The one way back: from a reply of the database, or an error, to HTTP. For route table, handlers, events and /rpc."""

from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar import Request, Response

from gateway.errors import ApiError, api_error_of, envelope
from gateway.request import RequestContext, context_of, record_error

if TYPE_CHECKING:
    from litestar.types import Send

JSON: Final = (b"content-type", b"application/json")
NO_BODY: Final = (204, 304)
"""Statuses without a body (RFC 9110, sections 15.3.5 and 15.4.5)."""

Headers = list[tuple[bytes, bytes]]


def is_unchanged(context: RequestContext, etag: str) -> bool:
    """Whether If-None-Match names this ETag (RFC 9110, section 13.1.2: weak comparison)."""
    header = context.headers.get(b"if-none-match")
    if header is None:
        return False
    candidates = [part.strip().removeprefix("W/") for part in header.decode("latin-1").split(",")]
    return "*" in candidates or etag in candidates


def add_headers(context: RequestContext, status: int, named: bytes | None, headers: Headers, *, is_read: bool) -> int:
    """Adds the headers that a reply names to those of the response, and returns the response's status.

    named     a JSON object
    is_read   whether the response is a 304 if the client already has the ETag
    """
    if named is not None:
        for name, value in msgspec.json.decode(named).items():
            headers.append((name.lower().encode(), str(value).encode()))
            if name == "X-Idempotency-Cache":
                context.idempotency = value.lower()
            elif name == "ETag" and is_read and is_unchanged(context, value):
                status = 304
    return status


async def send_answer(send: "Send", status: int, headers: Headers, body: bytes, *, tells_length: bool = True) -> None:
    """Sends a whole response. The server leaves out the body of a response to HEAD."""
    if status in NO_BODY:
        body = b""
    elif tells_length:
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def send_error(context: RequestContext, send: "Send", api_error: ApiError) -> None:
    """Sends an error in its envelope."""
    headers = [JSON, *((name.lower().encode(), value.encode()) for name, value in api_error.headers.items())]
    await send_answer(send, api_error.status, headers, envelope(api_error, context.request_id))


def error_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """The response to what Litestar itself refuses, and to what goes wrong in its handlers."""
    context = context_of(request.scope)
    api_error = api_error_of(error)
    record_error(context, api_error, error)
    return Response(
        envelope(api_error, context.request_id),
        status_code=api_error.status,
        headers=api_error.headers,
        media_type="application/json",
    )

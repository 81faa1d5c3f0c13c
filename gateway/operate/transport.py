"""HTTP on the wire: uvicorn's protocol, with bounds on what arrives before a request is one, and fewer writes."""

import asyncio
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from gateway.errors import ApiError
from gateway.request import REFUSAL

MAXIMUM_HEADERS: Final = 100
REQUEST_LINE_BYTES: Final = len("  HTTP/1.1\r\n\r\n")
"""Next to method and address, and with the empty line after the headers."""
LINGER_SECONDS: Final = 2.0
"""How long a client that was refused may go on sending. If its connection were closed at once, what it still sends
would be answered by a reset, and the response be lost."""


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol on a CoalescingTransport. A request's line, headers and trailers are bounded as they arrive.

    maximum_bytes   of a request's line, headers and trailers
    seconds         from the first byte of a request until its headers are complete
    """

    def __init__(self, *arguments: Any, maximum_bytes: int, seconds: float, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._maximum_bytes = maximum_bytes
        self._seconds = seconds
        self._timeout: asyncio.TimerHandle | None = None
        self._is_in_head = True
        self._is_refused = False
        self._head_bytes = 0
        """Of the current request's line and headers, once they are complete."""
        self._head_count = 0
        """Its headers."""
        self._loose_bytes = 0
        """Received in earlier reads, and neither a complete head nor of a body."""
        self._new_bytes = 0
        """Of the current read, likewise."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wraps the transport of a new connection, which may be silent for as long as one between two requests."""
        self._coalescing = CoalescingTransport(transport, self.loop)
        super().connection_made(cast("asyncio.Transport", self._coalescing))
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self._stop_timeout()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parses what was read, and refuses the request when too much of it is neither a complete head nor a body."""
        if self._is_refused:
            return
        self._new_bytes = len(data)
        super().data_received(data)
        self._loose_bytes += self._new_bytes
        if self._head_bytes + self._loose_bytes > self._maximum_bytes:
            self._refuse(self._too_large())
        elif self._is_in_head and self._timeout is None and (self._loose_bytes or self._has_begun):
            message = f"The headers were not complete within {self._seconds:g} s."
            self._timeout = self.loop.call_later(self._seconds, self._refuse, ApiError(408, message=message))

    @property
    def _has_begun(self) -> bool:
        """Whether there is a request whose headers are not complete."""
        cycle: RequestResponseCycle | None = self.cycle
        return self.scope is not (cycle and cycle.scope)

    def on_headers_complete(self) -> None:
        """Starts the request, or its refusal."""
        self._stop_timeout()
        if not self.url.startswith(b"/") and (host := httptools.parse_url(self.url).host):
            # The target's host replaces that of the header (RFC 9112, section 3.2.2).
            host = b"[%b]" % host if b":" in host else host
            self.headers[:] = [(name, host if name == b"host" else value) for name, value in self.headers]
        self._is_in_head = False
        self._loose_bytes = self._new_bytes = 0
        self._head_count = len(self.headers)
        self._head_bytes = len(self.parser.get_method()) + len(self.url) + REQUEST_LINE_BYTES + _size(self.headers)
        if self._head_bytes > self._maximum_bytes or self._head_count > MAXIMUM_HEADERS:
            self.scope[REFUSAL] = self._too_large()  # type: ignore[typeddict-unknown-key]
            self._head_bytes = self._head_count = 0
        super().on_headers_complete()
        self.headers = []  # trailers are no headers: whoever decided by those has not seen them

    def on_chunk_header(self) -> None:
        """A chunk of a body begins, or the trailers."""
        self._loose_bytes = self._new_bytes = 0

    def on_body(self, body: bytes) -> None:
        """Takes a part of a body."""
        self._loose_bytes = self._new_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Ends a request's body, or refuses its trailers."""
        self._loose_bytes = self._new_bytes = 0
        head_bytes = self._head_bytes + _size(self.headers)
        if head_bytes > self._maximum_bytes or self._head_count + len(self.headers) > MAXIMUM_HEADERS:
            self._refuse(self._too_large())
            return
        self._is_in_head = True
        self._head_bytes = 0
        super().on_message_complete()

    def _too_large(self) -> ApiError:
        limit = f"{self._maximum_bytes} bytes and {MAXIMUM_HEADERS} headers"
        return ApiError(431, message=f"The request line, headers and trailers may have at most {limit}.")

    def _refuse(self, api_error: ApiError) -> None:
        """Has the application respond with an error, once no earlier request is in progress, and reads no further."""
        self._is_refused = True
        self._coalescing.lingers = True
        self._stop_timeout()
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not (self._is_in_head and cycle.response_complete):
            cycle.keep_alive = False
            if not self._is_in_head:
                cycle.scope[REFUSAL] = api_error  # type: ignore[typeddict-unknown-key]
                cycle.message_event.set()
            if cycle.response_complete:
                self.transport.close()
            return
        self.on_message_begin()
        refused = {"method": "GET", "path": "", "raw_path": b"", "query_string": b"", REFUSAL: api_error}
        self.scope.update(refused)  # type: ignore[typeddict-item]
        self.cycle = RequestResponseCycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )
        self._start_asgi_task(self.cycle, self.app)

    def _stop_timeout(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None


def _size(headers: Sequence[tuple[bytes, bytes]]) -> int:
    """The bytes of headers as they are usually written, `name: value` and a line end each."""
    return sum(map(len, chain.from_iterable(headers))) + 4 * len(headers)


class CoalescingTransport:
    """A transport that holds back one write until the next, or until the event loop's next iteration."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: bytes | None = None
        self.is_closing = transport.is_closing
        self.lingers = False
        """Whether the client may go on sending for a while when it closes: nothing of it is read."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Writes the data together with what was held back, or holds it back."""
        if self._held is not None:
            held, self._held = self._held, None
            self._transport.write(held + data)
        else:
            self._held = data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Closes the connection once everything is written."""
        self._flush()
        if self.lingers and self._transport.can_write_eof() and not self._transport.is_closing():
            self.lingers = False
            self._transport.write_eof()
            self._loop.call_later(LINGER_SECONDS, self._transport.close)
        else:
            self._transport.close()

    def _flush(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._transport.write(held)

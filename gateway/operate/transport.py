"""The way of an answer to its client: headers and body leave together.

uvicorn writes them one after the other, and each write is a system call, here and where it is read.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol on such a transport."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins a connection."""
        super().connection_made(cast("asyncio.Transport", CoalescingTransport(transport, self.loop)))


class CoalescingTransport:
    """A transport that keeps what is written until more is, or until the event loop turns to something else."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._kept: bytes | None = None
        self.is_closing = transport.is_closing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Writes what was kept together with this, or keeps this."""
        if self._kept is not None:
            kept, self._kept = self._kept, None
            self._transport.write(kept + data)
        else:
            self._kept = data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Closes the connection once all is written."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._kept is not None:
            kept, self._kept = self._kept, None
            self._transport.write(kept)

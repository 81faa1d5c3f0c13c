"""Request bodies under way: each must arrive in time, and all together may only be so many bytes.

Whatever reads a body gets it through here, so that none of it depends on who reads, or on who sends.
"""

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Final, cast
from uuid import UUID

from litestar.enums import ScopeType

from gateway.errors import ApiError
from gateway.request import REFUSAL, context_of
from gateway.settings import Settings

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPReceiveMessage, Receive, Scope, Send, WebSocketReceiveMessage

WITHOUT_BODY: Final = ("GET", "HEAD")
"""Methods for which nobody reads a body. They may wait for the client to disconnect for as long as they like."""


class Bodies:
    """The request bodies of one process, in front of an application."""

    def __init__(self, app: "ASGIApp", settings: Settings) -> None:
        self._app = app
        self.seconds: Final = settings.body_timeout_ms / 1000
        self._maximum = settings.body_budget_bytes
        self._tenant_maximum = max(settings.body_budget_bytes // 2, settings.max_body_bytes)
        self._held = 0
        self._held_of: Counter[UUID | None] = Counter()

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Passes a request on. Its body counts as held from when it is read until the request is done."""
        if scope["type"] != ScopeType.HTTP or scope["method"] in WITHOUT_BODY:
            await self._app(scope, receive, send)
            return
        body = _Body(self, scope, receive)
        try:
            await self._app(scope, body.receive, send)
        finally:
            if body.size:
                self.hold(body.owner, -body.size)

    def hold(self, owner: UUID | None, size: int) -> bool:
        """Holds bytes of a tenant, or of nobody known; returns whether there is room. Negative: releases them."""
        self._held += size
        self._held_of[owner] += size
        if not self._held_of[owner]:
            del self._held_of[owner]
        return self._held <= self._maximum and self._held_of[owner] <= self._tenant_maximum


class _Body:
    """One request's body."""

    __slots__ = ("_bodies", "_deadline", "_receive", "_scope", "owner", "size")

    def __init__(self, bodies: Bodies, scope: "Scope", receive: "Receive") -> None:
        self._bodies = bodies
        self._scope = scope
        self._receive = receive
        self._deadline: float | None = 0.0
        """When it must be complete, on the event loop's clock. 0: nobody has read it yet; None: it is complete."""
        self.owner: UUID | None = None
        """The tenant that was known when it was first read."""
        self.size = 0
        """Bytes read so far."""

    async def receive(self) -> "HTTPReceiveMessage | WebSocketReceiveMessage":
        """The next part. Raises ApiError: 408 when it is not there in time, 431, 503."""
        if self._deadline is None:
            return await self._receive()
        if not self._deadline:
            self._deadline = asyncio.get_running_loop().time() + self._bodies.seconds
            self.owner = context_of(self._scope).tenant_id
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            text = f"The body was not complete within {self._bodies.seconds:g} s. Send it faster, or in parts."
            raise ApiError(408, message=text, headers={"Connection": "close"}) from None
        if (refusal := self._scope.get(REFUSAL)) is not None:
            raise cast("ApiError", refusal)  # its trailers could not be taken
        if message["type"] == "http.request":
            size = len(message["body"])
            self.size += size
            if not self._bodies.hold(self.owner, size):
                text = "This process holds as many bytes of request bodies as it may. Repeat the request."
                raise ApiError(503, "SERVER_BUSY", text)
            if not message["more_body"]:
                self._deadline = None
        return message

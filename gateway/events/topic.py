"""One tenant's events: read from the database once, and published to all the tenant's streams."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from typing import Final, Literal, TypeAlias
from uuid import UUID

import msgspec

from gateway.database.calls import Calls
from gateway.database.listener import Listener
from gateway.database.statement import CallStatement
from gateway.errors import api_error_of
from gateway.routes import EVENTS
from gateway.statements import call_of

READ: Final = CallStatement(call_of(EVENTS.function, ("tenant_id", "user_ids", "after", "until")))
HEARTBEAT_SECONDS: Final = 15.0
"""The longest a stream is silent, and a topic goes without reading."""
POLL_SECONDS: Final = 1.0
"""How often a topic reads while the database can't be listened to."""
PAUSE_SECONDS: Final = 0.02
"""Between two reads of a topic, so that events in quick succession are read together."""
PENDING_SECONDS: Final = 0.01
"""How soon events that are held back are read again; doubles each time, up to POLL_SECONDS."""
MAXIMUM_WAITING_BYTES: Final = 262_144
"""Buffered for a slow reader, in addition to the connection's own buffers; a stream with more ends."""

Reason = Literal["client", "slow", "expired", "shutdown", "failed"]
REASONS: Final[tuple[Reason, ...]] = ("client", "slow", "expired", "shutdown", "failed")
logger = logging.getLogger(__name__)


class _Event(msgspec.Struct):
    user_id: UUID | None
    position: str
    document: msgspec.Raw


class _Type(msgspec.Struct):
    type: str


class EventPage(msgspec.Struct):
    """What api.read_events returns."""

    events: list[_Event]
    position: str | None
    is_reset: bool
    has_more: bool
    is_pending: bool


Resources = frozenset[str] | None
"""The resources that a stream is about, such as {"card"}; None: all."""


async def read_events(
    calls: Calls, tenant_id: UUID, user_ids: list[UUID], after: str | None, until: str | None
) -> EventPage:
    """Reads a tenant's events after a position, including those of these users. Raises as `Calls.call` does."""
    reply = await calls.call(READ, [tenant_id, user_ids, after, until], tenant_id)
    return msgspec.json.decode(reply.body or b"", type=EventPage)


class Stream:
    """One client's stream: the chunks still to be sent, and why it ends."""

    __slots__ = ("_changed", "_chunks", "_waiting_bytes", "reason", "resources", "user_id")

    def __init__(self, user_id: UUID, resources: Resources) -> None:
        self.user_id = user_id
        self.resources = resources
        self.reason: Reason | None = None
        """Why it ends; None while it is open."""
        self._chunks: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._changed = asyncio.Event()

    def put(self, chunk: bytes) -> None:
        """Appends a chunk; ends the stream instead when too much is waiting already."""
        if self._waiting_bytes > MAXIMUM_WAITING_BYTES:
            self.end("slow")
        if self.reason is None:
            self._chunks.append(chunk)
            self._waiting_bytes += len(chunk)
            self._changed.set()

    def end(self, reason: Reason) -> None:
        """Ends the stream and drops what has not been sent: the client reads it when it reconnects."""
        if self.reason is None:
            self.reason = reason
        self._chunks.clear()
        self._changed.set()

    async def take(self) -> bytes | None:
        """Everything that waits to be sent, as soon as there is something; None at the end."""
        await self._changed.wait()
        self._changed.clear()
        if self.reason is not None:
            return None
        chunk = b"".join(self._chunks)
        self._chunks.clear()
        self._waiting_bytes = 0
        return chunk


_Joining: TypeAlias = "tuple[Stream, asyncio.Future[str | None]]"
"""A stream that is about to join, and the position that it joins at."""


class Topic:
    """A tenant with open streams: its events are read once for all of them."""

    def __init__(self, tenant_id: UUID, calls: Calls, listener: Listener) -> None:
        self._tenant_id = tenant_id
        self._calls = calls
        self._listener = listener
        self._streams: set[Stream] = set()
        self._joining: list[_Joining] = []
        self._task: asyncio.Task[None] | None = None
        self._position: str | None = None
        """The position read up to. None: nothing was read yet, or recording has only just begun."""
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Makes the topic read soon."""
        self._woken.set()

    async def join(self, stream: Stream) -> str | None:
        """Subscribes a stream; returns the position after which it gets all events.

        None: recording has only just begun, and a reset follows once it is complete. Raises as `read_events` does.
        """
        admitted: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._joining.append((stream, admitted))
        if self._task is None:
            self._task = asyncio.create_task(self._follow())
        self.wake()
        return await admitted

    def leave(self, stream: Stream) -> None:
        """Unsubscribes a stream."""
        self._streams.discard(stream)
        self._joining = [joining for joining in self._joining if joining[0] is not stream]
        self.wake()

    async def _follow(self) -> None:
        """Reads and publishes for as long as there are streams."""
        heartbeat_at = monotonic() + HEARTBEAT_SECONDS
        delay = 0.0
        while self._streams or self._joining:
            self._woken.clear()
            read_at = monotonic()
            joining, self._joining = self._joining, []
            try:
                users = {stream.user_id for stream in (*self._streams, *(stream for stream, _ in joining))}
                page = await read_events(self._calls, self._tenant_id, list(users), self._position, None)
            except Exception as error:
                delay = POLL_SECONDS
                _refuse(joining, error)
            else:
                self._publish(page)
                self._admit(joining)
                if page.has_more:
                    continue
                # Events that are held back, or a record that is not complete, are read again soon.
                delay = min(max(2 * delay, PENDING_SECONDS), POLL_SECONDS) if page.is_pending else 0.0
            if monotonic() >= heartbeat_at:
                heartbeat_at = monotonic() + HEARTBEAT_SECONDS
                self._put_all(_heartbeat(self._position))
            await asyncio.sleep(max(0.0, read_at + PAUSE_SECONDS - monotonic()))
            pause = delay or (HEARTBEAT_SECONDS if self._listener.is_listening else POLL_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), min(pause, max(heartbeat_at - monotonic(), 0.0)))

    def _admit(self, joining: Sequence[_Joining]) -> None:
        for stream, admitted in joining:
            if not admitted.done():
                self._streams.add(stream)
                admitted.set_result(self._position)

    def _publish(self, page: EventPage) -> None:
        self._position = page.position
        if page.is_reset and page.position is not None:
            self._put_all(reset(page.position))
        owners = {event.user_id for event in page.events}
        chunks: dict[tuple[UUID | None, Resources], bytes] = {}
        for stream in self._streams if page.events else ():
            # Streams that get the same events share the same bytes.
            key = (stream.user_id if stream.user_id in owners else None, stream.resources)
            if key not in chunks:
                chunks[key] = messages(page.events, *key)
            if chunks[key]:
                stream.put(chunks[key])

    def _put_all(self, chunk: bytes) -> None:
        for stream in self._streams:
            stream.put(chunk)


def _refuse(joining: Sequence[_Joining], error: Exception) -> None:
    for _, admitted in joining:
        if not admitted.done():
            admitted.set_exception(error)
    if api_error_of(error).status == 500:
        logger.error("events can't be read", exc_info=error)


def messages(events: Sequence[_Event], user_id: UUID | None, resources: Resources) -> bytes:
    """The messages of those events that are about the resources, and are the user's own or for all users."""
    parts = []
    for event in events:
        kind = msgspec.json.decode(event.document, type=_Type).type
        if event.user_id in (None, user_id) and (resources is None or kind.partition(".")[0] in resources):
            parts.append(_message(kind, event.position, bytes(event.document)))
    return b"".join(parts)


def _message(kind: str, position: str, document: bytes) -> bytes:
    return b"event: %s\nid: %s\ndata: %s\n\n" % (kind.encode(), position.encode(), document)


def reset(position: str) -> bytes:
    """Tells a client to load what it shows: all events after the position follow."""
    return _message("reset", position, b"{}")


def _heartbeat(position: str | None) -> bytes:
    """Keeps a connection open, and the client's position recent: events are not kept for long."""
    return b":\n\n" if position is None else b":\n" + _message("position", position, b"{}")

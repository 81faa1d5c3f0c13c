"""One tenant's events: read once from the database, and handed to each of the tenant's streams."""

import asyncio
import logging
from collections import deque
from contextlib import suppress
from time import monotonic
from typing import Final, Literal
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
"""How often a stream is sent something at least; also how often a topic looks for itself."""
POLL_SECONDS: Final = 1.0
"""How often a topic looks for itself while nothing is heard of what the database says."""
PAUSE_SECONDS: Final = 0.02
"""Between two looks of a topic: what happens meanwhile is read together."""
PENDING_SECONDS: Final = 0.01
"""How soon it is looked again for what is held back; each time later, up to POLL_SECONDS."""
MAXIMUM_WAITING_BYTES: Final = 262_144
"""What may wait for a slow reader, beside what the connection itself takes; with more it has to come again."""

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
"""What is listened for, such as {"card"}; None: for everything."""


async def read_events(
    calls: Calls, tenant_id: UUID, user_ids: list[UUID], after: str | None, until: str | None
) -> EventPage:
    """A tenant's events after a position, those of these users among them. Raises as `Calls.call` does."""
    reply = await calls.call(READ, [tenant_id, user_ids, after, until], tenant_id)
    return msgspec.json.decode(reply.body or b"", type=EventPage)


class Stream:
    """One client that listens: what it is still to be sent, and why it ends."""

    __slots__ = ("_changed", "_chunks", "_waiting_bytes", "reason", "resources", "user_id")

    def __init__(self, user_id: UUID, resources: Resources) -> None:
        self.user_id = user_id
        self.resources = resources
        self.reason: Reason | None = None
        """Why it ends; None: it goes on."""
        self._chunks: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._changed = asyncio.Event()

    def put(self, chunk: bytes) -> None:
        """Has something sent, after what waits already; ends the stream where too much does."""
        if self._waiting_bytes > MAXIMUM_WAITING_BYTES:
            self.end("slow")
        if self.reason is None:
            self._chunks.append(chunk)
            self._waiting_bytes += len(chunk)
            self._changed.set()

    def end(self, reason: Reason) -> None:
        """Ends the stream, and forgets what was not sent: the client comes again for it."""
        if self.reason is None:
            self.reason = reason
        self._chunks.clear()
        self._changed.set()

    async def take(self) -> bytes | None:
        """All that waits to be sent, as soon as there is something; None at the end."""
        await self._changed.wait()
        self._changed.clear()
        if self.reason is not None:
            return None
        chunk = b"".join(self._chunks)
        self._chunks.clear()
        self._waiting_bytes = 0
        return chunk


class Topic:
    """One tenant that somebody listens to: what happens there is read once, for all its streams."""

    def __init__(self, tenant_id: UUID, calls: Calls, listener: Listener) -> None:
        self._tenant_id = tenant_id
        self._calls = calls
        self._listener = listener
        self._streams: set[Stream] = set()
        self._joining: list[tuple[Stream, asyncio.Future[str | None]]] = []
        self._task: asyncio.Task[None] | None = None
        self._position: str | None = None
        """How far has been read. None: not yet, or what happens is only just begun to be recorded."""
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Has it look soon."""
        self._woken.set()

    async def join(self, stream: Stream) -> str | None:
        """Begins to hand a stream what happens; answers the position from which on.

        None: recording has only just begun; when it is complete, the stream is told by a reset. Raises as a read does.
        """
        admitted: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()
        self._joining.append((stream, admitted))
        if self._task is None:
            self._task = asyncio.create_task(self._follow())
        self.wake()
        return await admitted

    def leave(self, stream: Stream) -> None:
        """Ends it."""
        self._streams.discard(stream)
        self._joining = [(joining, admitted) for joining, admitted in self._joining if joining is not stream]
        self.wake()

    async def _follow(self) -> None:
        """Reads and hands on, for as long as there are streams."""
        beat_at = monotonic() + HEARTBEAT_SECONDS
        delay = 0.0
        while self._streams or self._joining:
            self._woken.clear()
            looked_at = monotonic()
            joining, self._joining = self._joining, []
            try:
                users = {stream.user_id for stream in (*self._streams, *(stream for stream, _ in joining))}
                answer = await read_events(self._calls, self._tenant_id, list(users), self._position, None)
            except Exception as error:
                delay = POLL_SECONDS
                _refuse_all(joining, error)
            else:
                self._hand_on(answer)
                self._admit(joining)
                if answer.has_more:
                    continue
                # A read that found something held back, or a record that is not complete, is tried again soon.
                delay = min(max(2 * delay, PENDING_SECONDS), POLL_SECONDS) if answer.is_pending else 0.0
            if monotonic() >= beat_at:
                beat_at = monotonic() + HEARTBEAT_SECONDS
                self._put_all(_beat(self._position))
            await asyncio.sleep(max(0.0, looked_at + PAUSE_SECONDS - monotonic()))
            pause = delay or (beat_at - monotonic() if self._listener.is_listening else POLL_SECONDS)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), min(pause, max(beat_at - monotonic(), 0.0)))

    def _admit(self, joining: "list[tuple[Stream, asyncio.Future[str | None]]]") -> None:
        for stream, admitted in joining:
            if not admitted.done():
                self._streams.add(stream)
                admitted.set_result(self._position)

    def _hand_on(self, answer: EventPage) -> None:
        self._position = answer.position
        if answer.is_reset and answer.position is not None:
            self._put_all(reset(answer.position))
        if not answer.events:
            return
        owners = {event.user_id for event in answer.events}
        chunks: dict[tuple[UUID | None, Resources], bytes] = {}
        for stream in self._streams:
            # All who are shown the same share the very bytes.
            key = (stream.user_id if stream.user_id in owners else None, stream.resources)
            if key not in chunks:
                chunks[key] = messages(answer.events, *key)
            if chunks[key]:
                stream.put(chunks[key])

    def _put_all(self, chunk: bytes) -> None:
        for stream in self._streams:
            stream.put(chunk)


def _refuse_all(joining: "list[tuple[Stream, asyncio.Future[str | None]]]", error: Exception) -> None:
    for _, admitted in joining:
        if not admitted.done():
            admitted.set_exception(error)
    api_error = api_error_of(error)
    if api_error.status == 500:
        logger.error("events can't be read", exc_info=error)


def messages(events: list[_Event], user_id: UUID | None, resources: Resources) -> bytes:
    """Those events that are for all, or the user's own, and that are listened for, as they are sent."""
    parts = []
    for event in events:
        kind = msgspec.json.decode(event.document, type=_Type).type
        if event.user_id in (None, user_id) and (resources is None or kind.partition(".")[0] in resources):
            parts.append(_message(kind, event.position, bytes(event.document)))
    return b"".join(parts)


def _message(kind: str, position: str, document: bytes) -> bytes:
    return b"event: %s\nid: %s\ndata: %s\n\n" % (kind.encode(), position.encode(), document)


def reset(position: str) -> bytes:
    """Tells a client to look for itself: what happens from here on it is told."""
    return _message("reset", position, b"{}")


def _beat(position: str | None) -> bytes:
    """Keeps a connection open, and what the client will come again with young: events are not kept for long."""
    return b":\n\n" if position is None else b":\n" + _message("position", position, b"{}")

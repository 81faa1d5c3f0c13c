"""Live events: what happens to a tenant's rows, as server-sent events.

The database records what happens and says so (NOTIFY). For each tenant that somebody here listens to there is a topic:
it reads what is new with one statement for all its streams, and hands each stream what its user may see. Streams hold
no connection of the pool and no position: a client that comes again says which event it had last, here or at any other
process, and goes on from there.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager, suppress
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID

import msgspec

from gateway.database.listener import Connection, Listener
from gateway.database.pool import Database, Statement
from gateway.endpoint import decode_query, identify
from gateway.errors import RETRY_AFTER_SECONDS, Refusal, refusal_of
from gateway.identity import Identifier, Identity
from gateway.request import Exchange, exchange_of, note, send_refusal
from gateway.routes import EVENTS
from gateway.schemas.events import FollowEvents
from gateway.settings import Settings

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

CHANNEL: Final = "cardbase_events"
READ: Final = Statement(
    f"select status, headers, body, measures from api.{EVENTS.function}"
    "(tenant_id => $1, user_ids => $2, after => $3, until => $4)"
)
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
RETRY_MILLISECONDS: Final = (1000, 3000)
"""When clients come again after a stream has ended: not all at once."""
HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # A proxy such as nginx would wait for more.
    (b"x-accel-buffering", b"no"),
)

Reason = Literal["client", "slow", "expired", "shutdown", "failed"]
REASONS: Final[tuple[Reason, ...]] = ("client", "slow", "expired", "shutdown", "failed")
_RESOURCE_OF: Final = {"cards": "card", "memories": "memory", "messages": "message", "tasks": "task", "jobs": "job"}

logger = logging.getLogger(__name__)


class _Event(msgspec.Struct):
    user_id: UUID | None
    position: str
    document: msgspec.Raw


class _Type(msgspec.Struct):
    type: str


class _Answer(msgspec.Struct):
    """What api.read_events answers."""

    events: list[_Event]
    position: str | None
    is_reset: bool
    has_more: bool
    is_pending: bool


Read = Callable[[UUID, list[UUID], str | None, str | None], Awaitable[_Answer]]
Resources = frozenset[str] | None
"""What is listened for, such as {"card"}; None: for everything."""


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

    def __init__(self, tenant_id: UUID, read: Read, listener: Listener) -> None:
        self._tenant_id = tenant_id
        self._read = read
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
                answer = await self._read(self._tenant_id, list(users), self._position, None)
            except Exception as error:
                delay = POLL_SECONDS
                _refuse(joining, error)
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

    def _hand_on(self, answer: _Answer) -> None:
        self._position = answer.position
        if answer.is_reset and answer.position is not None:
            self._put_all(_reset(answer.position))
        if not answer.events:
            return
        owners = {event.user_id for event in answer.events}
        chunks: dict[tuple[UUID | None, Resources], bytes] = {}
        for stream in self._streams:
            # All who are shown the same share the very bytes.
            key = (stream.user_id if stream.user_id in owners else None, stream.resources)
            if key not in chunks:
                chunks[key] = _messages(answer.events, *key)
            if chunks[key]:
                stream.put(chunks[key])

    def _put_all(self, chunk: bytes) -> None:
        for stream in self._streams:
            stream.put(chunk)


def _refuse(joining: "list[tuple[Stream, asyncio.Future[str | None]]]", error: Exception) -> None:
    for _, admitted in joining:
        if not admitted.done():
            admitted.set_exception(error)
    refusal = refusal_of(error)
    if refusal.status == 500:
        logger.error("events can't be read", exc_info=error)


def _messages(events: list[_Event], user_id: UUID | None, resources: Resources) -> bytes:
    """Those events that are for all, or the user's own, and that are listened for, as they are sent."""
    parts = []
    for event in events:
        kind = msgspec.json.decode(event.document, type=_Type).type
        if event.user_id in (None, user_id) and (resources is None or kind.partition(".")[0] in resources):
            parts.append(_message(kind, event.position, bytes(event.document)))
    return b"".join(parts)


def _message(kind: str, position: str, document: bytes) -> bytes:
    return b"event: %s\nid: %s\ndata: %s\n\n" % (kind.encode(), position.encode(), document)


def _reset(position: str) -> bytes:
    """Tells a client to look for itself: what happens from here on it is told."""
    return _message("reset", position, b"{}")


def _beat(position: str | None) -> bytes:
    """Keeps a connection open, and what the client will come again with young: events are not kept for long."""
    return b":\n\n" if position is None else b":\n" + _message("position", position, b"{}")


class Events:
    """The streams of one process, as an ASGI application."""

    def __init__(self, settings: Settings, database: Database, identifier: Identifier, listener: Listener) -> None:
        self._database = database
        self._identifier = identifier
        self._listener = listener
        self._maximum = settings.event_streams
        self._tenant_maximum = settings.tenant_event_streams
        self._topics: dict[UUID, Topic] = {}
        self._streams: set[Stream] = set()
        self._streams_of: dict[UUID, int] = {}
        self._is_ending = False
        self.ended: dict[Reason, int] = dict.fromkeys(REASONS, 0)
        """Streams that have ended, by why."""
        listener.hear(CHANNEL, self._hear)
        listener.at_begin(self._begin)

    @property
    def streams(self) -> int:
        """Streams that are open."""
        return len(self._streams)

    def end(self) -> None:
        """Ends all streams, and lets no more be opened: their clients go elsewhere."""
        self._is_ending = True
        for stream in self._streams:
            stream.end("shutdown")

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answers one request: with a refusal, or until its stream ends."""
        exchange = exchange_of(scope)
        try:
            identity = identify(exchange, self._identifier, is_for_users=True)
            assert identity.user_id is not None
            query = decode_query(scope["query_string"], FollowEvents)
            stream = Stream(identity.user_id, _resources(query.types))
            self._check_room(identity.tenant_id)
            with self._entered(identity.tenant_id, stream) as topic:
                async with aclosing(self._chunks(identity, topic, stream, _last_event_id(exchange, query))) as chunks:
                    first = await anext(chunks)
                    await self._send(exchange, stream, first, chunks, receive, send)
        except Exception as error:
            refusal = refusal_of(error)
            note(exchange, refusal, error)
            await send_refusal(exchange, send, refusal)

    def _check_room(self, tenant_id: UUID) -> None:
        if self._is_ending or self.streams >= self._maximum:
            raise Refusal(
                503, "TOO_MANY_STREAMS", "There is no room for another stream here. Come again a little later."
            )
        if self._streams_of.get(tenant_id, 0) >= self._tenant_maximum:
            raise Refusal(
                429,
                message=f"This tenant has {self._tenant_maximum} streams open already.",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )

    @contextmanager
    def _entered(self, tenant_id: UUID, stream: Stream) -> Iterator[Topic]:
        """Counts a stream meanwhile, and has its tenant's topic at work."""
        if (topic := self._topics.get(tenant_id)) is None:
            topic = self._topics[tenant_id] = Topic(tenant_id, self._read, self._listener)
        self._streams.add(stream)
        self._streams_of[tenant_id] = self._streams_of.get(tenant_id, 0) + 1
        try:
            yield topic
        finally:
            self._streams.discard(stream)
            topic.leave(stream)
            self._streams_of[tenant_id] -= 1
            if not self._streams_of[tenant_id]:
                del self._streams_of[tenant_id], self._topics[tenant_id]

    async def _chunks(
        self, identity: Identity, topic: Topic, stream: Stream, after: str | None
    ) -> AsyncGenerator[bytes]:
        """What is sent on a stream: what the client missed, then what happens. Raises what a read does."""
        # Joined first: what happens while the missed events are read waits, and none of it is among them.
        until = await topic.join(stream)
        chunk = b"retry: %d\n\n" % random.randint(*RETRY_MILLISECONDS)
        has_more = True
        while has_more and stream.reason is None:
            answer = await self._read(identity.tenant_id, [stream.user_id], after, until)
            # Where recording has only just begun, the topic will tell.
            if until is not None:
                chunk += (
                    _reset(until) if answer.is_reset else _messages(answer.events, stream.user_id, stream.resources)
                )
            yield chunk
            chunk, after, has_more = b"", answer.position, answer.has_more
        while (waiting := await stream.take()) is not None:
            yield waiting

    async def _send(
        self,
        exchange: Exchange,
        stream: Stream,
        first: bytes,
        chunks: AsyncGenerator[bytes],
        receive: "Receive",
        send: "Send",
    ) -> None:
        """Sends a stream to its end."""
        loop = asyncio.get_running_loop()
        expiry = loop.call_later(self._identifier.expires(exchange.headers) - time.time(), stream.end, "expired")
        watching = loop.create_task(_watch(receive, stream))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            exchange.begun_after = perf_counter() - exchange.started
            await _send_part(send, first)
            async for chunk in chunks:
                await _send_part(send, chunk)
        except Exception as error:  # a refusal can't be sent any more
            stream.end("failed")
            note(exchange, refusal_of(error), error)
        finally:
            expiry.cancel()
            watching.cancel()
            self.ended[stream.reason or "client"] += 1
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _read(self, tenant_id: UUID, user_ids: list[UUID], after: str | None, until: str | None) -> _Answer:
        reply = await self._database.call(READ, [tenant_id, user_ids, after, until], tenant_id)
        return msgspec.json.decode(reply.body or b"", type=_Answer)

    def _hear(self, payload: str) -> None:
        with suppress(ValueError):
            if (topic := self._topics.get(UUID(payload))) is not None:
                topic.wake()

    async def _begin(self, _: Connection) -> None:
        """Looks for what was said while nobody listened."""
        for topic in self._topics.values():
            topic.wake()


async def _watch(receive: "Receive", stream: Stream) -> None:
    """Ends a stream whose client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.end("client")


async def _send_part(send: "Send", body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})


def _resources(types: str | None) -> Resources:
    return None if types is None else frozenset(_RESOURCE_OF[name] for name in types.split(","))


def _last_event_id(exchange: Exchange, query: FollowEvents) -> str | None:
    header = exchange.headers.get(b"last-event-id", b"").decode("latin-1")
    return header or query.last_event_id or None

"""Live events: the changes of a tenant's rows, as server-sent events.

The database records events and announces them (NOTIFY). Each tenant with open streams has a topic: it reads new events
with one statement for all its streams, and gives each stream those that its user may see. Streams hold no pooled
connection and keep no position: a client that reconnects, here or to any other process, sends the id of the last event
it received, and continues from there.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from hashlib import sha256
from time import perf_counter
from typing import TYPE_CHECKING, Final
from uuid import UUID

from gateway.arguments import decode_query
from gateway.database.calls import Calls
from gateway.database.connect import Connection
from gateway.database.listener import Listener
from gateway.errors import ApiError, api_error_of
from gateway.events.topic import REASONS, Reason, Stream, Topic, messages, read_events, reset
from gateway.identity import Identifier, Identity, identify
from gateway.reply import send_error
from gateway.request import RequestContext, context_of, record_error
from gateway.schemas.events import FollowEvents
from gateway.settings import Settings

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

CHANNEL: Final = "cardbase_events"
TENANT_SHARE: Final = 10
"""A tenant may have one stream in this many."""
USER_STREAMS: Final = 20
"""Of one user: tabs and devices."""
RETRY_MILLISECONDS: Final = (1000, 3000)
"""After how long clients reconnect: spread out, so that they don't all do at once."""
HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # or a proxy such as nginx would hold events back
)
_RESOURCE_OF: Final = {"cards": "card", "memories": "memory", "messages": "message", "tasks": "task", "jobs": "job"}


class Events:
    """The streams of one process, as an ASGI application."""

    def __init__(self, settings: Settings, calls: Calls, identifier: Identifier, listener: Listener) -> None:
        self._calls = calls
        self._identifier = identifier
        self._listener = listener
        self._maximum = settings.event_streams
        self._tenant_maximum = max(1, settings.event_streams // TENANT_SHARE)
        self._topics: dict[UUID, Topic] = {}
        self._topics_by_key: dict[str, Topic] = {}
        """The same by the names that announcements use."""
        self._secret = b""
        self._streams: set[Stream] = set()
        self._streams_of: Counter[UUID | Identity] = Counter()
        """Open streams by tenant, and by user."""
        self._is_ending = False
        self.ended: dict[Reason, int] = dict.fromkeys(REASONS, 0)
        """Streams that have ended, by reason."""
        listener.hear(CHANNEL, self._wake)
        listener.at_begin(self._wake_all)

    @property
    def streams(self) -> int:
        """Open streams."""
        return len(self._streams)

    def end(self) -> None:
        """Ends all streams and refuses new ones: their clients reconnect to another process."""
        self._is_ending = True
        for stream in self._streams:
            stream.end("shutdown")

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serves one request until its stream ends, or sends an error."""
        context = context_of(scope)
        try:
            identity = identify(context, self._identifier, is_for_users=True)
            assert identity.user_id is not None
            query = decode_query(scope["query_string"], FollowEvents)
            types = query.types.split(",") if query.types is not None else None
            stream = Stream(identity.user_id, types and frozenset(_RESOURCE_OF[name] for name in types))
            after = context.headers.get(b"last-event-id", b"").decode("latin-1") or query.last_event_id or None
            self._check_room(identity)
            with self._entered(identity, stream) as topic:
                async with aclosing(self._chunks(identity, topic, stream, after)) as chunks:
                    await self._send(context, stream, chunks, receive, send)
        except Exception as error:
            api_error = api_error_of(error)
            record_error(context, api_error, error)
            await send_error(context, send, api_error)

    def _check_room(self, identity: Identity) -> None:
        if self._is_ending or self.streams >= self._maximum:
            raise ApiError(503, "TOO_MANY_STREAMS", "This process has no room for another stream. Retry later.")
        if self._streams_of[identity.tenant_id] >= self._tenant_maximum:
            raise ApiError(429, message=f"This tenant already has {self._tenant_maximum} streams open.")
        if self._streams_of[identity] >= USER_STREAMS:
            raise ApiError(429, message=f"This user already has {USER_STREAMS} streams open. Close one first.")

    @contextmanager
    def _entered(self, identity: Identity, stream: Stream) -> Iterator[Topic]:
        """Counts a stream while it is open; yields its tenant's topic."""
        tenant_id = identity.tenant_id
        if (topic := self._topics.get(tenant_id)) is None:
            topic = self._topics[tenant_id] = Topic(tenant_id, self._calls, self._listener)
            self._topics_by_key[self._key_of(tenant_id)] = topic
        self._streams.add(stream)
        self._streams_of.update((tenant_id, identity))
        try:
            yield topic
        finally:
            self._streams.discard(stream)
            topic.leave(stream)
            self._streams_of.subtract((tenant_id, identity))
            if not self._streams_of[identity]:
                del self._streams_of[identity]
            if not self._streams_of[tenant_id]:
                del self._streams_of[tenant_id], self._topics[tenant_id]
                self._topics_by_key.pop(self._key_of(tenant_id), None)

    async def _chunks(
        self, identity: Identity, topic: Topic, stream: Stream, after: str | None
    ) -> AsyncGenerator[bytes]:
        """What a stream sends: the events that the client missed, then new ones. Raises as `read_events` does."""
        # Joins first: new events wait in the stream while the missed ones are read, up to where they begin.
        until = await topic.join(stream)
        chunk = b"retry: %d\n\n" % random.randint(*RETRY_MILLISECONDS)
        has_more = True
        while has_more and stream.reason is None:
            page = await read_events(self._calls, identity.tenant_id, [stream.user_id], after, until)
            if until is not None:  # else recording has only just begun, and the topic sends the reset
                chunk += reset(until) if page.is_reset else messages(page.events, stream.user_id, stream.resources)
            yield chunk
            chunk, after, has_more = b"", page.position, page.has_more
        while (waiting := await stream.take()) is not None:
            yield waiting

    async def _send(
        self, context: RequestContext, stream: Stream, chunks: AsyncGenerator[bytes], receive: "Receive", send: "Send"
    ) -> None:
        """Sends a stream to its end. Raises what the first read raises: nothing has been sent by then."""
        first = await anext(chunks)
        loop = asyncio.get_running_loop()
        expiry = loop.call_later(self._identifier.expires(context.headers) - time.time(), stream.end, "expired")
        watching = loop.create_task(_watch(receive, stream))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            context.begun_after = perf_counter() - context.started
            await _send_chunk(send, first)
            async for chunk in chunks:
                await _send_chunk(send, chunk)
        except Exception as error:  # too late for an error response
            stream.end("failed")
            record_error(context, api_error_of(error), error)
        finally:
            expiry.cancel()
            watching.cancel()
            self.ended[stream.reason or "client"] += 1
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _key_of(self, tenant_id: UUID) -> str:
        """The name of a tenant in announcements, as app.announcement_key returns it."""
        return sha256(self._secret + f"events:{tenant_id}".encode()).hexdigest()

    def _wake(self, key: str) -> None:
        if (topic := self._topics_by_key.get(key)) is not None:
            topic.wake()

    async def _wake_all(self, connection: Connection) -> None:
        """Makes every topic read what was announced while nobody listened."""
        self._secret = await connection.fetchval("select api.announcement_secret()")
        # Topics that are older than the first time that listening begins had another name.
        self._topics_by_key = {self._key_of(tenant_id): topic for tenant_id, topic in self._topics.items()}
        for topic in self._topics.values():
            topic.wake()


async def _watch(receive: "Receive", stream: Stream) -> None:
    """Ends a stream when its client disconnects."""
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.end("client")


async def _send_chunk(send: "Send", body: bytes) -> None:
    await send({"type": "http.response.body", "body": body, "more_body": True})

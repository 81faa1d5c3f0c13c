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
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager, suppress
from time import perf_counter
from typing import TYPE_CHECKING, Final
from uuid import UUID

from gateway.arguments import decode_query
from gateway.database.calls import Calls
from gateway.database.connect import Connection
from gateway.database.listener import Listener
from gateway.errors import RETRY_AFTER_SECONDS, ApiError, api_error_of
from gateway.events.topic import REASONS, Reason, Resources, Stream, Topic, messages, read_events, reset
from gateway.identity import Identifier, Identity, identify
from gateway.reply import send_error
from gateway.request import RequestContext, context_of, record_error
from gateway.schemas.events import FollowEvents
from gateway.settings import Settings

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

CHANNEL: Final = "cardbase_events"
RETRY_MILLISECONDS: Final = (1000, 3000)
"""When clients come again after a stream has ended: not all at once."""
HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    # A proxy such as nginx would wait for more.
    (b"x-accel-buffering", b"no"),
)

_RESOURCE_OF: Final = {"cards": "card", "memories": "memory", "messages": "message", "tasks": "task", "jobs": "job"}

logger = logging.getLogger(__name__)


class Events:
    """The streams of one process, as an ASGI application."""

    def __init__(self, settings: Settings, calls: Calls, identifier: Identifier, listener: Listener) -> None:
        self._calls = calls
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
        context = context_of(scope)
        try:
            identity = identify(context, self._identifier, is_for_users=True)
            assert identity.user_id is not None
            query = decode_query(scope["query_string"], FollowEvents)
            stream = Stream(identity.user_id, _resources(query.types))
            self._check_room(identity.tenant_id)
            with self._entered(identity.tenant_id, stream) as topic:
                async with aclosing(self._chunks(identity, topic, stream, _last_event_id(context, query))) as chunks:
                    first = await anext(chunks)
                    await self._send(context, stream, first, chunks, receive, send)
        except Exception as error:
            api_error = api_error_of(error)
            record_error(context, api_error, error)
            await send_error(context, send, api_error)

    def _check_room(self, tenant_id: UUID) -> None:
        if self._is_ending or self.streams >= self._maximum:
            raise ApiError(
                503, "TOO_MANY_STREAMS", "There is no room for another stream here. Come again a little later."
            )
        if self._streams_of.get(tenant_id, 0) >= self._tenant_maximum:
            raise ApiError(
                429,
                message=f"This tenant has {self._tenant_maximum} streams open already.",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )

    @contextmanager
    def _entered(self, tenant_id: UUID, stream: Stream) -> Iterator[Topic]:
        """Counts a stream meanwhile, and has its tenant's topic at work."""
        if (topic := self._topics.get(tenant_id)) is None:
            topic = self._topics[tenant_id] = Topic(tenant_id, self._calls, self._listener)
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
            answer = await read_events(self._calls, identity.tenant_id, [stream.user_id], after, until)
            # Where recording has only just begun, the topic will tell.
            if until is not None:
                chunk += reset(until) if answer.is_reset else messages(answer.events, stream.user_id, stream.resources)
            yield chunk
            chunk, after, has_more = b"", answer.position, answer.has_more
        while (waiting := await stream.take()) is not None:
            yield waiting

    async def _send(
        self,
        context: RequestContext,
        stream: Stream,
        first: bytes,
        chunks: AsyncGenerator[bytes],
        receive: "Receive",
        send: "Send",
    ) -> None:
        """Sends a stream to its end."""
        loop = asyncio.get_running_loop()
        expiry = loop.call_later(self._identifier.expires(context.headers) - time.time(), stream.end, "expired")
        watching = loop.create_task(_watch(receive, stream))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": list(HEADERS)})
            context.begun_after = perf_counter() - context.started
            await _send_part(send, first)
            async for chunk in chunks:
                await _send_part(send, chunk)
        except Exception as error:  # a refusal can't be sent any more
            stream.end("failed")
            record_error(context, api_error_of(error), error)
        finally:
            expiry.cancel()
            watching.cancel()
            self.ended[stream.reason or "client"] += 1
        await send({"type": "http.response.body", "body": b"", "more_body": False})

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


def _last_event_id(context: RequestContext, query: FollowEvents) -> str | None:
    header = context.headers.get(b"last-event-id", b"").decode("latin-1")
    return header or query.last_event_id or None

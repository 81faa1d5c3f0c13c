"""Cached replies, per caller, valid until a row they were made from changes.

The rule: no caller gets another caller's reply, or one older than a write that was acknowledged before the request,
whoever wrote: this gateway or another one, over /rpc, or a service in plain SQL.

*Another caller's.* The key is made of the function and all its arguments, among them the caller's ids.

*An older one.* Nothing has to be evicted in time. A reply is stored with the snapshot it was read in, which stays true
wherever and however late it is stored. The tables announce their changes (app.announce_change), each with its
transaction id, and every gateway listens. Before a cached reply is returned, the gateway waits until it has received
all announcements committed so far: one empty statement, shared by all requests that wait at the time. The reply is
fresh if its snapshot includes the last change announced for its source.

Two changes stand in for those that a process doesn't know. One is a transaction of its own, made once listening has
begun. The other is the newest change forgotten because too many sources have changed: announcements arrive in commit
order, so a snapshot that includes it includes all before it. Transaction ids mean nothing in another database, or after
a crash that lost some: so a reply is stored with the database, the server's start and its last crash recovery.

While nothing can be heard (the connection is lost, or a pooler changes servers between transactions) and while Redis is
away, requests bypass the cache.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar.stores.redis import RedisStore

from gateway.database.calls import Calls
from gateway.database.connect import Connection
from gateway.database.listener import Listener
from gateway.database.statement import CallStatement, Reply
from gateway.endpoint import Call
from gateway.identity import Identifier, Identity
from gateway.request import RequestContext
from gateway.routes import Route
from gateway.settings import Settings
from gateway.stores.redis import REDIS_FAILURES, BoundedStore, Breaker

if TYPE_CHECKING:
    from litestar.stores.base import Store
    from redis.asyncio import Redis

CHANNEL: Final = "cardbase_changes"
BEGINNING: Final = """
select
    api.announcement_secret() as secret,
    pg_current_xact_id()::text as transaction_id,
    concat_ws('/', database.oid, pg_postmaster_start_time(), pg_stat_get_bgwriter_stat_reset_time()) as incarnation
from pg_database as database
where database.datname = current_database()
"""
TTL_SECONDS: Final = 60
CATCH_UP_SECONDS: Final = 0.25
"""How long a request waits for announcements before it bypasses the cache."""
MAXIMUM_REPLIES: Final = 4096
"""In the memory of a process."""
MAXIMUM_BYTES: Final = 16_384
"""Longer replies are not cached."""
MAXIMUM_CHANGES: Final = 10_000
"""Sources whose last change a process remembers."""
RESULTS: Final = ("hit", "miss", "bypassed")


class Cache:
    """The cached replies of one process, or of all that share a Redis.

    count   is told the result of each request: one of RESULTS
    """

    def __init__(
        self, listener: Listener, redis: "Redis | None", breaker: Breaker, count: Callable[[str], None]
    ) -> None:
        self._listener = listener
        self._store: Store = BoundedStore(MAXIMUM_REPLIES)
        if redis is not None:
            self._store = RedisStore(redis, namespace="cardbase:cache")
        self._breaker = breaker
        self._count = count
        self._incarnation = self._secret = b""
        self._forgotten = 0
        """The newest change, by transaction id, that is not in `_changes`."""
        self._changes: dict[str, int] = {}
        """The transaction id of each source's last change, by the source's key, in commit order."""
        listener.hear(CHANNEL, self._record_change)
        listener.at_begin(self._start_over)

    async def fetch(self, source: str, call: Sequence[Any], run: Callable[[], Awaitable[Reply]]) -> Reply:
        """The fresh cached reply to a call, or else the reply of `run`, which is then cached.

        source   "<table>:<tenant_id>" or "<table>:<tenant_id>:<user_id>": the rows that the reply is made from
        call     the function and all its arguments
        """
        incarnation = self._incarnation
        key = hashlib.sha256(msgspec.json.encode(call)).hexdigest()
        result, body = await self._find(source, key)
        self._count(result)
        if body is not None:
            return Reply(200, None, body, None)
        reply = await run()
        if result == "miss":
            await self._keep(key, incarnation, reply)
        return reply

    async def _find(self, source: str, key: str) -> tuple[str, bytes | None]:
        if not self._listener.is_listening:
            return "bypassed", None
        try:
            with self._breaker.guard():
                entry = await self._store.get(key)
        except REDIS_FAILURES:
            return "bypassed", None
        if entry is None:
            return "miss", None
        if not await self._listener.catch_up(CATCH_UP_SECONDS):
            return "bypassed", None
        incarnation, snapshot, body = entry.split(b"\n", 2)
        last_change = self._changes.get(self._key_of(source), self._forgotten)
        if incarnation != self._incarnation or not _includes(snapshot.decode(), last_change):
            return "miss", None
        return "hit", body

    async def _keep(self, key: str, incarnation: bytes, reply: Reply) -> None:
        is_body_only = reply.headers is None and reply.measures is None
        if reply.status != 200 or not is_body_only or reply.body is None or len(reply.body) > MAXIMUM_BYTES:
            return
        assert reply.snapshot is not None, "the statement selects it"
        with suppress(*REDIS_FAILURES), self._breaker.guard():
            await self._store.set(key, b"\n".join((incarnation, reply.snapshot.encode(), reply.body)), TTL_SECONDS)

    def _record_change(self, payload: str) -> None:
        """Records an announcement: the keys of a tenant's source and of a user's, and the transaction's id."""
        *keys, transaction_id = payload.split(" ")
        if not transaction_id.isdecimal():
            return  # not from the trigger: whoever logs in may notify
        for key in keys:
            self._changes.pop(key, None)  # to keep them in commit order
            self._changes[key] = int(transaction_id)
        while len(self._changes) > MAXIMUM_CHANGES:
            self._forgotten = self._changes.pop(next(iter(self._changes)))

    async def _start_over(self, connection: Connection) -> None:
        row = await connection.fetchrow(BEGINNING)
        assert row is not None
        self._changes.clear()
        self._secret, self._incarnation = row["secret"], row["incarnation"].encode()
        self._forgotten = int(row["transaction_id"])

    def _key_of(self, source: str) -> str:
        """The name of a source in announcements, as app.announcement_key returns it."""
        return hashlib.sha256(self._secret + source.encode()).hexdigest()


def _includes(snapshot: str, transaction_id: int) -> bool:
    """Whether a snapshot, "<xmin>:<xmax>:<running>,…", was taken after a transaction had ended."""
    minimum, maximum, running = snapshot.split(":")
    if transaction_id < int(minimum):
        return True
    return transaction_id < int(maximum) and str(transaction_id) not in running.split(",")


class CachedCall(Call):
    """A line of the route table with `cached`."""

    def __init__(self, cache: Cache, route: Route, identifier: Identifier, calls: Calls, settings: Settings) -> None:
        super().__init__(route, identifier, calls, settings)
        self._cache = cache

    async def run(
        self, context: RequestContext, identity: Identity, statement: CallStatement, arguments: Sequence[Any]
    ) -> Reply:
        """The cached reply, or the call's own."""
        assert self.route.cached is not None
        table, owner = self.route.cached
        source = f"{table}:{identity.tenant_id}" + (f":{identity.user_id}" if owner == "user" else "")
        call = partial(super().run, context, identity, statement, arguments)
        return await self._cache.fetch(source, [self.route.function, *arguments], call)

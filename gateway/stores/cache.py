"""Answers that are kept for as long as what they are made of does not change, per caller.

The rule: whoever asks is never given another caller's answer, nor one older than a write that was answered before,
whoever wrote: this gateway or another, over /rpc, or a service in plain SQL.

*Another caller's.* An answer is kept under its function and all of its arguments, the caller's ids among them.

*An older one.* Nobody has to take anything away in time. An answer is kept with the snapshot that it was read in, which
stays true wherever it is stored and whoever stores it, however late: in the memory of a process, or in Redis for all. A
change is announced by the table itself (app.announce_change), with the number of its transaction, and heard by each
gateway. Before a kept answer is given, the gateway waits until it has heard all that was committed so far: that takes
a statement that does nothing, one for all who ask at the time. The answer is good if its snapshot sees the last change
that was heard of what it is made of. So a slow reader may store an old answer after the write: nobody is given it.

What was changed before listening began was not heard. Hence a transaction of our own once it has begun: an answer whose
snapshot does not see even that one is not good. Changes so many others ago that they are forgotten take its place:
announcements come in the order of commit, so who sees the last one forgotten sees all before it. The number of a
transaction means nothing in another database, or after the server lost some in a crash: so an answer is kept with the
database, the server's start and the last time that its shared memory was made anew.

Where nothing is heard (the connection is lost, or leads through a pooler that changes servers between transactions) and
while Redis does not answer, the database is asked as if there were no cache.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import msgspec
from litestar.stores.redis import RedisStore

from gateway.database.connect import Connection
from gateway.database.listener import Listener
from gateway.database.statement import Reply
from gateway.stores.redis import REDIS_FAILURES, BoundedStore, Breaker

if TYPE_CHECKING:
    from litestar.stores.base import Store
    from redis.asyncio import Redis

CHANNEL: Final = "cardbase_changes"
BEGINNING: Final = """
select
    pg_current_xact_id()::text as transaction_id,
    concat_ws('/', database.oid, pg_postmaster_start_time(), pg_stat_get_bgwriter_stat_reset_time()) as incarnation
from pg_database as database
where database.datname = current_database()
"""
SECONDS: Final = 60
"""For how long an answer is kept."""
PATIENCE_SECONDS: Final = 0.25
"""How long a request waits for what was announced, before the database is asked."""
MAXIMUM_ANSWERS: Final = 4096
"""That a process keeps in memory."""
MAXIMUM_BYTES: Final = 16_384
"""A longer answer is not kept."""
MAXIMUM_CHANGES: Final = 10_000
"""That a process remembers one by one."""
RESULTS: Final = ("hit", "miss", "bypassed")


class Cache:
    """The answers that one process keeps, or that all keep together in Redis.

    count   told of each request what became of it: one of RESULTS
    """

    def __init__(
        self, listener: Listener, redis: "Redis | None", breaker: Breaker, count: Callable[[str], None]
    ) -> None:
        self._listener = listener
        self._store: Store = BoundedStore(MAXIMUM_ANSWERS)
        if redis is not None:
            self._store = RedisStore(redis, namespace="cardbase:cache")
        self._breaker = breaker
        self._count = count
        self._incarnation = b""
        self._forgotten = 0
        """The last change that is no longer remembered one by one."""
        self._changes: dict[str, int] = {}
        """The last change of each thing, by its transaction; in the order in which they were committed."""
        listener.hear(CHANNEL, self._hear)
        listener.at_begin(self._begin)

    async def answer(self, made_of: str, call: Sequence[Any], ask: Callable[[], Awaitable[Reply]]) -> Reply:
        """The answer to a call: one that was kept, if it is good, or what the database says when asked.

        made_of: "<table>:<tenant_id>", or with ":<user_id>" behind it. call: the function, and all of its arguments.
        """
        incarnation = self._incarnation
        key = hashlib.sha256(msgspec.json.encode(call)).hexdigest()
        result, body = await self._find(made_of, key)
        self._count(result)
        if body is not None:
            return Reply(200, None, body, None)
        reply = await ask()
        if result == "miss":
            await self._keep(key, incarnation, reply)
        return reply

    async def _find(self, made_of: str, key: str) -> tuple[str, bytes | None]:
        if not self._listener.is_listening:
            return "bypassed", None
        try:
            kept = await self._breaker.ask(lambda: self._store.get(key))
        except REDIS_FAILURES:
            return "bypassed", None
        if kept is None:
            return "miss", None
        if not await self._listener.catch_up(PATIENCE_SECONDS):
            return "bypassed", None
        incarnation, snapshot, body = kept.split(b"\n", 2)
        last_change = self._changes.get(made_of, self._forgotten)
        if incarnation != self._incarnation or not _sees(snapshot.decode(), last_change):
            return "miss", None
        return "hit", body

    async def _keep(self, key: str, incarnation: bytes, reply: Reply) -> None:
        is_whole = reply.headers is None and reply.measures is None
        if reply.status != 200 or not is_whole or reply.body is None or len(reply.body) > MAXIMUM_BYTES:
            return
        assert reply.snapshot is not None, "the statement asks for it"
        kept = b"\n".join((incarnation, reply.snapshot.encode(), reply.body))
        with suppress(*REDIS_FAILURES):
            await self._breaker.ask(lambda: self._store.set(key, kept, SECONDS))

    def _hear(self, payload: str) -> None:
        changed, _, transaction_id = payload.rpartition(" ")
        whole = changed.rpartition(":")[0]
        for made_of in (whole, changed):
            self._changes.pop(made_of, None)  # so that it is put behind the others
            self._changes[made_of] = int(transaction_id)
        while len(self._changes) > MAXIMUM_CHANGES:
            self._forgotten = self._changes.pop(next(iter(self._changes)))

    async def _begin(self, connection: Connection) -> None:
        row = await connection.fetchrow(BEGINNING)
        assert row is not None
        self._changes.clear()
        self._forgotten, self._incarnation = int(row["transaction_id"]), row["incarnation"].encode()


def _sees(snapshot: str, transaction_id: int) -> bool:
    """Whether a snapshot, "<xmin>:<xmax>:<running>,…", was taken after a transaction had ended."""
    minimum, maximum, running = snapshot.split(":")
    if transaction_id < int(minimum):
        return True
    return transaction_id < int(maximum) and str(transaction_id) not in running.split(",")

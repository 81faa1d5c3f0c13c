"""The connections of one process: one round trip per statement, and a fair turn for every tenant."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg

from gateway.database.fair_queue import ConnectionSlots
from gateway.errors import ApiError
from gateway.settings import Settings

RETRIED: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
"""The statement was rolled back whole, so it may simply run again."""
MAXIMUM_RETRIES: Final = 3
RELEASE_TIMEOUT_SECONDS: Final = 2.0
READERS_SHARE: Final = 4
"""One connection in this many is for reads over /rpc; a pool of fewer connections is for all calls."""

T = TypeVar("T")


async def _keep_session(connection: Any) -> None:
    """Replaces the pool's reset query: calls leave no session state behind, and this saves a round trip."""


async def _pass_json_through(connection: Any) -> None:
    """Hands jsonb over as the bytes of its text, both ways; the binary format has a version byte in front."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + value,
        decoder=lambda value: value[1:],
    )


class Pool:
    """Connections, opened as they are needed, so that the gateway starts and stays up without a database.

    minimum      connections to open at the start
    maximum      connections that may be open
    reads_only   whether all transactions are read-only, whatever a function declares itself to be
    """

    def __init__(self, url: str, settings: Settings, minimum: int, maximum: int, *, reads_only: bool = False) -> None:
        self.maximum = maximum
        self._minimum = minimum
        self.statement_timeout = settings.database_statement_timeout_ms / 1000
        self.slots = ConnectionSlots(settings, maximum, settings.tenant_connections)
        """Which calls have a connection, and which wait for one."""
        self.retries = 0
        """Statements run again after a serialization failure or a deadlock."""
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        read_only = {"default_transaction_read_only": "on"} if reads_only else {}
        self._create_pool = partial(
            asyncpg.create_pool,
            url,
            min_size=0,
            max_size=maximum,
            max_inactive_connection_lifetime=0,
            max_queries=0x7FFFFFFF,
            timeout=settings.database_acquire_timeout_ms / 1000,
            init=_pass_json_through,
            reset=_keep_session,
            server_settings={"application_name": "cardbase"} | read_only,
            # Without a name a statement's parts go out with no sync in between: a pooler keeps them on one server.
            statement_cache_size=100 if settings.database_prepared_statements else 0,
        )

    async def open(self) -> None:
        """Opens the pool and, where the database can be reached, its first connections."""
        self._pool = await self._create_pool()
        first = [self._pool.acquire() for _ in range(self._minimum)]
        for connection in await asyncio.gather(*first, return_exceptions=True):
            if not isinstance(connection, BaseException):
                await self._pool.release(connection)

    async def close(self) -> None:
        """Closes the pool once its statements are done, and by force after the statement timeout."""
        if self._pool is None:
            return
        try:
            await asyncio.wait_for(self._pool.close(), self.statement_timeout)
        except TimeoutError:
            self._pool.terminate()

    @property
    def size(self) -> int:
        """Connections open."""
        return self._pool.get_size() if self._pool else 0

    @property
    def in_use(self) -> int:
        """Connections that run a statement."""
        return self.slots.in_use

    async def fetch(
        self, sql: str, arguments: Sequence[Any], tenant_id: UUID | None, seconds: float | None = None
    ) -> list[asyncpg.Record]:
        """Runs one statement in autocommit and returns its rows.

        seconds: its timeout; None: DATABASE_STATEMENT_TIMEOUT_MS

        Raises ApiError 503 DATABASE_BUSY when no connection is free in time, 429 RATE_LIMITED when too many calls of
        the tenant are waiting already, 504 TIMEOUT when the statement runs too long, and asyncpg's errors otherwise.
        """
        timeout = seconds or self.statement_timeout
        return await self._retry(lambda connection: connection.fetch(sql, *arguments, timeout=timeout), tenant_id)

    async def transact(
        self,
        work: Callable[[Any], Awaitable[T]],
        tenant_id: UUID | None,
        seconds: float | None = None,
        *,
        read_only: bool = False,
    ) -> T:
        """Runs work, several statements on one connection, in a transaction that is rolled back when it raises.

        It may run more than once, so it must do nothing outside the database. Raises as `fetch` does.
        """

        async def run(connection: Any) -> T:
            async with asyncio.timeout(seconds or self.statement_timeout), connection.transaction(readonly=read_only):
                return await work(connection)

        return await self._retry(run, tenant_id)

    async def _retry(self, run: Callable[[Any], Awaitable[T]], tenant_id: UUID | None) -> T:
        """Runs one transaction on a connection, and again after a serialization failure or a deadlock."""
        retries = 0
        while True:
            try:
                async with self.connection(tenant_id) as connection:
                    return await run(connection)
            except TimeoutError:
                raise ApiError(504) from None
            except RETRIED:
                if retries == MAXIMUM_RETRIES:
                    raise
            await asyncio.sleep(random.uniform(0.005, 0.025) * 2**retries)
            retries += 1
            self.retries += 1

    @asynccontextmanager
    async def connection(self, tenant_id: UUID | None) -> AsyncIterator[Any]:
        """A connection, once it is the tenant's turn. Raises as `fetch` does."""
        if self._pool is None:
            raise ApiError(503)
        await self.slots.enter(tenant_id)
        try:
            try:
                connection = await self._pool.acquire()
            except TimeoutError:
                raise ApiError(503) from None
            except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
                raise ApiError(503) from error  # not let in: the operator's fault, not the statement's
            try:
                yield connection
            finally:
                await self._pool.release(connection, timeout=RELEASE_TIMEOUT_SECONDS)
        finally:
            self.slots.leave(tenant_id)


def make_pools(url: str, settings: Settings) -> tuple[Pool, Pool | None]:
    """The pool for all calls and, if there are enough connections, one whose transactions are read-only.

    Behind a pooler in transaction mode there is only the first: it would pass the session's read-only setting on to
    other clients.
    """
    minimum, maximum = settings.database_pool_min, settings.database_pool_max
    readers = maximum // READERS_SHARE if settings.database_prepared_statements else 0
    if readers == 0:
        return Pool(url, settings, minimum, maximum), None
    first = minimum // READERS_SHARE
    pool = Pool(url, settings, minimum - first, maximum - readers)
    return pool, Pool(url, settings, first, readers, reads_only=True)

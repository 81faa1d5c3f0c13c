"""A worker's pool of database connections."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from gateway.errors import DATABASE_ERRORS
from gateway.observe.logs import describe
from gateway.worker.jobs import Connection

logger = logging.getLogger(__name__)

CONNECTIONS: Final = 10
JOB_CONNECTIONS: Final = 5
"""How many of them jobs may use at once, so that some are left to say that the worker is alive."""
STATEMENT_SECONDS: Final = 30.0
RETRY_SECONDS: Final = 0.5


async def _leave_as_is(_: Any) -> None:
    """Instead of the pool's reset query: no statement of ours leaves anything behind."""


class WorkerDatabase:
    """The pool of one worker. The worker's statements wait until the database is back; those of its jobs fail."""

    def __init__(self, url: str, *, keeps_session: bool = True) -> None:
        self._pool: asyncpg.Pool[asyncpg.Record] = asyncpg.create_pool(
            url,
            min_size=0,
            max_size=CONNECTIONS,
            max_inactive_connection_lifetime=0,
            reset=_leave_as_is,
            timeout=STATEMENT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            statement_cache_size=100 if keeps_session else 0,
            server_settings={"application_name": "cardbase worker"},
        )
        self._job_connections = asyncio.Semaphore(JOB_CONNECTIONS)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Keeps the pool open. The database need not be there."""
        await self._pool
        try:
            yield
        finally:
            self._pool.terminate()

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Connection]:
        """A connection for a job. Raises DATABASE_ERRORS."""
        async with self._job_connections, self._pool.acquire() as connection:
            yield connection

    async def fetch(
        self, sql: str, *arguments: Any, retried: tuple[type[Exception], ...] = DATABASE_ERRORS
    ) -> list[asyncpg.Record]:
        """Returns a statement's rows, and repeats it until there are any. Raises errors that are not in `retried`."""
        while True:
            try:
                return await self._pool.fetch(sql, *arguments)
            except asyncpg.TransactionRollbackError:  # a deadlock, which this has resolved
                continue
            except retried as error:
                logger.warning("waiting for the database", extra={"cause": describe(error)})
                await asyncio.sleep(RETRY_SECONDS)

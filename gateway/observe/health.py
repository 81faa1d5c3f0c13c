"""Whether the service works: checked outside the pool, so that a full pool can't hide it."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Final, Generic, Literal, TypeVar

import asyncpg
import msgspec
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway import __version__
from gateway.database.connect import Connection, connect
from gateway.errors import DATABASE_ERRORS
from gateway.schemas.operations import Health, Services, ServiceState

logger = logging.getLogger(__name__)

TIME_LIMIT_SECONDS: Final = 2.0
"""Of each check."""
HEALTH_SECONDS: Final = 0.8
"""Of the check that follows another, so that both take less than 3 s; the function waits at most 0.6 s for locks."""
HEALTH: Final = "select is_ready, task_queue, problem from api.get_health()"

T = TypeVar("T")


class HealthCheck:
    """Checks everything that the gateway depends on at once; requests at the same time share one result.

    is_saturated: whether all connections of the pool are in use
    """

    def __init__(self, url: str, redis_url: str | None, is_saturated: Callable[[], bool]) -> None:
        self._is_saturated = is_saturated
        self._redis = None if redis_url is None else Redis.from_url(redis_url, socket_timeout=TIME_LIMIT_SECONDS)
        self._started = monotonic()
        self._connection = _Connection(url, "cardbase health")
        self._database = _Shared(self._ask_database)
        self._shared_redis = _Shared(self._ask_redis)

    async def health(self) -> Health:
        """Checks everything at once.

        healthy; degraded when the pool is full, tables are locked, Redis is unavailable or no worker runs; unhealthy
        when the database is unavailable.
        """
        database, redis = await asyncio.gather(self._database.answer(), self._shared_redis.answer())
        state: ServiceState = "connected" if database.is_connected else "disconnected"
        task_queue = database.task_queue
        status: Literal["healthy", "degraded", "unhealthy"]
        if not database.is_connected:
            status = "unhealthy"
        elif not database.is_ready or self._is_saturated() or "disconnected" in (redis, task_queue):
            status = "degraded"
        else:
            status = "healthy"
        return Health(
            status=status,
            database=state,
            redis=redis,
            task_queue=task_queue,
            services=Services(database=state, redis=redis, task_queue=task_queue),
            version=__version__,
            uptime=round(monotonic() - self._started, 3),
        )

    async def is_ready(self) -> bool:
        """Whether the database is available and deployed, and a connection is free."""
        database = await self._database.answer()
        return database.is_ready and not self._is_saturated()

    async def close(self) -> None:
        """Closes its connections."""
        self._connection.drop()
        if self._redis is not None:
            await self._redis.aclose()

    async def _ask_database(self) -> "_DatabaseHealth":
        """Whether the database answers at all, and then what it says of itself."""
        try:
            await self._connection.ask("select 1", TIME_LIMIT_SECONDS)
        except asyncpg.TooManyConnectionsError:
            return _DatabaseHealth(is_connected=True)
        except DATABASE_ERRORS as error:
            logger.warning("the database does not answer", extra={"error": type(error).__name__})
            return _DatabaseHealth()
        try:
            row = await self._connection.ask(HEALTH, HEALTH_SECONDS)
        except (asyncpg.UndefinedFunctionError, asyncpg.InvalidSchemaNameError):
            logger.warning("the database is not ready", extra={"error": "cardbase deploy has not run"})
            return _DatabaseHealth(is_connected=True, task_queue="disabled")
        except DATABASE_ERRORS as error:
            logger.warning("the database is not ready", extra={"error": type(error).__name__})
            return _DatabaseHealth(is_connected=True)
        if row["problem"] is not None:
            logger.warning("the database has a problem", extra={"error": row["problem"]})
        return _DatabaseHealth(True, row["is_ready"], msgspec.convert(row["task_queue"], ServiceState))

    async def _ask_redis(self) -> ServiceState:
        if self._redis is None:
            return "disabled"
        try:
            async with asyncio.timeout(TIME_LIMIT_SECONDS):
                await self._redis.ping()
        except (RedisError, OSError) as error:
            logger.warning("Redis is unavailable", extra={"error": type(error).__name__})
            return "disconnected"
        return "connected"


class _DatabaseHealth(msgspec.Struct, frozen=True):
    """What is known of the database: as long as it says nothing else, that it is gone."""

    is_connected: bool = False
    is_ready: bool = False
    task_queue: ServiceState = "disconnected"


class _Shared(Generic[T]):
    """A check whose result is shared by all callers that request it while it runs."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._running: asyncio.Future[T] | None = None

    async def answer(self) -> T:
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._ask())
        return await asyncio.shield(self._running)


class _Connection:
    """A connection outside the pool, opened when it is needed."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._connection: Connection | None = None

    async def ask(self, sql: str, seconds: float) -> Any:
        """Returns the one row of a statement. Raises DATABASE_ERRORS, also after the timeout."""
        try:
            async with asyncio.timeout(seconds):
                if self._connection is None or self._connection.is_closed():
                    self._connection = await connect(self._url, self._name, statement_seconds=seconds)
                return await self._connection.fetchrow(sql)
        except DATABASE_ERRORS:
            self.drop()
            raise

    def drop(self) -> None:
        """Closes it without waiting."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

"""Whether the service works: asked outside the pool, so that a full pool can't hide the answer."""

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
"""For each question."""
READY_SECONDS: Final = 0.8
"""For the one that comes after another; the answer is given within 3 s."""

T = TypeVar("T")


class HealthCheck:
    """Asks all that the gateway depends on at once; requests at the same time share one answer.

    is_saturated: whether all connections of the pool are in use
    """

    def __init__(self, url: str, redis_url: str | None, is_saturated: Callable[[], bool]) -> None:
        self._is_saturated = is_saturated
        self._redis = None if redis_url is None else Redis.from_url(redis_url, socket_timeout=TIME_LIMIT_SECONDS)
        self._started = monotonic()
        self._connections = _Connection(url, "cardbase health"), _Connection(url, "cardbase health of the task queue")
        self._database = _Shared(self._ask_database)
        self._task_queue = _Shared(self._ask_task_queue)
        self._shared_redis = _Shared(self._ask_redis)

    async def health(self) -> Health:
        """Asks everything at once.

        healthy; degraded when the pool is full, tables are locked, Redis is gone or nobody carries out jobs; unhealthy
        when the database is gone.
        """
        (is_connected, is_deployed), redis, task_queue = await asyncio.gather(
            self._database.answer(), self._shared_redis.answer(), self._task_queue.answer()
        )
        state: ServiceState = "connected" if is_connected else "disconnected"
        status: Literal["healthy", "degraded", "unhealthy"]
        if not is_connected:
            status = "unhealthy"
        elif not is_deployed or self._is_saturated() or "disconnected" in (redis, task_queue):
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
        """Whether the database is there, deployed, and has a connection free."""
        _, is_deployed = await self._database.answer()
        return is_deployed and not self._is_saturated()

    async def close(self) -> None:
        """Closes its connections."""
        for connection in self._connections:
            connection.drop()
        if self._redis is not None:
            await self._redis.aclose()

    async def _ask_database(self) -> tuple[bool, bool]:
        """Whether the database answers, and whether it answers as a deployed one."""
        connection = self._connections[0]
        try:
            await connection.ask("select 1", TIME_LIMIT_SECONDS)
        except asyncpg.TooManyConnectionsError:
            return True, False
        except DATABASE_ERRORS as error:
            logger.warning("the database does not answer", extra={"error": type(error).__name__})
            return False, False
        try:
            return True, bool(await connection.ask("select api.is_ready()", READY_SECONDS))
        except DATABASE_ERRORS as error:
            logger.warning("the database is not ready", extra={"error": type(error).__name__})
            return True, False

    async def _ask_task_queue(self) -> ServiceState:
        try:
            answer = await self._connections[1].ask("select api.task_queue_state()", TIME_LIMIT_SECONDS)
        except (asyncpg.UndefinedFunctionError, asyncpg.InvalidSchemaNameError):
            return "disabled"  # the database is of a version before there was one
        except DATABASE_ERRORS as error:
            logger.warning("the task queue does not answer", extra={"error": type(error).__name__})
            return "disconnected"
        return msgspec.convert(answer, ServiceState)  # type: ignore[no-any-return]

    async def _ask_redis(self) -> ServiceState:
        if self._redis is None:
            return "disabled"
        try:
            async with asyncio.timeout(TIME_LIMIT_SECONDS):
                await self._redis.ping()
        except (RedisError, OSError) as error:
            logger.warning("Redis does not answer", extra={"error": type(error).__name__})
            return "disconnected"
        return "connected"


class _Shared(Generic[T]):
    """A question whose answer all get who ask while it is being found."""

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._running: asyncio.Future[T] | None = None

    async def answer(self) -> T:
        if self._running is None or self._running.done():
            self._running = asyncio.ensure_future(self._ask())
        return await asyncio.shield(self._running)


class _Connection:
    """A connection beside the pool, opened when there is something to ask."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._connection: Connection | None = None

    async def ask(self, sql: str, seconds: float) -> Any:
        """The one value that a statement answers in time. Raises DATABASE_ERRORS."""
        try:
            async with asyncio.timeout(seconds):
                if self._connection is None or self._connection.is_closed():
                    self._connection = await connect(self._url, self._name, statement_seconds=seconds)
                return await self._connection.fetchval(sql)
        except DATABASE_ERRORS:
            self.drop()
            raise

    def drop(self) -> None:
        """Lets go of it."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

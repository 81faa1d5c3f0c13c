"""Whether the service works: asked outside the pool, so that a full pool can't hide the answer."""

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Literal

import asyncpg
from redis.asyncio import Redis
from redis.exceptions import RedisError

from gateway import __version__
from gateway.schemas.operations import Health, Services, ServiceState

if TYPE_CHECKING:
    from gateway.database import Database

logger = logging.getLogger(__name__)

TIME_LIMIT_SECONDS: Final = 2.0
"""For each question; the answer is given within 3 s."""


class HealthCheck:
    """Asks the database on a connection of its own; many who ask at once share one answer."""

    def __init__(self, url: str, database: "Database", redis_url: str | None) -> None:
        self._url = url
        self._database = database
        self._redis = None if redis_url is None else Redis.from_url(redis_url, socket_timeout=TIME_LIMIT_SECONDS)
        self._started = monotonic()
        self._connection: asyncpg.Connection[Any] | None = None
        self._running: asyncio.Task[tuple[bool, bool]] | None = None

    async def health(self) -> Health:
        """Asks everything at once.

        healthy; degraded when the pool is full, tables are locked, or Redis is gone; unhealthy when the database is.
        """
        (is_connected, is_deployed), redis = await asyncio.gather(self._ask_shared(), self._ask_redis())
        state: ServiceState = "connected" if is_connected else "disconnected"
        status: Literal["healthy", "degraded", "unhealthy"]
        if not is_connected:
            status = "unhealthy"
        elif not is_deployed or self._database.is_saturated or redis == "disconnected":
            status = "degraded"
        else:
            status = "healthy"
        return Health(
            status=status,
            database=state,
            redis=redis,
            task_queue="disabled",
            services=Services(database=state, redis=redis, task_queue="disabled"),
            version=__version__,
            uptime=round(monotonic() - self._started, 3),
        )

    async def is_ready(self) -> bool:
        """Whether the database is there, deployed, and has a connection free."""
        _, is_deployed = await self._ask_shared()
        return is_deployed and not self._database.is_saturated

    async def close(self) -> None:
        """Closes its connections."""
        await self._drop()
        if self._redis is not None:
            await self._redis.aclose()

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

    async def _ask_shared(self) -> tuple[bool, bool]:
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._ask())
        return await asyncio.shield(self._running)

    async def _ask(self) -> tuple[bool, bool]:
        """Whether the database answers, and whether it answers as a deployed one."""
        try:
            async with asyncio.timeout(TIME_LIMIT_SECONDS):
                if self._connection is None or self._connection.is_closed():
                    self._connection = await asyncpg.connect(
                        self._url,
                        timeout=TIME_LIMIT_SECONDS,
                        statement_cache_size=0,
                        server_settings={"application_name": "cardbase health"},
                    )
                await self._connection.execute("select 1")
        except asyncpg.TooManyConnectionsError:
            return True, False
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            logger.warning("the database does not answer", extra={"error": type(error).__name__})
            await self._drop()
            return False, False
        try:
            async with asyncio.timeout(TIME_LIMIT_SECONDS / 2):
                return True, bool(await self._connection.fetchval("select api.is_ready()"))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
            logger.warning("the database is not ready", extra={"error": type(error).__name__})
            await self._drop()
            return True, False

    async def _drop(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

"""Litestar's stores, bounded in memory or shared in Redis, and a breaker for when Redis is away."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from time import monotonic
from typing import Any, Final

from litestar.stores.base import StorageObject
from litestar.stores.memory import MemoryStore
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

REDIS_CONNECTIONS: Final = 8
"""At most, per process."""
REDIS_TIMEOUT_SECONDS: Final = 1.0
REDIS_PAUSE_SECONDS: Final = 2.0
"""Between attempts to reach Redis while it is away."""
REDIS_FAILURES: Final = (RedisError, OSError)
"""Everything that a command can fail with."""

logger = logging.getLogger(__name__)


class BoundedStore(MemoryStore):
    """At most `maximum` values of one process. Nothing is awaited, so no other request comes in between."""

    def __init__(self, maximum: int) -> None:
        super().__init__()
        self._maximum = maximum
        self._lock: Any = nullcontext()  # a lock would cost more than the lookup

    def find(self, key: str) -> StorageObject | None:
        """A value that has not expired."""
        stored = self._store.get(key)
        return None if stored is None or stored.expired else stored

    async def set(self, key: str, value: str | bytes, expires_in: int | timedelta | None = None) -> None:
        """Sets a value."""
        self.put(key, value.encode() if isinstance(value, str) else value, expires_in)

    def put(self, key: str, value: bytes, expires_in: int | timedelta | None) -> StorageObject:
        """Sets a value, last in the order of expiry. Two expired values make way for it, or the oldest when full."""
        self._store.pop(key, None)
        for _ in range(2):
            oldest = next(iter(self._store), None)
            if oldest is not None and (self._store[oldest].expired or len(self._store) >= self._maximum):
                del self._store[oldest]
        stored = self._store[key] = StorageObject.new(value, expires_in)
        return stored


def open_redis(url: str) -> Redis:
    """A Redis client with its own connections, for everything in a process that uses Redis."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=REDIS_CONNECTIONS,
        timeout=REDIS_TIMEOUT_SECONDS,
        socket_timeout=REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        # A connection that Redis has closed is reopened once; a timeout is not retried.
        retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
    )
    return Redis.from_pool(pool)


class Breaker:
    """Keeps requests from timing out one by one while Redis is away: one request retries it every other second."""

    def __init__(self) -> None:
        self._retry_at = 0.0
        self._is_closed = True

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Guards commands to Redis. Raises REDIS_FAILURES: a command's own, or one at once while Redis is away."""
        now = monotonic()
        if not self._is_closed and now < self._retry_at:
            raise RedisConnectionError("Redis was away a moment ago")
        self._retry_at = now + REDIS_PAUSE_SECONDS  # until then no other request retries it
        try:
            yield
        except REDIS_FAILURES as error:
            if self._is_closed:
                logger.warning("redis is not responding, working without it", extra={"error": type(error).__name__})
            self._is_closed = False
            raise
        if not self._is_closed:
            logger.warning("redis is responding again")
        self._is_closed = True

"""Litestar's stores, as all who keep something for a while need them: bounded in memory, or shared in Redis.

While Redis does not answer it is left alone, and asked again every other second by one request: whoever asks it
meanwhile is told at once, and goes another way.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from time import monotonic
from typing import Final, TypeVar

from litestar.stores.base import StorageObject
from litestar.stores.memory import MemoryStore
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

REDIS_CONNECTIONS: Final = 8
"""Of each process, at most."""
REDIS_TIMEOUT_SECONDS: Final = 1.0
"""How long one request waits for Redis at most."""
REDIS_PAUSE_SECONDS: Final = 2.0
"""For how long Redis is left alone after it did not answer."""
REDIS_FAILURES: Final = (RedisError, OSError)
"""What a question to Redis may fail by."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class BoundedStore(MemoryStore):
    """Values of one process, so many at most. Putting one there awaits nothing, so nobody else comes between."""

    def __init__(self, maximum: int) -> None:
        super().__init__()
        self._maximum = maximum

    async def set(self, key: str, value: str | bytes, expires_in: int | timedelta | None = None) -> None:
        """Sets a value."""
        self.put(key, value.encode() if isinstance(value, str) else value, expires_in)

    def put(self, key: str, value: bytes, expires_in: int | timedelta | None) -> StorageObject:
        """Sets a value, behind the others: they stand in the order in which they end."""
        self._store.pop(key, None)
        self._make_room()
        stored = self._store[key] = StorageObject.new(value, expires_in)
        return stored

    def _make_room(self) -> None:
        """Forgets two values that are over, so that for each new one more than one goes; or the oldest, when full."""
        for _ in range(2):
            oldest = next(iter(self._store), None)
            if oldest is None or not (self._store[oldest].expired or len(self._store) >= self._maximum):
                return
            del self._store[oldest]


def open_redis(url: str) -> Redis:
    """A client of Redis, with connections of its own, for all of a process that ask it."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=REDIS_CONNECTIONS,
        timeout=REDIS_TIMEOUT_SECONDS,
        socket_timeout=REDIS_TIMEOUT_SECONDS,
        socket_connect_timeout=REDIS_TIMEOUT_SECONDS,
        # A connection that Redis has closed meanwhile is opened again, once; silence is not waited for again.
        retry=Retry(NoBackoff(), 1, (RedisConnectionError,)),
    )
    return Redis.from_pool(pool)


class Breaker:
    """What keeps requests from waiting for Redis, one after the other, while it does not answer."""

    def __init__(self) -> None:
        self._retry_at = 0.0
        self._is_answering = True

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """What Redis answers to a question. Raises REDIS_FAILURES when it does not, or a moment ago did not."""
        now = monotonic()
        if not self._is_answering and now < self._retry_at:
            raise RedisConnectionError("it did not answer a moment ago")
        self._retry_at = now + REDIS_PAUSE_SECONDS  # so that, while it does not answer, only this request waits for it
        try:
            answer = await question()
        except REDIS_FAILURES as error:
            if self._is_answering:
                logger.warning(
                    "redis does not answer: each process goes by itself", extra={"error": type(error).__name__}
                )
            self._is_answering = False
            raise
        if not self._is_answering:
            logger.warning("redis answers again: all processes go together")
        self._is_answering = True
        return answer

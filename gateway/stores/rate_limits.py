"""Rate limits: so many requests of a tenant per minute, over all endpoints, and fewer at some.

A minute begins with the first request in it. Requests are counted in Litestar's stores, in memory or in Redis. Their
own get and set are two steps, between which another request could read the same number: so each store here has a third
operation, which counts in one.

While Redis does not answer each process counts for itself, by the same limit: the gate stays shut for whoever is over
it, and the API stays up.
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, cast
from uuid import UUID

from litestar.stores.redis import RedisStore

from gateway.errors import ApiError
from gateway.identity import Identifier
from gateway.reply import send_error
from gateway.request import RequestContext, context_of, record_error
from gateway.settings import Settings
from gateway.stores.redis import REDIS_FAILURES, BoundedStore, Breaker

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Scope, Send
    from redis.asyncio import Redis

EVERYWHERE: Final = "*"
"""What a limit over all endpoints is over."""
WINDOW_SECONDS: Final = 60
MAXIMUM_COUNTERS: Final = 100_000
"""Counters that a process keeps in memory; the oldest gives way."""
COUNT: Final = b"""
local number = redis.call('incr', KEYS[1])
local left = redis.call('pttl', KEYS[1])
if left < 0 then
    redis.call('pexpire', KEYS[1], ARGV[1])
    left = tonumber(ARGV[1])
end
return {number, left}
"""
"""Counts in one step; a counter never stays without an end."""

Refuse = Callable[[RequestContext, "Send", ApiError], Awaitable[None]]


class Count(NamedTuple):
    """Which request of its window this is, from 1, and how long the window still lasts."""

    number: int
    seconds_left: float


class Counters(Protocol):
    """A store that counts."""

    async def count(self, key: str) -> Count:
        """Counts one request, and answers which it is."""


class MemoryCounters(BoundedStore):
    """Counters of one process. Counting awaits nothing, so no other request comes between."""

    def __init__(self) -> None:
        super().__init__(MAXIMUM_COUNTERS)

    async def count(self, key: str) -> Count:
        """Counts one request, and answers which it is."""
        counter = self._store.get(key)
        if counter is None or counter.expired:
            counter = self.put(key, b"0", WINDOW_SECONDS)
        number = int(counter.data) + 1
        counter.data = b"%d" % number
        assert counter.expires_at is not None
        return Count(number, (counter.expires_at - datetime.now(UTC)).total_seconds())


class RedisCounters(RedisStore):
    """Counters in Redis, shared by all processes that use it."""

    def __init__(self, redis: "Redis") -> None:
        super().__init__(redis, namespace="cardbase")
        self._count = redis.register_script(COUNT)

    async def count(self, key: str) -> Count:
        """Counts one request, and answers which it is. Raises REDIS_FAILURES when Redis does not answer."""
        number, milliseconds = await self._count(keys=[self._make_key(key)], args=[WINDOW_SECONDS * 1000])
        return Count(number, milliseconds / 1000)


class FallbackCounters:
    """Counters in Redis while it answers, else in this process."""

    def __init__(self, shared: Counters, own: Counters, breaker: Breaker) -> None:
        self._shared = shared
        self._own = own
        self._breaker = breaker

    async def count(self, key: str) -> Count:
        """Counts one request, and answers which it is."""
        try:
            return await self._breaker.ask(lambda: self._shared.count(key))
        except REDIS_FAILURES:
            return await self._own.count(key)


class RateLimits:
    """The rate limits of one process."""

    def __init__(self, settings: Settings, identifier: Identifier, redis: "Redis | None", breaker: Breaker) -> None:
        self._identifier = identifier
        self._per_minute = settings.rate_limit_per_minute
        self._counters: Counters = MemoryCounters()
        if redis is not None:
            self._counters = FallbackCounters(RedisCounters(redis), self._counters, breaker)

    def in_front_of(
        self,
        app: "ASGIApp",
        *,
        path: str,
        per_minute: Mapping[str, int] = MappingProxyType({}),
        refuse: Refuse = send_error,
    ) -> "ASGIApp":
        """An application behind the limits; the very application where there are none.

        path         the endpoint's, for its own limits
        per_minute   requests of a tenant per minute at this endpoint, by method; 0: only the limit over all endpoints
        refuse       sends a refusal in the endpoint's own form of error
        """
        if not self._per_minute and not any(per_minute.values()):
            return app
        over_all = [(EVERYWHERE, self._per_minute)] if self._per_minute else []
        own = {method: [(f"{method} {path}", limit), *over_all] for method, limit in per_minute.items() if limit}
        return cast("ASGIApp", _Limited(app, self._identifier, self._counters, own, over_all, refuse))


_Limit = tuple[str, int]
"""What a limit is over, and how many requests of a tenant per minute it lets pass."""


class _Limited:
    """An application behind limits."""

    def __init__(
        self,
        app: "ASGIApp",
        identifier: Identifier,
        counters: Counters,
        limits: Mapping[str, Sequence[_Limit]],
        other_limits: Sequence[_Limit],
        refuse: Refuse,
    ) -> None:
        self._app = app
        self._identifier = identifier
        self._counters = counters
        self._limits = limits
        self._other_limits = other_limits
        self._refuse = refuse

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answers one request, or refuses it."""
        context = context_of(scope)
        limits = self._limits.get(scope["method"], self._other_limits)  # type: ignore[typeddict-item]
        try:
            tenant_id = self._identifier.identify(context.headers).tenant_id
        except ApiError:
            limits = ()  # the endpoint refuses it, in its own words and at no cost to the database
        if not limits:
            await self._app(scope, receive, send)
            return
        state = await self._count(limits, tenant_id)

        async def send_with_state(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *state.headers()]
            await send(message)

        if state.remaining < 0:
            context.tenant_id = tenant_id
            api_error = state.api_error()
            record_error(context, api_error, api_error)
            await self._refuse(context, send_with_state, api_error)
        else:
            await self._app(scope, receive, send_with_state)

    async def _count(self, limits: Sequence[_Limit], tenant_id: UUID) -> "_State":
        """Counts a request, and answers for the limit that is nearest. One that is refused counts no further."""
        states: list[_State] = []
        for over, limit in limits:
            number, seconds_left = await self._counters.count(f"requests:{over}:{tenant_id}")
            states.append(_State(limit, limit - number, math.ceil(seconds_left)))
            if number > limit:
                break
        return min(states, key=lambda state: state.remaining)


class _State(NamedTuple):
    """What is left of a limit."""

    limit: int
    remaining: int
    """Below 0: this request is one too many."""
    reset_seconds: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of draft-ietf-httpapi-ratelimit-headers-06."""
        return [
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % max(self.remaining, 0)),
            (b"ratelimit-reset", b"%d" % self.reset_seconds),
        ]

    def api_error(self) -> ApiError:
        return ApiError(
            429,
            message=f"These are more than {self.limit} requests of this tenant within a minute. "
            f"Repeat this one in {self.reset_seconds} s.",
            headers={"Retry-After": str(self.reset_seconds)},
        )

"""Rate limits: requests of a tenant per minute, over all endpoints, and fewer at some.

A window of a minute begins with its first request. A request is counted in one step, so no two get the same number:
in Redis by a script, in memory by code that awaits nothing. While Redis is away each process counts alone, against the
same limits: the API stays up, and a tenant that is over its limit stays out.
"""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, cast
from uuid import UUID

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
"""The scope of a limit over all endpoints."""
WINDOW_SECONDS: Final = 60
NETWORK_PER_MINUTE: Final = 60
"""Requests from one network of callers who prove nothing, and name a tenant: forged refresh tokens."""
MAXIMUM_COUNTERS: Final = 100_000
"""In the memory of a process; the oldest makes way."""
COUNT: Final = b"""
local number = redis.call('incr', KEYS[1])
local left = redis.call('pttl', KEYS[1])
if left < 0 then
    redis.call('pexpire', KEYS[1], ARGV[1])
    left = tonumber(ARGV[1])
end
return {number, left}
"""
"""Also gives an expiry to a counter that has lost it."""


class Count(NamedTuple):
    """A request's number in its window, from 1, and the seconds until the window ends."""

    number: int
    seconds_left: float


class Counters:
    """Counts requests: in Redis while it responds, otherwise in this process."""

    def __init__(self, redis: "Redis | None", breaker: Breaker) -> None:
        self._script = None if redis is None else redis.register_script(COUNT)
        self._breaker = breaker
        self._memory = BoundedStore(MAXIMUM_COUNTERS)

    async def count(self, key: str) -> Count:
        """Counts one request."""
        if self._script is not None:
            with suppress(*REDIS_FAILURES), self._breaker.guard():
                number, milliseconds = await self._script(keys=[f"cardbase:{key}"], args=[WINDOW_SECONDS * 1000])
                return Count(number, milliseconds / 1000)
        return self._count_in_memory(key)

    def _count_in_memory(self, key: str) -> Count:
        counter = self._memory.find(key) or self._memory.put(key, b"0", WINDOW_SECONDS)
        counter.data = b"%d" % (int(counter.data) + 1)
        assert counter.expires_at is not None
        return Count(int(counter.data), (counter.expires_at - datetime.now(UTC)).total_seconds())


class _State(NamedTuple):
    """What is left of a limit: below 0, the request is one too many."""

    limit: int
    remaining: int
    reset_seconds: int

    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of draft-ietf-httpapi-ratelimit-headers-06."""
        return [
            (b"ratelimit-limit", b"%d" % self.limit),
            (b"ratelimit-remaining", b"%d" % max(self.remaining, 0)),
            (b"ratelimit-reset", b"%d" % self.reset_seconds),
        ]

    def api_error(self) -> ApiError:
        message = f"This tenant sent more than {self.limit} requests within a minute. Retry in {self.reset_seconds} s."
        return ApiError(429, message=message, headers={"Retry-After": str(self.reset_seconds)})


class RateLimits:
    """The rate limits of one process."""

    def __init__(self, settings: Settings, identifier: Identifier, redis: "Redis | None", breaker: Breaker) -> None:
        self._identifier = identifier
        self._per_minute = settings.rate_limit_per_minute
        self._counters = Counters(redis, breaker)

    def in_front_of(
        self,
        app: "ASGIApp",
        *,
        path: str,
        per_minute: Mapping[str, int] | None = None,
        refuse: Callable[[RequestContext, "Send", ApiError], Awaitable[None]] = send_error,
    ) -> "ASGIApp":
        """Puts the limits in front of an application; returns the application itself where there are none.

        path         of the endpoint, for its own limits
        per_minute   requests of a tenant per minute at this endpoint, by method; 0: only the limit over all endpoints
        refuse       sends an error in the endpoint's own format
        """
        over_all = [(EVERYWHERE, self._per_minute)] if self._per_minute else []
        lower = {method: limit for method, limit in (per_minute or {}).items() if limit}
        by_method = {method: [(f"{method} {path}", limit), *over_all] for method, limit in lower.items()}
        if not over_all and not by_method:
            return app

        async def limited(scope: "Scope", receive: "Receive", send: "Send") -> None:
            context = context_of(scope)
            limits = by_method.get(scope["method"], over_all)  # type: ignore[typeddict-item]
            try:
                tenant_id = self._identifier.identify(context.headers).tenant_id
            except ApiError:
                limits = []  # the endpoint refuses the request itself, at no cost to the database
            if not limits:
                await app(scope, receive, send)
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
                await refuse(context, send_with_state, api_error)
            else:
                await app(scope, receive, send_with_state)

        return cast("ASGIApp", limited)

    async def check_network(self, network: str) -> None:
        """Counts a request from a network that proves nothing. Raises ApiError 429 for one too many."""
        number, seconds_left = await self._counters.count(f"network:{network}")
        if number > NETWORK_PER_MINUTE:
            seconds = math.ceil(seconds_left)
            message = f"Too many requests with unknown refresh tokens came from this network. Retry in {seconds} s."
            raise ApiError(429, message=message, headers={"Retry-After": str(seconds)})

    async def _count(self, limits: Sequence[tuple[str, int]], tenant_id: UUID) -> _State:
        """Counts a request against limits (scope, requests per minute); a request over one is not counted further.

        Returns the state of the limit with the least remaining.
        """
        states: list[_State] = []
        for scope, limit in limits:
            number, seconds_left = await self._counters.count(f"requests:{scope}:{tenant_id}")
            states.append(_State(limit, limit - number, math.ceil(seconds_left)))
            if number > limit:
                break
        return min(states, key=lambda state: state.remaining)

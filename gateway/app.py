"""The wiring: one factory from settings to the ASGI application, and nothing else.

The way of a request, such as POST /api/v1/cards/batch: gateway/routes.py names its SQL function, gateway/endpoint.py
turns it into a call, gateway/statements.py has the call's SQL text.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import product
from typing import TYPE_CHECKING, Final, cast

from litestar import Litestar, asgi
from litestar.config.cors import CORSConfig
from litestar.enums import HttpMethod
from litestar.exceptions import NotFoundException
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
from prometheus_client import CollectorRegistry

from gateway.database.calls import Calls
from gateway.database.listener import Listener
from gateway.database.pool import Pool, make_pools
from gateway.endpoint import Call, Endpoint, handler_of
from gateway.events.endpoint import Events
from gateway.handlers.accounts import Accounts
from gateway.handlers.call import HandlerCall
from gateway.handlers.integrations import Integrations
from gateway.handlers.passwords import Passwords
from gateway.handlers.search import SearchHandler
from gateway.identity import Identifier
from gateway.observe.endpoints import operations
from gateway.observe.health import HealthCheck
from gateway.observe.metrics import Metrics
from gateway.observe.observer import Observer
from gateway.openapi.page import documents
from gateway.reply import error_response
from gateway.routes import EVENTS, ROUTES, Route
from gateway.rpc import endpoint as rpc
from gateway.rpc.catalog import CatalogKeeper
from gateway.schemas.cards import CARD_TYPES
from gateway.services.encryption import Encryptor
from gateway.settings import Settings
from gateway.signals import collect_rarely, on_signals
from gateway.stores.cache import RESULTS as CACHE_RESULTS
from gateway.stores.cache import Cache, CachedCall
from gateway.stores.rate_limits import RateLimits
from gateway.stores.redis import Breaker, open_redis
from gateway.walls.bodies import Bodies
from gateway.walls.gate import Gate

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

EXPOSED_HEADERS: Final = [
    *("Content-Range", "ETag", "Location", "Preference-Applied", "Proxy-Status", "Retry-After", "Server-Timing"),
    *("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "X-Event-Recorded", "X-Idempotency-Cache"),
    *("X-Process-Time", "X-Request-ID", "X-Trace-ID"),
]
"""Response headers that pages of other origins may read (CORS)."""


def create_app(settings: Settings, database_url: str) -> "ASGIApp":
    """The gateway as an ASGI application. It starts without a database, too, and returns 503 until there is one."""
    pool, readers = make_pools(database_url, settings)
    pools = [pool] if readers is None else [pool, readers]
    calls = Calls(pool, settings)
    listener = Listener(database_url, keeps_session=settings.database_prepared_statements)
    keeper = CatalogKeeper(listener)
    check = HealthCheck(database_url, settings.redis_url, lambda: pool.in_use >= pool.maximum)
    identifier = Identifier(settings)
    events = Events(settings, calls, identifier, listener)
    metrics = Metrics(CollectorRegistry())
    _watch(metrics, pools, calls, keeper, events)
    redis = None if settings.redis_url is None else open_redis(settings.redis_url)
    breaker = Breaker()
    limits = RateLimits(settings, identifier, redis, breaker)
    cache = Cache(listener, redis, breaker, lambda result: metrics.count_one("cards_cache", result))
    passwords = Passwords()
    searches = SearchHandler()
    handlers = {
        **Accounts(settings, identifier, passwords, limits.check_network).handlers,
        **Integrations(settings, Encryptor(settings)).handlers,
        **searches.handlers,
    }

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        await asyncio.gather(*(each.open() for each in pools))
        listener.start()
        keeper.start()
        refreshing = asyncio.create_task(metrics.keep_fresh())
        collect_rarely()
        try:
            with on_signals(reload=keeper.reload, end=events.end):
                yield
        finally:
            refreshing.cancel()
            passwords.close()
            searches.close()
            await asyncio.gather(*(each.close() for each in pools), keeper.close(), listener.close(), check.close())
            if redis is not None:
                await redis.aclose()

    def call_of(line: Route) -> Call:
        parts = (line, identifier, calls, settings)
        if line.handler:
            return HandlerCall(handlers[line.handler], *parts)
        return CachedCall(cache, *parts) if line.cached else Call(*parts)

    resources = (line.path.split("/")[3] for line in ROUTES)
    origins = list(settings.allowed_origins)
    cors = CORSConfig(allow_origins=origins, allow_headers=["*"], expose_headers=EXPOSED_HEADERS, max_age=86400)
    rpc_endpoint = rpc.Rpc(settings, pool, readers, keeper, identifier, metrics.count)
    litestar = Litestar(
        route_handlers=[
            *_endpoints(settings, call_of, metrics, limits),
            handler_of(EVENTS.path, [HttpMethod.GET], limits.in_front_of(cast("ASGIApp", events), path=EVENTS.path)),
            _rpc(limits.in_front_of(cast("ASGIApp", rpc_endpoint), path=rpc.ROUTE, refuse=rpc.send_rpc_error)),
            *operations(settings, check, metrics, resources, keeper.version),
            documents(settings, keeper),
        ],
        lifespan=[lifespan],
        openapi_config=None,
        cors_config=cors if settings.allowed_origins else None,
        exception_handlers={Exception: error_response},
        logging_config=None,
    )
    bodies = Bodies(cast("ASGIApp", litestar), settings)
    gate = Gate(cast("ASGIApp", bodies), settings, rpc.send_rpc_error)
    return Observer(cast("ASGIApp", gate), metrics)


def _watch(metrics: Metrics, pools: Sequence[Pool], calls: Calls, keeper: CatalogKeeper, events: Events) -> None:
    """Registers what the metrics show of the rooms' state."""
    for each in pools:
        each.slots.observe_wait = metrics.observe_wait
    metrics.watch("cards_database_pool_size", lambda: sum(each.size for each in pools))
    metrics.watch("cards_database_pool_in_use", lambda: sum(each.in_use for each in pools))
    metrics.watch(
        "cards_database_pool_waiting", lambda: calls.waiting + sum(len(each.slots.waiting) for each in pools[1:])
    )
    metrics.watch("cards_database_pool_max", lambda: sum(each.maximum for each in pools))
    metrics.watch_total("cards_database_retries", lambda: sum(each.retries for each in pools))
    metrics.watch("cards_catalog_version", keeper.version)
    metrics.watch_totals("cards_catalog_loads", lambda: {"loaded": keeper.loads, "failed": keeper.failures})
    metrics.watch("cards_event_streams", lambda: events.streams)
    metrics.watch_totals("cards_event_streams_ended", lambda: events.ended)
    metrics.expect("cards_cache", *CACHE_RESULTS)
    metrics.expect_measure("cards_created", product(CARD_TYPES, ("created", "existing")))
    metrics.expect_measure("card_usage_events", product(CARD_TYPES, ("none",)))
    metrics.refresh()


def _endpoints(
    settings: Settings, call_of: Callable[[Route], Call], metrics: Metrics, limits: RateLimits
) -> Iterator[HTTPRouteHandler]:
    """A handler for each path of the route table."""
    for path in dict.fromkeys(line.path for line in ROUTES):
        lines = [line for line in ROUTES if line.path == path]
        for line in lines:
            metrics.expect_route(line.method, path, (*line.answers, 500, 503), line.function)
        endpoint = Endpoint({line.method: call_of(line) for line in lines}, metrics.count)
        per_minute = {line.method: settings.search_rate_limit_per_minute if line.is_search else 0 for line in lines}
        limited = limits.in_front_of(cast("ASGIApp", endpoint), path=path, per_minute=per_minute)
        yield handler_of(path, endpoint.methods, limited)


def _rpc(app: "ASGIApp") -> ASGIRouteHandler:
    """The handler of all paths below /rpc, for all methods."""

    @asgi("/rpc", is_mount=True, copy_scope=False)
    async def handler(scope: "Scope", receive: "Receive", send: "Send") -> None:
        if not scope["raw_path"].startswith(b"/rpc/"):
            raise NotFoundException  # a mount also gets paths such as /rpcs
        await app(scope, receive, send)

    return handler

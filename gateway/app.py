"""The wiring: one factory from settings to the ASGI application."""

import asyncio
import gc
import signal
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from litestar import Litestar, Request, Response, asgi, get, route
from litestar.config.cors import CORSConfig
from litestar.enums import HttpMethod
from litestar.exceptions import NotFoundException
from litestar.handlers import ASGIRouteHandler, HTTPRouteHandler
from litestar.router import Router
from litestar.static_files import create_static_files_router
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from gateway.database.listener import Listener
from gateway.database.pool import Database
from gateway.endpoint import CachedCall, Call, Endpoint, HandledCall, Handler
from gateway.errors import Refusal, envelope, refusal_of
from gateway.events.endpoint import Events
from gateway.handlers.accounts import Accounts, Passwords
from gateway.identity import Identifier
from gateway.observe.health import HealthCheck
from gateway.observe.metrics import Metrics, Observer
from gateway.openapi import document as documentation
from gateway.request import exchange_of, note
from gateway.routes import EVENTS, ROUTES
from gateway.rpc import endpoint as rpc
from gateway.rpc.catalog import CatalogKeeper
from gateway.rpc.errors import Failure
from gateway.schemas.operations import Health, Info, Ready
from gateway.services.embedder import Searches
from gateway.services.encryption import Sealer
from gateway.settings import Settings
from gateway.stores.cache import Cache
from gateway.stores.rate_limits import Limits
from gateway.stores.redis import Breaker, open_redis

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Scope, Send

API_VERSION: Final = "v1"
FEATURES: Final = (
    *dict.fromkeys(line.path.split("/")[3] for line in ROUTES),
    "usage",
    "idempotency",
    "rpc",
    "events",
    "cache",
)
"""The resources, and what there is beside them."""
CATALOG_SECONDS: Final = 2.0
"""How long the OpenAPI document waits for the catalog."""
READERS_SHARE: Final = 4
"""One connection in so many is for reads over /rpc; where there are fewer, all connections are for all calls."""
EXPOSED_HEADERS: Final = [
    "Content-Range",
    "ETag",
    "Location",
    "Preference-Applied",
    "Proxy-Status",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
    "Server-Timing",
    "X-Event-Recorded",
    "X-Idempotency-Cache",
    "X-Process-Time",
    "X-Request-ID",
    "X-Trace-ID",
]


def create_app(settings: Settings, database_url: str) -> "ASGIApp":
    """The gateway as an ASGI application. It starts without a database too, and answers 503 until there is one."""
    database, readers = _databases(settings, database_url)
    databases = [database] if readers is None else [database, readers]
    listener = Listener(database_url, keeps_session=settings.database_prepared_statements)
    keeper = CatalogKeeper(listener)
    check = HealthCheck(database_url, database, settings.redis_url)
    metrics = Metrics(CollectorRegistry())
    metrics.watch(*databases)
    metrics.watch_catalog(keeper)
    identifier = Identifier(settings)
    events = Events(settings, database, identifier, listener)
    metrics.watch_events(events)
    redis = None if settings.redis_url is None else open_redis(settings.redis_url)
    breaker = Breaker()
    limits = Limits(settings, identifier, redis, breaker)
    cache = Cache(listener, redis, breaker, metrics.count_cached)
    passwords = Passwords()
    searches = Searches()
    handlers = {
        **Accounts(settings, identifier, passwords).handlers,
        **Sealer(settings).handlers,
        **searches.handlers,
    }

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        await asyncio.gather(*(each.open() for each in databases))
        listener.start()
        keeper.start()
        refreshing = asyncio.create_task(metrics.keep_fresh())
        _collect_rarely()
        try:
            with _reloading_on_signal(keeper), _ending_on_signal(events):
                yield
        finally:
            refreshing.cancel()
            passwords.close()
            searches.close()
            closing = [each.close() for each in databases]
            await asyncio.gather(*closing, keeper.close(), listener.close(), check.close())
            if redis is not None:
                await redis.aclose()

    litestar = Litestar(
        route_handlers=[
            *_endpoints(settings, database, metrics, identifier, limits, cache, handlers),
            _events(events, limits),
            _rpc(rpc.Rpc(settings, database, readers, keeper, identifier, metrics), limits),
            *_operations(settings, check, metrics, keeper),
            *_documents(settings, database, keeper),
        ],
        lifespan=[lifespan],
        openapi_config=None,
        cors_config=_cors(settings),
        exception_handlers={Exception: _answer_exception},
        logging_config=None,
    )
    return Observer(cast("ASGIApp", litestar), metrics)


def _collect_rarely() -> None:
    """Has Python look for cycles less often, and not among what is there from the start.

    Requests leave hardly any behind. With the usual thresholds it looks through everything every few hundred requests,
    which takes tens of milliseconds: the slowest of a hundred requests took three times as long.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)


def _endpoints(
    settings: Settings,
    database: Database,
    metrics: Metrics,
    identifier: Identifier,
    limits: Limits,
    cache: Cache,
    handlers: Mapping[str, Handler],
) -> list[HTTPRouteHandler]:
    """A handler for each path of the route table.

    Litestar finds the path; from there its endpoint answers, as a middleware that needs nobody further in: Litestar's
    own request, signature and response objects would take longer than the database does.
    """
    calls: dict[str, dict[str, Call]] = {}
    per_minute: dict[str, dict[str, int]] = {}
    for line in ROUTES:
        parts = (line, identifier, database, settings)
        call = Call(*parts)
        if line.handler:
            call = HandledCall(handlers[line.handler], *parts)
        elif line.cached:
            call = CachedCall(cache, *parts)
        calls.setdefault(line.path, {})[line.method] = call
        metrics.expect(line.method, line.path, (*line.answers, 500, 503), line.function)
        per_minute.setdefault(line.path, {})[line.method] = (
            settings.search_rate_limit_per_minute if line.is_search else 0
        )

    def handler(path: str) -> HTTPRouteHandler:
        endpoint = Endpoint(calls[path], metrics)

        def in_front_of(app: "ASGIApp") -> "ASGIApp":
            return limits.in_front_of(endpoint.in_front_of(app), path=path, per_minute=per_minute[path])

        return route(
            path.replace("}", ":str}"),
            http_method=endpoint.methods,
            status_code=200,
            middleware=[in_front_of],
        )(_answered_by_endpoint)

    return [handler(path) for path in calls]


async def _answered_by_endpoint() -> None:
    """Never reached: the endpoint in front of it has answered."""


def _databases(settings: Settings, url: str) -> tuple[Database, Database | None]:
    """The connections: for all calls, and, where there are enough, some whose transactions are read-only.

    A pooler that hands a server to another client after each transaction would hand on what a connection was opened
    with, too: behind one there are no such connections.
    """
    count = settings.database_pool_max // READERS_SHARE
    if count == 0 or not settings.database_prepared_statements:
        return Database(url, settings), None
    first = min(settings.database_pool_min // READERS_SHARE, count)
    least, most = settings.database_pool_min - first, settings.database_pool_max - count
    all_calls = msgspec.structs.replace(settings, database_pool_min=min(least, most), database_pool_max=most)
    reads = msgspec.structs.replace(settings, database_pool_min=first, database_pool_max=count)
    return Database(url, all_calls), Database(url, reads, reads_only=True)


@contextmanager
def _reloading_on_signal(keeper: CatalogKeeper) -> Iterator[None]:
    """Has SIGHUP reload the catalog meanwhile."""
    if threading.current_thread() is not threading.main_thread():
        yield  # an application inside another program, whose signals are not ours
        return
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, keeper.reload)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


@contextmanager
def _ending_on_signal(events: Events) -> Iterator[None]:
    """Has the signals that stop the server end the event streams, too: it waits for all answers to be complete."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    servers_own = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def end(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(events.end)
        if callable(handle := servers_own[signal.Signals(number)]):
            handle(number, frame)

    for number in servers_own:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handle in servers_own.items():
            signal.signal(number, handle)


def _events(events: Events, limits: Limits) -> HTTPRouteHandler:
    """The handler of the live events."""

    def in_front_of(app: "ASGIApp") -> "ASGIApp":  # noqa: ARG001 - the signature of a Litestar middleware
        return limits.in_front_of(cast("ASGIApp", events), path=EVENTS.path)

    return route(EVENTS.path, http_method=HttpMethod.GET, status_code=200, middleware=[in_front_of])(
        _answered_by_endpoint
    )


def _rpc(endpoint: rpc.Rpc, limits: Limits) -> ASGIRouteHandler:
    """The handler of all paths below /rpc, with all methods."""
    limited = limits.in_front_of(cast("ASGIApp", endpoint), path=rpc.ROUTE, refuse=rpc.send_failure)

    @asgi("/rpc", is_mount=True, copy_scope=False)
    async def handler(scope: "Scope", receive: "Receive", send: "Send") -> None:
        if not scope["raw_path"].startswith(b"/rpc/"):
            raise NotFoundException  # a mount takes every path that begins like its own
        await limited(scope, receive, send)

    return handler


def _operations(
    settings: Settings, check: HealthCheck, metrics: Metrics, keeper: CatalogKeeper
) -> list[HTTPRouteHandler]:
    @route("/health", http_method=[HttpMethod.GET, HttpMethod.HEAD], status_code=200)
    async def health() -> Response[Health]:
        state = await check.health()
        return Response(state, status_code=503 if state.status == "unhealthy" else 200)

    @route("/ready", http_method=[HttpMethod.GET, HttpMethod.HEAD], status_code=200)
    async def ready() -> Response[Ready]:
        is_ready = await check.is_ready()
        return Response(Ready(ready=is_ready), status_code=200 if is_ready else 503)

    @get("/metrics", sync_to_thread=True)
    def exposition() -> Response[bytes]:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    @get("/api/v1/info", sync_to_thread=False)
    def info() -> Info:
        return Info(
            api_version=API_VERSION,
            features_enabled=FEATURES,
            environment=settings.environment,
            catalog_version=keeper.current.version if keeper.current else None,
        )

    return [health, ready, exposition, info]


def _documents(settings: Settings, database: Database, keeper: CatalogKeeper) -> list[HTTPRouteHandler | Router]:
    @get("/openapi.json")
    async def openapi() -> Response[bytes]:
        comments = await database.function_comments()
        try:
            catalog = await keeper.catalog(CATALOG_SECONDS)
        except Failure:
            raise Refusal(503) from None
        document = msgspec.json.encode(documentation.openapi(comments, catalog, settings))
        return Response(document, media_type="application/json")

    @get("/docs", sync_to_thread=False)
    def docs() -> Response[bytes]:
        return Response(documentation.PAGE, media_type="text/html")

    @get("/docs/start.js", sync_to_thread=False)
    def start() -> Response[bytes]:
        return Response(documentation.START, media_type="text/javascript")

    files = create_static_files_router("/docs", [documentation.swagger_folder()], include_in_schema=False)
    handlers: list[HTTPRouteHandler | Router] = [openapi, docs, start, files]
    return [Router("/", route_handlers=handlers, middleware=[_secured])]


def _secured(app: "ASGIApp") -> "ASGIApp":
    """An application whose every answer carries the security headers: of static files Litestar keeps no others."""
    headers = [(name.lower().encode(), value.encode()) for name, value in documentation.SECURITY_HEADERS.items()]

    async def secured(scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def send_with_headers(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        if "\0" in scope["path"]:
            raise NotFoundException  # no file has such a name, and the operating system does not take it as one
        await app(scope, receive, send_with_headers)

    return secured


def _cors(settings: Settings) -> CORSConfig | None:
    if not settings.allowed_origins:
        return None
    return CORSConfig(
        allow_origins=list(settings.allowed_origins),
        allow_headers=["*"],
        expose_headers=EXPOSED_HEADERS,
        max_age=86400,
    )


def _answer_exception(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """What Litestar itself refuses, and what goes wrong outside the route table, in the one envelope."""
    exchange = exchange_of(request.scope)
    refusal = refusal_of(error)
    note(exchange, refusal, error)
    return Response(
        envelope(refusal, exchange.request_id),
        status_code=refusal.status,
        headers=refusal.headers,
        media_type="application/json",
    )

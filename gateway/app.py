"""The wiring: one factory from settings to the ASGI application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from litestar import Litestar, Request, Response, get, route
from litestar.config.cors import CORSConfig
from litestar.handlers import HTTPRouteHandler
from litestar.router import Router
from litestar.static_files import create_static_files_router
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry

from gateway import documentation
from gateway.database import Database
from gateway.endpoint import Call, Endpoint
from gateway.errors import envelope, refusal_of
from gateway.exchange import exchange_of, note
from gateway.health import HealthCheck
from gateway.identity import Identifier
from gateway.limits import Limits
from gateway.observe import Metrics, Observer
from gateway.routes import ROUTES
from gateway.schemas.operations import Health, Info, Ready
from gateway.settings import Settings

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Scope, Send

API_VERSION: Final = "v1"
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
    database = Database(database_url, settings)
    check = HealthCheck(database_url, database)
    metrics = Metrics(CollectorRegistry())
    metrics.watch(database)
    identifier = Identifier(settings)
    limits = Limits(settings, identifier)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        await database.open()
        refreshing = asyncio.create_task(metrics.keep_fresh())
        try:
            yield
        finally:
            refreshing.cancel()
            await asyncio.gather(database.close(), check.close(), limits.close())

    litestar = Litestar(
        route_handlers=[
            *_endpoints(settings, database, metrics, identifier, limits),
            *_operations(settings, check, metrics),
            *_documents(database),
        ],
        lifespan=[lifespan],
        openapi_config=None,
        cors_config=_cors(settings),
        exception_handlers={Exception: _answer_exception},
        logging_config=None,
    )
    return Observer(cast("ASGIApp", litestar), metrics)


def _endpoints(
    settings: Settings, database: Database, metrics: Metrics, identifier: Identifier, limits: Limits
) -> list[HTTPRouteHandler]:
    """A handler for each path of the route table.

    Litestar finds the path; from there its endpoint answers, as a middleware that needs nobody further in: Litestar's
    own request, signature and response objects would take longer than the database does.
    """
    calls: dict[str, dict[str, Call]] = {}
    per_minute: dict[str, dict[str, int]] = {}
    for line in ROUTES:
        calls.setdefault(line.path, {})[line.method] = Call(line, identifier, database, settings)
        metrics.expect(line.method, line.path, (*line.answers, 500, 503), line.function)
        per_minute.setdefault(line.path, {})[line.method] = line.per_minute

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


def _operations(settings: Settings, check: HealthCheck, metrics: Metrics) -> list[HTTPRouteHandler]:
    @get("/health")
    async def health() -> Response[Health]:
        state = await check.health()
        return Response(state, status_code=503 if state.status == "unhealthy" else 200)

    @get("/ready")
    async def ready() -> Response[Ready]:
        is_ready = await check.is_ready()
        return Response(Ready(ready=is_ready), status_code=200 if is_ready else 503)

    @get("/metrics", sync_to_thread=True)
    def exposition() -> Response[bytes]:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

    @get("/api/v1/info", sync_to_thread=False)
    def info() -> Info:
        features = ["cards", "usage", "idempotency"]
        return Info(api_version=API_VERSION, features_enabled=features, environment=settings.environment)

    return [health, ready, exposition, info]


def _documents(database: Database) -> list[HTTPRouteHandler | Router]:
    @get("/openapi.json")
    async def openapi() -> Response[bytes]:
        comments = await database.function_comments()
        document = msgspec.json.encode(documentation.openapi(comments))
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

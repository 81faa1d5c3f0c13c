"""The operators' routes: /health, /ready, /metrics and /api/v1/info."""

from collections.abc import Callable

from litestar import Response, get, route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.observe.health import HealthCheck
from gateway.observe.metrics import Metrics
from gateway.schemas.operations import Health, Info, Ready


def operations(check: HealthCheck, metrics: Metrics, info: Callable[[], Info]) -> list[HTTPRouteHandler]:
    """The handlers. info: what /api/v1/info says now."""

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
    def show_info() -> Info:
        return info()

    return [health, ready, exposition, show_info]

"""The operators' routes: /health, /ready, /metrics and /api/v1/info."""

from collections.abc import Callable, Iterable
from typing import Final

from litestar import Response, get, route
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from prometheus_client import CONTENT_TYPE_LATEST

from gateway.observe.health import HealthCheck
from gateway.observe.metrics import Metrics
from gateway.schemas.operations import Health, Info, Ready
from gateway.settings import Settings

API_VERSION: Final = "v1"


def operations(
    settings: Settings,
    check: HealthCheck,
    metrics: Metrics,
    resources: Iterable[str],
    catalog_version: Callable[[], int | None],
) -> list[HTTPRouteHandler]:
    """The handlers.

    resources         the API's resources, such as cards
    catalog_version   returns the deploy whose functions /rpc calls now
    """
    features = (
        *(*dict.fromkeys(resources), "usage", "idempotency", "rpc", "events", "cache"),
        *(("sign_in",) if settings.signs_tokens else ()),
        *(("tenant_header",) if settings.trusts_tenant_header else ()),
    )

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
        return Info(API_VERSION, features, settings.environment, catalog_version())

    return [health, ready, exposition, info]

"""The document and the page that shows it, as routes.

Swagger UI's files come from an installed package, so that the page needs no outside address.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from litestar import Response, get
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.router import Router
from litestar.static_files import create_static_files_router

from gateway.errors import ApiError
from gateway.openapi.document import openapi
from gateway.rpc.catalog import CatalogKeeper
from gateway.rpc.errors import RpcError
from gateway.settings import Settings

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Scope, Send

CATALOG_SECONDS: Final = 2.0
"""How long the document waits for the catalog."""
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    # Swagger UI's icons are data: images in its style sheet; scripts and styles come from files alone.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of the page and its files: they run no code and show no data but their own, in nobody's frame."""
PAGE: Final = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>cardbase</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START: Final = b"""SwaggerUIBundle({url: "/openapi.json", dom_id: "#docs", deepLinking: true, validatorUrl: null})
"""


def swagger_folder() -> Path:
    """Where the installed Swagger UI keeps its files."""
    package = find_spec("swagger_ui")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("swagger-ui-py is not installed, though this package depends on it")
    return Path(package.origin).parent / "static"


def documents(settings: Settings, keeper: CatalogKeeper) -> Router:
    """The handlers of /openapi.json and /docs."""

    @get("/openapi.json")
    async def document() -> Response[bytes]:
        try:
            catalog = await keeper.catalog(CATALOG_SECONDS)
        except RpcError:
            raise ApiError(503) from None
        return Response(msgspec.json.encode(openapi(catalog, settings)), media_type="application/json")

    @get("/docs", sync_to_thread=False)
    def docs() -> Response[bytes]:
        return Response(PAGE, media_type="text/html")

    @get("/docs/start.js", sync_to_thread=False)
    def start() -> Response[bytes]:
        return Response(START, media_type="text/javascript")

    files = create_static_files_router("/docs", [swagger_folder()], include_in_schema=False)
    handlers: list[HTTPRouteHandler | Router] = [document, docs, start, files]
    return Router("/", route_handlers=handlers, middleware=[_secured])


def _secured(app: "ASGIApp") -> "ASGIApp":
    """An application whose every answer carries the security headers: of static files Litestar keeps no others."""
    headers = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

    async def secured(scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def send_with_headers(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        if "\0" in scope["path"]:
            raise NotFoundException  # no file has such a name, and the operating system does not take it as one
        await app(scope, receive, send_with_headers)

    return secured

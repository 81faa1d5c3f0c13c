"""Serves the document, and the page that shows it.

Swagger UI's files come from an installed package, so that the page loads nothing from other hosts.
"""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from litestar import Response, get
from litestar.exceptions import NotFoundException
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
"""Timeout of the document, while the catalog is not loaded."""
SECURITY_HEADERS: Final[Mapping[str, str]] = {
    # Swagger UI's icons are data: images in its style sheet; scripts and styles come from files alone.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of the document, the page and its files: a browser loads nothing from other hosts, and shows them in no frame."""
PAGE_FILES: Final = Path(__file__).parent / "page_files"


def swagger_folder() -> Path:
    """Where the installed Swagger UI keeps its files."""
    package = find_spec("swagger_ui")
    if package is None or package.origin is None:
        raise ModuleNotFoundError("swagger-ui-py is not installed, though this package depends on it")
    return Path(package.origin).parent / "static"


def documents(settings: Settings, keeper: CatalogKeeper) -> Router:
    """The routes /openapi.json and /docs."""

    @get("/openapi.json")
    async def document() -> Response[bytes]:
        try:
            catalog = await keeper.catalog(CATALOG_SECONDS)
        except RpcError:
            raise ApiError(503) from None
        return Response(msgspec.json.encode(openapi(catalog, settings)), media_type="application/json")

    page = create_static_files_router("/docs", [PAGE_FILES, swagger_folder()], html_mode=True, include_in_schema=False)
    return Router("/", route_handlers=[document, page], middleware=[_secured])


def _secured(app: "ASGIApp") -> "ASGIApp":
    """Adds the security headers to every response, errors of static files included."""
    headers = [(name.lower().encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

    async def secured(scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def send_with_headers(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        if "\0" in scope["path"]:
            raise NotFoundException  # the operating system refuses such a name
        await app(scope, receive, send_with_headers)

    return secured

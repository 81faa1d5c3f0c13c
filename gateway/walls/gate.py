"""The gate: refuses requests before they are routed."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from litestar.enums import ScopeType

from gateway.errors import ApiError
from gateway.reply import send_error
from gateway.request import REFUSAL, RequestContext, context_of, record_error

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

SendError = Callable[[RequestContext, "Send", ApiError], Awaitable[None]]


class Gate:
    """Stands in front of an application.

    send_rpc_error: sends an error in the format of /rpc
    """

    def __init__(self, app: "ASGIApp", send_rpc_error: SendError) -> None:
        self._app = app
        self._send_rpc_error = send_rpc_error

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Passes a request on, or refuses it."""
        refusal: ApiError | None = scope.get(REFUSAL)  # type: ignore[assignment]
        if scope["type"] != ScopeType.HTTP or refusal is None:
            await self._app(scope, receive, send)
            return
        context = context_of(scope)
        record_error(context, refusal, refusal)
        send_refusal = self._send_rpc_error if scope["path"].startswith("/rpc/") else send_error
        await send_refusal(context, send, refusal)

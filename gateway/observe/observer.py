"""The outermost layer: gives each request its ids, and counts and logs it."""

from time import perf_counter
from typing import TYPE_CHECKING

from litestar.enums import ScopeType

from gateway.errors import api_error_of
from gateway.observe.logs import log_request
from gateway.observe.metrics import Metrics
from gateway.reply import send_error
from gateway.request import RequestContext, record_error

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Scope, Send


class Observer:
    """Gives each request its ids, and counts and logs it, whichever layer sends the response."""

    def __init__(self, app: "ASGIApp", metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Passes a request on, and observes its response."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        client, _ = scope["client"] or ("", 0)
        context = RequestContext(scope["headers"], client)
        scope["cardbase.context"] = context  # type: ignore[typeddict-unknown-key]
        has_started = False

        async def send_observed(message: "Message") -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                context.status = message["status"]
                seconds = perf_counter() - context.started
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", context.request_id.encode()),
                    (b"x-trace-id", context.trace_id.encode()),
                    (b"x-process-time", b"%.6f" % seconds),
                    *([(b"vary", context.vary)] if context.vary else ()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_observed)
        except Exception as error:
            api_error = api_error_of(error)
            record_error(context, api_error, error)
            if not has_started:
                await send_error(context, send_observed, api_error)
        finally:
            seconds = perf_counter() - context.started
            # The template, never the path: a label must not hold an id.
            route = scope.get("path_template", "none")
            self._metrics.count_request(scope["method"], route, context, context.begun_after or seconds)
            log_request(scope["method"], route, context, seconds)

"""What operators see: metrics, request and trace ids, one log line per request."""

from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from litestar.enums import ScopeType
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from gateway.errors import refusal_of
from gateway.exchange import Exchange, note, send_refusal

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Scope, Send

    from gateway.database import Database

CARD_TYPES: Final = ("company", "audience", "voice", "insight")
LATENCY_SECONDS: Final = (0.001, 0.002, 0.004, 0.008, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
LATENCY_MILLISECONDS: Final = tuple(seconds * 1000 for seconds in LATENCY_SECONDS)
MAXIMUM_WORKFLOW_TYPES: Final = 100
"""Workflow types with a label of their own; what comes later is counted as "other"."""

request_log = structlog.get_logger("gateway.request")


class Metrics:
    """The gateway's metrics, in a registry of their own.

    Known label values are touched at the start, so that a rate is zero rather than absent.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._requests = Counter(
            "cards_api_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._durations = Histogram(
            "cards_api_request_duration_seconds",
            "Time from a request's first line to its answer's last byte.",
            ["method", "route"],
            buckets=LATENCY_SECONDS,
            registry=registry,
        )
        self.usage_write_duration = Histogram(
            "cards_usage_write_duration_ms",
            "Time that the database took to track a usage, waiting for a connection included.",
            buckets=LATENCY_MILLISECONDS,
            registry=registry,
        )
        self._idempotency = Counter(
            "cards_idempotency", "Requests with an idempotency key, by what it met.", ["result"], registry=registry
        )
        self._measured: Mapping[str, Counter] = {
            "cards_created_total": Counter(
                "cards_created", "Cards in creation requests.", ["card_type", "result"], registry=registry
            ),
            "card_usage_events_total": Counter(
                "card_usage_events", "Usage events recorded.", ["card_type", "workflow_type"], registry=registry
            ),
        }
        self._workflow_types: set[str] = {"none", "other"}
        self._request_children: dict[tuple[str, str, int], Any] = {}
        self._duration_children: dict[tuple[str, str], Any] = {}
        for result in ("hit", "miss", "reused", "in_progress"):
            self._idempotency.labels(result)
        for card_type in CARD_TYPES:
            self._measured["card_usage_events_total"].labels(card_type, "none")
            for result in ("created", "existing"):
                self._measured["cards_created_total"].labels(card_type, result)

    def watch(self, database: "Database") -> None:
        """Exports the state of a database pool."""
        for name, text, read in (
            ("cards_database_pool_size", "Connections open.", lambda: database.size),
            ("cards_database_pool_in_use", "Connections at work.", lambda: database.in_use),
            ("cards_database_pool_waiting", "Calls waiting for a connection.", lambda: database.waiting),
        ):
            Gauge(name, text, registry=self.registry).set_function(read)

    def count_request(self, method: str, route: str, exchange: Exchange, seconds: float) -> None:
        """Counts one answered request. The children are kept at hand: looking them up by labels takes a lock."""
        key = (method, route, exchange.status)
        requests = self._request_children.get(key)
        if requests is None:
            requests = self._requests.labels(method, route, str(exchange.status))
            self._request_children[key] = requests
            self._duration_children[key[:2]] = self._durations.labels(method, route)
        requests.inc()
        self._duration_children[key[:2]].observe(seconds)
        if exchange.idempotency is not None:
            self._idempotency.labels(exchange.idempotency).inc()

    def count(self, measures: bytes | None) -> None:
        """Counts what a function says it did: JSON, [[metric, {label: value}, count], …]."""
        if measures is None:
            return
        for name, labels, count in msgspec.json.decode(measures):
            if "workflow_type" in labels:
                labels["workflow_type"] = self._bounded_workflow_type(labels["workflow_type"])
            self._measured[name].labels(**labels).inc(count)

    def _bounded_workflow_type(self, workflow_type: str | None) -> str:
        if workflow_type is None:
            return "none"
        if workflow_type not in self._workflow_types:
            if len(self._workflow_types) >= MAXIMUM_WORKFLOW_TYPES + 2:
                return "other"
            self._workflow_types.add(workflow_type)
        return workflow_type

    def exposition(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class Observer:
    """The outermost layer: gives each request its ids, and counts and logs its answer, whoever gave it."""

    def __init__(self, app: "ASGIApp", metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Passes a request on, and sees its answer go by."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope["headers"])
        scope["cardbase.exchange"] = exchange  # type: ignore[typeddict-unknown-key]
        has_started = False

        async def send_observed(message: "Message") -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                exchange.status = message["status"]
                seconds = perf_counter() - exchange.started
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"x-request-id", exchange.request_id.encode()),
                    (b"x-trace-id", exchange.trace_id.encode()),
                    (b"x-process-time", f"{seconds:.6f}".encode()),
                ]
            await send(message)

        try:
            await self._app(scope, receive, send_observed)
        except Exception as error:
            refusal = refusal_of(error)
            note(exchange, refusal, error)
            if not has_started:
                await send_refusal(exchange, send_observed, refusal)
        finally:
            seconds = perf_counter() - exchange.started
            # The template, never the path: a label must not hold an id.
            route = scope.get("path_template", "none")
            self._metrics.count_request(scope["method"], route, exchange, seconds)
            log = request_log.info if exchange.error is None else request_log.error
            log(
                "request",
                method=scope["method"],
                route=route,
                status=exchange.status,
                duration_ms=round(seconds * 1000, 3),
                tenant_id=exchange.tenant_id,
                request_id=exchange.request_id,
                trace_id=exchange.trace_id,
                code=exchange.code,
                exc_info=exchange.error,
            )

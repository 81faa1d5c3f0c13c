"""What operators see: metrics, request and trace ids, one log line per request."""

import asyncio
import fcntl
import os
import platform
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Final, Literal
from uuid import UUID

import msgspec
from litestar.enums import ScopeType
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector

from gateway import __version__
from gateway.errors import CODE_OF, refusal_of
from gateway.observe.logs import log_request
from gateway.request import Exchange, note, send_refusal
from gateway.stores.cache import RESULTS as CACHE_RESULTS

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Scope, Send

    from gateway.database.pool import Database
    from gateway.events.endpoint import Events
    from gateway.rpc.catalog import CatalogKeeper

CARD_TYPES: Final = ("company", "audience", "voice", "insight")
METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
ERROR_CODES: Final = (*CODE_OF.values(), "DATABASE_BUSY", "TENANT_MISMATCH", "MALFORMED_JSON")
LATENCY_SECONDS: Final = (0.001, 0.002, 0.004, 0.008, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
LATENCY_MILLISECONDS: Final = tuple(seconds * 1000 for seconds in LATENCY_SECONDS)
MAXIMUM_WORKFLOW_TYPES: Final = 100
"""Workflow types with a label of their own; what comes later is counted as "other"."""
MAXIMUM_ERROR_CODES: Final = 100
"""Likewise of error codes: functions name them, and anybody may add functions."""
REFRESH_SECONDS: Final = 1.0

FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Where several processes keep their metrics together. prometheus_client reads it when it is imported."""


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A new folder for FOLDER_VARIABLE, within the one it names already if it does; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="cardbase-metrics-", dir=os.environ.get(FOLDER_VARIABLE)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Metrics:
    """The gateway's metrics: in a registry of their own, or, of several processes, in a folder that all share.

    Known label values are touched at the start, so that a rate is zero rather than absent.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry
        self._folder = _folder_in_use()
        self._databases: Sequence[Database] = ()
        self._keeper: CatalogKeeper | None = None
        self._events: Events | None = None
        self._counted_ends: dict[str, int] = {}
        self._counted_loads = {"loaded": 0, "failed": 0}
        self._counted_cpu_seconds = 0.0
        self._counted_retries = 0
        self._requests_of: dict[UUID, int] = {}
        self._minute_ends = perf_counter() + 60
        self._refreshing = Lock()
        self._requests = Counter(
            "cards_api_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._durations = Histogram(
            "cards_api_request_duration_seconds",
            "Time from a request's first line to its answer's last byte; to the first one of an event stream.",
            ["method", "route"],
            buckets=LATENCY_SECONDS,
            registry=registry,
        )
        self._errors = Counter("cards_api_errors", "Requests refused, by error code.", ["code"], registry=registry)
        self._usage_write_duration = Histogram(
            "cards_usage_write_duration_ms",
            "Time that the database took to track a usage, waiting for a connection included.",
            buckets=LATENCY_MILLISECONDS,
            registry=registry,
        )
        self._idempotency = Counter(
            "cards_idempotency", "Requests with an idempotency key, by what it met.", ["result"], registry=registry
        )
        cache = Counter(
            "cards_cache",
            "Requests whose answers are kept: given a kept one, answered by the database, or kept from the cache.",
            ["result"],
            registry=registry,
        )
        self._cache_children = {result: cache.labels(result) for result in CACHE_RESULTS}
        self._measured: Mapping[str, Counter] = {
            "cards_created_total": Counter(
                "cards_created", "Cards in creation requests.", ["card_type", "result"], registry=registry
            ),
            "card_usage_events_total": Counter(
                "card_usage_events", "Usage events recorded.", ["card_type", "workflow_type"], registry=registry
            ),
        }
        self._call_durations = Histogram(
            "cards_database_call_duration_seconds",
            "Time that the database took for a call of a function, waiting for a connection included.",
            ["function"],
            buckets=LATENCY_SECONDS,
            registry=registry,
        )
        self.database_wait = Histogram(
            "cards_database_wait_seconds",
            "Time that calls waited for a connection; those that had one at once are not among them.",
            buckets=LATENCY_SECONDS,
            registry=registry,
        )
        self._database_retries = Counter(
            "cards_database_retries",
            "Statements run again after a serialization failure or a deadlock.",
            registry=registry,
        )
        self._cpu_seconds = Counter("cards_process_cpu_seconds", "Processor time used.", registry=registry)
        self._gauges: Mapping[str, Gauge] = {
            name: self._gauge(name, text, "livesum")
            for name, text in (
                ("cards_database_pool_size", "Connections open."),
                ("cards_database_pool_in_use", "Connections at work."),
                ("cards_database_pool_waiting", "Calls waiting for a connection."),
                ("cards_database_pool_max", "Connections that may be open."),
                ("cards_process_resident_bytes", "Memory resident, of all processes."),
                ("cards_processes", "Gateway processes alive."),
            )
        }
        self._lag = self._gauge("cards_event_loop_lag_seconds", "How late the slowest event loop was.", "livemax")
        self._catalog_version = self._gauge(
            "cards_catalog_version",
            "The deploy whose functions /rpc calls, of the process that is furthest behind.",
            "livemin",
        )
        self._catalog_loads = Counter(
            "cards_catalog_loads", "How often the functions were read from the database.", ["result"], registry=registry
        )
        self._event_streams = self._gauge("cards_event_streams", "Event streams open.", "livesum")
        self._event_stream_ends = Counter(
            "cards_event_streams_ended",
            "Event streams ended: by the client, as it was too slow, with its token, at a shutdown, by an error.",
            ["reason"],
            registry=registry,
        )
        self._tenants = self._gauge(
            "cards_tenants_active", "Tenants of the last minute's requests, of the process with the most.", "livemax"
        )
        self._busiest = self._gauge(
            "cards_busiest_tenant_ratio", "Part of the last minute's requests that one tenant sent, at most.", "livemax"
        )
        self._build = self._gauge("cards_build_info", "What is running; always 1.", "livemax", "version", "python")
        self._build.labels(__version__, platform.python_version()).set(1)
        self._gauges["cards_processes"].set(1)

        self._workflow_types = _Bounded(MAXIMUM_WORKFLOW_TYPES, self._folder)
        self._error_codes = _Bounded(MAXIMUM_ERROR_CODES, None)
        self._request_children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        self._call_children: dict[str, Histogram] = {}
        self._idempotency_children = {
            result: self._idempotency.labels(result) for result in ("hit", "miss", "reused", "in_progress")
        }
        for code in ERROR_CODES:
            self._errors.labels(self._error_codes.name(code))
        for card_type in CARD_TYPES:
            self._measured["card_usage_events_total"].labels(card_type, "none")
            for result in ("created", "existing"):
                self._measured["cards_created_total"].labels(card_type, result)

    def _gauge(self, name: str, text: str, mode: Literal["livesum", "livemax", "livemin"], *labels: str) -> Gauge:
        return Gauge(name, text, labels, multiprocess_mode=mode, registry=self.registry)

    def watch(self, *databases: "Database") -> None:
        """Exports the state of database pools, all together."""
        self._databases = databases
        for database in databases:
            database.connections.observe_wait = self.database_wait.observe
        self.refresh()

    def watch_catalog(self, keeper: "CatalogKeeper") -> None:
        """Exports the state of the catalog that /rpc serves."""
        self._keeper = keeper
        self.refresh()

    def watch_events(self, events: "Events") -> None:
        """Exports the state of the event streams."""
        self._events = events
        self.refresh()

    def expect(self, method: str, route: str, statuses: Iterable[int], function: str) -> None:
        """Has the metrics of a route start at zero, for the statuses that it usually answers with."""
        for status in statuses:
            self._children_of(method, route, status)
        self._call_children[function] = self._call_durations.labels(function)

    def refresh(self) -> None:
        """Brings up to date what is looked at rather than counted; also from the thread that answers /metrics."""
        with self._refreshing:
            self._refresh()

    def _refresh(self) -> None:
        self._compare_tenants()
        self._gauges["cards_process_resident_bytes"].set(_resident_bytes())
        cpu_seconds = process_time()
        self._cpu_seconds.inc(cpu_seconds - self._counted_cpu_seconds)
        self._counted_cpu_seconds = cpu_seconds
        if databases := self._databases:
            self._gauges["cards_database_pool_size"].set(sum(database.size for database in databases))
            self._gauges["cards_database_pool_in_use"].set(sum(database.in_use for database in databases))
            self._gauges["cards_database_pool_waiting"].set(sum(database.waiting for database in databases))
            self._gauges["cards_database_pool_max"].set(sum(database.maximum for database in databases))
            retries = sum(database.retries for database in databases)
            self._database_retries.inc(retries - self._counted_retries)
            self._counted_retries = retries
        if (events := self._events) is not None:
            self._event_streams.set(events.streams)
            for reason, count in events.ended.items():
                self._event_stream_ends.labels(reason).inc(count - self._counted_ends.get(reason, 0))
                self._counted_ends[reason] = count
        if (keeper := self._keeper) is not None:
            if keeper.current is not None:
                self._catalog_version.set(keeper.current.version)
            for result, count in (("loaded", keeper.loads), ("failed", keeper.failures)):
                self._catalog_loads.labels(result).inc(count - self._counted_loads[result])
                self._counted_loads[result] = count

    async def keep_fresh(self) -> None:
        """Refreshes once a second, so that any process of several can answer for all; ends when cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + REFRESH_SECONDS
            await asyncio.sleep(REFRESH_SECONDS)
            self._lag.set(max(0.0, clock() - due))
            self.refresh()

    def _compare_tenants(self) -> None:
        """Once a minute says how many tenants there were, and how uneven: without their ids, a label needs a bound."""
        if perf_counter() < self._minute_ends:
            return
        requests, self._requests_of = self._requests_of, {}
        self._minute_ends = perf_counter() + 60
        self._tenants.set(len(requests))
        self._busiest.set(max(requests.values()) / sum(requests.values()) if requests else 0)

    def _children_of(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        """The metrics of one kind of request, kept at hand: to look them up by labels takes a lock."""
        key = (method, route, status)
        if (children := self._request_children.get(key)) is None:
            children = (self._requests.labels(method, route, str(status)), self._durations.labels(method, route))
            self._request_children[key] = children
        return children

    def count_request(self, method: str, route: str, exchange: Exchange, seconds: float) -> None:
        """Counts one answered request."""
        # The method is what the client wrote: a label must not hold anything without a bound.
        requests, durations = self._children_of(method if method in METHODS else "OTHER", route, exchange.status)
        requests.inc()
        durations.observe(seconds)
        if (tenant_id := exchange.tenant_id) is not None:
            self._requests_of[tenant_id] = self._requests_of.get(tenant_id, 0) + 1
        if exchange.idempotency is not None:
            self._idempotency_children[exchange.idempotency].inc()
        if exchange.called is not None:
            self._count_call(*exchange.called)
        if exchange.code is not None:
            self._errors.labels(self._error_codes.name(exchange.code)).inc()

    def _count_call(self, function: str, seconds: float) -> None:
        """Counts one call of a database function, however it ended."""
        durations = self._call_children.get(function)
        if durations is None:
            durations = self._call_children[function] = self._call_durations.labels(function)
        durations.observe(seconds)
        if function == "track_usage":
            self._usage_write_duration.observe(seconds * 1000)

    def count(self, measures: bytes | None) -> None:
        """Counts what a function says it did: JSON, [[metric, {label: value}, count], …]."""
        if measures is None:
            return
        for name, labels, count in msgspec.json.decode(measures):
            if "workflow_type" in labels:
                workflow_type = labels["workflow_type"]
                labels["workflow_type"] = "none" if workflow_type is None else self._workflow_types.name(workflow_type)
            self._measured[name].labels(**labels).inc(count)

    def count_cached(self, result: str) -> None:
        """Counts one request whose answer may have been kept."""
        self._cache_children[result].inc()

    def exposition(self) -> bytes:
        """The metrics of all processes in Prometheus' text format."""
        self.refresh()
        if self._folder is None:
            return generate_latest(self.registry)
        _forget_the_dead(self._folder)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def _folder_in_use() -> Path | None:
    """Where prometheus_client keeps the metrics of several processes; None: there is one process."""
    return Path(os.environ[FOLDER_VARIABLE]) if getattr(values.ValueClass, "_multiprocess", False) else None


def _forget_the_dead(folder: Path) -> None:
    """Takes away the gauges of processes that have ended; what they counted goes on counting."""
    for file in folder.glob("gauge_live*_*.db"):
        try:
            os.kill(int(file.stem.rpartition("_")[2]), 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)


def _resident_bytes() -> int:
    """Memory of this process that is in RAM; 0 where the system does not tell."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


class _Bounded:
    """Keeps a label within a bound: the first names have values of their own, all later ones are "other".

    Several processes agree on the names by way of a file in their folder, to which each new name is added once.
    """

    def __init__(self, maximum: int, folder: Path | None) -> None:
        self._maximum = maximum
        self._file = folder / "names" if folder else None
        self._names: set[str] = set()

    def name(self, wanted: str) -> str:
        """The label's value for a name: itself or "other"."""
        if wanted in self._names:
            return wanted
        if len(self._names) >= self._maximum:
            return "other"
        if self._file is None:
            self._names.add(wanted)
        else:
            self._agree(self._file, wanted)
        return wanted if wanted in self._names else "other"

    def _agree(self, file: Path, wanted: str) -> None:
        with file.open("a+b") as names:
            fcntl.flock(names, fcntl.LOCK_EX)
            names.seek(0)
            self._names = {msgspec.json.decode(line) for line in names}
            if wanted not in self._names and len(self._names) < self._maximum:
                names.write(msgspec.json.encode(wanted) + b"\n")
                self._names.add(wanted)


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
                    (b"x-process-time", b"%.6f" % seconds),
                    *([(b"vary", exchange.vary)] if exchange.vary else ()),
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
            self._metrics.count_request(scope["method"], route, exchange, exchange.begun_after or seconds)
            log_request(scope["method"], route, exchange, seconds)

"""The gateway's metrics: a table of them, and how other rooms report to them.

This module imports none of those rooms: they register a callable that is read, or call one that counts.
"""

import asyncio
import logging
import platform
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from threading import Lock
from time import perf_counter, process_time
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from gateway import __version__
from gateway.errors import CODE_OF
from gateway.observe.processes import BoundedNames, folder_in_use, forget_the_dead, resident_bytes
from gateway.request import RequestContext

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
ERROR_CODES: Final = (*CODE_OF.values(), "DATABASE_BUSY", "TENANT_MISMATCH", "MALFORMED_JSON")
LATENCY_SECONDS: Final = (0.001, 0.002, 0.004, 0.008, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
MAXIMUM_LABEL_VALUES: Final = 100
"""Values of a label that callers or functions choose; later ones are counted as "other"."""
MAXIMUM_MEASURES: Final = 50
"""Metrics that functions may name besides those of the table."""
REFRESH_SECONDS: Final = 1.0

COUNTERS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "cards_api_requests": ("Requests answered.", ("method", "route", "status")),
    "cards_api_errors": ("Requests refused, by error code.", ("code",)),
    "cards_idempotency": ("Requests with an idempotency key, by what it met.", ("result",)),
    "cards_cache": (
        "Requests to cached routes: answered from the cache, by the database, or past the cache.",
        ("result",),
    ),
    "cards_created": ("Cards in creation requests.", ("card_type", "result")),
    "card_usage_events": ("Usage events recorded.", ("card_type", "workflow_type")),
    "cards_database_retries": ("Statements run again after a serialization failure or a deadlock.", ()),
    "cards_process_cpu_seconds": ("Processor time used.", ()),
    "cards_catalog_loads": ("How often the functions were read from the database.", ("result",)),
    "cards_event_streams_ended": (
        "Event streams ended: by the client, as it was too slow, with its token, at a shutdown, by an error.",
        ("reason",),
    ),
}
"""Name without _total, what it counts, labels."""

HISTOGRAMS: Final[Mapping[str, tuple[str, tuple[str, ...], int]]] = {
    "cards_api_request_duration_seconds": (
        "Time from a request's first line to its answer's last byte; to the first one of an event stream.",
        ("method", "route"),
        1,
    ),
    "cards_usage_write_duration_ms": (
        "Time that the database took to track a usage, waiting for a connection included.",
        (),
        1000,
    ),
    "cards_database_call_duration_seconds": (
        "Time that the database took for a call of a function, waiting for a connection included.",
        ("function",),
        1,
    ),
    "cards_database_wait_seconds": ("Time that calls waited for a connection, if they had to.", (), 1),
}
"""Name, what it measures, labels, and what a second is in its unit."""

GAUGES: Final[Mapping[str, tuple[str, Literal["livesum", "livemax", "livemin"], tuple[str, ...]]]] = {
    "cards_database_pool_size": ("Connections open.", "livesum", ()),
    "cards_database_pool_in_use": ("Connections that run a statement.", "livesum", ()),
    "cards_database_pool_waiting": ("Calls waiting for a connection.", "livesum", ()),
    "cards_database_pool_max": ("Connections that may be open.", "livesum", ()),
    "cards_process_resident_bytes": ("Memory resident, of all processes.", "livesum", ()),
    "cards_processes": ("Gateway processes alive.", "livesum", ()),
    "cards_event_streams": ("Event streams open.", "livesum", ()),
    "cards_event_loop_lag_seconds": ("How late the slowest event loop was.", "livemax", ()),
    "cards_catalog_version": (
        "The deploy whose functions /rpc calls, of the process that is furthest behind.",
        "livemin",
        (),
    ),
    "cards_tenants_active": (
        "Tenants of the last minute's requests, of the process with the most.",
        "livemax",
        (),
    ),
    "cards_busiest_tenant_ratio": ("Largest part of the last minute's requests that one tenant sent.", "livemax", ()),
    "cards_build_info": ("What is running; always 1.", "livemax", ("version", "python")),
}
"""Name, what it shows, how the values of several processes become one, labels."""

logger = logging.getLogger(__name__)


class _Measure(NamedTuple):
    """What a function says it did."""

    name: str
    labels: dict[str, str | None]
    times: float


class Metrics:
    """The metrics of one process: in a registry, or in a folder that several processes share."""

    def __init__(self, registry: CollectorRegistry) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry
        self._folder = folder_in_use()
        self._counters = {
            name: Counter(name, text, labels, registry=registry) for name, (text, labels) in COUNTERS.items()
        }
        self._histograms = {
            name: Histogram(name, text, labels, buckets=[unit * s for s in LATENCY_SECONDS], registry=registry)
            for name, (text, labels, unit) in HISTOGRAMS.items()
        }
        self._gauges = {
            name: Gauge(name, text, labels, multiprocess_mode=mode, registry=registry)
            for name, (text, mode, labels) in GAUGES.items()
        }
        self._reads: list[tuple[Gauge, Callable[[], float | None]]] = []
        self._totals: list[tuple[str, Callable[[], Mapping[Any, float]], dict[str, float]]] = []
        # Metrics of given labels are kept, because to look them up by their labels takes a lock.
        self._of_request = cache(self._find_of_request)
        self._of_call = cache(self._histograms["cards_database_call_duration_seconds"].labels)
        self._of_measure = cache(self._find_of_measure)
        self._error_codes = BoundedNames(MAXIMUM_LABEL_VALUES, None)
        self._values_of_label = cache(partial(BoundedNames, MAXIMUM_LABEL_VALUES, self._folder))
        self._unknown_measures: set[str] = set()
        self._requests_of: dict[UUID, int] = {}
        self._minute_ends = perf_counter() + 60
        self._refreshing = Lock()
        for code in ERROR_CODES:
            self._counters["cards_api_errors"].labels(self._error_codes.name(code))
        self.expect("cards_idempotency", "hit", "miss", "reused", "in_progress")
        self._gauges["cards_build_info"].labels(__version__, platform.python_version()).set(1)
        self.watch("cards_processes", lambda: 1)
        self.watch("cards_process_resident_bytes", resident_bytes)
        self.watch_total("cards_process_cpu_seconds", process_time)

    # --- what other rooms register ------------------------------------------------------------------------------

    def watch(self, gauge: str, read: Callable[[], float | None]) -> None:
        """Exports what a callable returns, read once a second. None: nothing to show yet."""
        self._reads.append((self._gauges[gauge], read))

    def watch_total(self, counter: str, read: Callable[[], float]) -> None:
        """Exports a total that is counted elsewhere."""
        self.watch_totals(counter, lambda: {"": read()})

    def watch_totals(self, counter: str, read: Callable[[], Mapping[Any, float]]) -> None:
        """Exports totals that are counted elsewhere, by the value of the counter's one label."""
        self._totals.append((counter, read, {}))

    def expect(self, counter: str, *values: str) -> None:
        """Has a counter with one label start at zero for these values, so that a rate is zero rather than absent."""
        for value in values:
            self._counters[counter].labels(value)

    def expect_measure(self, counter: str, labels: Iterable[tuple[str, ...]]) -> None:
        """Has a counter of what functions say they did start at zero, too, for these values of its labels."""
        for values in labels:
            self._counters[counter].labels(*values)

    def expect_route(self, method: str, route: str, statuses: Iterable[int], function: str) -> None:
        """Has the metrics of a route start at zero, for its usual statuses."""
        for status in statuses:
            self._of_request(method, route, status)
        self._of_call(function)

    def observe_wait(self, seconds: float) -> None:
        """Records how long a call waited for a connection."""
        self._histograms["cards_database_wait_seconds"].observe(seconds)

    def count_one(self, counter: str, value: str) -> None:
        """Counts one, by the value of the counter's one label."""
        self._counters[counter].labels(value).inc()

    # --- counting -----------------------------------------------------------------------------------------------

    def count_request(self, method: str, route: str, context: RequestContext, seconds: float) -> None:
        """Counts one request once its response is sent."""
        # The method is what the client wrote: a label must not hold anything without a bound.
        requests, durations = self._of_request(method if method in METHODS else "OTHER", route, context.status)
        requests.inc()
        durations.observe(seconds)
        if (tenant_id := context.tenant_id) is not None:
            self._requests_of[tenant_id] = self._requests_of.get(tenant_id, 0) + 1
        if context.idempotency is not None:
            self.count_one("cards_idempotency", context.idempotency)
        if context.called is not None:
            function, called_seconds = context.called
            self._of_call(function).observe(called_seconds)
            if function == "track_usage":
                self._histograms["cards_usage_write_duration_ms"].observe(called_seconds * 1000)
        if context.code is not None:
            self.count_one("cards_api_errors", self._error_codes.name(context.code))

    def _find_of_request(self, method: str, route: str, status: int) -> tuple[Counter, Histogram]:
        requests = self._counters["cards_api_requests"].labels(method, route, str(status))
        return requests, self._histograms["cards_api_request_duration_seconds"].labels(method, route)

    def count(self, measures: bytes | None) -> None:
        """Counts what a function says it did: JSON, [[metric, {label: value}, count], …].

        A metric that is not in the table gets its name from the function. This never raises, because the call has taken
        effect and its response must say so: what can't be counted is dropped with a warning.
        """
        if measures is None:
            return
        try:
            decoded = msgspec.json.decode(measures, type=list[_Measure])
        except msgspec.MsgspecError:
            self._drop(measures.decode("utf-8", "replace")[:200])
            return
        for measure in decoded:
            try:
                self._count_measure(measure)
            except (ValueError, TypeError, OSError):  # other labels than before, one named self, a full disk
                self._drop(measure.name)

    def _count_measure(self, measure: _Measure) -> None:
        name = measure.name.removesuffix("_total")
        if name not in self._counters:
            is_usable = re.fullmatch(r"[a-z][a-z0-9_]{0,99}_total", measure.name)
            if not is_usable or len(self._counters) >= len(COUNTERS) + MAXIMUM_MEASURES:
                raise ValueError
            labels = sorted(measure.labels)
            self._counters[name] = Counter(name, "As functions count it.", labels, registry=self._registry)
        values = tuple([(label, self._label_value(name, label, value)) for label, value in measure.labels.items()])
        self._of_measure(name, values).inc(measure.times)

    def _find_of_measure(self, name: str, values: tuple[tuple[str, str], ...]) -> Counter:
        return self._counters[name].labels(**dict(values)) if values else self._counters[name]

    def _label_value(self, name: str, label: str, value: str | None) -> str:
        """A value of a measure's label, within the bound; null is "none"."""
        return "none" if value is None else self._values_of_label(f"{name}.{label}").name(value)

    def _drop(self, name: str) -> None:
        if name not in self._unknown_measures and len(self._unknown_measures) < MAXIMUM_MEASURES:
            self._unknown_measures.add(name)
            logger.warning("a function's measure can't be counted", extra={"measure": name})

    # --- showing ------------------------------------------------------------------------------------------------

    async def keep_fresh(self) -> None:
        """Refreshes once a second, so that any of several processes can export for all; runs until it is cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + REFRESH_SECONDS
            await asyncio.sleep(REFRESH_SECONDS)
            self._gauges["cards_event_loop_lag_seconds"].set(max(0.0, clock() - due))
            self.refresh()

    def refresh(self) -> None:
        """Updates what is read rather than counted; the thread that serves /metrics calls this, too."""
        with self._refreshing:
            self._compare_tenants()
            for gauge, read in self._reads:
                if (value := read()) is not None:
                    gauge.set(value)
            for name, read_totals, counted in self._totals:
                for label, total in read_totals().items():
                    counter: Any = self._counters[name]
                    (counter.labels(label) if label else counter).inc(total - counted.get(label, 0))
                    counted[label] = total

    def _compare_tenants(self) -> None:
        """Once a minute sets how many tenants sent requests, and how unevenly. Not by id: a label needs a bound."""
        if perf_counter() < self._minute_ends:
            return
        requests, self._requests_of = self._requests_of, {}
        self._minute_ends = perf_counter() + 60
        self._gauges["cards_tenants_active"].set(len(requests))
        self._gauges["cards_busiest_tenant_ratio"].set(
            max(requests.values()) / sum(requests.values()) if requests else 0
        )

    def exposition(self) -> bytes:
        """The metrics of all processes in Prometheus' text format."""
        self.refresh()
        if self._folder is None:
            return generate_latest(self._registry)
        forget_the_dead(self._folder)
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(registry)

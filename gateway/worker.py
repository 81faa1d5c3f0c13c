"""What runs in the background: maintenance of the database, and its figures for operators.

Any number of workers may run; the database sees to it that one at a time does the maintenance. Each duty is a loop
of its own beside the others, and each of its rounds has a connection of its own, so that a worker outlives the
database's absences without further ado.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import perf_counter
from typing import Final

import asyncpg
import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.logs import configure_logging, describe
from gateway.settings import Settings, SettingsError

logger = logging.getLogger(__name__)

MAXIMUM_ROWS: Final = 1000
"""What a task removes in one step, which is a transaction."""
PAUSE_SECONDS: Final = 0.05
"""Between two steps, so that what was removed is vacuumed and replicated as it goes."""
MEASURE_SECONDS: Final = 15.0
STATEMENT_SECONDS: Final = 60.0
TASKS: Final = ("idempotency_store", "sign_in", "card_usage")
STEP_SECONDS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)

FAILURES: Final = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""What a duty survives: the database is away, busy or not deployed."""


class Figure(msgspec.Struct, frozen=True):
    """One row of app.measure_database."""

    metric: str
    labels: dict[str, str]
    value: float


class WorkerMetrics(Collector):
    """The worker's own metrics, and the figures of the database as they were last measured."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._figures: Sequence[Figure] = ()
        self.runs = Counter(
            "cards_maintenance_runs",
            "Rounds of maintenance: done, left to another worker that was at it (elsewhere), failed.",
            ["result"],
            registry=self.registry,
        )
        self.purged = Counter(
            "cards_maintenance_purged_rows",
            "Rows removed because their time had come.",
            ["task"],
            registry=self.registry,
        )
        self.steps = Histogram(
            "cards_maintenance_step_duration_seconds",
            "Time that one bounded step took.",
            buckets=STEP_SECONDS,
            registry=self.registry,
        )
        self.last_success = Gauge(
            "cards_maintenance_last_success_timestamp_seconds",
            "When a round of maintenance was last done or found in hand; 0: never.",
            registry=self.registry,
        )
        self.is_database_up = Gauge(
            "cards_database_up", "Whether the worker could last measure the database.", registry=self.registry
        )
        build = Gauge("cards_worker_build_info", "What is running; always 1.", ["version"], registry=self.registry)
        build.labels(__version__).set(1)
        for result in ("done", "elsewhere", "failed"):
            self.runs.labels(result)
        for task in TASKS:
            self.purged.labels(task)
        self.registry.register(self)

    def show(self, figures: Sequence[Figure]) -> None:
        """Exports these figures of the database from now on."""
        self._figures = figures
        self.is_database_up.set(1 if figures else 0)

    def collect(self) -> Iterable[CounterMetricFamily | GaugeMetricFamily]:
        """The figures as prometheus_client asks for them."""
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for figure in self._figures:
            family = families.get(figure.metric)
            if family is None:
                kind = CounterMetricFamily if figure.metric.endswith("_total") else GaugeMetricFamily
                text = "As app.measure_database says."
                family = families[figure.metric] = kind(figure.metric, text, labels=sorted(figure.labels))
            family.add_metric([figure.labels[name] for name in sorted(figure.labels)], figure.value)
        return families.values()


async def _fetch(url: str, sql: str, *arguments: object) -> list[asyncpg.Record]:
    """Runs one statement on a connection of its own, which may also lead through a pooler."""
    connection = await asyncpg.connect(
        url,
        timeout=STATEMENT_SECONDS,
        command_timeout=STATEMENT_SECONDS,
        statement_cache_size=0,
        server_settings={"application_name": "cardbase worker"},
    )
    try:
        rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
        return rows
    finally:
        await connection.close(timeout=STATEMENT_SECONDS)


async def measure(url: str, metrics: WorkerMetrics, retention_days: int | None) -> None:
    """Measures the database once."""
    try:
        rows = await _fetch(url, "select * from app.measure_database($1)", retention_days)
    except FAILURES as error:
        logger.warning("the database can't be measured", extra={"cause": describe(error)})
        metrics.show(())
    else:
        metrics.show([Figure(row["metric"], msgspec.json.decode(row["labels"]), row["value"]) for row in rows])


async def maintain(url: str, metrics: WorkerMetrics, retention_days: int | None) -> dict[str, int] | None:
    """Does what maintenance there is, step by step; answers the rows removed by task, None: it failed, and was logged.

    Nothing is answered for when another worker is at it.
    """
    removed: dict[str, int] = {}
    try:
        while True:
            start = perf_counter()
            rows = await _fetch(url, "select * from app.run_maintenance($1, $2)", retention_days, MAXIMUM_ROWS)
            metrics.steps.observe(perf_counter() - start)
            for row in rows:
                metrics.purged.labels(row["task"]).inc(row["purged"])
                removed[row["task"]] = removed.get(row["task"], 0) + row["purged"]
            if all(row["purged"] < MAXIMUM_ROWS for row in rows):
                break
            await asyncio.sleep(PAUSE_SECONDS)
    except FAILURES as error:
        logger.warning("maintenance failed", extra={"cause": describe(error)})
        metrics.runs.labels("failed").inc()
        return None
    metrics.runs.labels("done" if removed else "elsewhere").inc()
    metrics.last_success.set_to_current_time()
    if any(removed.values()):
        logger.info("maintenance removed rows", extra=removed)
    return removed


async def _every(seconds: float, stop: asyncio.Event, duty: Callable[[], Awaitable[object]]) -> None:
    """Does a duty again and again until stop is set; a round that has begun is finished."""
    while not stop.is_set():
        await duty()
        try:
            await asyncio.wait_for(stop.wait(), seconds)
        except TimeoutError:
            continue


async def _run(settings: Settings, url: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    metrics = WorkerMetrics()
    retention_days = settings.usage_retention_days
    try:
        server, _ = start_http_server(settings.worker_metrics_port, settings.host, metrics.registry)
    except OSError as error:
        where = f"{settings.host}:{settings.worker_metrics_port}"
        raise SettingsError(f"WORKER_METRICS_PORT: {where} can't be had: {error.strerror}") from None
    try:
        host, port = server.server_address[:2]
        print(f"cardbase worker is running; metrics: http://{host!s}:{port}/metrics", flush=True)
        async with asyncio.TaskGroup() as duties:
            duties.create_task(_every(MEASURE_SECONDS, stop, lambda: measure(url, metrics, retention_days)))
            duties.create_task(
                _every(settings.maintenance_interval_seconds, stop, lambda: maintain(url, metrics, retention_days))
            )
    finally:
        server.shutdown()
        server.server_close()


def work(settings: Settings, url: str) -> None:
    """Runs until SIGINT or SIGTERM. Raises SettingsError when the metrics' port can't be had."""
    configure_logging(settings.log_level)
    asyncio.run(_run(settings, url))


def work_once(settings: Settings, url: str) -> dict[str, int] | None:
    """Does what maintenance there is now; answers as `maintain` does."""
    configure_logging(settings.log_level)
    return asyncio.run(maintain(url, WorkerMetrics(), settings.usage_retention_days))

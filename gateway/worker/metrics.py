"""A worker's metrics: its own, and the figures of the database as it last measured them."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from gateway import __version__

TASKS: Final = {
    "idempotency_store": "removed",
    "sign_in": "removed",
    "jobs": "removed",
    "events": "removed",
    "card_search": "indexed",
    "card_usage": "removed",
}
"""The tasks of app.run_maintenance, and what each does with rows."""
STEP_SECONDS: Final = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)
JOB_SECONDS: Final = (0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0)
JOB_RESULTS: Final = ("completed", "failed", "retried", "returned", "cancelled", "superseded")


class Figure(msgspec.Struct, frozen=True):
    """One row of app.measure_database."""

    metric: str
    labels: dict[str, str]
    value: float


class WorkerMetrics(Collector):
    """The worker's own metrics, and the figures of the database as they were last measured.

    kinds: the names of the kinds of jobs that it runs.
    """

    def __init__(self, kinds: Iterable[str] = ()) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._figures: Sequence[Figure] = ()
        self.runs = Counter(
            "cards_maintenance_runs",
            "Rounds of maintenance: done, left to another worker that was running one (elsewhere), failed.",
            ["result"],
            registry=self.registry,
        )
        self.rows = Counter(
            "cards_maintenance_rows",
            "Rows that maintenance handled, by what it did with them: removed, indexed for search.",
            ["task", "action"],
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
        self._jobs = Counter(
            "cards_jobs",
            "Attempts at jobs, by how they ended: completed, failed for good, failed and retried, returned by a worker "
            "that stopped, cancelled, superseded by an attempt of another worker.",
            ["kind", "result"],
            registry=self.registry,
        )
        self._job_seconds = Histogram(
            "cards_job_duration_seconds",
            "Duration of attempts at jobs.",
            ["kind"],
            buckets=JOB_SECONDS,
            registry=self.registry,
        )
        self._jobs_in_progress = Gauge(
            "cards_jobs_in_progress", "Jobs that the worker is running.", ["kind"], registry=self.registry
        )
        build = Gauge("cards_worker_build_info", "What is running; always 1.", ["version"], registry=self.registry)
        build.labels(__version__).set(1)
        for result in ("done", "elsewhere", "failed"):
            self.runs.labels(result)
        for task, action in TASKS.items():
            self.rows.labels(task, action)
        for kind in kinds:
            self._job_seconds.labels(kind)
            self._jobs_in_progress.labels(kind)
            for result in JOB_RESULTS:
                self._jobs.labels(kind, result)
        self.registry.register(self)

    def begun(self, kind: str) -> None:
        """An attempt at a job began."""
        self._jobs_in_progress.labels(kind).inc()

    def ended(self, kind: str, result: str, seconds: float) -> None:
        """An attempt at a job ended after `seconds`."""
        self._jobs_in_progress.labels(kind).dec()
        self._jobs.labels(kind, result).inc()
        self._job_seconds.labels(kind).observe(seconds)

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

"""The worker process: it carries out jobs, keeps the database tidy, and measures it.

Any number of workers may run, on any number of machines. Each job is one worker's, and what is scheduled is done by one
of them at a time.
"""

import asyncio
import logging
import signal
import socket
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Final
from uuid import uuid4

import uvloop
from prometheus_client import start_http_server

from gateway.errors import CONNECTION_ERRORS
from gateway.observe.logs import configure_logging, describe
from gateway.settings import Settings, SettingsError
from gateway.worker.job_kinds import JOB_KINDS
from gateway.worker.maintenance import maintain, measure
from gateway.worker.metrics import WorkerMetrics
from gateway.worker.queue import JobConnection, JobQueue
from gateway.worker.schedules import Schedule

logger = logging.getLogger(__name__)

MEASURE_SECONDS: Final = 15.0


async def _every(seconds: float, stop: asyncio.Event, duty: Callable[[], Awaitable[object]]) -> None:
    """Does a duty again and again until stop is set; a round that has begun is finished."""
    while not stop.is_set():
        await duty()
        try:
            await asyncio.wait_for(stop.wait(), seconds)
        except TimeoutError:
            continue


async def _run(settings: Settings, url: str, metrics: WorkerMetrics, *, ends_with_input: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if ends_with_input:
        loop.add_reader(sys.stdin, stop.set)  # nothing is ever written there: it can be read once it is closed
    worker_id, host = uuid4(), socket.gethostname()
    link = JobConnection(url, keeps_session=settings.database_prepared_statements)
    await link.open()
    queue = JobQueue(link, JOB_KINDS, settings, worker_id, metrics)
    schedules = [
        Schedule("maintenance", settings.maintenance_interval_seconds, lambda: maintain(url, metrics, settings))
    ]

    async def show_life() -> None:
        # In time before PgQueuer, which looks at each job, takes those of a dead worker for abandoned.
        seconds = settings.worker_heartbeat_seconds / 2
        await link.fetch("select app.keep_worker($1, $2, $3)", worker_id, host, seconds)

    async def end() -> None:
        await stop.wait()
        if ends_with_input:
            loop.remove_reader(sys.stdin)
        queue.stop()

    try:
        async with asyncio.TaskGroup() as duties:
            duties.create_task(end())
            duties.create_task(_every(settings.worker_heartbeat_seconds / 6, stop, show_life))
            duties.create_task(_every(MEASURE_SECONDS, stop, lambda: measure(url, metrics, settings)))
            duties.create_task(queue.run())
            duties.create_task(queue.run_schedules(schedules))
        await link.fetch("select app.remove_worker($1)", worker_id)
    except* CONNECTION_ERRORS as errors:
        logger.warning("the worker ends while the database is away", extra={"cause": describe(errors.exceptions[0])})
    finally:
        await link.close()


@contextmanager
def _metrics_served(settings: Settings, metrics: WorkerMetrics) -> Iterator[str]:
    """Serves the metrics meanwhile, at the address given. Raises SettingsError when it can't be had."""
    try:
        server, _ = start_http_server(settings.worker_metrics_port, settings.host, metrics.registry)
    except OSError as error:
        where = f"{settings.host}:{settings.worker_metrics_port}"
        raise SettingsError(f"WORKER_METRICS_PORT: {where} can't be had: {error.strerror}") from None
    try:
        host, port = server.server_address[:2]
        yield f"http://{host!s}:{port}/metrics"
    finally:
        server.shutdown()
        server.server_close()


def work(settings: Settings, url: str) -> None:
    """Runs until SIGINT or SIGTERM. Raises SettingsError when the metrics' port can't be had."""
    configure_logging(settings.log_level)
    metrics = WorkerMetrics(JOB_KINDS)
    with _metrics_served(settings, metrics) as address:
        print(f"cardbase worker is running; metrics: {address}", flush=True)
        uvloop.run(_run(settings, url, metrics, ends_with_input=False))


def work_beside(settings: Settings, url: str) -> None:
    """Runs until standard input ends, that is, until the process that started this one does.

    Where the metrics' port can't be had it does without.
    """
    configure_logging(settings.log_level)
    metrics = WorkerMetrics(JOB_KINDS)
    with ExitStack() as stack:
        try:
            stack.enter_context(_metrics_served(settings, metrics))
        except SettingsError as error:
            logger.warning("the worker has no metrics", extra={"cause": str(error)})
        uvloop.run(_run(settings, url, metrics, ends_with_input=True))


def work_once(settings: Settings, url: str) -> Counter[tuple[str, str]] | None:
    """Does what maintenance there is now; returns what `maintain` does."""
    configure_logging(settings.log_level)
    return asyncio.run(maintain(url, WorkerMetrics(), settings))

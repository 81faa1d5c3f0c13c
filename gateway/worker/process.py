"""The worker process: it runs jobs, keeps the database tidy, and measures it.

Any number of workers may run, on any number of machines. Each job is one worker's, and so is each round of maintenance.
"""

import asyncio
import faulthandler
import logging
import signal
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import uvloop
from prometheus_client import start_http_server

from gateway.observe.logs import OnceAMinute, configure_logging
from gateway.settings import Settings, SettingsError
from gateway.worker.job_kinds import JOB_KINDS
from gateway.worker.loop import POLL_SECONDS, Worker
from gateway.worker.maintenance import maintain, measure
from gateway.worker.metrics import WorkerMetrics

logger = logging.getLogger(__name__)

CLAIM: Final = "select app.claim_schedule('maintenance', $1)"
MEASURE_SECONDS: Final = 15.0
RETRYING: Final = ("gateway.database.listener", "gateway.worker.database")
"""What they log while the database is away is logged once a minute."""
END_SECONDS: Final = 12.0
"""How long the process may take to end when told to, whatever its jobs do."""


async def _every(seconds: float, duty: Callable[[], Awaitable[object]]) -> None:
    """Does a duty again and again, until cancelled."""
    while True:
        await duty()
        await asyncio.sleep(seconds)


async def _run(
    settings: Settings, url: str, queues: Sequence[str], metrics: WorkerMetrics, *, ends_with_input: bool
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if ends_with_input:
        loop.add_reader(sys.stdin, stop.set)  # nothing is ever written there: it can be read once it is closed
    worker = Worker(url, JOB_KINDS, settings, metrics, queues)

    async def show_life() -> None:
        # A job that blocks the event loop stops time limits and heartbeats, too: then the process ends itself.
        limit = settings.worker_heartbeat_seconds + settings.job_time_limit_seconds
        faulthandler.dump_traceback_later(limit, exit=True)

    async def maintain_if_due() -> None:
        [[is_due]] = await worker.database.fetch(CLAIM, settings.maintenance_interval_seconds)
        if is_due:
            await maintain(url, metrics, settings)

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(worker.run(stop))
        duties = [
            tasks.create_task(_every(1.0, show_life)),
            tasks.create_task(_every(min(settings.maintenance_interval_seconds, POLL_SECONDS), maintain_if_due)),
            tasks.create_task(_every(MEASURE_SECONDS, lambda: measure(url, metrics, settings))),
        ]
        await stop.wait()
        for duty in duties:
            duty.cancel()
        if ends_with_input:
            loop.remove_reader(sys.stdin)
        faulthandler.dump_traceback_later(END_SECONDS, exit=True)
        await running


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


def work(settings: Settings, url: str, queues: Sequence[str], *, ends_with_input: bool = False) -> None:
    """Runs until SIGINT or SIGTERM. Raises SettingsError when the metrics' port can't be had.

    ends_with_input: it also ends when standard input does, that is, when the process that started it does; and does
    without metrics where their port can't be had.
    """
    configure_logging(settings.log_level)
    for name in RETRYING:
        logging.getLogger(name).addFilter(OnceAMinute())
    metrics = WorkerMetrics(JOB_KINDS)
    with ExitStack() as stack:
        try:
            address = stack.enter_context(_metrics_served(settings, metrics))
        except SettingsError as error:
            if not ends_with_input:
                raise
            logger.warning("the worker has no metrics", extra={"cause": str(error)})
        else:
            if not ends_with_input:
                print(f"cardbase worker is running; metrics: {address}", flush=True)
        uvloop.run(_run(settings, url, queues, metrics, ends_with_input=ends_with_input))


def work_once(settings: Settings, url: str) -> Counter[tuple[str, str]] | None:
    """Does what maintenance there is now; returns what `maintain` does."""
    configure_logging(settings.log_level)
    return asyncio.run(maintain(url, WorkerMetrics(), settings))

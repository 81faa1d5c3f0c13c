"""The worker's loop: take jobs, run them, record how they ended, wait for more.

The rules are the database's: app.take_jobs decides which jobs are this worker's to run, app.finish_jobs whether an
outcome counts. A notification only wakes the worker, which then asks.
"""

import asyncio
import logging
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final, NamedTuple
from uuid import UUID, uuid4

import asyncpg
import msgspec

from gateway.database.listener import Listener
from gateway.errors import CONNECTION_ERRORS
from gateway.observe.logs import describe
from gateway.settings import Settings
from gateway.worker.database import WorkerDatabase
from gateway.worker.jobs import FINISH, Job, JobContext, JobKind, Outcome, carry_out, encode
from gateway.worker.metrics import WorkerMetrics

logger = logging.getLogger(__name__)

CHANNEL: Final = "cardbase_jobs"
QUEUES: Final = ("high", "default", "low")
TAKE: Final = (
    "select tenant_id, user_id, id, kind, arguments, attempt, maximum_attempts"
    " from app.take_jobs($1, $2, $3, $4, $5, $6)"
)
NEXT: Final = "select app.next_job_in()"
KEEP: Final = "select app.keep_worker($1, $2, $3, $4, $5)"
RECOVER: Final = "select app.recover_jobs($1)"
RECOVERED: Final = 1000
"""How many jobs of dead workers one statement puts back."""
FIND_ENDED: Final = "select id, attempt from app.find_ended_jobs($1, $2)"
REMOVE: Final = "select app.remove_worker($1)"

HEARTBEATS: Final = 6
"""How often a worker says that it is alive in the time after which it would be considered dead."""
POLL_SECONDS: Final = 5.0
"""How long the worker sleeps at most: notifications wake it, and they are lost where no session is kept."""
BATCH_BYTES: Final = 1_048_576
"""About how many bytes of results are recorded together."""
LOCKED_SECONDS: Final = 0.1
"""How soon it looks again for a job that is due but was not found, as somebody has it locked."""
PAUSE_SECONDS: Final = 0.005
"""Before it looks again where it found less than it has room for: jobs that arrive together are taken together."""
CANCEL_SECONDS: Final = 2.0
"""How long what is running may take to stop."""
STOP_SECONDS: Final = 4.0
"""How long it may take to record what has ended when the worker stops; others recover what is not recorded."""


class Ended(NamedTuple):
    """An attempt whose outcome has yet to be recorded."""

    job: Job
    outcome: Outcome
    seconds: float


class Worker:
    """Runs jobs until it is stopped. To be created in a running event loop."""

    def __init__(
        self,
        url: str,
        kinds: Mapping[str, JobKind],
        settings: Settings,
        metrics: WorkerMetrics,
        queues: Sequence[str] = QUEUES,
    ) -> None:
        keeps_session = settings.database_prepared_statements
        self.database = WorkerDatabase(url, keeps_session=keeps_session)
        self._listener = Listener(url, keeps_session=keeps_session)
        self._listener.hear(CHANNEL, self._wake)
        self._listener.at_begin(self._catch_up)
        self._id = uuid4()
        self._kinds = kinds
        self._settings = settings
        self._slots = settings.worker_jobs
        self._beat_seconds = settings.worker_heartbeat_seconds / HEARTBEATS
        self._metrics = metrics
        self._queues = list(queues)
        self._running: dict[Job, asyncio.Task[None]] = {}
        self._ended: asyncio.Queue[Ended] = asyncio.Queue()
        self._is_woken = asyncio.Event()
        self._compare_at = 0.0
        self._last_tenant: UUID | None = None
        self._is_stopping = False

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set, then gives back what is running."""
        async with self.database.open(), asyncio.TaskGroup() as tasks:
            self._listener.start()
            duties = (self._take_and_wait(), self._stay_alive(), self._record())
            taking, living, recording = [tasks.create_task(duty) for duty in duties]
            await stop.wait()
            self._is_stopping = True
            self._is_woken.set()
            await asyncio.wait([taking], timeout=CANCEL_SECONDS)  # so that no job is given to it unseen
            await _cancel(taking, living)
            await _cancel(*self._running.values())
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    await self._ended.join()
                    await self.database.fetch(REMOVE, self._id)
            except TimeoutError:
                logger.warning("the worker ends while the database is away; others will run its jobs again")
            await _cancel(recording)
            await self._listener.close()

    async def _take_and_wait(self) -> None:
        await self._say_alive()  # or others would recover what it takes
        while not self._is_stopping:
            self._is_woken.clear()
            if monotonic() >= self._compare_at:
                await self._compare()
            # At most half of the slots, so that some jobs run while others are taken or recorded.
            room = min(self._slots - len(self._running), self._slots // 2)
            taken = await self._take(room) if room else 0
            if taken < room:
                await asyncio.sleep(PAUSE_SECONDS)
            if not taken:  # some may be left even where less was taken than there is room for
                await self._wait(has_room=room > 0)

    async def _take(self, maximum: int) -> int:
        """Takes jobs, and starts them. Returns how many."""
        kinds, tenant_running = list(self._kinds), self._settings.tenant_running_jobs
        rows = await self.database.fetch(
            TAKE, self._id, maximum, self._queues, kinds, self._last_tenant, tenant_running
        )
        for job in (Job(*row) for row in rows):
            self._running[job] = asyncio.create_task(self._run_job(job))
            self._last_tenant = job.tenant_id
        return len(rows)

    async def _wait(self, *, has_room: bool) -> None:
        """Waits until the worker is woken or a job is due, but not for long."""
        seconds = min(POLL_SECONDS, self._beat_seconds)
        if has_room and not self._is_woken.is_set():
            [[due]] = await self.database.fetch(NEXT)
            if due is not None:
                seconds = min(seconds, due or LOCKED_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_woken.wait()

    async def _run_job(self, job: Job) -> None:
        context = JobContext(
            job.tenant_id, job.user_id, job.id, job.attempt, self._settings, self.database.acquire, self._id
        )
        start = monotonic()
        self._metrics.begun(job.kind)
        outcome = None
        with suppress(asyncio.CancelledError):
            outcome = await carry_out(job, self._kinds[job.kind], context)
        seconds = monotonic() - start
        if context.is_completed:
            self._let_go(job, "completed", seconds)
        elif outcome is None:
            self._let_go(job, "returned" if self._is_stopping else "cancelled", seconds)
        else:
            self._ended.put_nowait(Ended(job, outcome, seconds))

    async def _record(self) -> None:
        """Records outcomes, together with those that came while others were recorded."""
        while True:
            batch, size = [await self._ended.get()], 0
            while not self._ended.empty() and size < BATCH_BYTES:
                batch.append(self._ended.get_nowait())
                size += len(batch[-1].outcome.result)
            recorded = await self._finish([ended.outcome for ended in batch])
            for job, outcome, seconds in batch:
                self._let_go(job, outcome.status if job.id in recorded else "superseded", seconds)
                self._ended.task_done()
            if any(ended.outcome.status == "retried" for ended in batch):
                self._is_woken.set()  # it may be due before what is waited for

    async def _finish(self, outcomes: list[Outcome]) -> set[UUID]:
        """Records outcomes. Returns the ids of the jobs for which they count."""
        try:
            rows = await self.database.fetch(FINISH, self._id, encode(outcomes), retried=CONNECTION_ERRORS)
        except asyncpg.PostgresError as error:
            if len(outcomes) == 1:
                logger.error("an outcome can't be recorded", extra={"job_id": outcomes[0].id, "cause": describe(error)})
                return set()
            middle = len(outcomes) // 2  # what is wrong with one must not harm the others
            return await self._finish(outcomes[:middle]) | await self._finish(outcomes[middle:])
        return {row["id"] for row in rows}

    def _let_go(self, job: Job, result: str, seconds: float) -> None:
        if len(self._running) >= self._slots:
            self._is_woken.set()
        del self._running[job]
        self._metrics.ended(job.kind, result, seconds)

    def _wake(self, payload: str) -> None:
        if payload == "cancelled":
            self._compare_at = 0.0
        self._is_woken.set()

    async def _catch_up(self, _: object) -> None:
        """Looks for what was announced while nobody listened."""
        self._wake("cancelled")

    async def _compare(self) -> None:
        """Compares what runs here with the ledger, and stops what was cancelled or is another worker's by now.

        Jobs that the ledger says run here and do not, as a reply was lost, the database gives back. Not while jobs are
        being taken: it would give back those, too.
        """
        self._compare_at = monotonic() + self._beat_seconds
        jobs = [{"tenant_id": job.tenant_id, "id": job.id, "attempt": job.attempt} for job in self._running]
        rows = await self.database.fetch(FIND_ENDED, self._id, msgspec.json.encode(jobs).decode())
        ended = {tuple(row) for row in rows}
        for job, task in self._running.items():
            if (job.id, job.attempt) in ended:
                task.cancel()

    async def _stay_alive(self) -> None:
        """Says again and again that this worker is alive, and recovers the jobs of those that are not."""
        while True:
            await self._say_alive()
            await self.database.fetch(RECOVER, RECOVERED)
            await asyncio.sleep(self._beat_seconds)

    async def _say_alive(self) -> None:
        heartbeat = self._settings.worker_heartbeat_seconds
        await self.database.fetch(KEEP, self._id, socket.gethostname(), heartbeat, self._slots, self._queues)


async def _cancel(*tasks: "asyncio.Task[None]") -> None:
    """Cancels tasks, and waits until they have ended, for at most CANCEL_SECONDS."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CANCEL_SECONDS)

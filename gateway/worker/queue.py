"""The queue of jobs: PgQueuer, told where its tables are, and the ledger app.jobs beside it.

PgQueuer knows which jobs wait, hands each to one worker, and hands it to another one when the first is not heard of any
more. The ledger decides: a job is carried out only after app.begin_jobs said that it is this worker's, and what became
of it counts only where app.finish_jobs took it. Both are called for many jobs at once.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import inf
from time import monotonic
from typing import Any, Final, Protocol, Self
from uuid import UUID

import asyncpg
import msgspec
from pgqueuer.adapters.drivers.asyncpg import AsyncpgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder, QuerySchedulerBuilder
from pgqueuer.adapters.persistence.queries import Queries
from pgqueuer.core.qm import QueueManager
from pgqueuer.core.sm import SchedulerManager
from pgqueuer.core.tm import TaskManager
from pgqueuer.domain import models
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import Channel, QueueEntrypoint, QueueManagerId
from pgqueuer.ports.driver import NotifyCallback
from pgqueuer.ports.repository import EntrypointExecutionParameter

from gateway.database.listener import Listener
from gateway.errors import CONNECTION_ERRORS
from gateway.observe.logs import describe
from gateway.settings import Settings
from gateway.worker.jobs import FINISH, Job, JobContext, JobKind, Outcome, carry_out, encode, returned
from gateway.worker.schedules import Schedule, add_schedule

logger = logging.getLogger(__name__)

CHANNEL: Final = "cardbase_jobs"
TABLES: Final = DBSettings(
    prefix="",
    db_schema="queue",
    channel=Channel(CHANNEL),
    function="fn_pgqueuer_changed",
    statistics_table="pgqueuer_statistics",
    queue_status_type="pgqueuer_status",
    queue_table="pgqueuer",
    queue_table_log="pgqueuer_log",
    trigger="tg_pgqueuer_changed",
    schedules_table="pgqueuer_schedules",
    # All that matters is in the queue and the schedules. The log and its statistics stay empty.
    durability=Durability.balanced,
    widen_id=True,
)
"""What PgQueuer's tables are called. All is said here, for it would look into the environment for what is not."""

CONNECTIONS: Final = 4
JOB_CONNECTIONS: Final = 5
"""What jobs themselves ask of the database must not hold up the word that they are alive."""
STATEMENT_SECONDS: Final = 30.0
RECONNECT_SECONDS: Final = 0.5
POLL_SECONDS: Final = 5.0
"""How long a worker sleeps at most: notifications wake it, and they are lost where no session is kept."""
WAKE_SECONDS: Final = 0.01
"""Notifications that come closer to one another are one."""
STOP_SECONDS: Final = 10.0
"""For what has to be recorded when the worker ends; after that the others find out by themselves."""
BEGIN: Final = (
    "select queue_id, tenant_id, user_id, id, kind, arguments, attempt, maximum_attempts from app.begin_jobs($1, $2)"
)
NO_TIMEOUT: Final = timedelta(days=1)


async def upgrade_tables(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Makes PgQueuer's tables, or brings those of an older version to what this one wants, in the open transaction."""
    queries = Queries(AsyncpgDriver(connection), qbe=QueryBuilderEnvironment(TABLES))
    for statement in (await queries.plan_upgrade()).statements:
        await connection.execute(statement)
    await queries.optimize_autovacuum()


async def _leave_as_is(_: Any) -> None:
    """Instead of the pool's reset query: no statement of ours leaves anything behind."""


class JobConnection:
    """A worker's way to the database, as a driver of PgQueuer: its statements wait while the database is away."""

    def __init__(self, url: str, *, keeps_session: bool = True) -> None:
        self._url = url
        self._statements = 100 if keeps_session else 0
        self._pool: asyncpg.Pool[asyncpg.Record]
        self._job_pool: asyncpg.Pool[asyncpg.Record]
        self._listener = Listener(url, keeps_session=keeps_session)
        self._listener.hear(CHANNEL, self._pass_on)
        self._listener.at_begin(self._begin)
        self._callback: NotifyCallback | None = None
        self._has_begun = self._is_woken = self._is_drowsy = False
        self._back_at = -inf
        self._gives_up_at = inf
        self.shutdown = asyncio.Event()
        self.tm = TaskManager()

    async def open(self) -> None:
        """Makes ready. The database need not be there."""
        self._pool, self._job_pool = await self._connections(CONNECTIONS), await self._connections(JOB_CONNECTIONS)
        self._listener.start()

    async def _connections(self, maximum: int) -> "asyncpg.Pool[asyncpg.Record]":
        return await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=maximum,
            max_inactive_connection_lifetime=0,
            reset=_leave_as_is,
            timeout=STATEMENT_SECONDS,
            command_timeout=STATEMENT_SECONDS,
            statement_cache_size=self._statements,
            server_settings={"application_name": "cardbase worker"},
        )

    async def close(self) -> None:
        """Closes all connections."""
        await self._listener.close()
        self._pool.terminate()
        self._job_pool.terminate()

    def give_up_in(self, seconds: float) -> None:
        """Lets statements fail that can't be run within so many seconds from now."""
        self._gives_up_at = monotonic() + seconds

    def was_away(self, seconds: float) -> bool:
        """Whether the database was away within the last seconds."""
        return monotonic() - self._back_at < seconds

    def acquire(self) -> Any:
        """A connection for a job, for a while."""
        return self._job_pool.acquire()

    async def fetch_now(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows that a job's statement answers; fails when the database is away."""
        return await self._job_pool.fetch(sql, *arguments)

    async def fetch(self, query: str, *args: object) -> list[dict[str, object]]:
        """The rows that a statement answers, once the database is there."""
        while True:
            try:
                return [dict(row) for row in await self._pool.fetch(query, *args)]
            except asyncpg.TransactionRollbackError:  # another statement was in the way, and has passed
                continue
            except CONNECTION_ERRORS as error:
                self._back_at = monotonic()
                if self._back_at > self._gives_up_at:
                    raise
                logger.warning("the queue waits for the database", extra={"cause": describe(error)})
                await asyncio.sleep(RECONNECT_SECONDS)

    async def execute(self, query: str, *args: object) -> str:
        """Runs a statement, once the database is there."""
        await self.fetch(query, *args)
        return ""

    async def notify(self, channel: str, payload: str) -> None:
        """Sends a notification, once the database is there."""
        await self.fetch("select pg_notify($1, $2)", channel, payload)

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Has notifications passed on from now on, whenever the database is there."""
        assert channel == CHANNEL
        self._callback = callback

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None: ...

    async def _begin(self, _: object) -> None:
        """Looks for what came while nobody listened."""
        if self._has_begun:
            self._back_at = monotonic()
        self._has_begun = True
        self._wake()

    def _pass_on(self, payload: str) -> None:
        if "table_changed_event" in payload:
            self._wake()
        elif self._callback is not None:
            self._callback(payload)

    def _wake(self) -> None:
        """Says that there may be jobs: at once, and of several times that come close together the last one, too."""
        if self._is_drowsy:
            self._is_woken = True
            return
        self._is_woken, self._is_drowsy = False, True
        asyncio.get_running_loop().call_later(WAKE_SECONDS, self._rouse)
        if self._callback is not None:
            event = {
                "type": "table_changed_event",
                "channel": CHANNEL,
                "operation": "insert",
                "sent_at": datetime.now(UTC),
                "table": TABLES.queue_table,
            }
            self._callback(msgspec.json.encode(event))

    def _rouse(self) -> None:
        self._is_drowsy = False
        if self._is_woken:
            self._wake()


class Watcher(Protocol):
    """Told what becomes of jobs."""

    def begun(self, kind: str) -> None:
        """An attempt began."""

    def ended(self, kind: str, result: str, seconds: float) -> None:
        """An attempt ended after so many seconds."""


class JobQueue(Queries):
    """Takes jobs from the queue and has them carried out, until it is stopped."""

    def __init__(
        self, link: JobConnection, kinds: Mapping[str, JobKind], settings: Settings, worker_id: UUID, watcher: Watcher
    ) -> None:
        super().__init__(
            link, QueryBuilderEnvironment(TABLES), QueryQueueBuilder(TABLES), QuerySchedulerBuilder(TABLES)
        )
        self._link = link
        self._kinds = kinds
        self._settings = settings
        self._worker_id = worker_id
        self._watcher = watcher
        self._is_stopping = asyncio.Event()
        self._manager: QueueManager | None = None
        self._scheduler: SchedulerManager | None = None
        self._begun: dict[int, Job] = {}
        self._outcomes: list[tuple[Outcome, asyncio.Future[bool]]] = []
        self._recording = asyncio.Lock()

    async def run(self) -> None:
        """Works until it is stopped, and gives back what it has begun."""
        heartbeat = timedelta(seconds=self._settings.worker_heartbeat_seconds)
        batch = self._settings.worker_jobs // 2
        while not self._is_stopping.is_set():
            self._manager = QueueManager(self, Channel(CHANNEL))
            self._manager.queue_manager_id = QueueManagerId(self._worker_id)
            for name in self._kinds:
                self._manager.entrypoint(name, accepts_context=True)(self._perform)
            try:
                await self._manager.run(
                    dequeue_timeout=min(timedelta(seconds=POLL_SECONDS), heartbeat / 2),
                    batch_size=batch,
                    max_concurrent_tasks=2 * batch,
                    heartbeat_timeout=heartbeat,
                    log_aggregation_interval=timedelta(0),
                )
            except (asyncpg.PostgresError, RuntimeError, *CONNECTION_ERRORS) as error:
                logger.error("the queue does not work", extra={"cause": describe(error)})
                await self._pause(POLL_SECONDS)
        if self._begun:
            given_back = encode([returned(job) for job in self._begun.values()])
            await self._link.fetch(FINISH, self._worker_id, given_back)

    async def run_schedules(self, schedules: Sequence[Schedule]) -> None:
        """Does what is scheduled until it is stopped; what has begun then is finished."""
        while not self._is_stopping.is_set():
            self._scheduler = SchedulerManager(self)
            for schedule in schedules:
                add_schedule(self._scheduler, schedule)
            try:
                await self._scheduler.run()
            except (asyncpg.PostgresError, RuntimeError, *CONNECTION_ERRORS) as error:
                logger.error("schedules do not work", extra={"cause": describe(error)})
                await self._pause(POLL_SECONDS)

    def stop(self) -> None:
        """Has it end: what is running is interrupted."""
        self._is_stopping.set()
        self._link.give_up_in(STOP_SECONDS)
        if self._scheduler is not None:
            self._scheduler.shutdown.set()
        if self._manager is not None:
            self._manager.shutdown.set()
            for context in self._manager.job_context.values():
                context.cancellation.cancel()

    async def dequeue(
        self,
        batch_size: int,
        entrypoints: dict[QueueEntrypoint, EntrypointExecutionParameter],
        queue_manager_id: QueueManagerId,
        global_concurrency_limit: int | None,
        heartbeat_timeout: timedelta,
    ) -> list[models.Job]:
        """Picks jobs, begins them, and answers those that are this worker's to carry out."""
        # While the database was away no worker could say that it is alive.
        if self._link.was_away(heartbeat_timeout.total_seconds()):
            heartbeat_timeout = NO_TIMEOUT
        picked = await super().dequeue(
            batch_size, entrypoints, queue_manager_id, global_concurrency_limit, heartbeat_timeout
        )
        # Its own jobs, too, are picked once more when their heartbeat is late.
        assert self._manager is not None
        picked = [job for job in picked if job.id not in self._manager.job_context]
        if not picked:
            return []
        begun = await self._link.fetch(BEGIN, self._worker_id, [job.id for job in picked])
        jobs = {job.queue_id: job for job in msgspec.convert(begun, list[Job])}
        self._begun |= jobs
        return [job for job in picked if job.id in jobs]

    async def log_jobs(self, job_status: Any) -> None:
        """Does nothing: the ledger has it already."""

    async def _perform(self, picked: models.Job, context: models.Context) -> None:
        """Carries out a job that was begun, and records what became of it."""
        if self._is_stopping.is_set():
            return  # it is given back with those that were begun and got no further
        job = self._begun.pop(picked.id)
        start = monotonic()
        self._watcher.begun(job.kind)
        job_context = JobContext(
            job.tenant_id, job.user_id, job.id, job.attempt, self._settings, self._link, self._worker_id
        )
        outcome: Outcome | None = None
        with context.cancellation:
            outcome = await carry_out(job, self._kinds[job.kind], job_context)
        if outcome is None and self._is_stopping.is_set():
            outcome = returned(job)
        is_recorded = job_context.is_completed
        if outcome is not None and not is_recorded:
            is_recorded = await self._record(outcome)
        result = "cancelled" if outcome is None else outcome.status if is_recorded else "superseded"
        self._watcher.ended(job.kind, result, monotonic() - start)

    async def _record(self, outcome: Outcome) -> bool:
        """Records an outcome, together with those that came while others were recorded; answers whether it counts."""
        counts: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._outcomes.append((outcome, counts))
        async with self._recording:
            if not counts.done():
                batch, self._outcomes = self._outcomes, []
                await self._record_batch(batch)
        return await counts

    async def _record_batch(self, batch: "list[tuple[Outcome, asyncio.Future[bool]]]") -> None:
        try:
            rows = await self._link.fetch(FINISH, self._worker_id, encode([outcome for outcome, _ in batch]))
        except asyncpg.PostgresError as error:
            if len(batch) == 1:
                batch[0][1].set_exception(error)
            else:  # what is wrong with one must not be the others' harm
                for one in batch:
                    await self._record_batch([one])
        except Exception as error:
            for _, counts in batch:
                counts.set_exception(error)
        else:
            recorded = {row["id"] for row in rows}
            for outcome, counts in batch:
                counts.set_result(outcome.id in recorded)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._is_stopping.wait(), seconds)

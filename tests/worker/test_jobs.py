"""Jobs: enqueued over HTTP and in SQL, carried out by workers that come, go, die and lose their database."""

import asyncio
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID, uuid4

import asyncpg
import httpx
import msgspec
import pytest
from support import monitoring, shapes, staged_worker
from support.gateways import Gateway, run_cardbase, wait_until
from support.locks import Holder, waiting_for_locks
from support.monitoring import value
from support.servers import LOGIN_ROLES, Database
from support.tokens import bearer, token

from gateway.settings import Settings
from gateway.worker.job_kinds import JOB_KINDS, TestArguments
from gateway.worker.jobs import Job, JobContext, JobError, JobKind, Outcome, PermanentError, RetryLater, carry_out
from gateway.worker.loop import Worker
from gateway.worker.metrics import WorkerMetrics

JOBS: Final = "/api/v1/jobs"
SECONDS: Final = 60.0
"""How long a test waits for what has to come."""
TENANT: Final = UUID(int=1)
STAGED: Final = (sys.executable, str(Path(staged_worker.__file__)))
"""A worker whose jobs do what their message names (support.staged_worker)."""


class Ledger:
    """What the database knows of jobs."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self.connection = connection

    async def enqueue(self, kind: str = "test", arguments: dict[str, Any] | None = None, **more: Any) -> UUID:
        """Enqueues a job of the tenant's own."""
        given = {"tenant_id": TENANT, "user_id": None, "kind": kind, "arguments": _json(arguments or {}), **more}
        named = ", ".join(f"{name} => ${position}" for position, name in enumerate(given, 1))
        body = await self.connection.fetchval(f"select body from api.enqueue_job({named})", *given.values())
        return UUID(msgspec.json.decode(body)["data"]["job_id"])

    async def job(self, job_id: UUID) -> "asyncpg.Record":
        [row] = await self.connection.fetch("select * from app.jobs where id = $1", job_id)
        assert isinstance(row, asyncpg.Record)
        return row

    async def until(self, sql: str, *arguments: Any, seconds: float = SECONDS) -> None:
        """Waits until a condition holds."""
        async with asyncio.timeout(seconds):
            while not await self.connection.fetchval(sql, *arguments):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)

    async def ended(self, *job_ids: UUID) -> list["asyncpg.Record"]:
        """The jobs, once they have ended."""
        await self.until("select bool_and(completed_at is not null) from app.jobs where id = any($1)", job_ids)
        return [await self.job(job_id) for job_id in job_ids]

    async def running(self, job_id: UUID) -> None:
        """Waits until a job is being carried out."""
        await self.until("select status = 'running' from app.jobs where id = $1", job_id)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


@pytest.fixture
async def ledger(database: Database) -> AsyncIterator[Ledger]:
    connection = await asyncpg.connect(database.url())
    try:
        yield Ledger(connection)
    finally:
        await connection.close()


@pytest.fixture
def variables(database: Database) -> dict[str, str]:
    """What a worker on the test's database is told: to repeat what failed at once."""
    return {"WORKER_DATABASE_URL": database.url("cardbase_worker"), "JOB_RETRY_SECONDS": "0.01"}


@pytest.fixture
def impatient(variables: dict[str, str]) -> dict[str, str]:
    """The same, and to consider others dead soon."""
    return {**variables, "WORKER_HEARTBEAT_SECONDS": "1"}


# --- worker processes ---------------------------------------------------------------------------------------------


async def test_a_worker_carries_jobs_out(ledger: Ledger, variables: dict[str, str], tmp_path: Path) -> None:
    """By their queues' order, again after a failure, until they are cancelled, and gives back what it can't finish."""
    by_queue = {queue: await ledger.enqueue(queue=queue) for queue in ("low", "default", "high")}
    later = await ledger.enqueue(run_after=await ledger.connection.fetchval("select now() + interval '1 hour'"))
    # Two at a time are picked one by one.
    with monitoring.running_worker(tmp_path, command=STAGED, WORKER_JOBS="2", **variables) as worker:
        done = await ledger.ended(*by_queue.values())
        assert sorted(by_queue, key=lambda queue: done[list(by_queue).index(queue)]["started_at"]) == [
            "high",
            "default",
            "low",
        ]
        said = await ledger.enqueue(arguments={"message": "hello"})
        failing = await ledger.enqueue(arguments={"fail": True}, maximum_attempts=3)
        async with ledger.connection.transaction():  # one that was enqueued when it could take an hour
            wrong = await ledger.enqueue()
            await ledger.connection.execute(
                "update app.jobs set arguments = '{\"seconds\": 4000}' where id = $1", wrong
            )
        nobodys = await ledger.enqueue("embed_memory", {"memory_id": str(uuid4())})
        ended = await ledger.ended(said, failing, wrong, nobodys)
        assert [(job["status"], job["attempts"], job["result"], job["error"]) for job in ended] == [
            ("completed", 1, '{"message": "hello"}', None),
            ("failed", 3, None, "It failed, as it was asked to."),
            ("failed", 1, None, "The arguments are not valid: Expected `float` <= 5.0 - at `$.seconds`."),
            ("failed", 1, None, "Memories are users' own, and the job is no user's."),
        ]

        cancelled = await ledger.enqueue(arguments={"message": "last"})
        await ledger.running(cancelled)
        await ledger.connection.execute("select api.cancel_job($1, null, $2)", TENANT, cancelled)
        await asyncio.to_thread(wait_until, lambda: _counted(worker, "cancelled") == 1, SECONDS)
        assert (_counted(worker, "completed"), _counted(worker, "retried"), _counted(worker, "failed")) == (4, 2, 2)

        unfinished = await ledger.enqueue(arguments={"message": "last"})
        await ledger.running(unfinished)
        assert await ledger.connection.fetchval("select task_queue from api.get_health()") == "connected"
        worker.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.process.wait, SECONDS) == 0
    for job in (await ledger.job(unfinished), await ledger.job(later)):
        assert (job["status"], job["attempts"], job["error"]) == ("pending", 0, None)
    assert (await ledger.job(cancelled))["error"] == "cancelled"
    assert await ledger.connection.fetch("select id, is_ready from app.pending_jobs order by run_at") == [
        (unfinished, True),
        (later, False),
    ]
    assert await ledger.connection.fetchval("select count(*) from app.workers") == 0


def _counted(worker: monitoring.Running, result: str) -> float:
    return value(worker.get("/metrics").text, "cards_jobs_total", kind="test", result=result)


HELD: Final = 7
STAGES: Final = f"""
create function public.hold() returns trigger language plpgsql as $$
begin
    if new.arguments ->> 'message' = 'held when ' || new.status then
        perform pg_advisory_xact_lock({HELD});
    end if;
    return new;
end;
$$;
create trigger hold before update on app.jobs for each row execute function public.hold();
"""
"""Has the record of a job's next status wait for the test, where the job's message says so."""


async def test_workers_killed_at_every_stage_lose_no_job_and_repeat_none_that_is_done(
    database: Database, ledger: Ledger, impatient: dict[str, str], tmp_path: Path
) -> None:
    await ledger.connection.execute(STAGES)

    async def held(count: int) -> None:
        await asyncio.to_thread(wait_until, lambda: waiting_for_locks(database) == count, SECONDS)

    with (
        monitoring.running_worker(tmp_path / "killed", command=STAGED, **impatient) as killed,
        Holder(database, f"select pg_advisory_xact_lock({HELD})"),
    ):
        done = await ledger.enqueue()
        await ledger.ended(done)
        under_way = await ledger.enqueue(arguments={"message": "last"})
        await ledger.running(under_way)
        unrecorded = await ledger.enqueue(arguments={"message": "held when completed"})
        await held(1)
        unbegun = await ledger.enqueue(arguments={"message": "held when running"})
        await held(2)
        killed.process.kill()
        killed.process.wait()
        # What it asked for last does not happen after its death.
        await ledger.connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where usename = 'cardbase_worker' and datname = current_database()"
        )
        await held(0)
    first_end = (await ledger.job(done))["completed_at"]
    with monitoring.running_worker(tmp_path / "next", command=STAGED, **impatient) as following:
        jobs = await ledger.ended(unbegun, unrecorded, done)
        assert [(job["status"], job["attempts"]) for job in jobs] == [
            ("completed", 1),
            ("completed", 2),
            ("completed", 1),
        ]
        assert jobs[-1]["completed_at"] == first_end
        await ledger.until("select status = 'running' and attempts = 2 from app.jobs where id = $1", under_way)
        assert _counted(following, "completed") == 2
    assert await ledger.connection.fetch("select id, is_ready from app.pending_jobs") == [(under_way, True)]


async def test_two_workers_share_the_work(ledger: Ledger, variables: dict[str, str], tmp_path: Path) -> None:
    """Each job is run once, and what one leaves unfinished the other one does."""
    with (
        monitoring.running_worker(tmp_path / "one", WORKER_JOBS="4", **variables) as one,
        monitoring.running_worker(tmp_path / "two", WORKER_JOBS="4", **variables) as two,
    ):
        jobs: list[UUID] = []
        async with asyncio.timeout(SECONDS):
            while min(_counted(one, "completed"), _counted(two, "completed")) == 0:
                jobs += [await ledger.enqueue(arguments={"seconds": 0.05}) for _ in range(40)]
                await ledger.ended(*jobs)
        assert {job["attempts"] for job in await ledger.ended(*jobs)} == {1}
        assert _counted(one, "completed") + _counted(two, "completed") == len(jobs)

        long = await ledger.enqueue(arguments={"seconds": 2})
        await ledger.running(long)
        at_it, other = (one, two) if _counted_in_progress(one) else (two, one)
        at_it.process.send_signal(signal.SIGTERM)
        [done] = await ledger.ended(long)
        assert (done["status"], done["attempts"]) == ("completed", 1)
        assert at_it.process.wait(SECONDS) == 0
        assert _counted_in_progress(other) == 0


def _counted_in_progress(worker: monitoring.Running) -> float:
    return value(worker.get("/metrics").text, "cards_jobs_in_progress", kind="test")


async def test_a_job_outlives_the_databases_absence(
    database: Database, ledger: Ledger, impatient: dict[str, str], tmp_path: Path
) -> None:
    """What runs meanwhile is recorded when the database is back, and not run again; then the work goes on."""
    with monitoring.running_worker(tmp_path, **impatient) as worker:
        job = await ledger.enqueue(arguments={"seconds": 0.5})
        await ledger.running(job)
        await ledger.connection.execute("alter role cardbase_worker connection limit 0")
        try:
            await ledger.connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'cardbase_worker'"
            )
            await asyncio.to_thread(
                wait_until, lambda: "waiting for the database" in worker.output.read_text(), SECONDS
            )
            await ledger.until("select expires_at < clock_timestamp() from app.workers")  # it is taken to be dead
        finally:
            await ledger.connection.execute("alter role cardbase_worker connection limit -1")
        [first] = await ledger.ended(job)
        assert (first["status"], first["attempts"]) == ("completed", 1)
        [second] = await ledger.ended(await ledger.enqueue())
        assert (second["status"], second["attempts"]) == ("completed", 1)


WATCHED: Final = """
create table public.traces (job_id uuid, ran_at timestamptz);
grant insert on public.traces to cardbase_worker;
create table public.ends (job_id uuid);
grant insert on public.ends to cardbase_dispatcher;
create function public.watch() returns trigger language plpgsql as $$
begin
    if old.completed_at is not null then
        raise exception 'an ended job was changed';
    end if;
    if new.completed_at is not null then
        insert into public.ends values (new.id);
    end if;
    return new;
end;
$$;
create trigger watch before update on app.jobs for each row execute function public.watch();
"""
"""Counts the ends of each job, and lets none be touched after its end."""


@pytest.mark.timeout(300)
async def test_workers_killed_at_random_end_each_job_once(
    ledger: Ledger, variables: dict[str, str], tmp_path: Path
) -> None:
    await ledger.connection.execute(WATCHED)
    chance = random.Random(14)
    count = "select count(*) from app.jobs where status = 'completed'"
    variables = {**variables, "WORKER_HEARTBEAT_SECONDS": "5", "WORKER_JOBS": "20"}
    with ExitStack() as stack:

        def start(number: int) -> monitoring.Running:
            return stack.enter_context(monitoring.running_worker(tmp_path / str(number), command=STAGED, **variables))

        workers = [start(number) for number in range(8)]
        await ledger.connection.execute(
            "select count(api.enqueue_job(lpad((number % 5 + 1)::text, 32, '0')::uuid, null, 'test',"
            " jsonb_build_object('message', 'leave_a_trace'), maximum_attempts => 20))"
            " from generate_series(1, 5000) as number"
        )
        for number in range(8, 20):
            await ledger.until(f"select ({count}) > $1", (number - 8) * 400)
            killed = workers.pop(chance.randrange(8))
            killed.process.kill()
            killed.process.wait()
            workers.append(start(number))
        await ledger.until(f"select ({count}) = 5000", seconds=240)
    assert await ledger.connection.fetchval("select count(*) from public.ends") == 5000
    assert await ledger.connection.fetchval("select count(distinct job_id) from public.ends") == 5000
    assert await ledger.connection.fetchval("select count(distinct job_id) from public.traces") == 5000
    assert await ledger.connection.fetchval("select count(*) from app.pending_jobs") == 0
    late = "select count(*) from app.jobs inner join public.traces on job_id = id where ran_at > completed_at"
    assert await ledger.connection.fetchval(late) == 0


@pytest.mark.parametrize(
    ("bound", "running"),
    [
        pytest.param({}, 4, id="half of all slots"),
        pytest.param({"TENANT_RUNNING_JOBS": "3"}, 3, id="as many as the setting says"),
    ],
)
async def test_the_flood_of_one_tenant_leaves_room_for_others(
    ledger: Ledger, variables: dict[str, str], tmp_path: Path, bound: dict[str, str], running: int
) -> None:
    variables = {**variables, **bound, "WORKER_JOBS": "4"}
    flooding = f"select count(*) from app.jobs where tenant_id = '{TENANT}' and status = 'running'"
    with (
        monitoring.running_worker(tmp_path / "one", command=STAGED, **variables),
        monitoring.running_worker(tmp_path / "two", command=STAGED, **variables),
    ):
        await ledger.until("select count(*) = 2 from app.workers")
        for _ in range(150):
            await ledger.enqueue(arguments={"message": "last"})
        await ledger.until(f"select ({flooding}) = $1", running)
        others = [await ledger.enqueue(tenant_id=UUID(int=number)) for number in range(2, 22)]
        assert {job["status"] for job in await ledger.ended(*others)} == {"completed"}
        assert await ledger.connection.fetchval(flooding) == running


FORGED: Final = (
    "",
    "cancelled",
    "{job}",
    '{{"type": "cancellation_event", "channel": "cardbase_jobs", "ids": [1, 2, 3]}}',
    "\N{SNOWMAN}" * 2000,
)


@pytest.mark.parametrize("role", LOGIN_ROLES)
async def test_a_forged_notification_only_wakes(
    database: Database, ledger: Ledger, variables: dict[str, str], tmp_path: Path, role: str
) -> None:
    with monitoring.running_worker(tmp_path, command=STAGED, **variables) as worker:
        job = await ledger.enqueue(arguments={"message": "last"})
        await ledger.running(job)
        for payload in FORGED:
            forged = payload.format(job=job)
            await asyncio.to_thread(database.execute, f"select pg_notify('cardbase_jobs', '{forged}')", user=role)
            # What it hears, it hears in this order, and it asks about all that before it takes a job.
            [following] = await ledger.ended(await ledger.enqueue())
            assert (following["status"], following["attempts"]) == ("completed", 1)
        row = await ledger.job(job)
        assert (row["status"], row["attempts"], _counted_in_progress(worker)) == ("running", 1, 1)


async def test_workers_whose_clocks_are_an_hour_off_change_nothing(
    ledger: Ledger, variables: dict[str, str], tmp_path: Path
) -> None:
    variables = {**variables, "WORKER_HEARTBEAT_SECONDS": "2"}
    with (
        monitoring.running_worker(tmp_path / "early", command=STAGED, CLOCK_OFF_BY="-3600", **variables) as early,
        monitoring.running_worker(tmp_path / "late", command=STAGED, CLOCK_OFF_BY="3600", **variables) as late,
    ):
        await ledger.until("select count(*) = 2 from app.workers")
        clock = await ledger.connection.fetchval("select extract(epoch from clock_timestamp())::float8")
        told = [await ledger.enqueue(arguments={"message": "tell_the_time"}) for _ in range(20)]
        long = await ledger.enqueue(arguments={"seconds": 4})  # longer than a worker may be silent
        due = await ledger.connection.fetchval("select clock_timestamp() + interval '1 second'")
        put_off = await ledger.enqueue(run_after=due)
        failing = await ledger.enqueue(arguments={"fail": True}, maximum_attempts=2)
        ended = await ledger.ended(long, put_off, failing)
        assert [(job["status"], job["attempts"]) for job in ended] == [
            ("completed", 1),
            ("completed", 1),
            ("failed", 2),
        ]
        assert ended[1]["started_at"] >= due
        for job in await ledger.ended(*told):
            for believed in msgspec.json.decode(job["result"]).values():
                assert 3000 < abs(believed - clock) < 4200
        assert await ledger.connection.fetchval("select bool_and(expires_at > clock_timestamp()) from app.workers")

        left = await ledger.enqueue(arguments={"message": "last"})
        await ledger.running(left)
        at_it, other = (early, late) if _counted_in_progress(early) else (late, early)
        at_it.process.kill()
        await ledger.until("select status = 'running' and attempts = 2 from app.jobs where id = $1", left)
        assert _counted_in_progress(other) == 1
    off_by = "select abs(extract(epoch from last_run_at - clock_timestamp())) from app.schedules"
    assert await ledger.connection.fetchval(off_by) < 600


async def test_a_worker_takes_only_from_the_queues_it_is_given(
    ledger: Ledger, variables: dict[str, str], tmp_path: Path
) -> None:
    high, default, low = [await ledger.enqueue(queue=queue) for queue in ("high_priority", "default", "low")]
    with monitoring.running_worker(tmp_path, "--queues", "default, low_priority", **variables):
        assert {job["status"] for job in await ledger.ended(default, low)} == {"completed"}
        assert await ledger.connection.fetchval("select queues from app.workers") == ["default", "low"]
    assert (await ledger.job(high))["status"] == "pending"


def test_a_queue_that_there_is_not_is_named(variables: dict[str, str], tmp_path: Path) -> None:
    done = run_cardbase("worker", "--queues", "default,urgent", folder=tmp_path, **variables)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("Error: Invalid value for '--queues': 'urgent' is not one of high, default, low.\n")


# --- bad jobs -----------------------------------------------------------------------------------------------------

BAD: Final = {
    "raise_error": "It failed unexpectedly: LookupError.",
    "raise_cancelled": "It failed unexpectedly: CancelledError.",
    "raise_too_much": "x" * 1000,
    "leave": "It failed unexpectedly: SystemExit.",
    "return_too_much": "Its result has 1048587 bytes: more than 1048576.",
}


async def test_a_bad_job_says_what_is_wrong_and_the_others_go_on(
    ledger: Ledger, variables: dict[str, str], tmp_path: Path
) -> None:
    with monitoring.running_worker(tmp_path, command=STAGED, **variables) as worker:
        bad = [await ledger.enqueue(arguments={"message": name}, maximum_attempts=1) for name in BAD]
        other = await ledger.enqueue()
        ended = await ledger.ended(*bad, other)
        assert [(job["status"], job["error"]) for job in ended[:-1]] == [("failed", error) for error in BAD.values()]
        assert ended[-1]["status"] == "completed"
        assert "LookupError: secret" in worker.output.read_text()  # the log says what its owner is not told


async def test_a_job_that_hangs_says_so_and_the_others_go_on(
    ledger: Ledger, variables: dict[str, str], tmp_path: Path
) -> None:
    hanging = await ledger.enqueue(arguments={"message": "last"}, maximum_attempts=1)
    with monitoring.running_worker(tmp_path, command=STAGED, JOB_TIME_LIMIT_SECONDS="2", **variables):
        await ledger.running(hanging)
        failed, other = await ledger.ended(hanging, await ledger.enqueue())
    assert (failed["status"], failed["error"]) == ("failed", "It took longer than 2 seconds.")
    assert other["status"] == "completed"


@pytest.mark.parametrize(("act", "limit", "status"), [("die", "300", 7), ("block", "4", 1)])
async def test_a_job_that_ends_its_worker_fails_in_the_end(
    ledger: Ledger, impatient: dict[str, str], tmp_path: Path, act: str, limit: str, status: int
) -> None:
    """Also if it never gives back the event loop, which ends the worker as well; the log then says where it was."""
    fatal = await ledger.enqueue(arguments={"message": act}, maximum_attempts=1)
    with monitoring.running_worker(
        tmp_path / "fatal", command=STAGED, JOB_TIME_LIMIT_SECONDS=limit, **impatient
    ) as worker:
        assert await asyncio.to_thread(worker.process.wait, SECONDS) == status
        assert (f"in {act}" in worker.output.read_text()) == (act == "block")
    other = await ledger.enqueue()
    with monitoring.running_worker(tmp_path / "next", command=STAGED, **impatient):
        failed, done = await ledger.ended(fatal, other)
    assert (failed["status"], failed["attempts"], failed["error"]) == (
        "failed",
        1,
        "Its worker was lost during the last attempt.",
    )
    assert (done["status"], done["attempts"]) == ("completed", 1)


async def test_a_job_that_does_not_stop_is_given_back_by_its_worker_which_ends(
    ledger: Ledger, variables: dict[str, str], tmp_path: Path
) -> None:
    job = await ledger.enqueue(arguments={"message": "refuse_to_stop"})
    with monitoring.running_worker(tmp_path, command=STAGED, **variables) as worker:
        await ledger.running(job)
        worker.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.process.wait, SECONDS) == 1
    row = await ledger.job(job)
    assert (row["status"], row["attempts"]) == ("pending", 0)


async def test_a_job_of_an_unknown_kind_is_left_to_workers_that_know_it(database: Database, ledger: Ledger) -> None:
    unknown = await ledger.enqueue("sync_integration", {"integration_id": str(uuid4())})
    known = await ledger.enqueue()
    async with working(database, {"test": JOB_KINDS["test"]}, Settings(worker_jobs=2)):
        [done] = await ledger.ended(known)
        assert done["status"] == "completed"
    assert (await ledger.job(unknown))["status"] == "pending"


# --- a worker within the test -------------------------------------------------------------------------------------


@asynccontextmanager
async def working(database: Database, kinds: Mapping[str, JobKind], settings: Settings) -> AsyncIterator[None]:
    """A worker on the test's own loop."""
    stop = asyncio.Event()
    running = asyncio.create_task(
        Worker(database.url("cardbase_worker"), kinds, settings, WorkerMetrics(kinds)).run(stop)
    )
    try:
        yield
    finally:
        stop.set()
        await running


async def test_what_has_to_happen_once_is_written_as_the_job_is_completed(database: Database, ledger: Ledger) -> None:
    """An attempt that fails after it wrote leaves nothing; one that lost its job writes nothing."""
    await ledger.connection.execute(
        "create table public.effects (attempt integer); grant insert on public.effects to cardbase_worker"
    )

    async def write(context: JobContext, _: TestArguments) -> None:
        async with context.completing({"attempt": context.attempt}) as connection:
            await connection.execute("insert into public.effects values ($1)", context.attempt)
            if context.attempt == 1:
                raise JobError("Too early.")

    async def lose(context: JobContext, _: TestArguments) -> None:
        cancel = f"select from api.cancel_job('{TENANT}', null, '{context.job_id}')"
        await asyncio.to_thread(database.execute, cancel)
        async with context.completing() as connection:
            await connection.execute("insert into public.effects values (99)")

    settings = Settings(worker_heartbeat_seconds=1, job_retry_seconds=0.01)
    async with working(
        database,
        {"test": JobKind(TestArguments, write), "embed_memory": JobKind(JOB_KINDS["embed_memory"].arguments, lose)},
        settings,
    ):
        written, lost = await ledger.ended(
            await ledger.enqueue(), await ledger.enqueue("embed_memory", {"memory_id": str(uuid4())})
        )
    assert (written["status"], written["attempts"], written["result"]) == ("completed", 2, '{"attempt": 2}')
    assert lost["error"] == "cancelled"
    assert await ledger.connection.fetch("select attempt from public.effects") == [(2,)]


REFUSED: Final = """
create function public.refuse() returns trigger language plpgsql as $$
begin
    if new.arguments ->> 'message' = 'refused' and new.status = 'completed' then
        raise exception 'refused';
    end if;
    return new;
end;
$$;
create trigger refuse before update on app.jobs for each row execute function public.refuse();
"""
"""Has the record of one job's end fail."""


async def test_a_job_that_can_t_be_recorded_or_holds_up_its_worker_does_the_others_no_harm(
    database: Database, ledger: Ledger
) -> None:
    await ledger.connection.execute(REFUSED)

    async def work(_: JobContext, arguments: TestArguments) -> None:
        time.sleep(arguments.seconds)  # noqa: ASYNC251 - so that nobody hears of the worker
        await asyncio.sleep(0.2)

    settings = Settings(worker_heartbeat_seconds=0.5)
    refused = await ledger.enqueue(arguments={"message": "refused"}, maximum_attempts=1)
    others = [await ledger.enqueue() for _ in range(5)]
    slow = await ledger.enqueue(arguments={"seconds": 1.5})
    async with working(database, {"test": JobKind(TestArguments, work)}, settings):
        ended = await ledger.ended(*others, slow, refused)
    assert [(job["status"], job["attempts"]) for job in ended[:-1]] == [("completed", 1)] * 6
    assert ended[-1]["error"] == "Its worker was lost during the last attempt."


async def test_a_job_that_is_locked_does_not_hold_up_the_others(database: Database, ledger: Ledger) -> None:
    """As by a transaction that cancels it and stays open. When that is rolled back, the job is run again."""
    may_end = asyncio.Event()

    async def run(_: JobContext, __: TestArguments) -> None:
        await may_end.wait()

    settings = Settings(worker_heartbeat_seconds=0.5)
    async with working(database, {"test": JobKind(TestArguments, run)}, settings):
        locked = await ledger.enqueue()
        await ledger.running(locked)
        with Holder(database, f"select from api.cancel_job('{TENANT}', null, '{locked}')"):
            may_end.set()
            [other] = await ledger.ended(await ledger.enqueue())
            assert (other["status"], other["attempts"]) == ("completed", 1)
        [job] = await ledger.ended(locked)
        assert (job["status"], job["attempts"]) == ("completed", 2)


async def test_now_means_now_and_later_means_later(database: Database, ledger: Ledger) -> None:
    """However long the delay would be that grows with each attempt."""

    async def run(context: JobContext, arguments: TestArguments) -> None:
        if context.attempt < 5:
            raise RetryLater("Not yet.", arguments.seconds)

    async with working(database, {"test": JobKind(TestArguments, run)}, Settings(job_retry_seconds=3600)):
        due = await ledger.connection.fetchval("select clock_timestamp() + interval '0.3 seconds'")
        ended = await ledger.ended(
            await ledger.enqueue(),
            await ledger.enqueue(arguments={"seconds": 0.3}),
            await ledger.enqueue(run_after=due),
        )
    assert [(job["status"], job["attempts"]) for job in ended] == [("completed", 5)] * 3
    assert ended[1]["started_at"] - ended[1]["created_at"] >= timedelta(seconds=4 * 0.3)
    assert ended[2]["started_at"] >= due


async def test_a_job_is_run_even_if_the_reply_that_gave_it_to_its_worker_was_lost(
    database: Database, ledger: Ledger
) -> None:
    settings = Settings(worker_heartbeat_seconds=0.5)
    async with working(database, {"test": JOB_KINDS["test"]}, settings):
        await ledger.until("select count(*) = 1 from app.workers")
        async with ledger.connection.transaction():
            job = await ledger.enqueue()
            await ledger.connection.execute("delete from app.pending_jobs")
            await ledger.connection.execute(
                "update app.jobs set status = 'running', attempts = 1, worker_id = (select worker_id from app.workers)"
            )
        [done] = await ledger.ended(job)
    assert (done["status"], done["attempts"]) == ("completed", 2)


async def test_a_schedule_is_claimed_once_each_time_and_catches_up_once(database: Database, ledger: Ledger) -> None:
    async with asyncpg.create_pool(database.url("cardbase_worker"), min_size=8, max_size=8) as pool:

        async def claimed() -> int:
            claims = [pool.fetchval("select app.claim_schedule('maintenance', 3600)") for _ in range(8)]
            return sum(await asyncio.gather(*claims))

        assert (await claimed(), await claimed()) == (1, 0)
        await ledger.connection.execute("update app.schedules set last_run_at = last_run_at - interval '10 hours'")
        assert (await claimed(), await claimed()) == (1, 0)


# --- one attempt --------------------------------------------------------------------------------------------------


async def _raise(error: Exception) -> None:
    raise error


ATTEMPTS: Final[dict[str, tuple[Callable[[], Awaitable[Any]], str, str | None]]] = {
    "a result": (lambda: asyncio.sleep(0, {"n": 1}), "completed", None),
    "nothing": (lambda: asyncio.sleep(0), "completed", None),
    "a failure": (lambda: _raise(JobError("Not now.")), "retried", "Not now."),
    "a failure for good": (lambda: _raise(PermanentError("Never.")), "failed", "Never."),
    "a later attempt": (lambda: _raise(RetryLater("Busy.", 77.0)), "retried", "Busy."),
    "too long": (lambda: asyncio.sleep(60), "retried", "It took longer than 0.05 seconds."),
    "a timeout of its own": (
        lambda: _raise(TimeoutError("secret")),
        "retried",
        "It failed unexpectedly: TimeoutError.",
    ),
    "a mistake": (lambda: _raise(ValueError("secret")), "retried", "It failed unexpectedly: ValueError."),
    "a long story": (lambda: _raise(PermanentError("x" * 5000)), "failed", "x" * 1000),
    "a text that can't be stored": (lambda: _raise(PermanentError("a\0\udc00b")), "failed", "a?b"),
    "a result that can't be stored": (
        lambda: asyncio.sleep(0, {"text": "\0"}),
        "failed",
        "Its result has a value that can't be stored.",
    ),
    "a result that is too long": (
        lambda: asyncio.sleep(0, {"text": "x" * 1_048_576}),
        "failed",
        "Its result has 1048587 bytes: more than 1048576.",
    ),
    "a result that is no JSON": (
        lambda: asyncio.sleep(0, {"text": object()}),
        "failed",
        "Its result can't be written as JSON.",
    ),
}


def attempt(number: int = 1, arguments: str = "{}") -> Job:
    """An attempt of three at a job."""
    return Job(TENANT, None, UUID(int=2), "test", arguments, number, 3)


async def outcome_of(job: Job, run: Callable[[], Awaitable[Any]]) -> Outcome:
    """What comes of an attempt at a job."""

    async def work(_: JobContext, __: TestArguments) -> Any:
        return await run()

    settings = Settings(job_time_limit_seconds=0.05, job_retry_seconds=8)
    context = JobContext(job.tenant_id, None, job.id, job.attempt, settings, cast(Any, None), uuid4())
    return await carry_out(job, JobKind(TestArguments, work), context)


@pytest.mark.parametrize("case", ATTEMPTS)
async def test_an_attempt_ends_as_its_function_does(case: str, caplog: pytest.LogCaptureFixture) -> None:
    run, status, error = ATTEMPTS[case]
    outcome = await outcome_of(attempt(), run)
    assert (outcome.status, outcome.error) == (status, error)
    if case == "a later attempt":
        assert outcome.seconds == 77
    elif status == "retried":
        assert 4 <= outcome.seconds <= 8


async def test_attempts_come_at_growing_intervals_and_to_an_end() -> None:
    def fail() -> Awaitable[None]:
        return _raise(JobError("Not now."))

    second = await outcome_of(attempt(2), fail)
    assert (second.status, 8 <= second.seconds <= 16) == ("retried", True)
    third = await outcome_of(attempt(3), fail)
    assert (third.status, third.error) == ("failed", "Not now.")


async def test_arguments_that_were_valid_once_may_be_so_no_more() -> None:
    outcome = await outcome_of(attempt(arguments='{"speed": 1}'), lambda: asyncio.sleep(0))
    assert outcome.status == "failed"
    assert outcome.error == "The arguments are not valid: Object contains unknown field `speed`."


def test_the_database_knows_the_kinds_as_the_worker_does(shared_database: Database) -> None:
    types = {float: "number", str: "string", bool: "boolean", UUID: "uuid", msgspec.Raw: "any"}
    expected = {
        name: {
            field.name: _type_of(field.type, types) + ("" if field.required else "?")
            for field in msgspec.structs.fields(kind.arguments)
        }
        for name, kind in JOB_KINDS.items()
    }
    assert msgspec.json.decode(shared_database.execute("select app.job_kinds()")) == expected


def _type_of(annotation: Any, types: dict[type, str]) -> str:
    return types[getattr(annotation, "__origin__", annotation)]


# --- over HTTP ----------------------------------------------------------------------------------------------------

SHOWN: Final = {
    "id": shapes.UUID_V7,
    "kind": "test",
    "queue": "default",
    "status": "pending",
    "result": None,
    "error": None,
    "attempts": 0,
    "maximum_attempts": 5,
    "created_at": shapes.TIME,
    "started_at": None,
    "completed_at": None,
}


@pytest.fixture
def user(people_gateway: Gateway, tenant_id: UUID) -> Iterator[httpx.Client]:
    """A user of a tenant of the test's own."""
    with people_gateway.client() as client:
        client.headers.update(bearer(token(tenant_id, sub=str(uuid4()))))
        yield client


def enqueued(response: httpx.Response) -> str:
    """The id of a job that a request has enqueued."""
    assert response.status_code == 202, response.text
    job_id: str = response.json()["data"]["job_id"]
    assert response.json() == {
        "success": True,
        "data": {"job_id": shapes.UUID_V7, "status": "queued"},
        "meta": None,
    }
    return job_id


def test_a_job_is_enqueued_shown_listed_and_cancelled(user: httpx.Client) -> None:
    first = enqueued(user.post(f"{JOBS}/test"))
    assert user.get(f"{JOBS}/{first}").json() == {"success": True, "data": {**SHOWN, "id": first}, "meta": None}
    body = {
        "kind": "test",
        "arguments": {"message": "hi", "seconds": 0.5},
        "queue": "low_priority",
        "run_after": "2999-01-01T00:00:00Z",
        "maximum_attempts": 2,
    }
    second = enqueued(user.post(JOBS, json=body))
    third = enqueued(user.post(f"{JOBS}/test", json={"message": "hi", "seconds": 0.5, "fail": True}))
    assert [job["id"] for job in user.get(JOBS).json()["data"]] == [third, second, first]
    assert user.get(JOBS, params={"limit": 2}).json()["data"][1] == {
        **SHOWN,
        "id": second,
        "queue": "low",
        "maximum_attempts": 2,
    }

    cancelled = user.post(f"{JOBS}/{second}/cancel")
    assert (cancelled.status_code, cancelled.json()["data"]["status"], cancelled.json()["data"]["error"]) == (
        200,
        "failed",
        "cancelled",
    )
    assert user.get(JOBS, params={"status": "failed"}).json()["data"] == [cancelled.json()["data"]]
    assert [job["id"] for job in user.get(JOBS, params={"status": "pending"}).json()["data"]] == [third, first]


@pytest.mark.parametrize("queue", ["high", "high_priority"])
def test_the_highest_queue_is_not_for_clients(user: httpx.Client, queue: str) -> None:
    refused = user.post(JOBS, json={"kind": "test", "queue": queue})
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "FORBIDDEN")
    assert user.get(JOBS).json()["data"] == []


def test_a_tenant_that_has_many_jobs_pending_is_told_to_wait(
    database: Database, make_gateway: Callable[..., Gateway]
) -> None:
    """Whether they are put off or not; another tenant is not."""
    database.execute("insert into deployment.settings (name, value) values ('tenant_pending_jobs', '2')")
    running = make_gateway(database)
    with running.client(UUID(int=1)) as one, running.client(UUID(int=2)) as other:
        first = enqueued(one.post(JOBS, json={"kind": "test", "run_after": "2999-01-01T00:00:00Z"}))
        enqueued(one.post(f"{JOBS}/test"))
        for refused in (one.post(f"{JOBS}/test"), one.post(JOBS, json={"kind": "test", "queue": "low"})):
            assert (refused.status_code, refused.json()["error"]["code"]) == (429, "RATE_LIMITED")
            assert int(refused.headers["Retry-After"]) > 0
        enqueued(other.post(f"{JOBS}/test"))
        assert one.post(f"{JOBS}/{first}/cancel").status_code == 200
        enqueued(one.post(f"{JOBS}/test"))


def test_a_tenant_needs_no_user_for_its_own_jobs(
    gateway: Gateway, people_gateway: Gateway, client: httpx.Client, tenant_id: UUID
) -> None:
    """They are for all users of the tenant; a user's are for that user alone."""
    ours = enqueued(client.post(f"{JOBS}/test"))
    with people_gateway.client() as ann, people_gateway.client() as ben, people_gateway.client() as stranger:
        ann.headers.update(bearer(token(tenant_id, sub=str(uuid4()))))
        ben.headers.update(bearer(token(tenant_id, sub=str(uuid4()))))
        stranger.headers.update(bearer(token(uuid4(), sub=str(uuid4()))))
        anns = enqueued(ann.post(f"{JOBS}/test"))
        assert [job["id"] for job in ann.get(JOBS).json()["data"]] == [anns, ours]
        assert [job["id"] for job in ben.get(JOBS).json()["data"]] == [ours]
        assert [job["id"] for job in client.get(JOBS).json()["data"]] == [ours]
        assert stranger.get(JOBS).json()["data"] == []
        for caller, job in ((ben, anns), (client, anns), (stranger, ours)):
            for response in (caller.get(f"{JOBS}/{job}"), caller.post(f"{JOBS}/{job}/cancel")):
                assert (response.status_code, response.json()["error"]["code"]) == (404, "JOB_NOT_FOUND")
        assert ann.get(f"{JOBS}/{anns}").json()["data"]["status"] == "pending"


def test_a_repeated_request_enqueues_nothing(user: httpx.Client) -> None:
    body = {"kind": "test", "arguments": {"message": "once"}}
    first, again, other = (
        user.post(JOBS, json=sent, headers={"Idempotency-Key": "a"}) for sent in (body, body, {"kind": "test"})
    )
    assert (first.headers["X-Idempotency-Cache"], again.headers["X-Idempotency-Cache"]) == ("MISS", "HIT")
    assert again.content == first.content
    assert (other.status_code, other.json()["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert len(user.get(JOBS).json()["data"]) == 1


WRONG: Final[dict[str, tuple[str, Any, str]]] = {
    "no kind": ("", {}, "kind"),
    "an unknown kind": ("", {"kind": "nothing"}, "kind"),
    "a kind that can't be stored": ("", {"kind": "a\0"}, "kind"),
    "arguments that are a list": ("", {"kind": "test", "arguments": []}, "arguments"),
    "an argument too many": ("", {"kind": "test", "arguments": {"a": 1}}, "arguments.a"),
    "an argument too few": ("", {"kind": "embed_memory"}, "arguments.memory_id"),
    "an argument of another type": ("", {"kind": "test", "arguments": {"fail": "no"}}, "arguments.fail"),
    "an argument that can't be stored": (
        "",
        {"kind": "test", "arguments": {"message": "\0"}},
        "arguments.message",
    ),
    "arguments that are too long": (
        "",
        {"kind": "test", "arguments": {"message": "x" * 70_000}},
        "arguments",
    ),
    "another queue": ("", {"kind": "test", "queue": "highest"}, "queue"),
    "a time that is none": ("", {"kind": "test", "run_after": "soon"}, "run_after"),
    "a time that is too late": ("", {"kind": "test", "run_after": "9999-12-31T23:59:59-14:00"}, "run_after"),
    "no attempt": ("", {"kind": "test", "maximum_attempts": 0}, "maximum_attempts"),
    "a test too long": ("/test", {"seconds": 5.1}, "seconds"),
    "a job that is a test too long": ("", {"kind": "test", "arguments": {"seconds": 5.1}}, "arguments.seconds"),
    "a test that is a text": ("/test", {"fail": "yes"}, "fail"),
    "an id that is none": ("/1/cancel", {}, "id"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case: str, client: httpx.Client) -> None:
    path, body, field = WRONG[case]
    response = client.post(JOBS + path, json=body)
    assert response.status_code == 422, response.text
    assert response.json()["error"]["details"][0]["field"] == field
    assert client.get(JOBS).json()["data"] == []

"""Jobs: enqueued over HTTP and in SQL, carried out by workers that come, go, die and lose their database."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import httpx
import msgspec
import pytest
from support import monitoring, shapes
from support.gateways import Gateway, wait_until
from support.locks import Holder, waiting_for_locks
from support.monitoring import value
from support.servers import Database
from support.tokens import bearer, token

from gateway.settings import Settings
from gateway.worker.job_kinds import JOB_KINDS, TestArguments
from gateway.worker.jobs import Job, JobContext, JobError, JobKind, Outcome, PermanentError, RetryLater, carry_out
from gateway.worker.metrics import WorkerMetrics
from gateway.worker.queue import JobConnection, JobQueue
from gateway.worker.schedules import Schedule

JOBS: Final = "/api/v1/jobs"
SECONDS: Final = 60.0
"""How long a test waits for what has to come."""
TENANT: Final = UUID(int=1)


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

    async def until(self, sql: str, *arguments: Any) -> None:
        """Waits until a condition holds."""
        async with asyncio.timeout(SECONDS):
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
    """What a worker on the test's database is told: to take others for dead soon, and to repeat what failed at once."""
    return {
        "WORKER_DATABASE_URL": database.url("cardbase_worker"),
        "WORKER_HEARTBEAT_SECONDS": "1",
        "JOB_RETRY_SECONDS": "0.01",
    }


# --- worker processes ---------------------------------------------------------------------------------------------


async def test_a_worker_carries_jobs_out(ledger: Ledger, variables: dict[str, str], tmp_path: Path) -> None:
    """By their queues' order, again after a failure, until they are cancelled, and gives back what it can't finish."""
    by_queue = {queue: await ledger.enqueue(queue=queue) for queue in ("low", "default", "high")}
    later = await ledger.enqueue(run_after=await ledger.connection.fetchval("select now() + interval '1 hour'"))
    # Two at a time are picked one by one.
    with monitoring.running_worker(tmp_path, WORKER_JOBS="2", **variables) as worker:
        done = await ledger.ended(*by_queue.values())
        assert sorted(by_queue, key=lambda queue: done[list(by_queue).index(queue)]["started_at"]) == [
            "high",
            "default",
            "low",
        ]
        said = await ledger.enqueue(arguments={"message": "hello"})
        failing = await ledger.enqueue(arguments={"fail": True}, maximum_attempts=3)
        wrong = await ledger.enqueue(arguments={"seconds": 4000})
        nobodys = await ledger.enqueue("embed_memory", {"memory_id": str(uuid4())})
        ended = await ledger.ended(said, failing, wrong, nobodys)
        assert [(job["status"], job["attempts"], job["result"], job["error"]) for job in ended] == [
            ("completed", 1, '{"message": "hello"}', None),
            ("failed", 3, None, "It failed, as it was asked to."),
            ("failed", 1, None, "The arguments are not valid: Expected `float` <= 3600.0 - at `$.seconds`."),
            ("failed", 1, None, "Memories are users' own, and the job is no user's."),
        ]

        cancelled = await ledger.enqueue(arguments={"seconds": 3000})
        await ledger.running(cancelled)
        await ledger.connection.execute("select api.cancel_job($1, null, $2)", TENANT, cancelled)
        await asyncio.to_thread(wait_until, lambda: _counted(worker, "cancelled") == 1, SECONDS)
        assert (_counted(worker, "completed"), _counted(worker, "retried"), _counted(worker, "failed")) == (4, 2, 2)

        unfinished = await ledger.enqueue(arguments={"seconds": 3000})
        await ledger.running(unfinished)
        assert await ledger.connection.fetchval("select task_queue from api.get_health()") == "connected"
        worker.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.process.wait, SECONDS) == 0
    for job in (await ledger.job(unfinished), await ledger.job(later)):
        assert (job["status"], job["attempts"], job["error"]) == ("pending", 0, None)
    assert (await ledger.job(cancelled))["error"] == "cancelled"
    assert await ledger.connection.fetch("select status::text from queue.pgqueuer") == [("queued",), ("queued",)]
    assert await ledger.connection.fetchval("select count(*) from app.workers") == 0
    assert await ledger.connection.fetchval("select count(*) from queue.pgqueuer_log") == 0


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
    database: Database, ledger: Ledger, variables: dict[str, str], tmp_path: Path
) -> None:
    await ledger.connection.execute(STAGES)

    async def held(count: int) -> None:
        await asyncio.to_thread(wait_until, lambda: waiting_for_locks(database) == count, SECONDS)

    with (
        monitoring.running_worker(tmp_path / "killed", **variables) as killed,
        Holder(database, f"select pg_advisory_xact_lock({HELD})"),
    ):
        done = await ledger.enqueue()
        await ledger.ended(done)
        under_way = await ledger.enqueue(arguments={"seconds": 3000})
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
    with monitoring.running_worker(tmp_path / "next", **variables) as following:
        jobs = await ledger.ended(unbegun, unrecorded, done)
        assert [(job["status"], job["attempts"]) for job in jobs] == [
            ("completed", 1),
            ("completed", 2),
            ("completed", 1),
        ]
        assert jobs[-1]["completed_at"] == first_end
        await ledger.until("select status = 'running' and attempts = 2 from app.jobs where id = $1", under_way)
        assert _counted(following, "completed") == 2
    assert await ledger.connection.fetch("select status::text from queue.pgqueuer") == [("queued",)]


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
    database: Database, ledger: Ledger, variables: dict[str, str], tmp_path: Path
) -> None:
    """What runs meanwhile is recorded when the database is back, and not run again; then the work goes on."""
    with monitoring.running_worker(tmp_path, **variables) as worker:
        job = await ledger.enqueue(arguments={"seconds": 0.5})
        await ledger.running(job)
        await ledger.connection.execute("alter role cardbase_worker connection limit 0")
        try:
            await ledger.connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where usename = 'cardbase_worker'"
            )
            await asyncio.to_thread(wait_until, lambda: "waits for the database" in worker.output.read_text(), SECONDS)
            await ledger.until("select expires_at < clock_timestamp() from app.workers")  # it is taken to be dead
        finally:
            await ledger.connection.execute("alter role cardbase_worker connection limit -1")
        [first] = await ledger.ended(job)
        assert (first["status"], first["attempts"]) == ("completed", 1)
        [second] = await ledger.ended(await ledger.enqueue())
        assert (second["status"], second["attempts"]) == ("completed", 1)


# --- a worker within the test -------------------------------------------------------------------------------------


@asynccontextmanager
async def working(database: Database, kinds: Mapping[str, JobKind], settings: Settings) -> AsyncIterator[JobQueue]:
    """A worker on the test's own loop."""
    link = JobConnection(database.url("cardbase_worker"))
    await link.open()
    queue = JobQueue(link, kinds, settings, uuid4(), WorkerMetrics(kinds))
    running = asyncio.create_task(queue.run())
    try:
        yield queue
    finally:
        queue.stop()
        await running
        await link.close()


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


async def test_schedules_run_at_their_time_by_one_worker(database: Database) -> None:
    runs: dict[str, list[float]] = {"cron": [], "every": []}
    has_run_twice = asyncio.Event()

    def schedules() -> list[Schedule]:
        async def run(name: str) -> None:
            runs[name].append(asyncio.get_running_loop().time())
            if min(map(len, runs.values())) == 2:
                has_run_twice.set()

        return [Schedule("cron", "* * * * * *", lambda: run("cron")), Schedule("every", 1.0, lambda: run("every"))]

    async with working(database, JOB_KINDS, Settings()) as one, working(database, JOB_KINDS, Settings()) as two:
        tasks = [asyncio.create_task(queue.run_schedules(schedules())) for queue in (one, two)]
        await asyncio.wait_for(has_run_twice.wait(), SECONDS)
        one.stop()
        two.stop()
        await asyncio.gather(*tasks)
    for times in runs.values():
        assert min(later - earlier for earlier, later in pairwise(times)) > 0.5


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
        lambda: asyncio.sleep(0, {"text": "x" * 65536}),
        "failed",
        "Its result has 65547 bytes: more than 65536.",
    ),
    "a result that is no JSON": (
        lambda: asyncio.sleep(0, {"text": object()}),
        "failed",
        "Its result can't be written as JSON.",
    ),
}


def attempt(number: int = 1, arguments: str = "{}") -> Job:
    """An attempt of three at a job."""
    return Job(1, TENANT, None, UUID(int=2), "test", arguments, number, 3)


async def outcome_of(job: Job, run: Callable[[], Awaitable[Any]]) -> Outcome:
    """What comes of an attempt at a job."""

    async def work(_: JobContext, __: TestArguments) -> Any:
        return await run()

    settings = Settings(job_time_limit_seconds=0.05, job_retry_seconds=8)
    context = JobContext(job.tenant_id, None, job.id, job.attempt, settings, JobConnection(""), uuid4())
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
    # A job whose worker dies each time ends, too.
    fourth = await outcome_of(attempt(4), fail)
    assert (fourth.status, fourth.error) == ("failed", "Its worker was lost during the last attempt.")


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
        "queue": "high",
        "run_after": "2999-01-01T00:00:00Z",
        "maximum_attempts": 2,
    }
    second = enqueued(user.post(JOBS, json=body))
    third = enqueued(user.post(f"{JOBS}/test", json={"message": "hi", "seconds": 0.5, "fail": True}))
    assert [job["id"] for job in user.get(JOBS).json()["data"]] == [third, second, first]
    assert user.get(JOBS, params={"limit": 2}).json()["data"][1] == {
        **SHOWN,
        "id": second,
        "queue": "high",
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
    "a test too long": ("/test", {"seconds": 4000}, "seconds"),
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

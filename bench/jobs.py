"""Background jobs: throughput of one worker process, start of a job, fairness, and size of the tables after hours.

Celery on Redis runs the same for comparison, as far as it can: it knows no tenants.
"""

import asyncio
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
import psutil

from bench import BenchError, processes, report, results
from bench.compare import Say
from bench.peers import CARDBASE
from bench.processes import REPOSITORY
from bench.results import Machine
from bench.store import Store
from bench.targets import Target
from gateway.operate.deploy import deploy

TENANTS: Final = [UUID(int=number) for number in range(1, 21)]
"""The jobs of a run are theirs in turn."""
BATCH: Final = 100
"""Jobs enqueued by one transaction, which are a tenant's."""
DEADLINE_SECONDS: Final = 120.0
POOLS: Final = {
    "prefork-1": ("--pool", "prefork", "--concurrency", "1"),
    "prefork-2": ("--pool", "prefork", "--concurrency", "2"),
    "threads-10": ("--pool", "threads", "--concurrency", "10"),
    "gevent-100": ("--pool", "gevent", "--concurrency", "100"),
}
"""Celery's worker as its manual suggests it for such jobs, by the kind of its pool and its concurrency."""
QUIET: Final = ("--loglevel", "ERROR", "--without-gossip", "--without-mingle", "--without-heartbeat")

JOBS_PER_SECOND: Final = 1000.0
OF_CELERY: Final = 3.0
START_MS: Final = 15.0
NEXT_TO_FLOOD_MS: Final = 200.0
PROBES: Final = 20
HOURS: Final = 3
JOBS_PER_HOUR: Final = 360_000
"""A hundred a second."""
PURGED_PER_CALL: Final = 10_000
THIRD_OF_SECOND: Final = 1.1
TABLES: Final = ("app.jobs", "app.pending_jobs", "app.events")
EMPTY: Final = "truncate app.jobs, app.pending_jobs, app.events"

ENQUEUE: Final = "select count(api.enqueue_job($1, null, 'test', maximum_attempts => 1)) from generate_series(1, $2)"
ENDED: Final = "select count(*) as ended from app.jobs where completed_at is not null"
TIMES: Final = """
select
    extract(epoch from min(started_at))::float8 as first_started,
    extract(epoch from max(completed_at))::float8 as last_completed,
    count(*) filter (where status = 'completed') as completed
from app.jobs
"""
# An hour of jobs and of their events, a hundred jobs each second, all of which ended a number of hours ago.
HOUR: Final = """
with made as (
    select
        app.uuid_v7() as id,
        now() - make_interval(hours => $2) - number * interval '1 hour' / $3 as completed_at
    from generate_series(1, $3) as number
),
jobs as (
    insert into app.jobs (
        tenant_id, id, kind, queue, arguments, status, result, attempts, maximum_attempts, created_at, started_at,
        completed_at
    )
    select
        $1, id, 'test', 'default', '{}', 'completed', '{"message": "done"}', 1, 5, completed_at, completed_at,
        completed_at
    from made
)
insert into app.events (tenant_id, event_type, resource_id, data, created_at)
select $1, 'job.' || state, id, '{"kind": "test"}', completed_at
from made
cross join unnest(array['created', 'completed']) as state
"""
# A minute's jobs, on their way through the table of those that are pending.
MINUTE: Final = """
insert into app.pending_jobs (tenant_id, id, priority, kind, run_at, is_ready)
select '{tenant_id}', app.uuid_v7(), 0, 'test', now(), true
from generate_series(1, {jobs})
"""
# Pending jobs of one tenant, more of them than it could enqueue by itself.
FLOOD: Final = """
with made as (
    insert into app.jobs (tenant_id, kind, queue, arguments, maximum_attempts)
    select $1, 'test', 'default', $2, 1
    from generate_series(1, $3)
    returning tenant_id, id, kind, created_at
)
insert into app.pending_jobs (tenant_id, id, priority, kind, run_at, is_ready)
select tenant_id, id, 0, kind, created_at, true
from made
order by tenant_id, id
"""
FLOODS: Final = {"that do nothing": "{}", "of one second each": '{"seconds": 1}'}
STARTS: Final = """
select extract(epoch from started_at - created_at)::float8 * 1000 as ms
from app.jobs
where tenant_id = $1 and started_at is not null
order by id
"""
STATE: Final = """
select relname as table, n_live_tup as rows, pg_table_size(relid) as bytes, pg_indexes_size(relid) as index_bytes
from pg_stat_user_tables
where relid = any($1::regclass[])
order by relname
"""
PURGE: Final = """
select coalesce(max(row_count), 0)::integer as purged
from app.run_maintenance(
    maximum_rows => $1::integer, job_retention_hours => $2::integer, event_retention_minutes => $3::integer
)
where action = 'removed'
"""


class Run(msgspec.Struct, frozen=True):
    """A number of jobs, run by one worker process."""

    name: str
    jobs: int
    seconds: float
    """From the first job enqueued to the last one completed, with a worker that is idle at first."""
    drained_seconds: float
    """The same number, all pending before the worker starts: from the first one started to the last one completed."""
    megabytes: float
    """Resident memory of the worker's largest process."""
    worker_cpu_us: float
    """Processor time of the worker's processes for each job, of which none is pending at first."""
    server_cpu_us: float
    """That of PostgreSQL's or Redis's processes: for enqueuing the job, handing it out, and recording its end."""


class Flood(msgspec.Struct, frozen=True):
    """Jobs of one tenant, while many of another's are pending and run."""

    jobs: int
    kind: str
    start_ms: list[float]
    """From the start of the transaction that enqueues a job to the start of the job, sorted."""
    left: int
    """Of the other tenant's jobs, how many were still pending at the end."""


class Hour(msgspec.Struct, frozen=True):
    """A table after another hour of traffic, with old rows removed and vacuumed."""

    hour: int
    table: str
    rows: int
    bytes: int
    index_bytes: int


class Jobs(msgspec.Struct, frozen=True):
    """The whole run."""

    machine: Machine
    pools: list[Run]
    """Celery's pools, one run each: the fastest is used for the comparison."""
    medians: list[Run]
    rounds: list[Run]
    start_ms: list[float]
    """From the start of the transaction that enqueues a job to the start of the job, while the worker is idle."""
    floods: list[Flood]
    churned_bytes: int
    """Of the table of pending jobs and its indexes, after all these jobs."""
    hours: list[Hour]


@dataclass(frozen=True)
class Plan:
    """How much to measure."""

    jobs: int
    rounds: int
    pools: Sequence[str]
    starts: int
    flood: int
    jobs_per_hour: int


def run(database: Store, plan: Plan, folder: Path, say: Say) -> Jobs:
    """Measures on an empty database. Raises BenchError when a job fails, or Redis is missing."""
    asyncio.run(deploy(database.url()))
    with _redis(folder / "redis") as redis:
        pools = {}
        for name in plan.pools:
            pools[name] = _celery(redis, folder, name, plan.jobs // 5)
            say(_line(pools[name]))
        best = min(pools, key=lambda name: max(pools[name].seconds, pools[name].drained_seconds))
        rounds = []
        for number in range(plan.rounds):
            for is_ours in (number % 2 == 0, number % 2 == 1):
                rounds.append(
                    _cardbase(database, folder, plan.jobs) if is_ours else _celery(redis, folder, best, plan.jobs)
                )
                say(f"round {number + 1}/{plan.rounds}  {_line(rounds[-1])}")
    start_ms = _starts(database, folder, plan.starts)
    say(f"a job starts after {median(start_ms):.1f} ms")
    floods = []
    for kind in FLOODS:
        floods.append(_flood(database, folder, plan.flood, kind))
        say(
            f"next to {plan.flood:,} jobs {kind} another tenant's starts after {floods[-1].start_ms[-1]:.0f} ms at most"
        )
    database.execute("vacuum app.pending_jobs")
    churned_bytes = database.fetch("select pg_total_relation_size('app.pending_jobs') as bytes")[0]["bytes"]
    hours = _hours(database, plan.jobs_per_hour, say)
    names = dict.fromkeys(one.name for one in rounds)
    return Jobs(
        machine=results.describe_machine(folder),
        pools=list(pools.values()),
        medians=[_median([one for one in rounds if one.name == name]) for name in names],
        rounds=rounds,
        start_ms=start_ms,
        floods=floods,
        churned_bytes=churned_bytes,
        hours=hours,
    )


def _line(one: Run) -> str:
    return (
        f"{one.name:28}  {one.jobs / one.seconds:7,.0f} jobs/s from enqueue to completed,"
        f" {one.jobs / one.drained_seconds:7,.0f} jobs/s from a backlog"
    )


def _median(rounds: Sequence[Run]) -> Run:
    return Run(
        rounds[0].name,
        rounds[0].jobs,
        median(one.seconds for one in rounds),
        median(one.drained_seconds for one in rounds),
        max(one.megabytes for one in rounds),
        median(one.worker_cpu_us for one in rounds),
        median(one.server_cpu_us for one in rounds),
    )


def _until(done: Callable[[], bool], what: str) -> None:
    """Waits for a condition. Raises BenchError when it doesn't come true in time."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not done():
        if time.monotonic() > deadline:
            raise BenchError(f"waited {DEADLINE_SECONDS:.0f} s in vain for {what}")
        # Times are looked up afterwards: watching costs both sides something.
        time.sleep(0.2)


# --- cardbase -----------------------------------------------------------------------------------------------


@contextmanager
def _worker(database: Store, folder: Path) -> Iterator[psutil.Popen]:
    """`cardbase worker` with its default settings."""
    port = processes.free_port()
    variables = {"WORKER_DATABASE_URL": database.url("cardbase_worker"), "WORKER_METRICS_PORT": str(port)}
    with processes.running((*CARDBASE, "worker"), folder=folder / "worker", variables=variables) as process:
        yield process


def _ready(process: psutil.Popen, database: Store) -> None:
    def is_ready() -> bool:
        if process.poll() is not None:
            raise BenchError(f"the worker ended with status {process.returncode}")
        return bool(database.fetch("select from app.workers where expires_at > now()"))

    _until(is_ready, "the worker")
    _enqueue(database, 1)
    _until(partial(_has_ended, database, 1), "the first job")


def _enqueue(database: Store, jobs: int) -> float:
    """Enqueues jobs over one connection. Returns when that started."""

    async def enqueue() -> float:
        connection = await asyncpg.connect(database.url("cardbase_service"))
        try:
            started = time.time()
            for done in range(0, jobs, BATCH):
                await connection.execute(ENQUEUE, TENANTS[done // BATCH % len(TENANTS)], min(BATCH, jobs - done))
            return started
        finally:
            await connection.close()

    return asyncio.run(enqueue())


def _cardbase(database: Store, folder: Path, jobs: int) -> Run:
    """Enqueues by SQL, as a service does."""
    database.execute(EMPTY)
    with _worker(database, folder) as process:
        _ready(process, database)
        database.execute("delete from app.jobs")
        used = _cpu(process, database.postmaster)
        started = _enqueue(database, jobs)
        seconds = _last_completed(database, jobs) - started
        worker_cpu, server_cpu = (
            after - before for after, before in zip(_cpu(process, database.postmaster), used, strict=True)
        )
    database.execute(EMPTY)
    _enqueue(database, jobs)
    with _worker(database, folder) as process:
        last = _last_completed(database, jobs)
        megabytes = processes.resident_megabytes(process)
    drained = last - database.fetch(TIMES)[0]["first_started"]
    return Run("cardbase", jobs, seconds, drained, megabytes, worker_cpu / jobs * 1e6, server_cpu / jobs * 1e6)


def _cpu(*roots: psutil.Process) -> list[float]:
    return [processes.cpu_seconds(root) for root in roots]


def _has_ended(database: Store, jobs: int) -> bool:
    return bool(database.fetch(ENDED)[0]["ended"] >= jobs)


def _last_completed(database: Store, jobs: int) -> float:
    _until(partial(_has_ended, database, jobs), f"{jobs} jobs")
    times = database.fetch(TIMES)[0]
    if times["completed"] != jobs:
        raise BenchError(f"{times['completed']} of {jobs} jobs were completed")
    return float(times["last_completed"])


def _starts(database: Store, folder: Path, starts: int) -> list[float]:
    """Enqueues jobs one by one, for a worker that is idle."""
    database.execute(EMPTY)
    with _worker(database, folder) as process:
        _ready(process, database)
        return asyncio.run(_probe(database, TENANTS[1], starts))


def _flood(database: Store, folder: Path, jobs: int, kind: str) -> Flood:
    """Enqueues jobs of one tenant one by one, while those of another keep the worker busy."""
    flooding, other = TENANTS[:2]
    database.execute(EMPTY)
    database.fetch(FLOOD, flooding, FLOODS[kind], jobs)
    database.execute("vacuum (analyze) app.jobs", "vacuum (analyze) app.pending_jobs")
    with _worker(database, folder):
        _until(lambda: bool(database.fetch(STARTS, flooding)), "the flood")
        start_ms = asyncio.run(_probe(database, other, PROBES))
    left = database.fetch("select count(*) as jobs from app.pending_jobs where tenant_id = $1", flooding)[0]["jobs"]
    return Flood(jobs, kind, start_ms, left)


async def _probe(database: Store, tenant_id: UUID, jobs: int) -> list[float]:
    """Enqueues jobs one by one, with pauses. Returns how many ms after its transaction began each started, sorted.

    All on one connection, as from a pool. Its first is not counted: it takes longer, as functions are compiled.
    """
    chance = random.Random(4)
    enqueuing = await asyncpg.connect(database.url("cardbase_service"))
    watching = await asyncpg.connect(database.url())
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            for number in range(jobs + 1):
                await asyncio.sleep(chance.uniform(0.1, 0.3))
                await enqueuing.execute(ENQUEUE, tenant_id, 1)
                while len(await watching.fetch(STARTS, tenant_id)) <= number:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.05)
        return sorted(row["ms"] for row in (await watching.fetch(STARTS, tenant_id))[1:])
    except TimeoutError:
        raise BenchError(f"waited {DEADLINE_SECONDS:.0f} s in vain for the starts of {jobs} jobs") from None
    finally:
        await enqueuing.close()
        await watching.close()


def _hours(database: Store, jobs_per_hour: int, say: Say) -> list[Hour]:
    """Hours of traffic, one after the other; what is older than an hour is removed after each."""
    database.execute(EMPTY)
    found: list[Hour] = []
    for hour in range(1, HOURS + 1):
        ago = HOURS - hour
        database.fetch(HOUR, TENANTS[0], ago, jobs_per_hour)
        # Autovacuum looks for tables that have changed once a minute.
        minute = MINUTE.format(tenant_id=TENANTS[0], jobs=jobs_per_hour // 60)
        database.execute(*(minute, "delete from app.pending_jobs", "vacuum app.pending_jobs") * 60)
        # Not down to the last row: every second some more are an hour old.
        while (
            database.fetch(PURGE, PURGED_PER_CALL, ago + 1, (ago + 1) * 60, user="cardbase_worker")[0]["purged"]
            == PURGED_PER_CALL
        ):
            pass
        database.execute(*(f"vacuum (analyze) {table}" for table in TABLES))
        rows = database.fetch(STATE, list(TABLES))
        now = [Hour(hour, **dict(row)) for row in rows]
        say(f"hour {hour}: " + ", ".join(f"{one.table} {(one.bytes + one.index_bytes) / 1e6:,.0f} MB" for one in now))
        found += now
    return found


# --- Celery -------------------------------------------------------------------------------------------------


class Redis(NamedTuple):
    """A running server."""

    url: str
    process: psutil.Process


@contextmanager
def _redis(folder: Path) -> Iterator[Redis]:
    """The system's redis-server on a socket of its own. Raises BenchError when it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        raise BenchError("redis-server is missing: on Debian, apt-get install redis-server")
    import redis

    socket = folder / "redis.sock"
    options = ("--port", "0", "--unixsocket", str(socket), "--dir", str(folder))
    with processes.running((program, *options), folder=folder, variables={}) as process:
        client = redis.Redis(unix_socket_path=str(socket))

        def answers() -> bool:
            if process.poll() is not None:
                raise BenchError(f"redis-server ended:\n{processes.last_lines(folder)}")
            with suppress(redis.ConnectionError):
                return bool(client.ping())
            return False

        _until(answers, "redis-server")
        client.close()
        yield Redis(f"redis+socket://{socket}", process)


def _celery(redis: Redis, folder: Path, name: str, jobs: int) -> Run:
    """Enqueues over one connection, as a well-written program does."""
    command = (sys.executable, "-m", "bench.celery_run", str(jobs))
    worker = (sys.executable, "-m", "celery", "-A", "bench.celery_service", "worker", *POOLS[name], *QUIET)
    place = folder / "celery"
    variables = {"REDIS_URL": redis.url}

    def drive(step: str) -> dict[str, float]:
        done = subprocess.run(
            (*command, step), cwd=REPOSITORY, env=processes.environment(variables), capture_output=True, text=True,
            timeout=DEADLINE_SECONDS, check=False,
        )  # fmt: skip
        if done.returncode != 0:
            raise BenchError(f"Celery, {name}: {done.stderr.strip()[-1000:]}")
        found: dict[str, float] = msgspec.json.decode(done.stdout)
        return found

    with processes.running(worker, folder=place, variables=variables) as process:
        drive("ready")
        used = _cpu(process, redis.process)
        found = drive("meanwhile")
        seconds = found["last_completed"] - found["first_enqueued"]
        worker_cpu, server_cpu = (
            after - before for after, before in zip(_cpu(process, redis.process), used, strict=True)
        )
    drive("backlog")
    with processes.running(worker, folder=place, variables=variables) as process:
        found = drive("drained")
        megabytes = processes.resident_megabytes(process)
    drained = found["last_completed"] - found["first_completed"]
    return Run(f"Celery, {name}", jobs, seconds, drained, megabytes, worker_cpu / jobs * 1e6, server_cpu / jobs * 1e6)


# --- for people ---------------------------------------------------------------------------------------------


def targets(found: Jobs) -> list[Target]:
    """Throughput compared with Celery's best, the start of a job, and tables that don't grow."""
    rates = {
        one.name.partition(",")[0]: (one.jobs / one.seconds, one.jobs / one.drained_seconds) for one in found.medians
    }
    ours, theirs = rates["cardbase"], rates["Celery"]
    bytes_of = {(one.table, one.hour): one.bytes + one.index_bytes for one in found.hours}
    return [
        Target("jobs/s from enqueue to completed", ours[0], "≥", JOBS_PER_SECOND),
        Target("jobs/s from enqueue to completed against Celery's", ours[0] / theirs[0], "≥", OF_CELERY),
        Target("jobs/s from a backlog", ours[1], "≥", JOBS_PER_SECOND),
        Target("jobs/s from a backlog against Celery's", ours[1] / theirs[1], "≥", OF_CELERY),
        Target("start of a job while the worker is idle: median, ms", median(found.start_ms), "≤", START_MS),
        *(
            Target(f"start of another tenant's job next to {one.jobs:,} {one.kind}: slowest, ms", one.start_ms[-1],
                   "≤", NEXT_TO_FLOOD_MS)
            for one in found.floods
        ),
        *(
            Target(f"{table} with its indexes: size after the third hour against the second",
                   bytes_of[table, 3] / bytes_of[table, 2], "≤", THIRD_OF_SECOND)
            for table in dict.fromkeys(one.table for one in found.hours)
        ),
    ]  # fmt: skip


def text(found: Jobs) -> str:
    """All of it, as Markdown."""
    start = found.start_ms
    per_hour = max(one.rows for one in found.hours)
    starts = (
        f"A job of an idle worker starts {median(start):.1f} ms after the transaction that enqueued it began (the "
        f"median of {len(start)}; the slowest after {start[-1]:.0f} ms). "
        + " ".join(
            f"While {one.jobs:,} jobs {one.kind} of one tenant were pending, another tenant's started after "
            f"{median(one.start_ms):.0f} ms (the median of {len(one.start_ms)}; the slowest after "
            f"{one.start_ms[-1]:.0f} ms); at the end {one.left:,} of the others were still pending."
            for one in found.floods
        )
        + f" After all these jobs the table of pending jobs took {found.churned_bytes / 1e6:.1f} MB with its indexes."
    )
    what = f"{found.medians[0].jobs:,} jobs that do nothing, of {len(TENANTS)} tenants in turn"
    return "\n\n".join((
        report.machine(found.machine),
        f"{what}, through one worker process, the median of the rounds:",
        _speed(found.medians),
        f"Celery's pools, {found.pools[0].jobs:,} jobs each, of which the fastest was taken:",
        _speed(found.pools),
        report.targets(targets(found)),
        starts,
        f"Tables after each hour of {per_hour:,} rows or so, what is older than an hour removed:",
        report.table(
            ("table", "hour", "rows", "MB", "MB of its indexes"),
            [
                (one.table, str(one.hour), f"{one.rows:,}", f"{one.bytes / 1e6:,.1f}", f"{one.index_bytes / 1e6:,.1f}")
                for one in found.hours
            ],
        ),
    ))  # fmt: skip


def _speed(runs: Sequence[Run]) -> str:
    rows = [
        (
            one.name, f"{one.jobs / one.seconds:,.0f}", f"{one.jobs / one.drained_seconds:,.0f}",
            f"{one.worker_cpu_us:,.0f}", f"{one.server_cpu_us:,.0f}", f"{one.megabytes:.0f}",
        )
        for one in runs
    ]  # fmt: skip
    columns = (
        "worker", "jobs/s from enqueue to completed", "jobs/s from a backlog", "worker's CPU, µs a job",
        "server's CPU, µs a job", "resident MB",
    )  # fmt: skip
    return report.table(columns, rows)

"""Background jobs as the functions that do the work see them, and how one job is carried out.

A kind of job is a name, the shape of its arguments and an async function. The function is called at least once for each
job: again after a failure, and again when the worker died meanwhile. So it has to bear being called twice for one job;
what must happen once is written by `JobContext.completing`.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias
from uuid import UUID

import asyncpg
import msgspec

from gateway.database.unstorable import unstorable
from gateway.settings import Settings

logger = logging.getLogger(__name__)

MAXIMUM_ERROR: Final = 1000
"""Characters of a job's error."""
MAXIMUM_RESULT: Final = 65_536
"""Bytes of a job's result as JSON."""
MAXIMUM_RETRY_SECONDS: Final = 3600.0
"""The longest pause before another attempt that nobody asked for."""
MAXIMUM_PAUSE: Final = 86_400.0
"""The longest that anybody may ask for."""

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


class JobError(Exception):
    """An attempt failed; another one may do better. The message is a sentence for the job's owner."""


class PermanentError(JobError):
    """The job failed, and another attempt would, too."""


class RetryLater(JobError):
    """An attempt failed, and the next one is to be made after so many seconds."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Superseded(JobError):
    """The job is another worker's by now, was cancelled or is done: what this attempt did does not count."""

    def __init__(self) -> None:
        super().__init__("Another attempt took its place.")


class Job(msgspec.Struct, frozen=True):
    """A row of app.begin_jobs: a job whose next attempt is this worker's."""

    queue_id: int
    tenant_id: UUID
    user_id: UUID | None
    id: UUID
    kind: str
    arguments: str
    attempt: int
    maximum_attempts: int


class Database(Protocol):
    """What jobs reach the database by."""

    async def fetch_now(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows that a statement answers."""

    def acquire(self) -> AbstractAsyncContextManager[Connection]:
        """A connection for a while."""


@dataclass
class JobContext:
    """The job that a function is called for.

    user_id   whose job it is; None: the tenant's own
    job_id    the same in each attempt: a key by which others can tell a repetition
    attempt   counts from 1
    """

    tenant_id: UUID
    user_id: UUID | None
    job_id: UUID
    attempt: int
    settings: Settings
    _database: Database
    _worker_id: UUID
    is_completed: bool = field(default=False, init=False)
    """Whether `completing` has recorded the job as completed."""

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """The rows that a statement answers, run by itself as cardbase_worker."""
        return await self._database.fetch_now(sql, *arguments)

    @asynccontextmanager
    async def completing(self, result: dict[str, Any] | None = None) -> AsyncIterator[Connection]:
        """Records the job as completed in one transaction with all that is written by the connection it gives.

        So that happens once, however often the job is attempted. Raises Superseded where it is no longer this
        attempt's to complete; whatever is raised inside takes everything back.
        """
        outcome = Outcome(self.tenant_id, self.job_id, self.attempt, "completed", _encoded(result))
        async with self._database.acquire() as connection, connection.transaction():
            if not await connection.fetch(FINISH, self._worker_id, encode([outcome])):
                raise Superseded
            yield connection
        self.is_completed = True


Run = Callable[[JobContext, Any], Awaitable[dict[str, Any] | None]]


class JobKind(NamedTuple):
    """A kind of job."""

    arguments: type[msgspec.Struct]
    run: Run
    """Answers the job's result. Raises JobError where the owner may know why it failed."""


class Outcome(msgspec.Struct, frozen=True):
    """How an attempt ended, as app.finish_jobs takes it.

    retried    there will be another attempt, after so many seconds
    returned   the attempt did not come to its end and does not count
    """

    tenant_id: UUID
    id: UUID
    attempt: int
    status: Literal["completed", "failed", "retried", "returned"]
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None
    seconds: float = 0.0


FINISH: Final = "select id from app.finish_jobs($1, $2)"


def returned(job: Job) -> Outcome:
    """The outcome of an attempt that did not come to its end."""
    return Outcome(job.tenant_id, job.id, job.attempt, "returned")


def encode(outcomes: Sequence[Outcome]) -> str:
    """Outcomes as FINISH takes them."""
    return msgspec.json.encode(outcomes).decode()


async def carry_out(job: Job, kind: JobKind, context: JobContext) -> Outcome:
    """Makes one attempt at a job, whatever comes of it. Of exceptions only cancellation gets out."""
    try:
        result = _encoded(await _attempt(job, kind, context))
    except JobError as error:
        return _failure(job, error, context.settings.job_retry_seconds)
    return Outcome(job.tenant_id, job.id, job.attempt, "completed", result)


async def _attempt(job: Job, kind: JobKind, context: JobContext) -> dict[str, Any] | None:
    """The result of a job's function. Raises JobError, whatever is wrong."""
    if job.attempt > job.maximum_attempts:
        raise PermanentError("Its worker was lost during the last attempt.")
    try:
        arguments = msgspec.json.decode(job.arguments, type=kind.arguments)
    except msgspec.ValidationError as error:
        raise PermanentError(f"The arguments are not valid: {error}.") from None
    limit = asyncio.timeout(context.settings.job_time_limit_seconds)
    try:
        async with limit:
            return await kind.run(context, arguments)
    except JobError:
        raise
    except Exception as error:
        if limit.expired() and isinstance(error, TimeoutError):
            seconds = context.settings.job_time_limit_seconds
            raise JobError(f"It took longer than {seconds:g} seconds.") from None
        logger.exception("a job failed", extra={"kind": job.kind, "job_id": str(job.id), "attempt": job.attempt})
        raise JobError(f"It failed unexpectedly: {type(error).__name__}.") from error


def _failure(job: Job, error: JobError, first: float) -> Outcome:
    """The outcome of an attempt that failed. first: seconds after the first attempt."""
    text = str(error).replace("\0", "").encode(errors="replace").decode()[:MAXIMUM_ERROR]
    if isinstance(error, PermanentError) or job.attempt >= job.maximum_attempts:
        return Outcome(job.tenant_id, job.id, job.attempt, "failed", error=text)
    seconds = min(error.seconds, MAXIMUM_PAUSE) if isinstance(error, RetryLater) else _backoff(job.attempt, first)
    return Outcome(job.tenant_id, job.id, job.attempt, "retried", error=text, seconds=seconds)


def _backoff(attempt: int, first: float) -> float:
    """Seconds until the next attempt: twice as many each time, and some by chance, for those that failed together."""
    seconds = min(first * 2.0 ** min(attempt - 1, 60), MAXIMUM_RETRY_SECONDS)
    return seconds * random.uniform(0.5, 1)


def _encoded(result: dict[str, Any] | None) -> msgspec.Raw:
    """A result as JSON. Raises PermanentError where it can't be kept."""
    try:
        text = msgspec.json.encode(result)
    except (TypeError, ValueError, RecursionError):
        raise PermanentError("Its result can't be written as JSON.") from None
    if len(text) > MAXIMUM_RESULT:
        raise PermanentError(f"Its result has {len(text)} bytes: more than {MAXIMUM_RESULT}.")
    if unstorable(text) is not None:
        raise PermanentError("Its result has a value that can't be stored.")
    return msgspec.Raw(text)

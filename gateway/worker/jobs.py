"""Background jobs as the functions that do the work see them, and how one attempt at a job is made.

A kind of job is a name, the shape of its arguments and an async function. The function is called at least once for each
job: again after a failure, and again when the worker died meanwhile. So it must tolerate being called twice for one
job; what must happen only once is written by `JobContext.completing`.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple, TypeAlias
from uuid import UUID

import asyncpg
import msgspec

from gateway.database.unstorable import unstorable
from gateway.settings import Settings

logger = logging.getLogger(__name__)

MAXIMUM_ERROR: Final = 1000
"""Characters of a job's error."""
MAXIMUM_RESULT: Final = 1_048_576
"""Bytes of a job's result as JSON."""
MAXIMUM_RETRY_SECONDS: Final = 3600.0
"""The longest delay before another attempt, unless RetryLater asks for a longer one."""
MAXIMUM_PAUSE: Final = 86_400.0
"""The longest delay that RetryLater may ask for."""
FINISH: Final = "select id from app.finish_jobs($1, $2)"

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"
Acquire: TypeAlias = Callable[[], AbstractAsyncContextManager[Connection]]
"""Returns a connection of the pool, for use in `async with`."""


class JobError(Exception):
    """An attempt failed; another one may succeed. The message is a sentence for the job's owner."""


class PermanentError(JobError):
    """The job failed, and another attempt would fail, too."""


class RetryLater(JobError):
    """An attempt failed, and the next one is due after a number of seconds; 0: now."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class Superseded(JobError):
    """The job was cancelled, has ended, or is another worker's by now: what this attempt did does not count."""

    def __init__(self) -> None:
        super().__init__("Another attempt took its place.")


class Job(NamedTuple):
    """A row of app.take_jobs: a job whose next attempt is this worker's."""

    tenant_id: UUID
    user_id: UUID | None
    id: UUID
    kind: str
    arguments: str
    attempt: int
    maximum_attempts: int


@dataclass
class JobContext:
    """The job that a function is called for.

    user_id   whose job it is; None: the tenant's own
    job_id    the same in each attempt: a key by which other services recognise a repetition
    attempt   counts from 1
    """

    tenant_id: UUID
    user_id: UUID | None
    job_id: UUID
    attempt: int
    settings: Settings
    _acquire: Acquire
    _worker_id: UUID
    is_completed: bool = field(default=False, init=False)
    """Whether `completing` has recorded the job as completed."""

    async def fetch(self, sql: str, *arguments: Any) -> list[asyncpg.Record]:
        """Runs one statement as cardbase_worker and returns its rows. Raises DATABASE_ERRORS."""
        async with self._acquire() as connection:
            return await connection.fetch(sql, *arguments)

    @asynccontextmanager
    async def completing(self, result: dict[str, Any] | None = None) -> AsyncIterator[Connection]:
        """Records the job as completed, in one transaction with everything that is written on the connection it yields.

        So that happens once, however often the job is attempted. Raises Superseded if the job is no longer this
        attempt's to complete; an exception inside rolls everything back.
        """
        outcome = Outcome(self.tenant_id, self.job_id, self.attempt, "completed", _encoded(result))
        async with self._acquire() as connection, connection.transaction():
            if not await connection.fetch(FINISH, self._worker_id, encode([outcome])):
                raise Superseded
            yield connection
        self.is_completed = True


Run = Callable[[JobContext, Any], Awaitable[dict[str, Any] | None]]


class JobKind(NamedTuple):
    """A kind of job."""

    arguments: type[msgspec.Struct]
    run: Run
    """Returns the job's result. Raises JobError if the owner may know why it failed."""


class Outcome(msgspec.Struct, frozen=True):
    """How an attempt ended, as app.finish_jobs takes it. retried: there will be another attempt, after `seconds`."""

    tenant_id: UUID
    id: UUID
    attempt: int
    status: Literal["completed", "failed", "retried"]
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: str | None = None
    seconds: float = 0.0


def encode(outcomes: Iterable[Outcome]) -> str:
    """Outcomes as FINISH takes them."""
    return msgspec.json.encode(list(outcomes)).decode()


async def carry_out(job: Job, kind: JobKind, context: JobContext) -> Outcome:
    """Makes one attempt at a job and returns how it ended. Raises nothing but CancelledError, when it is cancelled."""
    try:
        result = _encoded(await _attempt(job, kind, context))
    except JobError as error:
        return _failure(job, error, context.settings.job_retry_seconds)
    return Outcome(job.tenant_id, job.id, job.attempt, "completed", result)


async def _attempt(job: Job, kind: JobKind, context: JobContext) -> dict[str, Any] | None:
    """Returns the result of a job's function. Raises JobError, whatever is wrong."""
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
    except (Exception, SystemExit, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and _is_cancelled():
            raise
        if limit.expired() and isinstance(error, TimeoutError):
            seconds = context.settings.job_time_limit_seconds
            raise JobError(f"It took longer than {seconds:g} seconds.") from None
        logger.exception("a job failed", extra={"kind": job.kind, "job_id": str(job.id), "attempt": job.attempt})
        raise JobError(f"It failed unexpectedly: {type(error).__name__}.") from error


def _is_cancelled() -> bool:
    """Whether the worker has cancelled the current attempt; its function may also raise CancelledError by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _failure(job: Job, error: JobError, first: float) -> Outcome:
    """The outcome of an attempt that failed. first: the delay after the first attempt, in seconds."""
    text = str(error).replace("\0", "").encode(errors="replace").decode()[:MAXIMUM_ERROR]
    if isinstance(error, PermanentError) or job.attempt >= job.maximum_attempts:
        return Outcome(job.tenant_id, job.id, job.attempt, "failed", error=text)
    seconds = min(error.seconds, MAXIMUM_PAUSE) if isinstance(error, RetryLater) else _backoff(job.attempt, first)
    return Outcome(job.tenant_id, job.id, job.attempt, "retried", error=text, seconds=seconds)


def _backoff(attempt: int, first: float) -> float:
    """Seconds until the next attempt: doubled each time, with jitter for those that failed together."""
    seconds = min(first * 2.0 ** min(attempt - 1, 60), MAXIMUM_RETRY_SECONDS)
    return seconds * random.uniform(0.5, 1)


def _encoded(result: dict[str, Any] | None) -> msgspec.Raw:
    """A result as JSON. Raises PermanentError if it can't be stored."""
    try:
        text = msgspec.json.encode(result)
    except (TypeError, ValueError, RecursionError):
        raise PermanentError("Its result can't be written as JSON.") from None
    if len(text) > MAXIMUM_RESULT:
        raise PermanentError(f"Its result has {len(text)} bytes: more than {MAXIMUM_RESULT}.")
    if unstorable(text) is not None:
        raise PermanentError("Its result has a value that can't be stored.")
    return msgspec.Raw(text)

"""The way to the database: one statement with one round trip per call, and a fair turn for every tenant.

A call takes one of the process's connections, or waits its turn: tenants take turns, each with a bounded number of
connections and of waiting calls. Short calls of one kind that would wait share a statement instead: one round trip
and one commit for all of them. They are answered exactly as if each had run alone: when one of them fails, or takes
its time, all are rolled back and run one by one.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

import asyncpg

from gateway.database.fair_queue import Places, Turns, give_up, too_many
from gateway.errors import Refusal
from gateway.settings import Settings

RETRIED: Final = (asyncpg.SerializationError, asyncpg.DeadlockDetectedError)
"""The statement was rolled back whole, so it may simply run again."""
MAXIMUM_RETRIES: Final = 3
RELEASE_TIMEOUT_SECONDS: Final = 2.0

SHARED_TIMEOUT_SECONDS: Final = 0.25
"""A shared statement that waits longer for a lock, or only reads and takes longer, holds a slow call: each runs on its
own then."""
ALONE_SECONDS: Final = 10.0
"""For how long the tenants of such a statement run on their own."""
MAXIMUM_ALONE: Final = 10_000
"""Tenants remembered as slow; more are forgotten all at once."""

FUNCTION_COMMENTS: Final = """
select function.proname, coalesce(obj_description(function.oid, 'pg_proc'), '') as comment
from pg_catalog.pg_proc as function
inner join pg_catalog.pg_namespace as namespace on namespace.oid = function.pronamespace
where namespace.nspname = 'api'
"""


T = TypeVar("T")


class Reply(NamedTuple):
    """The answer of a product function, api.reply. headers, body and measures are JSON as the database wrote it.

    snapshot: which transactions it sees the effects of, where the statement asked for that.
    """

    status: int
    headers: bytes | None
    body: bytes | None
    measures: bytes | None
    snapshot: str | None = None


class _Call(NamedTuple):
    """A call that waits for a shared statement.

    timer   gives it up; stopped once it is taken, as from then on it may have its effect
    """

    arguments: Sequence[Any]
    future: "asyncio.Future[Any]"
    since: float
    timer: asyncio.TimerHandle


class Sharing(NamedTuple):
    """How calls of one kind share statements; the calls that come while these are at work make up the next one.

    statements   at work at once: the more, the fewer calls each carries, and the more all of them cost
    calls        in one statement, at most
    """

    statements: int
    calls: int


LIGHT: Final = Sharing(statements=1, calls=64)
HEAVY: Final = Sharing(statements=2, calls=32)
"""For calls that cost the database more than the gateway."""


class Statement:
    """One kind of call. shared_sql: the same for many calls at once, where such calls may share a statement.

    shared_sql takes an array for each of sql's parameters, and answers each call's position (from 1) before its reply.
    A parameter that is an array itself (array_columns, from 0) travels as text: arrays of arrays have to be even.
    It must not wait for a lock longer than SHARED_TIMEOUT_SECONDS. is_read_only: it may run twice unnoticed.
    is_search: it takes its time, so that only a few may be at work at once.
    """

    def __init__(
        self,
        sql: str,
        shared_sql: str | None = None,
        array_columns: Sequence[int] = (),
        *,
        sharing: Sharing = LIGHT,
        is_read_only: bool = False,
        is_search: bool = False,
    ) -> None:
        self.sql = sql
        self.shared_sql = shared_sql
        self.array_columns = array_columns
        self.sharing = sharing
        self.is_read_only = is_read_only
        self.is_search = is_search
        self.shared_at_work = 0
        self.calls_at_work = 0
        self.waiting = Turns()

    def next_calls(self, answered: int) -> int:
        """How many calls the next shared statement takes, where the last one had so many.

        Not all that wait: while the database is at some, the gateway is to have others to answer and to read. So of
        all that are about, those just answered among them, which soon come again, each takes an equal part.
        """
        about = len(self.waiting) + self.calls_at_work + answered
        return min(-(-about // (self.sharing.statements + 1)), self.sharing.calls)


async def _leave_as_is(connection: Any) -> None:
    """Instead of the pool's reset query: calls leave no session state behind, and this saves a round trip."""


async def _pass_json_through(connection: Any) -> None:
    """Hands jsonb over as the bytes of its text, both ways; the binary format has a version byte in front."""
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        format="binary",
        encoder=lambda value: b"\x01" + value,
        decoder=lambda value: value[1:],
    )


class Database:
    """A pool of connections, opened as they are needed, so that the gateway starts and stays without a database.

    reads_only: its transactions are read-only, whatever a function says of itself.
    """

    def __init__(self, url: str, settings: Settings, *, reads_only: bool = False) -> None:
        self._url = url
        self._reads_only = reads_only
        self.maximum = settings.database_pool_max
        """Connections that may be open."""
        self._first = settings.database_pool_min
        self._keeps_statements = settings.database_prepared_statements
        self._acquire_timeout = settings.database_acquire_timeout_ms / 1000
        self._statement_timeout = settings.database_statement_timeout_ms / 1000
        self._tenant_waiting = settings.tenant_waiting
        self.connections = self._places(self.maximum, settings.tenant_connections)
        """Who is at work, and who waits."""
        self._searches = self._places(settings.search_connections, settings.search_connections)
        self._shares = settings.database_shared_statements
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None
        self._alone_until: dict[UUID | None, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self.retries = 0
        """Statements run again after a serialization failure or a deadlock."""

    def _places(self, maximum: int, of_a_tenant: int) -> Places:
        # However few there are, a quarter of them is left to the others.
        of_a_tenant = min(of_a_tenant, max(maximum * 3 // 4, 1))
        return Places(maximum, of_a_tenant, self._tenant_waiting, self._acquire_timeout)

    async def open(self) -> None:
        """Opens the pool and, where the database answers, its first connections."""
        self._loop = asyncio.get_running_loop()
        self._pool = await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self.maximum,
            max_inactive_connection_lifetime=0,
            max_queries=0x7FFFFFFF,
            timeout=self._acquire_timeout,
            init=_pass_json_through,
            reset=_leave_as_is,
            server_settings={
                "application_name": "cardbase",
                **({"default_transaction_read_only": "on"} if self._reads_only else {}),
            },
            # Without a name a statement's parts go out with no sync in between: a pooler keeps them on one server.
            statement_cache_size=100 if self._keeps_statements else 0,
        )
        first = [self._pool.acquire() for _ in range(self._first)]
        for connection in await asyncio.gather(*first, return_exceptions=True):
            if not isinstance(connection, BaseException):
                await self._pool.release(connection)

    async def close(self) -> None:
        """Closes the pool once its calls are done, and by force after the statement timeout."""
        if self._pool is None:
            return
        try:
            await asyncio.wait_for(self._pool.close(), self._statement_timeout)
        except TimeoutError:
            self._pool.terminate()

    @property
    def size(self) -> int:
        """Connections open."""
        return self._pool.get_size() if self._pool else 0

    @property
    def in_use(self) -> int:
        """Connections at work."""
        return self.connections.in_use

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return self._waiting + self.connections.waiting + self._searches.waiting

    @property
    def is_saturated(self) -> bool:
        """Whether a call would have to wait for a connection."""
        return self.in_use >= self.maximum

    async def call(self, statement: Statement, arguments: Sequence[Any], tenant_id: UUID | None) -> Reply:
        """Runs one call of a function that answers api.reply, in autocommit.

        Raises Refusal 503 DATABASE_BUSY when its turn does not come in time, 429 RATE_LIMITED when too many calls of
        the tenant wait already, 504 TIMEOUT when the statement runs too long, and asyncpg's errors otherwise.
        """
        if statement.shared_sql is None or self._shares == "never" or self._runs_alone(tenant_id):
            return await self._call_alone(statement, arguments, tenant_id)
        has_place = statement.shared_at_work < statement.sharing.statements
        if has_place and self._shares == "when_waiting":
            return await self._call_first(statement, arguments, tenant_id)
        if statement.waiting.count(tenant_id) + self.connections.count(tenant_id) >= self._tenant_waiting:
            raise too_many()
        future = self._loop.create_future()
        timer = self._loop.call_later(self._acquire_timeout, give_up, future)
        call = _Call(arguments, future, monotonic(), timer)
        statement.waiting.append(tenant_id, (tenant_id, call))
        if has_place:
            statement.shared_at_work += 1
            self._start(self._call_shared(statement))
        self._waiting += 1
        try:
            return Reply(*await future)
        except asyncio.CancelledError:
            statement.waiting.remove(tenant_id, (tenant_id, call))
            raise
        finally:
            self._waiting -= 1
            timer.cancel()

    async def fetch(
        self, sql: str, arguments: Sequence[Any], tenant_id: UUID | None, seconds: float | None = None
    ) -> list[asyncpg.Record]:
        """Runs one statement and answers its rows. Raises as `call` does.

        seconds: how long it may run; None: as the setting says.
        """
        limit = seconds or self._statement_timeout
        return await self._repeat(lambda connection: self._run(connection, sql, arguments, limit), tenant_id)

    async def transact(
        self,
        work: Callable[[Any], Awaitable[T]],
        tenant_id: UUID | None,
        seconds: float | None = None,
        *,
        read_only: bool = False,
    ) -> T:
        """Runs work, several statements on one connection, in a transaction: rolled back when it raises.

        It may run more than once, so it must do nothing outside the database. Raises as `call` does.
        """

        async def run(connection: Any) -> T:
            async with asyncio.timeout(seconds or self._statement_timeout):
                async with connection.transaction(readonly=read_only):
                    return await work(connection)

        return await self._repeat(run, tenant_id)

    async def _repeat(self, run: Callable[[Any], Awaitable[T]], tenant_id: UUID | None) -> T:
        """Runs one transaction on a connection: again after a serialization failure or a deadlock."""
        for attempt in range(MAXIMUM_RETRIES + 1):
            try:
                async with self._connection(tenant_id) as connection:
                    return await run(connection)
            except TimeoutError:
                raise Refusal(504) from None
            except RETRIED:
                if attempt == MAXIMUM_RETRIES:
                    raise
                self.retries += 1
                await asyncio.sleep(random.uniform(0.005, 0.025) * 2**attempt)
        raise AssertionError("unreachable")

    async def function_comments(self) -> dict[str, str]:
        """The catalog's comment of each function of schema api, by the function's name."""
        rows = await self.fetch(FUNCTION_COMMENTS, (), None)
        return {row["proname"]: row["comment"] for row in rows}

    async def _call_alone(self, statement: Statement, arguments: Sequence[Any], tenant_id: UUID | None) -> Reply:
        if statement.is_search:
            await self._searches.enter(tenant_id)
        try:
            rows = await self.fetch(statement.sql, arguments, tenant_id)
        finally:
            if statement.is_search:
                self._searches.leave(tenant_id)
        return Reply(*rows[0])

    async def _call_first(self, statement: Statement, arguments: Sequence[Any], tenant_id: UUID | None) -> Reply:
        """Runs a call that found a place free among the shared statements, and leaves the place to those who come.

        A slow call leaves it before it is done: what a tenant waits for must not keep the others waiting.
        """
        statement.shared_at_work += 1
        statement.calls_at_work += 1
        has_place = True

        def leave() -> None:
            nonlocal has_place
            if has_place:
                has_place = False
                statement.calls_at_work -= 1
                # Nothing is awaited between the look and the step.
                if statement.waiting:
                    self._start(self._call_shared(statement, answered=1))
                else:
                    statement.shared_at_work -= 1

        def leave_early() -> None:
            self._let_run_alone(tenant_id)
            leave()

        timer = self._loop.call_later(SHARED_TIMEOUT_SECONDS, leave_early)
        try:
            return await self._call_alone(statement, arguments, tenant_id)
        finally:
            timer.cancel()
            leave()

    def _let_run_alone(self, *tenant_ids: UUID | None) -> None:
        until = monotonic() + ALONE_SECONDS
        if len(self._alone_until) > MAXIMUM_ALONE:
            self._alone_until.clear()
        self._alone_until.update((tenant_id, until) for tenant_id in tenant_ids)

    def _runs_alone(self, tenant_id: UUID | None) -> bool:
        until = self._alone_until.get(tenant_id)
        if until is None:
            return False
        if until > monotonic():
            return True
        del self._alone_until[tenant_id]
        return False

    async def _call_shared(self, statement: Statement, answered: int = 0) -> None:
        """Runs what waits for a shared statement, many calls at a time, until nothing waits."""
        assert statement.shared_sql is not None
        seconds = SHARED_TIMEOUT_SECONDS if statement.is_read_only else self._statement_timeout
        while statement.waiting:
            calls: list[tuple[UUID | None, _Call]] = []
            try:
                async with self._connection(None) as connection:
                    has_turn = True
                    while has_turn:
                        # Taken only now: who has been told to come again must not have an effect later.
                        calls = _take_calls(statement, answered)
                        statement.calls_at_work += len(calls)
                        self.connections.report_wait(*(call.since for _, call in calls))
                        columns = _columns(calls, statement)
                        rows = await self._run(connection, statement.shared_sql, columns, seconds) if calls else []
                        for position, *reply in rows:
                            future = calls[position - 1][1].future
                            if not future.done():
                                future.set_result(reply)
                        answered = len(calls)
                        statement.calls_at_work -= answered
                        calls = []
                        # Kept for the next one, unless somebody waits for a connection.
                        has_turn = bool(statement.waiting) and not self.connections.waiting
            except Exception as error:
                statement.calls_at_work -= len(calls)
                self._settle_each(statement, calls, error)
        statement.shared_at_work -= 1

    def _settle_each(self, statement: Statement, calls: list[tuple[UUID | None, _Call]], error: Exception) -> None:
        """Settles the calls of a shared statement that failed; no calls: it had not begun, so all that wait.

        They run on their own, unless the statement may have been committed although it failed for us: a commit that
        takes its time can't be taken back, and a connection that is lost does not tell.
        """
        is_lost = not isinstance(error, asyncpg.PostgresError) or isinstance(error, asyncpg.PostgresConnectionError)
        may_run_again = not calls or statement.is_read_only or not is_lost
        if isinstance(error, TimeoutError | asyncpg.LockNotAvailableError):
            self._let_run_alone(*(tenant_id for tenant_id, _ in calls))
        for tenant_id, call in calls or _take_calls(statement, 0):
            if call.future.done():
                continue
            if may_run_again:
                self._start(self._settle(statement, tenant_id, call))
            else:
                call.future.set_exception(Refusal(504) if isinstance(error, TimeoutError) else error)

    async def _settle(self, statement: Statement, tenant_id: UUID | None, call: _Call) -> None:
        """Runs on its own a call whose shared statement failed. If it fails again, its tenant has spoiled that one."""
        try:
            reply = await self._call_alone(statement, call.arguments, tenant_id)
        except Exception as error:
            self._let_run_alone(tenant_id)
            if not call.future.done():
                call.future.set_exception(error)
        else:
            if not call.future.done():
                call.future.set_result(reply)

    async def _run(self, connection: Any, sql: str, arguments: Sequence[Any], seconds: float) -> list[asyncpg.Record]:
        rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments, timeout=seconds)
        return rows

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    @asynccontextmanager
    async def _connection(self, tenant_id: UUID | None) -> AsyncIterator[Any]:
        """A connection, in the tenant's turn."""
        if self._pool is None:
            raise Refusal(503)
        await self.connections.enter(tenant_id)
        try:
            try:
                connection = await self._pool.acquire()
            except TimeoutError:
                raise Refusal(503) from None
            except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
                raise Refusal(503) from error  # not let in: the operator's fault, and not the statement's
            try:
                yield connection
            finally:
                await self._pool.release(connection, timeout=RELEASE_TIMEOUT_SECONDS)
        finally:
            self.connections.leave(tenant_id)


def _take_calls(statement: Statement, answered: int) -> list[tuple[UUID | None, _Call]]:
    calls: list[tuple[UUID | None, _Call]] = []
    at_most = statement.next_calls(answered)
    while len(calls) < at_most and (item := statement.waiting.take()) is not None:
        if not item[1].future.done():
            item[1].timer.cancel()
            calls.append(item)
    return calls


def _columns(calls: list[tuple[UUID | None, _Call]], statement: Statement) -> list[Sequence[Any]]:
    """The arguments of many calls as one array for each parameter; sorts the calls that write.

    Rows are locked in one order by all, that of their ids, so that two shared statements can't deadlock.
    """
    if not statement.is_read_only:
        calls.sort(key=lambda item: _lock_order(item[1].arguments))
    columns: list[Sequence[Any]] = list(zip(*(call.arguments for _, call in calls), strict=True))
    for index in statement.array_columns if calls else ():
        columns[index] = tuple(_array_literal(value) for value in columns[index])
    return columns


def _array_literal(values: Sequence[UUID]) -> str:
    return "{" + ",".join([value.hex for value in values]) + "}"


def _lock_order(arguments: Sequence[Any]) -> list[int]:
    """UUIDs as numbers, which compare ten times as fast."""
    return [argument.int for argument in arguments if isinstance(argument, UUID)]

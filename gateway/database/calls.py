"""Calls of functions that return api.reply, each alone or batched with others of its kind.

Short calls of one kind that would wait are batched: one statement, one round trip and one commit for all of them. The
replies are exactly those of calls that run alone: when one of them fails, or is slow, the whole statement is rolled
back and its calls run one by one.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from time import monotonic
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg

from gateway.database.fair_queue import ConnectionSlots, FairQueue, give_up, too_many
from gateway.database.pool import Pool
from gateway.database.statement import BATCH_TIMEOUT_SECONDS, CallStatement, Reply
from gateway.errors import ApiError
from gateway.settings import Settings

QUARANTINE_SECONDS: Final = 10.0
"""How long the calls of a tenant run alone after one of them spoiled a batch."""
MAXIMUM_QUARANTINED: Final = 10_000
"""Tenants in quarantine; with more, all are let out at once."""


class _Call(NamedTuple):
    """A call that waits for a batched statement.

    timer   gives it up; stopped once the call is taken, since from then on it may take effect
    """

    arguments: Sequence[Any]
    future: "asyncio.Future[Any]"
    since: float
    timer: asyncio.TimerHandle


class _Queue:
    """The calls of one kind: those that wait for a batched statement, and those that run."""

    def __init__(self, statement: CallStatement) -> None:
        self.statement = statement
        self.policy = statement.batch_policy
        self.waiting = FairQueue()
        self.statements_running = 0
        self.calls_running = 0

    @property
    def has_slot(self) -> bool:
        return self.statements_running < self.policy.statements

    def take(self, finished: int) -> list[tuple[UUID | None, _Call]]:
        """The calls of the next batched statement, where the last one had `finished` calls.

        Not all that wait: while the database runs some, the gateway should have others to read and to send. So each
        statement takes an equal part of all calls under way, and those just finished count, as their clients soon send
        the next.
        """
        under_way = len(self.waiting) + self.calls_running + finished
        maximum = min(-(-under_way // (self.policy.statements + 1)), self.policy.calls)
        calls: list[tuple[UUID | None, _Call]] = []
        while len(calls) < maximum and (item := self.waiting.take()) is not None:
            if not item[1].future.done():
                item[1].timer.cancel()
                calls.append(item)
        return calls


class Calls:
    """Runs calls on a pool."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self.pool = pool
        self._acquire_timeout = settings.database_acquire_timeout_ms / 1000
        self._tenant_waiting = settings.tenant_waiting
        self._batching = settings.database_shared_statements
        self._searches = ConnectionSlots(settings, settings.search_connections, settings.search_connections)
        self._queues: dict[CallStatement, _Queue] = {}
        self._quarantined_until: dict[UUID | None, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """Calls that wait for a connection or a batched statement."""
        return self._waiting + self.pool.slots.waiting + self._searches.waiting

    async def call(self, statement: CallStatement, arguments: Sequence[Any], tenant_id: UUID | None) -> Reply:
        """Runs one call in autocommit. Raises as `Pool.fetch` does."""
        if statement.batched_sql is None or self._batching == "never" or self._is_quarantined(tenant_id):
            return await self._call_alone(statement, arguments, tenant_id)
        if (queue := self._queues.get(statement)) is None:
            queue = self._queues[statement] = _Queue(statement)
        if queue.has_slot and self._batching == "when_waiting":
            return await self._call_first(queue, arguments, tenant_id)
        if queue.waiting.count(tenant_id) + self.pool.slots.count(tenant_id) >= self._tenant_waiting:
            raise too_many()
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        timer = loop.call_later(self._acquire_timeout, give_up, future)
        call = _Call(arguments, future, monotonic(), timer)
        queue.waiting.append(tenant_id, (tenant_id, call))
        if queue.has_slot:
            queue.statements_running += 1
            self._start(self._run_batches(queue))
        self._waiting += 1
        try:
            return Reply(*await future)
        except asyncio.CancelledError:
            queue.waiting.remove(tenant_id, (tenant_id, call))
            raise
        finally:
            self._waiting -= 1
            timer.cancel()

    async def _call_alone(self, statement: CallStatement, arguments: Sequence[Any], tenant_id: UUID | None) -> Reply:
        if statement.is_search:
            await self._searches.enter(tenant_id)
        try:
            rows = await self.pool.fetch(statement.sql, arguments, tenant_id)
        finally:
            if statement.is_search:
                self._searches.leave(tenant_id)
        return Reply(*rows[0])

    async def _call_first(self, queue: _Queue, arguments: Sequence[Any], tenant_id: UUID | None) -> Reply:
        """Runs a call that found a slot free, and leaves the slot to the calls that wait by then.

        A slow call leaves it before it is done: what one tenant waits for must not keep the others waiting.
        """
        queue.statements_running += 1
        queue.calls_running += 1
        has_slot = True

        def leave() -> None:
            nonlocal has_slot
            if has_slot:
                has_slot = False
                queue.calls_running -= 1
                # Nothing is awaited between the look and the step.
                if queue.waiting:
                    self._start(self._run_batches(queue, finished=1))
                else:
                    queue.statements_running -= 1

        def leave_early() -> None:
            self._quarantine(tenant_id)
            leave()

        timer = asyncio.get_running_loop().call_later(BATCH_TIMEOUT_SECONDS, leave_early)
        try:
            return await self._call_alone(queue.statement, arguments, tenant_id)
        finally:
            timer.cancel()
            leave()

    def _quarantine(self, *tenant_ids: UUID | None) -> None:
        until = monotonic() + QUARANTINE_SECONDS
        if len(self._quarantined_until) > MAXIMUM_QUARANTINED:
            self._quarantined_until.clear()
        self._quarantined_until.update((tenant_id, until) for tenant_id in tenant_ids)

    def _is_quarantined(self, tenant_id: UUID | None) -> bool:
        until = self._quarantined_until.get(tenant_id)
        if until is None:
            return False
        if until > monotonic():
            return True
        del self._quarantined_until[tenant_id]
        return False

    async def _run_batches(self, queue: _Queue, finished: int = 0) -> None:
        """Runs batched statements until no call waits."""
        statement = queue.statement
        assert statement.batched_sql is not None
        seconds = BATCH_TIMEOUT_SECONDS if statement.is_read_only else self.pool.statement_timeout
        while queue.waiting:
            calls: list[tuple[UUID | None, _Call]] = []
            try:
                async with self.pool.connection(None) as connection:
                    has_turn = True
                    while has_turn:
                        # Taken only now: a call that was given up must not take effect later.
                        calls = queue.take(finished)
                        queue.calls_running += len(calls)
                        self.pool.slots.report_wait(*(call.since for _, call in calls))
                        columns = _columns(calls, statement)
                        rows = await connection.fetch(statement.batched_sql, *columns, timeout=seconds) if calls else []
                        for position, *reply in rows:
                            future = calls[position - 1][1].future
                            if not future.done():
                                future.set_result(reply)
                        finished = len(calls)
                        queue.calls_running -= finished
                        calls = []
                        # Kept for the next batch, unless another call waits for a connection.
                        has_turn = bool(queue.waiting) and not self.pool.slots.waiting
            except Exception as error:
                queue.calls_running -= len(calls)
                self._settle_each(queue, calls, error)
        queue.statements_running -= 1

    def _settle_each(self, queue: _Queue, calls: list[tuple[UUID | None, _Call]], error: Exception) -> None:
        """Settles the calls of a batched statement that failed; no calls: it had not begun, so those that wait.

        They run alone, unless the statement may have been committed although it failed for us: a slow commit can't be
        taken back, and a lost connection doesn't tell.
        """
        is_lost = not isinstance(error, asyncpg.PostgresError) or isinstance(error, asyncpg.PostgresConnectionError)
        may_run_again = not calls or queue.statement.is_read_only or not is_lost
        if isinstance(error, TimeoutError | asyncpg.LockNotAvailableError):
            self._quarantine(*(tenant_id for tenant_id, _ in calls))
        for tenant_id, call in calls or queue.take(0):
            if call.future.done():
                continue
            if may_run_again:
                self._start(self._settle(queue.statement, tenant_id, call))
            else:
                call.future.set_exception(ApiError(504) if isinstance(error, TimeoutError) else error)

    async def _settle(self, statement: CallStatement, tenant_id: UUID | None, call: _Call) -> None:
        """Runs a call alone after its batch failed. If it fails again, its tenant spoiled the batch."""
        try:
            reply = await self._call_alone(statement, call.arguments, tenant_id)
        except Exception as error:
            self._quarantine(tenant_id)
            if not call.future.done():
                call.future.set_exception(error)
        else:
            if not call.future.done():
                call.future.set_result(reply)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _columns(calls: list[tuple[UUID | None, _Call]], statement: CallStatement) -> list[Sequence[Any]]:
    """The arguments of many calls as one array for each parameter; sorts the calls that write.

    All statements lock rows in the order of their ids, so that two of them can't deadlock.
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

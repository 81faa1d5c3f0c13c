"""Calls of functions that return api.reply, each alone or batched with others of its kind.

Short calls of one kind that would have to wait are batched: one statement, one round trip and one commit for all of
them. The replies are exactly those of calls that run alone: when one of them fails, or is slow, the whole statement is
rolled back and its calls run one by one.
"""

import asyncio
from collections.abc import Sequence
from time import monotonic
from typing import Any, Final
from uuid import UUID

import asyncpg

from gateway.database.fair_queue import ConnectionSlots, FairQueue, Waiter
from gateway.database.pool import Pool
from gateway.database.statement import BATCH_TIMEOUT_SECONDS, CallStatement, Reply
from gateway.errors import ApiError
from gateway.settings import Settings

QUARANTINE_SECONDS: Final = 10.0
"""How long the calls of a tenant run alone after one of them spoiled a batch."""
MAXIMUM_QUARANTINED: Final = 10_000
"""Tenants remembered for that; with more, all are forgotten at once."""


class Calls:
    """Runs calls on a pool."""

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self.pool = pool
        self._settings = settings
        self._batching = settings.database_shared_statements
        self._searches = ConnectionSlots(settings, settings.search_connections, settings.search_connections)
        self._queues: dict[CallStatement, _Queue] = {}
        self._quarantined_until: dict[UUID | None, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Calls that wait for a connection or a batched statement."""
        batched = sum(len(queue.waiting) for queue in self._queues.values())
        return batched + len(self.pool.slots.waiting) + len(self._searches.waiting)

    async def call(self, statement: CallStatement, arguments: Sequence[Any], tenant_id: UUID | None) -> Reply:
        """Runs one call in autocommit. Raises as `Pool.fetch` does."""
        if statement.batched_sql is None or self._batching == "never" or self._is_quarantined(tenant_id):
            return await self._call_alone(statement, arguments, tenant_id)
        if (queue := self._queues.get(statement)) is None:
            queue = self._queues[statement] = _Queue(statement, self._settings)
        if queue.has_slot and self._batching == "when_waiting":
            return await self._call_first(queue, arguments, tenant_id)
        call = queue.waiting.add(tenant_id, arguments, elsewhere=self.pool.slots.waiting.count(tenant_id))
        self._start_batches(queue)
        try:
            reply = await call.future
        except BaseException:
            queue.waiting.remove(call)
            raise
        finally:
            call.timer.cancel()
        if reply is not None:
            return Reply(*reply)
        try:
            return await self._call_alone(statement, arguments, tenant_id)
        except Exception:
            self._quarantine(tenant_id)  # it was this one that spoiled the batch
            raise

    async def _call_alone(self, statement: CallStatement, arguments: Sequence[Any], tenant_id: UUID | None) -> Reply:
        if statement.is_search:
            await self._searches.enter(tenant_id)
        try:
            rows = await self.pool.fetch(statement.sql, arguments, tenant_id)
        finally:
            if statement.is_search:
                self._searches.leave(tenant_id)
        return Reply(*rows[0])

    async def _call_first(self, queue: "_Queue", arguments: Sequence[Any], tenant_id: UUID | None) -> Reply:
        """Runs a call that found a slot free, and leaves the slot to the calls that wait by then.

        A slow call leaves it before it is done: what one tenant waits for must not keep the others waiting.
        """
        queue.statements_running += 1
        queue.calls_running += 1
        has_slot = True

        def leave(*, is_slow: bool) -> None:
            nonlocal has_slot
            if is_slow:
                self._quarantine(tenant_id)
            if has_slot:
                has_slot = False
                queue.calls_running -= 1
                queue.statements_running -= 1
                self._start_batches(queue, finished=1)

        timer = asyncio.get_running_loop().call_later(BATCH_TIMEOUT_SECONDS, lambda: leave(is_slow=True))
        try:
            return await self._call_alone(queue.statement, arguments, tenant_id)
        finally:
            timer.cancel()
            leave(is_slow=False)

    def _start_batches(self, queue: "_Queue", finished: int = 0) -> None:
        """Starts to run the calls that wait, if a slot is free."""
        if queue.waiting and queue.has_slot:
            queue.statements_running += 1
            task = asyncio.create_task(self._run_batches(queue, finished))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _run_batches(self, queue: "_Queue", finished: int) -> None:
        """Runs batched statements until no call waits."""
        statement = queue.statement
        assert statement.batched_sql is not None
        seconds = BATCH_TIMEOUT_SECONDS if statement.is_read_only else self.pool.statement_timeout
        while queue.waiting:
            calls: list[Waiter] = []
            try:
                async with self.pool.connection(None) as connection:
                    has_turn = True
                    while has_turn:
                        # Taken only now: a call that has timed out must not take effect later.
                        calls = queue.take(finished)
                        queue.calls_running += len(calls)
                        self.pool.slots.report_wait(*calls)
                        columns = _columns(calls, statement)
                        rows = await connection.fetch(statement.batched_sql, *columns, timeout=seconds) if calls else []
                        for position, *reply in rows:
                            future = calls[position - 1].future
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

    def _settle_each(self, queue: "_Queue", calls: list[Waiter], error: Exception) -> None:
        """Settles the calls of a batched statement that failed; no calls: it had not begun, so those that wait.

        They run alone (a result of None tells them to), unless the statement may have been committed although it
        failed for us: a slow commit can't be taken back, and a lost connection doesn't tell.
        """
        is_lost = not isinstance(error, asyncpg.PostgresError) or isinstance(error, asyncpg.PostgresConnectionError)
        may_run_again = not calls or queue.statement.is_read_only or not is_lost
        if isinstance(error, TimeoutError | asyncpg.LockNotAvailableError):
            self._quarantine(*(call.tenant_id for call in calls))
        for call in calls or queue.take(0):
            if not call.future.done():
                if may_run_again:
                    call.future.set_result(None)
                else:
                    call.future.set_exception(ApiError(504) if isinstance(error, TimeoutError) else error)

    def _quarantine(self, *tenant_ids: UUID | None) -> None:
        if len(self._quarantined_until) > MAXIMUM_QUARANTINED:
            self._quarantined_until.clear()
        self._quarantined_until.update(dict.fromkeys(tenant_ids, monotonic() + QUARANTINE_SECONDS))

    def _is_quarantined(self, tenant_id: UUID | None) -> bool:
        until = self._quarantined_until.get(tenant_id)
        return until is not None and until > monotonic()


class _Queue:
    """The calls of one kind: those that wait for a batched statement, and those that run."""

    def __init__(self, statement: CallStatement, settings: Settings) -> None:
        self.statement = statement
        self.policy = statement.batch_policy
        self.waiting = FairQueue(settings)
        self.statements_running = 0
        self.calls_running = 0

    @property
    def has_slot(self) -> bool:
        return self.statements_running < self.policy.statements

    def take(self, finished: int) -> list[Waiter]:
        """The calls of the next batched statement, where the last one had `finished` calls.

        Not all that wait: while the database runs some, the gateway should have others to read and to send. So each
        statement takes an equal part of all calls under way, and those just finished count, as their clients soon send
        the next.
        """
        under_way = len(self.waiting) + self.calls_running + finished
        maximum = min(-(-under_way // (self.policy.statements + 1)), self.policy.calls)
        calls: list[Waiter] = []
        while len(calls) < maximum and (call := self.waiting.take()) is not None:
            if not call.future.done():
                call.timer.cancel()  # from here on it may take effect
                calls.append(call)
        return calls


def _columns(calls: list[Waiter], statement: CallStatement) -> list[Sequence[Any]]:
    """The arguments of many calls as one array for each parameter; sorts the calls that write.

    All statements lock rows in the order of their ids, so that two of them can't deadlock.
    """
    if not statement.is_read_only:
        # As numbers, ids compare ten times as fast.
        calls.sort(key=lambda call: [each.int for each in call.arguments if isinstance(each, UUID)])
    columns: list[Sequence[Any]] = list(zip(*(call.arguments for call in calls), strict=True))
    for index in statement.array_columns if calls else ():
        columns[index] = ["{" + ",".join([each.hex for each in values]) + "}" for values in columns[index]]
    return columns

"""Whose call is next: a bounded number of connections, in which the tenants take turns."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Final
from uuid import UUID

from gateway.errors import ApiError
from gateway.settings import Settings

CALLS_PER_TURN: Final = 8
"""Of one tenant, before the next tenant's. With fewer, a tenant with more calls than the others waits longer."""


class FairQueue:
    """Items that wait, by tenant: taken from each tenant in turn, a few at a time, in the order they came."""

    def __init__(self) -> None:
        self._queues: OrderedDict[UUID | None, deque[Any]] = OrderedDict()
        self._last: tuple[UUID | None, int] = (None, 0)
        """The tenant whose turn it is, and how many of its items were taken in this turn."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def count(self, tenant_id: UUID | None) -> int:
        """How many items of the tenant wait."""
        queue = self._queues.get(tenant_id)
        return len(queue) if queue else 0

    def append(self, tenant_id: UUID | None, item: Any) -> None:
        """Adds an item of the tenant."""
        self._queues.setdefault(tenant_id, deque()).append(item)
        self._count += 1

    def remove(self, tenant_id: UUID | None, item: Any) -> None:
        """Removes an item if it still waits."""
        queue = self._queues.get(tenant_id)
        if queue is not None and item in queue:
            queue.remove(item)
            self._count -= 1
            if not queue:
                del self._queues[tenant_id]

    def take(self, running: dict[UUID | None, int] | None = None, tenant_maximum: int = 0) -> Any:
        """The next item; None when nothing waits, or only items of tenants that have tenant_maximum running."""
        for tenant_id in self._queues:
            if running is None or running.get(tenant_id, 0) < tenant_maximum:
                queue = self._queues[tenant_id]
                item = queue.popleft()
                self._count -= 1
                last, taken = self._last
                taken = taken % CALLS_PER_TURN + 1 if tenant_id == last else 1
                self._last = (tenant_id, taken)
                if not queue:
                    del self._queues[tenant_id]
                elif taken == CALLS_PER_TURN:
                    self._queues.move_to_end(tenant_id)
                return item
        return None


class ConnectionSlots:
    """Slots for calls that run at once. When all are taken, calls wait, and the tenants take turns.

    maximum          calls that run at once
    tenant_maximum   of them, calls of one tenant; three quarters at most, so that some slots are left for others
    """

    def __init__(self, settings: Settings, maximum: int, tenant_maximum: int) -> None:
        self.maximum = maximum
        self._tenant_maximum = min(tenant_maximum, max(maximum * 3 // 4, 1))
        self._tenant_waiting = settings.tenant_waiting
        self._timeout_seconds = settings.database_acquire_timeout_ms / 1000
        self._queue = FairQueue()
        self._running: dict[UUID | None, int] = {}
        self.in_use = 0
        self.observe_wait: Callable[[float], None] | None = None
        """Is told how many seconds a call waited for its slot, if it had to."""

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return len(self._queue)

    def count(self, tenant_id: UUID | None) -> int:
        """Calls of the tenant that wait."""
        return self._queue.count(tenant_id)

    async def enter(self, tenant_id: UUID | None) -> None:
        """Takes a slot, and waits when none is free; calls without a tenant are not held to tenant_maximum.

        Raises ApiError 503 DATABASE_BUSY after the timeout, and 429 RATE_LIMITED when too many calls of the tenant
        wait already.
        """
        has_room = self._running.get(tenant_id, 0) < self._tenant_maximum or tenant_id is None
        if self.in_use < self.maximum and has_room:
            self._take(tenant_id)
            return
        if self._queue.count(tenant_id) >= self._tenant_waiting:
            raise too_many()
        since = monotonic()
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._queue.append(tenant_id, (tenant_id, future))
        timer = loop.call_later(self._timeout_seconds, give_up, future)
        try:
            await future
        except BaseException:
            self._queue.remove(tenant_id, (tenant_id, future))
            if future.done() and not future.cancelled() and future.exception() is None:
                self.leave(tenant_id)  # the slot came together with the cancellation
            raise
        finally:
            timer.cancel()
            self.report_wait(since)

    def leave(self, tenant_id: UUID | None) -> None:
        """Frees a slot for the next call in turn that may have it."""
        self.in_use -= 1
        self._running[tenant_id] -= 1
        if not self._running[tenant_id]:
            del self._running[tenant_id]
        while self.in_use < self.maximum and (item := self._queue.take(self._running, self._tenant_maximum)):
            next_tenant_id, future = item
            if not future.done():
                self._take(next_tenant_id)
                future.set_result(None)

    def _take(self, tenant_id: UUID | None) -> None:
        self.in_use += 1
        self._running[tenant_id] = self._running.get(tenant_id, 0) + 1

    def report_wait(self, *since: float) -> None:
        """Reports the waits that began at these times and end now."""
        if self.observe_wait is not None:
            now = monotonic()
            for start in since:
                self.observe_wait(now - start)


def give_up(future: "asyncio.Future[Any]") -> None:
    """Ends a call that has waited too long."""
    if not future.done():
        future.set_exception(
            ApiError(503, "DATABASE_BUSY", "All database connections are busy. Repeat the request a little later.")
        )


def too_many() -> ApiError:
    """Refuses a call of a tenant that has too many waiting."""
    return ApiError(429, message="Too many requests of this tenant are waiting. Send fewer at once.")

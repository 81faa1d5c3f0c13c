"""Whose call is next: a bounded number of connections, in which the tenants take turns."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, Final
from uuid import UUID

from gateway.errors import ApiError
from gateway.settings import Settings

CALLS_PER_TURN: Final = 8
"""Of one tenant, before the next tenant's. With fewer, a tenant with more calls than the others waits longer."""


class ConnectionSlots:
    """Slots for calls that run at once. When all are taken, calls wait, and the tenants take turns.

    maximum          calls that run at once
    tenant_maximum   of them, calls of one tenant; at most three quarters, so that some slots are left for others
    """

    def __init__(self, settings: Settings, maximum: int, tenant_maximum: int) -> None:
        self.maximum = maximum
        self._tenant_maximum = min(tenant_maximum, max(maximum * 3 // 4, 1))
        self.waiting = FairQueue(settings)
        self._running: dict[UUID | None, int] = {}
        """Of each tenant. Calls without a tenant are not counted, for tenant_maximum is not for them."""
        self.in_use = 0
        self.observe_wait: Callable[[float], None] = lambda _: None
        """Is told how many seconds a call waited for its slot, if it had to."""

    async def enter(self, tenant_id: UUID | None) -> None:
        """Takes a slot, and waits when none is free.

        Raises ApiError 503 DATABASE_BUSY after the timeout, and 429 RATE_LIMITED when too many calls of the tenant
        are waiting already.
        """
        if self.in_use < self.maximum and self._running.get(tenant_id, 0) < self._tenant_maximum:
            self._take(tenant_id)
            return
        waiter = self.waiting.add(tenant_id)
        try:
            await waiter.future
        except BaseException:
            self.waiting.remove(waiter)
            if waiter.future.done() and not waiter.future.cancelled() and waiter.future.exception() is None:
                self.leave(tenant_id)  # the slot came together with the cancellation
            raise
        finally:
            waiter.timer.cancel()
            self.report_wait(waiter)

    def leave(self, tenant_id: UUID | None) -> None:
        """Frees a slot for the next call in turn that may have it."""
        self.in_use -= 1
        if running := self._running.pop(tenant_id, 1) - 1:
            self._running[tenant_id] = running
        while self.in_use < self.maximum and (waiter := self.waiting.take(self._running, self._tenant_maximum)):
            if not waiter.future.done():
                self._take(waiter.tenant_id)
                waiter.future.set_result(None)

    def _take(self, tenant_id: UUID | None) -> None:
        self.in_use += 1
        if tenant_id is not None:
            self._running[tenant_id] = self._running.get(tenant_id, 0) + 1

    def report_wait(self, *waiters: "Waiter") -> None:
        """Reports how long these calls have waited until now."""
        now = monotonic()
        for waiter in waiters:
            self.observe_wait(now - waiter.since)


class Waiter:
    """A call that waits: for the result of its future, which times out with ApiError 503 DATABASE_BUSY.

    Whoever takes the call and lets it take effect cancels the timer first.
    """

    __slots__ = ("arguments", "future", "since", "tenant_id", "timer")

    def __init__(self, tenant_id: UUID | None, arguments: Sequence[Any], timeout_seconds: float) -> None:
        self.tenant_id = tenant_id
        self.arguments = arguments
        self.since = monotonic()
        loop = asyncio.get_running_loop()
        self.future: asyncio.Future[Any] = loop.create_future()
        self.timer = loop.call_later(timeout_seconds, _time_out, self.future)


def _time_out(future: "asyncio.Future[Any]") -> None:
    if not future.done():
        future.set_exception(
            ApiError(503, "DATABASE_BUSY", "All database connections are busy. Repeat the request a little later.")
        )


class FairQueue:
    """Calls that wait, by tenant: taken from each tenant in turn, a few at a time, in the order they came."""

    def __init__(self, settings: Settings) -> None:
        self._timeout_seconds = settings.database_acquire_timeout_ms / 1000
        self._tenant_waiting = settings.tenant_waiting
        self._queues: OrderedDict[UUID | None, deque[Waiter]] = OrderedDict()
        self._last: tuple[UUID | None, int] = (None, 0)
        """The tenant whose turn it is, and how many of its calls were taken in this turn."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def count(self, tenant_id: UUID | None) -> int:
        """Calls of the tenant that wait."""
        return len(self._queues.get(tenant_id, ()))

    def add(self, tenant_id: UUID | None, arguments: Sequence[Any] = (), elsewhere: int = 0) -> Waiter:
        """Adds a call. Raises ApiError 429 RATE_LIMITED when too many calls of the tenant are waiting already.

        elsewhere: how many of them wait in another queue
        """
        if self.count(tenant_id) + elsewhere >= self._tenant_waiting:
            raise ApiError(429, message="Too many requests of this tenant are waiting. Send fewer at once.")
        waiter = Waiter(tenant_id, arguments, self._timeout_seconds)
        self._queues.setdefault(tenant_id, deque()).append(waiter)
        self._count += 1
        return waiter

    def remove(self, waiter: Waiter) -> None:
        """Removes a call if it still waits."""
        queue = self._queues.get(waiter.tenant_id, deque())
        if waiter in queue:
            queue.remove(waiter)
            self._count -= 1
            if not queue:
                del self._queues[waiter.tenant_id]

    def take(self, running: Mapping[UUID | None, int] = {}, tenant_maximum: int = 1) -> Waiter | None:
        """Takes the next call out; None when none waits, or only calls of tenants that have tenant_maximum running."""
        for tenant_id, queue in self._queues.items():
            if running.get(tenant_id, 0) < tenant_maximum:
                waiter = queue.popleft()
                self._count -= 1
                last, taken = self._last
                taken = taken % CALLS_PER_TURN + 1 if tenant_id == last else 1
                self._last = (tenant_id, taken)
                if not queue:
                    del self._queues[tenant_id]
                elif taken == CALLS_PER_TURN:
                    self._queues.move_to_end(tenant_id)
                return waiter
        return None

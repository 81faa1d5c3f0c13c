"""Whose call is next: a bounded number of places, in which the tenants take turns."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Final
from uuid import UUID

from gateway.errors import RETRY_AFTER_SECONDS, Refusal

CALLS_IN_A_TURN: Final = 8
"""Of one tenant, before the next tenant's. With fewer, a tenant that is asked for more than the others waits longer."""


class Turns:
    """What waits, by tenant; taken from each tenant in turn, a few at a time, first come first served within one."""

    def __init__(self) -> None:
        self._queues: OrderedDict[UUID | None, deque[Any]] = OrderedDict()
        self._taken: tuple[UUID | None, int] = (None, 0)
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
        """Removes an item, if it still waits."""
        queue = self._queues.get(tenant_id)
        if queue is not None and item in queue:
            queue.remove(item)
            self._count -= 1
            if not queue:
                del self._queues[tenant_id]

    def take(self, at_most: dict[UUID | None, int] | None = None, limit: int = 0) -> Any:
        """The next item; None when nothing waits but for tenants that at_most counts `limit` for."""
        for tenant_id in self._queues:
            if at_most is None or at_most.get(tenant_id, 0) < limit:
                queue = self._queues[tenant_id]
                item = queue.popleft()
                self._count -= 1
                last, taken = self._taken
                taken = taken % CALLS_IN_A_TURN + 1 if tenant_id == last else 1
                self._taken = (tenant_id, taken)
                if not queue:
                    del self._queues[tenant_id]
                elif taken == CALLS_IN_A_TURN:
                    self._queues.move_to_end(tenant_id)
                return item
        return None


class Places:
    """So many calls at a time, and of each tenant so many; those that find none wait, and tenants take turns.

    maximum           at work at once
    tenant_maximum    of one tenant; without a tenant, as many as there are
    tenant_waiting    of one tenant
    timeout_seconds   for how long one waits
    """

    def __init__(self, maximum: int, tenant_maximum: int, tenant_waiting: int, timeout_seconds: float) -> None:
        self.maximum = maximum
        self._tenant_maximum = tenant_maximum
        self._tenant_waiting = tenant_waiting
        self._timeout_seconds = timeout_seconds
        self._turns = Turns()
        self._at_work: dict[UUID | None, int] = {}
        self.in_use = 0
        self.observe_wait: Callable[[float], None] | None = None
        """Told the seconds that a call waited for its place, where it had to."""

    @property
    def waiting(self) -> int:
        """Calls that wait."""
        return len(self._turns)

    def count(self, tenant_id: UUID | None) -> int:
        """Calls of the tenant that wait."""
        return self._turns.count(tenant_id)

    async def enter(self, tenant_id: UUID | None) -> None:
        """Takes a place, waiting for it where there is none.

        Raises Refusal 503 DATABASE_BUSY after the timeout, and 429 RATE_LIMITED where too many of the tenant wait.
        """
        has_room = self._at_work.get(tenant_id, 0) < self._tenant_maximum or tenant_id is None
        if self.in_use < self.maximum and has_room:
            self._take(tenant_id)
            return
        if self._turns.count(tenant_id) >= self._tenant_waiting:
            raise too_many()
        since = monotonic()
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        self._turns.append(tenant_id, (tenant_id, future))
        timer = loop.call_later(self._timeout_seconds, give_up, future)
        try:
            await future
        except BaseException:
            self._turns.remove(tenant_id, (tenant_id, future))
            if future.done() and not future.cancelled() and future.exception() is None:
                self.leave(tenant_id)  # the turn came together with the cancellation
            raise
        finally:
            timer.cancel()
            self.report_wait(since)

    def leave(self, tenant_id: UUID | None) -> None:
        """Gives the place up, to the next in turn who may have it."""
        self.in_use -= 1
        self._at_work[tenant_id] -= 1
        if not self._at_work[tenant_id]:
            del self._at_work[tenant_id]
        while self.in_use < self.maximum and (item := self._turns.take(self._at_work, self._tenant_maximum)):
            next_tenant_id, future = item
            if not future.done():
                self._take(next_tenant_id)
                future.set_result(None)

    def _take(self, tenant_id: UUID | None) -> None:
        self.in_use += 1
        self._at_work[tenant_id] = self._at_work.get(tenant_id, 0) + 1

    def report_wait(self, *since: float) -> None:
        """Reports the waits that began at these times and end now."""
        if self.observe_wait is not None:
            now = monotonic()
            for start in since:
                self.observe_wait(now - start)


def give_up(future: "asyncio.Future[Any]") -> None:
    """Tells who waits for a turn to come again later."""
    if not future.done():
        future.set_exception(
            Refusal(503, "DATABASE_BUSY", "All database connections are busy. Repeat the request a little later.")
        )


def too_many() -> Refusal:
    """What a tenant is told of which too many calls wait already."""
    return Refusal(
        429,
        message="Too many requests of this tenant are waiting. Send fewer at once.",
        headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
    )

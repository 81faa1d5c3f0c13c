"""What is done again and again, by one worker at a time."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from pgqueuer.core.executors import AbstractScheduleExecutor, ScheduleExecutor, ScheduleExecutorFactoryParameters
from pgqueuer.core.sm import SchedulerManager
from pgqueuer.domain import models


class Schedule(NamedTuple):
    """What is done again and again, by one worker at a time."""

    name: str
    when: str | float
    """A cron expression in UTC, whose sixth field is seconds; or every so many seconds."""
    run: Callable[[], Awaitable[object]]


class _Every(ScheduleExecutor):
    """Runs again so many seconds after it ran, whatever the cron expression that it is registered with says."""

    seconds: float

    def get_next(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=self.seconds)


def add_schedule(scheduler: SchedulerManager, schedule: Schedule) -> None:
    """Has PgQueuer run a schedule."""

    def executor(parameters: ScheduleExecutorFactoryParameters) -> AbstractScheduleExecutor:
        if isinstance(schedule.when, str):
            return ScheduleExecutor(parameters)
        every = _Every(parameters)
        every.seconds = schedule.when
        return every

    async def run(_: models.Schedule) -> None:
        await schedule.run()

    expression = schedule.when if isinstance(schedule.when, str) else "* * * * *"
    scheduler.schedule(schedule.name, expression, executor, accepts_context=False)(run)

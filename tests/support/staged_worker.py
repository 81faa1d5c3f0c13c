"""`cardbase worker`, of which a test decides what its jobs do, and what time it believes it is.

A job of the kind test does what its message names; any other message is a result, as ever. CLOCK_OFF_BY: seconds.
"""

import asyncio
import datetime
import os
import sys
import time
from contextlib import suppress
from typing import Any, NoReturn
from unittest.mock import patch


def _shift_clocks(seconds: float) -> None:
    """Has all wall clocks of this process be off, as they are on a machine whose clock is wrong."""
    right = time.time

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return super().now(tz) + datetime.timedelta(seconds=seconds)

    time.time = lambda: right() + seconds
    time.time_ns = lambda: int((right() + seconds) * 1e9)
    datetime.datetime = Shifted  # type: ignore[misc]


async def last(_: Any) -> None:
    """Lasts until it is cancelled."""
    await asyncio.Event().wait()


async def refuse_to_stop(_: Any) -> NoReturn:
    """Lasts even if it is cancelled."""
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


async def leave_a_trace(context: Any) -> None:
    """Writes down that it was run."""
    await context.fetch("insert into public.traces values ($1, clock_timestamp())", context.job_id)


async def tell_the_time(_: Any) -> dict[str, Any]:
    """Returns what time it believes it is."""
    return {"time": time.time(), "datetime": datetime.datetime.now(datetime.UTC).timestamp()}


async def block(_: Any) -> NoReturn:
    """Takes the event loop, and never gives it back."""
    while True:
        time.sleep(1)  # noqa: ASYNC251


async def die(_: Any) -> NoReturn:
    """Ends the process, as a crash in a library's C code would."""
    os._exit(7)


async def leave(_: Any) -> NoReturn:
    """Ends the process as a program would."""
    sys.exit(7)


async def raise_error(_: Any) -> NoReturn:
    """Fails unexpectedly."""
    raise LookupError("secret")


async def raise_cancelled(_: Any) -> NoReturn:
    """Claims to be cancelled."""
    raise asyncio.CancelledError


async def return_too_much(_: Any) -> dict[str, Any]:
    """Has a result of more than a mebibyte."""
    return {"text": "x" * 2**20}


async def raise_too_much(_: Any) -> NoReturn:
    """Has an error that is as long."""
    from gateway.worker.jobs import PermanentError

    raise PermanentError("x" * 2**20)


ACTS = {
    act.__name__: act
    for act in (
        last,
        refuse_to_stop,
        leave_a_trace,
        tell_the_time,
        block,
        die,
        leave,
        raise_error,
        raise_cancelled,
        return_too_much,
        raise_too_much,
    )
}


def main() -> None:
    """Runs the command."""
    if offset := os.environ.get("CLOCK_OFF_BY"):
        _shift_clocks(float(offset))
    from gateway.operate.cli import main as command
    from gateway.worker import job_kinds, process
    from gateway.worker.jobs import JobContext, JobKind

    async def test(context: JobContext, arguments: job_kinds.TestArguments) -> Any:
        if act := ACTS.get(arguments.message):
            return await act(context)
        return await job_kinds.test(context, arguments)

    kinds = {**job_kinds.JOB_KINDS, "test": JobKind(job_kinds.TestArguments, test)}
    with patch.object(process, "JOB_KINDS", kinds):
        command()


if __name__ == "__main__":
    main()

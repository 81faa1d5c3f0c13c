"""The kinds of jobs: name, shape of the arguments, and the function that does the work.

Each function's docstring says what the kind promises. The database knows the names and arguments from
app.job_kinds; a test compares the two.
"""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from gateway.worker.embed_memories import EmbedMemoryArguments, embed_memory
from gateway.worker.jobs import JobContext, JobError, JobKind
from gateway.worker.webhooks import (
    NotifyArguments,
    NotifyUserArguments,
    SyncIntegrationArguments,
    notify,
    notify_user,
    sync_integration,
)


class TestArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What its result says, how many seconds it takes, and whether it fails."""

    message: str = "done"
    seconds: Annotated[float, Meta(ge=0, le=5)] = 0
    fail: bool = False


async def test(_: JobContext, arguments: TestArguments) -> dict[str, Any]:
    """Does nothing, for at most five seconds, to see whether jobs are run. Each attempt ends as it was told to."""
    if arguments.seconds:
        await asyncio.sleep(arguments.seconds)
    if arguments.fail:
        raise JobError("It failed, as it was asked to.")
    return {"message": arguments.message}


JOB_KINDS: Final[Mapping[str, JobKind]] = {
    "embed_memory": JobKind(EmbedMemoryArguments, embed_memory),
    "notify": JobKind(NotifyArguments, notify),
    "notify_user": JobKind(NotifyUserArguments, notify_user),
    "sync_integration": JobKind(SyncIntegrationArguments, sync_integration),
    "test": JobKind(TestArguments, test),
}

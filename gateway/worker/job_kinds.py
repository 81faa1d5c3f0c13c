"""The kinds of jobs that there are: name, shape of the arguments, and the function that does the work.

The database knows their names and arguments from app.job_kinds; a test compares the two.
"""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from gateway.worker.embed_memories import EmbedMemoryArguments, embed_memory
from gateway.worker.jobs import JobContext, JobError, JobKind
from gateway.worker.webhooks import NotifyArguments, SyncIntegrationArguments, notify, sync_integration


class TestArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What it answers, how many seconds it takes, and whether it fails."""

    message: str = "done"
    seconds: Annotated[float, Meta(ge=0, le=3600)] = 0
    fail: bool = False


async def test(_: JobContext, arguments: TestArguments) -> dict[str, Any]:
    """Does nothing, to see whether jobs are done."""
    if arguments.seconds:
        await asyncio.sleep(arguments.seconds)
    if arguments.fail:
        raise JobError("It failed, as it was asked to.")
    return {"message": arguments.message}


JOB_KINDS: Final[Mapping[str, JobKind]] = {
    "embed_memory": JobKind(EmbedMemoryArguments, embed_memory),
    "notify": JobKind(NotifyArguments, notify),
    "sync_integration": JobKind(SyncIntegrationArguments, sync_integration),
    "test": JobKind(TestArguments, test),
}

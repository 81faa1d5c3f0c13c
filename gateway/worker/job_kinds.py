"""The kinds of jobs that there are: name, shape of the arguments, and the function that does the work.

The database knows their names and arguments from app.job_kinds; a test compares the two.
"""

import asyncio
from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Meta

from gateway.services.embedder import Embedder, EmbeddingError, MiniLM
from gateway.worker.jobs import JobContext, JobError, Kind, PermanentError
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


class EmbedMemoryArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The memory."""

    memory_id: UUID


async def embed_memory(context: JobContext, arguments: EmbedMemoryArguments) -> dict[str, Any]:
    """Computes the embedding of a user's memory, for search by nearness.

    Answers {"model", "embedded"}: false, it had one, or is gone. Raises PermanentError where there is no embedder.
    """
    if context.user_id is None:
        raise PermanentError("Memories are users' own, and the job is no user's.")
    try:
        embedder = await asyncio.to_thread(_embedder)
        # It is the first of those behind the one that would come right before it, or has an embedding.
        before = UUID(int=max(arguments.memory_id.int - 1, 0))
        found = await context.fetch(
            "select id, content, content_hash from app.find_unembedded_memories($1, $2, $3, $4, 1)",
            *(context.tenant_id, embedder.model, context.user_id, before),
        )
        if not found or found[0]["id"] != arguments.memory_id:
            return {"model": embedder.model, "embedded": False}
        [vector] = await asyncio.to_thread(embedder.embed, [found[0]["content"]])
        rows = await context.fetch(
            "select app.store_embeddings($1, $2, $3, $4, $5, $6)",
            *(context.tenant_id, embedder.model, [context.user_id], [arguments.memory_id]),
            *([found[0]["content_hash"]], [msgspec.json.encode(vector).decode()]),
        )
    except EmbeddingError as error:
        raise PermanentError(f"There is no search by nearness here: {error}.") from None
    except asyncpg.PostgresError as error:
        if error.sqlstate != "PT501":
            raise
        raise PermanentError("There is no search by nearness here: the database has no pgvector.") from None
    return {"model": embedder.model, "embedded": rows[0][0] == 1}


@cache
def _embedder() -> Embedder:
    return MiniLM()


KINDS: Final[Mapping[str, Kind]] = {
    "embed_memory": Kind(EmbedMemoryArguments, embed_memory),
    "notify": Kind(NotifyArguments, notify),
    "sync_integration": Kind(SyncIntegrationArguments, sync_integration),
    "test": Kind(TestArguments, test),
}

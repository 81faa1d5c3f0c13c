"""Embeddings of memories: computed for those that lack one, of a tenant or of one memory."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Final, TypeVar
from uuid import UUID

import asyncpg
import msgspec

from gateway.database.connect import connected
from gateway.errors import DATABASE_ERRORS
from gateway.services.embedder import Embedder, EmbeddingError, MiniLM
from gateway.worker.jobs import JobContext, PermanentError

BATCH: Final = 64
"""Memories that are embedded and stored in one step."""
STATEMENT_SECONDS: Final = 60.0

T = TypeVar("T")
_THREAD: Final = ThreadPoolExecutor(1, "embedding")
"""One thread: the model is loaded once, and uses all cores for one text at a time."""


async def embed_memories(
    url: str, tenant_id: UUID, embedder: Embedder, advance: Callable[[int], object] = lambda _: None
) -> int:
    """Computes the embeddings that a tenant's memories lack, and returns how many that were.

    url       a database that `cardbase deploy` has prepared, as cardbase_worker
    advance   told the number of each step

    Those of another model, or of a text that has changed, are replaced. Raises EmbeddingError.
    """
    embedded = 0
    try:
        async with connected(url, "cardbase embed", statement_seconds=STATEMENT_SECONDS) as connection:
            last: tuple[UUID | None, UUID | None] = (None, None)
            while found := await connection.fetch(
                "select user_id, id, content, content_hash from app.find_unembedded_memories($1, $2, $3, $4, $5)",
                *(tenant_id, embedder.model, *last, BATCH),
            ):
                user_ids, ids, contents, hashes = zip(*found, strict=True)
                vectors = await asyncio.to_thread(embedder.embed, contents)
                embedded += await connection.fetchval(
                    "select app.store_embeddings($1, $2, $3, $4, $5, $6)",
                    *(tenant_id, embedder.model, user_ids, ids, hashes),
                    [msgspec.json.encode(vector).decode() for vector in vectors],
                )
                advance(len(found))
                last = (user_ids[-1], ids[-1])
    except DATABASE_ERRORS as error:
        detail = getattr(error, "detail", None)
        raise EmbeddingError(" ".join(f"{error}. {detail or ''}".split()).rstrip(". ")) from error
    return embedded


class EmbedMemoryArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The memory."""

    memory_id: UUID


async def embed_memory(context: JobContext, arguments: EmbedMemoryArguments) -> dict[str, Any]:
    """Computes the embedding of a user's memory, for search by nearness: of the content that it has by then.

    Once the last job of a memory has ended, its embedding is that of its content. Two jobs of one memory may run at
    the same time, and in either order. Returns {"model", "embedded"}: false where it had one, or is gone. Raises
    PermanentError where there is no embedder.
    """
    if context.user_id is None:
        raise PermanentError("Memories are users' own, and the job is no user's.")
    try:
        embedder = await _in_thread(_embedder)
        # It is the first of those behind the one that would come right before it, or has an embedding.
        before = UUID(int=max(arguments.memory_id.int - 1, 0))
        found = await context.fetch(
            "select id, content, content_hash from app.find_unembedded_memories($1, $2, $3, $4, 1)",
            *(context.tenant_id, embedder.model, context.user_id, before),
        )
        if not found or found[0]["id"] != arguments.memory_id:
            return {"model": embedder.model, "embedded": False}
        [vector] = await _in_thread(embedder.embed, [found[0]["content"]])
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


async def _in_thread(function: Callable[..., T], *arguments: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(_THREAD, function, *arguments)


@cache
def _embedder() -> Embedder:
    return MiniLM()

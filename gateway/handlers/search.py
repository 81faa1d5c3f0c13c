"""Search: with an embedding of the text where the search is by nearness, too."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from gateway.database.statement import Reply
from gateway.errors import RETRY_AFTER_SECONDS, ApiError
from gateway.handlers.call import Handler, HandlerRequest
from gateway.schemas.search import Search
from gateway.services.embedder import Embedder, EmbeddingError, MiniLM

MAXIMUM_WAITING: Final = 64
"""Searches of a process that wait for the embedder; over it 429."""


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

    async def search(self, request: HandlerRequest) -> Reply:
        """Searches what the caller may see. Raises ApiError 501 where search by nearness is asked for and can't be."""
        query: Search = request.query
        assert request.identity is not None
        model, embedding = await self._embed(query.q) if query.mode == "hybrid" else (None, None)
        return await request.call(
            "search",
            {
                "tenant_id": request.identity.tenant_id,
                "user_id": request.identity.user_id,
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
            raise ApiError(
                429,
                message="Too many searches are waiting. Repeat the request a little later, or search with mode text.",
                headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._embed_in_thread, text)
        except EmbeddingError as error:
            raise ApiError(501, "EMBEDDINGS_NOT_CONFIGURED", f"There is no search by nearness here: {error}.") from None
        finally:
            self._waiting -= 1

    def _embed_in_thread(self, text: str) -> tuple[str, list[float]]:
        if self._embedder is None:
            self._embedder = self._load()
        return self._embedder.model, self._embedder.embed([text])[0]

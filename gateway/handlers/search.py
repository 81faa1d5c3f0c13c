"""Search: in hybrid mode the text is embedded before the database searches."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from gateway.database.statement import Reply
from gateway.errors import ApiError
from gateway.handlers.call import Handler, HandlerRequest
from gateway.schemas.search import Search
from gateway.services.embedder import Embedder, EmbeddingError, MiniLM

MAXIMUM_WAITING: Final = 64
"""Texts of a process being embedded or waiting for it; more get 429."""


class SearchHandler:
    """Searches, by text or also by meaning.

    load: loads the embedder on first use; raises EmbeddingError where none is installed.
    """

    def __init__(self, load: Callable[[], Embedder] = MiniLM) -> None:
        self._load = load
        self._embedder: Embedder | None = None
        # One thread: the model is loaded once, and uses all cores for one text at a time.
        self._thread = ThreadPoolExecutor(1, "embedding")
        self._waiting = 0

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By their names in the route table."""
        return {"search": self.search}

    def close(self) -> None:
        """Stops the thread once it is idle."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def search(self, request: HandlerRequest) -> Reply:
        """Searches what the caller may see. Raises ApiError 501 for mode=hybrid where it is not available."""
        query: Search = request.query
        model, embedding = await self._embed(query.q) if query.mode == "hybrid" else (None, None)
        arguments = {
            "q": query.q,
            "types": None if query.types is None else query.types.split(","),
            "limit": query.limit,
            "mode": query.mode,
            "embedding": embedding,
            "embedding_model": model,
        }
        return await request.call("search", request.owner | arguments)

    async def _embed(self, text: str) -> tuple[str, list[float]]:
        if self._waiting >= MAXIMUM_WAITING:
            raise ApiError(
                429, message="Too many searches are waiting. Retry a little later, or search with mode=text."
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._embed_in_thread, text)
        except EmbeddingError as error:
            raise ApiError(501, "EMBEDDINGS_NOT_CONFIGURED", f"mode=hybrid is not available here: {error}.") from None
        finally:
            self._waiting -= 1

    def _embed_in_thread(self, text: str) -> tuple[str, list[float]]:
        if self._embedder is None:
            self._embedder = self._load()
        return self._embedder.model, self._embedder.embed([text])[0]

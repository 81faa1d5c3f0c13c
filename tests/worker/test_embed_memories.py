"""Embeddings of memories: computed by the job that comes with the write, of the content that the memory has by then."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from support.servers import Database

from gateway.services.embedder import EmbeddingError
from gateway.settings import Settings
from gateway.worker import embed_memories
from gateway.worker.job_kinds import JOB_KINDS
from gateway.worker.loop import Worker
from gateway.worker.metrics import WorkerMetrics

SECONDS = 60.0


class Letters:
    """An embedder that counts letters, one text at a time."""

    model = "letters"

    def __init__(self) -> None:
        self.texts: list[str] = []

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.texts += texts
        return [[float(text.count(letter)) + 1 for letter in "abc"] for text in texts]


class Memories:
    """A user's memories."""

    def __init__(self, connection: "asyncpg.Connection[Any]") -> None:
        self.connection = connection
        self.owner = (uuid4(), uuid4())

    async def create(self, content: str) -> UUID:
        body = await self.connection.fetchval("select body from api.create_memory($1, $2, $3)", *self.owner, content)
        return UUID(msgspec.json.decode(body)["data"]["id"])

    async def update(self, memory_id: UUID, content: str) -> None:
        await self.connection.execute("select api.update_memory($1, $2, $3, $4)", *self.owner, memory_id, content)

    async def ended(self) -> list[tuple[str, Any]]:
        """How all jobs ended, once they have."""
        async with asyncio.timeout(SECONDS):
            while await self.connection.fetchval("select count(*) from app.jobs where completed_at is null"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        rows = await self.connection.fetch("select status, result, error from app.jobs order by id")
        return [(row["status"], row["error"] or msgspec.json.decode(row["result"])) for row in rows]

    async def embedded(self) -> dict[UUID, str]:
        rows = await self.connection.fetch("select memory_id, embedding::text as vector from app.memory_embeddings")
        return {row["memory_id"]: row["vector"] for row in rows}


@pytest.fixture
async def memories(database: Database) -> AsyncIterator[Memories]:
    connection = await asyncpg.connect(database.url())
    try:
        if await connection.fetchval("select to_regclass('app.memory_embeddings') is null"):
            pytest.skip("the server has no pgvector")
        await connection.execute(
            "insert into deployment.settings (name, value) values ('embed_memories', 'true')"
            " on conflict (name) do update set value = excluded.value"
        )
        yield Memories(connection)
    finally:
        await connection.close()


@pytest.fixture
async def _worker(memories: Memories, database: Database) -> AsyncIterator[None]:
    stop = asyncio.Event()
    worker = Worker(database.url("cardbase_worker"), JOB_KINDS, Settings(), WorkerMetrics(JOB_KINDS))
    running = asyncio.create_task(worker.run(stop))
    try:
        yield
    finally:
        stop.set()
        await running


@pytest.mark.usefixtures("_worker")
async def test_a_memory_is_embedded_as_it_is_written(memories: Memories, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = Letters()
    monkeypatch.setattr(embed_memories, "_embedder", lambda: letters)
    first, second = await memories.create("aab"), await memories.create("c")
    assert await memories.ended() == [("completed", {"model": "letters", "embedded": True})] * 2
    assert await memories.embedded() == {first: "[3,2,1]", second: "[1,1,2]"}
    await memories.update(first, "bbb")
    await memories.ended()
    assert await memories.embedded() == {first: "[1,4,1]", second: "[1,1,2]"}
    assert sorted(letters.texts) == ["aab", "bbb", "c"]


@pytest.mark.usefixtures("_worker")
async def test_an_embedding_of_an_older_content_is_not_stored(
    memories: Memories, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content changes while its embedding is computed: the job that came with the change computes the other."""
    letters = Letters()

    class Late(Letters):
        def embed(self, texts: Sequence[str]) -> list[list[float]]:
            if texts == ["a"]:
                tenant, user = memories.owner
                database.execute(f"select from app.memories, api.update_memory('{tenant}', '{user}', id, 'b')")
            return letters.embed(texts)

    monkeypatch.setattr(embed_memories, "_embedder", Late)
    memory = await memories.create("a")
    assert await memories.ended() == [
        ("completed", {"model": "letters", "embedded": False}),
        ("completed", {"model": "letters", "embedded": True}),
    ]
    assert letters.texts == ["a", "b"]
    assert await memories.embedded() == {memory: "[1,2,1]"}


@pytest.mark.usefixtures("_worker")
async def test_two_jobs_of_one_memory_leave_one_embedding(memories: Memories, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed_memories, "_embedder", Letters)
    async with memories.connection.transaction():
        memory = await memories.create("a")
        await memories.update(memory, "b")
    outcomes = await memories.ended()
    assert {status for status, _ in outcomes} == {"completed"}
    assert await memories.embedded() == {memory: "[1,2,1]"}


@pytest.mark.usefixtures("_worker")
async def test_without_an_embedder_the_job_says_so(memories: Memories, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise EmbeddingError("no embedder is installed")

    monkeypatch.setattr(embed_memories, "_embedder", missing)
    await memories.create("a")
    [(status, error)] = await memories.ended()
    assert (status, error) == ("failed", "There is no search by nearness here: no embedder is installed.")

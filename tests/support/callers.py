"""Callers of one tenant, over SQL and over HTTP, that create cards and track their usage."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import httpx

from support.gateways import Gateway
from support.servers import Database

BATCH: Final = "/api/v1/cards/batch"


def cards(*numbers: int) -> list[dict[str, Any]]:
    return [{"card_type": "insight", "content": {"number": number}} for number in numbers]


def usage(card_id: str) -> str:
    return f"/api/v1/cards/{card_id}/usage"


class Answer(NamedTuple):
    """What a caller gets, over SQL or HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Caller:
    """One of many callers of the same tenant."""

    async def create(self, entries: list[dict[str, Any]], key: str | None = None) -> Answer:
        raise NotImplementedError

    async def track(self, card_id: str, workflow_id: str | None) -> Answer:
        raise NotImplementedError


class SqlCaller(Caller):
    """A trusted service with its own connection."""

    def __init__(self, connection: "asyncpg.Connection[Any]", tenant_id: UUID) -> None:
        self.transaction = connection.transaction
        self._connection = connection
        self._tenant_id = tenant_id

    async def create(self, entries: list[dict[str, Any]], key: str | None = None) -> Answer:
        call = "api.create_cards(tenant_id => $1, cards => $2, idempotency_key => $3)"
        return await self._answer(call, json.dumps(entries), key)

    async def track(self, card_id: str, workflow_id: str | None) -> Answer:
        call = "api.track_usage(tenant_id => $1, card_id => $2, workflow_id => $3)"
        return await self._answer(call, UUID(card_id), workflow_id)

    async def _answer(self, call: str, *arguments: Any) -> Answer:
        row = await self._connection.fetchrow(f"select * from {call}", self._tenant_id, *arguments)
        assert row is not None
        headers = {name.lower(): value for name, value in json.loads(row["headers"] or "{}").items()}
        return Answer(row["status"], headers, row["body"].encode())


class HttpCaller(Caller):
    """A client of the gateway with its own connection."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def create(self, entries: list[dict[str, Any]], key: str | None = None) -> Answer:
        return await self._post(BATCH, {"cards": entries}, {"Idempotency-Key": key} if key else {})

    async def track(self, card_id: str, workflow_id: str | None) -> Answer:
        return await self._post(usage(card_id), {"workflow_id": workflow_id}, {})

    async def _post(self, path: str, body: Any, headers: dict[str, str]) -> Answer:
        response = await self._client.post(path, json=body, headers=headers)
        return Answer(response.status_code, dict(response.headers), response.content)


@asynccontextmanager
async def services(database: Database, tenant_id: UUID, count: int) -> AsyncIterator[list[SqlCaller]]:
    url = database.url("cardbase_service")
    connections = await asyncio.gather(*(asyncpg.connect(url) for _ in range(count)))
    try:
        yield [SqlCaller(connection, tenant_id) for connection in connections]
    finally:
        await asyncio.gather(*(connection.close() for connection in connections))


@asynccontextmanager
async def clients(gateway: Gateway, tenant_id: UUID, count: int) -> AsyncIterator[list[HttpCaller]]:
    async with httpx.AsyncClient(
        base_url=gateway.address,
        headers={"X-Tenant-ID": str(tenant_id)},
        limits=httpx.Limits(max_connections=count, max_keepalive_connections=count),
        timeout=60,
        trust_env=False,
    ) as client:
        await asyncio.gather(*(client.get("/api/v1/info") for _ in range(count)))
        yield [HttpCaller(client) for _ in range(count)]

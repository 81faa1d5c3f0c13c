"""The Cards API as it is usually written, for comparison: FastAPI, Pydantic and asyncpg, with the rules in Python.

Each request is a transaction: BEGIN, the tenant for row-level security, the statements, COMMIT. It does the same work
as cardbase, on the same tables and indexes, under the same policies: deduplication by content, idempotency keys, usage
counts and events. DATABASE_URL names the database, with a role that has cardbase_api's rights.
"""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal
from uuid import UUID

import asyncpg
from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

# FastAPI evaluates annotations, and asyncpg's classes are generic for type checkers only.
if TYPE_CHECKING:
    Connection = asyncpg.Connection[Any]
else:
    Connection = asyncpg.Connection

POOL_SIZE: Final = 20

COLUMNS: Final = """
    card.card_id, card.card_type, card.content, encode(card.content_hash, 'hex') as content_hash,
    card.source_session_id, card.created_by, card.created_at, card.updated_at, card.is_active, card.deleted_at,
    coalesce(total.usage_count, 0) as usage_count, total.last_used_at
"""
TOTAL: Final = """
    left join lateral (
        select usage_count, last_used_at from app.card_usage_totals
        where tenant_id = $1 and card_id = card.card_id
        limit 1
    ) as total on true
"""
FIND_KEY: Final = """
    select fingerprint, status, body from app.idempotency_store
    where tenant_id = $1 and owner_id = '00000000-0000-0000-0000-000000000000' and idempotency_key = $2
    and expires_at > now()
"""
STORE_KEY: Final = """
    insert into app.idempotency_store (tenant_id, idempotency_key, fingerprint, status, body, expires_at)
    values ($1, $2, $3, $4, $5, now() + interval '24 hours')
    on conflict (tenant_id, owner_id, idempotency_key) do update
    set fingerprint = excluded.fingerprint, status = excluded.status, body = excluded.body,
        created_at = excluded.created_at, expires_at = excluded.expires_at
"""
INSERT_CARDS: Final = """
    insert into app.cards (tenant_id, card_type, content, source_session_id, created_by)
    select $1, entry.card_type, entry.content, entry.source_session_id, entry.created_by
    from unnest($2::text[], $3::jsonb[], $4::uuid[], $5::text[])
        as entry (card_type, content, source_session_id, created_by)
    order by entry.card_type, app.content_hash(entry.content)
    on conflict (tenant_id, card_type, content_hash) where is_active do nothing
    returning card_id
"""
# Lateral with a limit: a plain join may read all of a large tenant, as the planner assumes tenants of equal size. And
# the hash is computed first: a condition that calls a function not marked leakproof can't use an index under a policy.
FIND_BY_CONTENT: Final = f"""
    with entry as materialized (
        select card_type, app.content_hash(content) as content_hash, position
        from unnest($2::text[], $3::jsonb[]) with ordinality as sent (card_type, content, position)
    )
    select {COLUMNS}
    from entry
    cross join lateral (
        select * from app.cards
        where tenant_id = $1 and card_type = entry.card_type and content_hash = entry.content_hash and is_active
        limit 1
    ) as card
    {TOTAL}
    order by entry.position
"""
FIND_BY_ID: Final = f"""
    select {COLUMNS}, card.version
    from unnest($2::uuid[]) as wanted (card_id)
    inner join app.cards as card on card.tenant_id = $1 and card.card_id = wanted.card_id and card.is_active
    {TOTAL}
"""
LIST: Final = f"""
    select {COLUMNS}
    from app.cards as card
    {TOTAL}
    where card.tenant_id = $1 and card.card_id < $2 and card.is_active
    order by card.card_id desc
    limit $3
"""
COUNT_USE: Final = """
    insert into app.card_usage_totals as total (tenant_id, card_id, usage_count, last_used_at)
    values ($1, $2, 1, clock_timestamp())
    on conflict (tenant_id, card_id) do update
    set usage_count = total.usage_count + 1, last_used_at = greatest(total.last_used_at, excluded.last_used_at)
    returning usage_count, last_used_at
"""
RECORD_USE: Final = """
    insert into app.card_usage (tenant_id, card_id, workflow_id, workflow_type, session_id)
    values ($1, $2, $3, $4, $5)
    on conflict (tenant_id, card_id, workflow_id) where workflow_id is not null do nothing
    returning usage_id
"""

CardType = Literal["company", "audience", "voice", "insight"]


class CardInput(BaseModel):
    """A card to create."""

    card_type: CardType
    content: dict[str, Any]
    created_by: Annotated[str, Field(max_length=255)] | None = None
    source_session_id: UUID | None = None


class CreateCards(BaseModel):
    """A batch of cards to create."""

    cards: Annotated[list[CardInput], Field(min_length=1, max_length=1000)]
    source_session_id: UUID | None = None
    created_by: Annotated[str, Field(max_length=255)] | None = None


class RetrieveCards(BaseModel):
    """Which cards to get."""

    card_ids: Annotated[list[UUID], Field(min_length=1, max_length=1000)]


class TrackUsage(BaseModel):
    """One use of a card."""

    workflow_id: Annotated[str, Field(max_length=255)] | None = None
    workflow_type: Annotated[str, Field(max_length=100)] | None = None
    session_id: Annotated[str, Field(max_length=255)] | None = None


class Card(BaseModel):
    """A stored card."""

    card_id: UUID
    card_type: CardType
    content: dict[str, Any]
    content_hash: str
    source_session_id: UUID | None
    created_by: str
    created_at: datetime
    updated_at: datetime
    is_active: bool
    deleted_at: datetime | None
    usage_count: int
    last_used_at: datetime | None


class CreatedCard(Card):
    """A card of a batch."""

    created: bool


class CreatedCards(BaseModel):
    """A batch as it was stored."""

    cards: list[CreatedCard]
    created_count: int
    existing_count: int


class RetrievedCards(BaseModel):
    """Cards found and not found."""

    cards: list[Card]
    missing_ids: list[UUID]


class TrackedUsage(BaseModel):
    """How often a card has been used."""

    card_id: UUID
    usage_count: int
    last_used_at: datetime
    event_recorded: bool


class CardPage(BaseModel):
    """A page of cards."""

    cards: list[Card]
    next_cursor: str | None


async def _prepare(connection: Connection) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Opens the pool, and closes it at the end."""
    async with asyncpg.create_pool(
        os.environ["DATABASE_URL"], min_size=POOL_SIZE, max_size=POOL_SIZE, init=_prepare
    ) as pool:
        app.state.pool = pool
        yield


TenantId = Annotated[UUID, Header(alias="X-Tenant-ID")]


async def begin(request: Request, tenant_id: TenantId) -> AsyncIterator[Connection]:
    """A connection in a transaction of the tenant."""
    async with request.app.state.pool.acquire() as connection, connection.transaction():
        # The header has been parsed as a UUID, so there is nothing to quote.
        await connection.execute(f"set local app.current_tenant_id = '{tenant_id}'")
        yield connection


# "function": the transaction is committed before the response is sent.
Transaction = Annotated[Connection, Depends(begin, scope="function")]

app = FastAPI(title="Cards", lifespan=lifespan)


@app.get("/ready")
async def ready() -> dict[str, bool]:
    """Returns 200 once the service has started."""
    return {"ready": True}


@app.post("/api/v1/cards/batch", status_code=201)
async def create_cards(
    batch: CreateCards,
    tenant_id: TenantId,
    transaction: Transaction,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=255)] = None,
) -> CreatedCards:
    """Creates a batch of cards, or returns the stored response of the same request."""
    fingerprint = b""
    if idempotency_key is not None:
        canonical = json.dumps(batch.model_dump(mode="json"), sort_keys=True)
        fingerprint = hashlib.sha256(canonical.encode()).digest()
        await transaction.execute(
            "select pg_advisory_xact_lock(hashtextextended($1, 0))", f"{tenant_id} {idempotency_key}"
        )
        stored = await transaction.fetchrow(FIND_KEY, tenant_id, idempotency_key)
        if stored is not None:
            if stored["fingerprint"] != fingerprint:
                raise HTTPException(422, "the idempotency key was used for another request")
            headers = {"X-Idempotency-Cache": "HIT"}
            return JSONResponse(stored["body"], stored["status"], headers)  # type: ignore[return-value]
    answer = await _store(transaction, tenant_id, batch)
    response.status_code = 201 if answer.created_count else 200
    if idempotency_key is not None:
        body = answer.model_dump(mode="json")
        await transaction.execute(STORE_KEY, tenant_id, idempotency_key, fingerprint, response.status_code, body)
        response.headers["X-Idempotency-Cache"] = "MISS"
    return answer


async def _store(transaction: Connection, tenant_id: UUID, batch: CreateCards) -> CreatedCards:
    types = [card.card_type for card in batch.cards]
    contents = [card.content for card in batch.cards]
    inserted = await transaction.fetch(
        INSERT_CARDS,
        tenant_id,
        types,
        contents,
        [card.source_session_id or batch.source_session_id for card in batch.cards],
        [card.created_by or batch.created_by or "api" for card in batch.cards],
    )
    created_ids = {row["card_id"] for row in inserted}
    cards = []
    for row in await transaction.fetch(FIND_BY_CONTENT, tenant_id, types, contents):
        cards.append(CreatedCard(**row, created=row["card_id"] in created_ids))
        created_ids.discard(row["card_id"])
    created_count = sum(card.created for card in cards)
    return CreatedCards(cards=cards, created_count=created_count, existing_count=len(cards) - created_count)


@app.post("/api/v1/cards/retrieve")
async def retrieve_cards(wanted: RetrieveCards, tenant_id: TenantId, transaction: Transaction) -> RetrievedCards:
    """Gets cards by their ids."""
    rows = await transaction.fetch(FIND_BY_ID, tenant_id, wanted.card_ids)
    found = {row["card_id"]: Card(**row) for row in rows}
    asked = list(dict.fromkeys(wanted.card_ids))
    return RetrievedCards(
        cards=[found[card_id] for card_id in asked if card_id in found],
        missing_ids=[card_id for card_id in asked if card_id not in found],
    )


@app.post("/api/v1/cards/{card_id}/usage")
async def track_usage(
    card_id: UUID, usage: TrackUsage, tenant_id: TenantId, transaction: Transaction, response: Response
) -> TrackedUsage:
    """Counts one use of a card, and records it as an event."""
    version = await transaction.fetchval(
        "select version from app.cards where tenant_id = $1 and card_id = $2 and is_active", tenant_id, card_id
    )
    if version is None:
        raise HTTPException(404, "card not found")
    total = await transaction.fetchrow(COUNT_USE, tenant_id, card_id)
    assert total is not None
    event = await transaction.fetchval(
        RECORD_USE, tenant_id, card_id, usage.workflow_id, usage.workflow_type, usage.session_id
    )
    response.headers["X-Event-Recorded"] = "false" if event is None else "true"
    return TrackedUsage(card_id=card_id, event_recorded=event is not None, **total)


@app.get("/api/v1/cards/{card_id}")
async def get_card(card_id: UUID, tenant_id: TenantId, transaction: Transaction, response: Response) -> Card:
    """Gets one card."""
    row = await transaction.fetchrow(FIND_BY_ID, tenant_id, [card_id])
    if row is None:
        raise HTTPException(404, "card not found")
    response.headers["ETag"] = f'"{row["version"]}-{row["usage_count"]}"'
    return Card(**row)


@app.get("/api/v1/cards")
async def list_cards(
    tenant_id: TenantId,
    transaction: Transaction,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    cursor: str | None = None,
) -> CardPage:
    """Lists cards, newest first."""
    try:
        before = UUID(bytes=base64.urlsafe_b64decode(cursor)) if cursor else UUID(int=2**128 - 1)
    except (ValueError, binascii.Error) as error:
        raise HTTPException(422, "the cursor is not valid") from error
    rows = await transaction.fetch(LIST, tenant_id, before, limit + 1)
    cards = [Card(**row) for row in rows[:limit]]
    last = base64.urlsafe_b64encode(cards[-1].card_id.bytes).decode() if len(rows) > limit else None
    return CardPage(cards=cards, next_cursor=last)

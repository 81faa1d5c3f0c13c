"""Races, each forced by a transaction that is held open: what happens in between must not be lost, or happen twice."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import pytest
from support import REPOSITORY
from support.gateways import wait_until
from support.locks import Holder, waiting_for_locks
from support.servers import Database
from support.tables import query

Connection: TypeAlias = "asyncpg.Connection[Any]"
Connect: TypeAlias = Callable[..., Awaitable[Connection]]


@pytest.fixture
async def connect(database: Database) -> AsyncIterator[Connect]:
    """Connects as a role, by default as a trusted service; all connections are closed after the test."""
    opened: list[Connection] = []

    async def open_connection(user: str | None = "cardbase_service") -> Connection:
        opened.append(await asyncpg.connect(database.url(user)))
        return opened[-1]

    yield open_connection
    await asyncio.gather(*(connection.close() for connection in opened))


async def until_waiting(database: Database, count: int = 1) -> None:
    """Waits until that many statements wait for a lock."""
    await asyncio.to_thread(wait_until, lambda: waiting_for_locks(database) == count)


async def create_card(connection: Connection, tenant_id: UUID, content: dict[str, Any]) -> str:
    sql = "select body ->> 'card_id' from api.create_card($1, 'insight', $2)"
    return str(await connection.fetchval(sql, tenant_id, json.dumps(content)))


async def found(connection: Connection, tenant_id: UUID, q: str, limit: int = 20) -> list[str]:
    """The ids of the cards that a search finds, best first."""
    sql = "select body from api.search($1, $1, $2, array['cards'], $3)"
    body = json.loads(await connection.fetchval(sql, tenant_id, q, limit))
    return [match["id"] for match in body["data"]]


# --- the search index of cards ----------------------------------------------------------------------------------

INDEX = "select app.index_cards('{}', {})"
INDEXED = "select card_id from app.card_search"


def holding_entry(database: Database, tenant_id: UUID, card_id: str) -> Holder:
    """Keeps others from storing what the card is found by, once they have read the card."""
    return Holder(
        database,
        "insert into app.card_search (tenant_id, card_id, version, search_vector)"
        f" values ('{tenant_id}', '{card_id}', 1, '')",
    )


async def test_a_card_deleted_while_two_searches_run_leaves_nothing_in_the_index(
    database: Database, connect: Connect, tenant_id: UUID
) -> None:
    """The first search has read the card before it is deleted, the second takes note of the deletion meanwhile."""
    first, second, writer = [await connect() for _ in range(3)]
    card_id = await create_card(writer, tenant_id, {"name": "quince"})
    with holding_entry(database, tenant_id, card_id) as holder:
        one = asyncio.create_task(found(first, tenant_id, "quince"))
        await until_waiting(database)
        await writer.execute("select api.delete_card($1, $2)", tenant_id, card_id)
        two = asyncio.create_task(found(second, tenant_id, "quince"))
        await until_waiting(database, 2)
        holder.release()
        await asyncio.gather(one, two)

    assert await two == []
    assert query(database, tenant_id, INDEXED) == ""
    assert query(database, tenant_id, "select count(*) from app.card_search_queue") == "0"


async def test_a_deletion_indexed_apart_from_the_creation_leaves_nothing_in_the_index(
    database: Database, connect: Connect, tenant_id: UUID
) -> None:
    """Maintenance splits what is queued: the two calls share no entry of the queue that one could wait for."""
    service, first, second = await connect(), await connect(None), await connect(None)
    for connection in (first, second):
        await connection.execute(f"set app.current_tenant_id = '{tenant_id}'; set role cardbase_maintenance")
    card_id = await create_card(service, tenant_id, {"name": "quince"})
    with holding_entry(database, tenant_id, card_id) as holder:
        creation = asyncio.create_task(first.fetchval(INDEX.format(tenant_id, 1)))
        await until_waiting(database)
        await service.execute("select api.delete_card($1, $2)", tenant_id, card_id)
        deletion = asyncio.create_task(second.fetchval(INDEX.format(tenant_id, 1)))
        await until_waiting(database, 2)
        holder.release()
        assert [await creation, await deletion] == [1, 1]

    assert query(database, tenant_id, INDEXED) == ""


async def test_a_search_with_an_old_snapshot_indexes_no_card_that_was_deleted_since(
    database: Database, connect: Connect, tenant_id: UUID
) -> None:
    """Where all statements of a transaction share a snapshot, it has to run again."""
    old, service, maintenance = await connect(), await connect(), await connect(None)
    await maintenance.execute(f"set app.current_tenant_id = '{tenant_id}'; set role cardbase_maintenance")
    card_id = await create_card(service, tenant_id, {"name": "quince"})
    transaction = old.transaction(isolation="repeatable_read")
    await transaction.start()
    await old.fetchval("select count(*) from pg_class")
    await service.execute("select api.delete_card($1, $2)", tenant_id, card_id)
    assert await maintenance.fetchval(INDEX.format(tenant_id, 1)) == 1
    with pytest.raises(asyncpg.SerializationError):
        await found(old, tenant_id, "quince")
    await transaction.rollback()

    assert query(database, tenant_id, INDEXED) == ""
    assert await found(old, tenant_id, "quince") == []


async def test_what_is_deleted_at_the_search_is_not_found_whether_or_not_it_is_indexed(
    database: Database, connect: Connect, tenant_id: UUID
) -> None:
    """A read-only search indexes nothing, and still neither shows what was deleted nor counts it towards the limit."""
    service = await connect()
    kept = await create_card(service, tenant_id, {"name": "quince", "text": "and other fruit"})
    ids = [await create_card(service, tenant_id, {"name": "quince", "n": n}) for n in range(60)]
    assert len(await found(service, tenant_id, "quince", 100)) == 61
    for card_id in ids:
        await service.execute("select api.delete_card($1, $2)", tenant_id, card_id)

    async with service.transaction(readonly=True):
        assert await found(service, tenant_id, "quince", 1) == [kept]
        assert await found(service, tenant_id, "quinec", 1) == [kept]
    assert query(database, tenant_id, "select count(*) from app.card_search") == "61"
    assert await found(service, tenant_id, "quince", 1) == [kept]
    assert query(database, tenant_id, INDEXED) == kept


async def test_what_a_race_left_in_the_index_before_leaves_it(
    database: Database, connect: Connect, tenant_id: UUID
) -> None:
    """The migration finds it among all tenants' cards."""
    service = await connect()
    kept, deleted = [await create_card(service, tenant_id, {"name": "quince", "n": n}) for n in range(2)]
    assert len(await found(service, tenant_id, "quince")) == 2
    await service.execute("select api.delete_card($1, $2)", tenant_id, deleted)
    database.execute("delete from app.card_search_queue")
    assert await found(service, tenant_id, "quince", 1) == [kept]

    migration = (REPOSITORY / "db" / "migrations" / "0022_search_index.sql").read_text(encoding="utf-8")
    database.execute("set role cardbase_owner", migration)

    assert database.execute("select card_ids from app.card_search_queue") == f"{{{deleted}}}"
    forced = "select bool_and(relforcerowsecurity) from pg_class where relname ~ '^card(s$|_search)' and relkind = 'r'"
    assert database.execute(forced) == "t"
    assert await found(service, tenant_id, "quince") == [kept]
    assert query(database, tenant_id, INDEXED) == kept

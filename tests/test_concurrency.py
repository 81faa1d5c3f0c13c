"""Many callers at once, over SQL and over HTTP: their results are those of some serial order."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import pytest
from support.callers import Caller, cards, clients, services
from support.gateways import Gateway, wait_until
from support.locks import waiting_for_locks
from support.servers import Database
from support.tables import EMPTY, query, row_counts

CALLERS: Final = 32
ROUNDS: Final = 12


async def released_together(*calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Starts all calls at the same moment. Returns their results."""
    barrier = asyncio.Barrier(len(calls))

    async def call_at_the_barrier(call: Callable[[], Awaitable[Any]]) -> Any:
        await barrier.wait()
        return await call()

    return await asyncio.gather(*(call_at_the_barrier(call) for call in calls))


class Crowd(NamedTuple):
    """Callers of one tenant, and the database that they share."""

    callers: Sequence[Caller]
    database: Database
    tenant_id: UUID


@pytest.fixture(params=["SQL", "HTTP"])
async def crowd(
    request: pytest.FixtureRequest, database: Database, make_gateway: Callable[..., Gateway], tenant_id: UUID
) -> AsyncIterator[Crowd]:
    """32 callers, which must not have caused a deadlock by the end."""
    callers: Sequence[Caller]
    if request.param == "SQL":
        async with services(database, tenant_id, CALLERS) as callers:
            yield Crowd(callers, database, tenant_id)
    else:
        gateway = make_gateway(database)
        async with clients(gateway, tenant_id, CALLERS) as callers:
            yield Crowd(callers, database, tenant_id)
        gateway.stop()
    assert deadlocks(database) == 0


def deadlocks(database: Database) -> int:
    """How many deadlocks the database has seen. A session reports them at the latest when it ends.

    Sessions of a pooler outlive its clients, so they are terminated.
    """
    others = "from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    database.execute(f"select pg_terminate_backend(pid) {others}")
    wait_until(lambda: database.execute(f"select count(*) {others}") == "0")
    return int(database.execute("select deadlocks from pg_stat_database where datname = current_database()"))


# --- cards ----------------------------------------------------------------------------------------------------


async def test_one_key_has_one_effect_and_all_get_the_same_answer(crowd: Crowd) -> None:
    for number in range(ROUNDS):
        entries = cards(*range(number * 10, number * 10 + 4))
        answers = await released_together(
            *(partial(caller.create, entries, f"key {number}") for caller in crowd.callers)
        )
        assert {(answer.status, answer.body) for answer in answers} == {(201, answers[0].body)}
        cache = Counter(answer.headers["x-idempotency-cache"] for answer in answers)
        assert cache == {"MISS": 1, "HIT": CALLERS - 1}
        assert answers[0].json["created_count"] == 4
    stored = {"cards": ROUNDS * 4, "idempotency_store": ROUNDS}
    assert row_counts(crowd.database, crowd.tenant_id) == EMPTY | stored


async def created_or_refused(caller: Caller, entries: list[dict[str, Any]], key: str) -> bytes | str:
    """The body of a 201, or else the error's code in lower case."""
    try:
        answer = await caller.create(entries, key)
    except asyncpg.PostgresError as error:
        return str(error.constraint_name)
    return answer.body if answer.status == 201 else str(answer.json["error"]["code"]).lower()


async def test_one_key_with_two_requests_does_one_of_them(crowd: Crowd) -> None:
    """The first one decides which; the other request is refused."""
    for number in range(ROUNDS):
        requests = [cards(number), cards(number, 1000 + number)]
        answers = await released_together(
            *(
                partial(created_or_refused, caller, requests[index % 2], f"key {number}")
                for index, caller in enumerate(crowd.callers)
            )
        )
        outcomes = Counter(answers)
        assert outcomes.pop("idempotency_key_reused") == CALLERS // 2
        assert list(outcomes.values()) == [CALLERS // 2]
    assert row_counts(crowd.database, crowd.tenant_id)["idempotency_store"] == ROUNDS


async def test_overlapping_batches_in_opposite_orders_make_each_card_once(crowd: Crowd) -> None:
    for number in range(ROUNDS):
        start = number * 100
        # Each starts at another card of a ring of 40, and every other one goes backwards.
        batches = [[start + (index + step) % 40 for step in range(20)] for index in range(CALLERS)]
        answers = await released_together(
            *(
                partial(caller.create, cards(*batch[:: 1 if index % 2 else -1]))
                for index, (caller, batch) in enumerate(zip(crowd.callers, batches, strict=True))
            )
        )
        ids: dict[int, set[str]] = {}
        created: Counter[int] = Counter()
        for answer in answers:
            assert answer.status == (201 if answer.json["created_count"] else 200)
            assert answer.json["created_count"] + answer.json["existing_count"] == 20
            for card in answer.json["cards"]:
                ids.setdefault(card["content"]["number"], set()).add(card["card_id"])
                created[card["content"]["number"]] += card["created"]
        assert created == dict.fromkeys(range(start, start + 40), 1)
        assert all(len(of_one) == 1 for of_one in ids.values())
    assert row_counts(crowd.database, crowd.tenant_id) == EMPTY | {"cards": ROUNDS * 40}


# --- usage ----------------------------------------------------------------------------------------------------


async def test_one_card_and_workflow_is_one_event_and_every_use_is_counted(crowd: Crowd) -> None:
    (card,) = (await crowd.callers[0].create(cards(1))).json["cards"]
    for number in range(ROUNDS):
        answers = await released_together(
            *(partial(caller.track, card["card_id"], f"workflow {number}") for caller in crowd.callers)
        )
        assert {answer.status for answer in answers} == {200}
        recorded = Counter(answer.headers["x-event-recorded"] for answer in answers)
        assert recorded == {"true": 1, "false": CALLERS - 1}
        counts = sorted(answer.json["usage_count"] for answer in answers)
        assert counts == list(range(number * CALLERS + 1, (number + 1) * CALLERS + 1))
    stored = {"cards": 1, "card_usage": ROUNDS, "card_usage_totals": 1}
    assert row_counts(crowd.database, crowd.tenant_id) == EMPTY | stored


async def test_many_workflows_use_many_cards_and_all_is_counted(crowd: Crowd) -> None:
    """Callers use the same cards for the same workflows in different orders: who waits for whom always differs."""
    created = (await crowd.callers[0].create(cards(*range(4)))).json["cards"]
    ids = [card["card_id"] for card in created]
    pairs = [(card_id, f"workflow {number}") for card_id in ids for number in range(4)]
    for number in range(ROUNDS):
        await released_together(
            *(
                partial(caller.track, *pairs[(index * (number + 1)) % len(pairs)])
                for index, caller in enumerate(crowd.callers)
            )
        )
    counted = query(crowd.database, crowd.tenant_id, "select sum(usage_count) from app.card_usage_totals")
    assert int(counted) == ROUNDS * CALLERS
    # Round 0 alone covers all pairs.
    assert row_counts(crowd.database, crowd.tenant_id)["card_usage"] == len(pairs)


async def test_64_connections_on_one_card_count_exactly(
    gateway: Gateway, shared_database: Database, tenant_id: UUID
) -> None:
    async with clients(gateway, tenant_id, 64) as callers:
        (card,) = (await callers[0].create(cards(1))).json["cards"]
        for number in range(5):
            answers = await released_together(*(partial(caller.track, card["card_id"], None) for caller in callers))
            counts = sorted(answer.json["usage_count"] for answer in answers)
            assert counts == list(range(number * 64 + 1, number * 64 + 65))
    stored = {"cards": 1, "card_usage": 320, "card_usage_totals": 1}
    assert row_counts(shared_database, tenant_id) == EMPTY | stored


async def test_two_uses_in_a_transaction_and_one_between_them_do_not_deadlock(
    database: Database, tenant_id: UUID
) -> None:
    """The one in between is for the same workflow as the transaction's second."""
    async with services(database, tenant_id, 2) as (mine, other):
        (card,) = (await mine.create(cards(1))).json["cards"]
        async with mine.transaction():
            await mine.track(card["card_id"], "one")
            between = asyncio.create_task(other.track(card["card_id"], "two"))
            await until_one_waits(database)
            second = await mine.track(card["card_id"], "two")
        third = await between
    assert (second.json["usage_count"], second.headers["x-event-recorded"]) == (2, "true")
    assert (third.json["usage_count"], third.headers["x-event-recorded"]) == (3, "false")
    assert deadlocks(database) == 0


async def until_one_waits(database: Database) -> None:
    """Waits until a statement waits for a lock."""
    await asyncio.to_thread(wait_until, lambda: waiting_for_locks(database) > 0)


# --- the bounded wait for a key -------------------------------------------------------------------------------


async def test_request_waits_for_the_transaction_that_holds_its_key_and_returns_the_same(
    gateway: Gateway, shared_database: Database, tenant_id: UUID
) -> None:
    async with services(shared_database, tenant_id, 1) as (service,), clients(gateway, tenant_id, 1) as (client,):
        async with service.transaction():
            first = await service.create(cards(1, 2), "shared by both")
            waiting = asyncio.create_task(client.create(cards(1, 2), "shared by both"))
            await until_one_waits(shared_database)
        second = await waiting
    assert (second.status, second.body) == (201, first.body)
    assert second.headers["x-idempotency-cache"] == "HIT"


async def test_request_whose_key_is_held_too_long_is_refused_and_can_be_retried(
    gateway: Gateway, shared_database: Database, tenant_id: UUID
) -> None:
    async with services(shared_database, tenant_id, 1) as (service,), clients(gateway, tenant_id, 1) as (client,):
        transaction = service.transaction()
        await transaction.start()
        await service.create(cards(1), "slow")
        refused = await client.create(cards(1), "slow")
        assert (refused.status, refused.headers["retry-after"]) == (409, "1")
        error = refused.json["error"]
        assert (error["code"], error["details"][0]["field"]) == ("IDEMPOTENCY_IN_PROGRESS", "Idempotency-Key")

        await transaction.rollback()
        repeated = await client.create(cards(1), "slow")
    assert (repeated.status, repeated.headers["x-idempotency-cache"]) == (201, "MISS")


async def test_wait_for_a_key_respects_a_shorter_lock_timeout_and_restores_it(
    database: Database, tenant_id: UUID
) -> None:
    claim = "select (app.claim_idempotency_key($1, 'key', '\\x01')).status"
    first, second = [await asyncpg.connect(database.url()) for _ in range(2)]
    try:
        async with first.transaction():
            await first.execute(claim.replace("$1", f"'{tenant_id}'"))
            await second.execute("set lock_timeout = '20ms'")
            with pytest.raises(asyncpg.PostgresError) as refused:
                await second.fetchval(claim, tenant_id)
            assert refused.value.sqlstate == "PT409"

            await second.execute("set lock_timeout = '77s'")
            patient = second.transaction()
            await patient.start()
            waiting = asyncio.create_task(second.fetchval(claim, tenant_id))
            await asyncio.to_thread(wait_until, lambda: waiting_for_locks(database) == 1)
        assert await waiting is None
        assert await second.fetchval("show lock_timeout") == "77s"
        await patient.rollback()
    finally:
        await asyncio.gather(first.close(), second.close())

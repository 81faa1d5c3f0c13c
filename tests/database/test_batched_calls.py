"""Batched calls: each gets the same result as if it ran alone, and none delays or spoils the others."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import pairwise
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID, uuid4

import asyncpg
import pytest
from support.callers import Answer, cards, services
from support.gateways import settings_of, wait_until
from support.servers import Database
from support.tables import EMPTY, query, row_counts

from gateway.database.calls import Calls
from gateway.database.pool import Pool
from gateway.database.statement import CallStatement
from gateway.endpoint import Call
from gateway.identity import Identifier
from gateway.routes import ROUTES
from gateway.settings import Settings

CALLERS: Final = 32
ROUNDS: Final = 12


class Usage(NamedTuple):
    """The result of one use of a card."""

    number: int
    recorded: bool


class Tracker:
    """Tracks usage as the gateway does, in this process: with its statement and its pool."""

    def __init__(self, calls: Calls, settings: Settings) -> None:
        self.calls = calls
        self.statement = statement_of("track_usage", calls, settings)

    async def __call__(self, tenant_id: UUID, card_id: str, workflow_id: str | None = None) -> Usage:
        arguments = [tenant_id, UUID(card_id), workflow_id, None, None]
        reply = await self.calls.call(self.statement, arguments, tenant_id)
        assert reply.status == 200
        assert reply.body is not None
        body = json.loads(reply.body)
        assert body["card_id"] == card_id
        return Usage(body["usage_count"], body["event_recorded"])


class Creator:
    """Creates cards as the gateway does."""

    def __init__(self, calls: Calls, settings: Settings) -> None:
        self.calls = calls
        self.statement = statement_of("create_cards", calls, settings)

    async def __call__(self, tenant_id: UUID, entries: list[dict[str, Any]], key: str | None = None) -> Answer:
        arguments = [tenant_id, json.dumps(entries).encode(), None, None, key, 24]
        reply = await self.calls.call(self.statement, arguments, tenant_id)
        assert reply.body is not None
        return Answer(reply.status, json.loads(reply.headers or "{}"), reply.body)


def statement_of(function: str, calls: Calls, settings: Settings) -> CallStatement:
    """The statement with which the gateway calls a function."""
    (route,) = (route for route in ROUTES if route.function == function)
    return Call(route, Identifier(settings), calls, settings).statement


T = TypeVar("T")


def tracker(database: Database, **settings: Any) -> AbstractAsyncContextManager[Tracker]:
    return opened(Tracker, database, **settings)


def creator(database: Database, **settings: Any) -> AbstractAsyncContextManager[Creator]:
    return opened(Creator, database, **settings)


@asynccontextmanager
async def opened(make: Callable[[Calls, Settings], T], database: Database, **settings: Any) -> AsyncIterator[T]:
    """A pool with its calls, idle again at the end."""
    configuration = settings_of(**settings)
    pool = Pool(
        database.url("cardbase_gateway"),
        configuration,
        configuration.database_pool_min,
        configuration.database_pool_max,
    )
    calls = Calls(pool, configuration)
    await pool.open()
    try:
        yield make(calls, configuration)
        # A statement whose callers have left still runs for a moment.
        await asyncio.to_thread(wait_until, lambda: (pool.in_use, calls.waiting) == (0, 0))
    finally:
        await pool.close()


async def make_cards(database: Database, tenant_id: UUID, count: int) -> list[str]:
    async with services(database, tenant_id, 1) as (service,):
        answer = await service.create(cards(*range(count)))
    return [card["card_id"] for card in answer.json["cards"]]


async def test_batched_calls_return_what_each_would_return_alone(database: Database, tenant_id: UUID) -> None:
    ids = await make_cards(database, tenant_id, 5)
    uses = [(ids[number % 5], f"workflow {number % 20 // 5}") for number in range(200)]
    async with tracker(database, database_shared_statements="when_waiting") as track:
        answers = await asyncio.gather(*(track(tenant_id, *use) for use in uses))

    counts: dict[str, list[int]] = {card_id: [] for card_id in ids}
    for (card_id, _), answer in zip(uses, answers, strict=True):
        counts[card_id].append(answer.number)
    assert [sorted(of_card) for of_card in counts.values()] == [list(range(1, 41))] * 5
    recorded = Counter(use for use, answer in zip(uses, answers, strict=True) if answer.recorded)
    assert recorded == dict.fromkeys(set(uses), 1)
    stored = {"cards": 5, "card_usage": 20, "card_usage_totals": 5}
    assert row_counts(database, tenant_id) == EMPTY | stored
    assert transactions(database, tenant_id) < 20, "the calls were not batched"


def transactions(database: Database, tenant_id: UUID, table: str = "app.card_usage") -> int:
    """In how many transactions the rows were written."""
    return int(query(database, tenant_id, f"select count(distinct xmin::text) from {table}"))


async def test_tenants_in_one_batch_are_isolated(database: Database) -> None:
    tenants = [uuid4() for _ in range(10)]
    ids = {tenant_id: (await make_cards(database, tenant_id, 1))[0] for tenant_id in tenants}
    async with tracker(database) as track:
        answers = await asyncio.gather(*(track(tenant_id, ids[tenant_id], "w") for tenant_id in tenants * 10))
        assert [answer.recorded for answer in answers].count(True) == 10
        strangers = [track(tenant_id, ids[other]) for tenant_id, other in pairwise(tenants)]
        refusals = await asyncio.gather(*strangers, return_exceptions=True)
    assert [getattr(api_error, "sqlstate", api_error) for api_error in refusals] == ["PT404"] * 9
    for tenant_id in tenants:
        counted = query(database, tenant_id, "select sum(usage_count) from app.card_usage_totals")
        assert int(counted) == 10


async def test_call_that_fails_does_not_disturb_others_of_its_batch(database: Database, tenant_id: UUID) -> None:
    (card_id,) = await make_cards(database, tenant_id, 1)
    wrong = {7: (str(uuid4()), "w"), 60: (card_id, "x" * 256), 93: (str(uuid4()), None)}
    async with tracker(database) as track:
        calls = [track(tenant_id, *wrong.get(number, (card_id, f"workflow {number}"))) for number in range(100)]
        answers = await asyncio.gather(*calls, return_exceptions=True)

    refused = {number: answer for number, answer in enumerate(answers) if isinstance(answer, asyncpg.PostgresError)}
    assert {number: error.sqlstate for number, error in refused.items()} == {7: "PT404", 60: "PT422", 93: "PT404"}
    counted = [answer for answer in answers if isinstance(answer, Usage)]
    assert sorted(answer.number for answer in counted) == list(range(1, 98))
    assert all(answer.recorded for answer in counted)


async def test_cancelled_calls_have_no_effect_and_disturb_no_others(database: Database, tenant_id: UUID) -> None:
    (card_id,) = await make_cards(database, tenant_id, 1)
    async with tracker(database) as track:
        tasks = [asyncio.create_task(track(tenant_id, card_id)) for _ in range(100)]
        await asyncio.sleep(0)  # each runs until it waits
        for task in tasks[40:70]:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(answer, asyncio.CancelledError) for answer in answers[40:70])
        counts = sorted(answer.number for answer in answers if isinstance(answer, Usage))
        assert counts == list(range(1, 71))
        # Calls cancelled while their statement runs may have taken effect, and nobody else notices.
        tasks = [asyncio.create_task(track(tenant_id, card_id)) for _ in range(100)]
        await tasks[20]
        for task in tasks:
            task.cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        answered = [answer for answer in answers if isinstance(answer, Usage)]
        assert answered
        await track(tenant_id, card_id)
    # Only now nothing runs any more: a call that was cancelled late may have been counted after the last one.
    counted = int(query(database, tenant_id, "select sum(usage_count) from app.card_usage_totals"))
    assert 71 + len(answered) <= counted <= 171
    assert row_counts(database, tenant_id)["card_usage"] == counted


async def test_no_call_is_forgotten_among_thousands(database: Database, tenant_id: UUID) -> None:
    """Sixty callers with different pauses, so that the queue runs empty at all possible moments."""
    ids = await make_cards(database, tenant_id, 12)

    async def calls(track: Tracker, caller: int) -> int:
        refused = 0
        for number in range(60):
            try:
                await track(tenant_id, str(uuid4()) if number % 29 == caller % 29 else ids[(caller + number) % 12])
            except asyncpg.PostgresError:
                refused += 1
            for _ in range((caller * number) % 7):
                await asyncio.sleep(0)
        return refused

    async with tracker(database, database_pool_max=6) as track, asyncio.timeout(120):
        refused = sum(await asyncio.gather(*(calls(track, caller) for caller in range(60))))
    counted = query(database, tenant_id, "select sum(usage_count) from app.card_usage_totals")
    assert int(counted) == 3600 - refused
    assert refused > 60


async def test_locked_card_does_not_delay_the_others(database: Database, tenant_id: UUID) -> None:
    locked, free = await make_cards(database, tenant_id, 2)
    async with services(database, tenant_id, 1) as (service,), tracker(database) as track:
        async with service.transaction():
            await service.track(locked, "held")
            waiting = [asyncio.create_task(track(tenant_id, locked)) for _ in range(5)]
            answers = await asyncio.gather(*(track(tenant_id, free) for _ in range(50)))
            assert sorted(answer.number for answer in answers) == list(range(1, 51))
            assert not any(task.done() for task in waiting)
        assert sorted(answer.number for answer in await asyncio.gather(*waiting)) == [2, 3, 4, 5, 6]


async def test_call_that_was_refused_as_busy_has_no_effect_later(database: Database, tenant_id: UUID) -> None:
    (card_id,) = await make_cards(database, tenant_id, 1)
    async with (
        services(database, tenant_id, 1) as (service,),
        tracker(
            database,
            database_pool_min=1,
            database_pool_max=1,
            database_acquire_timeout_ms=400,
            database_shared_statements="when_waiting",
        ) as track,
    ):
        async with service.transaction():
            await service.track(card_id, "held")
            tasks = [asyncio.create_task(track(tenant_id, card_id)) for _ in range(20)]
            refused = await asyncio.gather(*tasks[1:], return_exceptions=True)
            assert {getattr(api_error, "code", api_error) for api_error in refused} == {"DATABASE_BUSY"}
        assert (await tasks[0]).number == 2
        assert (await track(tenant_id, card_id)).number == 3


async def test_use_is_counted_once_however_long_its_commit_takes(database: Database, tenant_id: UUID) -> None:
    """A commit that waits, here for a standby that never responds, can't be undone: it must not be repeated."""
    if database.execute("select rolsuper from pg_roles where rolname = current_user") != "t":
        pytest.skip("only a superuser can make commits wait")
    first, *ids = await make_cards(database, tenant_id, 51)
    database.execute(f"alter role cardbase_gateway in database {database.name} set synchronous_commit = on")
    is_late = (
        "select count(*) >= 2 and max(clock_timestamp() - query_start) > '600 ms'"
        " from pg_stat_activity where datname = current_database() and wait_event = 'SyncRep'"
    )
    async with tracker(database, database_shared_statements="when_waiting") as track:
        try:
            database.execute("alter system set synchronous_standby_names = 'nobody'", "select pg_reload_conf()")
            waiting: set[asyncio.Task[Usage]] = set()
            while not waiting:
                _, waiting = await asyncio.wait([asyncio.create_task(track(tenant_id, first))], timeout=0.1)
            tasks = [asyncio.create_task(track(tenant_id, card_id)) for card_id in ids]
            await asyncio.to_thread(wait_until, lambda: database.execute(is_late) == "t")
        finally:
            database.execute("alter system reset synchronous_standby_names", "select pg_reload_conf()")
        answers = await asyncio.gather(*tasks)
        await asyncio.gather(*waiting)
    assert [answer.number for answer in answers] == [1] * 50
    of_the_others = f"select sum(usage_count) from app.card_usage_totals where card_id <> '{first}'"
    assert query(database, tenant_id, of_the_others) == "50"


async def test_card_batches_are_batched_and_stored_as_if_each_ran_alone(database: Database) -> None:
    tenants = [uuid4() for _ in range(10)]
    sent = [(tenant_id, cards(number, number + 1)) for number in range(20) for tenant_id in tenants]
    async with creator(database, database_shared_statements="when_waiting") as create:
        answers = await asyncio.gather(*(create(tenant_id, entries) for tenant_id, entries in sent))
    for (_, entries), answer in zip(sent, answers, strict=True):
        assert [card["content"] for card in answer.json["cards"]] == [entry["content"] for entry in entries]
    for tenant_id in tenants:
        mine = [answer.json for (sender, _), answer in zip(sent, answers, strict=True) if sender == tenant_id]
        assert sum(batch["created_count"] for batch in mine) == 21
        assert len({card["card_id"] for batch in mine for card in batch["cards"]}) == 21
        assert row_counts(database, tenant_id)["cards"] == 21
        assert transactions(database, tenant_id, "app.cards") < 15, "the card batches were not batched"


async def test_one_of_many_batched_calls_with_one_key_does_the_work(database: Database, tenant_id: UUID) -> None:
    for number in range(ROUNDS):
        async with creator(database, database_shared_statements="always") as create:
            answers = await asyncio.gather(*(create(tenant_id, cards(number), f"key {number}") for _ in range(CALLERS)))
        assert Counter(answer.headers["X-Idempotency-Cache"] for answer in answers) == {"MISS": 1, "HIT": CALLERS - 1}
        assert len({answer.body for answer in answers}) == 1
    assert row_counts(database, tenant_id)["cards"] == ROUNDS


async def test_card_batch_that_fails_does_not_disturb_others_of_its_batch(database: Database, tenant_id: UUID) -> None:
    async with creator(database) as create:
        await create(tenant_id, cards(0), "used")
        calls = [create(tenant_id, cards(number), "used" if number == 7 else None) for number in range(1, 30)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert [getattr(answer, "sqlstate", "") for answer in answers] == ["PT422" if n == 6 else "" for n in range(29)]
        assert row_counts(database, tenant_id)["cards"] == 29


async def test_key_that_is_held_does_not_delay_the_others(database: Database, tenant_id: UUID) -> None:
    async with services(database, tenant_id, 1) as (service,), creator(database) as create:
        async with service.transaction():
            await service.create(cards(0), "held")
            waiting = [asyncio.create_task(create(tenant_id, cards(0), "held")) for _ in range(3)]
            others = await asyncio.gather(*(create(uuid4(), cards(number), str(number)) for number in range(1, 50)))
            assert [answer.status for answer in others] == [201] * 49
            assert not any(task.done() for task in waiting)
        answers = await asyncio.gather(*waiting)
        assert [answer.headers["X-Idempotency-Cache"] for answer in answers] == ["HIT"] * 3


async def test_call_taken_into_a_batch_is_not_given_up_while_it_may_take_effect(
    database: Database, tenant_id: UUID
) -> None:
    is_late = (
        "select coalesce(max(clock_timestamp() - query_start) > '1000 ms', false) from pg_stat_activity"
        " where datname = current_database() and wait_event_type = 'Lock'"
    )
    async with (
        services(database, tenant_id, 1) as (service,),
        creator(database, database_acquire_timeout_ms=900) as create,
    ):
        async with service.transaction():
            await service.create(cards(0), "held")
            waiting = [asyncio.create_task(create(tenant_id, cards(0), "held")) for _ in range(3)]
            # Longer than a call may wait for its batch, and shorter than one may wait for its key.
            await asyncio.to_thread(wait_until, lambda: database.execute(is_late) == "t")
        answers = await asyncio.gather(*waiting)
    assert [answer.headers["X-Idempotency-Cache"] for answer in answers] == ["HIT"] * 3

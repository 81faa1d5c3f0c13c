"""The gateway's pool on a real server: under too much load, and without a database."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from threading import Event
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
from support.gateways import Gateway, is_alive, settings_of, wait_until
from support.locks import Holder, waiting_for_locks
from support.servers import Database, Server, open_folder

from gateway.database.calls import Calls
from gateway.database.pool import Pool
from gateway.database.statement import CallStatement
from gateway.errors import ApiError, api_error_of
from gateway.operate import embedded
from gateway.operate.deploy import deploy

REPLY: Final = "status, headers, body, measures"
SLEEP: Final = CallStatement(f"select {REPLY} from api.sleep(seconds => $1)")
HOLD: Final = CallStatement(f"select {REPLY} from api.hold()")
SEARCH: Final = CallStatement(HOLD.sql, is_search=True)
FAIL: Final = CallStatement(f"select {REPLY} from api.fail_at_first(sqlstate => $1, times => $2)")

# Functions unlike any of the product: one is slow, one takes as long as a test likes, one fails at first.
FUNCTIONS: Final = """
create function api.sleep(seconds double precision) returns api.reply language plpgsql as $$
begin
    perform pg_sleep(sleep.seconds);
    return row(200, null, jsonb_build_object('slept', sleep.seconds), null)::api.reply;
end $$;
create function api.hold() returns api.reply language plpgsql as $$
begin
    perform pg_advisory_xact_lock_shared(1);
    return row(200, null, '{}', null)::api.reply;
end $$;
create sequence public.attempts;
grant usage on schema public to public;
grant usage on sequence public.attempts to public;
create function api.fail_at_first(sqlstate text, times integer) returns api.reply language plpgsql as $$
declare _attempt bigint := nextval('public.attempts');
begin
    if _attempt <= fail_at_first.times then
        raise exception using errcode = fail_at_first.sqlstate, message = 'not yet';
    end if;
    return row(200, null, jsonb_build_object('attempts', _attempt), null)::api.reply;
end $$;
grant execute on function api.sleep, api.hold, api.fail_at_first to cardbase_gateway;
"""


@pytest.fixture
def prepared(database: Database) -> Database:
    """A database with the functions above."""
    database.execute(FUNCTIONS)
    return database


@asynccontextmanager
async def opened(database: Database, **settings: Any) -> AsyncIterator[Calls]:
    """The pool, idle again at the end."""
    configuration = settings_of(database_pool_min=0, **settings)
    pool = Pool(
        database.url("cardbase_gateway"),
        configuration,
        configuration.database_pool_min,
        configuration.database_pool_max,
    )
    calls = Calls(pool, configuration)
    await pool.open()
    try:
        yield calls
        assert (pool.in_use, calls.waiting) == (0, 0)
    finally:
        await pool.close()


def running_statements(database: Database) -> int:
    """How many of the gateway's statements the server is running."""
    return int(
        database.execute(
            "select count(*) from pg_stat_activity where datname = current_database()"
            " and application_name = 'cardbase' and state = 'active'"
        )
    )


# --- full -----------------------------------------------------------------------------------------------------


async def test_call_that_gets_no_connection_in_time_is_refused_as_busy(prepared: Database) -> None:
    with held(prepared) as holder:
        async with opened(prepared, database_pool_max=2, database_acquire_timeout_ms=1000) as calls:
            before = [asyncio.create_task(calls.call(HOLD, [], uuid4())) for _ in range(2)]
            await asyncio.to_thread(wait_until, lambda: running_statements(prepared) == 2)
            with pytest.raises(ApiError) as refused:
                await calls.call(HOLD, [], uuid4())
            assert (refused.value.status, refused.value.code) == (503, "DATABASE_BUSY")
            assert refused.value.headers == {"Retry-After": "1"}
            assert not any(task.done() for task in before)
            holder.release()
            assert [reply.status for reply in await asyncio.gather(*before)] == [200, 200]
            assert (await calls.call(HOLD, [], uuid4())).status == 200


def held(database: Database) -> Holder:
    """Keeps calls of HOLD running until it is released."""
    return Holder(database, "select pg_advisory_xact_lock(1)")


async def test_call_waits_for_a_connection_that_becomes_free_in_time(prepared: Database) -> None:
    async with opened(prepared, database_pool_max=1) as calls:
        answers = await asyncio.gather(*(calls.call(SLEEP, [0.05], uuid4()) for _ in range(5)))
        assert calls.pool.size == 1
    assert [answer.body for answer in answers] == [b'{"slept": 0.05}'] * 5


async def test_statement_that_runs_too_long_is_stopped_and_its_connection_free_again(prepared: Database) -> None:
    async with opened(prepared, database_pool_max=1, database_statement_timeout_ms=200) as calls:
        with pytest.raises(ApiError) as refused:
            await calls.call(SLEEP, [600.0], uuid4())
        assert (refused.value.status, refused.value.code, refused.value.headers) == (504, "TIMEOUT", {})
        # On the same connection, the only one: the server has stopped the statement.
        assert (await calls.call(SLEEP, [0.0], uuid4())).status == 200
        assert await asyncio.to_thread(running_statements, prepared) == 0


async def test_caller_that_leaves_frees_its_connection(prepared: Database) -> None:
    async with opened(prepared, database_pool_max=1) as calls:
        task = asyncio.create_task(calls.call(SLEEP, [600.0], uuid4()))
        await asyncio.to_thread(wait_until, lambda: running_statements(prepared) == 1)
        waiting = asyncio.create_task(calls.call(SLEEP, [600.0], uuid4()))
        await asyncio.sleep(0)
        for gone in (waiting, task):
            gone.cancel()
        await asyncio.gather(task, waiting, return_exceptions=True)
        assert (await calls.call(SLEEP, [0.0], uuid4())).status == 200
        assert await asyncio.to_thread(running_statements, prepared) == 0


# --- tenants --------------------------------------------------------------------------------------------------


async def test_tenant_with_too_many_waiting_calls_is_refused_at_once(prepared: Database) -> None:
    tenant_id = uuid4()
    limits = {"database_pool_max": 4, "tenant_connections": 2, "tenant_waiting": 5}
    with held(prepared) as holder:
        async with opened(prepared, **limits, database_acquire_timeout_ms=60_000) as calls:
            tasks = [asyncio.create_task(calls.call(HOLD, [], tenant_id)) for _ in range(7)]
            await asyncio.sleep(0)
            with pytest.raises(ApiError) as refused:
                await calls.call(HOLD, [], tenant_id)
            assert (refused.value.status, refused.value.code) == (429, "RATE_LIMITED")
            assert refused.value.headers == {"Retry-After": "1"}
            assert (calls.pool.in_use, calls.waiting) == (2, 5)
            # Nobody else is: one of the four connections is still free.
            assert (await calls.call(SLEEP, [0.0], uuid4())).status == 200
            holder.release()
            assert [reply.status for reply in await asyncio.gather(*tasks)] == [200] * 7


async def test_calls_of_others_go_on_while_one_tenant_floods(prepared: Database) -> None:
    """The flood waits behind itself."""
    flooding, others = uuid4(), [uuid4() for _ in range(5)]
    limits = {"database_pool_max": 4, "tenant_connections": 3, "tenant_waiting": 100}
    timeouts = {"database_acquire_timeout_ms": 60_000, "database_statement_timeout_ms": 60_000}
    with held(prepared) as holder:
        async with opened(prepared, **limits, **timeouts) as calls:
            flood = [asyncio.create_task(calls.call(HOLD, [], flooding)) for _ in range(60)]
            await asyncio.sleep(0)
            for _ in range(10):
                answers = await asyncio.gather(*(calls.call(SLEEP, [0.0], tenant_id) for tenant_id in others))
                assert [answer.status for answer in answers] == [200] * 5
            assert not any(task.done() for task in flood)
            holder.release()
            assert [reply.status for reply in await asyncio.gather(*flood)] == [200] * 60


async def test_calls_without_a_tenant_may_have_every_connection(prepared: Database) -> None:
    """The next in the queue as much as the first: what holds a tenant to three of four is not for them."""
    with held(prepared) as holder:
        async with opened(prepared, database_pool_max=4, database_acquire_timeout_ms=1000) as calls:
            holding = [asyncio.create_task(calls.call(HOLD, [], None)) for _ in range(3)]
            passing = asyncio.create_task(calls.call(SLEEP, [0.0], None))
            await asyncio.sleep(0)
            assert (calls.pool.in_use, calls.waiting) == (4, 0)
            assert (await calls.call(SLEEP, [0.0], None)).status == 200
            assert (await passing).status == 200
            assert not any(task.done() for task in holding)
            holder.release()
            assert [reply.status for reply in await asyncio.gather(*holding)] == [200] * 3


async def test_tenants_take_turns(prepared: Database) -> None:
    """With one connection for all: however many calls of one tenant came first, another's wait only for a few."""
    early, late = uuid4(), uuid4()
    order: list[str] = []

    async def call(name: str, tenant_id: UUID) -> None:
        await calls.call(SLEEP, [0.002], tenant_id)
        order.append(name)

    async with opened(prepared, database_pool_max=1, database_acquire_timeout_ms=60_000) as calls:
        await asyncio.gather(*(call("early", early) for _ in range(20)), *(call("late", late) for _ in range(10)))
    # The first found the connection free.
    assert order == ["early"] * 9 + ["late"] * 8 + ["early"] * 8 + ["late"] * 2 + ["early"] * 3


async def test_searches_leave_connections_to_others(prepared: Database) -> None:
    """Four at a time, three of them from one tenant."""
    searching, other = uuid4(), uuid4()
    with held(prepared) as holder:
        async with opened(prepared, database_pool_max=8, search_connections=4) as calls:
            searches = [asyncio.create_task(calls.call(SEARCH, [], searching)) for _ in range(6)]
            await asyncio.sleep(0)
            assert (calls.pool.in_use, calls.waiting) == (3, 3)
            searches += [asyncio.create_task(calls.call(SEARCH, [], other)) for _ in range(2)]
            await asyncio.sleep(0)
            assert (calls.pool.in_use, calls.waiting) == (4, 4)
            assert (await calls.call(SLEEP, [0.0], searching)).status == 200
            assert not any(task.done() for task in searches)
            holder.release()
            assert [reply.status for reply in await asyncio.gather(*searches)] == [200] * 8


# --- failures that pass ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
async def test_statement_that_lost_against_others_runs_again(prepared: Database, sqlstate: str) -> None:
    async with opened(prepared) as calls:
        reply = await calls.call(FAIL, [sqlstate, 3], uuid4())
        assert (reply.body, calls.pool.retries) == (b'{"attempts": 4}', 3)


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
async def test_statement_that_keeps_failing_can_be_retried_later(prepared: Database, sqlstate: str) -> None:
    async with opened(prepared) as calls:
        with pytest.raises(asyncpg.PostgresError) as failed:
            await calls.call(FAIL, [sqlstate, 100], uuid4())
    api_error = api_error_of(failed.value)
    assert (api_error.status, api_error.code, api_error.headers) == (503, "DATABASE_UNAVAILABLE", {"Retry-After": "1"})
    assert prepared.execute("select last_value from public.attempts") == "4"


async def test_statement_that_fails_for_its_own_reasons_runs_once(prepared: Database) -> None:
    async with opened(prepared) as calls:
        with pytest.raises(asyncpg.UniqueViolationError):
            await calls.call(FAIL, ["23505", 1], uuid4())
    assert prepared.execute("select last_value from public.attempts") == "1"


# --- over HTTP ------------------------------------------------------------------------------------------------


def test_full_pool_and_slow_statement_over_http(
    database: Database, make_gateway: Callable[..., Gateway], tenant_id: UUID
) -> None:
    limits = {
        "DATABASE_POOL_MIN": "1",
        "DATABASE_POOL_MAX": "1",
        "DATABASE_ACQUIRE_TIMEOUT_MS": "300",
        "DATABASE_STATEMENT_TIMEOUT_MS": "2000",
    }
    body = {"cards": [{"card_type": "voice", "content": {}}]}
    gateway = make_gateway(database, **limits)
    with gateway.client(tenant_id) as client, Holder(database, "lock table app.cards"), ThreadPoolExecutor(1) as thread:
        slow = thread.submit(client.post, "/api/v1/cards/batch", json=body)
        wait_until(lambda: waiting_for_locks(database) == 1)
        busy = client.post("/api/v1/cards/batch", json=body)
        assert (busy.status_code, busy.json()["error"]["code"]) == (503, "DATABASE_BUSY")
        assert busy.headers["retry-after"] == "1"
        assert not slow.done()
        stopped = slow.result()
        assert (stopped.status_code, stopped.json()["error"]["code"]) == (504, "TIMEOUT")
        assert "retry-after" not in stopped.headers
        wait_until(lambda: waiting_for_locks(database) == 0)
    with gateway.client(tenant_id) as client:
        assert client.post("/api/v1/cards/batch", json=body).status_code == 201


# --- the server goes away -------------------------------------------------------------------------------------


class Load:
    """Clients that keep using a card until they are told to stop."""

    def __init__(self, gateway: Gateway, tenant_id: UUID, card_id: str) -> None:
        self._gateway = gateway
        self._tenant_id = tenant_id
        self._path = f"/api/v1/cards/{card_id}/usage"
        self._stop = Event()
        self.answers: list[Answer] = []

    def work(self) -> None:
        with self._gateway.client(self._tenant_id) as client:
            while not self._stop.is_set():
                start = time.monotonic()
                response = client.post(self._path, json={})
                code = "" if response.is_success else response.json()["error"]["code"]
                self.answers.append(Answer(response.status_code, code, response.headers, time.monotonic() - start))

    @contextmanager
    def running(self, clients: int) -> Iterator[None]:
        with ThreadPoolExecutor(clients) as threads:
            workers = [threads.submit(self.work) for _ in range(clients)]
            try:
                yield
            finally:
                self._stop.set()
            for worker in workers:
                worker.result()

    def counts(self) -> Counter[int]:
        return Counter(answer.status for answer in self.answers)

    def wait_for(self, status: int, more: int = 20) -> None:
        """Waits until that status has been returned some more times."""
        enough = self.counts()[status] + more
        wait_until(lambda: self.counts()[status] >= enough, 30)


class Answer(NamedTuple):
    status: int
    code: str
    headers: httpx.Headers
    seconds: float


@contextmanager
def database_server(folder: Path) -> Iterator[Server]:
    with embedded.running(folder, settings={"fsync": "off"}) as running:
        yield Server(running.url, embedded.SUPERUSER, "postgres")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGQUIT, signal.SIGINT], ids=lambda number: number.name)
def test_gateway_survives_the_loss_of_its_database(
    make_gateway: Callable[..., Gateway], tenant_id: UUID, how: signal.Signals
) -> None:
    """Under load the server is killed, stopped immediately or shut down, and comes back after a while."""
    with open_folder() as folder:
        data = folder / "data"
        with database_server(data) as server, ExitStack() as stack:
            database = Database(server, embedded.DATABASE)
            asyncio.run(deploy(database.url()))
            gateway = make_gateway(database, DATABASE_ACQUIRE_TIMEOUT_MS="1000", DATABASE_STATEMENT_TIMEOUT_MS="2000")
            with gateway.client(tenant_id) as client:
                body = {"cards": [{"card_type": "voice", "content": {}}]}
                card_id = client.post("/api/v1/cards/batch", json=body).json()["cards"][0]["card_id"]
                load = Load(gateway, tenant_id, card_id)
                with load.running(8):
                    load.wait_for(200)
                    end(data, how)
                    load.wait_for(503)
                    assert client.get("/health").status_code == 503
                    assert client.get("/ready").status_code == 503
                    stack.enter_context(database_server(data))
                    load.wait_for(200, more=100)
                    wait_until(lambda: client.get("/health").json()["status"] == "healthy")
                    assert client.get("/ready").status_code == 200
                count = client.post(f"/api/v1/cards/{card_id}/usage", json={}).json()["usage_count"]
            assert gateway.process.poll() is None
            check(load, count)


def end(data: Path, how: signal.Signals) -> None:
    """Ends the server of a folder, and waits until it is gone."""
    postmaster = int((data / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(postmaster, how)
    wait_until(lambda: not is_alive(postmaster))


def check(load: Load, count: int) -> None:
    statuses = load.counts()
    assert set(statuses) == {200, 503}
    refused = [answer for answer in load.answers if answer.status == 503]
    # A call is only refused as busy after it has waited for its whole acquire timeout.
    others = [answer for answer in refused if answer.code != "DATABASE_UNAVAILABLE"]
    assert [answer for answer in others if (answer.code, answer.seconds >= 1) != ("DATABASE_BUSY", True)] == []
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    # Each timeout can strike once: waiting for a turn, connecting, the statement, releasing the connection.
    assert max(answer.seconds for answer in load.answers) < 8
    # Every use that was confirmed is counted; one that was not may be.
    assert statuses[200] + 1 <= count <= statuses[200] + statuses[503] + 1

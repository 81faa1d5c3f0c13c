"""Through PgBouncer in transaction mode: each transaction may run in another server process, without harm.

With `pytest --pgbouncer` every test of a gateway process does the same.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from support import flow, monitoring, poolers
from support.gateways import Gateway, run_cardbase, running_gateway, wait_until
from support.servers import LOGIN_ROLES, Database, Server
from support.tables import query, row_counts

from gateway.database.listener import Listener

BATCH = "/api/v1/cards/batch"
RETRIEVE = "/api/v1/cards/retrieve"


@pytest.fixture(scope="module")
def pooled(server: Server, request: pytest.FixtureRequest) -> Iterator[Server]:
    """The server behind a PgBouncer that has fewer connections than a gateway opens."""
    if request.config.getoption("pgbouncer"):
        pytest.skip("the way leads through a PgBouncer already")
    with poolers.through_pgbouncer(server, *LOGIN_ROLES, connections=3) as behind:
        yield behind


@pytest.fixture(scope="module")
def shared_database(_clone: Callable[[ExitStack], Database], pooled: Server) -> Iterator[Database]:
    """A deployed database that the tests of this file share: gateways reach it only through that PgBouncer."""
    with ExitStack() as stack:
        yield replace(_clone(stack), server=pooled)


@pytest.fixture
def database(make_database: Callable[[], Database], pooled: Server) -> Database:
    """A database for this test only."""
    return replace(make_database(), server=pooled)


@pytest.fixture(scope="module")
def gateway(shared_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway with more connections to PgBouncer than PgBouncer has to the server."""
    variables = {"DATABASE_URL": shared_database.url("cardbase_gateway"), **poolers.VARIABLES}
    with running_gateway(tmp_path_factory.mktemp("pooled"), variables) as gateway:
        yield gateway


def processes_behind(database: Database) -> int:
    """How many server processes run gateways' calls."""
    sql = "usename = 'cardbase_gateway' and application_name like 'cardbase%'"
    return int(database.execute(f"select count(*) from pg_stat_activity where datname = '{database.name}' and {sql}"))


def test_flow_goes_through_its_six_steps(gateway: Gateway, tenant_id: UUID) -> None:
    with flow.client_of(gateway.address, tenant_id) as client:
        flow.run(client, lambda title, rows: None)


async def test_many_at_once_share_few_connections(gateway: Gateway, shared_database: Database) -> None:
    """Two tenants with interleaved calls of all kinds: each gets its own results, and counts are exact."""
    tenants = [uuid4(), uuid4()]

    async def one(client: httpx.AsyncClient, tenant_id: UUID, number: int) -> None:
        headers = {"X-Tenant-ID": str(tenant_id), "Idempotency-Key": f"key {number % 10}"}
        body = {"cards": [{"card_type": "voice", "content": {"number": number % 10, "tenant": str(tenant_id)}}]}
        created = await client.post(BATCH, json=body, headers=headers)
        assert created.status_code == 201, created.text
        card = created.json()["cards"][0]
        assert card["content"] == body["cards"][0]["content"]
        answers = await asyncio.gather(
            client.post(RETRIEVE, json={"card_ids": [card["card_id"]]}, headers=headers),
            client.post(f"/api/v1/cards/{card['card_id']}/usage", json={"workflow_id": str(number)}, headers=headers),
            client.get(f"/api/v1/cards/{uuid4()}", headers=headers),
        )
        assert [answer.status_code for answer in answers] == [200, 200, 404]
        [retrieved] = answers[0].json()["cards"]
        assert retrieved["content"] == card["content"]

    limits = httpx.Limits(max_connections=32)
    async with httpx.AsyncClient(base_url=gateway.address, limits=limits, timeout=60, trust_env=False) as client:
        await asyncio.gather(*(one(client, tenant_id, number) for tenant_id in tenants for number in range(40)))

    for tenant_id in tenants:
        stored = {"cards": 10, "card_usage": 40, "card_usage_totals": 10, "idempotency_store": 10}
        assert row_counts(shared_database, tenant_id) == stored
        used = query(shared_database, tenant_id, "select sum(usage_count) from app.card_usage_totals")
        assert used == "40"
    assert 1 <= processes_behind(shared_database) <= 3


def test_a_replay_is_a_replay_and_a_reused_key_is_refused(gateway: Gateway, tenant_id: UUID) -> None:
    body = {"cards": [{"card_type": "company", "content": {"name": "Acme"}}]}
    other = {"cards": [{"card_type": "company", "content": {"name": "Globex"}}]}
    with gateway.client(tenant_id) as client:
        first, again = (client.post(BATCH, json=body, headers={"Idempotency-Key": "k"}) for _ in range(2))
        reused = client.post(BATCH, json=other, headers={"Idempotency-Key": "k"})
    assert [answer.headers["x-idempotency-cache"] for answer in (first, again)] == ["MISS", "HIT"]
    assert (first.status_code, first.content) == (again.status_code, again.content)
    assert (reused.status_code, reused.json()["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


def test_no_tenant_is_left_behind_on_a_connection(gateway: Gateway, shared_database: Database, tenant_id: UUID) -> None:
    with gateway.client(tenant_id) as client:
        body: dict[str, Any] = {"cards": [{"card_type": "voice", "content": {}}]}
        assert client.post(BATCH, json=body).status_code == 201
    for _ in range(10):
        setting = shared_database.execute(
            "select coalesce(current_setting('app.current_tenant_id', true), '')", user="cardbase_gateway"
        )
        assert setting == ""


def test_functions_are_called_over_rpc(gateway: Gateway, tenant_id: UUID) -> None:
    with gateway.client(tenant_id) as client:
        answer = client.post("/rpc/retrieve_cards", json={"card_ids": [str(tenant_id)]})
    assert answer.status_code == 200, answer.text
    assert answer.json() == {"cards": [], "missing_ids": [str(tenant_id)]}


def test_health_and_readiness_are_seen_through_it(gateway: Gateway) -> None:
    with gateway.client() as client:
        for _ in range(5):
            assert client.get("/health").json()["status"] == "healthy"
            assert client.get("/ready").json() == {"ready": True}


async def test_nobody_expects_notifications_that_a_pooler_swallows(shared_database: Database) -> None:
    """Also without the setting, as PgBouncer 1.21 and newer keep prepared statements."""
    listener = Listener(shared_database.url("cardbase_gateway"))
    listener.start()
    try:
        assert await listener.ask("select 1") == 1
        assert not listener.is_listening
        assert not await listener.catch_up(60)
    finally:
        await listener.close()


def test_a_worker_does_its_work_through_it(database: Database, tmp_path: Path) -> None:
    expired = "select gen_random_uuid(), 'key', '\\x01', 200, now() from generate_series(1, 3)"
    database.execute(
        f"insert into app.idempotency_store (tenant_id, idempotency_key, fingerprint, status, expires_at) {expired}"
    )
    url = database.url("cardbase_worker")
    done = run_cardbase("worker", "--once", folder=tmp_path, WORKER_DATABASE_URL=url)
    assert done.returncode == 0
    assert "idempotency_store: 3 removed" in done.stdout.splitlines()
    with monitoring.running_worker(tmp_path, WORKER_DATABASE_URL=url) as worker:
        wait_until(lambda: "cards_database_up 1.0" in worker.get("/metrics").text, 30)


def test_a_statement_that_runs_too_long_leaves_the_connection_usable(
    database: Database, make_gateway: Callable[..., Gateway], tenant_id: UUID
) -> None:
    database.execute(
        "create or replace function api.get_card(tenant_id uuid, card_id uuid) returns api.reply"
        " language plpgsql as $$ begin perform pg_sleep(60); end $$"
    )
    gateway = make_gateway(database, DATABASE_STATEMENT_TIMEOUT_MS="300", **poolers.VARIABLES)
    with gateway.client(tenant_id) as client:
        for _ in range(4):
            assert client.get(f"/api/v1/cards/{uuid4()}").status_code == 504
        assert client.post(RETRIEVE, json={"card_ids": [str(tenant_id)]}).status_code == 200

"""The catalog changes while the gateway runs."""

import signal
from collections.abc import Callable, Iterator
from uuid import UUID

import httpx
import pytest
from support.gateways import Gateway, wait_until
from support.rpc import metric
from support.servers import Database


@pytest.fixture
def own(make_gateway: Callable[..., Gateway], database: Database, tenant_id: UUID) -> Iterator[httpx.Client]:
    """A client of a gateway on a database that no other test uses."""
    with make_gateway(database).client(tenant_id) as client:
        yield client


def until_it_answers(client: httpx.Client, path: str, text: str) -> None:
    """Waits until a path returns a text."""
    wait_until(lambda: client.get(path).text == text, 30)


def test_a_new_function_is_found_without_a_notification(own: httpx.Client, database: Database) -> None:
    assert own.get("/rpc/newcomer").status_code == 404
    database.execute("create function api.newcomer() returns integer language sql stable return 1")
    until_it_answers(own, "/rpc/newcomer", "1")


@pytest.mark.usefixtures("notifications")
def test_a_changed_function_is_seen_after_a_notification(own: httpx.Client, database: Database) -> None:
    """A function that only read becomes one that writes: only the catalog tells."""
    for notify in ("notify cardbase, 'reload'", "notify pgrst, 'reload schema'", "notify pgrst"):
        database.execute("create function api.changing() returns integer language sql stable return 1", notify)
        until_it_answers(own, "/rpc/changing", "1")
        database.execute(
            "create or replace function api.changing() returns integer language sql volatile return 2", notify
        )
        wait_until(lambda: own.get("/rpc/changing").status_code == 405)
        assert own.post("/rpc/changing").text == "2"
        database.execute("drop function api.changing()", notify)
        wait_until(lambda: own.get("/rpc/changing").status_code == 404)


def test_a_changed_row_type_is_returned_as_it_is_now(own: httpx.Client, database: Database) -> None:
    """Statements are prepared: a function that is recreated with other columns does not break them."""
    signature = "create function api.changing() returns table ({}) language sql stable as '{}'"
    database.execute(signature.format("a integer", "select 1"))
    until_it_answers(own, "/rpc/changing", '[{"a":1}]')
    for _ in range(20):
        own.get("/rpc/changing")
    database.execute("drop function api.changing()", signature.format("b text, c integer", "select null::text, 2"))
    assert {own.get("/rpc/changing").text for _ in range(20)} == {'[{"b":null,"c":2}]'}


def test_sighup_reloads(make_gateway: Callable[..., Gateway], database: Database, tenant_id: UUID) -> None:
    gateway = make_gateway(database)
    with gateway.client(tenant_id) as client:
        database.execute("create function api.changing() returns integer language sql stable return 1")
        until_it_answers(client, "/rpc/changing", "1")
        database.execute("create or replace function api.changing() returns integer language sql volatile return 2")
        assert client.get("/rpc/changing").status_code == 200
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: client.get("/rpc/changing").status_code == 405)


def test_a_raised_version_is_seen_without_a_notification(
    make_gateway: Callable[..., Gateway], database: Database, tenant_id: UUID
) -> None:
    """Also after the connection that listens has died."""
    gateway = make_gateway(database)
    with gateway.client(tenant_id) as client:
        database.execute("create function api.changing() returns integer language sql stable return 1")
        until_it_answers(client, "/rpc/changing", "1")
        database.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'cardbase listener' and datname = current_database()",
            "create or replace function api.changing() returns integer language sql volatile return 2",
            "update deployment.state set catalog_version = 4711",
        )
        wait_until(lambda: client.get("/rpc/changing").status_code == 405, 30)
        assert client.get("/api/v1/info").json()["catalog_version"] == 4711
    assert metric(gateway, "cards_catalog_version") == 4711


def test_calls_continue_while_the_catalog_is_reloaded(own: httpx.Client, database: Database) -> None:
    database.execute("create function api.steady() returns integer language sql stable return 1")
    until_it_answers(own, "/rpc/steady", "1")
    for number in range(20):
        database.execute("notify cardbase, 'reload'")
        assert own.get("/rpc/steady").text == "1", number


def test_without_a_database_it_says_when_to_retry(
    make_gateway: Callable[..., Gateway], database: Database, tenant_id: UUID
) -> None:
    url = database.url("cardbase_gateway").replace(database.name, "nowhere_at_all")
    with make_gateway(DATABASE_URL=url).client(tenant_id) as client:
        response = client.get("/rpc/get_health")
    assert (response.status_code, response.json()["code"], response.headers["retry-after"]) == (503, "PGRST002", "1")

"""Clients that disconnect, and the connections that calls run on."""

import json
import socket
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from support.gateways import Gateway, wait_until
from support.rpc import metric, sleeping
from support.servers import Database


def test_the_query_of_a_client_that_left_is_cancelled(
    make_gateway: Callable[..., Gateway], rpc_database: Database, tenant_id: UUID
) -> None:
    gateway = make_gateway(rpc_database, DATABASE_STATEMENT_TIMEOUT_MS="600000")
    with gateway.client(tenant_id) as client, client.stream("GET", "/rpc/add?a=1"):
        pass
    left = leave_early(gateway, rpc_database, tenant_id, "GET", "sleep?seconds=600")
    wait_until(lambda: sleeping(rpc_database) == 0, 5)
    wait_until(lambda: left in gateway.log)
    line = next(json.loads(line) for line in gateway.log.splitlines() if left in line)
    assert (line["status"], line["code"], line["level"]) == (499, "CLIENT_LEFT", "info")
    with gateway.client(tenant_id) as client:
        assert client.get("/rpc/add?a=1").text == "11"


def test_a_write_is_finished_without_its_client(
    make_gateway: Callable[..., Gateway], rpc_database: Database, tenant_id: UUID
) -> None:
    rpc_database.execute("truncate test.notes")
    gateway = make_gateway(rpc_database)
    leave_early(gateway, rpc_database, tenant_id, "POST", "sleep_and_write", {"seconds": 1, "note_id": 7})
    wait_until(lambda: rpc_database.execute("select note_id from test.notes") == "7")


def leave_early(gateway: Gateway, database: Database, tenant_id: UUID, method: str, path: str, body: Any = None) -> str:
    """Sends a request and disconnects while the database runs it; returns the request's id."""
    request_id = uuid4().hex
    content = "" if body is None else json.dumps(body)
    lines = (
        f"{method} /rpc/{path} HTTP/1.1",
        "Host: localhost",
        f"X-Tenant-ID: {tenant_id}",
        f"X-Request-ID: {request_id}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "",
        content,
    )
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall("\r\n".join(lines).encode())
        wait_until(lambda: sleeping(database) == 1)
    return request_id


@pytest.mark.usefixtures("no_notes")
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"DATABASE_POOL_MAX": "3", "DATABASE_POOL_MIN": "0"}, id="few connections"),
        pytest.param({"DATABASE_PREPARED_STATEMENTS": "false"}, id="behind a pooler"),
    ],
)
def test_reads_are_read_only_without_separate_connections(
    make_gateway: Callable[..., Gateway], rpc_database: Database, tenant_id: UUID, settings: dict[str, str]
) -> None:
    with make_gateway(rpc_database, **settings).client(tenant_id) as client:
        response = client.get("/rpc/write_although_stable?note_id=1")
        assert (response.status_code, response.json()["code"]) == (405, "25006")
        assert client.get("/rpc/squares?n=1").json() == [{"number": 1, "square": 1}]
        assert client.post("/rpc/write_notes", json={"n": 0}).json() == []


def test_all_connections_together_keep_to_the_maximum(
    make_gateway: Callable[..., Gateway], rpc_database: Database, tenant_id: UUID
) -> None:
    gateway = make_gateway(rpc_database, DATABASE_POOL_MIN="0", DATABASE_POOL_MAX="8")
    assert metric(gateway, "cards_database_pool_max") == 8

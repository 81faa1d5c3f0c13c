"""Calls of /rpc under test. The functions are those of rpc_functions.sql."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import httpx
import pytest

from support import shapes
from support.gateways import Gateway
from support.servers import Database

FILLED = ["tenant_id", "user_id", "idempotency_key", "idempotency_ttl_hours", "if_match", "cleared_fields"]
JSON = "application/json; charset=utf-8"
OBJECT = "application/vnd.pgrst.object+json"
ARRAY = "application/vnd.pgrst.array+json"


@pytest.fixture(scope="module")
def rpc_connection(rpc_gateway: Gateway) -> Iterator[httpx.Client]:
    """A client of /rpc."""
    with httpx.Client(base_url=f"{rpc_gateway.address}/rpc/", timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def rpc(rpc_connection: httpx.Client, tenant_id: UUID) -> httpx.Client:
    """A client of /rpc, as the test's tenant."""
    rpc_connection.headers["X-Tenant-ID"] = str(tenant_id)
    return rpc_connection


@pytest.fixture
def no_notes(rpc_database: Database) -> None:
    """An empty table of notes."""
    rpc_database.execute("truncate test.notes")


def said_of(response: httpx.Response) -> dict[str, str]:
    """The headers, without those that every response has."""
    usual = {"x-request-id", "x-trace-id", "x-process-time", "date", "content-length", "vary"}
    return {name: value for name, value in response.headers.items() if name not in usual}


def rpc_error(code: str, message: Any, details: str | None = None, hint: str | None = None) -> dict[str, Any]:
    """The body of an error."""
    return {"code": code, "message": message, "details": details, "hint": hint, "request_id": shapes.MADE_UP_ID}


def assert_refused(response: httpx.Response, status: int, code: str, message: Any, *said: str | None) -> None:
    """Asserts a whole error: its keys in order, and the code in a header, too."""
    assert (response.status_code, response.json()) == (status, rpc_error(code, message, *said)), response.text
    assert list(response.json()) == ["code", "message", "details", "hint", "request_id"]
    assert response.headers["proxy-status"] == f"PostgREST; error={code}"
    assert response.headers["content-type"] == JSON
    assert ("retry-after" in response.headers) == (status == 503)


def note_ids(rpc: httpx.Client) -> list[int | None]:
    """The ids of the notes that were written."""
    found: list[int | None] = rpc.get("note_ids").raise_for_status().json()
    return found


def sleeping(database: Database) -> int:
    """How many connections run a sleep."""
    count = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
    return int(database.execute(count))


def metric(gateway: Gateway, name: str) -> float:
    """The value of a metric."""
    with gateway.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return next(float(line.removeprefix(f"{name} ")) for line in lines if line.startswith(f"{name} "))

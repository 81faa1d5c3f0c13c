"""/health and /ready in each state: what they check is really gone, locked or full, and comes back."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import pytest
from support.gateways import Gateway, wait_until
from support.locks import Holder, waiting_for_locks
from support.monitoring import running_worker
from support.redis_server import MISSING, redis_server
from support.servers import Database

from gateway import __version__

CARD: Final = {"card_type": "company", "content": {"name": "Acme"}}


class Seconds(float):
    """Equal to every number that is not negative."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, float) and other >= 0

    __hash__ = None  # type: ignore[assignment]


def health_of(status: str, database: str, redis: str = "disabled", task_queue: str = "disabled") -> dict[str, Any]:
    services = {"database": database, "redis": redis, "task_queue": task_queue}
    return {"status": status, **services, "services": services, "version": __version__, "uptime": Seconds()}


def test_health_and_readiness_need_no_tenant(database: Database, make_gateway: Callable[..., Gateway]) -> None:
    with make_gateway(database).client() as client:
        health, ready = client.get("/health"), client.get("/ready")
    assert (health.status_code, health.json()) == (200, health_of("healthy", "connected"))
    assert (ready.status_code, ready.json()) == (200, {"ready": True})


def test_full_pool_is_degraded_and_not_ready(
    database: Database, make_gateway: Callable[..., Gateway], tenant_id: UUID
) -> None:
    gateway = make_gateway(database, DATABASE_POOL_MIN="1", DATABASE_POOL_MAX="1")
    with gateway.client(tenant_id) as client, ThreadPoolExecutor(1) as thread:
        card_id = client.post("/api/v1/cards", json=CARD).json()["card_id"]
        use = f"select from api.track_usage('{tenant_id}', '{card_id}')"
        with Holder(database, use) as holder:
            under_way = thread.submit(client.post, f"/api/v1/cards/{card_id}/usage")
            wait_until(lambda: waiting_for_locks(database) == 1)
            health, ready = client.get("/health"), client.get("/ready")
            assert (health.status_code, health.json()) == (200, health_of("degraded", "connected"))
            assert (ready.status_code, ready.json()) == (503, {"ready": False})
            holder.release()
        assert under_way.result().status_code == 200
        assert client.get("/health").json()["status"] == "healthy"
        assert client.get("/ready").status_code == 200


@pytest.mark.parametrize("table", ["cards", "card_usage", "card_usage_totals", "idempotency_store"])
def test_locked_table_is_degraded_within_three_seconds(
    database: Database, make_gateway: Callable[..., Gateway], table: str
) -> None:
    gateway = make_gateway(database)
    with gateway.client() as client:
        with Holder(database, f"lock table app.{table}"):
            health = client.get("/health")
            assert (health.status_code, health.json()) == (200, health_of("degraded", "connected"))
            assert health.elapsed.total_seconds() < 3
            assert client.get("/ready").status_code == 503
        wait_until(lambda: client.get("/health").json()["status"] == "healthy")
        assert client.get("/ready").status_code == 200


def test_database_that_is_gone_is_unhealthy(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway(DATABASE_URL="postgresql://cardbase_gateway@/nothing?host=/nowhere")
    with gateway.client() as client:
        health, ready = client.get("/health"), client.get("/ready")
    gone = health_of("unhealthy", "disconnected", task_queue="disconnected")
    assert (health.status_code, health.json()) == (503, gone)
    assert health.elapsed.total_seconds() < 3
    assert (ready.status_code, ready.json()) == (503, {"ready": False})


def test_redis_is_checked_if_there_is_one(
    database: Database, make_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    if shutil.which("redis-server") is None:
        pytest.skip(MISSING)
    with redis_server(tmp_path) as redis:
        gateway = make_gateway(database, REDIS_URL=redis.url)
        with gateway.client() as client:
            assert client.get("/health").json() == health_of("healthy", "connected", redis="connected")
            redis.stop()
            gone = client.get("/health")
            assert gone.elapsed.total_seconds() < 3
            assert (gone.status_code, gone.json()) == (200, health_of("degraded", "connected", redis="disconnected"))
            redis.start()
            assert client.get("/health").json() == health_of("healthy", "connected", redis="connected")


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_a_head_request_checks_the_same(client: httpx.Client, path: str) -> None:
    head = client.head(path)

    assert (head.status_code, head.content) == (200, b"")


def test_database_that_nothing_was_deployed_to_is_not_ready(
    empty_database: Database, make_gateway: Callable[..., Gateway]
) -> None:
    """The login roles exist in the whole server, so they can connect."""
    gateway = make_gateway(empty_database)
    with gateway.client() as client:
        health, ready = client.get("/health"), client.get("/ready")
    assert (health.status_code, health.json()) == (200, health_of("degraded", "connected"))
    assert (ready.status_code, ready.json()) == (503, {"ready": False})


def test_task_queue_is_connected_while_a_worker_is_alive(
    database: Database, make_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    gateway = make_gateway(database)
    connected, gone = (
        health_of(status, "connected", task_queue=state)
        for status, state in (("healthy", "connected"), ("degraded", "disconnected"))
    )
    with gateway.client() as client:
        assert client.get("/health").json() == health_of("healthy", "connected")
        with running_worker(tmp_path, WORKER_DATABASE_URL=database.url("cardbase_worker")):
            wait_until(lambda: client.get("/health").json() == connected)
            with Holder(database, "lock table app.workers"):
                locked = client.get("/health")
                assert (locked.status_code, locked.json()) == (200, gone)
                assert locked.elapsed.total_seconds() < 3
                assert client.get("/ready").status_code == 200
            wait_until(lambda: client.get("/health").json() == connected)
        # It has signed off, so it is not missed.
        wait_until(lambda: client.get("/health").json() == health_of("healthy", "connected"))
        database.execute(
            "insert into app.workers (worker_id, host, expires_at) values (gen_random_uuid(), 'the dead', now())"
        )
        dead = client.get("/health")
        assert (dead.status_code, dead.json()) == (200, gone)
        assert client.get("/ready").status_code == 200


def test_database_from_before_there_was_a_task_queue_has_none(
    database: Database, make_gateway: Callable[..., Gateway]
) -> None:
    database.execute("drop function app.find_task_queue_state()")
    gateway = make_gateway(database)
    with gateway.client() as client:
        assert client.get("/health").json() == health_of("healthy", "connected")


@pytest.mark.parametrize("table", ["app.workers", "app.pending_jobs"])
def test_locked_tables_of_cards_and_of_the_task_queue_are_told_apart(
    database: Database, make_gateway: Callable[..., Gateway], table: str
) -> None:
    gateway = make_gateway(database)
    gone = health_of("degraded", "connected", task_queue="disconnected")
    with gateway.client() as client:
        assert client.get("/health").json() == health_of("healthy", "connected")
        with Holder(database, f"lock table {table}"):
            assert client.get("/health").json() == gone
            assert client.get("/ready").json() == {"ready": True}
            with Holder(database, "lock table app.cards"):
                both = client.get("/health")
                assert (both.status_code, both.json()) == (200, gone)
                assert both.elapsed.total_seconds() < 3
                assert client.get("/ready").json() == {"ready": False}
        with Holder(database, "lock table app.cards"):
            assert client.get("/health").json() == health_of("degraded", "connected")
        assert client.get("/health").json() == health_of("healthy", "connected")


def test_database_from_before_the_function_of_health_is_not_ready(
    database: Database, make_gateway: Callable[..., Gateway]
) -> None:
    database.execute("drop function api.get_health()")
    gateway = make_gateway(database)
    with gateway.client() as client:
        assert client.get("/health").json() == health_of("degraded", "connected")
        assert client.get("/ready").json() == {"ready": False}


def test_database_that_goes_is_unhealthy_until_it_is_back(
    make_database: Callable[[], Database], make_gateway: Callable[..., Gateway]
) -> None:
    database = make_database()
    gateway = make_gateway(database)
    with gateway.client() as client:
        assert client.get("/health").status_code == 200
        database.server.execute(f"alter database {database.name} with allow_connections false")
        database.server.execute(
            f"select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database.name}'"
        )
        for method in ("GET", "HEAD"):
            assert client.request(method, "/health").status_code == 503
            assert client.request(method, "/ready").status_code == 503
        database.server.execute(f"alter database {database.name} with allow_connections true")
        assert client.get("/health").json() == health_of("healthy", "connected")
        assert client.get("/ready").status_code == 200

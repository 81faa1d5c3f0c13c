"""The worker: maintenance by one at a time, in bounded steps, through the database's absences."""

import base64
import json
import signal
from pathlib import Path
from typing import Final
from uuid import UUID

import asyncpg
import psutil
import pytest
from prometheus_client import generate_latest
from support import monitoring
from support.gateways import run_cardbase, wait_until
from support.monitoring import value
from support.servers import PASSWORD, Database

from gateway.operate.role_passwords import scram_verifier
from gateway.settings import Settings
from gateway.worker.maintenance import maintain
from gateway.worker.metrics import WorkerMetrics

EXPIRED: Final = """
insert into app.idempotency_store (tenant_id, idempotency_key, fingerprint, status, expires_at)
select gen_random_uuid(), 'key', '\\x01', 200, now() - interval '1 hour' from generate_series(1, {rows})
"""
OLD_EVENTS: Final = """
with card as (
    insert into app.cards (tenant_id, card_type, content) values (gen_random_uuid(), 'voice', '{{}}')
    returning tenant_id, card_id
),
total as (
    insert into app.card_usage_totals (tenant_id, card_id, usage_count, last_used_at)
    select tenant_id, card_id, {rows}, now() from card
)
insert into app.card_usage (tenant_id, card_id, used_at)
select tenant_id, card_id, now() - interval '{days} days' from card cross join generate_series(1, {rows})
"""

LINES: Final = (
    "idempotency_store: {} removed\nsign_in: 0 removed\njobs: 0 removed\nevents: 0 removed\ncard_search: {} indexed\n"
)


def rows(database: Database, table: str) -> int:
    return int(database.execute(f"select count(*) from app.{table}"))


@pytest.fixture
def url(database: Database) -> dict[str, str]:
    """What leads a worker to the test's database."""
    return {"WORKER_DATABASE_URL": database.url("cardbase_worker")}


def test_one_round_removes_what_is_due_step_by_step(database: Database, url: dict[str, str], tmp_path: Path) -> None:
    database.execute(EXPIRED.format(rows=2500))
    database.execute(OLD_EVENTS.format(rows=1500, days=31), OLD_EVENTS.format(rows=7, days=29))
    done = run_cardbase("worker", "--once", folder=tmp_path, USAGE_RETENTION_DAYS="30", **url)
    assert (done.returncode, done.stdout) == (
        0,
        LINES.format(2500, 0) + "card_usage: 1500 removed\n",
    )
    line = json.loads(done.stderr)
    assert line["event"] == "maintenance done"
    assert line["removed"] == {
        "idempotency_store": 2500,
        "sign_in": 0,
        "jobs": 0,
        "events": 0,
        "card_usage": 1500,
    }
    assert line["indexed"] == {"card_search": 0}
    assert (rows(database, "idempotency_store"), rows(database, "card_usage")) == (0, 7)
    assert int(database.execute("select sum(usage_count) from app.card_usage_totals")) == 1507


def test_without_a_retention_events_stay(database: Database, url: dict[str, str], tmp_path: Path) -> None:
    database.execute(OLD_EVENTS.format(rows=3, days=3000))
    done = run_cardbase("worker", "--once", folder=tmp_path, **url)
    assert (done.returncode, done.stdout) == (0, LINES.format(0, 0))
    assert rows(database, "card_usage") == 3


def test_cards_that_were_indexed_are_not_reported_as_removed(
    database: Database, url: dict[str, str], tmp_path: Path, tenant_id: UUID
) -> None:
    database.execute(f"select from api.create_card('{tenant_id}', 'voice', '{{\"name\": \"to be found\"}}')")
    done = run_cardbase("worker", "--once", folder=tmp_path, **url)
    assert (done.returncode, done.stdout) == (0, LINES.format(0, 1))
    assert json.loads(done.stderr)["indexed"] == {"card_search": 1}


async def test_every_task_of_maintenance_has_its_metric_from_the_start(
    database: Database, url: dict[str, str], tenant_id: UUID
) -> None:
    database.execute(
        EXPIRED.format(rows=2), f"select from api.create_card('{tenant_id}', 'voice', '{{\"name\": \"to be found\"}}')"
    )
    metrics = WorkerMetrics()
    before = _rows_by_task(metrics)
    done = await maintain(url["WORKER_DATABASE_URL"], metrics, Settings(usage_retention_days=1))
    assert done is not None
    assert before == dict.fromkeys(done, 0)
    assert _rows_by_task(metrics) == done
    assert (done["idempotency_store", "removed"], done["card_search", "indexed"]) == (2, 1)


def _rows_by_task(metrics: WorkerMetrics) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["task"], sample.labels["action"]): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "cards_maintenance_rows_total"
    }


async def test_one_at_a_time_does_the_maintenance(database: Database, url: dict[str, str]) -> None:
    """While one is at it another one finds nothing to do, and waits for nothing."""
    database.execute(EXPIRED.format(rows=5))
    connection = await asyncpg.connect(database.url("cardbase_worker"))
    metrics = WorkerMetrics()
    try:
        async with connection.transaction():
            first = await connection.fetch("select * from app.run_maintenance(maximum_rows => 2)")
            assert tuple(first[0]) == ("idempotency_store", "removed", 2)
            assert await maintain(url["WORKER_DATABASE_URL"], metrics, Settings()) == {}
        done = await maintain(url["WORKER_DATABASE_URL"], metrics, Settings())
        assert done is not None
        assert done["idempotency_store", "removed"] == 3
    finally:
        await connection.close()
    text = _exposition(metrics)
    assert value(text, "cards_maintenance_runs_total", result="elsewhere") == 1
    assert value(text, "cards_maintenance_runs_total", result="done") == 1
    assert value(text, "cards_maintenance_rows_total", task="idempotency_store", action="removed") == 3


def _exposition(metrics: WorkerMetrics) -> str:
    return generate_latest(metrics.registry).decode()


def test_plain_sql_does_the_same(database: Database) -> None:
    database.execute(EXPIRED.format(rows=2))
    done = database.execute("select * from app.run_maintenance()", user="cardbase_worker")
    assert done.startswith("idempotency_store|removed|2\nsign_in|removed|0\n")
    assert rows(database, "idempotency_store") == 0


def test_two_workers_keep_the_database_tidy_and_say_so(database: Database, url: dict[str, str], tmp_path: Path) -> None:
    variables = {**url, "MAINTENANCE_INTERVAL_SECONDS": "1", "USAGE_RETENTION_DAYS": "1"}
    with (
        monitoring.running_worker(tmp_path / "one", **variables) as one,
        monitoring.running_worker(tmp_path / "two", **variables) as two,
    ):
        database.execute(EXPIRED.format(rows=1200), OLD_EVENTS.format(rows=20, days=2))

        def removed(task: str) -> float:
            return sum(
                value(running.get("/metrics").text, "cards_maintenance_rows_total", task=task, action="removed")
                for running in (one, two)
            )

        wait_until(lambda: (removed("idempotency_store"), removed("card_usage")) == (1200, 20), 30)
        wait_until(lambda: "cards_table_rows" in one.get("/metrics").text, 30)
        text = one.get("/metrics").text
        assert value(text, "cards_database_up") == 1
        last = "cards_maintenance_last_success_timestamp_seconds"
        assert max(value(running.get("/metrics").text, last) for running in (one, two)) > 0
        assert value(text, "cards_database_connections_max") >= 20
    assert (rows(database, "idempotency_store"), rows(database, "card_usage")) == (0, 0)


def test_a_worker_outlives_the_database(database: Database, url: dict[str, str], tmp_path: Path) -> None:
    database.execute("alter role cardbase_worker connection limit 0")
    try:
        with monitoring.running_worker(tmp_path, MAINTENANCE_INTERVAL_SECONDS="1", **url) as running:

            def runs(result: str) -> float:
                return value(running.get("/metrics").text, "cards_maintenance_runs_total", result=result)

            wait_until(lambda: "waiting for the database" in running.output.read_text(), 30)
            assert runs("done") == 0
            assert value(running.get("/metrics").text, "cards_database_up") == 0
            database.execute("alter role cardbase_worker connection limit -1")
            wait_until(lambda: runs("done") >= 1, 30)
        said = running.output.read_text()
        assert "TooManyConnectionsError 53300" in said
        assert (said.count("waiting for the database"), said.count("can't listen to the database")) == (1, 1)
        assert PASSWORD not in said
    finally:
        database.execute("alter role cardbase_worker connection limit -1")


def test_a_round_that_fails_ends_with_status_1(tmp_path: Path) -> None:
    url = "postgresql://cardbase_worker:hunter2@127.0.0.1:1/cardbase"
    done = run_cardbase("worker", "--once", folder=tmp_path, WORKER_DATABASE_URL=url)
    assert (done.returncode, done.stdout) == (1, "")
    line = json.loads(done.stderr)
    assert (line["event"], line["level"]) == ("maintenance failed", "warning")
    assert "hunter2" not in done.stderr


def test_a_worker_needs_a_database_of_its_own_where_the_gateway_has_one(tmp_path: Path) -> None:
    done = run_cardbase("worker", "--once", folder=tmp_path, DATABASE_URL="postgresql://cardbase_gateway@db/cardbase")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("cardbase: WORKER_DATABASE_URL must be set, ")


def test_a_taken_port_is_named(url: dict[str, str], tmp_path: Path) -> None:
    with monitoring.running_worker(tmp_path, **url) as running:
        port = running.address.rpartition(":")[2]
        done = run_cardbase("worker", folder=tmp_path, WORKER_METRICS_PORT=port, **url)
    assert done.returncode == 2
    assert done.stderr == f"cardbase: WORKER_METRICS_PORT: 127.0.0.1:{port} can't be had: Address already in use\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_ends_at_once_when_told_so(url: dict[str, str], tmp_path: Path, number: int) -> None:
    with monitoring.running_worker(tmp_path, **url):
        [process] = [child for child in psutil.Process().children() if "worker" in child.cmdline()]
        process.send_signal(number)
        assert process.wait(20) == 0


# --- passwords ----------------------------------------------------------------------------------------------------


def test_verifier_is_what_the_standard_says() -> None:
    """RFC 7677, section 3, has the exchange for this password and salt."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    expected = (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"
        "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )
    assert scram_verifier("pencil", salt) == expected


async def test_deploy_sets_passwords_that_the_server_takes_and_no_log_holds(database: Database, tmp_path: Path) -> None:
    stored = "select rolname, rolpassword from pg_authid where rolname in ('cardbase_gateway', 'cardbase_worker')"
    before = database.execute(stored)
    try:
        secret = tmp_path / "secret"
        secret.write_text("correct horse\n")
        done = run_cardbase(
            "deploy",
            folder=tmp_path,
            DEPLOY_DATABASE_URL=database.url(),
            GATEWAY_DATABASE_PASSWORD="battery staple",
            WORKER_DATABASE_PASSWORD_FILE=str(secret),
        )
        assert done.returncode == 0, done.stderr
        assert "battery" not in done.stdout + done.stderr
        verifiers = dict(line.split("|") for line in database.execute(stored).splitlines())
        for role, password in (("cardbase_gateway", "battery staple"), ("cardbase_worker", "correct horse")):
            salt = verifiers[role].split(":")[1].split("$")[0]
            assert verifiers[role] == scram_verifier(password, base64.b64decode(salt))
    finally:
        statements = [
            f"alter role {role} password '{verifier}'"
            for role, verifier in (line.split("|") for line in before.splitlines())
        ]
        database.execute(*statements)


def test_a_password_that_clients_would_hash_in_different_ways_is_refused(tmp_path: Path) -> None:
    done = run_cardbase("deploy", folder=tmp_path, GATEWAY_DATABASE_PASSWORD="pässword")
    assert (done.returncode, done.stderr) == (
        2,
        "cardbase: GATEWAY_DATABASE_PASSWORD must consist of printable ASCII characters\n",
    )

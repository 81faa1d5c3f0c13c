"""Backup and restore: into a server that has never seen cardbase, as docs/operations.md says."""

import re
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from support import REPOSITORY, servers, tap
from support.gateways import Gateway, run_cardbase, running_gateway
from support.listeners import listening
from support.servers import PASSWORD, Database, ProgramError, Server, run_program
from support.tokens import SECRET, bearer, token

BATCH = "/api/v1/cards/batch"
BODY = {
    "cards": [
        {"card_type": "company", "content": {"name": "Acme", "price": 1.10, "motto": "Größer, \\ schneller"}},
        {"card_type": "voice", "content": {"tone": ["plain"]}},
    ]
}
KEY = {"Idempotency-Key": "onboarding"}


@pytest.fixture
def fresh_server() -> Iterator[Server]:
    """A server without any of our roles."""
    with servers.embedded_server() as server:
        assert server.execute("select count(*) from pg_roles where rolname like 'cardbase%'") == "0"
        yield server


def restore(dump: Path, server: Server, folder: Path, *, is_emptied: bool = True) -> Database:
    """The steps that docs/operations.md names."""
    passwords = {f"{name}_DATABASE_PASSWORD": PASSWORD for name in ("GATEWAY", "SERVICE", "WORKER")}
    with server.database("roles") as roles:
        done = run_cardbase("deploy", folder=folder, DEPLOY_DATABASE_URL=roles.url(), **passwords)
        assert done.returncode == 0, done.stderr
    server.execute("create database restored template template0 encoding 'UTF8'")
    restored = Database(server, "restored")
    run_program("pg_restore", "--exit-on-error", "--single-transaction", f"--dbname={restored.url()}", str(dump))
    restored.execute(*["truncate app.events, app.event_subscriptions"] * is_emptied, "analyze")
    return restored


def test_restored_database_is_as_it_was(
    database: Database, fresh_server: Server, tmp_path: Path, tenant_id: UUID
) -> None:
    with (
        running_gateway(tmp_path / "before", {"DATABASE_URL": database.url("cardbase_gateway")}) as gateway,
        gateway.client(tenant_id) as client,
    ):
        created = client.post(BATCH, json=BODY, headers=KEY)
        assert created.status_code == 201
        ids = [card["card_id"] for card in created.json()["cards"]]
        for workflow in ("a", "a", "b"):
            assert client.post(f"/api/v1/cards/{ids[0]}/usage", json={"workflow_id": workflow}).status_code == 200
        assert client.delete(f"/api/v1/cards/{ids[1]}").status_code == 204
        before = client.post("/api/v1/cards/retrieve", json={"card_ids": ids})
        events = client.get(f"/api/v1/cards/{ids[0]}/usage")

    dump = tmp_path / "cardbase.dump"
    run_program("pg_dump", "--format=custom", f"--file={dump}", database.url())
    restored = restore(dump, fresh_server, tmp_path)

    with (
        running_gateway(tmp_path / "after", {"DATABASE_URL": restored.url("cardbase_gateway")}) as gateway,
        gateway.client(tenant_id) as client,
    ):
        assert client.get("/health").json()["status"] == "healthy"
        assert client.post("/api/v1/cards/retrieve", json={"card_ids": ids}).content == before.content
        assert client.get(f"/api/v1/cards/{ids[0]}/usage").content == events.content
        replay = client.post(BATCH, json=BODY, headers=KEY)
        assert (replay.status_code, replay.headers["x-idempotency-cache"]) == (201, "HIT")
        assert replay.content == created.content
        repeat = client.post(f"/api/v1/cards/{ids[0]}/usage", json={"workflow_id": "a"}).json()
        assert (repeat["usage_count"], repeat["event_recorded"]) == (4, False)
        again = client.post("/api/v1/cards", json=BODY["cards"][0])
        assert (again.status_code, again.json()["card_id"]) == (200, ids[0]), "the same content is the same card"
        anew = client.post("/api/v1/cards", json=BODY["cards"][1])
        assert anew.status_code == 201, "a deleted card does not stand in the way"
        with gateway.client(uuid4()) as stranger:
            assert stranger.get(f"/api/v1/cards/{ids[0]}").status_code == 404

    # The next deploy makes every function anew, because a restore gives them other numbers, and changes nothing else.
    done = run_cardbase("deploy", folder=tmp_path, DEPLOY_DATABASE_URL=restored.url())
    assert done.returncode == 0, done.stderr
    assert "migrations/" not in done.stdout
    done = run_cardbase("deploy", "--check", folder=tmp_path, DEPLOY_DATABASE_URL=restored.url())
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    done = run_cardbase("doctor", folder=tmp_path, DEPLOY_DATABASE_URL=restored.url())
    assert (done.returncode, done.stdout) == (0, "")
    if tap.script():
        for name in ("privileges", "deployment", "isolation"):
            file = REPOSITORY / "db" / "tests" / f"{name}.sql"
            assert tap.run(restored, file) == tap.run(database, file), "grants and policies are as they were"


USE_TRANSACTIONS = "do $$ begin for _ in 1..20000 loop perform pg_current_xact_id(); commit; end loop; end $$"


@pytest.mark.parametrize(
    ("is_ahead", "is_emptied"),
    [
        pytest.param(True, True, id="the old server is ahead"),
        pytest.param(False, True, id="the new server is ahead"),
        pytest.param(True, False, id="the old server is ahead, and its events are kept"),
    ],
)
def test_events_go_on_after_a_restore(
    database: Database, fresh_server: Server, tmp_path: Path, tenant_id: UUID, is_ahead: bool, is_emptied: bool
) -> None:
    """A listener is told that it may have missed something, and then everything, whichever numbers the servers use."""

    def create_card(gateway: Gateway) -> str:
        body = {"card_type": "insight", "content": {"id": str(uuid4())}}
        response = httpx.post(f"{gateway.address}/api/v1/cards", json=body, headers=bearer(ann), trust_env=False)
        return str(response.json()["card_id"])

    ann = token(tenant_id, sub=str(uuid4()))
    variables = {"JWT_SECRET_KEY": SECRET}
    if is_ahead:
        database.execute(USE_TRANSACTIONS)
    with (
        running_gateway(tmp_path / "before", variables | {"DATABASE_URL": database.url("cardbase_gateway")}) as gateway,
        listening(gateway, ann) as listener,
    ):
        listener.wait_for("reset")
        create_card(gateway)
        last_id = listener.wait_for("reset", "card.created")[-1].id

    dump = tmp_path / "cardbase.dump"
    run_program("pg_dump", "--format=custom", f"--file={dump}", database.url())
    if not is_ahead:
        fresh_server.execute(USE_TRANSACTIONS)
    restored = restore(dump, fresh_server, tmp_path, is_emptied=is_emptied)

    with (
        running_gateway(tmp_path / "after", variables | {"DATABASE_URL": restored.url("cardbase_gateway")}) as gateway,
        listening(gateway, ann, last_id) as listener,
    ):
        listener.wait_for("reset")
        card_id = create_card(gateway)
        assert listener.wait_for("reset", "card.created")[-1].data["resource_id"] == card_id


def test_a_role_that_row_security_binds_can_not_make_a_half_empty_backup(database: Database, tmp_path: Path) -> None:
    """pg_dump fails rather than leave out what a policy hides."""
    database.execute("create role backup_test login", f"alter role backup_test password '{PASSWORD}'")
    try:
        database.execute(
            "grant usage on schema app to backup_test",
            "grant select on all tables in schema app to backup_test",
            "grant select on all sequences in schema app to backup_test",
        )
        with pytest.raises(ProgramError, match="row-level security"):
            run_program("pg_dump", "--schema=app", "--format=custom", f"--file={tmp_path / 'dump'}", _as(database))
    finally:
        database.execute("drop owned by backup_test", "drop role backup_test")


def _as(database: Database) -> str:
    return re.sub(r"//[^@]*@", f"//backup_test:{PASSWORD}@", database.url())

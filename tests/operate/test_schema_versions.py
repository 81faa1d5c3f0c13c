"""Databases of every schema version that main ever had are brought to the newest, with all that is in them."""

import asyncio
import hashlib
import json
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from support import REPOSITORY, monitoring, servers, tokens, versions
from support.gateways import run_cardbase, running_gateway, wait_until
from support.servers import Database

from gateway.identity import Identity
from gateway.operate.db_files import DeployError, read_tree
from gateway.operate.deploy import DEFAULT_SOURCE, deploy
from gateway.operate.doctor import examine
from gateway.services.encryption import Encryptor
from gateway.settings import load_settings

SCHEMA: Final = REPOSITORY / "tests" / "support" / "schema.sql"
MIGRATIONS: Final = DEFAULT_SOURCE / "migrations"
TEXTS: Final = MIGRATIONS / "texts.sha256"


LAST_EDITED: Final = "0016_job_queue.sql"
"""The migrations up to this one were edited after they had been applied; none after it may be."""
EDITED_TEXTS: Final = "6a1f950a5f5eb209c28ce15439ad6f75b5ade8b2917e939a72f4f7cd807d46cd"
"""The SHA-256 of the lines of those, which no line joins any more."""


def listed() -> list[tuple[str, str]]:
    """Name and SHA-256 of each text that a migration ever had, the present one first."""
    lines = (line.split("  ") for line in TEXTS.read_text(encoding="utf-8").splitlines())
    return [(name, sha256) for sha256, name in lines]


def test_each_migration_is_as_it_was_when_it_landed() -> None:
    """An edited migration is refused by every database that took it: write a new one instead."""
    present = {file.name: file.sha256 for file in read_tree(DEFAULT_SOURCE).migrations}
    missing = [f"{sha256}  {name}" for name, sha256 in present.items() if name not in dict(listed())]
    assert missing == [], f"a new migration: once it has landed it stays as it is. Add to {TEXTS.name} what is missing"
    assert dict(reversed(listed())) == present


def test_no_migration_has_another_text_from_now_on() -> None:
    edited = [f"{sha256}  {name}\n" for name, sha256 in listed() if name <= LAST_EDITED]
    assert hashlib.sha256("".join(edited).encode()).hexdigest() == EDITED_TEXTS
    newer = [name for name, _ in listed() if name > LAST_EDITED]
    assert len(newer) == len(set(newer))


def test_every_earlier_text_of_a_migration_is_accepted(database: Database) -> None:
    for name, sha256 in listed():
        database.execute(f"update deployment.migrations set sha256 = '{sha256}' where name = '{name}'")
        assert asyncio.run(deploy(database.url(), check=True)) == []


def test_any_other_text_is_refused(database: Database) -> None:
    database.execute("update deployment.migrations set sha256 = repeat('0', 64) where name = '0003_card_lists.sql'")
    with pytest.raises(DeployError, match=r"^migrations/0003_card_lists\.sql: was edited after it was applied"):
        asyncio.run(deploy(database.url(), check=True))


def schema(database: Database) -> dict[tuple[str, str], str]:
    """What is in the database's schemas, by kind and name."""
    lines = map(json.loads, servers.run_psql(database.url(), "-f", str(SCHEMA)).splitlines())
    return {(kind, name): definition for kind, name, definition in lines}


@pytest.fixture(scope="session")
def newest_schema(template_database: Database) -> dict[tuple[str, str], str]:
    """That of a database that never was at another version."""
    return schema(template_database)


@pytest.mark.parametrize("name", versions.names())
def test_a_database_of_every_version_becomes_the_newest_with_all_that_is_in_it(
    name: str, empty_database: Database, newest_schema: dict[tuple[str, str], str], tmp_path: Path
) -> None:
    facts = versions.restore(name, empty_database, tmp_path)
    done = run_cardbase("deploy", folder=tmp_path, DEPLOY_DATABASE_URL=empty_database.url())
    assert done.returncode == 0, done.stderr

    assert schema(empty_database) == newest_schema
    assert asyncio.run(deploy(empty_database.url(), check=True)) == []
    assert asyncio.run(examine(empty_database.url())) == []

    url = empty_database.url("cardbase_gateway")
    with (
        running_gateway(tmp_path / "gateway", {"DATABASE_URL": url, **versions.VARIABLES}) as gateway,
        versions.clients(gateway.address) as (tenant, user),
    ):
        _find_everything(facts, tenant, user)
        _open_settings(facts, empty_database)
        _complete_job(facts, user, empty_database, tmp_path)


def _find_everything(facts: versions.Facts, tenant: httpx.Client, user: httpx.Client) -> None:
    requested = [card["card_id"] for card in facts["cards"]["cards"]]
    assert tenant.post("/cards/retrieve", json={"card_ids": requested}).json() == facts["retrieved"]
    replays: list[tuple[httpx.Client, str, str, Any, dict[str, str]]] = [
        (tenant, "cards", "/cards/batch", {"cards": versions.CARDS}, versions.KEY)
    ]
    if "card" in facts:
        replays.append((user, "card", "/cards", versions.ONE_CARD, versions.USER_KEY))
    for client, fact, path, body, key in replays:
        replay = client.post(path, json=body, headers=key)
        assert (replay.status_code, replay.headers["x-idempotency-cache"]) == (201, "HIT")
        assert replay.json() == facts[fact]
    usage = tenant.post(f"/cards/{requested[0]}/usage", json={"workflow_id": "one"}).json()
    assert (usage["usage_count"], usage["event_recorded"]) == (facts["usage"]["usage_count"] + 1, False)

    found = user.get("/search", params={"q": "walrus"}).json()["data"]
    wanted = {("card", requested[0])}
    for kind in ("memory", "message", "task", "conversation", "integration"):
        if kind not in facts:
            continue
        document = facts[kind]["data"]
        document = document[0] if isinstance(document, list) else document
        plural = "memories" if kind == "memory" else f"{kind}s"
        read = user.get(f"/{plural}/{document['id']}").json()["data"]
        assert document.items() <= read.items()
        if kind in ("memory", "message", "task"):
            wanted.add((kind, document["id"]))
    assert {(each["type"], each["id"]) for each in found} >= wanted

    if "person" in facts:
        person = facts["person"]["data"]["user"]
        login = {"email": versions.EMAIL, "password": versions.PASSWORD, "tenant_id": str(versions.TENANT)}
        signed_in = tenant.post("/auth/login", json=login)
        assert signed_in.status_code == 200, signed_in.text
        assert person.items() <= signed_in.json()["data"]["user"].items()
        people = user.get("/users/search", params={"q": "ida"}).json()["data"]
        assert [each["id"] for each in people] == [person["id"]]


def _open_settings(facts: versions.Facts, database: Database) -> None:
    if "integration" not in facts:
        return
    encrypted = bytes.fromhex(database.execute("select encode(encrypted_settings, 'hex') from app.integrations"))
    encryptor = Encryptor(load_settings({"INTEGRATION_ENCRYPTION_KEY": tokens.ENCRYPTION_KEY}))
    owner = Identity(versions.TENANT, versions.USER).owner
    assert json.loads(encryptor.decrypt(owner, encrypted)) == {"token": "secret"}


def _complete_job(facts: versions.Facts, user: httpx.Client, database: Database, folder: Path) -> None:
    if "job" not in facts:
        return
    path = f"/jobs/{facts['job']['data']['job_id']}"
    assert user.get(path).json()["data"]["status"] == "pending"
    with monitoring.running_worker(folder, WORKER_DATABASE_URL=database.url("cardbase_worker")):
        wait_until(lambda: user.get(path).json()["data"]["status"] == "completed", 30)

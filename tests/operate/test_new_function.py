"""Adding a function, by the words of db/README.md and docs/rpc.md."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
from support import REPOSITORY, servers, tap
from support.gateways import Gateway, environment_of, run_cardbase, wait_until
from support.servers import Database

from gateway.operate.db_files import DeployError
from gateway.operate.new_function import write_function

BODY: Final = {"cards": [{"card_type": "voice", "content": {"n": 1}}, {"card_type": "company", "content": {"n": 2}}]}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository's program and db/."""
    for name in ("gateway", "db"):
        shutil.copytree(REPOSITORY / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run(checkout: Path, *arguments: str, database: Database) -> None:
    """Runs the copy's `cardbase`."""
    subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        cwd=checkout,
        env=environment_of({"PYTHONPATH": str(checkout), "DEPLOY_DATABASE_URL": database.url()}),
        check=True,
        timeout=120,
    )


def test_the_steps_of_the_readme_make_a_function_that_passes(
    checkout: Path, database: Database, make_gateway: Callable[..., Gateway]
) -> None:
    text = (REPOSITORY / "db" / "README.md").read_text(encoding="utf-8")
    (steps,) = re.findall(r"^## How to add a function\n\n((?:    .*\n)+)", text, re.MULTILINE)
    *commands, test = (shlex.split(line) for line in steps.splitlines())
    assert [command[0] for command in commands] == ["cardbase"] * 3
    for _, *arguments in commands:
        run(checkout, *arguments, database=database)

    assert test == ["make", "test", "ARGS=-k count_by_type or role_table"]
    for name in ("count_by_type", "role_table"):
        assert tap.run(database, checkout / "db" / "tests" / f"{name}.sql") == []
    with make_gateway(database).client(uuid4()) as client:
        assert client.post("/api/v1/cards/batch", json=BODY).status_code == 201
        assert client.get("/rpc/count_by_type?card_type=voice").json() == {"count": 1}


@pytest.mark.parametrize("superuser", [True, False], ids=["as a superuser", "as a member of cardbase_owner"])
def test_the_recipe_of_the_rpc_page_shows_a_tenant_its_own_cards(
    superuser: bool, database: Database, make_gateway: Callable[..., Gateway], tmp_path: Path
) -> None:
    (recipe,) = re.findall(
        r"^```sql\n(.*?)^```", (REPOSITORY / "docs" / "rpc.md").read_text(), re.MULTILINE | re.DOTALL
    )
    role = f"recipe_{os.getpid()}"
    database.execute(f"create role {role}", f"grant cardbase_owner to {role}")
    try:
        before = [] if superuser else ["-c", f"set session authorization {role}"]
        (tmp_path / "recipe.sql").write_text(recipe)
        servers.run_psql(database.url(), *before, "-f", str(tmp_path / "recipe.sql"))
    finally:
        database.execute(f"drop role {role}")

    gateway = make_gateway(database)
    with gateway.client(uuid4()) as client, gateway.client(uuid4()) as other:
        created = client.post("/api/v1/cards/batch", json=BODY).json()["cards"]
        assert other.post("/api/v1/cards/batch", json={"cards": BODY["cards"][:1]}).status_code == 201
        found = client.get("/rpc/unused_cards?days=0").json()
        assert {card["card_id"] for card in found} == {card["card_id"] for card in created}
        assert client.post("/rpc/unused_cards", json={"days": 3}).json() == []

    for command, status in (("deploy", 0), ("doctor", 0)):
        assert run_cardbase(command, folder=tmp_path, DEPLOY_DATABASE_URL=database.url()).returncode == status


def test_a_definer_past_row_level_security_is_not_served(
    database: Database, make_gateway: Callable[..., Gateway]
) -> None:
    """As the page once had it: made as a superuser, and left to it."""
    database.execute(
        "create function api.all_cards() returns bigint language sql stable security definer"
        " set search_path = pg_catalog, pg_temp as 'select count(*) from app.cards'",
        "grant execute on function api.all_cards() to cardbase_gateway",
    )
    with make_gateway(database).client(uuid4()) as client:
        assert client.get("/rpc/all_cards").status_code == 404
        assert client.post("/api/v1/cards/batch", json=BODY).status_code == 201
        database.execute("alter function api.all_cards() owner to cardbase_api", "notify cardbase, 'reload'")
        wait_until(lambda: client.get("/rpc/all_cards").text == "2", 30)


@pytest.mark.parametrize("name", ["", "Count", "count-cards", "1st", "select from", "a" * 64, "../x"])
def test_what_is_no_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="is not a name like count_cards"):
        write_function(name, "cards", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    written = write_function("count_by_type", "cards", tmp_path)
    before = [file.read_bytes() for file in written]
    with pytest.raises(DeployError, match=r"functions/cards/count_by_type\.sql exists already"):
        write_function("count_by_type", "other", tmp_path)
    assert [file.read_bytes() for file in written] == before

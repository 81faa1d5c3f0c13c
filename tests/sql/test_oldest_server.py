"""The oldest server that is supported: all pgTAP files, the doctor, and plpgsql_check over every function."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from support import REPOSITORY, servers, tap
from support.servers import Database

from gateway.operate.deploy import OLDEST_SERVER, deploy
from gateway.operate.doctor import examine

FILES: Final = sorted((REPOSITORY / "db" / "tests").glob("*.sql"))
EXTENSION: Final = Path(f"/usr/share/postgresql/{OLDEST_SERVER}/extension/plpgsql_check.control")
ACCEPTED: Final = (
    # Parameters named as in the API; SQL has to quote them.
    r'.*: name of parameter "(limit|order)" is reserved keyword',
    # Dynamic SQL over similar tables: names by %I, values by "using"; plpgsql_check doesn't see what it writes.
    r"app\.(create|list|update)_resource.*: text type variable is not sanitized",
    r"app\.(create|update|delete)_resource.*: routine is marked as VOLATILE, should be STABLE",
    # The last statement is a call that always raises.
    r"app\.(create|update)_resource.*: control reached end of function without RETURN",
    # "return query" returns rows without touching the variables.
    r'app\.find_(near_memories|(\w+_)?(matches|names)).*: OUT variable "\w+" is maybe unmodified',
    # Counts and remainders are bigint; these are small by their nature.
    r"app\.(store_cards|uuid_v7|find_\w+_matches|count_attempts).*: target type is different type than source type",
    # Without pgvector its table does not exist, which the function checks before it uses it.
    r"app\.find_unembedded_memories.*",
)
"""False positives of plpgsql_check, each with its reason. A pattern that matches nothing any more must be removed."""
FUNCTIONS: Final = """
select string_agg(routine.oid::regprocedure::text, e'\\n' order by routine.oid::regprocedure::text)
from pg_proc as routine
inner join pg_language as language on language.oid = routine.prolang
where
    routine.pronamespace in ('app'::regnamespace, 'api'::regnamespace, 'deployment'::regnamespace)
    and language.lanname = 'plpgsql'
"""
CHECK: Final = """
select
    format('%s:%s: %s: %s', routine.oid::regprocedure, found.lineno, found.level, found.message)
from pg_proc as routine
inner join pg_language as language on language.oid = routine.prolang
cross join lateral plpgsql_check_function_tb(
    funcoid => routine.oid,
    relid => 0,
    fatal_errors => false,
    all_warnings => true
) as found
where
    routine.pronamespace in ('app'::regnamespace, 'api'::regnamespace, 'deployment'::regnamespace)
    and language.lanname = 'plpgsql'
    and routine.prorettype <> 'trigger'::regtype
order by 1
"""


@pytest.fixture(scope="module")
def oldest() -> Iterator[Database]:
    """A database on the oldest server, deployed to, with pgTAP where that is installed."""
    if not (servers.debian_programs(OLDEST_SERVER) / "postgres").exists():
        pytest.skip(f"PostgreSQL {OLDEST_SERVER} is not installed: apt-get install postgresql-{OLDEST_SERVER}")
    with servers.debian_server(OLDEST_SERVER) as server, server.database("cardbase_oldest") as database:
        asyncio.run(deploy(database.url()))
        if script := tap.script():
            tap.install(database, script)
        yield database


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_pgtap_on_the_oldest_server(file: Path, oldest: Database) -> None:
    if tap.script() is None:
        pytest.fail(tap.MISSING, pytrace=False)
    if complaints := tap.run(oldest, file):
        pytest.fail("\n".join((file.name, *complaints)), pytrace=False)


def test_doctor_finds_nothing_on_the_oldest_server(oldest: Database) -> None:
    assert asyncio.run(examine(oldest.url())) == []


def test_plpgsql_check_has_nothing_to_say(oldest: Database) -> None:
    """Every function, with all warnings: unused and shadowed names, types, injection, volatility, hidden casts."""
    if not EXTENSION.exists():
        pytest.skip(f"plpgsql_check is not installed: apt-get install postgresql-{OLDEST_SERVER}-plpgsql-check")
    oldest.execute("create extension if not exists plpgsql_check")
    assert oldest.execute(FUNCTIONS)
    said = oldest.execute(CHECK).splitlines()
    assert [line for line in said if not any(re.fullmatch(pattern, line) for pattern in ACCEPTED)] == []
    assert [pattern for pattern in ACCEPTED if not any(re.fullmatch(pattern, line) for line in said)] == []


def test_plpgsql_check_finds_a_planted_fault(oldest: Database) -> None:
    """The check itself: an unused variable and a column that doesn't exist."""
    if not EXTENSION.exists():
        pytest.skip(f"plpgsql_check is not installed: apt-get install postgresql-{OLDEST_SERVER}-plpgsql-check")
    try:
        oldest.execute(
            "create extension if not exists plpgsql_check",
            "create function app.planted() returns void language plpgsql as"
            " $$ declare _unused integer; begin perform card.nothing from app.cards as card; end $$",
        )
        found = oldest.execute(CHECK)
    finally:
        oldest.execute("drop function if exists app.planted()")
    assert 'unused variable "_unused"' in found
    assert "card.nothing does not exist" in found

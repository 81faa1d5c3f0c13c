"""The database, attacked by somebody who has taken over a login role, on direct connections."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final
from uuid import uuid4

import asyncpg
import pytest
from support import world
from support.attempts import Attempts
from support.servers import LOGIN_ROLES, PASSWORD, Database
from support.world import Function, Tenant


@asynccontextmanager
async def connected(database: Database, role: str | None = None) -> "AsyncIterator[asyncpg.Connection[Any]]":
    """A connection as a role, or else as the superuser."""
    connection = await asyncpg.connect(database.session_url(role), password=PASSWORD if role else None)
    try:
        yield connection
    finally:
        await connection.close()


ESCAPES: Final = {
    "set session authorization postgres": "42501",
    "set session authorization cardbase_api": "42501",
    "set session authorization cardbase_owner": "42501",
    "set role postgres": "42501",
    "set role cardbase_api": "42501",
    "set role cardbase_owner": "42501",
    "set role cardbase_maintenance": "42501",
    "set role cardbase_finder": "42501",
    "copy app.cards to stdout": "42501",
    "copy (select * from app.cards) to stdout": "42501",
    "copy app.cards from stdin": "42501",
    "declare stolen cursor with hold for select * from app.cards": "42501",
    "prepare stolen as select * from app.cards; execute stolen": "42501",
    "listen cardbase; table app.cards": "42501",
    "create temporary view stolen as select * from app.cards; table stolen": "42501",
    "do $$ begin perform from app.cards; end $$": "42501",
    "alter system set row_security = off": "42501",
    "alter database {database} set row_security = off": "42501",
    "alter role cardbase_api set row_security = off": "42501",
    "alter role cardbase_gateway bypassrls": "42501",
    "select pg_read_binary_file('postgresql.conf')": "42501",
    "select lo_export(0, '/tmp/planted')": "42501",
    "select pg_promote()": "42501",
    "drop database {database}": "42501",
    "analyze app.cards; table app.cards": "42501",
    "reindex table app.cards": "42501",
    "cluster app.cards using cards_pkey": "42501",
    "refresh materialized view app.cards": "42501",
    "comment on function api.list_cards is 'planted'": "42501",
}
"""What might escape from a login role, and how it is refused."""


@pytest.mark.parametrize("role", LOGIN_ROLES)
async def test_login_role_cannot_break_out(role: str, shared_database: Database, attempts: Attempts) -> None:
    """On a direct connection, so that the session has no other rights to fall back to."""
    for statement, sqlstate in ESCAPES.items():
        async with connected(shared_database, role) as connection:
            answer: object = "done"
            try:
                await connection.execute(statement.format(database=shared_database.name))
            except asyncpg.PostgresError as error:
                answer = error.sqlstate
            assert (statement, answer) == (statement, sqlstate)
            attempts.count("SQL: ways out of a login role, over connections of its own")


async def test_session_sees_nothing_of_another(shared_database: Database, attempts: Attempts) -> None:
    """Neither the tenant of another session's transaction, nor its statement."""
    tenant_id = uuid4()
    async with (
        connected(shared_database, "cardbase_service") as service,
        connected(shared_database, "cardbase_gateway") as gateway,
        connected(shared_database, "cardbase_gateway") as same,
    ):
        for connection in (service, gateway):
            await connection.execute("begin")
            await connection.fetch("select api.retrieve_cards($1, array[$2]::uuid[])", tenant_id, uuid4())
            own = await connection.fetchval("select current_setting('app.current_tenant_id')")
            assert own == str(tenant_id)
        assert not await same.fetchval("select current_setting('app.current_tenant_id', true)")
        seen = await same.fetch("select usename, query from pg_stat_activity where datname = current_database()")
        assert not [row for row in seen if str(tenant_id) in row["query"]]
        assert {row["query"] for row in seen if row["usename"] == "cardbase_service"} == {"<insufficient privilege>"}
        attempts.count("SQL: looks at other sessions", 3)


# Without the settings of libraries, which appear with the first function that loads one.
STATE: Final = """
select
    (
        select string_agg(concat(name, '=', setting), ', ' order by name)
        from pg_settings
        where name not like '%.%'
    ) as settings,
    nullif(current_setting('app.current_tenant_id', true), '') as tenant,
    nullif(current_setting('app.current_user_id', true), '') as user,
    (select count(*) from pg_locks where pid = pg_backend_pid() and locktype = 'advisory') as locks,
    (select count(*) from pg_listening_channels()) as channels,
    (select count(*) from pg_cursors where is_holdable) as cursors,
    (select count(*) from pg_class where relnamespace = pg_my_temp_schema()) as temporary,
    current_user::text as role
"""


async def test_a_call_leaves_nothing_behind_on_its_connection(shared_database: Database, attempts: Attempts) -> None:
    """After each function of api the connection is as before: settings, locks, LISTEN, temporary objects."""
    async with connected(shared_database) as owner:
        functions = await world.functions_of(owner)
    async with connected(shared_database, "cardbase_gateway") as connection:
        before = await connection.fetchrow(STATE)
        tenant = Tenant("passing")
        for function in functions:
            if function.role != "cardbase_gateway":
                continue
            arguments = world.arguments_of(function, tenant, tenant)
            with suppress(asyncpg.PostgresError):
                await connection.fetch(world.statement_of(function, arguments), *arguments.values())
            after = await connection.fetchrow(STATE)
            assert set(str(after).split(", ")) ^ set(str(before).split(", ")) == set(), function.name
            attempts.count("SQL: functions of api, looked for what they leave behind")


HIJACKS: Final = (
    "create temporary table cards (like pg_catalog.pg_class)",
    "create temporary table card_usage (stolen integer)",
    "create temporary table idempotency_store (stolen integer)",
    "create domain pg_temp.uuid as pg_catalog.text",
    "create domain pg_temp.text as pg_catalog.int4",
    "create domain pg_temp.jsonb as pg_catalog.int4",
    (
        "create function pg_temp.current_tenant_id() returns pg_catalog.uuid language sql as"
        " $$ select 'bbbbbbbb-0000-0000-0000-000000000000'::pg_catalog.uuid $$"
    ),
    (
        "create function pg_temp.set_config(pg_catalog.text, pg_catalog.text, boolean) returns pg_catalog.text"
        " language plpgsql as $$ begin raise exception 'hijacked'; end $$"
    ),
    (
        "create function pg_temp.current_setting(pg_catalog.text, boolean) returns pg_catalog.text"
        " language plpgsql as $$ begin raise exception 'hijacked'; end $$"
    ),
    (
        "create function pg_temp.format(pg_catalog.text, pg_catalog.text) returns pg_catalog.text"
        " language plpgsql as $$ begin raise exception 'hijacked'; end $$"
    ),
    (
        "create function pg_temp.equal(pg_catalog.uuid, pg_catalog.uuid) returns boolean"
        " language plpgsql as $$ begin raise exception 'hijacked'; end $$"
    ),
    "create operator pg_temp.= (leftarg = pg_catalog.uuid, rightarg = pg_catalog.uuid, function = pg_temp.equal)",
)


@pytest.mark.parametrize("role", ["cardbase_gateway", "cardbase_service"])
async def test_objects_of_a_caller_are_not_found_inside_a_function(
    role: str, shared_database: Database, attempts: Attempts
) -> None:
    """Temporary objects with the names of real ones, and a search_path that finds them first."""
    tenant = Tenant(role.replace("_", "-"))
    async with connected(shared_database) as owner, owner.transaction():
        functions = [function for function in await world.functions_of(owner) if function.role == "cardbase_gateway"]
        await world.settle(owner, tenant)
    async with connected(shared_database, role) as plain, connected(shared_database, role) as hijacked:
        for statement in HIJACKS:
            await hijacked.execute(statement)
        await hijacked.execute("set search_path = pg_temp, public, pg_catalog")
        for function in functions:
            arguments = world.arguments_of(function, tenant, tenant)
            answers = [await _answer(connection, function, arguments) for connection in (plain, hijacked)]
            attempts.count("SQL: functions of api, with hijacked names")
            assert answers[0] == answers[1], function.name


async def _answer(connection: "asyncpg.Connection[Any]", function: Function, arguments: dict[str, str]) -> str:
    """A function's reply or error, with all new ids, times and positions the same; its effect is undone."""
    names = ", ".join(
        f'"{name}" => ${position}::pg_catalog.text::{_qualified(function.parameters[name])}'
        for position, name in enumerate(arguments, 1)
    )
    sql = f"select pg_catalog.to_jsonb(answer)::pg_catalog.text from api.{function.name}({names}) as answer"
    await connection.execute("begin")
    try:
        answer = str(await connection.fetchval(sql, *arguments.values()))
    except asyncpg.PostgresError as error:
        answer = f"{error.sqlstate} {error}"
    await connection.execute("rollback")
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d{4}-\d\d-\d\dT[\d:.+]+|\d+-\d+-\d+", "…", answer)


def _qualified(kind: str) -> str:
    return f"pg_catalog.{_INTERNAL.get(kind.removesuffix('[]'), kind.removesuffix('[]'))}" + (
        "[]" * kind.endswith("[]")
    )


_INTERNAL: Final = {
    "integer": "int4",
    "bigint": "int8",
    "smallint": "int2",
    "boolean": "bool",
    "timestamp with time zone": "timestamptz",
}

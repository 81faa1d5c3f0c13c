"""Every function of api, called by one tenant about its own rows, another tenant's, and nobody's.

Another tenant's rows look like missing ones, byte for byte and at the same cost, and stay unchanged.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
import pytest
from support import REPOSITORY, tap, world
from support.attempts import Attempts
from support.servers import Database
from support.world import Function, Tenant, arguments_of, call, fingerprint_of

NOBODY: Final = "nobody"
WORK: Final = """
select relname, seq_scan, seq_tup_read, idx_scan, idx_tup_fetch, n_tup_ins, n_tup_upd, n_tup_del
from pg_stat_xact_user_tables
where schemaname = 'app'
order by relname
"""


@asynccontextmanager
async def transaction(database: Database) -> "AsyncIterator[asyncpg.Connection[Any]]":
    """A superuser's transaction, rolled back at the end."""
    connection = await asyncpg.connect(database.url())
    try:
        await connection.execute("begin")
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def two_tenants(database: Database) -> "AsyncIterator[tuple[asyncpg.Connection[Any], Tenant, Tenant]]":
    """Two tenants with rows in every table, until the transaction ends."""
    async with transaction(database) as connection:
        ours, theirs = Tenant("ours"), Tenant("theirs")
        for tenant in (ours, theirs):
            await world.settle(connection, tenant)
        yield connection, ours, theirs


async def work_of(connection: "asyncpg.Connection[Any]") -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await connection.fetch(WORK)]


def difference(before: list[tuple[Any, ...]], after: list[tuple[Any, ...]]) -> dict[str, tuple[int, ...]]:
    """The cost of a call, by table."""
    counted = {row[0]: row[1:] for row in before}
    cost = {}
    for name, *numbers in after:
        spent = tuple((new or 0) - (old or 0) for new, old in zip(numbers, counted.get(name, [0] * 7), strict=True))
        if any(spent):
            cost[name] = spent
    return cost


_CHANGING: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|\\*x[0-9a-f]{64}|\d{4}-\d\d-\d\dT[\d:.+]+")


def without_ids(text: str) -> str:
    """A response in which all ids and times are the same."""
    return _CHANGING.sub("…", text)


async def test_every_function_over_sql(shared_database: Database, attempts: Attempts) -> None:
    """Another tenant's ids give the same result as ids that nobody has, at the same cost, and change nothing."""
    async with two_tenants(shared_database) as (connection, ours, theirs):
        before = await fingerprint_of(connection, theirs)
        functions = await world.functions_of(connection)
        assert {"create_cards", "retrieve_cards", "track_usage"} <= {function.name for function in functions}
        for function in functions:
            await connection.execute("savepoint matrix")
            answers, costs = {}, {}
            for owner in (theirs, Tenant(NOBODY)):
                # As a token could say: the tenant's own user.
                arguments = arguments_of(function, ours, owner) | (
                    {"user_id": str(ours.user_id)} if "user_id" in function.parameters and len(function.ids) > 1 else {}
                )
                await _check(connection, function, arguments, theirs, before, owner.name)
                await connection.execute("rollback to savepoint matrix")
                started = await work_of(connection)
                answers[owner.name] = without_ids(await call(connection, function, arguments))
                costs[owner.name] = difference(started, await work_of(connection))
                await connection.execute("rollback to savepoint matrix")
                attempts.count("SQL: functions of api, ids of another tenant and of nobody")
            if function.ids:
                assert answers["theirs"] == answers[NOBODY], function.name
                assert costs["theirs"] == costs[NOBODY], function.name


async def test_every_function_about_its_own_rows_over_sql(shared_database: Database, attempts: Attempts) -> None:
    """The control: a tenant gets its own rows, and nobody else's."""
    refused = []
    async with two_tenants(shared_database) as (connection, ours, theirs):
        before = await fingerprint_of(connection, theirs)
        for function in await world.functions_of(connection):
            await connection.execute("savepoint matrix")
            answer = await _check(connection, function, arguments_of(function, ours, ours), theirs, before, "ours")
            await connection.execute("rollback to savepoint matrix")
            attempts.count("SQL: functions of api, a tenant's own ids")
            if '"sqlstate"' in answer:
                refused.append(function.name)
    # Its email address and its refresh token are there already.
    assert sorted(refused) == ["register_user", "start_session"]


async def test_every_function_without_a_tenant_over_sql(shared_database: Database, attempts: Attempts) -> None:
    """A call that names no tenant sees nothing and writes nothing."""
    async with two_tenants(shared_database) as (connection, _, theirs):
        before = await fingerprint_of(connection, theirs)
        for function in await world.functions_of(connection):
            if "tenant_id" not in function.parameters:
                continue
            await connection.execute("savepoint matrix")
            arguments = arguments_of(function, Tenant(NOBODY), theirs)
            statement = world.statement_of(function, arguments).replace("$1::text::uuid", "nullif($1, $1)::uuid", 1)
            await connection.execute(f"savepoint called; set local role {function.role}")
            try:
                answer = await connection.fetchval(statement, *arguments.values())
            except asyncpg.PostgresError:
                answer = ""
            await connection.execute("rollback to savepoint matrix")
            attempts.count("SQL: functions of api, no tenant")
            assert theirs.canary not in answer, function.name
            assert await fingerprint_of(connection, theirs) == before, function.name


async def _check(
    connection: "asyncpg.Connection[Any]",
    function: Function,
    arguments: dict[str, str],
    theirs: Tenant,
    before: str,
    whose: str,
) -> str:
    answer = await call(connection, function, arguments)
    sent = " ".join(arguments.values())
    leaked = [secret for secret in theirs.secrets if secret in answer and secret not in sent]
    assert not leaked, f"{function.name} about {whose} rows shows another tenant's {leaked}"
    assert await fingerprint_of(connection, theirs) == before, f"{function.name} about {whose} rows changes another's"
    return answer


# --- the policies beneath -----------------------------------------------------------------------------------------

POLICIES: Final = """
select
    policy.polrelid::regclass::text as relation,
    policy.polname as name,
    part.keyword,
    pg_get_expr(part.tree, policy.polrelid) = 'true' as is_open
from pg_policy as policy
cross join lateral (values ('using', policy.polqual), ('with check', policy.polwithcheck)) as part (keyword, tree)
where
    policy.polrelid::regclass::text like 'app.%'
    and part.tree is not null
    -- A restrictive one opens nothing by itself: test_owner_let_in_fails_the_suite_for_every_table.
    and policy.polpermissive
    -- Of a role that may not write, nothing is checked.
    and (
        part.keyword = 'using'
        or exists (
            select
            from unnest(policy.polroles) as role
            where has_any_column_privilege(role, policy.polrelid, 'insert, update')
        )
    )
order by 1, 2, 3
"""


def policies_of(database: Database) -> list[tuple[str, str, str, bool]]:
    async def read() -> list[tuple[str, str, str, bool]]:
        async with transaction(database) as connection:
            return [tuple(row) for row in await connection.fetch(POLICIES)]

    return asyncio.run(read())


async def test_policies_bound_every_role_that_functions_run_as(database: Database, attempts: Attempts) -> None:
    """Beneath the functions: each of their roles, with one tenant (and user) set, reaches only its own rows."""
    async with two_tenants(database) as (connection, ours, theirs):
        for table in await world.tables_of(connection):
            assert await policy_faults(connection, ours, theirs, table, attempts) == []


async def policy_faults(
    connection: "asyncpg.Connection[Any]", ours: Tenant, theirs: Tenant, table: str, attempts: Attempts | None = None
) -> list[str]:
    """What the roles that functions run as can do to another tenant's rows of a table."""
    faults = []
    for role, privilege in await _granted(connection, table):
        sql = _probe(table, privilege, await _columns(connection, table))
        await connection.execute("savepoint probe")
        await connection.execute(
            f"set local app.current_tenant_id = '{ours.tenant_id}';"
            f"set local app.current_user_id = '{ours.user_id}';"
            f"set local role {role}"
        )
        try:
            found = await connection.fetchval(sql, theirs.tenant_id if privilege == "insert" else ours.tenant_id)
        except asyncpg.InsufficientPrivilegeError:
            found = 0
        except asyncpg.PostgresError as error:
            found = type(error).__name__  # it got past the policy, to the constraints
        await connection.execute("rollback to savepoint probe")
        if attempts is not None:
            attempts.count("SQL: rows of another tenant, as the roles that functions run as")
        if found:
            faults.append(f"{role} may {privilege} {found} rows of another tenant in app.{table}")
    return faults


async def _granted(connection: "asyncpg.Connection[Any]", table: str) -> list[tuple[str, str]]:
    """Roles and their privileges on a table or some of its columns, except roles that work across tenants."""
    rows = await connection.fetch(
        """
        select distinct acl.grantee::regrole::text as role, lower(acl.privilege_type) as privilege
        from pg_class as relation
        left join pg_attribute as attribute on attribute.attrelid = relation.oid
        cross join lateral aclexplode(coalesce(relation.relacl, '{}') || coalesce(attribute.attacl, '{}')) as acl
        where
            relation.oid = format('app.%I', $1::text)::regclass
            and acl.grantee <> relation.relowner
            and not exists (
                select
                from pg_policy as policy
                where
                    policy.polrelid = relation.oid
                    and acl.grantee = any(policy.polroles)
                    and pg_get_expr(policy.polqual, policy.polrelid) = 'true'
                    and acl.grantee <> 'cardbase_api'::regrole
                    and acl.grantee <> 'cardbase_maintenance'::regrole
            )
        order by 1, 2
        """,
        table,
    )
    return [(row["role"], row["privilege"]) for row in rows]


async def _columns(connection: "asyncpg.Connection[Any]", table: str) -> str:
    """The columns that can be written."""
    found: str = await connection.fetchval(
        "select string_agg(quote_ident(attname), ', ' order by attnum) from pg_attribute"
        " where attrelid = format('app.%I', $1::text)::regclass and attnum > 0 and not attisdropped"
        " and attgenerated = ''",
        table,
    )
    return found


def _probe(table: str, privilege: str, columns: str) -> str:
    """A statement that counts the rows it reaches of tenants other than $1; an insert adds one of tenant $1."""
    if privilege == "select":
        return f"select count(*) from (select 1 from app.{table} where tenant_id <> $1) as seen"
    if privilege == "insert":
        row = f"jsonb_populate_record(null::app.{table}, jsonb_build_object('tenant_id', $1::uuid))"
        return (
            f"with planted as (insert into app.{table} ({columns}) select {columns} from {row} returning 1)"
            " select count(*) from planted"
        )
    if privilege == "update":
        column = "expires_at" if "expires_at" in columns else "used_at" if table == "card_usage" else "tenant_id"
        return (
            f"with changed as (update app.{table} set {column} = {column} where tenant_id <> $1 returning 1)"
            " select count(*) from changed"
        )
    return f"with gone as (delete from app.{table} where tenant_id <> $1 returning 1) select count(*) from gone"


async def test_any_policy_opened_is_noticed(database: Database, attempts: Attempts) -> None:
    """The mutation check: when any single policy is opened to true, the test of the policies finds it."""
    opened = 0
    async with two_tenants(database) as (connection, ours, theirs):
        for relation, name, keyword, is_open in await connection.fetch(POLICIES):
            if is_open:
                continue  # a role with one narrow job, whose privileges test_doctor.py and role_table.sql check
            alter = f'alter policy "{name}" on {relation} {keyword} (true)'
            await connection.execute(f"savepoint opened; {alter}")
            assert await policy_faults(connection, ours, theirs, relation.removeprefix("app.")), f"{alter}: not noticed"
            await connection.execute("rollback to savepoint opened")
            attempts.count("SQL: policies opened to true, and noticed")
            opened += 1
    assert opened >= 9


@pytest.mark.parametrize("table", ["cards", "card_usage", "card_usage_totals", "idempotency_store"])
def test_policy_opened_fails_the_suite_in_sql_too(table: str, database: Database) -> None:
    """The same for db/tests: at least one of its files fails when the policy of a table is opened."""
    if tap.script() is None:
        pytest.skip(tap.MISSING)
    [(name,)] = {
        (name,)
        for relation, name, keyword, is_open in policies_of(database)
        if relation == f"app.{table}" and keyword == "with check" and not is_open
    }
    database.execute(f'alter policy "{name}" on app.{table} using (true) with check (true)')
    assert tap.run(database, REPOSITORY / "db" / "tests" / "isolation.sql")


def test_owner_let_in_fails_the_suite_for_every_table(database: Database) -> None:
    """With the policies that shut out the tables' owner opened, it sees rows of each table, and db/tests says so."""
    if tap.script() is None:
        pytest.skip(tap.MISSING)
    tables = database.execute(
        "select tablename from pg_policies where schemaname = 'app' and policyname = 'the owner sees no row'"
    ).splitlines()
    database.execute(*(f'alter policy "the owner sees no row" on app.{table} using (true)' for table in tables))
    complaints = "\n".join(tap.run(database, REPOSITORY / "db" / "tests" / "owner.sql"))
    assert [table for table in tables if f"cardbase_owner sees no row of {table}\n" not in complaints] == []
    assert len(tables) >= 20

"""cardbase deploy: all or nothing, nothing twice, and every kind of server and deployer."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from support import REPOSITORY, servers
from support.servers import Database, Server

from gateway.operate.deploy import ADVISORY_LOCK, DEFAULT_SOURCE, DeployError, deploy
from gateway.settings import Settings

OLD_SERVER = 15
ROLES = (
    *servers.LOGIN_ROLES,
    "cardbase_owner",
    "cardbase_api",
    "cardbase_maintenance",
    "cardbase_finder",
    "cardbase_authenticator",
    "cardbase_dispatcher",
)

FILES = {
    "migrations/0001_things.sql": """
        create table app.things (tenant_id uuid not null, name text not null, primary key (tenant_id, name));
    """,
    "functions/foundation/current_tenant.sql": """
        create or replace function app.current_tenant() returns uuid language sql stable
        return nullif(current_setting('app.current_tenant_id', true), '')::uuid;
        grant execute on function app.current_tenant() to cardbase_api;
    """,
    "functions/things/count_things.sql": """
        create or replace function api.count_things(tenant_id uuid) returns bigint
        language plpgsql stable security definer set search_path = pg_catalog, pg_temp
        as $$
        begin
            perform set_config('app.current_tenant_id', count_things.tenant_id::text, true);
            return (select count(*) from app.things);
        end;
        $$;
        alter function api.count_things(uuid) owner to cardbase_api;
        grant execute on function api.count_things(uuid) to cardbase_gateway;
    """,
    "policies/things.sql": """
        alter table app.things enable row level security;
        alter table app.things force row level security;
        drop policy if exists "a tenant's things" on app.things;
        create policy "a tenant's things" on app.things to cardbase_api
        using (tenant_id = app.current_tenant());
        revoke all on table app.things from public, cardbase_gateway;
        grant select on table app.things to cardbase_api;
    """,
}

# Every row of these catalogs, with the transaction that wrote it: unchanged means that nothing was written.
WRITTEN = """
    select md5(string_agg(line, ',' order by line)) from (
        select concat('class ', oid, ' ', xmin) from pg_class
        union all select concat('proc ', oid, ' ', xmin) from pg_proc
        union all select concat('policy ', oid, ' ', xmin) from pg_policy
        union all select concat('namespace ', oid, ' ', xmin) from pg_namespace
        union all select concat('default ', oid, ' ', xmin) from pg_default_acl
        union all select concat('role ', oid, ' ', xmin) from pg_authid
        union all select concat('member ', roleid, member, ' ', xmin) from pg_auth_members
        union all select concat('state ', xmin) from deployment.state
    ) as rows (line)
"""


class Tree:
    """A small db folder with the real setup files, to be edited."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(DEFAULT_SOURCE / "setup", folder / "setup")
        for path, text in FILES.items():
            self.write(path, text)

    def write(self, path: str, text: str) -> None:
        (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / path).write_text(text)

    def deploy(self, database: Database, user: str | None = None, *, check: bool = False) -> list[str]:
        return asyncio.run(deploy(database.url(user), check=check, source=self.folder))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path / "db")


@pytest.fixture
def deployed(tree: Tree, empty_database: Database) -> Database:
    """A database that the small tree was deployed into."""
    tree.deploy(empty_database)
    return empty_database


@pytest.fixture(params=["embedded", str(OLD_SERVER)])
def new_server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server that nothing was deployed into, so that it has none of the roles either."""
    if request.param == "embedded":
        start = servers.embedded_server()
    elif servers.debian_programs(OLD_SERVER).is_dir():
        start = servers.debian_server(OLD_SERVER)
    else:
        pytest.skip(f"PostgreSQL {OLD_SERVER} is not installed: apt-get install postgresql-{OLD_SERVER}")
    with start as server:
        yield server


def dump(database: Database, *options: str) -> str:
    """The database as pg_dump writes it, without the random words of its first and last line."""
    text = servers.run_program("pg_dump", "--dbname", database.url(), *options)
    return "\n".join(line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict")))


def catalog_version(database: Database) -> int:
    return int(database.execute("select catalog_version from deployment.state"))


# --- what a deploy does ---------------------------------------------------------------------------------------


def test_whole_repository_is_deployed_and_a_redeploy_changes_nothing(new_server: Server) -> None:
    with new_server.database("whole") as database:
        assert asyncio.run(deploy(database.url()))
        before = dump(database), database.execute(WRITTEN)
        assert asyncio.run(deploy(database.url())) == []
        assert asyncio.run(deploy(database.url(), check=True)) == []
        assert (dump(database), database.execute(WRITTEN)) == before


def test_first_deploy_names_each_file(tree: Tree, empty_database: Database) -> None:
    lines = tree.deploy(empty_database)
    assert [line for line in lines if line.endswith(".sql: new")] == [
        "migrations/0001_things.sql: new",
        "functions/foundation/current_tenant.sql: new",
        "functions/things/count_things.sql: new",
        "policies/things.sql: new",
    ]
    assert "schema deployment: created" in lines
    assert catalog_version(empty_database) == 1


def test_functions_belong_to_the_role_they_run_as_and_nobody_may_create(deployed: Database) -> None:
    owner = "select proowner::regrole from pg_proc where proname = 'count_things'"
    assert deployed.execute(owner) == "cardbase_api"
    creators = """
        select string_agg(concat(rolname, ' in ', nspname), ', ') from pg_roles cross join pg_namespace
        where rolname like 'cardbase\\_%' and nspname in ('app', 'api') and nspowner <> pg_roles.oid
        and has_schema_privilege(pg_roles.oid, pg_namespace.oid, 'create')
    """
    assert deployed.execute(creators) == ""


def test_redeploy_needs_no_lock_on_a_table(tree: Tree, deployed: Database) -> None:
    async def redeploy_despite_a_lock() -> list[str]:
        other = await asyncpg.connect(deployed.url())
        try:
            await other.execute("begin; lock table app.things in access exclusive mode")
            return await asyncio.wait_for(deploy(deployed.url(), source=tree.folder), 5)
        finally:
            await other.close()

    assert asyncio.run(redeploy_despite_a_lock()) == []


def test_only_a_changed_function_is_applied(tree: Tree, deployed: Database) -> None:
    path = "functions/things/count_things.sql"
    tree.write(path, FILES[path].replace("count(*)", "1 + count(*)"))
    policy = "select xmin from pg_policy"
    before = deployed.execute(policy)
    assert tree.deploy(deployed) == [f"{path}: changed"]
    assert deployed.execute(policy) == before
    assert deployed.execute("select api.count_things(gen_random_uuid())", user="cardbase_gateway") == "1"
    assert catalog_version(deployed) == 2


def test_a_migration_is_followed_by_all_functions_and_policies(tree: Tree, deployed: Database) -> None:
    tree.write(
        "migrations/0002_things_anew.sql",
        "drop table app.things; create table app.things (tenant_id uuid primary key, name text);",
    )
    assert tree.deploy(deployed) == [
        "migrations/0002_things_anew.sql: new",
        "all other functions and policies: applied again",
    ]
    assert deployed.execute("select polname from pg_policy") == "a tenant's things"


def test_everything_applies_unchanged_files_too(tree: Tree, deployed: Database) -> None:
    lines = asyncio.run(deploy(deployed.url(), everything=True, source=tree.folder))
    assert lines == ["all other functions and policies: applied again"]
    assert tree.deploy(deployed) == []


def test_removed_file_is_reported_once(tree: Tree, deployed: Database) -> None:
    (tree.folder / "functions/things/count_things.sql").unlink()
    assert tree.deploy(deployed) == [
        "functions/things/count_things.sql: gone; what it made stays until a migration drops it"
    ]
    assert tree.deploy(deployed) == []


@pytest.mark.parametrize(("added", "how"), [("", ""), ("-- more", ", and changed")], ids=["as it was", "changed"])
def test_moved_file_is_reported_as_moved(tree: Tree, deployed: Database, added: str, how: str) -> None:
    path, moved = "functions/things/count_things.sql", "functions/counts/count_things.sql"
    (tree.folder / path).unlink()
    tree.write(moved, FILES[path] + added)
    assert tree.deploy(deployed) == [f"{moved}: moved from {path}{how}"]
    assert deployed.execute("select path from deployment.files where path like '%count_things.sql'") == moved
    assert tree.deploy(deployed) == []


def test_removed_file_is_gone_though_another_has_its_name(tree: Tree, deployed: Database) -> None:
    tree.write("functions/things/things.sql", "select 1;")
    tree.deploy(deployed)
    (tree.folder / "functions/things/things.sql").unlink()
    tree.write("functions/things/others.sql", "select 1;")
    assert tree.deploy(deployed) == [
        "functions/things/others.sql: new",
        "functions/things/things.sql: gone; what it made stays until a migration drops it",
    ]


def test_line_ends_of_a_checkout_are_no_change(tree: Tree, deployed: Database) -> None:
    for path, text in FILES.items():
        (tree.folder / path).write_bytes(text.replace("\n", "\r\n").encode())
    assert tree.deploy(deployed) == []


async def test_gateways_are_told_after_a_change_only(tree: Tree, empty_database: Database) -> None:
    heard: list[object] = []
    ended = asyncio.Event()

    def listen(*message: object) -> None:
        heard.append(message[-1])
        if message[-1] == "end":
            ended.set()

    connection = await asyncpg.connect(empty_database.url())
    try:
        await connection.add_listener("cardbase", listen)
        for check in (True, False, False):
            await deploy(empty_database.url(), check=check, source=tree.folder)
        await connection.execute("notify cardbase, 'end'")
        await ended.wait()
    finally:
        await connection.close()
    assert heard == ["reload", "end"]


# --- check ----------------------------------------------------------------------------------------------------


def test_check_says_what_would_change_and_changes_nothing(tree: Tree, empty_database: Database) -> None:
    before = dump(empty_database)
    lines = tree.deploy(empty_database, check=True)
    assert dump(empty_database) == before
    assert tree.deploy(empty_database) == lines


def test_check_finds_a_failing_file(tree: Tree, deployed: Database) -> None:
    tree.write("migrations/0002_wrong.sql", "select nothing_such();")
    with pytest.raises(DeployError, match=r"^migrations/0002_wrong\.sql:1: .*nothing_such"):
        tree.deploy(deployed, check=True)


# --- failing --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["migrations/0003_new.sql", "functions/things/zero.sql", "policies/zero.sql"])
def test_failing_file_leaves_the_database_as_it_was(tree: Tree, deployed: Database, path: str) -> None:
    before = dump(deployed), deployed.execute(WRITTEN)
    tree.write("migrations/0002_more.sql", "create table app.more (tenant_id uuid primary key);")
    tree.write(path, "-- two\nselect 1;\nselect * from\n    app.nowhere;\n")
    with pytest.raises(DeployError) as api_error:
        tree.deploy(deployed)
    assert str(api_error.value).startswith(f'{path}:4: relation "app.nowhere" does not exist')
    assert str(api_error.value).endswith("(SQLSTATE 42P01)")
    assert (dump(deployed), deployed.execute(WRITTEN)) == before


def test_failing_first_deploy_leaves_an_empty_database(tree: Tree, empty_database: Database) -> None:
    before = dump(empty_database)
    tree.write("policies/zero.sql", "select * from app.nowhere")
    with pytest.raises(DeployError):
        tree.deploy(empty_database)
    assert dump(empty_database) == before


@pytest.mark.parametrize(
    "text",
    [
        "create table app.half (value integer);\ncommit;",
        "create table app.half (value integer);\n  ROLLBACK ;",
        "create table app.half (value integer);\nend;",
        "-- one\nbegin; create table app.half (value integer)",
        "select $a$; commit; $a$ as quoted, ';commit;' as text;\n/* ; */ commit;",
    ],
)
def test_a_file_cannot_end_the_transaction(tree: Tree, deployed: Database, text: str) -> None:
    tree.write("migrations/0002_half.sql", text)
    with pytest.raises(DeployError, match=r"^migrations/0002_half\.sql:2: no '\w+' here"):
        tree.deploy(deployed)
    assert deployed.execute("select to_regclass('app.half')") == ""


def test_words_of_transactions_may_stand_in_bodies_and_texts(tree: Tree, deployed: Database) -> None:
    tree.write(
        "functions/things/words.sql",
        """
        -- ; commit;
        create or replace function app.words() returns text language sql immutable
        begin atomic
            select 'it''s; rollback;' || e'\\'; commit;' || $q$; begin; $q$;
        end;
        create or replace function app.more() returns void language plpgsql as $f$
        begin
            perform 1;
        end;
        $f$;
        """,
    )
    assert tree.deploy(deployed) == ["functions/things/words.sql: new"]


def test_what_a_file_sets_does_not_reach_the_next(tree: Tree, deployed: Database) -> None:
    tree.write("migrations/0002_sets.sql", "set role none; set search_path = app;")
    tree.write("migrations/0003_uses.sql", "create table app.later (value integer); create table other (value int);")
    with pytest.raises(DeployError, match=r"^migrations/0003_uses\.sql"):
        tree.deploy(deployed)
    tree.write("migrations/0003_uses.sql", "create table app.later (value integer);")
    tree.deploy(deployed)
    owner = "select relowner::regrole from pg_class where oid = 'app.later'::regclass"
    assert deployed.execute(owner) == "cardbase_owner"


async def test_a_table_in_use_fails_the_deploy_after_a_while(
    tree: Tree, deployed: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.operate.deploy.LOCK_TIMEOUT", "50ms")
    tree.write("migrations/0002_wider.sql", "alter table app.things add column size integer;")
    connection = await asyncpg.connect(deployed.url())
    try:
        await connection.execute("begin; lock table app.things in access share mode")
        with pytest.raises(DeployError, match=r"^migrations/0002_wider\.sql.*SQLSTATE 55P03"):
            await deploy(deployed.url(), source=tree.folder)
    finally:
        await connection.close()


# --- the ledger -----------------------------------------------------------------------------------------------


def test_edited_migration_is_refused(tree: Tree, deployed: Database) -> None:
    before = deployed.execute(WRITTEN)
    tree.write("migrations/0001_things.sql", FILES["migrations/0001_things.sql"] + "-- a word")
    for check in (True, False):
        with pytest.raises(DeployError, match=r"^migrations/0001_things\.sql: was edited after it was applied"):
            tree.deploy(deployed, check=check)
    assert deployed.execute(WRITTEN) == before


def test_missing_migration_is_refused(tree: Tree, deployed: Database) -> None:
    (tree.folder / "migrations/0001_things.sql").rename(tree.folder / "migrations/0001_items.sql")
    with pytest.raises(DeployError, match=r"^migrations/0001_things\.sql: was applied .* the file is missing"):
        tree.deploy(deployed)


def test_migration_before_an_applied_one_is_refused(tree: Tree, deployed: Database) -> None:
    tree.write("migrations/0003_third.sql", "select 1;")
    tree.deploy(deployed)
    tree.write("migrations/0002_second.sql", "select 1;")
    with pytest.raises(DeployError, match=r"^migrations/0002_second\.sql: comes before 0003_third\.sql"):
        tree.deploy(deployed)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [("0001_again.sql", "its number is taken by 0001"), ("2_short.sql", "must be named like 0001_what_it_does.sql")],
)
def test_migration_with_a_wrong_name_is_refused(
    tree: Tree, empty_database: Database, name: str, complaint: str
) -> None:
    tree.write(f"migrations/{name}", "select 1;")
    with pytest.raises(DeployError, match=complaint):
        tree.deploy(empty_database)


# --- drift ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        ("drop function api.count_things", "function api.count_things(uuid)"),
        ("alter function api.count_things owner to cardbase_owner", "function api.count_things(uuid)"),
        ("grant execute on function api.count_things to public", "function api.count_things(uuid)"),
        ('drop policy "a tenant\'s things" on app.things', 'policy "a tenant\'s things" on app.things'),
        ('alter policy "a tenant\'s things" on app.things using (true)', 'policy "a tenant\'s things" on app.things'),
        ("alter table app.things no force row level security", "table app.things"),
        ("grant select (name) on app.things to cardbase_gateway", "table app.things"),
        ("grant insert on app.things to public", "table app.things"),
    ],
)
def test_drift_is_named_and_repaired(tree: Tree, deployed: Database, damage: str, name: str) -> None:
    path = "functions/things/count_things.sql"
    tree.write(path, FILES[path] + "revoke all on function api.count_things(uuid) from public;")
    tree.deploy(deployed)
    before = dump(deployed, "--schema-only")
    deployed.execute(damage)
    lines = [f"{name}: differs from what the last deploy left", "all other functions and policies: applied again"]
    assert tree.deploy(deployed, check=True) == lines
    assert tree.deploy(deployed) == lines
    assert dump(deployed, "--schema-only") == before
    assert tree.deploy(deployed) == []


def test_drift_that_no_file_repairs_is_named_and_taken(tree: Tree, deployed: Database) -> None:
    deployed.execute("grant select on app.things to cardbase_worker")
    assert tree.deploy(deployed) == [
        "table app.things: differs from what the last deploy left",
        "all other functions and policies: applied again",
        "table app.things: still differs, and no file changes it back; accepted as it is",
    ]
    assert tree.deploy(deployed) == []


def test_privileges_of_schemas_and_defaults_are_put_right(tree: Tree, deployed: Database) -> None:
    deployed.execute(
        "grant usage on schema app to public",
        "grant create on schema api to cardbase_gateway",
        "revoke usage on schema api from cardbase_service",
        "alter default privileges for role cardbase_owner grant execute on functions to public",
    )
    assert tree.deploy(deployed) == [
        "schema api: create revoked from cardbase_gateway",
        "schema api: usage granted to cardbase_service",
        "schema app: usage revoked from public",
        "default privileges of cardbase_owner: execute revoked from public",
    ]
    assert tree.deploy(deployed) == []


# --- at the same time -----------------------------------------------------------------------------------------


async def test_deploys_into_one_database_wait_for_each_other(
    tree: Tree, make_empty_database: Callable[[], Database]
) -> None:
    for _ in range(5):
        database = make_empty_database()
        outcomes = await asyncio.gather(*(deploy(database.url(), source=tree.folder) for _ in range(4)))
        assert sorted(len(lines) > 0 for lines in outcomes) == [False, False, False, True]
        assert catalog_version(database) == 1


def test_deploys_into_databases_of_one_cluster_all_succeed(tree: Tree, new_server: Server) -> None:
    async def deploy_all(databases: list[Database]) -> list[list[str]]:
        return await asyncio.gather(*(deploy(database.url(), source=tree.folder) for database in databases))

    for _ in range(6):
        with ExitStack() as stack:
            databases = [stack.enter_context(new_server.database(f"side_{number}")) for number in range(4)]
            for lines in asyncio.run(deploy_all(databases)):
                assert "policies/things.sql: new" in lines
            for database in databases:
                assert database.execute("select api.count_things(gen_random_uuid())", user="cardbase_gateway") == "0"
        new_server.execute(*(f"drop role {role}" for role in ROLES))


async def test_deploy_waits_for_one_that_is_running(tree: Tree, deployed: Database) -> None:
    connection = await asyncpg.connect(deployed.url())
    try:
        await connection.execute(f"select pg_advisory_lock({ADVISORY_LOCK})")
        second = asyncio.create_task(deploy(deployed.url(), source=tree.folder))
        is_waiting = "select exists (select from pg_locks where locktype = 'advisory' and not granted)"
        async with asyncio.timeout(10):
            while not await connection.fetchval(is_waiting):  # noqa: ASYNC110 (no event tells)
                await asyncio.sleep(0.01)
        await connection.execute(f"select pg_advisory_unlock({ADVISORY_LOCK})")
        assert await second == []
    finally:
        await connection.close()


def test_killed_deployer_leaves_nothing_and_holds_up_nobody(tree: Tree, deployed: Database) -> None:
    before = dump(deployed)
    tree.write("migrations/0002_long.sql", "create table app.half (value integer); select pg_sleep(600);")
    script = "import asyncio, sys, pathlib; from gateway.operate.deploy import deploy; \
asyncio.run(deploy(sys.argv[1], source=pathlib.Path(sys.argv[2])))"
    with subprocess.Popen(
        [sys.executable, "-c", script, deployed.url(), tree.folder],
        env={**servers.clean_environment(), "PYTHONPATH": str(REPOSITORY)},
    ) as process:
        sleeping = "select exists (select from pg_stat_activity where wait_event = 'PgSleep')"
        while deployed.execute(sleeping) == "f":
            assert process.poll() is None
        process.kill()
    (tree.folder / "migrations/0002_long.sql").unlink()
    assert tree.deploy(deployed) == []
    assert dump(deployed) == before


# --- deployers and servers ------------------------------------------------------------------------------------


def test_deployer_need_not_be_superuser(new_server: Server) -> None:
    new_server.execute("create role deployer login createrole noinherit")
    with new_server.database("modest") as database:
        database.execute("grant create on database modest to deployer")
        assert asyncio.run(deploy(database.url("deployer")))
        assert asyncio.run(deploy(database.url("deployer"))) == []
        database.execute("drop function api.create_cards")
        lines = asyncio.run(deploy(database.url("deployer")))
        assert "all other functions and policies: applied again" in lines
        # What only a superuser may, where the server has it.
        has_vector = database.execute("select count(*) from pg_available_extensions where name = 'vector'") == "1"
        lines = asyncio.run(deploy(database.url()))
        assert lines[:1] == (["extension vector: created"] if has_vector else [])
        assert database.execute("select to_regclass('app.memory_embeddings') is not null") == "ft"[has_vector]
        assert asyncio.run(deploy(database.url())) == []


def test_second_database_of_a_deployer_who_is_not_superuser(tree: Tree, new_server: Server) -> None:
    new_server.execute("create role deployer login createrole createdb")
    for name in ("first", "second"):
        new_server.execute(f"create database {name}", user="deployer")
        lines = tree.deploy(Database(new_server, name), "deployer")
        assert ("role cardbase_owner: created" in lines) == (name == "first")


def test_deployer_without_rights_is_told_so(tree: Tree, new_server: Server) -> None:
    new_server.execute("create role deployer login")
    with new_server.database("closed") as database, pytest.raises(DeployError) as api_error:
        tree.deploy(database, "deployer")
    assert str(api_error.value).startswith("setup/extensions.sql: ")
    assert str(api_error.value).endswith("(SQLSTATE 42501)")
    assert "\n" not in str(api_error.value)


@pytest.mark.parametrize("attribute", ["superuser", "bypassrls", "replication"])
def test_role_that_row_level_security_does_not_bind_is_refused(tree: Tree, attribute: str) -> None:
    with servers.embedded_server() as server, server.database("unsafe") as database:
        server.execute(f"create role cardbase_gateway login {attribute}")
        with pytest.raises(DeployError, match="role cardbase_gateway is a superuser, bypasses"):
            tree.deploy(database)


def test_login_role_inside_another_role_is_refused(tree: Tree) -> None:
    with servers.embedded_server() as server, server.database("unsafe") as database:
        tree.deploy(database)
        server.execute("grant cardbase_api to cardbase_gateway")
        with pytest.raises(DeployError, match="role cardbase_gateway is a member of cardbase_api"):
            tree.deploy(database)


def test_lesser_attributes_of_roles_are_put_right(tree: Tree) -> None:
    with servers.embedded_server() as server, server.database("unsafe") as database:
        server.execute("create role cardbase_gateway createdb createrole", "create role cardbase_api login")
        lines = tree.deploy(database)
        assert "role cardbase_gateway: nocreatedb nocreaterole login noinherit" in lines
        assert "role cardbase_api: nologin" in lines
        assert tree.deploy(database) == []


def test_schema_of_somebody_else_is_refused(tree: Tree, empty_database: Database) -> None:
    empty_database.execute("create schema app")
    with pytest.raises(DeployError, match=r"^setup/schemas\.sql: schema app belongs to"):
        tree.deploy(empty_database)


def test_database_with_another_encoding_is_refused(tree: Tree, server: Server) -> None:
    name = f"cardbase_test_{os.getpid()}_latin1"
    server.execute(f"create database {name} template template0 encoding 'LATIN1' locale 'C' locale_provider libc")
    try:
        with pytest.raises(DeployError, match="encoding is LATIN1"):
            tree.deploy(Database(server, name))
    finally:
        server.execute(f"drop database {name}")


@pytest.mark.parametrize("url", ["postgresql://nobody@/nowhere?host=/nowhere", "mysql://a/b", "postgresql://x:y:z@/"])
def test_unreachable_database_is_one_line(tree: Tree, url: str) -> None:
    with pytest.raises(DeployError, match=r"^cannot connect to the database: .") as api_error:
        asyncio.run(deploy(url, source=tree.folder))
    assert "\n" not in str(api_error.value)


def test_folder_that_is_no_db_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="it is not a db folder"):
        asyncio.run(deploy("postgresql://nobody@/nowhere", source=tmp_path))


# --- settings that functions depend on ----------------------------------------------------------------------------


def test_settings_are_written_where_functions_read_them(deployed: Database, tree: Tree) -> None:
    def apply(check: bool = False, **settings: Any) -> list[str]:
        return asyncio.run(
            deploy(deployed.url(), source=tree.folder, settings=Settings(embed_memories=False, **settings), check=check)
        )

    def pending() -> str:
        return deployed.execute("select value from deployment.settings where name = 'tenant_pending_jobs'")

    assert pending() == ""
    assert sorted(apply()) == ["setting embed_memories: now false", "setting tenant_pending_jobs: now 10000"]
    assert apply() == []
    assert apply(check=True, tenant_pending_jobs=3) == ["setting tenant_pending_jobs: now 3"]
    assert pending() == "10000"
    assert apply(tenant_pending_jobs=3) == ["setting tenant_pending_jobs: now 3"]
    assert pending() == "3"
    assert tree.deploy(deployed) == []  # without settings those that were written stay
    assert pending() == "3"

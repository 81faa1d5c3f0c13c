"""The doctor finds nothing on a database as it is deployed, and each fault that is planted."""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final, NamedTuple

import pytest
from support import servers
from support.gateways import run_cardbase
from support.servers import Database, Server

from gateway.operate.deploy import DEFAULT_SOURCE, DeployError, deploy
from gateway.operate.doctor import Finding, examine


class Fault(NamedTuple):
    """Something wrong, and what the doctor says of it."""

    name: str
    plant: str
    """SQL, run as the deploying superuser."""
    subject: str
    problem: str


def function(name: str, body: str = "begin end;", more: str = "") -> str:
    """SQL that makes a function with nothing wrong but what its body and options say."""
    return f"""
        set role cardbase_owner;
        create function {name}() returns void language plpgsql volatile
        set search_path = pg_catalog, pg_temp {more} as $planted$ {body} $planted$;
        comment on function {name}() is 'Planted.';
        reset role;
    """


def table(name: str, columns: str = "tenant_id uuid not null, id uuid, primary key (tenant_id, id)") -> str:
    """SQL that makes a table with nothing wrong but what its columns say."""
    return f"""
        set role cardbase_owner;
        create table {name} ({columns});
        alter table {name} enable row level security;
        alter table {name} force row level security;
        create policy "its own" on {name} to cardbase_api
        using (tenant_id = app.current_tenant_id()) with check (tenant_id = app.current_tenant_id());
        create policy "the owner sees no row" on {name} as restrictive to cardbase_owner using (false);
        grant select on {name} to cardbase_api;
        reset role;
    """


def policy(name: str, expression: str, roles: str = "cardbase_api") -> str:
    """SQL that adds a policy to a new table."""
    return f'{table(name)} create policy "planted" on {name} to {roles} using ({expression});'


def leaves(trace: str) -> str:
    return f"it leaves something behind on the connection: {trace}"


MORE_THAN_ITS_OWN: Final = "it shows or lets in more than the tenant's own rows: "
RUNS_AS: Final = "it runs as its owner {owner}, which is none of the roles that functions run as"

FAULTS: Final = (
    # PUBLIC
    Fault(
        "a function granted to everybody",
        function("app.p_public") + "grant execute on function app.p_public() to public;",
        "function app.p_public()",
        "everybody (PUBLIC) has a privilege on it",
    ),
    Fault(
        "a function whose grants were never touched",
        "create function api.p_fresh() returns integer language sql immutable return 1;"
        "comment on function api.p_fresh() is 'Planted.';",
        "function api.p_fresh()",
        "everybody (PUBLIC) has a privilege on it",
    ),
    Fault(
        "a table granted to everybody",
        table("app.p_public_table") + "grant select on app.p_public_table to public;",
        "table app.p_public_table",
        "everybody (PUBLIC) has a privilege on it",
    ),
    Fault(
        "a column granted to everybody",
        table("app.p_public_column") + "grant update (id) on app.p_public_column to public;",
        "table app.p_public_column",
        "everybody (PUBLIC) has a privilege on it",
    ),
    Fault(
        "a sequence granted to everybody",
        "create sequence app.p_sequence; grant usage on sequence app.p_sequence to public;",
        "sequence app.p_sequence",
        "everybody (PUBLIC) has a privilege on it",
    ),
    Fault(
        "a schema opened to everybody",
        "grant usage on schema app to public;",
        "schema app",
        "everybody (PUBLIC) has a privilege on it",
    ),
    # Row-level security
    Fault(
        "row-level security switched off",
        table("app.p_open") + "alter table app.p_open disable row level security;",
        "table app.p_open",
        "row-level security is not enabled: every tenant's rows are everybody's who may read it",
    ),
    Fault(
        "row-level security not forced",
        table("app.p_unforced") + "alter table app.p_unforced no force row level security;",
        "table app.p_unforced",
        "row-level security is not forced: its owner walks past the policies",
    ),
    Fault(
        "an owner that inherits other roles' policies",
        table("app.p_owner") + 'drop policy "the owner sees no row" on app.p_owner;',
        "table app.p_owner",
        "cardbase_owner sees rows of it, by the policies of roles that it belongs to",
    ),
    Fault(
        "an owner that inherits other roles' policies, for some rows",
        table("app.p_owner_some") + 'alter policy "the owner sees no row" on app.p_owner_some using (id is null);',
        "table app.p_owner_some",
        "cardbase_owner sees rows of it, by the policies of roles that it belongs to",
    ),
    Fault(
        "a role without a policy",
        table("app.p_no_policy") + "grant insert on app.p_no_policy to cardbase_finder;",
        "table app.p_no_policy",
        "cardbase_finder may insert, but no policy is for it",
    ),
    Fault(
        "a role without a policy, for a column",
        table("app.p_no_column_policy") + "grant select (id) on app.p_no_column_policy to cardbase_maintenance;",
        "table app.p_no_column_policy",
        "cardbase_maintenance may select, but no policy is for it",
    ),
    Fault(
        "a role whose policy is for another command",
        policy("app.p_command", "true", "cardbase_finder").replace(
            " to cardbase_finder", " for select to cardbase_finder"
        )
        + "grant delete on app.p_command to cardbase_finder;",
        "table app.p_command",
        "cardbase_finder may delete, but no policy is for it",
    ),
    # Policies
    Fault(
        "a policy that is true",
        policy("app.p_true", "true"),
        'policy "planted" on app.p_true',
        f"{MORE_THAN_ITS_OWN}true",
    ),
    Fault(
        "a policy that lets everything in",
        policy("app.p_check", "tenant_id = app.current_tenant_id()").replace(
            "using (tenant_id = app.current_tenant_id());",
            "using (tenant_id = app.current_tenant_id()) with check (true);",
        ),
        'policy "planted" on app.p_check',
        f"{MORE_THAN_ITS_OWN}true",
    ),
    Fault(
        "a policy with a way around",
        policy("app.p_or", "tenant_id = app.current_tenant_id() or id is null"),
        'policy "planted" on app.p_or',
        f"{MORE_THAN_ITS_OWN}((tenant_id = app.current_tenant_id()) OR (id IS NULL))",
    ),
    Fault(
        "a policy for another role across tenants",
        policy("app.p_worker", "true", "cardbase_worker"),
        'policy "planted" on app.p_worker',
        f"{MORE_THAN_ITS_OWN}true",
    ),
    Fault(
        "a policy for everybody",
        policy("app.p_everybody", "tenant_id = app.current_tenant_id()", "public"),
        'policy "planted" on app.p_everybody',
        "it is for everybody (PUBLIC)",
    ),
    Fault(
        "a policy with a sub-select",
        policy("app.p_subselect", "tenant_id = app.current_tenant_id() and id in (select null::uuid)"),
        'policy "planted" on app.p_subselect',
        "it has a sub-select, which runs for each query and which Citus refuses",
    ),
    Fault(
        "a policy that calls a built-in volatile function",
        policy("app.p_random", "tenant_id = app.current_tenant_id() and random() < 2"),
        'policy "planted" on app.p_random',
        "it calls random(), which is volatile, not parallel safe",
    ),
    Fault(
        "a policy that calls PL/pgSQL",
        "set role cardbase_owner;"
        "create function app.p_helper() returns boolean language plpgsql stable parallel safe"
        " set search_path = pg_catalog, pg_temp as 'begin return true; end';"
        "comment on function app.p_helper() is 'Planted.'; reset role;"
        + policy("app.p_plpgsql", "tenant_id = app.current_tenant_id() and app.p_helper()"),
        'policy "planted" on app.p_plpgsql',
        "it calls app.p_helper(), which is written in plpgsql, not inlined",
    ),
    # Functions
    Fault(
        "a function without a search_path",
        function("app.p_path") + "alter function app.p_path() reset search_path;",
        "function app.p_path()",
        "its search_path is not pinned",
    ),
    Fault(
        "a function whose search_path lets temporary objects in first",
        function("app.p_path_to_temp") + "alter function app.p_path_to_temp() set search_path = app, pg_catalog;",
        "function app.p_path_to_temp()",
        "its search_path is pinned to something else: search_path=app, pg_catalog",
    ),
    Fault(
        "a function that runs as the owner of the tables",
        function("app.p_definer", more="security definer"),
        "function app.p_definer()",
        RUNS_AS.format(owner="cardbase_owner") + ", owns tables",
    ),
    Fault(
        "a function that runs as a superuser",
        function("app.p_superuser", more="security definer") + "alter function app.p_superuser() owner to postgres;",
        "function app.p_superuser()",
        RUNS_AS.format(owner="postgres")
        + ", is a superuser, bypasses row-level security, creates roles, creates databases, may replicate, logs in",
    ),
    Fault(
        "a function elsewhere that runs as a superuser, for everybody",
        "create function public.p_elsewhere() returns void language sql security definer as 'select null::void';",
        "function public.p_elsewhere()",
        RUNS_AS.format(owner="postgres")
        + ", is a superuser, bypasses row-level security, creates roles, creates databases, may replicate, logs in",
    ),
    Fault(
        "a session-level setting of the tenant",
        function(
            "app.p_set_config", "begin perform set_config('app.current_tenant_id', coalesce(null, ''), false); end;"
        ),
        "function app.p_set_config()",
        leaves("a session-level set_config"),
    ),
    Fault(
        "a setting by SET",
        function("app.p_set", "begin /* here */ set work_mem = '1GB'; end;"),
        "function app.p_set()",
        leaves("set work_mem"),
    ),
    Fault(
        "a setting by dynamic SQL",
        function("app.p_execute", "begin execute format('set session role %I', 'nobody'); end;"),
        "function app.p_execute()",
        leaves("set session"),
    ),
    Fault(
        "a listener",
        function("app.p_listen", "begin if true then listen cardbase; end if; end;"),
        "function app.p_listen()",
        leaves("listen"),
    ),
    Fault(
        "a prepared statement",
        function("app.p_prepare", "begin execute 'prepare planted as select 1'; end;"),
        "function app.p_prepare()",
        leaves("prepare"),
    ),
    Fault(
        "a temporary table",
        function("app.p_temporary", "begin create temporary table planted (id integer); end;"),
        "function app.p_temporary()",
        leaves("create temporary"),
    ),
    Fault(
        "a lock of the session",
        function("app.p_lock", "begin perform pg_try_advisory_lock(1); end;"),
        "function app.p_lock()",
        leaves("a session-level advisory lock"),
    ),
    Fault(
        "two functions of one name",
        function("app.p_twice") + function("app.p_twice").replace("app.p_twice()", "app.p_twice(value integer)"),
        "function app.p_twice",
        "there are 2 of this name",
    ),
    Fault(
        "a function without a comment",
        function("app.p_silent") + "comment on function app.p_silent() is '';",
        "function app.p_silent()",
        "it has no comment, so neither API documents it",
    ),
    Fault(
        "a function of api that nobody may call",
        function("api.p_uncalled"),
        "function api.p_uncalled()",
        "none of the roles that log in may execute it",
    ),
    Fault(
        "a function of api that runs as a superuser",
        function("api.p_sees_all", more="security definer")
        + "alter function api.p_sees_all() owner to postgres;"
        + "grant execute on function api.p_sees_all() to cardbase_gateway;",
        "function api.p_sees_all()",
        RUNS_AS.format(owner="postgres")
        + ", is a superuser, bypasses row-level security, creates roles, creates databases, may replicate, logs in",
    ),
    # Keys
    Fault(
        "a table without a tenant",
        "create table app.p_no_tenant (id uuid primary key);"
        "alter table app.p_no_tenant owner to cardbase_owner;"
        "alter table app.p_no_tenant enable row level security; alter table app.p_no_tenant force row level security;",
        "table app.p_no_tenant",
        "it has no column tenant_id uuid not null",
    ),
    Fault(
        "a table without a primary key",
        table("app.p_no_key", "tenant_id uuid not null, id uuid"),
        "table app.p_no_key",
        "it has no primary key",
    ),
    Fault(
        "a primary key with the tenant last",
        table("app.p_last", "tenant_id uuid not null, id uuid, primary key (id, tenant_id)"),
        "table app.p_last",
        "app.p_last_pkey does not begin with tenant_id",
    ),
    Fault(
        "a unique index across tenants",
        table("app.p_unique") + "create unique index p_unique_id on app.p_unique (id) where id is not null;",
        "table app.p_unique",
        "app.p_unique_id does not begin with tenant_id",
    ),
    Fault(
        "a reference across tenants",
        table("app.p_referred")
        + table(
            "app.p_refers",
            "tenant_id uuid not null, id uuid, primary key (tenant_id, id),"
            " constraint crossed foreign key (id, tenant_id) references app.p_referred (tenant_id, id)",
        ),
        "table app.p_refers",
        "foreign key crossed does not begin with tenant_id on both sides",
    ),
    # Roles
    Fault(
        "a privilege of a role that logs in",
        "grant select (card_id) on app.cards to cardbase_service;",
        "role cardbase_service",
        "it has a privilege on table app.cards",
    ),
    Fault(
        "a role that may create",
        "grant create on schema app to cardbase_api;",
        "role cardbase_api",
        "it may create in schema app",
    ),
    # Last: it would open the functions that are planted after it.
    Fault(
        "default privileges that open new functions",
        "alter default privileges for role cardbase_owner grant execute on functions to public;",
        "default privileges of cardbase_owner",
        "a new function would be everybody's (PUBLIC)",
    ),
)
ROLE_FAULTS: Final = (
    Fault(
        "a role past row-level security",
        "alter role cardbase_gateway bypassrls;",
        "role cardbase_gateway",
        "it has the attribute bypassrls",
    ),
    Fault(
        "a superuser",
        "alter role cardbase_worker superuser;",
        "role cardbase_worker",
        "it has the attribute superuser",
    ),
    Fault("a role that logs in", "alter role cardbase_api login;", "role cardbase_api", "it has the attribute login"),
    Fault(
        "a member of a role that functions run as",
        "grant cardbase_api to cardbase_gateway;",
        "role cardbase_gateway",
        "it is a member of cardbase_api",
    ),
)
"""Roles belong to the whole cluster: these are planted in one of their own."""


DEPLOY: Final = "Run cardbase deploy."


def findings_of(database: Database) -> list[Finding]:
    return asyncio.run(examine(database.url()))


def test_deployed_database_is_healthy(database: Database) -> None:
    assert findings_of(database) == []


@pytest.fixture(scope="module")
def findings(_clone: Callable[[ExitStack], Database]) -> list[Finding]:
    """What the doctor finds once all faults are planted."""
    with ExitStack() as stack:
        database = _clone(stack)
        for fault in FAULTS:
            database.execute(*_statements(fault.plant))
        return findings_of(database)


def _statements(plant: str) -> list[str]:
    return [plant.replace("    ", "")]


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_planted_fault_is_found(fault: Fault, findings: list[Finding]) -> None:
    found = [finding for finding in findings if finding.subject == fault.subject]
    assert fault.problem in [finding.problem for finding in found], found
    assert all(finding.remedy for finding in found)


def test_nothing_is_found_but_what_was_planted(findings: list[Finding]) -> None:
    planted = {(fault.subject, fault.problem) for fault in FAULTS}
    planted.add(("table app.p_no_tenant", "app.p_no_tenant_pkey does not begin with tenant_id"))
    planted.add(("table app.cards", "cardbase_service may select, but no policy is for it"))
    # What is everybody's is also every login role's.
    planted |= {
        (f"role {role}", f"it has a privilege on table {name}")
        for role in servers.LOGIN_ROLES
        for name in ("app.p_public_table", "app.p_public_column")
    }
    found = {(finding.subject, finding.problem) for finding in findings if finding.remedy != DEPLOY}
    assert found == planted


def test_fault_of_a_role_is_found() -> None:
    with servers.embedded_server() as server:
        database = _deployed(server)
        for fault in ROLE_FAULTS:
            database.execute(fault.plant)
        found = {(finding.subject, finding.problem) for finding in findings_of(database)}
        assert {(fault.subject, fault.problem) for fault in ROLE_FAULTS} <= found
        # The deploy would refuse, too: that is reported, and does not end the examination.
        assert any(finding.subject == "db/" for finding in findings_of(database))


def _deployed(server: Server) -> Database:
    server.execute("create database examined template template0 encoding 'UTF8'")
    database = Database(server, "examined")
    asyncio.run(deploy(database.url()))
    return database


def test_catalog_that_differs_from_the_files_is_found(database: Database) -> None:
    database.execute(
        "create or replace function app.card_types() returns text[] language sql immutable parallel safe"
        " return array['company', 'audience', 'voice', 'insight', 'planted']"
    )
    assert Finding("function app.card_types()", "differs from what the last deploy left", DEPLOY) in (
        findings_of(database)
    )
    asyncio.run(deploy(database.url()))
    assert findings_of(database) == []


def test_files_that_are_newer_than_the_database_are_found(database: Database, tmp_path: Path) -> None:
    source = tmp_path / "db"
    for file in DEFAULT_SOURCE.rglob("*.sql"):
        copy = source / file.relative_to(DEFAULT_SOURCE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    (source / "migrations" / "9999_later.sql").write_text("select 1;\n")
    findings = asyncio.run(examine(database.url(), source))
    assert findings[0] == Finding("migrations/9999_later.sql", "new", DEPLOY)


def test_examining_changes_nothing(database: Database) -> None:
    state = "select md5(string_agg(t::text, ',' order by t::text)) from (select oid, xmin from pg_class) as t"
    database.execute(function("app.p_silent").replace("'Planted.'", "''").replace("    ", ""))
    before = database.execute(state)
    assert findings_of(database)
    assert database.execute(state) == before


def test_command_prints_what_it_found_and_fails(database: Database, tmp_path: Path) -> None:
    healthy = run_cardbase("doctor", folder=tmp_path, DEPLOY_DATABASE_URL=database.url())
    assert (healthy.returncode, healthy.stdout, healthy.stderr) == (0, "", "Nothing found.\n")

    database.execute("grant usage on schema api to public")
    ill = run_cardbase("doctor", folder=tmp_path, DEPLOY_DATABASE_URL=database.url())
    assert ill.returncode == 1
    assert ill.stdout.startswith(
        "schema api: everybody (PUBLIC) has a privilege on it\n    revoke usage on schema api from public;\n"
    )


def test_database_that_was_not_deployed_to_is_refused(empty_database: Database, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match=r"^this database was not deployed to: run cardbase deploy$"):
        findings_of(empty_database)
    gone = run_cardbase("doctor", folder=tmp_path, DEPLOY_DATABASE_URL="postgresql://nobody@127.0.0.1:1/nothing")
    assert (gone.returncode, gone.stdout) == (1, "")
    assert gone.stderr.startswith("cardbase: cannot connect to the database: ")

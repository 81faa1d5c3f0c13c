"""Puts db/ into a database: all of it or none of it.

One transaction under an advisory lock runs, in this order: db/setup as the deploying role, then as
cardbase_owner db/functions/foundation, what PgQueuer wants of its tables in schema queue, the migrations not yet
applied, all other functions, and the policies.
A ledger in schema deployment remembers what was applied, so that a file without a change is left alone.
"""

import asyncio
import hashlib
import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Final

import asyncpg

from gateway.database.connect import connect
from gateway.errors import DATABASE_ERRORS

OLDEST_SERVER: Final = 15
ADVISORY_LOCK: Final = 0x6361726462617365  # "cardbase"
LOCK_TIMEOUT: Final = "10s"
"""How long a file may wait for a table: every other query on that table waits behind it."""

_PACKAGED: Final = Path(__file__).parents[1] / "db"
DEFAULT_SOURCE: Final = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "db"

_ATTEMPTS: Final = 8
# Roles are shared by all databases of a cluster and no lock is: deploys into two of them can get in each
# other's way. Serialization failure, deadlock, and the catalog's "tuple concurrently updated":
_COLLISIONS: Final = frozenset({"40001", "40P01", "XX000"})
# In db/setup, which looks before it creates, also "somebody was quicker": unique violation, duplicate object.
_SETUP_COLLISIONS: Final = _COLLISIONS | {"23505", "42710"}

_MIGRATION_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")

# What a statement's words cannot hide in: comments, dollar quotes, strings and quoted names.
_OPAQUE: Final = re.compile(
    r"""--[^\n]*
    | /\*.*?\*/
    | (?<![\w$])(?P<tag>\$(?:[^\W\d]\w*)?\$).*?(?P=tag)
    | \be'(?:[^'\\]|\\.|'')*'
    | '(?:[^']|'')*'
    | "(?:[^"]|"")*"
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_TRANSACTION_CONTROL: Final = re.compile(
    r"(?:^|;)\s*(begin|start|commit|rollback|abort|end|prepare|savepoint|release)\b", re.IGNORECASE
)

# What of the session must not end the deploy, and what must: the death of the deployer, whose lock would stay for
# as long as the statement under way. Some platforms of servers before 16 cannot watch for it.
_LIMITS: Final = """
do $do$
begin
    perform set_config(name, '0', true)
    from pg_catalog.pg_settings
    where name in (
        'statement_timeout', 'lock_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout'
    );
    perform set_config('client_min_messages', 'warning', true);
    begin
        perform set_config('client_connection_check_interval', '1s', true);
    exception
        when invalid_parameter_value then null;
    end;
end;
$do$
"""

# Stored expressions are taken as they are stored: pg_get_expr and pg_get_functiondef would lock tables.
_CATALOG: Final = r"""
with ours as (
    select oid
    from pg_namespace
    where nspowner = 'cardbase_owner'::regrole and nspname <> 'deployment'
),
described (name, definition) as (
    select
        format('function %s', routine.oid::regprocedure),
        concat_ws(
            E'\n',
            to_jsonb(routine) - 'oid' - 'proacl',
            (
                select string_agg(entry::text, ',' order by entry::text)
                from unnest(coalesce(routine.proacl, acldefault('f', routine.proowner))) as entry
            )
        )
    from pg_proc as routine
    where routine.pronamespace in (table ours)
    union all
    select
        format('table %s', relation.oid::regclass),
        concat_ws(
            E'\n',
            relation.relowner::regrole,
            relation.relrowsecurity,
            relation.relforcerowsecurity,
            (select string_agg(entry::text, ',' order by entry::text) from unnest(relation.relacl) as entry),
            (
                select string_agg(concat(attname, ' ', entry), ',' order by attname, entry::text)
                from pg_attribute as attribute
                cross join unnest(attribute.attacl) as entry
                where attribute.attrelid = relation.oid and not attribute.attisdropped
            )
        )
    from pg_class as relation
    where relation.relnamespace in (table ours)
        and relation.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
        and not relation.relispartition
    union all
    select
        format('policy "%s" on %s', policy.polname, policy.polrelid::regclass),
        concat_ws(
            E'\n',
            policy.polcmd,
            policy.polpermissive,
            (
                select string_agg(case role when 0 then 'public' else role::regrole::text end, ',')
                from unnest(policy.polroles) as role
            ),
            coalesce(policy.polqual::text, '-'),
            coalesce(policy.polwithcheck::text, '-')
        )
    from pg_policy as policy
    join pg_class as relation on relation.oid = policy.polrelid
    where relation.relnamespace in (table ours)
    union all
    -- Where it is, db/policies makes a table of its type.
    select
        format('extension %s', extension.extname),
        extension.extname
    from pg_extension as extension
    where extension.extname = 'vector'
)
select name, encode(sha256(convert_to(definition, 'UTF8')), 'hex') as sha256
from described
"""


class DeployError(Exception):
    """The deploy was refused or failed, and the database is as it was. The message is one line."""


class _Collision(DeployError):
    """Another deploy changed the same rows of a catalog at the same moment: the same may pass next time."""


@dataclass(frozen=True)
class _File:
    """A file of db/, named by its path within; line ends as on Unix, so that a checkout's don't matter."""

    path: str
    text: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class _Tree:
    """The files of db/ in the order they are applied."""

    setup: list[_File]
    foundation: list[_File]
    queue: _File
    migrations: list[_File]
    functions: list[_File]
    policies: list[_File]

    @property
    def repeatable(self) -> list[_File]:
        return [*self.foundation, self.queue, *self.functions, *self.policies]


@dataclass(frozen=True)
class _Ledger:
    """What the database says was applied to it."""

    migrations: Mapping[str, str]
    files: Mapping[str, str]
    fingerprint: Mapping[str, str]


@dataclass
class _Plan:
    """What to apply, and the lines that say so."""

    migrations: list[_File]
    files: list[_File]
    forgotten: list[str]
    lines: list[str] = field(default_factory=list)


async def deploy(
    url: str, *, check: bool = False, everything: bool = False, source: Path = DEFAULT_SOURCE
) -> list[str]:
    """Brings a database to the state of the files in `source`; answers a line for each thing that changed.

    url         a role that is a superuser, or may create roles (createrole) and create in the database
    check       everything is run and rolled back: nothing changes, and a file that would fail fails here
    everything  functions and policies are applied also where neither they nor the catalog changed

    No lines: there was nothing to do, and nothing was written. When the catalog differs from what the last
    deploy left behind, all functions and policies are applied again. Raises DeployError.
    """
    tree = _read_tree(source)
    connection = await _connect(url)
    try:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await connection.execute("begin isolation level read committed, read write")
                lines = await _deploy(connection, tree, everything=everything)
                await connection.execute("rollback" if check or not lines else "commit")
                return lines
            except _Collision:
                if attempt == _ATTEMPTS:
                    raise
                await connection.execute("rollback")
                await asyncio.sleep(random.uniform(0, 0.05 * 2**attempt))
        raise AssertionError("unreachable")
    except DATABASE_ERRORS as error:
        raise DeployError(f"the deploy failed: {_one_line(error)}") from error
    finally:
        await connection.close()


async def _connect(url: str) -> "asyncpg.Connection[asyncpg.Record]":
    try:
        # A transaction pooler between us and the server could not keep prepared statements.
        connection = await connect(url, "cardbase deploy")
    except (*DATABASE_ERRORS, ValueError) as error:
        raise DeployError(f"cannot connect to the database: {_one_line(error)}") from error
    version, encoding = connection.get_server_version(), connection.get_settings().server_encoding
    if version.major >= OLDEST_SERVER and encoding == "UTF8":
        return connection
    await connection.close()
    if encoding != "UTF8":
        raise DeployError(f"the database's encoding is {encoding}: create one with encoding 'UTF8'")
    raise DeployError(f"the server is PostgreSQL {version.major}: {OLDEST_SERVER} or newer is needed")


async def _deploy(connection: "asyncpg.Connection[asyncpg.Record]", tree: _Tree, *, everything: bool) -> list[str]:
    """Runs the deploy within the open transaction."""
    await connection.execute(_LIMITS)
    await connection.execute(f"select pg_catalog.pg_advisory_xact_lock({ADVISORY_LOCK})")
    await connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")

    lines = await _set_up(connection, tree.setup)
    ledger = await _read_ledger(connection)
    before = await _fingerprint(connection)
    plan = _plan(tree, ledger, before, everything=everything)
    lines += plan.lines
    if not lines:
        return []

    await _apply(connection, tree, plan)
    after = await _fingerprint(connection)
    if ledger.fingerprint and not plan.migrations and not plan.forgotten and not _changed(plan.files, ledger):
        lines += (
            f"{name}: still differs, and no file makes it so; taken as it is"
            for name in _differences(ledger.fingerprint, after)
            if before.get(name) == after.get(name)
        )
    await connection.execute(
        "update deployment.state"
        " set catalog_version = catalog_version + 1, fingerprint = $1::jsonb, deployed_at = now()",
        json.dumps(after),
    )
    await connection.execute("notify cardbase, 'reload'")
    return lines


# --- what there is ------------------------------------------------------------------------------------------


def _read_tree(source: Path) -> _Tree:
    if not (source / "setup").is_dir():
        raise DeployError(f"{source} holds no folder setup: it is not a db folder")
    folders = sorted(folder for folder in (source / "functions").glob("*") if folder.is_dir())
    tree = _Tree(
        setup=_read_files(source, source / "setup"),
        foundation=_read_files(source, source / "functions" / "foundation"),
        queue=_File("PgQueuer", version("pgqueuer")),
        migrations=_read_files(source, source / "migrations"),
        functions=[file for folder in folders if folder.name != "foundation" for file in _read_files(source, folder)],
        policies=_read_files(source, source / "policies"),
    )
    numbers: dict[str, str] = {}
    for migration in tree.migrations:
        if not (match := _MIGRATION_NAME.fullmatch(migration.name)):
            raise DeployError(f"{migration.path}: a migration is named like 0001_what_it_does.sql")
        if other := numbers.get(match[1]):
            raise DeployError(f"{migration.path}: its number is taken by {other}")
        numbers[match[1]] = migration.name
    return tree


def _read_files(source: Path, folder: Path) -> list[_File]:
    files = []
    for path in sorted(folder.glob("*.sql")):
        name = path.relative_to(source).as_posix()
        try:
            file = _File(name, path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise DeployError(f"{name}: {_one_line(error)}") from error
        _refuse_transaction_control(file)
        files.append(file)
    return files


def _refuse_transaction_control(file: _File) -> None:
    """A "commit" in a file would end the one transaction, and half a deploy would stay."""
    visible = _OPAQUE.sub(lambda hidden: re.sub(r"[^\n]", " ", hidden[0]), file.text)
    has_sql_bodies = re.search(r"\bbegin\s+atomic\b", visible, re.IGNORECASE)
    for match in _TRANSACTION_CONTROL.finditer(visible):
        if not (has_sql_bodies and match[1].lower() == "end"):
            line, word = visible.count("\n", 0, match.start(1)) + 1, match[1].lower()
            raise DeployError(f"{file.path}:{line}: no {word!r} here: a deploy is one transaction")


async def _read_ledger(connection: "asyncpg.Connection[asyncpg.Record]") -> _Ledger:
    migrations = await connection.fetch("select name, sha256 from deployment.migrations")
    files = await connection.fetch("select path, sha256 from deployment.files")
    fingerprint = await connection.fetchval("select fingerprint from deployment.state")
    return _Ledger(
        migrations={row["name"]: row["sha256"] for row in migrations},
        files={row["path"]: row["sha256"] for row in files},
        fingerprint=json.loads(fingerprint),
    )


async def _fingerprint(connection: "asyncpg.Connection[asyncpg.Record]") -> dict[str, str]:
    """SHA-256 of each object that function and policy files make: its definition, owner and grants."""
    await connection.execute("set local search_path = pg_catalog, pg_temp")  # names are shown as it says
    return {row["name"]: row["sha256"] for row in await connection.fetch(_CATALOG)}


# --- what to do ---------------------------------------------------------------------------------------------


def _plan(tree: _Tree, ledger: _Ledger, fingerprint: Mapping[str, str], *, everything: bool) -> _Plan:
    plan = _Plan(
        migrations=_pending(tree.migrations, ledger.migrations),
        files=_changed(tree.repeatable, ledger),
        forgotten=sorted(ledger.files.keys() - {file.path for file in tree.repeatable}),
    )
    drift = _differences(ledger.fingerprint, fingerprint) if ledger.files else []
    plan.lines += (f"{name}: differs from what the last deploy left" for name in drift)
    plan.lines += (f"{file.path}: new" for file in plan.migrations)
    plan.lines += (f"{file.path}: {'changed' if file.path in ledger.files else 'new'}" for file in plan.files)
    plan.lines += (f"{path}: gone; what it made stays until a migration drops it" for path in plan.forgotten)
    # A migration may have dropped what an unchanged file makes, for example a table with its policies.
    if (drift or everything or plan.migrations) and len(plan.files) < len(tree.repeatable):
        plan.lines.append("all other functions and policies: applied again")
        plan.files = tree.repeatable
    return plan


def _pending(migrations: list[_File], applied: Mapping[str, str]) -> list[_File]:
    """The migrations to apply. Raises DeployError unless they continue those that were applied."""
    present = {file.name: file for file in migrations}
    for name, sha256 in sorted(applied.items()):
        if name not in present:
            raise DeployError(f"migrations/{name}: was applied to this database, but the file is missing")
        if present[name].sha256 != sha256:
            raise DeployError(
                f"migrations/{name}: was edited after it was applied: restore it, and add a new one instead"
            )
    pending = [file for file in migrations if file.name not in applied]
    last = max(applied, default="")
    if pending and pending[0].name < last:
        raise DeployError(f"{pending[0].path}: comes before {last}, which was applied already: give it a new number")
    return pending


def _changed(files: list[_File], ledger: _Ledger) -> list[_File]:
    return [file for file in files if ledger.files.get(file.path) != file.sha256]


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


# --- doing it -----------------------------------------------------------------------------------------------


async def _set_up(connection: "asyncpg.Connection[asyncpg.Record]", files: list[_File]) -> list[str]:
    """Runs the setup files, which look before they change something and say so by "raise info"."""
    lines: list[str] = []

    def listen(_: object, message: asyncpg.PostgresLogMessage) -> None:
        if message.severity_en == "INFO":
            lines.append(str(message.message))

    connection.add_log_listener(listen)
    try:
        for file in files:
            await _run(connection, file, collisions=_SETUP_COLLISIONS)
        await asyncio.sleep(0)  # asyncpg hands messages on in the loop's next round
    finally:
        connection.remove_log_listener(listen)
    await connection.execute("set local role cardbase_owner")
    return lines


async def _apply(connection: "asyncpg.Connection[asyncpg.Record]", tree: _Tree, plan: _Plan) -> None:
    chosen = {file.path for file in plan.files}
    # A function can only be handed to a role that may create in its schema: it may, for this transaction.
    handed_to = "cardbase_api, cardbase_maintenance, cardbase_finder, cardbase_authenticator, cardbase_dispatcher"
    await connection.execute(f"grant create on schema app, api to {handed_to}")
    for files in (tree.foundation, [tree.queue], plan.migrations, tree.functions, tree.policies):
        for file in files:
            if files is plan.migrations or file.path in chosen:
                await connection.execute("set local role cardbase_owner")
                if file is tree.queue:
                    await _upgrade_queue(connection)
                else:
                    await _run(connection, file)
    await connection.execute("set local role cardbase_owner")
    await connection.execute(f"revoke create on schema app, api from {handed_to}")

    await connection.executemany(
        "insert into deployment.migrations (name, sha256) values ($1, $2)",
        [(file.name, file.sha256) for file in plan.migrations],
    )
    await connection.executemany(
        "insert into deployment.files (path, sha256) values ($1, $2)"
        " on conflict (path) do update set sha256 = excluded.sha256",
        [(file.path, file.sha256) for file in plan.files],
    )
    await connection.execute("delete from deployment.files where path = any($1)", plan.forgotten)


async def _run(
    connection: "asyncpg.Connection[asyncpg.Record]",
    file: _File,
    *,
    collisions: frozenset[str] = _COLLISIONS,
) -> None:
    # Before each file, so that none sees what another one set.
    await connection.execute("set local search_path = pg_catalog, pg_temp")
    try:
        await connection.execute(file.text)
    except asyncpg.PostgresError as error:
        position = getattr(error, "position", None)
        line = f":{file.text.count(chr(10), 0, int(position) - 1) + 1}" if position else ""
        kind = _Collision if error.sqlstate in collisions else DeployError
        raise kind(f"{file.path}{line}: {_one_line(error)}") from error


async def _upgrade_queue(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Brings PgQueuer's tables to what the installed version of it wants."""
    from gateway.worker.queue import upgrade_tables  # here, for it takes a while to load and is seldom needed

    await connection.execute("set local search_path = pg_catalog, pg_temp")
    try:
        await upgrade_tables(connection)
    except asyncpg.PostgresError as error:
        raise DeployError(f"PgQueuer: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    if not isinstance(error, asyncpg.PostgresError):
        return " ".join(str(error).split()) or type(error).__name__
    said = [error.args[0], getattr(error, "detail", None), getattr(error, "hint", None)]
    text = " ".join(" ".join(str(part).split()) for part in said if part)
    return f"{text} (SQLSTATE {error.sqlstate})"

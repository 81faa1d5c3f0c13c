"""Deploys db/ into a database: all of it or none of it.

One transaction under an advisory lock runs, in this order: db/setup as the deploying role, then as
cardbase_owner db/functions/foundation, the pending migrations, all other functions, and the policies.
A ledger in schema deployment records what was applied, so that unchanged files are not applied again.
"""

import asyncio
import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import asyncpg

from gateway.database.connect import Connection, connect
from gateway.errors import DATABASE_ERRORS
from gateway.operate.db_files import DEFAULT_SOURCE, DeployError, File, Tree, read_tree
from gateway.services import embedder
from gateway.settings import Settings

__all__ = ["ADVISORY_LOCK", "DEFAULT_SOURCE", "OLDEST_SERVER", "DeployError", "connect_as_deployer", "deploy"]

OLDEST_SERVER: Final = 15
ADVISORY_LOCK: Final = 0x6361726462617365  # "cardbase"
LOCK_TIMEOUT: Final = "10s"
"""How long a file may wait for a lock on a table: all other queries on that table wait behind it."""

_ATTEMPTS: Final = 8
# Roles are shared by all databases of a cluster but locks are not, so deploys into two of its databases can collide:
# serialization failure, deadlock, and the catalog's "tuple concurrently updated".
_COLLISIONS: Final = frozenset({"40001", "40P01", "XX000"})
# In db/setup, which checks before it creates, also "it exists by now": unique violation, duplicate object.
_SETUP_COLLISIONS: Final = _COLLISIONS | {"23505", "42710"}


class _Collision(DeployError):
    """Another deploy changed the same rows of a catalog at the same time: a retry may succeed."""


@dataclass(frozen=True)
class _Ledger:
    """What was applied to the database, according to itself."""

    migrations: Mapping[str, str]
    files: Mapping[str, str]
    fingerprint: Mapping[str, str]


@dataclass(frozen=True)
class _Plan:
    """What to apply, which paths to remove from the ledger, and the lines that say so."""

    migrations: list[File]
    files: list[File]
    forgotten: list[str]
    lines: list[str]


async def deploy(
    url: str,
    *,
    check: bool = False,
    everything: bool = False,
    source: Path = DEFAULT_SOURCE,
    settings: Settings | None = None,
) -> list[str]:
    """Brings a database to the state of the files in `source`. Returns a line for each thing that changed.

    url         a role that is a superuser, or may create roles (createrole) and create in the database
    check       everything is run and rolled back: nothing changes, and a file that would fail fails here
    everything  functions and policies are applied even if neither they nor the catalog changed
    settings    those that functions depend on are written into the database; None: what it has stays

    No lines: there was nothing to do, and nothing was written. If the catalog differs from what the last deploy
    left behind, all functions and policies are applied again. Raises DeployError.
    """
    tree = read_tree(source)
    connection = await connect_as_deployer(url, "cardbase deploy")
    try:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await connection.execute("begin isolation level read committed, read write")
                lines = await _deploy(connection, tree, settings, everything=everything)
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


async def connect_as_deployer(url: str, application_name: str) -> Connection:
    """Connects to a database that can be deployed to. Raises DeployError."""
    try:
        # Without prepared statements: a transaction pooler in between could not keep them.
        connection = await connect(url, application_name)
    except (*DATABASE_ERRORS, ValueError) as error:
        raise DeployError(f"cannot connect to the database: {_one_line(error)}") from error
    version, encoding = connection.get_server_version(), connection.get_settings().server_encoding
    if version.major >= OLDEST_SERVER and encoding == "UTF8":
        return connection
    await connection.close()
    if encoding != "UTF8":
        raise DeployError(f"the database's encoding is {encoding}: create one with encoding 'UTF8'")
    raise DeployError(f"the server is PostgreSQL {version.major}, but {OLDEST_SERVER} is the oldest supported version")


async def _deploy(connection: Connection, tree: Tree, settings: Settings | None, *, everything: bool) -> list[str]:
    """Runs the deploy within the open transaction."""
    await connection.execute(_query("limits"))
    await connection.execute(f"select pg_catalog.pg_advisory_xact_lock({ADVISORY_LOCK})")
    await connection.execute(f"set local lock_timeout = '{LOCK_TIMEOUT}'")

    lines = await _set_up(connection, tree.setup)
    if settings is not None:
        lines += await _write_settings(connection, settings)
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
            f"{name}: still differs, and no file changes it back; accepted as it is"
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


# --- what the database has ----------------------------------------------------------------------------------


async def _read_ledger(connection: Connection) -> _Ledger:
    return _Ledger(
        migrations=dict(await connection.fetch("select name, sha256 from deployment.migrations")),
        files=dict(await connection.fetch("select path, sha256 from deployment.files")),
        fingerprint=json.loads(await connection.fetchval("select fingerprint from deployment.state")),
    )


async def _fingerprint(connection: Connection) -> dict[str, str]:
    """The SHA-256 of the definition, owner and grants of each object that function and policy files create."""
    await connection.execute("set local search_path = pg_catalog, pg_temp")  # it decides how names are shown
    return dict(await connection.fetch(_query("fingerprint")))


def _query(name: str) -> str:
    """A query of the deploy itself. It belongs to this program, whatever tree is being deployed."""
    return (DEFAULT_SOURCE / "deploy" / f"{name}.sql").read_text(encoding="utf-8")


# --- what to do ---------------------------------------------------------------------------------------------


def _plan(tree: Tree, ledger: _Ledger, fingerprint: Mapping[str, str], *, everything: bool) -> _Plan:
    migrations, files = _pending(tree, ledger.migrations), _changed(tree.repeatable, ledger)
    forgotten = sorted(ledger.files.keys() - {file.path for file in tree.repeatable})
    moved = _moved(forgotten, (file.path for file in files if file.path not in ledger.files))
    drift = _differences(ledger.fingerprint, fingerprint) if ledger.files else []

    lines = [f"{name}: differs from what the last deploy left" for name in drift]
    lines += (f"{file.path}: new" for file in migrations)
    for file in files:
        old = moved.get(file.path, file.path)
        has_changed = ledger.files.get(old) != file.sha256
        if old != file.path:
            lines.append(f"{file.path}: moved from {old}{', and changed' if has_changed else ''}")
        else:
            lines.append(f"{file.path}: {'changed' if file.path in ledger.files else 'new'}")
    gone = (path for path in forgotten if path not in moved.values())
    lines += (f"{path}: gone; what it made stays until a migration drops it" for path in gone)
    # A migration may have dropped what an unchanged file makes, for example a table with its policies.
    if (drift or everything or migrations) and len(files) < len(tree.repeatable):
        lines.append("all other functions and policies: applied again")
        files = tree.repeatable
    return _Plan(migrations, files, forgotten, lines)


def _pending(tree: Tree, applied: Mapping[str, str]) -> list[File]:
    """The migrations to apply. Raises DeployError unless they continue those that were applied."""
    present = {file.name: file for file in tree.migrations}
    for name, sha256 in sorted(applied.items()):
        if name not in present:
            raise DeployError(f"migrations/{name}: was applied to this database, but the file is missing")
        if sha256 not in {present[name].sha256, *tree.texts.get(name, ())}:
            raise DeployError(
                f"migrations/{name}: was edited after it was applied: restore it, and add a new one instead"
            )
    pending = [file for file in tree.migrations if file.name not in applied]
    landed = {name: number for number, name in enumerate(tree.texts)}

    def order(name: str) -> tuple[int, str]:
        return landed.get(name, len(landed)), name

    last = max(applied, key=order, default="")
    if late := [file for file in pending if last and order(file.name) < order(last)]:
        raise DeployError(f"{late[0].path}: comes before {last}, which was applied already: give it a new number")
    return pending


def _changed(files: list[File], ledger: _Ledger) -> list[File]:
    return [file for file in files if ledger.files.get(file.path) != file.sha256]


def _moved(old_paths: Iterable[str], new_paths: Iterable[str]) -> dict[str, str]:
    """New path to old path of the files that changed folders: a file is named after the one thing that it makes."""

    def key(path: str) -> tuple[str, str]:
        parts = path.split("/")
        return parts[0], parts[-1]

    old = {key(path): path for path in old_paths}
    return {path: old.pop(key(path)) for path in new_paths if key(path) in old}


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


# --- doing it -----------------------------------------------------------------------------------------------


async def _set_up(connection: Connection, files: list[File]) -> list[str]:
    """Runs the setup files, which check before they change something and report it by `raise info`."""
    lines: list[str] = []

    def listen(_: object, message: asyncpg.PostgresLogMessage) -> None:
        if message.severity_en == "INFO":
            lines.append(str(message.message))

    connection.add_log_listener(listen)
    try:
        for file in files:
            await _run(connection, file, collisions=_SETUP_COLLISIONS)
        await asyncio.sleep(0)  # asyncpg calls listeners in the event loop's next iteration
    finally:
        connection.remove_log_listener(listen)
    await connection.execute("set local role cardbase_owner")
    return lines


async def _write_settings(connection: Connection, settings: Settings) -> list[str]:
    """Writes the settings that functions depend on (app.setting); returns a line for each that changed."""
    embeds = embedder.is_installed() if settings.embed_memories is None else settings.embed_memories
    values = {"tenant_pending_jobs": settings.tenant_pending_jobs, "embed_memories": embeds}
    changed = await connection.fetch(
        "insert into deployment.settings as written (name, value)"
        " select key, value from jsonb_each($1::text::jsonb)"
        " on conflict (name) do update set value = excluded.value where written.value <> excluded.value"
        " returning name, value",
        json.dumps(values),
    )
    return [f"setting {row['name']}: now {row['value']}" for row in changed]


async def _apply(connection: Connection, tree: Tree, plan: _Plan) -> None:
    chosen = {file.path for file in (*plan.migrations, *plan.files)}
    # The new owner of a function must be allowed to create in its schema: for this transaction it is.
    owners = "cardbase_api, cardbase_maintenance, cardbase_finder, cardbase_authenticator, cardbase_dispatcher"
    await connection.execute(f"grant create on schema app, api to {owners}")
    for file in (*tree.before, *tree.migrations, *tree.after):
        if file.path in chosen:
            await connection.execute("set local role cardbase_owner")
            await _run(connection, file)
    await connection.execute("set local role cardbase_owner")
    await connection.execute(f"revoke create on schema app, api from {owners}")

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


async def _run(connection: Connection, file: File, *, collisions: frozenset[str] = _COLLISIONS) -> None:
    # Before each file, so that no file depends on what another one set.
    await connection.execute("set local search_path = pg_catalog, pg_temp")
    try:
        await connection.execute(file.text)
    except asyncpg.PostgresError as error:
        position = getattr(error, "position", None)
        line = f":{file.text.count(chr(10), 0, int(position) - 1) + 1}" if position else ""
        kind = _Collision if error.sqlstate in collisions else DeployError
        raise kind(f"{file.path}{line}: {_one_line(error)}") from error


def _one_line(error: Exception) -> str:
    if not isinstance(error, asyncpg.PostgresError):
        return " ".join(str(error).split()) or type(error).__name__
    parts = (error.args[0], getattr(error, "detail", None), getattr(error, "hint", None))
    text = " ".join(" ".join(str(part).split()) for part in parts if part)
    return f"{text} (SQLSTATE {error.sqlstate})"

"""The embedded database of a run, and what it is filled with."""

import asyncio
import random
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import msgspec
import psutil

from gateway.operate import embedded
from gateway.operate.deploy import deploy

LOAD: Final = Path(__file__).with_name("dataset.sql")
TABLES: Final = ("app.cards", "app.card_usage", "app.card_usage_totals", "app.idempotency_store")
SERVICE_ROLE: Final = "bench_service"
"""The login of a service that uses the tables directly: with the rights of cardbase_api, under the policies."""

SAMPLED_CARDS: Final = 20_000
MAXIMUM_SAMPLES: Final = 2_000
CARDS_PER_SAMPLE: Final = 4

# The secondary indexes of tables, except those of constraints.
INDEXES: Final = """
select pg_class.oid::regclass::text as name, pg_get_indexdef(pg_class.oid) as definition
from pg_index
inner join pg_class on pg_class.oid = pg_index.indexrelid
where pg_index.indrelid = any($1::regclass[])
    and not exists (select from pg_constraint where pg_constraint.conindid = pg_index.indexrelid)
"""


class Card(NamedTuple):
    """A stored card."""

    card_id: UUID
    card_type: str
    content: Mapping[str, Any]


class Sample(NamedTuple):
    """A tenant, picked in proportion to its cards, and four of its cards."""

    tenant_id: UUID
    cards: tuple[Card, ...]


@dataclass(frozen=True)
class Store:
    """One database of a running embedded server."""

    server: embedded.EmbeddedDatabase
    postmaster: psutil.Process
    """The parent process of all the server's processes."""
    database: str = embedded.DATABASE

    def url(self, user: str = embedded.SUPERUSER) -> str:
        """Where a role (default: the superuser) reaches the database."""
        return self.server.url(user, self.database)

    def execute(self, *statements: str) -> None:
        """Runs statements one by one as the superuser, each in its own transaction."""

        async def execute() -> None:
            connection = await asyncpg.connect(self.url())
            try:
                for statement in statements:
                    await connection.execute(statement)
            finally:
                await connection.close()

        asyncio.run(execute())

    def fetch(self, query: str, *arguments: object, user: str = embedded.SUPERUSER) -> list[asyncpg.Record]:
        """The rows of a query."""

        async def fetch() -> list[asyncpg.Record]:
            connection = await asyncpg.connect(self.url(user))
            try:
                return await connection.fetch(query, *arguments)
            finally:
                await connection.close()

        return asyncio.run(fetch())

    def with_database(self, name: str) -> "Store":
        """A new database of the same server."""
        self.execute(f"create database {name} template template0 encoding 'UTF8'")
        return Store(self.server, self.postmaster, name)


@contextmanager
def temporary_folder(parent: Path | None) -> Iterator[Path]:
    """A new folder on a disk, removed at the end."""
    # /tmp may be memory, where a commit costs nothing.
    disk = Path("/var/tmp")
    folder = Path(tempfile.mkdtemp(prefix="cardbase-bench-", dir=parent or (disk if disk.is_dir() else None)))
    folder.chmod(0o711)  # a server started by root runs as another user, who has to pass through
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def running(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Store]:
    """The embedded server in a folder, with its usual settings, fsync among them, and the given ones."""
    with embedded.running(folder, settings=settings) as server:
        pid = int((folder / "postgres" / "postmaster.pid").read_text().split("\n", 1)[0])
        yield Store(server, psutil.Process(pid))


def fill(store: Store, *, tenants: int, cards: int) -> None:
    """Deploys, and loads tenants and cards; cards: at least four for each tenant."""
    asyncio.run(deploy(store.url()))
    load(store, LOAD, TABLES, tenants=tenants, cards=cards)
    store.execute(
        f"do $$ begin if to_regrole('{SERVICE_ROLE}') is null then"
        f" create role {SERVICE_ROLE} login in role cardbase_api; end if; end $$",
        "checkpoint",
    )


def load(store: Store, script: Path, tables: Sequence[str], **settings: object) -> None:
    """Runs a script that fills tables; the script reads the settings as bench.<name>."""
    text = script.read_text()

    async def run() -> None:
        connection = await asyncpg.connect(store.url())
        try:
            # Building an index at once takes a fraction of the time that inserting its entries one by one takes.
            indexes = await connection.fetch(INDEXES, tables)
            for index in indexes:
                await connection.execute(f"drop index {index['name']}")
            for name, value in settings.items():
                await connection.execute("select set_config('bench.' || $1, $2, false)", name, str(value))
            await connection.execute(text)
            for index in indexes:
                await connection.execute(index["definition"])
            await connection.execute("vacuum (analyze) " + ", ".join(tables))
        finally:
            await connection.close()

    asyncio.run(run())


def samples(store: Store, cards: int) -> list[Sample]:
    """Tenants and cards to work on, spread over the whole table, the same in each run."""
    percent = min(100.0, 100.0 * SAMPLED_CARDS / cards)
    rows = store.fetch(
        f"select tenant_id, card_id, card_type, content from app.cards tablesample system ({percent}) repeatable (1)"
    )
    cards_of: dict[UUID, list[Card]] = {}
    for row in rows:
        card = Card(UUID(str(row["card_id"])), row["card_type"], msgspec.json.decode(row["content"]))
        cards_of.setdefault(UUID(str(row["tenant_id"])), []).append(card)
    chance = random.Random(1)
    found = []
    for tenant_id, theirs in cards_of.items():
        chance.shuffle(theirs)
        starts = range(0, len(theirs) - CARDS_PER_SAMPLE + 1, CARDS_PER_SAMPLE)
        found += [Sample(tenant_id, tuple(theirs[start : start + CARDS_PER_SAMPLE])) for start in starts]
    chance.shuffle(found)
    return found[:MAXIMUM_SAMPLES]

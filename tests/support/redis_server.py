"""Debian's redis-server, started by a test, on a socket and without a port."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import redis

from support.gateways import wait_until

MISSING: Final = "redis-server is not installed: apt-get install redis-server"


class RedisServer:
    """A redis-server with its socket in a folder. It can be stopped, silenced and started again."""

    def __init__(self, folder: Path) -> None:
        self._socket = folder / "redis.sock"
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def start(self) -> None:
        """Starts it, and waits until it responds."""
        program = shutil.which("redis-server")
        assert program, MISSING
        options = ("--port", "0", "--unixsocket", self._socket, "--save", "", "--appendonly", "no")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [program, *options, "--dir", self._socket.parent], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        with redis.Redis(unix_socket_path=str(self._socket)) as client:

            def answers() -> bool:
                with suppress(redis.ConnectionError):
                    return bool(client.ping())
                return False

            wait_until(answers)

    def stop(self) -> None:
        """Kills it, and its data is lost."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def execute(self, *command: str | int) -> object:
        """Runs a command."""
        with redis.Redis(unix_socket_path=str(self._socket), decode_responses=True) as client:
            return client.execute_command(*command)


@contextmanager
def redis_server(folder: Path) -> Iterator[RedisServer]:
    """A running redis-server in a folder."""
    server = RedisServer(folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()

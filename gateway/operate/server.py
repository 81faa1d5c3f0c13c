"""The server process: uvicorn around the gateway, told where its database is."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn
from uvicorn.supervisors import Multiprocess

from gateway.app import create_app
from gateway.observe.logs import configure_logging
from gateway.observe.processes import FOLDER_VARIABLE, shared_folder
from gateway.operate.transport import Protocol
from gateway.settings import Settings, load_settings

if TYPE_CHECKING:
    from litestar.types import ASGIApp

DRAIN_MARGIN_SECONDS = 5
"""Beyond the statement timeout, for requests under way when the server is told to stop."""

UNREAD_SECONDS = 60
"""For how long what was sent to a client may stay unread before its connection is given up."""


def app_from_environment() -> "ASGIApp":
    """The application of one of several worker processes."""
    settings = load_settings(os.environ)
    assert settings.database_url is not None, "the parent process sets DATABASE_URL"
    configure_logging(settings.log_level)
    return create_app(settings, settings.database_url)


def serve(settings: Settings, database_url: str, banner: str, started: Callable[[], object] | None = None) -> None:
    """Serves until SIGINT or SIGTERM, then finishes the requests under way.

    banner    said once it serves; it has a place for the address
    started   called after that

    Raises OSError when the address can't be had.
    """
    configure_logging(settings.log_level)
    several = settings.workers > 1
    config = uvicorn.Config(
        "gateway.operate.server:app_from_environment" if several else create_app(settings, database_url),
        factory=several,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http=Protocol,
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        # Whoever sends X-Forwarded-For is not believed; and looking for it costs each request.
        proxy_headers=False,
        backlog=4096,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.database_statement_timeout_ms // 1000 + DRAIN_MARGIN_SECONDS,
    )
    # An own socket: so the port is known, and known to be had, before anything is said.
    bound = _bind(settings.host, settings.port)
    host, port = bound.getsockname()[:2]
    address = f"http://{'[' + host + ']' if ':' in host else host}:{port}"
    with _environment({"DATABASE_URL": database_url}):
        if several:
            print(banner.format(address=address), flush=True)
            if started is not None:
                started()
            with shared_folder() as folder, _environment({FOLDER_VARIABLE: str(folder)}):
                _Workers(config, sockets=[bound]).run()
        else:
            _Announced(config, banner.format(address=address), started).run(sockets=[bound])


def _bind(host: str, port: int) -> socket.socket:
    """A socket at an address. uvicorn's own would end the process where the address can't be had."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Connections inherit it: one whose client vanished, or reads nothing, would last a quarter of an hour.
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
        bound.bind((host, port))
    except BaseException:
        bound.close()
        raise
    bound.set_inheritable(True)
    return bound


class _Workers(Multiprocess):
    """The worker processes, and the socket that they share."""

    def terminate_all(self) -> None:
        """Stops the workers, and lets go of the socket first: it would take connections that nobody answers."""
        for bound in self.sockets:
            bound.close()
        super().terminate_all()


class _Announced(uvicorn.Server):
    """Says where it is once it can be reached there."""

    def __init__(self, config: uvicorn.Config, banner: str, started: Callable[[], object] | None) -> None:
        super().__init__(config)
        self._banner = banner
        self._started = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            print(self._banner, flush=True)
            if self._started is not None:
                self._started()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Sets variables for child processes, and takes them back."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def leave_on_signals() -> None:
    """Makes SIGTERM and SIGINT end the process by way of its `finally` clauses.

    uvicorn raises the signal that stopped it once more when it is done; by default that would end the process before
    the embedded database is stopped.
    """

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(0 if number == signal.SIGTERM else 130)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)

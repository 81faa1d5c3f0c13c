"""The server process: uvicorn runs the gateway."""

import asyncio
import errno
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from functools import partial
from ipaddress import ip_network
from types import FrameType
from typing import TYPE_CHECKING, cast

import uvicorn
from uvicorn.supervisors import Multiprocess

from gateway.app import create_app
from gateway.observe.logs import configure_logging
from gateway.observe.processes import FOLDER_VARIABLE, shared_folder
from gateway.operate.transport import Protocol
from gateway.settings import Settings, SettingsError, load_settings
from gateway.walls.gate import served_hosts

if TYPE_CHECKING:
    from litestar.types import ASGIApp

DRAIN_MARGIN_SECONDS = 5
"""After the statement timeout, for requests in progress when the server is told to stop."""

UNREAD_SECONDS = 60
"""How long a client may leave unread what was sent to it before its connection is closed."""


def app_from_environment() -> "ASGIApp":
    """The application of one of several worker processes."""
    settings = load_settings(os.environ)
    assert settings.database_url is not None, "the parent process sets DATABASE_URL"
    configure_logging(settings.log_level)
    return create_app(settings, settings.database_url)


def serve(
    settings: Settings, database_url: str, banner: Callable[..., str], started: Callable[[], object] | None = None
) -> None:
    """Serves until SIGINT or SIGTERM, then finishes the requests in progress.

    banner    returns what is printed once it serves, given its address
    started   called after that

    Raises SettingsError if it can't listen at the address. Sets DATABASE_URL for child processes.
    """
    served_hosts(settings)  # raises before any process is started
    proxies = _networks(settings.trusted_proxies)
    configure_logging(settings.log_level)
    has_several = settings.workers > 1
    protocol = partial(Protocol, maximum_bytes=settings.max_header_bytes, seconds=settings.body_timeout_ms / 1000)
    config = uvicorn.Config(
        "gateway.operate.server:app_from_environment" if has_several else create_app(settings, database_url),
        factory=has_several,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http=cast("type[asyncio.Protocol]", protocol),
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        # Anybody else may have forged X-Forwarded-For; and looking for it costs time in each request.
        proxy_headers=bool(proxies),
        forwarded_allow_ips=proxies,
        backlog=4096,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.database_statement_timeout_ms // 1000 + DRAIN_MARGIN_SECONDS,
    )
    # Our own socket: its port is known, and free, before anything is printed.
    bound = _bind(settings.host, settings.port)
    host, port = bound.getsockname()[:2]
    os.environ["DATABASE_URL"] = database_url

    def announce() -> None:
        print(banner(address=f"http://{'[' + host + ']' if ':' in host else host}:{port}"), flush=True)
        if started is not None:
            started()

    if has_several:
        announce()
        with shared_folder() as folder:
            os.environ[FOLDER_VARIABLE] = str(folder)
            _Workers(config, sockets=[bound]).run()
    else:
        _Announced(config, announce).run(sockets=[bound])


def _networks(proxies: Iterable[str]) -> list[str]:
    """The networks of proxies, an IPv4 one also as a socket for both versions shows it. Raises SettingsError."""
    networks = []
    for proxy in proxies:
        try:
            network = ip_network(proxy)
        except ValueError:
            expected = "networks such as 10.1.0.0/16, comma-separated"
            raise SettingsError(f"TRUSTED_PROXIES must be {expected}, not {proxy!r}") from None
        networks.append(str(network))
        if network.version == 4:
            networks.append(f"::ffff:{network.network_address}/{96 + network.prefixlen}")
    return networks


def _bind(host: str, port: int) -> socket.socket:
    """Returns a socket bound to an address. uvicorn's own would end the process if the address is not available."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            # Inherited by connections: one whose client vanished, or reads nothing, would last a quarter of an hour.
            bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_SECONDS * 1000)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            other = port + 100 if port <= 65_435 else port - 100
            line = f"{host}:{port} is already in use. Choose another port: PORT={other} make run"
        else:
            line = f"cannot listen on {host}:{port}, which HOST and PORT name: {error.strerror}"
        raise SettingsError(line) from None
    bound.set_inheritable(True)
    return bound


class _Workers(Multiprocess):
    """The worker processes, and the socket that they share."""

    def terminate_all(self) -> None:
        """Stops the workers, and closes the socket first: it would accept connections that nobody serves."""
        for bound in self.sockets:
            bound.close()
        super().terminate_all()


class _Announced(uvicorn.Server):
    """Calls a function once it accepts connections."""

    def __init__(self, config: uvicorn.Config, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        if self.started:
            self._announce()


def leave_on_signals() -> None:
    """Makes SIGTERM and SIGINT end the process through its `finally` clauses.

    uvicorn raises the signal that stopped it once more when it is done; by default that would end the process before
    the embedded database is stopped.
    """

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(0 if number == signal.SIGTERM else 130)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)

"""Notifications of the database (LISTEN and NOTIFY), received on one connection of each process, outside the pool.

The listener reconnects when it has lost its connection. It misses what is announced in between, so subscribers are
told when listening begins and look for themselves.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

import asyncpg

from gateway.database.connect import Connection, connect
from gateway.errors import CONNECTION_ERRORS, DATABASE_ERRORS

RECONNECT_SECONDS: Final = 1.0
TIMEOUT_SECONDS: Final = 5.0
"""To connect, and for each statement."""

logger = logging.getLogger(__name__)

Hear = Callable[[str], None]
Begin = Callable[[Connection], Awaitable[None]]


class Listener:
    """The connection of one process that listens. It runs single statements, too, one at a time.

    keeps_session: False behind a pooler that changes servers between transactions. Nothing is ever heard then. A pooler
    that the settings don't mention gives itself away by its process id, which is not the server's.
    """

    def __init__(self, url: str, *, keeps_session: bool = True) -> None:
        self._url = url
        self._keeps_session = keeps_session
        self._hears = False
        self._hearers: dict[str, list[Hear]] = {}
        self._beginners: list[Begin] = []
        self._connection: Connection | None = None
        self._attempted = asyncio.Event()
        self._is_busy = asyncio.Lock()
        self._catching_up: asyncio.Task[bool] | None = None
        self._task: asyncio.Task[None] | None = None

    def hear(self, channel: str, hear: Hear) -> None:
        """Passes each payload of a channel to `hear`. To be called before the start."""
        self._hearers.setdefault(channel, []).append(hear)

    def at_begin(self, begin: Begin) -> None:
        """Runs `begin` on the connection whenever listening begins. To be called before the start."""
        self._beginners.append(begin)

    def start(self) -> None:
        """Listens in a background task."""
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Ends the task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    @property
    def is_listening(self) -> bool:
        """Whether notifications are received."""
        return self._hears and self._connection is not None

    async def ask(self, sql: str) -> Any:
        """Returns a statement's single value. Waits for at most one attempt to connect. Raises DATABASE_ERRORS."""
        if self._connection is None:
            await self._attempted.wait()
        async with self._is_busy:
            if self._connection is None:
                raise asyncpg.ConnectionDoesNotExistError("the database can't be reached")
            try:
                return await self._connection.fetchval(sql)
            except CONNECTION_ERRORS:
                self._connection.terminate()
                raise

    async def catch_up(self, seconds: float) -> bool:
        """Waits until everything committed so far has been heard; returns False when that is not known in time.

        A server sends its pending notifications to a connection before it reports a statement as done. An empty
        statement will do, and one is enough for all callers that wait at the time.
        """
        if not self.is_listening:
            return False
        if self._catching_up is None:
            self._catching_up = asyncio.create_task(self._catch_up())
        catching_up = self._catching_up
        await asyncio.wait([catching_up], timeout=seconds)
        return catching_up.done() and catching_up.result()

    async def _catch_up(self) -> bool:
        async with self._is_busy:
            self._catching_up = None  # from here on it would be too early for those who come
            if self._connection is None:
                return False
            try:
                await self._connection.execute("select")
            except DATABASE_ERRORS:
                self._connection.terminate()
                return False
            return True

    async def _keep(self) -> None:
        while True:
            try:
                await self._listen()
            except DATABASE_ERRORS as error:
                logger.warning("can't listen to the database; reconnecting", extra={"error": type(error).__name__})
            self._wake()
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen(self) -> None:
        connection = await connect(self._url, "cardbase listener", statement_seconds=TIMEOUT_SECONDS)
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _: lost.set())
        try:
            server = await connection.fetchval("select pg_catalog.pg_backend_pid()")
            self._hears = self._keeps_session and server == connection.get_server_pid()
            for channel in self._hearers if self._hears else ():
                await connection.add_listener(channel, self._hear)
            for begin in self._beginners:
                await begin(connection)
            self._connection = connection
            self._wake()
            await lost.wait()
        finally:
            self._connection = None
            connection.terminate()

    def _wake(self) -> None:
        """Wakes the callers that wait for this attempt to connect; later ones wait for the next."""
        self._attempted.set()
        self._attempted.clear()

    def _hear(self, _: Any, __: int, channel: str, payload: object) -> None:
        for hear in self._hearers[channel]:
            hear(str(payload))

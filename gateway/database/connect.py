"""How to connect to the database outside the pool."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeAlias

import asyncpg

Connection: TypeAlias = "asyncpg.Connection[Any]"

CONNECT_SECONDS: Final = 30.0


async def connect(url: str, application_name: str, *, statement_seconds: float | None = None) -> Connection:
    """Opens a connection. Raises DATABASE_ERRORS, or ValueError for a malformed URL.

    statement_seconds: timeout of each statement, and of connecting; None: CONNECT_SECONDS, and none for statements
    """
    return await asyncpg.connect(
        url,
        timeout=statement_seconds or CONNECT_SECONDS,
        command_timeout=statement_seconds,
        statement_cache_size=0,  # a pooler in between may not be able to keep prepared statements
        server_settings={"application_name": application_name},
    )


@asynccontextmanager
async def connected(
    url: str, application_name: str, *, statement_seconds: float | None = None
) -> AsyncIterator[Connection]:
    """A connection that is closed at the end. Raises as `connect` does."""
    connection = await connect(url, application_name, statement_seconds=statement_seconds)
    try:
        yield connection
    finally:
        await connection.close()

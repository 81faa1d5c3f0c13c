"""The connection that listens: catching up includes everything committed before, and it reconnects when it is lost."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from support.servers import Database

from gateway.database.connect import Connection
from gateway.database.listener import Listener

pytestmark = pytest.mark.usefixtures("notifications")


class Ear:
    """A listener, and what it has heard on channel ear."""

    def __init__(self, url: str) -> None:
        self.heard: list[str] = []
        self.begun = asyncio.Semaphore(0)
        self.listener = Listener(url)
        self.listener.hear("ear", self.heard.append)
        self.listener.at_begin(self._begin)

    async def _begin(self, connection: Connection) -> None:
        assert await connection.fetchval("select 1") == 1
        self.begun.release()


@pytest.fixture
async def ear(shared_database: Database) -> AsyncIterator[Ear]:
    """A listener that is listening."""
    made = Ear(shared_database.url("cardbase_gateway"))
    made.listener.start()
    await made.begun.acquire()
    assert await made.listener.ask("select 1") == 1
    yield made
    await made.listener.close()


async def test_what_was_committed_before_is_heard(ear: Ear, shared_database: Database) -> None:
    for number in range(20):
        # Nothing else runs in this process meanwhile, so notifications only arrive while catch_up waits for them.
        shared_database.execute(f"notify ear, '{number}'")
        assert len(ear.heard) == number
        assert await asyncio.gather(*(ear.listener.catch_up(60) for _ in range(3))) == [True] * 3
        assert ear.heard == [str(each) for each in range(number + 1)]


async def test_a_second_caller_waits_for_the_next_round(ear: Ear, shared_database: Database) -> None:
    first = asyncio.ensure_future(ear.listener.catch_up(60))
    for _ in range(3):  # it starts, its task starts, its statement is sent
        await asyncio.sleep(0)
    assert ear.listener._is_busy.locked()
    shared_database.execute("notify ear, 'later'")
    assert await ear.listener.catch_up(60)
    assert ear.heard == ["later"]
    assert await first


async def test_it_reconnects_after_it_was_cut_off(ear: Ear, shared_database: Database) -> None:
    cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'cardbase listener'"
    for _ in range(2):
        shared_database.execute(f"{cut} and datname = current_database()", "notify ear, 'unheard'")
        assert not await ear.listener.catch_up(60)
        assert not ear.listener.is_listening
        await ear.begun.acquire()
        assert ear.heard == []
    assert await ear.listener.ask("select 1") == 1
    shared_database.execute("notify ear, 'heard'")
    assert await ear.listener.catch_up(60)
    assert ear.heard == ["heard"]


async def test_without_a_database_a_question_fails_after_one_attempt(shared_database: Database) -> None:
    listener = Listener("postgresql://cardbase_gateway@/nothing?host=/nowhere")
    listener.start()
    for _ in range(2):
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await listener.ask("select 1")
    assert not await listener.catch_up(60)
    await listener.close()


async def test_where_sessions_are_not_kept_nothing_is_heard(shared_database: Database) -> None:
    listener = Listener(shared_database.url("cardbase_gateway"), keeps_session=False)
    listener.hear("ear", lambda _: None)
    listener.start()
    assert await listener.ask("select 1") == 1
    assert not listener.is_listening
    assert not await listener.catch_up(60)
    await listener.close()

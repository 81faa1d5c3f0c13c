"""Whoever logs in may listen to every channel: nothing announced there names a tenant or a user."""

import asyncio
import re
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from support.servers import LOGIN_ROLES, Database

pytestmark = pytest.mark.usefixtures("notifications")

CHANNELS = ("cardbase_changes", "cardbase_events", "cardbase_jobs", "cardbase")
HASH = r"[0-9a-f]{64}"
PAYLOADS = {
    "cardbase_changes": re.compile(rf"{HASH} {HASH} \d+"),
    "cardbase_events": re.compile(HASH),
    "cardbase_jobs": re.compile("|cancelled"),
}


async def change_everything(database: Database, tenant_id: UUID, user_id: UUID) -> None:
    """Writes whatever is announced: users and preferences, cards while somebody listens, and jobs to their end."""
    service: asyncpg.Connection[Any] = await asyncpg.connect(database.session_url("cardbase_service"))
    worker: asyncpg.Connection[Any] = await asyncpg.connect(database.session_url("cardbase_worker"))
    worker_id = uuid4()
    try:
        for _ in range(2):  # the first call begins to record events
            await service.execute("select api.read_events($1, array[$2::uuid])", tenant_id, user_id)
        await service.execute("select api.update_preferences($1, $2, 'dark')", tenant_id, user_id)
        await service.execute("select api.create_card($1, 'voice', '{\"name\": \"loud\"}')", tenant_id)
        for _ in range(3):
            await service.execute("select api.enqueue_test_job($1, $2)", tenant_id, user_id)
        taken = await worker.fetch("select * from app.take_jobs($1, 2, '{default}', '{test}', null, 2)", worker_id)
        for job in await service.fetch(
            "select (jsonb_array_elements(body -> 'data') ->> 'id')::uuid as id from api.list_jobs($1, $2)",
            tenant_id,
            user_id,
        ):
            if job["id"] != taken[0]["id"]:
                await service.execute("select api.cancel_job($1, $2, $3)", tenant_id, user_id, job["id"])
        await worker.execute("select app.remove_worker($1)", worker_id)
    finally:
        await asyncio.gather(service.close(), worker.close())


@pytest.mark.parametrize("role", LOGIN_ROLES)
async def test_what_is_announced_names_nobody(role: str, database: Database) -> None:
    tenant_id, user_id = uuid4(), uuid4()
    heard: list[tuple[str, str]] = []
    listener: asyncpg.Connection[Any] = await asyncpg.connect(database.session_url(role))
    try:
        for channel in CHANNELS:
            await listener.add_listener(channel, lambda _, __, name, payload: heard.append((name, str(payload))))
        await change_everything(database, tenant_id, user_id)
        await listener.execute("select")  # whatever was committed before is heard by then
    finally:
        await listener.close()
    assert {channel for channel, _ in heard} == PAYLOADS.keys()
    assert {payload for channel, payload in heard if channel == "cardbase_jobs"} == {"", "cancelled"}
    for channel, payload in heard:
        assert PAYLOADS[channel].fullmatch(payload), (channel, payload)
        assert all(str(each) not in payload and each.hex not in payload for each in (tenant_id, user_id))

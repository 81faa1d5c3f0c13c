"""Live events: many listeners at one gateway, its memory, and how soon events arrive."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import asyncpg
import msgspec

from bench import BenchError, peers, processes, report, results
from bench.compare import Say
from bench.results import Machine
from bench.store import Store
from bench.targets import Target
from gateway.identity import Identity, issue_token
from gateway.operate.deploy import deploy
from gateway.settings import load_settings

VARIABLES: Final = {"JWT_SECRET_KEY": "bench " * 8}
LISTENERS_PER_TENANT: Final = 20
OPENED_AT_ONCE: Final = 50
PAUSE_SECONDS: Final = 0.05
DEADLINE_SECONDS: Final = 60.0
MEGABYTES: Final = 150.0
DELIVERY_MS: Final = 100.0

CREATE: Final = "select (body -> 'cards' -> 0 ->> 'card_id')::uuid as id from api.create_cards($1, $2::jsonb)"


class Events(msgspec.Struct, frozen=True):
    """The whole run. Times in milliseconds, from before the statement that causes the event until a listener has it."""

    machine: Machine
    listeners: int
    tenants: int
    events: int
    deliveries: int
    idle_megabytes: float
    """Resident memory of the gateway without listeners."""
    listening_megabytes: float
    """With all of them, before anything happens."""
    most_megabytes: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Plan:
    """How many listeners, and how many events for each of a tenant's listeners."""

    listeners: int
    events: int


def run(database: Store, plan: Plan, folder: Path, say: Say) -> Events:
    """Measures on an empty database. Raises BenchError when a listener doesn't get an event."""
    asyncio.run(deploy(database.url()))
    tenants = [uuid4() for _ in range(max(1, plan.listeners // LISTENERS_PER_TENANT))]
    streams = max(plan.listeners, 20 * LISTENERS_PER_TENANT)  # a tenant may have a tenth of them
    variables = {**VARIABLES, "EVENT_STREAMS": str(streams)}
    with peers.cardbase(database, folder / "cardbase", variables) as peer:
        idle = processes.resident_megabytes(peer.process)
        megabytes, times = asyncio.run(_listen(database, plan, tenants, peer, say))
    times.sort()
    return Events(
        results.describe_machine(folder),
        plan.listeners,
        len(tenants),
        plan.events,
        len(times),
        idle,
        megabytes[0],
        max(megabytes),
        *(times[min(len(times) - 1, len(times) * percent // 100)] for percent in (50, 95, 99)),
    )


async def _listen(
    database: Store, plan: Plan, tenants: Sequence[UUID], peer: peers.HttpPeer, say: Say
) -> tuple[list[float], list[float]]:
    """The gateway's memory, with all listeners before anything happens and after each event, and all times."""
    host, port = peer.address.removeprefix("http://").split(":")
    settings = load_settings(VARIABLES)
    listeners = [_Listener(tenants[number % len(tenants)]) for number in range(plan.listeners)]
    connection = await asyncpg.connect(database.url("cardbase_service"))
    try:
        for first in range(0, len(listeners), OPENED_AT_ONCE):
            opening = listeners[first : first + OPENED_AT_ONCE]
            tokens = (issue_token(settings, Identity(one.tenant_id, uuid4())) for one in opening)
            await asyncio.gather(
                *(one.open(host, int(port), token) for one, token in zip(opening, tokens, strict=True))
            )
        # Recording begins with a tenant's first listener; from then on every event is delivered.
        await asyncio.sleep(2)
        megabytes = [processes.resident_megabytes(peer.process)]
        say(f"{plan.listeners:,} listeners: {megabytes[0]:.1f} MB")
        sent: dict[str, float] = {}
        for number in range(plan.events):
            cards = msgspec.json.encode([{"card_type": "insight", "content": {"number": number}}]).decode()
            started = time.perf_counter()
            card_id = await connection.fetchval(CREATE, tenants[number % len(tenants)], cards)
            sent[str(card_id)] = started
            await asyncio.sleep(PAUSE_SECONDS)
        await asyncio.wait_for(_told(listeners, tenants, plan.events), DEADLINE_SECONDS)
        megabytes.append(processes.resident_megabytes(peer.process))
        return megabytes, [
            (at - sent[card_id]) * 1000 for one in listeners for card_id, at in one.told.items() if card_id in sent
        ]
    except TimeoutError:
        raise BenchError(f"not all listeners got all events within {DEADLINE_SECONDS:.0f} s") from None
    finally:
        await connection.close()
        for one in listeners:
            one.close()


async def _told(listeners: Sequence["_Listener"], tenants: Sequence[UUID], events: int) -> None:
    wanted = {tenant_id: len(range(number, events, len(tenants))) for number, tenant_id in enumerate(tenants)}
    for one in listeners:
        await one.has(wanted[one.tenant_id])


class _Listener:
    """One client that listens."""

    def __init__(self, tenant_id: UUID) -> None:
        self.tenant_id = tenant_id
        self.told: dict[str, float] = {}
        """When it was told about a card, by the card's id."""
        self._changed = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def open(self, host: str, port: int, token: str) -> None:
        """Starts to listen. Raises BenchError when the gateway refuses."""
        reader, self._writer = await asyncio.open_connection(host, port, limit=4096)
        request = f"GET /api/v1/events?types=cards HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\r\n"
        self._writer.write(request.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200 "):
            raise BenchError(f"the gateway refuses to stream events: {head.decode(errors='replace')}")
        self._reading = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            now = time.perf_counter()
            if line.startswith(b"data: ") and b'"resource_id"' in line:
                self.told[msgspec.json.decode(line[6:])["resource_id"]] = now
                self._changed.set()

    async def has(self, count: int) -> None:
        """Waits until it was told about that many cards."""
        while len(self.told) < count:
            self._changed.clear()
            await self._changed.wait()

    def close(self) -> None:
        """Stops listening."""
        if self._reading is not None:
            self._reading.cancel()
        if self._writer is not None:
            self._writer.close()


# --- for people ---------------------------------------------------------------------------------------------


def targets(found: Events) -> list[Target]:
    """Memory with all listeners, and the median time of a delivery."""
    return [
        Target(f"memory of the gateway with {found.listeners:,} listeners, MB", found.most_megabytes, "≤", MEGABYTES),
        Target("delivery of an event: median, ms", found.p50_ms, "≤", DELIVERY_MS),
    ]


def text(found: Events) -> str:
    """All of it, as Markdown."""
    what = (
        f"{found.listeners:,} listeners of {found.tenants:,} tenants at one gateway process, and {found.events:,} "
        f"events one after the other, of which each listener of the tenant is told: {found.deliveries:,} deliveries. "
        f"Memory without listeners: {found.idle_megabytes:.0f} MB; with them: {found.listening_megabytes:.0f} MB."
    )
    return "\n\n".join((
        report.machine(found.machine),
        what,
        report.targets(targets(found)),
        report.table(
            ("from before the commit to the listener", "ms"),
            [("median", f"{found.p50_ms:.1f}"), ("p95", f"{found.p95_ms:.1f}"), ("p99", f"{found.p99_ms:.1f}")],
        ),
    ))  # fmt: skip

"""Reads, search and sign-in for a user with a great deal of data, at one gateway."""

import asyncio
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

import httpx
import msgspec

from bench import BenchError, load, peers, report, results, store
from bench.compare import Say, measure
from bench.load import Load
from bench.results import Machine, Measurement
from bench.store import Store
from bench.targets import Target
from bench.workloads import Request
from gateway.handlers.passwords import Passwords
from gateway.operate.deploy import deploy

LOAD: Final = Path(__file__).with_name("resources.sql")
TABLES: Final = ("app.memories", "app.conversations", "app.messages", "app.tasks", "app.resource_totals")
PASSWORD: Final = "correct horse battery staple"
# Signing in needs a key, and measuring searches needs limits that don't stop them.
VARIABLES: Final = {"JWT_SECRET_KEY": "bench " * 8, "SEARCH_RATE_LIMIT_PER_MINUTE": "0"}

BUSY: Final = 16
PAGE_P95_MS: Final = 15.0
SEARCH_P95_MS: Final = 50.0
LOGIN_OF_HASH: Final = 1.5
"""How long a login may take, relative to its hash."""

SAMPLED: Final = 1_000
WORDS: Final = 50
"""Searches of each kind."""
SIGNING_IN: Final = os.cpu_count() or 1
"""Connections that sign in without a pause: one for each core that can hash."""

READS: Final = {
    "get_memory": "one memory",
    "list_memories": "the newest 20 memories",
    "list_memories_type": "the newest 20 memories of a type",
    "list_messages": "the first 20 messages of a conversation, long ones more often",
    "list_tasks": "the newest 20 tasks",
    "get_user": "the own profile",
}
SEARCHES: Final = {
    "search_common": "a word that one text in ten to two has",
    "search_rare": "a word that ten to fifty memories have",
    "search_two": "two words, one of either kind between these",
    "search_none": "a word that nothing has",
}
DESCRIPTIONS: Final = {**READS, **SEARCHES}
SIGN_IN_BESIDE: Final = "get_memory"

# Words are searched for as they are stored: the made-up ones have no endings.
FOUND: Final = """
select word, ndoc::real / (select count(*) from app.memories) as share, ndoc
from ts_stat('select search_vector from app.memories')
order by word
"""


class Login(msgspec.Struct, frozen=True):
    """The cost of signing in, and its effect on other requests. Times in milliseconds."""

    hash_ms: float
    """Verifying a password against its hash, and nothing else."""
    alone: Load
    """Logins one by one."""
    connections: int
    """Concurrent logins, while others read."""
    per_second: float
    quiet: Load
    """Reads of one memory at 16 connections while nobody signs in."""
    meanwhile: Load
    """The same while logins go on without a pause."""


class Resources(msgspec.Struct, frozen=True):
    """The whole run."""

    machine: Machine
    memories: int
    messages: int
    medians: list[Measurement]
    rounds: list[Measurement]
    login: Login


@dataclass(frozen=True)
class Plan:
    """What to measure."""

    memories: int
    messages: int
    rounds: int
    seconds: int
    workloads: Sequence[str]
    connections: Sequence[int] = (BUSY, 1)


@dataclass(frozen=True)
class _Owner:
    """The user who owns all the data."""

    tenant_id: UUID
    user_id: UUID
    headers: Mapping[str, str]


def run(database: Store, plan: Plan, folder: Path, say: Say) -> Resources:
    """Fills an empty database and measures. Raises BenchError when a response is wrong."""
    load.check_wrk()
    asyncio.run(deploy(database.url()))
    with peers.cardbase(database, folder / "cardbase", VARIABLES) as peer, _client(peer.address) as client:
        owner = _register(client, "owner")
        for number in range(SIGNING_IN):
            _register(client, f"user-{number}")
        started = perf_counter()
        store.load(
            database, LOAD, TABLES,
            tenant_id=owner.tenant_id, user_id=owner.user_id, memories=plan.memories, messages=plan.messages,
        )  # fmt: skip
        database.execute("checkpoint")
        say(f"loaded {plan.memories:,} memories and {plan.messages:,} messages in {perf_counter() - started:.1f} s")
        requests = _requests(database, owner)
        for workload in {*plan.workloads, SIGN_IN_BESIDE}:
            _check(client, workload, requests[workload])
            peer.write(workload, requests[workload])
        rounds = list(_measure(database, peer, plan, say))
        login = _sign_in(peer, plan, say)
    return Resources(
        results.describe_machine(folder), plan.memories, plan.messages,
        list(results.median_of(rounds).values()), rounds, login,
    )  # fmt: skip


def errors(found: Resources) -> int:
    """How many requests failed."""
    return report.errors(found.rounds) + sum(
        one.errors for one in (found.login.alone, found.login.quiet, found.login.meanwhile)
    )


@contextmanager
def _client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, trust_env=False, timeout=30) as client:
        yield client


def _register(client: httpx.Client, name: str) -> _Owner:
    answer = client.post("/api/v1/auth/register", json={"email": f"{name}@example.com", "password": PASSWORD})
    if answer.status_code != 201:
        raise BenchError(f"nobody can register: {answer.status_code} {answer.text}")
    data = answer.json()["data"]
    headers = {"Authorization": f"Bearer {data['access_token']}"}
    return _Owner(UUID(data["user"]["tenant_id"]), UUID(data["user"]["id"]), headers)


# --- the requests ------------------------------------------------------------------------------------------


def _requests(database: Store, owner: _Owner) -> dict[str, list[Request]]:
    """By workload."""

    def get(path: str, **query: object) -> Request:
        return Request("GET", f"{path}?{urlencode(query)}" if query else path, owner.headers, "")

    def sampled(column: str, table: str) -> list[UUID]:
        # The same in each run with the same amount of data, and spread over all of it.
        rows = database.fetch(f"select {column} as id from {table} order by md5({table}.id::text) limit {SAMPLED}")
        return [row["id"] for row in rows]

    requests = {
        "get_memory": [get(f"/api/v1/memories/{memory}") for memory in sampled("id", "app.memories")],
        "list_memories": [get("/api/v1/memories")],
        "list_memories_type": [get("/api/v1/memories", memory_type=kind) for kind in ("fact", "goal", "preference")],
        "list_messages": [
            get(f"/api/v1/conversations/{conversation}/messages")
            for conversation in sampled("conversation_id", "app.messages")
        ],
        "list_tasks": [get("/api/v1/tasks")],
        "get_user": [get("/api/v1/users/me")],
    }
    for workload, texts in _texts(database).items():
        requests[workload] = [get("/api/v1/search", q=text) for text in texts]
    return requests


def _texts(database: Store) -> dict[str, list[str]]:
    """The words to search for, by workload."""
    words = database.fetch(FOUND)
    chance = random.Random(3)

    def some(found: list[str]) -> list[str]:
        return chance.sample(found, min(WORDS, len(found)))

    common = some([row["word"] for row in words if 0.1 <= row["share"] <= 0.5])
    middling = some([row["word"] for row in words if 0.005 <= row["share"] <= 0.02])
    return {
        "search_common": common,
        "search_rare": some([row["word"] for row in words if 10 <= row["ndoc"] <= 50]),
        "search_two": [f"{chance.choice(common)} {word}" for word in middling],
        "search_none": [f"unheard{number}of" for number in range(WORDS)],
    }


def _check(client: httpx.Client, workload: str, requests: Sequence[Request]) -> None:
    """Sends a few of the requests. Raises BenchError when a response is wrong."""
    for request in requests[: peers.CHECKED_CALLS]:
        answer = client.get(request.path, headers=dict(request.headers))
        data = answer.json()["data"] if answer.is_success else None
        if data is None or bool(data) != (workload != "search_none"):
            raise BenchError(f"{workload}: {request.path}: {answer.status_code} {answer.text[:1000]}")


# --- measuring ----------------------------------------------------------------------------------------------


def _measure(database: Store, peer: peers.HttpPeer, plan: Plan, say: Say) -> Iterator[Measurement]:
    for number in range(plan.rounds):
        for connections in plan.connections:
            for workload in plan.workloads:
                one = measure(database, peer, workload, (), connections=connections, seconds=plan.seconds)
                say(
                    f"round {number + 1}/{plan.rounds}  {workload:18}  {connections:2}"
                    f"  {one.requests_per_second:8,.0f} requests/s  p95 {one.p95_ms:8.2f} ms"
                    + (f"  {one.errors} ERRORS" if one.errors else "")
                )
                yield one


def _sign_in(peer: peers.HttpPeer, plan: Plan, say: Say) -> Login:
    bodies = [{"email": f"user-{number}@example.com", "password": PASSWORD} for number in range(SIGNING_IN)]
    headers = {"Content-Type": "application/json"}
    peer.write(
        "login",
        [Request("POST", "/api/v1/auth/login", headers, msgspec.json.encode(body).decode()) for body in bodies],
    )
    runs: list[dict[str, Load]] = []
    for number in range(plan.rounds):
        alone = peer.run("login", connections=1, seconds=plan.seconds)
        quiet = peer.run(SIGN_IN_BESIDE, connections=BUSY, seconds=plan.seconds)
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(peer.run, "login", connections=SIGNING_IN, seconds=plan.seconds)
            meanwhile = peer.run(SIGN_IN_BESIDE, connections=BUSY, seconds=plan.seconds)
            runs.append({"alone": alone, "quiet": quiet, "logins": running.result(), "meanwhile": meanwhile})
        say(
            f"round {number + 1}/{plan.rounds}  login p50 {alone.p50_ms:.1f} ms; p95 of get_memory"
            f" {quiet.p95_ms:.2f} ms, and {meanwhile.p95_ms:.2f} ms while users sign in"
        )
    logins = [one["logins"] for one in runs]
    return Login(
        hash_ms=_hash_ms(),
        alone=_median([one["alone"] for one in runs]),
        connections=SIGNING_IN,
        per_second=median(one.requests / one.seconds for one in logins),
        quiet=_median([one["quiet"] for one in runs]),
        meanwhile=_median([one["meanwhile"] for one in runs]),
    )


def _hash_ms(times: int = 20) -> float:
    """The median time of the gateway's part in the check of a password."""

    async def seconds() -> list[float]:
        passwords = Passwords()
        salt = (await passwords.hash(PASSWORD, "")).rpartition("$")[0]
        found = []
        for _ in range(times):
            started = perf_counter()
            await passwords.hash_again(PASSWORD, "", salt)
            found.append(perf_counter() - started)
        passwords.close()
        return found

    return median(asyncio.run(seconds())) * 1000


def _median(loads: Sequence[Load]) -> Load:
    figures: dict[str, Any] = {
        name: median(getattr(one, name) for one in loads) for name in ("p50_ms", "p95_ms", "p99_ms")
    }
    return Load(
        requests=sum(one.requests for one in loads),
        seconds=sum(one.seconds for one in loads),
        errors=sum(one.errors for one in loads),
        **figures,
    )


# --- for people ---------------------------------------------------------------------------------------------


def targets(found: Resources) -> list[Target]:
    """The bounds of reads and searches at 16 connections, and of signing in."""
    medians = {one.workload: one for one in found.medians if one.connections == BUSY}
    bounds = {**dict.fromkeys(READS, PAGE_P95_MS), **dict.fromkeys(SEARCHES, SEARCH_P95_MS)}
    return [
        *(
            Target(f"{workload}, {BUSY} connections: p95, ms", medians[workload].p95_ms, "≤", bound)
            for workload, bound in bounds.items()
            if workload in medians
        ),
        Target("login against its hash alone", found.login.alone.p50_ms / found.login.hash_ms, "≤", LOGIN_OF_HASH),
        Target(
            f"{SIGN_IN_BESIDE} while users sign in, {BUSY} connections: p95, ms",
            found.login.meanwhile.p95_ms,
            "≤",
            PAGE_P95_MS,
        ),
    ]


def text(found: Resources) -> str:
    """All of it, as Markdown."""
    login = found.login
    who = (
        f"A user with {found.memories:,} memories, {found.messages:,} messages and {found.memories // 20:,} tasks, of "
        "words as frequent as in natural language:"
    )
    signing_in = (
        f"Verifying a password against its hash takes {login.hash_ms:.1f} ms by itself; a login takes "
        f"{login.alone.p50_ms:.1f} ms (median, one after the other). {login.connections} connections that sign in "
        f"without a pause make {login.per_second:,.0f} logins a second; meanwhile, reads of one memory at {BUSY} "
        "connections:"
    )
    return "\n\n".join((
        report.machine(found.machine),
        who,
        report.table(("workload", "each request"), DESCRIPTIONS.items()),
        _speed(found),
        report.targets(targets(found)),
        signing_in,
        report.table(
            (SIGN_IN_BESIDE, "requests/s", "p50 ms", "p95 ms", "p99 ms"),
            [_load("while nobody signs in", login.quiet), _load("meanwhile", login.meanwhile)],
        ),
    ))  # fmt: skip


def _speed(found: Resources) -> str:
    rows = [
        (
            one.workload, str(one.connections), f"{one.requests_per_second:,.0f}", f"{one.p50_ms:.2f}",
            f"{one.p95_ms:.2f}", f"{one.p99_ms:.2f}", f"{one.gateway_cpu_us:,.0f}", f"{one.database_cpu_us:,.0f}",
            str(one.errors),
        )
        for one in found.medians
    ]  # fmt: skip
    header = (
        "workload", "connections", "requests/s", "p50 ms", "p95 ms", "p99 ms", "gateway CPU µs", "database CPU µs",
        "errors",
    )  # fmt: skip
    return report.table(header, rows)


def _load(name: str, one: Load) -> tuple[str, ...]:
    rate = f"{one.requests / one.seconds:,.0f}"
    return name, rate, f"{one.p50_ms:.2f}", f"{one.p95_ms:.2f}", f"{one.p99_ms:.2f}"

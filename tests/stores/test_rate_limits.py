"""Rate limits: what they let through, their headers, and what they do without Redis."""

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID, uuid4

import httpx
import pytest
from litestar.stores.base import StorageObject
from redis.asyncio import Redis
from support import shapes
from support.gateways import Gateway, wait_until
from support.redis_server import MISSING, RedisServer, redis_server
from support.servers import Database
from support.tokens import SECRET, bearer, token

from gateway.identity import Identifier
from gateway.request import RequestContext
from gateway.settings import load_settings
from gateway.stores import rate_limits as limits
from gateway.stores import redis as stores
from gateway.stores.rate_limits import Counters, RateLimits
from gateway.stores.redis import Breaker, open_redis

PATH: Final = "/api/v1/cards"
SECONDS: Final = shapes.Like("seconds of a minute", "[1-9]|[1-5][0-9]|60")


@pytest.fixture
def redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """A redis-server for one test. The test's own process waits for it, however busy the machine is."""
    monkeypatch.setattr(stores, "REDIS_TIMEOUT_SECONDS", 60.0)
    if shutil.which("redis-server") is None:
        pytest.skip(MISSING)
    with redis_server(tmp_path) as running:
        yield running


def state_of(response: httpx.Response) -> tuple[object, ...]:
    """The status, and what the headers say about the limit."""
    names = ("ratelimit-limit", "ratelimit-remaining", "ratelimit-reset")
    return (response.status_code, *(response.headers.get(name) for name in names))


# --- over HTTP --------------------------------------------------------------------------------------------------


def test_requests_over_the_limit_are_refused_but_not_those_of_other_tenants(
    make_gateway: Callable[..., Gateway], database: Database
) -> None:
    gateway = make_gateway(database, RATE_LIMIT_PER_MINUTE="3")
    with gateway.client(uuid4()) as client, gateway.client(uuid4()) as other:
        passed = [
            client.get(PATH),
            client.post(f"{PATH}/retrieve", json={"card_ids": [str(uuid4())]}),
            client.get(f"{PATH}/{uuid4()}"),
        ]
        assert [state_of(response) for response in passed] == [
            (200, "3", "2", SECONDS),
            (200, "3", "1", SECONDS),
            (404, "3", "0", SECONDS),
        ]
        for refused in (client.get(PATH), client.delete(f"{PATH}/{uuid4()}")):
            assert state_of(refused) == (429, "3", "0", SECONDS)
            assert refused.headers["retry-after"] == refused.headers["ratelimit-reset"]
            assert refused.json() == shapes.api_error(
                "RATE_LIMITED",
                shapes.Like(
                    "a sentence",
                    r"This tenant sent more than 3 requests within a minute\. Retry in \d+ s\.",
                ),
            )
        assert state_of(other.get(PATH)) == (200, "3", "2", SECONDS)


def test_without_a_limit_there_are_no_headers(client: httpx.Client) -> None:
    assert state_of(client.get(PATH)) == (200, None, None, None)


def test_unauthenticated_requests_are_not_counted(make_gateway: Callable[..., Gateway], database: Database) -> None:
    gateway = make_gateway(database, RATE_LIMIT_PER_MINUTE="1", JWT_SECRET_KEY=SECRET)
    tenant_id = uuid4()
    with gateway.client() as client:
        for _ in range(3):
            assert state_of(client.get(PATH)) == (401, None, None, None)
            assert client.get(PATH, headers=bearer(token(tenant_id, key=SECRET[::-1]))).status_code == 401
        good = bearer(token(tenant_id))
        assert client.get(PATH, headers={**good, "X-Tenant-ID": str(uuid4())}).status_code == 403
        assert client.get(PATH, headers=good).status_code == 200
        assert client.get(PATH, headers=bearer(token(tenant_id))).status_code == 429


def test_operations_are_not_limited(make_gateway: Callable[..., Gateway], database: Database) -> None:
    gateway = make_gateway(database, RATE_LIMIT_PER_MINUTE="1")
    with gateway.client(uuid4()) as client:
        for _ in range(2):
            for path in ("/health", "/ready", "/metrics", "/api/v1/info", "/docs", "/openapi.json"):
                assert client.get(path).status_code == 200


def test_two_gateways_share_one_limit_in_redis(
    make_gateway: Callable[..., Gateway], database: Database, redis: RedisServer
) -> None:
    variables = {"RATE_LIMIT_PER_MINUTE": "20", "REDIS_URL": redis.url}
    gateways = [make_gateway(database, **variables) for _ in range(2)]
    tenant_id = uuid4()
    statuses = statuses_of(gateways, tenant_id, 60)
    assert statuses.count(200) == 20
    assert statuses.count(429) == 40
    assert 0 < int(str(redis.execute("pttl", f"cardbase:requests:*:{tenant_id}"))) <= 60_000


def test_limits_hold_and_the_api_stays_up_while_redis_is_away(
    make_gateway: Callable[..., Gateway], database: Database, redis: RedisServer
) -> None:
    variables = {"RATE_LIMIT_PER_MINUTE": "10", "REDIS_URL": redis.url}
    gateways = [make_gateway(database, **variables) for _ in range(2)]
    tenant_id, other_id = uuid4(), uuid4()
    assert statuses_of(gateways, tenant_id, 20).count(200) == 10

    redis.stop()
    # Each process counts alone, against the same limit.
    statuses = statuses_of(gateways, tenant_id, 60)
    assert (statuses.count(200), statuses.count(429)) == (20, 40)
    for gateway in gateways:
        wait_until(lambda gateway=gateway: "redis is not responding" in gateway.log)  # type: ignore[misc]

    redis.start()
    # Every other second one request retries Redis; once it responds, both share one limit again.
    for gateway in gateways:
        with gateway.client(uuid4()) as client:

            def counts_together(gateway: Gateway = gateway, client: httpx.Client = client) -> bool:
                client.get(PATH)
                return "redis is responding again" in gateway.log

            wait_until(counts_together)
    assert statuses_of(gateways, other_id, 20).count(200) == 10
    assert all(gateway.log.count("redis is not responding") == 1 for gateway in gateways)


def test_gateway_starts_without_redis(make_gateway: Callable[..., Gateway], database: Database) -> None:
    gateway = make_gateway(database, RATE_LIMIT_PER_MINUTE="2", REDIS_URL="redis://127.0.0.1:1")
    assert statuses_of([gateway], uuid4(), 4) == [200, 200, 429, 429]


def test_a_silent_redis_holds_up_nobody_for_long(
    make_gateway: Callable[..., Gateway], database: Database, redis: RedisServer
) -> None:
    gateway = make_gateway(database, RATE_LIMIT_PER_MINUTE="5", REDIS_URL=redis.url)
    redis.execute("client", "pause", 600_000, "all")
    statuses = statuses_of([gateway], uuid4(), 10)
    assert (statuses.count(200), statuses.count(429)) == (5, 5)


def statuses_of(gateways: list[Gateway], tenant_id: UUID, number: int) -> list[int]:
    """Sends requests of one tenant to each gateway in turn, many at once; returns their statuses, sorted."""
    headers = {"X-Tenant-ID": str(tenant_id)}
    with httpx.Client(headers=headers, timeout=30, trust_env=False) as client, ThreadPoolExecutor(16) as pool:
        addresses = [f"{gateways[index % len(gateways)].address}{PATH}" for index in range(number)]
        return sorted(response.status_code for response in pool.map(client.get, addresses))


# --- counters ---------------------------------------------------------------------------------------------------


async def test_concurrent_requests_are_counted_one_by_one(redis: RedisServer) -> None:
    clients = [open_redis(redis.url), open_redis(redis.url)]
    for counters in ([Counters(None, Breaker())], [Counters(client, Breaker()) for client in clients]):
        counts = await asyncio.gather(*(counters[index % len(counters)].count("key") for index in range(200)))
        assert sorted(count.number for count in counts) == list(range(1, 201))
        assert all(0 < count.seconds_left <= 60 for count in counts)
    for client in clients:
        await client.aclose()


async def test_a_window_begins_with_its_first_request_and_then_anew(redis: RedisServer) -> None:
    client = open_redis(redis.url)
    memory, shared = Counters(None, Breaker()), Counters(client, Breaker())
    for counters in (memory, shared):
        assert [(await counters.count("key")).number for _ in range(3)] == [1, 2, 3]
    memory._memory._store["key"].expires_at = datetime.now(UTC) - timedelta(seconds=1)
    redis.execute("pexpire", "cardbase:key", 0)
    for counters in (memory, shared):
        count = await counters.count("key")
        assert count.number == 1
        assert count.seconds_left > 59
    await client.aclose()


async def test_a_counter_that_lost_its_expiry_gets_one(redis: RedisServer) -> None:
    client = open_redis(redis.url)
    redis.execute("set", "cardbase:key", 7)
    count = await Counters(client, Breaker()).count("key")
    assert count.number == 8
    assert 59 < count.seconds_left <= 60
    await client.aclose()


async def test_counters_in_memory_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAXIMUM_COUNTERS", 3)
    counters = Counters(None, Breaker())
    stored = counters._memory._store
    for number in range(5):
        await counters.count(str(number))
    assert list(stored) == ["2", "3", "4"]
    for counter in stored.values():
        counter.expires_at = datetime.now(UTC)
    await counters.count("new")
    assert list(stored) == ["4", "new"]
    assert isinstance(stored["new"], StorageObject)


class _BrokenRedis:
    """A Redis whose scripts fail, and which counts how often they run."""

    def __init__(self) -> None:
        self.runs = 0
        self.error: Exception | None = ConnectionRefusedError()

    def register_script(self, _: bytes) -> Callable[..., Awaitable[tuple[int, int]]]:
        return self._run

    async def _run(self, **_: object) -> tuple[int, int]:
        self.runs += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return 100, 30_000


async def test_a_broken_redis_is_retried_by_one_request_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1000.0
    monkeypatch.setattr(stores, "monotonic", lambda: clock)
    broken = _BrokenRedis()
    counters = Counters(cast("Redis", broken), Breaker())
    assert (await counters.count("key")).number == 1
    counts = await asyncio.gather(*(counters.count("key") for _ in range(50)))
    assert sorted(count.number for count in counts) == list(range(2, 52))
    assert broken.runs == 1

    clock += stores.REDIS_PAUSE_SECONDS
    await asyncio.gather(*(counters.count("key") for _ in range(50)))
    assert broken.runs == 2

    clock += stores.REDIS_PAUSE_SECONDS
    broken.error = None
    assert (await counters.count("key")).number == 100
    assert (await counters.count("key")).number == 100
    assert broken.runs == 4


# --- limits of single endpoints ---------------------------------------------------------------------------------


async def answer(app: Any, method: str, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
    """Sends one request to an application; returns the status and headers."""
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "cardbase.context": RequestContext(raw)}
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("no body is read")

    await app(scope, receive, send)
    return sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


async def _application(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def test_an_endpoint_may_have_a_lower_limit_for_a_method() -> None:
    settings = load_settings({"RATE_LIMIT_PER_MINUTE": "5"})
    made = RateLimits(settings, Identifier(settings), None, Breaker())
    limited = made.in_front_of(_application, path="/login", per_minute={"POST": 2, "GET": 0})
    other = made.in_front_of(_application, path="/cards")
    tenant = {"X-Tenant-ID": str(uuid4())}

    answers = [await answer(limited, "POST", tenant) for _ in range(3)]
    assert [(status, headers["ratelimit-remaining"]) for status, headers in answers] == [
        (200, "1"),
        (200, "0"),
        (429, "0"),
    ]
    assert answers[2][1]["ratelimit-limit"] == "2"
    # The request over the lower limit was not counted against the overall limit.
    answers = [await answer(app, "GET", tenant) for app in (limited, other, other, other)]
    assert [(status, headers["ratelimit-limit"], headers["ratelimit-remaining"]) for status, headers in answers] == [
        (200, "5", "2"),
        (200, "5", "1"),
        (200, "5", "0"),
        (429, "5", "0"),
    ]
    assert (await answer(limited, "POST", {"X-Tenant-ID": str(uuid4())}))[0] == 200


def test_without_a_limit_nothing_is_in_front() -> None:
    settings = load_settings({})
    made = RateLimits(settings, Identifier(settings), None, Breaker())
    assert made.in_front_of(_application, path="/cards", per_minute={"GET": 0}) is _application

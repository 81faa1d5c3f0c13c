"""The cache: nobody gets another caller's reply, or one older than an acknowledged write, whoever wrote, and where."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count, cycle
from pathlib import Path
from typing import Any, Final, NamedTuple, cast
from uuid import UUID, uuid4

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.gateways import Gateway, running_gateway, wait_until
from support.locks import Holder, waiting_for_locks
from support.redis_server import MISSING, RedisServer, redis_server
from support.servers import Database
from support.tokens import SECRET, bearer, token

from gateway.database.listener import Listener
from gateway.database.statement import Reply
from gateway.routes import ROUTES, Route, Source
from gateway.stores import cache
from gateway.stores.cache import Cache
from gateway.stores.redis import Breaker

CLIENT: Final = httpx.Client(timeout=30, trust_env=False)
CACHED: Final = [route for route in ROUTES if route.cached is not None]
ME: Final = "/api/v1/users/me"
PREFERENCES: Final = "/api/v1/users/me/preferences"
SEARCH: Final = "/api/v1/users/search"
QUERIES: Final = {SEARCH: {"q": "someone"}}
"""The parameters that routes are called with."""

pytestmark = pytest.mark.usefixtures("notifications")


@pytest.fixture(scope="module", autouse=True)
def _closed_client() -> Iterator[None]:
    with CLIENT:
        yield


class Person(NamedTuple):
    """A user with a profile."""

    tenant_id: UUID
    user_id: UUID

    def get(self, gateway: Gateway, path: str) -> httpx.Response:
        """The response of a gateway to the user."""
        response = CLIENT.get(f"{gateway.address}{path}", params=QUERIES.get(path), headers=self.headers)
        assert response.status_code == 200, response.text
        return response

    @property
    def headers(self) -> dict[str, str]:
        return bearer(token(self.tenant_id, sub=str(self.user_id)))


def make_person(database: Database, tenant_id: UUID | None = None, user_id: UUID | None = None) -> Person:
    """A new user, of a new tenant unless one is given."""
    person = Person(tenant_id or uuid4(), user_id or uuid4())
    database.execute(
        "insert into app.users (tenant_id, user_id, email, display_name)"
        f" values ('{person.tenant_id}', '{person.user_id}', 'u-{uuid4().hex}@example.com', 'Someone {uuid4().hex}')"
    )
    return person


def counted(*gateways: Gateway) -> Counter[str]:
    """The results of all requests to cached routes of these gateways."""
    found: Counter[str] = Counter()
    for gateway in gateways:
        exposed = CLIENT.get(f"{gateway.address}/metrics").text
        for family in text_string_to_metric_families(exposed):
            for sample in family.samples:
                if sample.name == "cards_cache_total":
                    found[sample.labels["result"]] += int(sample.value)
    return found


def is_hit(person: Person, gateway: Gateway, path: str) -> bool:
    """Whether a gateway gives the user a cached reply."""
    before = counted(gateway)
    person.get(gateway, path)
    return counted(gateway) - before == Counter(hit=1)


def name_of(answer: httpx.Response) -> str:
    """The name in a response of any route that shows one."""
    data = answer.json()["data"]
    return str((data[0] if isinstance(data, list) else data)["display_name"])


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A redis-server for the tests here."""
    if shutil.which("redis-server") is None:
        pytest.skip(MISSING)
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


@pytest.fixture(scope="module", params=["memory", "redis"])
def pair(
    request: pytest.FixtureRequest, shared_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, Gateway]]:
    """Two gateways on one database, each with its own cache, or both with one in Redis."""
    variables = {"DATABASE_URL": shared_database.url("cardbase_gateway"), "JWT_SECRET_KEY": SECRET}
    if request.param == "redis":
        variables["REDIS_URL"] = request.getfixturevalue("redis").url
    with ExitStack() as stack:
        folder: Path = tmp_path_factory.mktemp("pair")
        first, second = (stack.enter_context(running_gateway(folder / name, variables)) for name in ("1", "2"))
        yield first, second


# --- what is cached ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", CACHED, ids=lambda route: route.function)
def test_cached_routes_are_reads_whose_changes_are_announced(route: Route, shared_database: Database) -> None:
    assert route.cached is not None
    assert (route.method, route.body, "user_id" in route.injected_parameters) == ("GET", None, True)
    volatility = shared_database.execute(f"select provolatile from pg_proc where oid = 'api.{route.function}'::regproc")
    assert volatility == "s"
    events = shared_database.execute(
        "select tgtype & 28 from pg_trigger where tgfoid = 'app.announce_change'::regproc"
        f" and tgrelid = 'app.{route.cached.table}'::regclass and tgenabled = 'O'"
    )
    assert events == "28", "a trigger for insert, update and delete"


@pytest.mark.parametrize("path", [route.path for route in CACHED])
def test_every_caller_gets_their_own_reply(pair: tuple[Gateway, Gateway], shared_database: Database, path: str) -> None:
    """Two callers of one tenant, one of another tenant with the same id, and one with the same name."""
    first = make_person(shared_database)
    callers = [
        first,
        make_person(shared_database, first.tenant_id),
        make_person(shared_database, user_id=first.user_id),
        make_person(shared_database),
    ]
    for number, caller in enumerate(callers):
        language = f"update_preferences('{caller.tenant_id}', '{caller.user_id}', language => 'e{'abcd'[number]}')"
        shared_database.execute(f"select from api.{language}")
    route = next(route for route in CACHED if route.path == path)
    before = counted(*pair)
    for _ in range(3):
        for gateway in pair:
            for caller in callers:
                arguments = [f"'{caller.tenant_id}'", f"'{caller.user_id}'"]
                arguments += [f"'{value}'" for value in QUERIES.get(path, {}).values()]
                truth = shared_database.execute(f"select body from api.{route.function}({', '.join(arguments)})")
                assert caller.get(gateway, path).json() == json.loads(truth)
    seen = counted(*pair) - before
    assert (seen.total(), seen["bypassed"]) == (24, 0)
    assert seen["hit"] >= 16, "each gateway calls the database at most once for each caller"


@pytest.mark.parametrize("path", [route.path for route in CACHED])
def test_a_cached_reply_is_the_same_byte_for_byte(
    pair: tuple[Gateway, Gateway], shared_database: Database, path: str
) -> None:
    person = make_person(shared_database)
    answers = [person.get(pair[0], path) for _ in range(2)]
    assert answers[0].content == answers[1].content
    told = [{name for name in answer.headers if not name.startswith("x-")} for answer in answers]
    assert told[0] == told[1]
    assert is_hit(person, pair[0], path)


def test_replies_in_redis_are_shared(
    redis: RedisServer, shared_database: Database, make_gateway: Callable[..., Gateway]
) -> None:
    gateways = [make_gateway(shared_database, JWT_SECRET_KEY=SECRET, REDIS_URL=redis.url) for _ in range(2)]
    person = make_person(shared_database)
    person.get(gateways[0], ME)
    assert is_hit(person, gateways[1], ME)
    keys = redis.execute("keys", "cardbase:cache:*")
    assert isinstance(keys, list)
    for key in keys:
        assert 0 < int(str(redis.execute("ttl", key))) <= cache.TTL_SECONDS


def test_errors_are_not_cached(pair: tuple[Gateway, Gateway], shared_database: Database) -> None:
    person = Person(uuid4(), uuid4())
    address = f"{pair[0].address}{ME}"
    assert CLIENT.get(address, headers=person.headers).status_code == 404
    make_person(shared_database, *person)
    assert CLIENT.get(address, headers=person.headers).status_code == 200


# --- who writes -------------------------------------------------------------------------------------------------

Write = Callable[[Database, Gateway, Person, str], object]


def _patch(_: Database, gateway: Gateway, person: Person, name: str) -> object:
    changed = {"display_name": name}
    return CLIENT.patch(f"{gateway.address}{ME}", json=changed, headers=person.headers).raise_for_status()


def _rpc(_: Database, gateway: Gateway, person: Person, name: str) -> object:
    address = f"{gateway.address}/rpc/update_user"
    return CLIENT.post(address, json={"display_name": name}, headers=person.headers).raise_for_status()


def _service(database: Database, _: Gateway, person: Person, name: str) -> object:
    arguments = f"'{person.tenant_id}', '{person.user_id}', display_name => '{name}'"
    return database.execute(f"select from api.update_user({arguments})", user="cardbase_service")


def _owner(database: Database, _: Gateway, person: Person, name: str) -> object:
    return database.execute(f"update app.users set display_name = '{name}' where user_id = '{person.user_id}'")


WRITES: Final[list[Write]] = [_patch, _rpc, _service, _owner]


@pytest.mark.parametrize("path", [ME, SEARCH])
@pytest.mark.parametrize("write", WRITES, ids=["patch", "rpc", "service", "owner"])
def test_a_write_is_seen_on_every_node_once_it_is_acknowledged(
    pair: tuple[Gateway, Gateway], shared_database: Database, write: Write, path: str
) -> None:
    person = make_person(shared_database)
    for number in range(5):
        for gateway, other in (pair, pair[::-1]):
            name = f"Someone {number} {uuid4().hex}"
            person.get(other, path)
            write(shared_database, gateway, person, name)
            assert name_of(person.get(other, path)) == name
            assert name_of(person.get(gateway, path)) == name
    assert is_hit(person, pair[0], path)


def test_preferences_are_seen_on_every_node_and_other_replies_stay_cached(
    pair: tuple[Gateway, Gateway], shared_database: Database
) -> None:
    person = make_person(shared_database)
    other = make_person(shared_database, person.tenant_id)
    for gateway in pair:
        for path in (ME, SEARCH, PREFERENCES):
            person.get(gateway, path)
            other.get(gateway, path)
    for theme in ("dark", "light", "dark"):
        CLIENT.patch(
            f"{pair[0].address}{PREFERENCES}", json={"theme": theme}, headers=person.headers
        ).raise_for_status()
        for gateway in pair:
            assert person.get(gateway, PREFERENCES).json()["data"]["theme"] == theme
    assert is_hit(other, pair[1], PREFERENCES)
    assert is_hit(person, pair[1], ME)
    assert is_hit(person, pair[1], SEARCH)


def test_a_new_user_is_found_at_once(pair: tuple[Gateway, Gateway], shared_database: Database) -> None:
    person = make_person(shared_database)
    assert len(person.get(pair[1], SEARCH).json()["data"]) == 1
    body = {
        "email": f"u-{uuid4().hex}@example.com",
        "password": "correct horse battery staple",
        "display_name": "Someone new",
        "tenant_id": str(person.tenant_id),
    }
    address = f"{pair[0].address}/api/v1/auth/register"
    CLIENT.post(address, json=body, headers=person.headers).raise_for_status()
    assert len(person.get(pair[1], SEARCH).json()["data"]) == 2


# --- races ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [ME, SEARCH])
def test_a_slow_reader_leaves_nothing_stale_behind(
    pair: tuple[Gateway, Gateway], shared_database: Database, path: str
) -> None:
    """It has its snapshot and waits; the write is committed and announced; then it reads and caches the old reply."""
    person = make_person(shared_database)
    for slow in pair:
        _owner(shared_database, slow, person, "Someone old")
        new = f"Someone {uuid4().hex}"
        change = f"update app.users set display_name = '{new}' where user_id = '{person.user_id}'"
        with Holder(shared_database, "lock table app.users", change) as writer, ThreadPoolExecutor(1) as thread:
            reader = thread.submit(person.get, slow, path)
            wait_until(lambda: waiting_for_locks(shared_database) == 1)
            writer.release("commit")
            assert name_of(reader.result()) == "Someone old"
        for gateway in pair:
            assert name_of(person.get(gateway, path)) == new


def test_nobody_reads_anything_older_than_what_was_acknowledged(
    redis: RedisServer, shared_database: Database, make_gateway: Callable[..., Gateway]
) -> None:
    """With all kinds of writers, while Redis stops and starts, and while listening connections are cut."""
    variables = {"JWT_SECRET_KEY": SECRET, "REDIS_URL": redis.url}
    pair = [make_gateway(shared_database, **variables) for _ in range(2)]
    person = make_person(shared_database)
    _owner(shared_database, pair[0], person, "Someone 0")
    answered, is_over = 0, False

    def read(gateway: Gateway, path: str) -> int:
        reads = 0
        while not is_over:
            floor = answered
            number = int(name_of(person.get(gateway, path)).rpartition(" ")[2])
            assert number >= floor
            reads += 1
        return reads

    def write_until(condition: Callable[[], bool]) -> None:
        for _ in range(20):
            write()
        wait_until(lambda: write() and condition(), 30)

    def write() -> bool:
        nonlocal answered
        number = next(numbers)
        next(writes)(shared_database, next(gateways), person, f"Someone {number}")
        answered = number
        return True

    numbers, writes, gateways = count(1), cycle([_patch, _patch, _rpc, _service]), cycle(pair)
    before = counted(*pair)
    with ThreadPoolExecutor(4) as threads:
        readers = [threads.submit(read, gateway, path) for gateway in pair for path in (ME, SEARCH)]
        try:
            write_until(lambda: counted(*pair)["hit"] > before["hit"])
            redis.stop()
            write_until(lambda: all("redis is not responding" in gateway.log for gateway in pair))
            redis.start()
            write_until(lambda: all("redis is responding again" in gateway.log for gateway in pair))
            shared_database.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity"
                " where application_name = 'cardbase listener' and datname = current_database()"
            )
            hits = counted(*pair)["hit"]
            write_until(lambda: counted(*pair)["hit"] > hits)
        finally:
            is_over = True
        assert all(reader.result() > 10 for reader in readers)


# --- the parts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("snapshot", "seen"),
    [
        ("10:10:", range(1, 10)),
        ("10:13:10,12", (9, 11)),
        ("10:13:10", (9, 11, 12)),
        ("10:13:12", (9, 10, 11)),
    ],
)
def test_a_snapshot_includes_what_had_ended(snapshot: str, seen: Any) -> None:
    assert [number for number in range(1, 16) if cache._includes(snapshot, number)] == [
        number for number in range(1, 16) if number in seen or number < 9
    ]


class _Listener:
    """A listener that receives pending announcements when it catches up."""

    is_listening = True

    def __init__(self) -> None:
        self.pending: list[str] = []

    def hear(self, _: str, hear: Callable[[str], None]) -> None:
        self.say = hear

    def at_begin(self, _: object) -> None:
        pass

    async def catch_up(self, _: float) -> bool:
        while self.pending:
            self.say(self.pending.pop(0))
        return True


class _Cached:
    """A cache in memory, and a database whose transactions are numbered."""

    def __init__(self) -> None:
        self.listener = _Listener()
        self.results: list[str] = []
        self.cache = Cache(cast("Listener", self.listener), None, Breaker(), self.results.append)
        self.transaction_id = 1
        self.reply = Reply(200, None, b"{}", None)

    async def fetch(self, source: str = "users:a:b") -> str:
        async def run() -> Reply:
            return self.reply._replace(snapshot=f"{self.transaction_id}:{self.transaction_id}:")

        await self.cache.fetch(source, [source], run)
        return self.results[-1]

    def change(self, what: str) -> None:
        keys = map(self.cache._key_of, (what.rpartition(":")[0], what))
        self.listener.pending.append(f"{' '.join(keys)} {self.transaction_id}")
        self.transaction_id += 1


async def test_no_reply_is_returned_before_pending_announcements_are_received() -> None:
    cached = _Cached()
    assert [await cached.fetch() for _ in range(2)] == ["miss", "hit"]
    cached.change("users:a:b")
    assert [await cached.fetch() for _ in range(2)] == ["miss", "hit"]


async def test_a_forged_announcement_changes_nothing() -> None:
    cached = _Cached()
    await cached.fetch()
    cached.listener.pending += ["", "users:a:b", f"{cached.cache._key_of('users:a:b')} x", "a b c d"]
    assert await cached.fetch() == "hit"


async def test_forgotten_changes_count_for_every_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MAXIMUM_CHANGES", 4)
    cached = _Cached()
    cached.change("users:a:b")
    assert [await cached.fetch() for _ in range(2)] == ["miss", "hit"]
    cached.change("users:c:d")
    assert [await cached.fetch(), await cached.fetch("users:a")] == ["hit", "miss"]
    cached.change("users:e:f")
    assert len(cached.cache._changes) == 4
    # The changes of a and b are forgotten; the replies include them.
    assert [await cached.fetch(), await cached.fetch("users:a")] == ["hit", "hit"]
    cached.change("users:g:h")
    # Now those of c and d are, too, which came later.
    assert [await cached.fetch(), await cached.fetch("users:a"), await cached.fetch()] == ["miss", "hit", "hit"]


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, b"{}", b"{}", None),
        Reply(200, None, b"{}", b"[]"),
        Reply(200, None, None, None),
        Reply(202, None, b"{}", None),
        Reply(200, None, b"0" * (cache.MAXIMUM_BYTES + 1), None),
    ],
    ids=["headers", "measures", "no body", "another status", "too long"],
)
async def test_only_replies_with_nothing_but_a_short_body_are_cached(reply: Reply) -> None:
    cached = _Cached()
    cached.reply = reply
    assert [await cached.fetch() for _ in range(2)] == ["miss", "miss"]


async def test_replies_of_another_server_are_not_fresh() -> None:
    cached = _Cached()
    assert [await cached.fetch() for _ in range(2)] == ["miss", "hit"]
    cached.cache._incarnation = b"another"
    assert [await cached.fetch() for _ in range(2)] == ["miss", "hit"]


async def test_nothing_is_cached_while_nothing_can_be_heard() -> None:
    cached = _Cached()
    await cached.fetch()
    cached.listener.is_listening = False
    assert [await cached.fetch() for _ in range(2)] == ["bypassed", "bypassed"]


def test_sources_name_whose_rows_they_are() -> None:
    assert {route.cached for route in CACHED} == {
        Source("users", "user"),
        Source("user_preferences", "user"),
        Source("users", "tenant"),
    }

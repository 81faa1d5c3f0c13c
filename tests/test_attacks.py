"""Attacks over HTTP, through every route of the table and every function of the catalog."""

import asyncio
import json
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Final
from uuid import uuid4

import asyncpg
import httpx
import jwt
import psutil
import pytest
from msgspec import inspect
from support import listeners, shapes, world
from support.attempts import Attempts
from support.gateways import Gateway
from support.scene import CLOSED_ROUTES, REQUEST_ID, Scene, name_of, request_of
from support.servers import Database
from support.tokens import OTHER_SECRET, SECRET, bearer, key_pair, token, unsigned
from support.world import Tenant

from gateway.routes import Route


@pytest.fixture
def client(scene: Scene) -> Iterator[httpx.Client]:
    """A client without credentials."""
    with scene.gateway.client() as opened:
        yield opened


# --- who calls ----------------------------------------------------------------------------------------------------

UNPROVEN: Final[Mapping[str, Callable[[Tenant, Tenant], dict[str, str]]]] = {
    "no token": lambda ours, theirs: {},
    "the header alone": lambda ours, theirs: {"X-Tenant-ID": str(ours.tenant_id)},
    "another scheme": lambda ours, theirs: {"Authorization": "Basic b3VyczpzZWNyZXQ="},
    "an empty token": lambda ours, theirs: {"Authorization": "Bearer"},
    "no token at all": lambda ours, theirs: bearer("not-a-token"),
    "an expired token": lambda ours, theirs: bearer(token(ours.tenant_id, sub=str(ours.user_id), seconds=-60)),
    "a token for later": lambda ours, theirs: bearer(token(ours.tenant_id, nbf=int(time.time()) + 600)),
    "a token without an end": lambda ours, theirs: bearer(token(ours.tenant_id, exp=None)),
    "a token without a tenant": lambda ours, theirs: bearer(token(None)),
    "a token of another key": lambda ours, theirs: bearer(token(ours.tenant_id, key=OTHER_SECRET)),
    "a token of a key pair": lambda ours, theirs: bearer(
        token(ours.tenant_id, key=key_pair("RS256").private, algorithm="RS256")
    ),
    "a token of another algorithm": lambda ours, theirs: bearer(token(ours.tenant_id, algorithm="HS384")),
    "a token that nobody signed": lambda ours, theirs: bearer(
        unsigned({"alg": "none"}, {"tenant_id": str(ours.tenant_id), "exp": 4_102_444_800})
    ),
    "a token changed": lambda ours, theirs: bearer(_with_tenant(token(ours.tenant_id), theirs)),
    "two tokens": lambda ours, theirs: bearer(f"{token(ours.tenant_id)}, Bearer {token(theirs.tenant_id)}"),
}


NO_TOKEN: Final = ("no token", "the header alone", "another scheme")
"""The callers among them without any bearer token."""
CLAIMED_WRONG: Final = (
    "an expired token",
    "a token for later",
    "a token without an end",
    "a token without a tenant",
)
"""The callers whose token is correctly signed, but has invalid claims."""


def _with_tenant(text: str, tenant: Tenant) -> str:
    header, _, signature = text.split(".")
    claims = {"tenant_id": str(tenant.tenant_id), "sub": str(tenant.user_id), "exp": 4_102_444_800}
    return ".".join((header, jwt.utils.base64url_encode(json.dumps(claims).encode()).decode(), signature))


@pytest.mark.parametrize("route", CLOSED_ROUTES, ids=name_of)
def test_route_refuses_callers_without_valid_credentials(
    route: Route, scene: Scene, client: httpx.Client, attempts: Attempts, untouched: None
) -> None:
    request = request_of(route, scene.ours, scene.ours)
    for name, headers_of in UNPROVEN.items():
        response = client.request(**request, headers=headers_of(scene.ours, scene.theirs))
        assert (name, response.status_code) == (name, 401)
        assert response.json() == shapes.api_error("UNAUTHENTICATED", shapes.Like("a sentence", r"[A-Z].+\."))
        challenge = "Bearer" if name in NO_TOKEN else 'Bearer error="invalid_token", error_description="'
        assert response.headers["www-authenticate"].partition("The token")[0] == challenge
        attempts.count("HTTP: routes, callers without valid credentials")


@pytest.mark.parametrize("route", CLOSED_ROUTES, ids=name_of)
def test_route_refuses_a_header_that_names_another_tenant_than_the_token(
    route: Route, scene: Scene, client: httpx.Client, attempts: Attempts, untouched: None
) -> None:
    request = request_of(route, scene.ours, scene.theirs)
    tenant_id = str(scene.theirs.tenant_id)
    for name in (tenant_id, tenant_id.upper(), "", "*", f"{scene.ours.tenant_id}, {tenant_id}"):
        response = client.request(**request, headers=scene.headers(scene.ours) | {"X-Tenant-ID": name})
        assert (name, response.status_code) == (name, 403)
        assert response.json()["error"]["code"] == "TENANT_MISMATCH"
        attempts.count("HTTP: routes, a header next to another tenant's token")


def test_repeated_headers_are_refused(scene: Scene, client: httpx.Client, attempts: Attempts) -> None:
    ours, theirs = (bearer(token(tenant.tenant_id))["Authorization"] for tenant in (scene.ours, scene.theirs))
    for headers, status in (
        ([("Authorization", ours), ("Authorization", theirs)], 401),
        ([("Authorization", theirs), ("Authorization", ours)], 401),
        ([("Authorization", ours), ("X-Tenant-ID", str(scene.ours.tenant_id)), ("X-Tenant-ID", "x")], 403),
        ([("Authorization", ours), ("authorization", ours)], 401),
    ):
        response = client.get("/api/v1/cards", headers=headers)
        assert response.status_code == status
        attempts.count("HTTP: repeated headers")


@pytest.mark.parametrize("path", ["/rpc/list_cards", "/rpc/nothing", "/rpc/get_health"])
def test_rpc_refuses_callers_without_valid_credentials(
    path: str, scene: Scene, client: httpx.Client, attempts: Attempts, untouched: None
) -> None:
    for name, headers_of in UNPROVEN.items():
        for method in ("GET", "POST"):
            response = client.request(method, path, headers=headers_of(scene.ours, scene.theirs))
            assert (name, response.status_code) == (name, 401)
            code = "PGRST302" if name in NO_TOKEN else "PGRST303" if name in CLAIMED_WRONG else "PGRST301"
            assert (name, response.json()["code"]) == (name, code)
            attempts.count("HTTP: /rpc, callers without valid credentials")


# --- whose rows ---------------------------------------------------------------------------------------------------

CHANGING: Final = {"x-process-time", "date", "server-timing"}


def answer_of(response: httpx.Response, owner: Tenant) -> tuple[int, dict[str, str], str]:
    """A whole response, except for the requested ids and the time it took."""
    body = response.text
    for value in (str(owner.user_id), *owner.rows.values()):
        body = body.replace(value, "…")
    return response.status_code, {k: v for k, v in response.headers.items() if k not in CHANGING}, body


def about_rows(route: Route) -> bool:
    shape = inspect.type_info(route.body) if route.body else None
    fields = [field.encode_name for field in shape.fields] if isinstance(shape, inspect.StructType) else []
    return "{" in route.path or any(map(world.is_id, fields))


@pytest.mark.parametrize("route", [route for route in CLOSED_ROUTES if about_rows(route)], ids=name_of)
def test_another_tenants_rows_look_like_missing_ones(
    route: Route, scene: Scene, client: httpx.Client, attempts: Attempts, untouched: None
) -> None:
    answers = []
    for owner in (scene.theirs, scene.nobody):
        request = request_of(route, scene.ours, owner)
        response = client.request(**request, headers=scene.headers(scene.ours))
        answers.append(answer_of(response, owner))
        assert scene.theirs.canary not in response.text
        attempts.count("HTTP: routes, ids of another tenant and of nobody")
    assert answers[0] == answers[1]
    assert answers[0][0] == (200 if route.function == "retrieve_cards" else 404)


@pytest.mark.parametrize(
    "route",
    [route for route in CLOSED_ROUTES if about_rows(route) and "user_id" in route.injected_parameters],
    ids=name_of,
)
def test_another_users_rows_look_like_missing_ones(
    route: Route, scene: Scene, client: httpx.Client, attempts: Attempts
) -> None:
    """What a user owns is hidden from the tenant's other users, too."""
    headers = bearer(token(scene.ours.tenant_id, sub=str(uuid4()))) | REQUEST_ID
    before = scene.fingerprint(scene.ours)
    answers = []
    for owner in (scene.ours, scene.nobody):
        response = client.request(**request_of(route, scene.ours, owner), headers=headers)
        answers.append(answer_of(response, owner))
        attempts.count("HTTP: routes, ids of another user of the tenant")
    assert answers[0] == answers[1]
    assert answers[0][0] == 404
    assert scene.fingerprint(scene.ours) == before


def test_lists_and_searches_show_only_the_tenants_own_rows(
    scene: Scene, client: httpx.Client, attempts: Attempts, untouched: None
) -> None:
    for route in CLOSED_ROUTES:
        if route.method != "GET" or "{" in route.path:
            continue
        for query in ({}, {"q": scene.theirs.canary}, {"created_by": scene.theirs.canary}, {"contains": "{}"}):
            response = client.get(route.path, params=query, headers=scene.headers(scene.ours))
            needs_q = route.function in ("search", "search_users")
            assert (route.path, response.status_code) == (route.path, 422 if needs_q and "q" not in query else 200)
            assert not [secret for secret in scene.theirs.secrets if secret in response.text]
            attempts.count("HTTP: lists and searches")


def test_rpc_is_as_strict_as_the_routes(
    scene: Scene, client: httpx.Client, attempts: Attempts, untouched: None
) -> None:
    """Every function of the catalog, over /rpc, about another tenant's rows and nobody's."""

    async def read() -> list[world.Function]:
        connection = await asyncpg.connect(scene.database.url())
        try:
            return await world.functions_of(connection)
        finally:
            await connection.close()

    filled = {"tenant_id", "user_id", "idempotency_key", "idempotency_ttl_hours"}
    for function in asyncio.run(read()):
        if not function.is_public or not set(function.ids) - {"user_id"}:
            continue
        answers = []
        for owner in (scene.theirs, scene.nobody):
            arguments = world.arguments_of(function, scene.ours, owner)
            sent = {name: value for name, value in arguments.items() if name not in filled}
            response = client.post(f"/rpc/{function.name}", json=sent, headers=scene.headers(scene.ours))
            assert scene.theirs.canary not in response.text
            answers.append(answer_of(response, owner))
            attempts.count("HTTP: /rpc, ids of another tenant and of nobody")
            # Tenant and user are the caller's, whatever the arguments say.
            for claimed in ({"tenant_id": str(scene.theirs.tenant_id)}, {"user_id": str(scene.theirs.user_id)}):
                claim = client.post(f"/rpc/{function.name}", json=sent | claimed, headers=scene.headers(scene.ours))
                assert claim.status_code == 404
                assert claim.json()["code"] == "PGRST202"
                attempts.count("HTTP: /rpc, another identity as an argument")
        assert answers[0] == answers[1], function.name


# --- what they send -----------------------------------------------------------------------------------------------

MEGABYTE: Final = 1_048_576
SIGN_IN: Final = tuple(f"/api/v1/auth/{name}" for name in ("register", "login", "refresh", "logout"))
CARDS_OR_RPC: Final = ("/api/v1/cards", "/rpc/create_card")


def test_half_sent_bodies_fill_no_memory(
    make_gateway: Callable[..., Gateway], shared_database: Database, attempts: Attempts
) -> None:
    """A hundred bodies, 400 MiB of them, whose other half never comes: from strangers, and from tenants."""
    gateway = make_gateway(
        shared_database, JWT_SECRET_KEY=SECRET, BODY_BUDGET_BYTES=str(16 * MEGABYTE), BODY_TIMEOUT_MS="60000"
    )
    half = b"%x\r\n%b" % (8 * MEGABYTE, b" " * (4 * MEGABYTE))
    process = psutil.Process(gateway.process.pid)
    before = process.memory_info().rss
    with ExitStack() as stack:
        for number in range(100):
            path = SIGN_IN[number // 2 % 4] if number % 2 else CARDS_OR_RPC[number // 2 % 2]
            headers = "" if number % 2 else f"Authorization: {bearer(token())['Authorization']}\r\n"
            client = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port), timeout=30))
            head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Transfer-Encoding: chunked\r\n\r\n"
            client.sendall(head.encode() + half)
            attempts.count("HTTP: half-sent bodies")
        assert process.memory_info().rss - before < 128 * MEGABYTE
        with gateway.client() as prober:
            assert prober.get("/api/v1/cards", headers=bearer(token())).status_code == 200


HEADERS_THAT_DO_NOT_END: Final = {
    "a value": (b"X: ", b"x"),
    "a name": (b"", b"x"),
    "short ones": (b"", b"X: x\r\n"),
    "an address": (None, b"x"),
}


@pytest.mark.parametrize(("name", "repeated"), HEADERS_THAT_DO_NOT_END.values(), ids=HEADERS_THAT_DO_NOT_END)
def test_headers_without_an_end_stall_nobody(
    scene: Scene, client: httpx.Client, attempts: Attempts, name: bytes | None, repeated: bytes
) -> None:
    """40 MiB of them: 32 KiB are read, and next to it everybody's requests are served."""
    start = b"GET /" if name is None else b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + name
    process = psutil.Process(scene.gateway.process.pid)
    memory, used = process.memory_info().rss, sum(process.cpu_times()[:2])

    def send() -> int:
        with socket.create_connection(("127.0.0.1", scene.gateway.port), timeout=30) as attacker:
            attacker.sendall(start + repeated * (MEGABYTE // len(repeated)))
            status = int(attacker.recv(12)[9:])
            with suppress(ConnectionError):  # it is closed soon after that
                for _ in range(39):
                    attacker.sendall(repeated * (MEGABYTE // len(repeated)))
            return status

    with ThreadPoolExecutor(4) as attackers:
        sending = [attackers.submit(send) for _ in range(4)]
        served = 0
        while not all(each.done() for each in sending) or served < 20:
            assert client.get("/api/v1/cards", headers=bearer(token())).status_code == 200
            served += 1
        assert [each.result() for each in sending] == [431] * 4
    attempts.count("HTTP: headers without an end", 4)
    assert process.memory_info().rss - memory < 16 * MEGABYTE
    assert sum(process.cpu_times()[:2]) - used < 2 + served * 0.05


def test_two_tenants_do_not_take_all_streams(
    make_gateway: Callable[..., Gateway], shared_database: Database, attempts: Attempts
) -> None:
    """Two tenants with as many users as they like get two tenths, and everybody else still gets a stream."""
    gateway = make_gateway(shared_database, JWT_SECRET_KEY=SECRET, EVENT_STREAMS="30")
    with ExitStack() as streams:
        for tenant_id in (uuid4(), uuid4()):
            statuses = []
            for _ in range(15):
                request = listeners.request(gateway, token(tenant_id, sub=str(uuid4())))
                statuses.append(streams.enter_context(request).status)
                attempts.count("HTTP: event streams")
            assert statuses == [200] * 3 + [429] * 12
        for _ in range(20):
            request = listeners.request(gateway, token(sub=str(uuid4())))
            assert streams.enter_context(request).status == 200

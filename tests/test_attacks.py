"""The gateway attacked over HTTP, by way of every route of the table and every function of the catalog."""

import asyncio
import base64
import json
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, Final, NamedTuple
from urllib.parse import quote
from uuid import uuid4

import asyncpg
import httpx
import jwt
import psutil
import pytest
from msgspec import inspect
from support import shapes, world
from support.attempts import Attempts
from support.gateways import Gateway, running_gateway, wait_until
from support.locks import Holder, waiting_for_locks
from support.servers import Database
from support.tokens import OTHER_SECRET, SECRET, bearer, key_pair, token, unsigned
from support.world import Tenant

from gateway.routes import ROUTES, Route

REQUEST_ID: Final = {"X-Request-ID": "the-same", "X-Trace-ID": "the-same"}
OPEN: Final = frozenset({"register_user", "start_session", "refresh_session", "end_session"})
"""Routes for those who have no token yet, or none that is good any more."""
CLOSED_ROUTES: Final = [route for route in ROUTES if route.function not in OPEN]


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


class Scene(NamedTuple):
    """A gateway that asks for tokens, and two tenants of its database."""

    gateway: Gateway
    database: Database
    ours: Tenant
    theirs: Tenant
    nobody: Tenant

    def headers(self, tenant: Tenant) -> dict[str, str]:
        """A good token of a tenant's user, and ids that don't change."""
        return bearer(token(tenant.tenant_id, sub=str(tenant.user_id))) | REQUEST_ID

    def fingerprint(self, tenant: Tenant) -> str:
        """All rows of a tenant, as one hash."""

        async def read() -> str:
            connection = await asyncpg.connect(self.database.url())
            try:
                return await world.fingerprint_of(connection, tenant)
            finally:
                await connection.close()

        return asyncio.run(read())


@pytest.fixture(scope="module")
def scene(_clone: Callable[[ExitStack], Database], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A gateway that asks for tokens, and two tenants of its database."""

    async def settle() -> tuple[Tenant, Tenant]:
        connection = await asyncpg.connect(database.url())
        try:
            tenants = Tenant("ours"), Tenant("theirs")
            for tenant in tenants:
                async with connection.transaction():
                    await world.settle(connection, tenant)
            return tenants
        finally:
            await connection.close()

    with ExitStack() as stack:
        database = _clone(stack)
        ours, theirs = asyncio.run(settle())
        variables = {
            "DATABASE_URL": database.url("cardbase_gateway"),
            "JWT_SECRET_KEY": SECRET,
            "INTEGRATION_ENCRYPTION_KEY": base64.b64encode(bytes(32)).decode(),
        }
        gateway = stack.enter_context(running_gateway(tmp_path_factory.mktemp("attacked"), variables))
        yield Scene(gateway, database, ours, theirs, Tenant("nobody"))


@pytest.fixture
def client(scene: Scene) -> Iterator[httpx.Client]:
    """A client that proves nothing by itself."""
    with scene.gateway.client() as opened:
        yield opened


@pytest.fixture
def untouched(scene: Scene) -> Iterator[None]:
    """Fails a test that changes a row of either tenant."""
    before = [scene.fingerprint(tenant) for tenant in (scene.ours, scene.theirs)]
    yield
    assert [scene.fingerprint(tenant) for tenant in (scene.ours, scene.theirs)] == before


def request_of(route: Route, caller: Tenant, owner: Tenant) -> dict[str, Any]:
    """A valid request by one tenant about the rows of another (or its own, or nobody's)."""
    noun = world.noun_of(route.function)
    path = re.sub(r"{(\w+)}", lambda found: owner.id_of(found[1], noun), route.path)
    request: dict[str, Any] = {"method": route.method, "url": path}
    if route.body is not None:
        request["json"] = fields_of(route.body, route, caller, owner)
    if route.query is not None:
        query = fields_of(route.query, route, caller, owner)
        request["params"] = {name: value for name, value in query.items() if name == "q"}
    return request


def fields_of(shape: type, route: Route, caller: Tenant, owner: Tenant) -> dict[str, Any]:
    """A valid body, or query, of a route."""
    info = inspect.type_info(shape)
    assert isinstance(info, inspect.StructType)
    noun = world.noun_of(route.function)
    fields: dict[str, Any] = {}
    for field in info.fields:
        name = field.encode_name
        if world.is_id(name):
            value = owner.id_of(name, noun)
            fields[name] = [value] if name.endswith("_ids") else value
        elif name not in world.LEFT_OUT and (field.required or name in world.VALUES):
            fields[name] = caller.value_of(name, route.function)
    return fields


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
"""Those of them that bring no bearer token at all."""
CLAIMED_WRONG: Final = (
    "an expired token",
    "a token for later",
    "a token without an end",
    "a token without a tenant",
)
"""Those whose token is ours, and says something that keeps it from being good."""


def _with_tenant(text: str, tenant: Tenant) -> str:
    header, _, signature = text.split(".")
    claims = {"tenant_id": str(tenant.tenant_id), "sub": str(tenant.user_id), "exp": 4_102_444_800}
    return ".".join((header, jwt.utils.base64url_encode(json.dumps(claims).encode()).decode(), signature))


@pytest.mark.parametrize("route", CLOSED_ROUTES, ids=name_of)
def test_route_refuses_callers_that_prove_nothing(
    route: Route, scene: Scene, client: httpx.Client, attempts: Attempts, untouched: None
) -> None:
    request = request_of(route, scene.ours, scene.ours)
    for name, headers_of in UNPROVEN.items():
        response = client.request(**request, headers=headers_of(scene.ours, scene.theirs))
        assert (name, response.status_code) == (name, 401)
        assert response.json() == shapes.api_error("UNAUTHENTICATED", shapes.Like("a sentence", r"[A-Z].+\."))
        challenge = "Bearer" if name in NO_TOKEN else 'Bearer error="invalid_token", error_description="'
        assert response.headers["www-authenticate"].partition("The token")[0] == challenge
        attempts.count("HTTP: routes, callers that prove nothing")


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
        attempts.count("HTTP: routes, a header beside another tenant's token")


def test_repeated_headers_never_leave_a_choice(scene: Scene, client: httpx.Client, attempts: Attempts) -> None:
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
def test_rpc_refuses_callers_that_prove_nothing(
    path: str, scene: Scene, client: httpx.Client, attempts: Attempts, untouched: None
) -> None:
    for name, headers_of in UNPROVEN.items():
        for method in ("GET", "POST"):
            response = client.request(method, path, headers=headers_of(scene.ours, scene.theirs))
            assert (name, response.status_code) == (name, 401)
            code = "PGRST302" if name in NO_TOKEN else "PGRST303" if name in CLAIMED_WRONG else "PGRST301"
            assert (name, response.json()["code"]) == (name, code)
            attempts.count("HTTP: /rpc, callers that prove nothing")


# --- whose rows ---------------------------------------------------------------------------------------------------

CHANGING: Final = {"x-process-time", "date", "server-timing"}


def answer_of(response: httpx.Response, owner: Tenant) -> tuple[int, dict[str, str], str]:
    """The whole of an answer, but for the ids that were asked for and the time it took."""
    body = response.text
    for value in (str(owner.user_id), *owner.rows.values()):
        body = body.replace(value, "…")
    return response.status_code, {k: v for k, v in response.headers.items() if k not in CHANGING}, body


def about_rows(route: Route) -> bool:
    shape = inspect.type_info(route.body) if route.body else None
    fields = [field.encode_name for field in shape.fields] if isinstance(shape, inspect.StructType) else []
    return "{" in route.path or any(map(world.is_id, fields))


@pytest.mark.parametrize("route", [route for route in CLOSED_ROUTES if about_rows(route)], ids=name_of)
def test_another_tenants_rows_are_as_nobodys(
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
def test_another_users_token_of_the_same_tenant_is_as_nobodys(
    route: Route, scene: Scene, client: httpx.Client, attempts: Attempts
) -> None:
    """What is a user's own is hidden from the other users of the tenant, too."""
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


def test_lists_and_searches_show_a_tenants_own_alone(
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


def test_rpc_is_as_tight_as_the_routes(scene: Scene, client: httpx.Client, attempts: Attempts, untouched: None) -> None:
    """Each function of the catalog, over /rpc, about another tenant's rows and nobody's."""

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
            # The tenant and the user are the caller's, whatever is sent.
            for claimed in ({"tenant_id": str(scene.theirs.tenant_id)}, {"user_id": str(scene.theirs.user_id)}):
                claim = client.post(f"/rpc/{function.name}", json=sent | claimed, headers=scene.headers(scene.ours))
                assert claim.status_code == 404
                assert claim.json()["code"] == "PGRST202"
                attempts.count("HTTP: /rpc, another identity as an argument")
        assert answers[0] == answers[1], function.name


# --- what is sent -------------------------------------------------------------------------------------------------

INJECTIONS: Final = (
    "'",
    "''",
    "' or '1'='1",
    "'; drop table app.cards; --",
    "'); delete from app.cards; --",
    "\\'; select pg_sleep(10); --",
    '"; drop schema app cascade; --',
    "$$; drop table app.cards; $$",
    "$1",
    "%s %I %L {0} {name}",
    "*/ drop table app.cards /*",
    "1; copy app.cards to program 'true'",
    "E'\\047'",
    "' union select rolpassword from pg_authid --",
    "tenant_id => 'bbbbbbbb-0000-0000-0000-000000000000'",
    "app.current_tenant_id",
    "set app.current_tenant_id = 'x'",
    '{"$ne": null}',
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "\u202e\ufeff\U0001f600",
)


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_text_is_only_ever_text(route: Route, scene: Scene, client: httpx.Client, attempts: Attempts) -> None:
    """Through every text of the body, the query, the path and the headers: never a 5xx, and nobody else is touched."""
    before = scene.fingerprint(scene.theirs)
    headers = scene.headers(scene.ours)
    valid = request_of(route, scene.ours, scene.nobody)
    query_names = [field.encode_name for field in _fields(route.query)]
    for text in INJECTIONS:
        requests = [valid | {"headers": {"If-Match": _printable(text), "Idempotency-Key": _printable(text)}}]
        requests += [valid | {"json": valid["json"] | {name: text}} for name in valid.get("json", {})]
        requests += [valid | {"params": valid["params"] | {name: text}} for name in query_names]
        requests += [
            valid | {"url": route.path.replace("{" + name + "}", quote(text, safe=""))} for name in _names(route)
        ]
        for request in requests:
            sent = request | {"headers": headers | request.get("headers", {})}
            assert client.request(**sent).status_code < 500, request
            attempts.count("HTTP: injections through every text of every route")
    assert scene.fingerprint(scene.theirs) == before


def _fields(shape: type | None) -> tuple[inspect.Field, ...]:
    info = inspect.type_info(shape) if shape is not None else None
    return info.fields if isinstance(info, inspect.StructType) else ()


def _names(route: Route) -> list[str]:
    return re.findall(r"{(\w+)}", route.path)


def _printable(text: str) -> str:
    return text.encode("ascii", "replace").decode()


def test_injection_is_stored_as_it_was_sent(scene: Scene, client: httpx.Client, attempts: Attempts) -> None:
    cards = [{"card_type": "voice", "content": {text: text}, "created_by": text} for text in INJECTIONS]
    headers = scene.headers(Tenant("injected"))
    created = client.post("/api/v1/cards/batch", json={"cards": cards}, headers=headers).json()["cards"]
    assert [card["content"] for card in created] == [card["content"] for card in cards]
    for text in INJECTIONS:
        found = client.get("/api/v1/cards", params={"created_by": text}, headers=headers).json()["cards"]
        assert [card["content"] for card in found] == [{text: text}]
        found = client.get("/api/v1/cards", params={"contains": json.dumps({text: text})}, headers=headers)
        assert [card["created_by"] for card in found.json()["cards"]] == [text]
        attempts.count("HTTP: injections stored as text", 3)


RPC_PATHS: Final = (
    "pg_sleep",
    "app.store_cards",
    "store_cards",
    "api.list_cards",
    "purge_idempotency_store",
    "set_config",
    "pg_catalog.pg_sleep",
    "list_cards()",
    "list_cards;drop table app.cards",
    'list_cards"',
    "list_cards'--",
    "LIST_CARDS",
    "list_cards ",
    "..",
    "../list_cards",
    "%00",
    "list_cards%00",
    "list_cards/..",
    "*",
)


@pytest.mark.parametrize("name", RPC_PATHS)
def test_rpc_reaches_functions_of_api_alone(
    name: str, scene: Scene, client: httpx.Client, attempts: Attempts, untouched: None
) -> None:
    for schema in ("api", "app", "pg_catalog", "public", "information_schema", "api; drop schema app"):
        headers = scene.headers(scene.ours) | {"Content-Profile": schema, "Accept-Profile": schema}
        for method in ("GET", "POST"):
            response = client.request(method, f"/rpc/{quote(name, safe='%/.')}", headers=headers)
            # A path that leads out of /rpc is no route, whatever the schema.
            status = 404 if ".." in name or schema in ("api", "public") else 406
            assert (schema, method, response.status_code) == (schema, method, status), response.text
            attempts.count("HTTP: /rpc, names of what is not in api")


def test_rpc_arguments_are_only_ever_text(scene: Scene, client: httpx.Client, attempts: Attempts) -> None:
    before = scene.fingerprint(scene.theirs)
    headers = scene.headers(scene.ours)
    for text in INJECTIONS:
        prefer = headers | {"Prefer": f"timezone={_printable(text)}"}
        for response, status in (
            (client.get("/rpc/list_cards", params={"created_by": text}, headers=headers), 200),
            (client.get("/rpc/list_cards", params={text: "1"}, headers=headers), 404),
            (client.post("/rpc/list_cards", json={"created_by": text}, headers=headers), 200),
            (client.post("/rpc/list_cards", json={text: 1}, headers=headers), 404),
            (client.post("/rpc/list_cards", params={"select": text}, json={}, headers=headers), 400),
            (client.post("/rpc/list_cards", params={"order": text}, json={}, headers=headers), 400),
            (client.post("/rpc/list_cards", params={"columns": text}, json={}, headers=headers), 200),
            (client.post("/rpc/list_cards", json={}, headers=prefer), 200),
            (client.post("/rpc/track_usage", json={"card_id": text, "workflow_id": text}, headers=headers), 400),
        ):
            assert response.status_code == status, response.text
            attempts.count("HTTP: /rpc, injections")
    assert scene.fingerprint(scene.theirs) == before


def context(gateway: Gateway, request: bytes) -> bytes:
    """Sends bytes as they are; answers all that comes back until the gateway ends the connection."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=30) as connection:
        connection.sendall(request)
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


PATHS: Final = (
    (b"/docs/../gateway/settings.py", b"404"),
    (b"/docs/../../../../etc/passwd", b"404"),
    (b"/docs/%2e%2e/%2e%2e/%2e%2e/etc/passwd", b"404"),
    (b"/docs/..%2f..%2f..%2fetc%2fpasswd", b"404"),
    (b"/docs/..\\..\\etc\\passwd", b"404"),
    (b"/docs//etc/passwd", b"404"),
    (b"/docs/%00", b"404"),
    (b"/docs/swagger-ui.css%00.js", b"404"),
    (b"/docs/~root", b"404"),
    (b"/.env", b"404"),
    (b"/.cardbase/postgres/PG_VERSION", b"404"),
    (b"/.git/config", b"404"),
    (b"/api/v1/../../metrics/../api/v1/cards", b"404"),
    (b"/api/v1/cards/../cards", b"404"),
    (b"/api/v1/%2e%2e/v1/cards", b"404"),
    (b"/API/V1/CARDS", b"404"),
    (b"/api/v1/cards;tenant=x", b"404"),
    (b"/api/v1/cards%2fbatch", b"405"),
    (b"/api/v1/cards/%2e%2e%2fbatch/usage", b"404"),
)


@pytest.mark.parametrize(("path", "status"), PATHS)
def test_path_leads_nowhere_else(path: bytes, status: bytes, scene: Scene, attempts: Attempts) -> None:
    answer = context(scene.gateway, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ", 2)[1] == status, answer
    assert b"root:" not in answer
    attempts.count("HTTP: path tricks")


SMUGGLED: Final = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
MALFORMED: Final[Mapping[str, bytes]] = {
    "two lengths": b"POST /api/v1/cards HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 40\r\n\r\n"
    + SMUGGLED,
    "length and chunks": b"POST /api/v1/cards HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks by another name": b"POST /api/v1/cards HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n"
    + SMUGGLED,
    "a negative length": b"POST /api/v1/cards HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n" + SMUGGLED,
    "a folded header": b"GET /api/v1/info HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\0\r\n\r\n",
    "a space before the colon": b"GET /api/v1/info HTTP/1.1\r\nHost: x\r\nX-Tenant-ID : x\r\n\r\n",
    "a null byte in a header": b"GET /api/v1/info HTTP/1.1\r\nHost: x\r\nX-Request-ID: a\0b\r\n\r\n",
    "a control character in a header": b"GET /api/v1/info HTTP/1.1\r\nHost: x\r\nX-Request-ID: a\x7f\r\n\r\n",
    "no such protocol": b"GET /api/v1/info HTTQ/1.1\r\n\r\n",
    "a space in the path": b"GET /api/v1/info x HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED)
def test_malformed_request_is_refused_and_nothing_behind_it_is_answered(
    request_bytes: bytes, scene: Scene, attempts: Attempts
) -> None:
    answer = context(scene.gateway, request_bytes)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"cards_api_requests_total" not in answer
    attempts.count("HTTP: malformed and smuggled requests")


@pytest.mark.parametrize("name", ["X-Request-ID", "X-Trace-ID"])
@pytest.mark.parametrize("value", [b"a b", b"\xe9", b"a\tb", b"x" * 129, b"", b"%0d%0aSet-Cookie: a=b"])
def test_header_that_is_sent_back_is_made_up_unless_it_is_harmless(
    name: str, value: bytes, scene: Scene, attempts: Attempts
) -> None:
    request = b"GET /api/v1/info HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s: %s\r\n\r\n" % (name.encode(), value)
    answer = context(scene.gateway, request)
    assert answer.startswith(b"HTTP/1.1 200 ")
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert b"\r\nset-cookie:" not in head
    assert re.search(rb"\r\n%s: [0-9a-f]{32}(\r|$)" % name.lower().encode(), head)
    attempts.count("HTTP: header injections")


def test_method_is_what_the_request_line_says(
    scene: Scene, client: httpx.Client, attempts: Attempts, untouched: None
) -> None:
    path = f"/api/v1/cards/{scene.ours.rows['card']}"
    for name in ("X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"):
        assert client.get(path, headers=scene.headers(scene.ours) | {name: "DELETE"}).status_code == 200
        assert client.post(path, headers=scene.headers(scene.ours) | {name: "DELETE"}).status_code == 405
        attempts.count("HTTP: methods overridden", 2)


# --- how much -----------------------------------------------------------------------------------------------------


def test_tenant_that_floods_with_slow_calls_does_not_starve_another(
    make_gateway: Callable[..., Gateway], database: Database, attempts: Attempts
) -> None:
    """One tenant's calls wait for a lock that is held; another's are answered meanwhile, each of them."""
    limits = {"DATABASE_POOL_MAX": "8", "TENANT_CONNECTIONS": "4", "TENANT_WAITING": "6"}
    times = {"DATABASE_ACQUIRE_TIMEOUT_MS": "60000", "DATABASE_STATEMENT_TIMEOUT_MS": "120000"}
    gateway = make_gateway(database, **limits, **times)
    flooding, other = uuid4(), uuid4()
    with gateway.client(flooding) as flood, gateway.client(other) as quiet, ThreadPoolExecutor(80) as pool:
        flood.timeout = httpx.Timeout(120)
        slow, quick = (_new_card(client) for client in (flood, quiet))
        assert flood.post(slow).status_code == quiet.post(quick).status_code == 200
        lock = f"select from app.card_usage_totals where tenant_id = '{flooding}' for update"
        with Holder(database, lock) as holder:
            answers = [pool.submit(flood.post, slow) for _ in range(60)]
            wait_until(lambda: waiting_for_locks(database) >= 2 and any(answer.done() for answer in answers), 30)
            # The flood goes on, and the other tenant is answered: tracking, reading and writing.
            for number in range(20):
                assert quiet.post(quick).status_code == 200
                assert quiet.get("/api/v1/cards").status_code == 200
                assert _create(quiet, number).status_code == 201
            assert waiting_for_locks(database) <= 4
            refused = [answer.result() for answer in answers if answer.done()]
            assert {response.status_code for response in refused} == {429}
            for response in refused:
                assert response.json()["error"]["code"] == "RATE_LIMITED"
                assert response.headers["retry-after"] == "1"
            # At work and waiting: no more than the two bounds, whichever way they came.
            assert 4 <= sum(not answer.done() for answer in answers) <= 4 + 2 * 6 + 2
            assert flood.get("/health").status_code == 200
            holder.release()
            passed = [answer.result() for answer in answers if answer.result().status_code != 429]
        assert {response.status_code for response in passed} == {200}
        count = flood.post(slow).json()["usage_count"]
        assert count == 1 + len(passed) + 1  # none of those that were let in got lost
        attempts.count("HTTP: calls of a tenant that floods", 60)


def _new_card(client: httpx.Client) -> str:
    """Creates a card; answers where its use is counted."""
    response = client.post("/api/v1/cards", json={"card_type": "voice", "content": {"name": "counted"}})
    return f"/api/v1/cards/{response.json()['card_id']}/usage"


def _create(client: httpx.Client, number: int) -> httpx.Response:
    return client.post("/api/v1/cards", json={"card_type": "voice", "content": {"number": number}})


def test_slow_requests_hold_up_nobody(scene: Scene, client: httpx.Client, attempts: Attempts) -> None:
    """Bodies that never come hold no connection to the database."""
    head = (
        f"POST /api/v1/cards HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(scene.theirs.tenant_id)}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    ).encode()
    with ExitStack() as stack:
        for _ in range(100):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", scene.gateway.port), timeout=30))
            connection.sendall(head)
            attempts.count("HTTP: bodies that never come")
        for _ in range(20):
            assert client.get("/api/v1/cards", headers=scene.headers(scene.ours)).status_code == 200
        assert client.get("/health").json()["database"] == "connected"


# --- what is told -------------------------------------------------------------------------------------------------


def test_secrets_are_never_told(make_gateway: Callable[..., Gateway], database: Database, attempts: Attempts) -> None:
    """Not in the log, in errors, in /api/v1/info and /metrics, nor in the list of processes."""
    secret = "super-secret-key-of-the-gateway-0123456789"
    sent = token(uuid4(), key=secret)
    forged = token(uuid4(), key=OTHER_SECRET)
    url = database.url("cardbase_gateway").replace("cardbase_gateway@", "cardbase_gateway:open-sesame@")
    gateway = make_gateway(
        database,
        DATABASE_URL=url,
        JWT_SECRET_KEY=secret,
        REDIS_URL="redis://:redis-password@127.0.0.1:1/0",
        RATE_LIMIT_PER_MINUTE="1000",
        LOG_LEVEL="debug",
        WORKERS="2",
    )
    told = ""
    with gateway.client() as client:
        for headers in (bearer(sent), bearer(forged), bearer("x"), {"Authorization": f"Basic {secret}"}):
            for path in (
                "/api/v1/info",
                "/health",
                "/metrics",
                "/openapi.json",
                "/api/v1/cards",
                "/rpc/nothing",
                "/nowhere",
            ):
                response = client.get(path, headers=headers)
                told += response.text + str(response.headers)
                attempts.count("HTTP: answers searched for secrets")
        told += client.post("/api/v1/cards", content=b"{", headers=bearer(sent)).text
    gateway_process = psutil.Process(gateway.process.pid)
    told += "".join(" ".join(each.cmdline()) for each in (gateway_process, *gateway_process.children(recursive=True)))
    assert gateway.stop() == 0
    told += gateway.output + gateway.log
    for word in (secret, "open-sesame", "redis-password", sent, sent.rpartition(".")[2], forged, OTHER_SECRET):
        assert word not in told


def test_wrong_secret_is_not_shown_in_the_complaint(make_gateway: Callable[..., Gateway]) -> None:
    with pytest.raises(AssertionError) as caught:
        make_gateway(DATABASE_URL="mysql://user:open-sesame@example/db")
    assert "DATABASE_URL must be a URL that begins with postgresql://" in str(caught.value)
    assert "open-sesame" not in str(caught.value)


@pytest.mark.parametrize("path", ["/docs", "/docs/start.js", "/docs/swagger-ui.css", "/docs/nothing", "/openapi.json"])
def test_documents_run_nothing_but_their_own(path: str, client: httpx.Client) -> None:
    response = client.get(path)
    assert response.status_code == (404 if path.endswith("nothing") else 200)
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "no-referrer"
    policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
    assert policy == {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "img-src": "'self' data:",
        "connect-src": "'self'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }


def test_the_documents_page_has_no_code_or_style_in_it(client: httpx.Client) -> None:
    page = client.get("/docs").text
    assert "<script>" not in page
    assert "style=" not in page


ORIGIN: Final = "https://app.example"


@pytest.mark.parametrize("path", [*sorted({route.path for route in ROUTES}), "/rpc/list_cards"])
def test_preflight_lets_the_named_origin_in_and_no_other(
    path: str, make_shared_gateway: Gateway, attempts: Attempts
) -> None:
    asked = {
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization, content-type, idempotency-key, x-tenant-id",
    }
    with make_shared_gateway.client() as client:
        allowed = client.options(path, headers=asked | {"Origin": ORIGIN})
        assert allowed.status_code == 204
        assert allowed.headers["access-control-allow-origin"] == ORIGIN
        assert "PATCH" in allowed.headers["access-control-allow-methods"]
        names = {name.strip().lower() for name in allowed.headers["access-control-allow-headers"].split(",")}
        assert {"authorization", "content-type", "idempotency-key", "x-tenant-id"} <= names
        assert "access-control-allow-credentials" not in allowed.headers
        for origin in ("https://evil.example", "https://app.example.evil.example", "http://app.example", "null"):
            refused = client.options(path, headers=asked | {"Origin": origin})
            assert refused.status_code == 400
            assert "access-control-allow-origin" not in refused.headers
            attempts.count("HTTP: origins that are not named")


def test_answers_are_readable_to_the_named_origin_alone(make_shared_gateway: Gateway) -> None:
    with make_shared_gateway.client(uuid4()) as client:
        for path, status in (("/api/v1/cards", 200), (f"/api/v1/cards/{uuid4()}", 404), ("/rpc/nothing", 404)):
            response = client.get(path, headers={"Origin": ORIGIN})
            assert (response.status_code, response.headers["access-control-allow-origin"]) == (status, ORIGIN)
            assert "X-Request-ID" in response.headers["access-control-expose-headers"]
            response = client.get(path, headers={"Origin": "https://evil.example"})
            assert "access-control-allow-origin" not in response.headers
            assert "access-control-allow-origin" not in client.get(path).headers
        varies = client.get("/rpc/list_cards", headers={"Origin": ORIGIN}).headers.get_list("vary", split_commas=True)
        assert sorted(varies) == ["Accept", "Origin", "Prefer", "Range"]


def test_without_allowed_origins_nobody_else_reads(scene: Scene, client: httpx.Client) -> None:
    response = client.get("/api/v1/info", headers={"Origin": ORIGIN})
    assert not [name for name in response.headers if name.startswith("access-control-")]


@pytest.fixture(scope="module")
def make_shared_gateway(shared_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that lets one origin in."""
    variables = {
        "DATABASE_URL": shared_database.url("cardbase_gateway"),
        "ALLOWED_ORIGINS": f"{ORIGIN}, https://b.example",
    }
    with running_gateway(tmp_path_factory.mktemp("origins"), variables) as running:
        yield running

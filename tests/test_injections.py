"""What attackers send: text that tries to be code, paths, names and malformed requests."""

import json
import re
import socket
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote

import httpx
import pytest
from msgspec import inspect
from support.attempts import Attempts
from support.gateways import Gateway
from support.scene import Scene, name_of, request_of
from support.world import Tenant

from gateway.routes import ROUTES, Route

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


@pytest.fixture
def client(scene: Scene) -> Iterator[httpx.Client]:
    """A client without credentials."""
    with scene.gateway.client() as opened:
        yield opened


@pytest.mark.parametrize("route", ROUTES, ids=name_of)
def test_text_is_only_ever_text(route: Route, scene: Scene, client: httpx.Client, attempts: Attempts) -> None:
    """In every text of body, query, path and headers: never a 5xx, and other tenants' rows don't change."""
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
def test_rpc_reaches_only_functions_of_api(
    name: str, scene: Scene, client: httpx.Client, attempts: Attempts, untouched: None
) -> None:
    for schema in ("api", "app", "pg_catalog", "public", "information_schema", "api; drop schema app"):
        headers = scene.headers(scene.ours) | {"Content-Profile": schema, "Accept-Profile": schema}
        for method in ("GET", "POST"):
            response = client.request(method, f"/rpc/{quote(name, safe='%/.')}", headers=headers)
            # A path that leads out of /rpc is not a route, whatever the schema.
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


def exchange(gateway: Gateway, request: bytes) -> bytes:
    """Sends bytes as they are. Returns everything that comes back until the gateway closes the connection."""
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
    answer = exchange(scene.gateway, b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.split(b" ", 2)[1] == status, answer
    assert b"root:" not in answer
    attempts.count("HTTP: path tricks")


SMUGGLED: Final = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
MALFORMED: Final[Mapping[str, bytes]] = {
    "two lengths": b"POST /api/v1/cards HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 40\r\n\r\n"
    + SMUGGLED,
    "length and chunks": b"POST /api/v1/cards HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks by another name": b"POST /api/v1/cards HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n"
    + SMUGGLED,
    "a negative length": b"POST /api/v1/cards HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n" + SMUGGLED,
    "a folded header": b"GET /api/v1/info HTTP/1.1\r\nHost: localhost\r\nX-A: b\r\n c\0\r\n\r\n",
    "a space before the colon": b"GET /api/v1/info HTTP/1.1\r\nHost: localhost\r\nX-Tenant-ID : x\r\n\r\n",
    "a null byte in a header": b"GET /api/v1/info HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: a\0b\r\n\r\n",
    "a control character in a header": b"GET /api/v1/info HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: a\x7f\r\n\r\n",
    "no such protocol": b"GET /api/v1/info HTTQ/1.1\r\n\r\n",
    "a space in the path": b"GET /api/v1/info x HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED)
def test_malformed_request_is_refused_and_nothing_after_it_is_served(
    request_bytes: bytes, scene: Scene, attempts: Attempts
) -> None:
    answer = exchange(scene.gateway, request_bytes)
    assert answer.startswith(b"HTTP/1.1 400 "), answer
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"cards_api_requests_total" not in answer
    attempts.count("HTTP: malformed and smuggled requests")


@pytest.mark.parametrize("name", ["X-Request-ID", "X-Trace-ID"])
@pytest.mark.parametrize("value", [b"a b", b"\xe9", b"a\tb", b"x" * 129, b"", b"%0d%0aSet-Cookie: a=b"])
def test_id_header_is_replaced_unless_it_is_harmless(name: str, value: bytes, scene: Scene, attempts: Attempts) -> None:
    request = b"GET /api/v1/info HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s: %s\r\n\r\n" % (
        name.encode(),
        value,
    )
    answer = exchange(scene.gateway, request)
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

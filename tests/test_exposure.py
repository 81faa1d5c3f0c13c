"""What attackers may exhaust, and what they may learn: limits, secrets, documents and origins."""

import secrets
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final
from uuid import UUID, uuid4

import httpx
import psutil
import pytest
from support.attempts import Attempts
from support.gateways import Gateway, running_gateway, wait_until
from support.locks import Holder, waiting_for_locks
from support.people import register
from support.scene import Scene
from support.servers import Database
from support.tokens import OTHER_SECRET, SECRET, bearer, token

from gateway.handlers.refresh_tokens import RefreshToken
from gateway.routes import ROUTES


@pytest.fixture
def client(scene: Scene) -> Iterator[httpx.Client]:
    """A client without credentials."""
    with scene.gateway.client() as opened:
        yield opened


# --- how much -----------------------------------------------------------------------------------------------------


def test_tenant_that_floods_with_slow_calls_does_not_starve_another(
    make_gateway: Callable[..., Gateway], database: Database, attempts: Attempts
) -> None:
    """One tenant's calls wait for a lock that is held; meanwhile all of another's succeed."""
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
            # The flood goes on, and the other tenant is served: tracking, reading and writing.
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
            # Running and waiting: no more than the two bounds, whether batched or alone.
            assert 4 <= sum(not answer.done() for answer in answers) <= 4 + 2 * 6 + 2
            assert flood.get("/health").status_code == 200
            holder.release()
            passed = [answer.result() for answer in answers if answer.result().status_code != 429]
        assert {response.status_code for response in passed} == {200}
        count = flood.post(slow).json()["usage_count"]
        assert count == 1 + len(passed) + 1  # none of the accepted calls got lost
        attempts.count("HTTP: calls of a tenant that floods", 60)


def test_forged_refresh_tokens_do_not_hold_up_the_tenant_they_name(
    make_gateway: Callable[..., Gateway], database: Database, attempts: Attempts
) -> None:
    """260 of them: most are refused by their network's limit, and the others take a turn of their own."""
    limits = {"DATABASE_POOL_MAX": "8", "TENANT_CONNECTIONS": "4", "TENANT_WAITING": "40"}
    times = {"DATABASE_ACQUIRE_TIMEOUT_MS": "60000", "DATABASE_STATEMENT_TIMEOUT_MS": "120000"}
    gateway = make_gateway(database, **limits, **times, JWT_SECRET_KEY=SECRET)
    owner = register(gateway)
    tenant_id, user_id = (UUID(owner["user"][name]) for name in ("tenant_id", "id"))
    with gateway.client() as stranger, gateway.client() as client, ThreadPoolExecutor(260) as pool:
        stranger.timeout = httpx.Timeout(120)
        client.headers = httpx.Headers(bearer(owner["access_token"]))
        forged = [RefreshToken(tenant_id, user_id, secrets.token_bytes(32)).text for _ in range(260)]
        with Holder(database, "lock table app.refresh_tokens in access exclusive mode") as holder:

            def send(number: int) -> httpx.Response:
                path = ("refresh", "logout")[number % 2]
                return stranger.post(f"/api/v1/auth/{path}", json={"refresh_token": forged[number]})

            answers = [pool.submit(send, number) for number in range(260)]
            wait_until(lambda: sum(answer.done() for answer in answers) == 260 - 4 - 40, 60)
            for number in range(20):
                assert client.get("/api/v1/cards").status_code == 200
                assert _create(client, number).status_code == 201
            assert waiting_for_locks(database) == 4
            holder.release()
        counted = Counter(answer.result().status_code for answer in answers)
        assert counted[429] == 216
        assert counted[401] + counted[204] == 44
        # Whoever holds a token of ours is not held up by those who forged some.
        refreshed = stranger.post("/api/v1/auth/refresh", json={"refresh_token": owner["refresh_token"]})
        assert refreshed.status_code == 200
        another = stranger.post("/api/v1/auth/refresh", json={"refresh_token": forged[0]})
        assert another.status_code == 429
        assert 1 <= int(another.headers["retry-after"]) <= 60
    attempts.count("HTTP: forged refresh tokens that name a tenant", 260)


def _new_card(client: httpx.Client) -> str:
    """Creates a card. Returns the path that counts its usage."""
    response = client.post("/api/v1/cards", json={"card_type": "voice", "content": {"name": "counted"}})
    return f"/api/v1/cards/{response.json()['card_id']}/usage"


def _create(client: httpx.Client, number: int) -> httpx.Response:
    return client.post("/api/v1/cards", json={"card_type": "voice", "content": {"number": number}})


def test_slow_requests_delay_nobody(scene: Scene, client: httpx.Client, attempts: Attempts) -> None:
    """Bodies that never arrive occupy no connection to the database."""
    head = (
        f"POST /api/v1/cards HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(scene.theirs.tenant_id)}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    ).encode()
    with ExitStack() as stack:
        for _ in range(100):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", scene.gateway.port), timeout=30))
            connection.sendall(head)
            attempts.count("HTTP: bodies that never arrive")
        for _ in range(20):
            assert client.get("/api/v1/cards", headers=scene.headers(scene.ours)).status_code == 200
        assert client.get("/health").json()["database"] == "connected"


# --- what is told -------------------------------------------------------------------------------------------------


def test_secrets_are_never_revealed(
    make_gateway: Callable[..., Gateway], database: Database, attempts: Attempts
) -> None:
    """Not in the log, in errors, in /api/v1/info or /metrics, nor in the list of processes."""
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


def test_password_in_a_wrong_setting_is_not_shown(make_gateway: Callable[..., Gateway]) -> None:
    with pytest.raises(AssertionError) as caught:
        make_gateway(DATABASE_URL="mysql://user:open-sesame@example/db")
    assert "DATABASE_URL must be a URL that begins with postgresql://" in str(caught.value)
    assert "open-sesame" not in str(caught.value)


@pytest.mark.parametrize("path", ["/docs", "/docs/start.js", "/docs/swagger-ui.css", "/docs/nothing", "/openapi.json"])
def test_documents_run_only_their_own_files(path: str, client: httpx.Client) -> None:
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
def test_preflight_allows_only_the_named_origin(path: str, gateway_with_origins: Gateway, attempts: Attempts) -> None:
    asked = {
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization, content-type, idempotency-key, x-tenant-id",
    }
    with gateway_with_origins.client() as client:
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


def test_responses_are_readable_only_to_the_named_origin(gateway_with_origins: Gateway) -> None:
    with gateway_with_origins.client(uuid4()) as client:
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
def gateway_with_origins(shared_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that allows two origins."""
    variables = {
        "DATABASE_URL": shared_database.url("cardbase_gateway"),
        "ALLOWED_ORIGINS": f"{ORIGIN}, https://b.example",
    }
    with running_gateway(tmp_path_factory.mktemp("origins"), variables) as running:
        yield running

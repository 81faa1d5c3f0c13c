"""Bodies under way: how large, for how long, and how many together."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final
from uuid import UUID, uuid4

import httpx
import pytest
from support import shapes
from support.gateways import Gateway, running_gateway, wait_until
from support.servers import Database
from support.tokens import SECRET, bearer, token
from support.wire import connected, post

AUTH: Final = "/api/v1/auth"
SIGN_IN: Final = tuple(f"{AUTH}/{name}" for name in ("register", "login", "refresh", "logout"))
CARDS: Final = "/api/v1/cards"
RPC: Final = "/rpc/create_card"
A_SENTENCE: Final = shapes.Like("a sentence", r"(?s)[A-Z].+\.")
LIMIT: Final = 16 * 1024


@pytest.fixture(scope="module")
def hasty_gateway(
    _clone: Callable[[ExitStack], Database], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway that waits only a moment for a body."""
    with ExitStack() as stack:
        variables = {
            "DATABASE_URL": _clone(stack).url("cardbase_gateway"),
            "JWT_SECRET_KEY": SECRET,
            "BODY_TIMEOUT_MS": "200",
        }
        yield stack.enter_context(running_gateway(tmp_path_factory.mktemp("hasty"), variables))


# --- how large ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", SIGN_IN)
def test_sign_in_takes_no_body_of_more_than_16_kib(people_gateway: Gateway, path: str) -> None:
    """Whoever sends it has proved nothing yet: it is refused before it is there."""
    for headers, sent in (
        ({"Content-Length": str(LIMIT + 1)}, b""),
        ({"Transfer-Encoding": "chunked"}, b"%x\r\n%b" % (LIMIT + 1, b" " * (LIMIT + 1))),
    ):
        with connected(people_gateway) as sender:
            sender.send(post(path, **headers))
            sender.send(sent)
            status, _, body = sender.answer()
        assert (status, body) == (413, shapes.api_error("PAYLOAD_TOO_LARGE", A_SENTENCE))


@pytest.mark.parametrize("path", SIGN_IN)
def test_sign_in_takes_a_body_of_16_kib(people_gateway: Gateway, path: str) -> None:
    """It is read, and refused for what is in it, if anything."""
    with people_gateway.client() as client:
        response = client.post(path, content=b'{"email": 1, "refresh_token": 1}'.ljust(LIMIT))
    assert response.status_code == 422


# --- for how long -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*SIGN_IN, CARDS, f"{CARDS}/batch", "/api/v1/integrations"])
@pytest.mark.parametrize("sent", [b"", b'{"card_type":'], ids=["nothing of it", "half of it"])
def test_body_that_is_not_there_in_time_is_408(hasty_gateway: Gateway, path: str, sent: bytes) -> None:
    headers = {"Content-Length": "1000", **bearer(token(sub=str(uuid4())))}
    with connected(hasty_gateway) as sender:
        sender.send(post(path, **headers))
        sender.send(sent)
        status, answered, body = sender.answer()
    assert (status, body) == (408, shapes.api_error("REQUEST_TIMEOUT", A_SENTENCE))
    assert answered["connection"] == "close"


def test_body_that_is_not_there_in_time_is_408_over_rpc(hasty_gateway: Gateway) -> None:
    with connected(hasty_gateway) as sender:
        sender.send(post(RPC, **{"Content-Length": "1000", **bearer(token())}))
        sender.send(b"{")
        status, answered, body = sender.answer()
    assert (status, body["code"]) == (408, "REQUEST_TIMEOUT")
    assert answered["connection"] == "close"


def test_body_in_time_is_taken_in_as_many_pieces_as_it_likes(gateway: Gateway, tenant_id: UUID) -> None:
    body = json.dumps({"card_type": "voice", "content": {}}).encode()
    with connected(gateway) as sender:
        sender.send(post(CARDS, **{"Transfer-Encoding": "chunked", "X-Tenant-ID": str(tenant_id)}))
        for byte in body:
            sender.send(b"1\r\n%c\r\n" % byte)
        sender.send(b"0\r\n\r\n")
        assert sender.answer().status == 201


# --- how many together --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [CARDS, RPC])
def test_bodies_under_way_are_bounded_and_free_their_place(
    make_gateway: Callable[..., Gateway], shared_database: Database, path: str
) -> None:
    gateway = make_gateway(shared_database, BODY_BUDGET_BYTES="100000", BODY_TIMEOUT_MS="60000")
    body = json.dumps({"card_type": "voice", "content": {"name": "x" * 40_000}}).encode()

    def create() -> httpx.Response:
        with gateway.client(uuid4()) as client:
            return client.post(path, content=body, headers={"Content-Type": "application/json"})

    with connected(gateway) as sender:
        sender.send(post(path, **{"Content-Length": "90000", "X-Tenant-ID": str(uuid4())}))
        assert create().status_code < 300
        sender.send(b" " * 80_000)
        wait_until(lambda: create().status_code == 503)
        refused = create()
        assert refused.headers["retry-after"] == "1"
        code = refused.json()["code"] if path == RPC else refused.json()["error"]["code"]
        assert code == "SERVER_BUSY"
    wait_until(lambda: create().is_success)


def test_one_tenant_leaves_room_for_the_others(
    make_gateway: Callable[..., Gateway], shared_database: Database, tenant_id: UUID
) -> None:
    """Half of all bytes are for others."""
    gateway = make_gateway(shared_database, BODY_BUDGET_BYTES="100000", MAX_BODY_BYTES="50000", BODY_TIMEOUT_MS="60000")
    body = json.dumps({"card_type": "voice", "content": {"name": "x" * 20_000}}).encode()

    def create(tenant: UUID) -> int:
        with gateway.client(tenant) as client:
            return client.post(CARDS, content=body).status_code

    with connected(gateway) as sender:
        sender.send(post(CARDS, **{"Content-Length": "50000", "X-Tenant-ID": str(tenant_id)}))
        sender.send(b" " * 40_000)
        wait_until(lambda: create(tenant_id) == 503)
        assert create(uuid4()) == 201
    wait_until(lambda: create(tenant_id) < 300)

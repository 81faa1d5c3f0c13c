"""Bodies under way: how large, for how long, and how many together."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import pytest
from support import shapes
from support.gateways import Gateway, running_gateway, wait_until
from support.servers import Database
from support.tokens import SECRET, bearer, token

AUTH: Final = "/api/v1/auth"
SIGN_IN: Final = tuple(f"{AUTH}/{name}" for name in ("register", "login", "refresh", "logout"))
CARDS: Final = "/api/v1/cards"
RPC: Final = "/rpc/create_card"
A_SENTENCE: Final = shapes.Like("a sentence", r"(?s)[A-Z].+\.")
LIMIT: Final = 16 * 1024


class Sender:
    """A client that sends a request as slowly as it likes."""

    def __init__(self, gateway: Gateway, path: str, **headers: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
        lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
        self.send("\r\n".join((*lines, "", "")).encode())

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def answer(self) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Status, headers and body of the response."""
        with self._socket.makefile("rb") as stream:
            status = int(stream.readline().split()[1])
            lines = iter(lambda: stream.readline().decode().rstrip("\r\n"), "")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
            return status, headers, json.loads(stream.read(int(headers["content-length"])))

    def close(self) -> None:
        self._socket.close()


@contextmanager
def sending(gateway: Gateway, path: str, headers: dict[str, str]) -> Iterator[Sender]:
    sender = Sender(gateway, path, **headers)
    try:
        yield sender
    finally:
        sender.close()


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
        with sending(people_gateway, path, headers) as sender:
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
    with sending(hasty_gateway, path, headers) as sender:
        sender.send(sent)
        status, answered, body = sender.answer()
    assert (status, body) == (408, shapes.api_error("REQUEST_TIMEOUT", A_SENTENCE))
    assert answered["connection"] == "close"


def test_body_that_is_not_there_in_time_is_408_over_rpc(hasty_gateway: Gateway) -> None:
    with sending(hasty_gateway, RPC, {"Content-Length": "1000", **bearer(token())}) as sender:
        sender.send(b"{")
        status, answered, body = sender.answer()
    assert (status, body["code"]) == (408, "REQUEST_TIMEOUT")
    assert answered["connection"] == "close"


def test_body_in_time_is_taken_in_as_many_pieces_as_it_likes(gateway: Gateway, tenant_id: UUID) -> None:
    body = json.dumps({"card_type": "voice", "content": {}}).encode()
    with sending(gateway, CARDS, {"Transfer-Encoding": "chunked", "X-Tenant-ID": str(tenant_id)}) as sender:
        for byte in body:
            sender.send(b"1\r\n%c\r\n" % byte)
        sender.send(b"0\r\n\r\n")
        assert sender.answer()[0] == 201


# --- how many together --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [CARDS, RPC])
def test_bodies_under_way_are_bounded_and_free_their_place(
    make_gateway: Callable[..., Gateway], shared_database: Database, path: str
) -> None:
    gateway = make_gateway(shared_database, BODY_BUDGET_BYTES="100000", BODY_TIMEOUT_MS="60000")
    body = json.dumps({"card_type": "voice", "content": {"name": "x" * 40_000}}).encode()

    def post() -> httpx.Response:
        with gateway.client(uuid4()) as client:
            return client.post(path, content=body, headers={"Content-Type": "application/json"})

    with sending(gateway, path, {"Content-Length": "90000", "X-Tenant-ID": str(uuid4())}) as sender:
        assert post().status_code < 300
        sender.send(b" " * 80_000)
        wait_until(lambda: post().status_code == 503)
        refused = post()
        assert refused.headers["retry-after"] == "1"
        code = refused.json()["code"] if path == RPC else refused.json()["error"]["code"]
        assert code == "SERVER_BUSY"
    wait_until(lambda: post().is_success)


def test_one_tenant_leaves_room_for_the_others(
    make_gateway: Callable[..., Gateway], shared_database: Database, tenant_id: UUID
) -> None:
    """Half of all bytes are for others."""
    gateway = make_gateway(shared_database, BODY_BUDGET_BYTES="100000", MAX_BODY_BYTES="50000", BODY_TIMEOUT_MS="60000")
    body = json.dumps({"card_type": "voice", "content": {"name": "x" * 20_000}}).encode()

    def post(tenant: UUID) -> int:
        with gateway.client(tenant) as client:
            return client.post(CARDS, content=body).status_code

    with sending(gateway, CARDS, {"Content-Length": "50000", "X-Tenant-ID": str(tenant_id)}) as sender:
        sender.send(b" " * 40_000)
        wait_until(lambda: post(tenant_id) == 503)
        assert post(uuid4()) == 201
    wait_until(lambda: post(tenant_id) < 300)

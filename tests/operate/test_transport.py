"""What arrives before a request is one: its line, headers and trailers are bounded while they arrive."""

import json
from collections.abc import Callable
from typing import Final
from uuid import UUID

import httpx
import psutil
import pytest
from support import shapes
from support.gateways import Gateway, wait_until
from support.servers import Database
from support.wire import connected

LIMIT: Final = 32_768
A_SENTENCE: Final = shapes.Like("a sentence", r"(?s)[A-Z].+\.")
START: Final = b"GET /ready HTTP/1.1\r\nHost: 127.0.0.1\r\n"
CHUNKED: Final = (
    b"POST /api/v1/cards HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Tenant-ID: 018f2f6e-7c1a-7000-8000-000000000001\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


def padded(start: bytes, size: int) -> bytes:
    """A request line and headers of this many bytes in all, the last of them a long one."""
    return start + b"X: " + b"x" * (size - len(start) - len(b"X: \r\n\r\n")) + b"\r\n\r\n"


TOO_LARGE: Final = {
    "one header": padded(START, LIMIT + 1),
    "one header that does not end": START + b"X: " + b"x" * LIMIT,
    "a name that does not end": START + b"x" * LIMIT,
    "an address": b"GET /" + b"x" * LIMIT + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "an address that does not end": b"GET /" + b"x" * LIMIT,
    "many headers": START + b"".join(b"X-%d: %b\r\n" % (number, b"x" * 1000) for number in range(50)) + b"\r\n",
    "101 headers": START + b"X: x\r\n" * 100 + b"\r\n",
    "empty lines": b"\r\n" * LIMIT,
}


@pytest.mark.parametrize("data", TOO_LARGE.values(), ids=TOO_LARGE)
@pytest.mark.parametrize("size", [1_000_000, 1000], ids=["at once", "in pieces"])
def test_headers_beyond_the_limit_are_431(gateway: Gateway, data: bytes, size: int) -> None:
    with connected(gateway) as connection:
        connection.send(data, size=size)
        assert connection.answer()[::2] == (431, shapes.api_error("HEADERS_TOO_LARGE", A_SENTENCE))


@pytest.mark.parametrize(
    "data", [padded(START, LIMIT), START + b"X: x\r\n" * 99 + b"\r\n"], ids=["32,768 bytes", "100 headers"]
)
def test_headers_within_the_limit_are_taken(gateway: Gateway, data: bytes) -> None:
    with connected(gateway) as connection:
        for _ in range(3):
            connection.send(data)
            assert connection.answer().status == 200
        connection.send(data * 3)  # pipelined
        assert [connection.answer().status for _ in range(3)] == [200] * 3


def test_the_limit_counts_each_request_by_itself(gateway: Gateway) -> None:
    with connected(gateway) as connection:
        connection.send(padded(START, LIMIT) + padded(START, LIMIT + 1))
        assert [connection.answer().status for _ in range(2)] == [200, 431]


@pytest.mark.parametrize(
    "trailers",
    [
        b"X: " + b"x" * LIMIT + b"\r\n\r\n",
        b"X: " + b"x" * 300_000,
        b"X: x\r\n" * 100 + b"\r\n",
    ],
    ids=["one", "one that does not end", "too many"],
)
@pytest.mark.parametrize("size", [1_000_000, 1000], ids=["at once", "in pieces"])
def test_trailers_beyond_the_limit_are_431(gateway: Gateway, trailers: bytes, size: int) -> None:
    data = CHUNKED + b"2\r\n{}\r\n0\r\n" + trailers
    with connected(gateway) as connection:
        connection.send(data, size=size)
        assert connection.answer()[::2] == (431, shapes.api_error("HEADERS_TOO_LARGE", A_SENTENCE))
        assert connection.is_at_end


def test_an_endless_chunk_extension_is_431(gateway: Gateway) -> None:
    with connected(gateway) as connection:
        connection.send(CHUNKED + b"2;")
        connection.send(b"x" * 300_000)
        assert connection.answer()[::2] == (431, shapes.api_error("HEADERS_TOO_LARGE", A_SENTENCE))


def test_trailers_are_no_headers(gateway: Gateway) -> None:
    """A proxy has not seen them when it decided by the headers. The next request on the connection is not affected."""
    with connected(gateway) as connection:
        connection.send(CHUNKED + b"2\r\n{}\r\n0\r\nX-Tenant-ID: nonsense\r\n\r\n" + START + b"\r\n")
        status, _, body = connection.answer()
        assert (status, body["error"]["details"][0]["field"]) == (422, "card_type")
        assert connection.answer().status == 200


def test_a_limit_of_ones_own(make_gateway: Callable[..., Gateway], shared_database: Database) -> None:
    gateway = make_gateway(shared_database, MAX_HEADER_BYTES="2000", WORKERS="2")
    for size, status in ((2000, 200), (2001, 431)):
        with connected(gateway) as connection:
            connection.send(padded(START, size))
            assert connection.answer().status == status


def test_a_refusal_is_logged_and_counted_like_any_other(gateway: Gateway) -> None:
    with connected(gateway) as connection:
        connection.send(TOO_LARGE["one header that does not end"])
        body = connection.answer().body
    request_id = body["error"]["request_id"]
    wait_until(lambda: request_id in gateway.log)
    [line] = [line for line in map(json.loads, gateway.log.splitlines()) if line.get("request_id") == request_id]
    assert (line["status"], line["code"], line["route"]) == (431, "HEADERS_TOO_LARGE", "none")


def test_headers_that_are_not_there_in_time_are_408(
    make_gateway: Callable[..., Gateway], shared_database: Database
) -> None:
    gateway = make_gateway(shared_database, BODY_TIMEOUT_MS="200")
    for data in (START, b"G", START + b"\r\n" + START):
        with connected(gateway) as connection:
            connection.send(data)
            if data.count(b"\r\n\r\n"):
                assert connection.answer().status == 200
            assert connection.answer()[::2] == (408, shapes.api_error("REQUEST_TIMEOUT", A_SENTENCE))
            assert connection.is_at_end


def test_a_refused_request_leaves_earlier_ones_on_its_connection_alone(
    make_gateway: Callable[..., Gateway], database: Database, tenant_id: UUID
) -> None:
    """They are answered, and the connection ends."""
    gateway = make_gateway(database)
    path = f"/api/v1/cards/{tenant_id}".encode()
    head = b"GET %b HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Tenant-ID: %b\r\n\r\n" % (path, str(tenant_id).encode())
    with connected(gateway) as connection:
        connection.send(head + START + b"X: " + b"x" * 300_000)
        assert connection.answer().status == 404
        assert connection.is_at_end


def test_a_client_may_send_and_send_and_fills_no_memory(gateway: Gateway, client: httpx.Client) -> None:
    process = psutil.Process(gateway.process.pid)
    before = process.memory_info().rss
    with connected(gateway) as connection:
        connection.send(START)
        connection.send(b"X: " + b"x" * LIMIT)
        assert connection.answer().status == 431
        with pytest.raises(OSError, match=r"reset|closed|pipe"):  # soon after that
            connection.send_on()
    assert process.memory_info().rss - before < 16 * 1_048_576
    assert client.get("/api/v1/cards").status_code == 200

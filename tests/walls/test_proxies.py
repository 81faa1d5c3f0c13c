"""Whose address a request comes from, behind proxies."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Final
from uuid import uuid4

import pytest
from support.gateways import Gateway, run_cardbase, running_gateway, wait_until
from support.people import AUTH, PASSWORD, new_email
from support.servers import Database, limit_registrations
from support.tokens import SECRET


@pytest.fixture(scope="module")
def proxied_gateway(
    _clone: Callable[[ExitStack], Database], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway behind proxies."""
    with ExitStack() as stack:
        database = _clone(stack)
        limit_registrations(database, 3)
        variables = {
            "DATABASE_URL": database.url("cardbase_gateway"),
            "JWT_SECRET_KEY": SECRET,
            "TRUSTED_PROXIES": "127.0.0.1, 10.0.0.0/8, 2001:db8:1::/48",
        }
        yield stack.enter_context(running_gateway(tmp_path_factory.mktemp("proxied"), variables))


def logged_client(gateway: Gateway, *forwarded: str) -> str:
    """The client's address in the log line of a request with these X-Forwarded-For headers."""
    request_id = uuid4().hex
    headers = [("X-Request-ID", request_id), *(("X-Forwarded-For", each) for each in forwarded)]
    with gateway.client() as client:
        client.get("/api/v1/info", headers=headers)
    wait_until(lambda: request_id in gateway.log)
    [line] = [line for line in map(json.loads, gateway.log.splitlines()) if line.get("request_id") == request_id]
    return str(line["client"])


CLIENTS: Final = [
    ([], "127.0.0.1"),
    (["203.0.113.7"], "203.0.113.7"),
    (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
    (["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
    (["198.51.100.1, 203.0.113.7, 10.1.2.3, 10.255.0.1"], "203.0.113.7"),
    (["203.0.113.7, 2001:db8:1::5"], "203.0.113.7"),
    (["203.0.113.7, ::ffff:10.1.2.3"], "203.0.113.7"),
    (["10.1.2.3, 203.0.113.7, 10.1.2.4"], "203.0.113.7"),
    (["203.0.113.7:5000, [2001:db8:1::5]:443"], "203.0.113.7"),
    (["2001:db8:2::1"], "2001:db8:2::1"),
    (["10.1.2.3, 10.1.2.4"], "10.1.2.3"),
]


@pytest.mark.parametrize(("forwarded", "client"), CLIENTS)
def test_the_client_is_the_rightmost_that_is_no_proxy(
    proxied_gateway: Gateway, forwarded: list[str], client: str
) -> None:
    assert logged_client(proxied_gateway, *forwarded) == client


def test_without_proxies_the_header_counts_for_nothing(gateway: Gateway) -> None:
    assert logged_client(gateway, "203.0.113.7") == "127.0.0.1"


def test_one_client_does_not_use_up_the_sign_ins_of_another(proxied_gateway: Gateway) -> None:
    def register(address: str) -> int:
        body = {"email": new_email(), "password": PASSWORD}
        with proxied_gateway.client() as client:
            # What the client itself claims is on the left.
            headers = {"X-Forwarded-For": f"198.51.100.{uuid4().int % 256}, {address}"}
            return client.post(f"{AUTH}/register", json=body, headers=headers).status_code

    assert [register("203.0.113.7") for _ in range(4)] == [201, 201, 201, 429]
    assert register("203.0.113.8") == 201


@pytest.mark.parametrize("value", ["10.1.2.3/8", "*", "proxy.example", "10.0.0.0/33"])
def test_a_wrong_network_stops_the_start(
    shared_database: Database, tmp_path_factory: pytest.TempPathFactory, value: str
) -> None:
    done = run_cardbase(
        "serve",
        folder=tmp_path_factory.mktemp("stopped"),
        DATABASE_URL=shared_database.url("cardbase_gateway"),
        TRUSTED_PROXIES=f"127.0.0.1,{value}",
        PORT="0",
    )
    complaint = f"TRUSTED_PROXIES must be networks such as 10.1.0.0/16, comma-separated, not {value!r}"
    assert (done.returncode, done.stderr) == (2, f"cardbase: {complaint}\n")

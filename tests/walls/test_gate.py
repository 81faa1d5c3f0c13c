"""Which hosts requests may be for."""

from collections.abc import Callable
from typing import Final

import pytest
from support import shapes
from support.gateways import Gateway, run_cardbase
from support.servers import Database
from support.tokens import SECRET
from support.wire import Answer, connected

from gateway.settings import load_settings
from gateway.walls.gate import is_served, served_hosts

A_SENTENCE: Final = shapes.Like("a sentence", r"(?s)[A-Z].+\.")
TENANT: Final = "X-Tenant-ID: 018f2f6e-7c1a-7000-8000-000000000001"


def ask(gateway: Gateway, *lines: str) -> Answer:
    """The response to a request of these lines."""
    with connected(gateway) as connection:
        connection.send("\r\n".join((*lines, "", "")).encode())
        return connection.answer()


LOOPBACK: Final = ("localhost", "127.0.0.1", "127.0.0.53", "[::1]", "[0:0:0:0:0:0:0:1]")


@pytest.mark.parametrize("host", [*LOOPBACK, "LOCALHOST", "localhost.", "localhost:1", "127.0.0.1:80", "[::1]:8002"])
def test_while_the_tenant_header_is_trusted_loopback_names_are_served(gateway: Gateway, host: str) -> None:
    assert ask(gateway, "GET /api/v1/cards HTTP/1.1", f"Host: {host}", TENANT).status == 200


OTHERS: Final = (
    *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "evil-localhost", "10.0.0.1", "0.0.0.0"),
    *("2130706433", "localhost..", "", "localhost@evil.example", "evil.example:8002", "[::1", "localhost:x", "[::2]"),
)


@pytest.mark.parametrize("host", OTHERS)
def test_while_the_tenant_header_is_trusted_no_other_host_is_served(gateway: Gateway, host: str) -> None:
    """Else any web page could read any tenant: its own name, made to resolve to 127.0.0.1, is no other origin."""
    for path in ("/api/v1/cards", "/docs", "/api/v1/info", "/api/v1/events", "/nothing"):
        answer = ask(gateway, f"GET {path} HTTP/1.1", f"Host: {host}", TENANT)
        assert answer[::2] == (421, shapes.api_error("MISDIRECTED_REQUEST", A_SENTENCE))
    answer = ask(gateway, "GET /rpc/list_cards HTTP/1.1", f"Host: {host}", TENANT)
    assert (answer.status, answer.body["code"]) == (421, "MISDIRECTED_REQUEST")


@pytest.mark.parametrize("path", ["/health", "/ready"])
def test_probes_may_use_any_name(gateway: Gateway, path: str) -> None:
    assert ask(gateway, f"GET {path} HTTP/1.1", "Host: 10.1.2.3:8002").status == 200


def test_prometheus_may_use_any_name(gateway: Gateway) -> None:
    with gateway.client() as client:
        assert client.get("/metrics", headers={"Host": "gateway:8002"}).status_code == 200


@pytest.mark.parametrize(
    ("target", "host", "status"),
    [
        ("http://localhost/api/v1/cards", "evil.example", 200),
        ("http://[::1]:8002/api/v1/cards", "evil.example", 200),
        ("http://evil.example/api/v1/cards", "localhost", 421),
        ("http://localhost@evil.example/api/v1/cards", "localhost", 421),
        ("HTTP://LOCALHOST:1/api/v1/cards", "localhost", 200),
    ],
)
def test_the_host_of_the_target_counts(gateway: Gateway, target: str, host: str, status: int) -> None:
    assert ask(gateway, f"GET {target} HTTP/1.1", f"Host: {host}", TENANT).status == status


@pytest.mark.parametrize("target", ["/api/v1/cards", "/health", "http://localhost/api/v1/cards"])
def test_http_1_1_needs_one_host(gateway: Gateway, target: str) -> None:
    for lines in ((), ("Host: localhost", "Host: localhost"), ("Host: localhost", "Host: evil.example")):
        answer = ask(gateway, f"GET {target} HTTP/1.1", TENANT, *lines)
        assert answer[::2] == (400, shapes.api_error("BAD_REQUEST", A_SENTENCE))


def test_http_1_0_needs_none(gateway: Gateway) -> None:
    assert ask(gateway, "GET /health HTTP/1.0").status == 200
    assert ask(gateway, "GET /api/v1/cards HTTP/1.0", TENANT).status == 421
    assert ask(gateway, "GET /api/v1/cards HTTP/1.0", TENANT, "Host: localhost").status == 200


def test_a_host_that_a_proxy_reports_counts_for_nothing(gateway: Gateway) -> None:
    lines = ("Host: evil.example", "X-Forwarded-Host: localhost", "Forwarded: host=localhost", TENANT)
    assert ask(gateway, "GET /api/v1/cards HTTP/1.1", *lines).status == 421


@pytest.mark.parametrize(
    ("variables", "served", "refused"),
    [
        ({"JWT_SECRET_KEY": SECRET}, ["evil.example", "", "a b"], []),
        ({"HOST": "10.1.2.3"}, ["10.1.2.3", "localhost"], ["10.1.2.4", "api.example"]),
        ({"HOST": "Box.Local"}, ["box.local", "localhost"], ["local"]),
        ({"ALLOWED_HOSTS": "api.example, [::2]"}, ["API.example.:443", "[0::2]"], ["localhost", "x.api.example"]),
        ({"ALLOWED_HOSTS": "*.example"}, ["a.example", "b.a.example"], ["example", "xexample", "a.example.evil"]),
        ({"ALLOWED_HOSTS": "*"}, ["evil.example"], []),
        ({"ALLOWED_HOSTS": "api.example", "JWT_SECRET_KEY": SECRET}, ["api.example"], ["evil.example"]),
    ],
)
def test_settings_say_which_hosts_are_served(variables: dict[str, str], served: list[str], refused: list[str]) -> None:
    hosts = served_hosts(load_settings(variables))
    assert {host: is_served(hosts, host.encode()) for host in (*served, *refused)} == {
        **dict.fromkeys(served, True),
        **dict.fromkeys(refused, False),
    }


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("value", ["https://api.example", "api.example/path", "a b", "a*.example"])
def test_a_wrong_host_stops_the_start(
    shared_database: Database, tmp_path_factory: pytest.TempPathFactory, value: str, workers: str
) -> None:
    done = run_cardbase(
        "serve",
        folder=tmp_path_factory.mktemp("stopped"),
        DATABASE_URL=shared_database.url("cardbase_gateway"),
        ALLOWED_HOSTS=f"localhost,{value}",
        WORKERS=workers,
        PORT="0",
    )
    complaint = f"ALLOWED_HOSTS must be host names such as api.example.com, comma-separated, not {value!r}"
    assert (done.returncode, done.stderr) == (2, f"cardbase: {complaint}\n")


def test_allowed_hosts_are_all_there_are(make_gateway: Callable[..., Gateway], shared_database: Database) -> None:
    gateway = make_gateway(shared_database, ALLOWED_HOSTS="api.example,127.0.0.1")
    assert ask(gateway, "GET /api/v1/cards HTTP/1.1", "Host: api.example", TENANT).status == 200
    assert ask(gateway, "GET /api/v1/cards HTTP/1.1", "Host: localhost", TENANT).status == 421

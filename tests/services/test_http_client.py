"""HTTP to addresses that tenants choose: which of them are allowed, and how responses are handled."""

import asyncio
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.receivers import LOOPBACK, Receiver, receiving, silence

from gateway.services import http_client
from gateway.services.http_client import AddressRefused, HttpClient, SendFailed, is_public
from gateway.settings import SettingsError, load_settings


def guard(**variables: str) -> HttpClient:
    return HttpClient(load_settings(variables))


# --- which addresses ------------------------------------------------------------------------------------------

PUBLIC: Final = (
    "1.1.1.1",
    "8.8.8.8",
    "93.184.215.14",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.0.1.0",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450:4001:80b::200e",
    "::ffff:1.1.1.1",
    "64:ff9b::1.1.1.1",
)
NOT_PUBLIC: Final = {
    "this network": ("0.0.0.0", "0.1.2.3", "::"),
    "loopback": ("127.0.0.1", "127.0.0.2", "127.255.255.254", "::1"),
    "private": (
        "10.0.0.1",
        "10.255.255.255",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "fc00::1",
        "fd00:ec2::254",
    ),
    "link-local": ("169.254.0.1", "169.254.169.254", "fe80::1", "fe80::1%1", "febf::1"),
    "site-local": ("fec0::1", "feff::1"),
    "carrier-grade NAT": ("100.64.0.1", "100.100.100.200", "100.127.255.255"),
    "metadata at a public address": ("168.63.129.16", "192.0.0.192"),
    "IETF assignments": ("192.0.0.1", "192.0.0.170", "192.88.99.1", "2001:1::1", "2001:20::1"),
    "documentation": ("192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"),
    "benchmarks": ("198.18.0.1", "198.19.255.255", "2001:2::1"),
    "multicast": ("224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"),
    "reserved": ("240.0.0.1", "255.255.255.254", "255.255.255.255", "100::1", "5f00::1", "4000::1", "::1:2:3"),
    "IPv4-mapped": ("::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:0"),
    "IPv4-compatible": ("::127.0.0.1", "::10.0.0.1", "::1.1.1.1"),
    "IPv4-translated": ("::ffff:0:127.0.0.1", "::ffff:0:1.1.1.1"),
    "NAT64": ("64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "64:ff9b:1::8.8.8.8"),
    "6to4": ("2002:7f00:1::", "2002:a00:1::1", "2002:a9fe:a9fe::", "2002:808:808::"),
    "Teredo": ("2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:0:7f00:1::"),
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("kind", NOT_PUBLIC)
def test_other_addresses_are_refused(kind: str) -> None:
    assert [address for address in NOT_PUBLIC[kind] if is_public(ip_address(address))] == []


def test_configured_networks_are_allowed_and_their_neighbours_refused() -> None:
    allowing = guard(OUTGOING_ALLOWED_NETWORKS="10.1.0.0/16, fd00:1::/32")
    allowed = ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00:1::5", "1.1.1.1")
    refused = ("10.2.0.1", "127.0.0.1", "::ffff:10.2.0.1", "fd00:2::5", "2002:a01:203::")
    assert [address for address in allowed if not allowing.is_allowed(ip_address(address))] == []
    assert [address for address in refused if allowing.is_allowed(ip_address(address))] == []


@pytest.mark.parametrize("networks", ["10.0.0.1/8", "inside", "10.0.0.0/33"])
def test_invalid_networks_stop_the_start(networks: str) -> None:
    with pytest.raises(SettingsError, match=rf"^OUTGOING_ALLOWED_NETWORKS: .*{networks}"):
        guard(OUTGOING_ALLOWED_NETWORKS=networks)


# --- which URLs -----------------------------------------------------------------------------------------------

NOT_A_URL: Final = "Expected a URL."
SCHEME: Final = "Expected a URL that begins with https:// or http://."
USER: Final = "Expected a URL without a user and password: put them in separate settings."
PORT: Final = "Expected port 80, 443, or one from 1024 to 65535."
HOST: Final = "Expected a URL with a host name."
INSIDE: Final = "Expected a public address."
SIZE: Final = "Expected a URL of at most 2,048 characters."
REFUSED_URLS: Final[Mapping[Any, str]] = {
    None: SIZE,
    5: SIZE,
    "https://a.example/" + "x" * 2048: SIZE,
    "": SCHEME,
    "hook": SCHEME,
    "//a.example": SCHEME,
    "https:///hook": SCHEME,
    "ftp://a.example": SCHEME,
    "file:///etc/passwd": SCHEME,
    "gopher://a.example": SCHEME,
    "unix:///run/docker.sock": SCHEME,
    "https://a.example:x/": NOT_A_URL,
    "https://a.example:65536/": PORT,
    "https://a.example/\n": NOT_A_URL,
    "https://[::1/": NOT_A_URL,
    "https://user:password@a.example": USER,
    "https://a.example@127.0.0.1": USER,
    "https://1.1.1.1\\@127.0.0.1/": USER,
    "http://a.example:0": PORT,
    "http://a.example:22": PORT,
    "http://a.example:25": PORT,
    "https://a..example": HOST,
    "https://.example": HOST,
    "https://a b.example": HOST,
    "https://a%00.example": HOST,
    "https://" + "a" * 64 + ".example": HOST,
    "http://127.0.0.1": INSIDE,
    "http://127.0.0.1:8080": INSIDE,
    "http://127.1": INSIDE,
    "http://2130706433": INSIDE,
    "http://0x7f000001": INSIDE,
    "http://0x7F.0.0.1": INSIDE,
    "http://017700000001": INSIDE,
    "http://0177.1": INSIDE,
    "http://0": INSIDE,
    "http://0xa9fea9fe/latest/meta-data": INSIDE,
    "http://127。0。0。1": INSIDE,
    "http://[::]": INSIDE,
    "http://[::1]": INSIDE,
    "http://[0:0:0:0:0:0:0:1]:8080": INSIDE,
    "http://[::ffff:127.0.0.1]": INSIDE,
    "http://[::ffff:7f00:1]": INSIDE,
    "http://[64:ff9b::7f00:1]": INSIDE,
    "http://[2002:7f00:1::]": INSIDE,
    "http://[fe80::1%251]": INSIDE,
    "http://0177.0.0.1": NOT_A_URL,
    "http://999.0.0.1": NOT_A_URL,
    "http://①②⑦.0.0.1": NOT_A_URL,
}


@pytest.mark.parametrize(("url", "message"), REFUSED_URLS.items(), ids=lambda text: str(text)[:40])
def test_urls_that_are_refused_at_sight(url: Any, message: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        guard().check(url)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example",
        "HTTPS://A.example.:8443/hook?key=value#part",
        "http://a.example:80/",
        "https://bücher.example/ä",
        "https://1.1.1.1/hook",
        "https://[2606:4700::1111]:1024/hook",
        "https://under_score.example",
    ],
)
def test_urls_that_are_accepted(url: str) -> None:
    assert str(guard().check(url)) == str(httpx.URL(url))


def test_in_production_only_https_is_allowed() -> None:
    guard(ENVIRONMENT="Production").check("https://a.example")
    with pytest.raises(AddressRefused, match=r"begins with https://\.$"):
        guard(ENVIRONMENT="production").check("http://a.example")


# --- where names lead -----------------------------------------------------------------------------------------


@dataclass
class Names:
    """What names resolve to, one answer after the other, and then always the last; other names resolve normally."""

    answers: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def set(self, name: str, *answers: list[str]) -> None:
        self.answers[name] = list(answers)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Replaces the name server."""
    made = Names()
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host not in made.answers or options.get("flags"):
            return resolve(host, port, *arguments, **options)
        made.asked.append(host)
        answers = made.answers[host]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if not answer:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in answer
        ]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return made


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "127.0.0.1.", "0x7f000001.", "ip6-localhost"])
async def test_names_of_this_machine_are_refused(receiver: Receiver, host: str) -> None:
    with pytest.raises((AddressRefused, SendFailed)):
        await guard().send("POST", receiver.url(host=host), {}, b"{}")
    assert receiver.requests == []


@pytest.mark.parametrize(
    "addresses", [*NOT_PUBLIC.values(), ("1.1.1.1", "127.0.0.1"), ("127.0.0.1", "1.1.1.1")], ids=str
)
async def test_names_that_resolve_inside_are_refused(
    names: Names, receiver: Receiver, addresses: tuple[str, ...]
) -> None:
    """One address that is not public among several is enough."""
    names.set("inside.example", list(addresses))
    with pytest.raises(AddressRefused) as refused:
        await guard().send("POST", receiver.url(host="inside.example"), {}, b"{}")
    assert str(refused.value) == "The host's name has to resolve to public addresses only."
    assert receiver.requests == []


async def test_a_name_is_resolved_once_and_that_address_used(names: Names) -> None:
    """127.0.0.2 stands for the outside, 127.0.0.1 for the inside, to which the name resolves the second time."""
    async with AsyncExitStack() as stack:
        outside = await stack.enter_async_context(receiving(host="127.0.0.2"))
        inside = await stack.enter_async_context(receiving(host="127.0.0.1", port=outside.port))
        sender = guard(OUTGOING_ALLOWED_NETWORKS="127.0.0.2/32")
        names.set("rebinding.example", ["127.0.0.2"], ["127.0.0.1"])
        answer = await sender.send("GET", outside.url(host="rebinding.example"), {})
        assert (answer.status, names.asked) == (204, ["rebinding.example"])
        assert [request.headers["host"] for request in outside.requests] == [f"rebinding.example:{outside.port}"]
        with pytest.raises(AddressRefused):
            await sender.send("GET", outside.url(host="rebinding.example"), {})
        assert (len(outside.requests), len(inside.requests), len(names.asked)) == (1, 0, 2)


async def test_after_an_address_that_refuses_the_connection_the_next_is_tried(names: Names, receiver: Receiver) -> None:
    names.set("two.example", ["127.0.0.9", "127.0.0.1"])
    answer = await guard(**LOOPBACK).send("GET", receiver.url(host="two.example"), {})
    assert (answer.status, len(receiver.requests)) == (204, 1)


async def test_a_name_without_an_address_may_have_one_later(names: Names) -> None:
    names.set("none.example", [])
    with pytest.raises(SendFailed, match=r"^The host's name can't be resolved\.$"):
        await guard().send("GET", "https://none.example", {})


async def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url(""))
        await guard(**LOOPBACK).send("GET", receiver.url(), {})
        assert (len(receiver.requests), proxy.requests) == (1, [])


# --- what answers ---------------------------------------------------------------------------------------------


async def endless_body(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        await writer.drain()


async def endless_headers(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not writer.is_closing():
        writer.write(b"X-More: " + b"x" * 8000 + b"\r\n")
        await writer.drain()


async def endless_interim_answers(writer: asyncio.StreamWriter) -> None:
    while not writer.is_closing():
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.001)


async def half_a_line(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 2")
    await writer.drain()


@pytest.mark.parametrize(
    "answer", [endless_body, b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx"], ids=["endless", "oversize"]
)
async def test_a_response_body_is_not_read(answer: Any) -> None:
    async with receiving(answer) as receiver:
        assert (await guard(**LOOPBACK).send("POST", receiver.url(), {}, b"{}")).status == 200


@pytest.mark.parametrize("answer", [silence, half_a_line, endless_interim_answers])
async def test_a_response_that_is_late_is_a_failure(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_client, "TOTAL_SECONDS", 0.2)
    async with receiving(answer) as receiver:
        with pytest.raises(SendFailed, match="no response within"):
            await guard(**LOOPBACK).send("POST", receiver.url(), {}, b"{}")


@pytest.mark.parametrize("answer", [endless_headers, b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b""])
async def test_a_response_that_is_not_http_is_a_failure(answer: Any) -> None:
    async with receiving(answer) as receiver:
        with pytest.raises(SendFailed, match=r"^The response was not HTTP\.$"):
            await guard(**LOOPBACK).send("POST", receiver.url(), {}, b"{}")


async def test_a_closed_port_is_a_failure(receiver: Receiver) -> None:
    async with receiving() as gone:
        pass
    with pytest.raises(SendFailed, match=r"^The connection failed or was lost\.$"):
        await guard(**LOOPBACK).send("POST", gone.url(), {}, b"{}")


@dataclass(frozen=True)
class Authority:
    """A self-signed certificate of receiver.example, and the names that clients requested from its server."""

    file: Path
    context: ssl.SSLContext
    asked: list[str]


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "receiver.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("receiver.example")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "certificate.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    with_key = tmp_path / "key.pem"
    with_key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    asked: list[str] = []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file, with_key)
    context.sni_callback = lambda _, wanted, __: asked.append(wanted)
    http_client.tls_context.cache_clear()
    yield Authority(file, context, asked)
    http_client.tls_context.cache_clear()


async def test_tls_verifies_the_name_although_the_connection_goes_to_an_address(
    authority: Authority, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = guard(ENVIRONMENT="production", **LOOPBACK)
    names.set("receiver.example", ["127.0.0.1"])
    names.set("other.example", ["127.0.0.1"])
    async with receiving(tls=authority.context) as receiver:
        with pytest.raises(SendFailed, match=r"^The certificate can't be verified: self-signed certificate\.$"):
            await sender.send("GET", receiver.url(host="receiver.example", scheme="https"), {})

        http_client.tls_context.cache_clear()
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        assert (await sender.send("GET", receiver.url(host="receiver.example", scheme="https"), {})).status == 204
        with pytest.raises(SendFailed, match=r"not valid for 'other\.example'"):
            await sender.send("GET", receiver.url(host="other.example", scheme="https"), {})
        assert authority.asked == ["receiver.example", "receiver.example", "other.example"]
        assert len(receiver.requests) == 1

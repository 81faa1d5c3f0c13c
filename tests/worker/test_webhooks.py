"""Jobs that ask services outside: webhooks are signed, the network inside can't be reached, no secret gets out."""

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final, cast
from uuid import UUID, uuid4

import asyncpg
import httpx
import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from support.gateways import Gateway
from support.receivers import NO_CONTENT, Received, Receiver, receiving
from support.servers import Database
from support.tokens import ENCRYPTION_KEY, OTHER_SECRET, bearer, token

from gateway.identity import Identity
from gateway.services import http_client as outgoing
from gateway.services.encryption import Encryptor
from gateway.services.http_client import AddressRefused, HttpClient, SendFailed, is_public
from gateway.services.webhook_signature import sign, signing_key
from gateway.settings import SettingsError, load_settings
from gateway.worker.jobs import JobContext, JobError, PermanentError, RetryLater
from gateway.worker.webhooks import NotifyArguments, SyncIntegrationArguments, notify, sync_integration

LOOPBACK: Final = {"OUTGOING_ALLOWED_NETWORKS": "127.0.0.0/8"}
"""Lets tests reach their own receivers, and nothing else that is not public."""
KEY: Final = bytes(range(32))
SECRET: Final = f"whsec_{base64.b64encode(KEY).decode()}"
TOKEN: Final = "a-token-that-nobody-else-may-see"
KEY_EXPECTED: Final = "Expected whsec_ and 24 to 64 bytes in base64, as `openssl rand -base64 32` prints."
PATH: Final = "/hook/a-path-that-is-a-secret"
PAYLOAD: Final = {"id": "01", "text": "naïve 🍵", "amount": 1.5}


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
def test_public_addresses_may_be_asked(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("kind", NOT_PUBLIC)
def test_other_addresses_may_not(kind: str) -> None:
    assert [address for address in NOT_PUBLIC[kind] if is_public(ip_address(address))] == []


def test_networks_that_are_configured_may_be_asked_and_their_neighbours_not() -> None:
    allowing = guard(OUTGOING_ALLOWED_NETWORKS="10.1.0.0/16, fd00:1::/32")
    allowed = ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::10.1.2.3", "fd00:1::5", "1.1.1.1")
    refused = ("10.2.0.1", "127.0.0.1", "::ffff:10.2.0.1", "fd00:2::5", "2002:a01:203::")
    assert [address for address in allowed if not allowing.is_allowed(ip_address(address))] == []
    assert [address for address in refused if allowing.is_allowed(ip_address(address))] == []


@pytest.mark.parametrize("networks", ["10.0.0.1/8", "inside", "10.0.0.0/33"])
def test_networks_that_are_none_stop_the_start(networks: str) -> None:
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
def test_urls_that_may_lead_somewhere(url: str) -> None:
    assert str(guard().check(url)) == str(httpx.URL(url))


def test_in_production_only_tls_will_do() -> None:
    guard(ENVIRONMENT="Production").check("https://a.example")
    with pytest.raises(AddressRefused, match=r"begins with https://\.$"):
        guard(ENVIRONMENT="production").check("http://a.example")


# --- where names lead -----------------------------------------------------------------------------------------


@dataclass
class Names:
    """What names resolve to, one answer after the other, the last for good; others resolve as they do."""

    answers: dict[str, list[list[str]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def set(self, name: str, *answers: list[str]) -> None:
        self.answers[name] = list(answers)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    """Answers in place of the name server."""
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


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that answers 204, on 127.0.0.1."""
    async with receiving() as running:
        yield running


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "localhost.", "127.0.0.1.", "0x7f000001.", "ip6-localhost"])
async def test_names_of_this_machine_lead_nowhere(receiver: Receiver, host: str) -> None:
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


async def test_a_name_is_resolved_once_and_asked_there(names: Names) -> None:
    """127.0.0.2 stands for what is outside, 127.0.0.1 for what is inside: there the name leads the second time."""
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


async def test_an_address_that_takes_no_connection_leaves_the_next(names: Names, receiver: Receiver) -> None:
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


async def silence(writer: asyncio.StreamWriter) -> None:
    pass


async def half_a_line(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 2")
    await writer.drain()


@pytest.mark.parametrize(
    "answer", [endless_body, b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx"], ids=["endless", "oversize"]
)
async def test_of_a_body_nothing_is_read(answer: Any) -> None:
    async with receiving(answer) as receiver:
        assert (await guard(**LOOPBACK).send("POST", receiver.url(), {}, b"{}")).status == 200


@pytest.mark.parametrize("answer", [silence, half_a_line, endless_interim_answers])
async def test_who_does_not_answer_in_time_has_not_answered(answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "TOTAL_SECONDS", 0.2)
    async with receiving(answer) as receiver:
        with pytest.raises(SendFailed, match="no response within"):
            await guard(**LOOPBACK).send("POST", receiver.url(), {}, b"{}")


@pytest.mark.parametrize("answer", [endless_headers, b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b""])
async def test_what_is_not_http_is_no_answer(answer: Any) -> None:
    async with receiving(answer) as receiver:
        with pytest.raises(SendFailed, match=r"^The response was not HTTP\.$"):
            await guard(**LOOPBACK).send("POST", receiver.url(), {}, b"{}")


async def test_a_closed_port_is_no_answer(receiver: Receiver) -> None:
    async with receiving() as gone:
        pass
    with pytest.raises(SendFailed, match=r"^The connection failed or was lost\.$"):
        await guard(**LOOPBACK).send("POST", gone.url(), {}, b"{}")


@dataclass(frozen=True)
class Authority:
    """A certificate of receiver.example, vouched for by itself, and the names that clients asked its owner for."""

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
    outgoing.tls_context.cache_clear()
    yield Authority(file, context, asked)
    outgoing.tls_context.cache_clear()


async def test_tls_verifies_the_name_though_an_address_is_connected_to(
    authority: Authority, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    sender = guard(ENVIRONMENT="production", **LOOPBACK)
    names.set("receiver.example", ["127.0.0.1"])
    names.set("other.example", ["127.0.0.1"])
    async with receiving(tls=authority.context) as receiver:
        with pytest.raises(SendFailed, match=r"^The certificate can't be verified: self-signed certificate\.$"):
            await sender.send("GET", receiver.url(host="receiver.example", scheme="https"), {})

        outgoing.tls_context.cache_clear()
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
        assert (await sender.send("GET", receiver.url(host="receiver.example", scheme="https"), {})).status == 204
        with pytest.raises(SendFailed, match=r"not valid for 'other\.example'"):
            await sender.send("GET", receiver.url(host="other.example", scheme="https"), {})
        assert authority.asked == ["receiver.example", "receiver.example", "other.example"]
        assert len(receiver.requests) == 1


# --- signatures -----------------------------------------------------------------------------------------------


def test_a_signature_is_that_of_the_libraries_of_standard_webhooks() -> None:
    """The example that the libraries of the specification's authors test themselves with."""
    assert sign(
        signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    ) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("size", [24, 32, 64])
def test_a_key_is_24_to_64_bytes(size: int) -> None:
    text = base64.b64encode(bytes(size)).decode()
    assert signing_key(text) == signing_key(f"whsec_{text}") == bytes(size)


@pytest.mark.parametrize(
    "secret", [None, 5, "", "whsec_", "hunter2", "whsec_" + "A" * 31, "ü" * 32, "A" * 28, "A" * 92]
)
def test_what_is_no_key_is_not_repeated(secret: Any) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(KEY_EXPECTED)}$"):
        signing_key(secret)


# --- the jobs -------------------------------------------------------------------------------------------------

UUID_V7: Final = UUID("01976bbc-6c00-7abc-8def-0123456789ab")
"""Of 2025-06-14, 00:00:00 UTC."""


class Desk:
    """Gives a user integrations, and does the user's jobs."""

    def __init__(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self.owner = Identity(uuid4(), uuid4())
        self.settings = load_settings({**LOOPBACK, "INTEGRATION_ENCRYPTION_KEY": ENCRYPTION_KEY})
        self._database = database
        self._pool = pool

    def integrate(self, **settings: Any) -> UUID:
        """An integration with these settings."""
        integration_id = uuid4()
        encrypted = Encryptor(self.settings).encrypt(self.owner.owner, msgspec.json.encode(settings)).hex()
        owner = f"'{self.owner.tenant_id}', '{self.owner.user_id}'"
        self._database.execute(
            "insert into app.integrations (tenant_id, user_id, id, provider, encrypted_settings, setting_names) "
            f"values ({owner}, '{integration_id}', 'webhook', '\\x{encrypted}', '{{}}')"
        )
        return integration_id

    def sync_of(self, integration_id: UUID) -> tuple[str | None, str | None, bool]:
        """What its owner sees of how asking the service went: status, error, and whether it ever succeeded."""
        text = self._database.execute(
            f"select app.integration_document(integrations) from app.integrations where id = '{integration_id}'"
        )
        shown = json.loads(text)
        return shown["sync_status"], shown["sync_error"], shown["last_synced_at"] is not None

    def context(self, *, job_id: UUID = UUID_V7, user_id: UUID | None = None, attempt: int = 1) -> JobContext:
        user_id = user_id or self.owner.user_id
        context = JobContext(self.owner.tenant_id, user_id, job_id, attempt, self.settings, cast(Any, None), uuid4())
        cast(Any, context).fetch = self._pool.fetch  # in place of a worker's
        return context

    async def notify(self, integration_id: UUID, **options: Any) -> dict[str, Any]:
        payload = msgspec.Raw(msgspec.json.encode(PAYLOAD))
        return await notify(self.context(**options), NotifyArguments(integration_id, "card.created", payload))

    async def sync(self, integration_id: UUID, **options: Any) -> dict[str, Any]:
        return await sync_integration(self.context(**options), SyncIntegrationArguments(integration_id))


@pytest.fixture
async def desk(shared_database: Database) -> AsyncIterator[Desk]:
    async with asyncpg.create_pool(shared_database.url("cardbase_worker"), min_size=1, max_size=2) as pool:
        yield Desk(shared_database, pool)


def answering(status: int, *headers: str) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status} Whatever", *headers, "Content-Length: 0", "", "")).encode()


def verified(request: Received) -> Any:
    """The body of a webhook, as a receiver trusts it: by the specification's words, not by our code."""
    message_id, timestamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    assert abs(time.time() - int(timestamp)) < 300
    signed = message_id.encode() + b"." + timestamp.encode() + b"." + request.body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"
    return json.loads(request.body)


async def test_a_webhook_arrives_signed(desk: Desk, receiver: Receiver) -> None:
    integration = desk.integrate(url=receiver.url(f"{PATH}?key=value#part"), secret=SECRET, token=TOKEN)
    result = await desk.notify(integration)
    assert result == {"status": 204, "duration_ms": result["duration_ms"]}
    assert 0 < result["duration_ms"] < 20_000
    [request] = receiver.requests
    assert verified(request) == {"type": "card.created", "timestamp": "2025-06-14T00:00:00Z", "data": PAYLOAD}
    assert request.line == f"POST {PATH}?key=value HTTP/1.1"
    assert (request.headers["webhook-id"], request.headers["content-type"]) == (str(UUID_V7), "application/json")
    assert "authorization" not in request.headers


async def test_another_attempt_is_known_by_its_id(desk: Desk, receiver: Receiver) -> None:
    receiver.answer = answering(500)
    integration = desk.integrate(url=receiver.url(), secret=SECRET)
    with pytest.raises(JobError):
        await desk.notify(integration)
    receiver.answer = NO_CONTENT
    await desk.notify(integration, attempt=2)
    first, second = receiver.requests
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
    assert verified(first) == verified(second)


async def test_a_payload_arrives_as_it_was_stored(desk: Desk, receiver: Receiver) -> None:
    """Numbers beyond what a float or 64 bits hold, for one."""
    arguments = {"integration_id": str(desk.integrate(url=receiver.url(), secret=SECRET)), "event_type": "a.b"}
    payload = '{"n": 123456789012345678901234567890, "m": 1e400, "x": 1.10}'
    text = json.dumps(arguments)[:-1] + f', "payload": {payload}}}'
    await notify(desk.context(), msgspec.json.decode(text, type=NotifyArguments))
    assert payload.encode() in receiver.requests[0].body


@pytest.mark.parametrize("event_type", ["", ".", "a.", "a b", "x" * 201])
def test_an_event_type_has_the_form_that_is_recommended(event_type: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="event_type"):
        msgspec.convert(
            {"integration_id": uuid4(), "event_type": event_type, "payload": msgspec.Raw(b"1")}, NotifyArguments
        )


@pytest.mark.parametrize(
    ("status", "message"),
    [(status, f"The service answered {status}.") for status in (400, 401, 404, 405, 410, 422)]
    + [
        (status, f"The service answered {status}. Redirects are not followed: give the address itself.")
        for status in (300, 301, 302, 303, 304, 307, 308)
    ],
)
async def test_answers_that_no_other_attempt_would_change(desk: Desk, status: int, message: str) -> None:
    """A redirect to what is inside, or to anywhere, leads nowhere."""
    async with (
        receiving(host="127.0.0.2") as inside,
        receiving(answering(status, f"Location: {inside.url()}")) as outside,
    ):
        with pytest.raises(PermanentError) as failed:
            await desk.notify(desk.integrate(url=outside.url(), secret=SECRET))
        assert str(failed.value) == message
        assert (len(outside.requests), inside.requests) == (1, [])


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_answers_after_which_another_attempt_is_made(desk: Desk, receiver: Receiver, status: int) -> None:
    receiver.answer = answering(status)
    with pytest.raises(JobError, match=f"^The service answered {status}\\.$") as failed:
        await desk.notify(desk.integrate(url=receiver.url(), secret=SECRET))
    assert type(failed.value) is JobError


def in_the_future(seconds: int) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        ("0", 0, 0),
        ("120", 120, 120),
        ("3601", 3600, 3600),
        ("9" * 400, 3600, 3600),
        (in_the_future(-60), 0, 0),
        (in_the_future(1800), 900, 1800),
        (in_the_future(10**8), 3600, 3600),
    ],
)
async def test_a_service_says_when_to_come_again(
    desk: Desk, receiver: Receiver, retry_after: str, least: int, most: int
) -> None:
    receiver.answer = answering(503, f"Retry-After: {retry_after}")
    with pytest.raises(RetryLater, match=r"^The service answered 503\.$") as failed:
        await desk.notify(desk.integrate(url=receiver.url(), secret=SECRET))
    assert least <= failed.value.seconds <= most


@pytest.mark.parametrize("retry_after", ["soon", "-1", "nan", "inf", "1.5", "²", "Fri, 99 Nov 2026 00:00:00 GMT", ""])
async def test_what_a_service_says_without_sense_is_passed_over(
    desk: Desk, receiver: Receiver, retry_after: str
) -> None:
    receiver.answer = answering(503, f"Retry-After: {retry_after}")
    with pytest.raises(JobError) as failed:
        await desk.notify(desk.integrate(url=receiver.url(), secret=SECRET))
    assert type(failed.value) is JobError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"secret": SECRET}, f"The integration's url: {SIZE}"),
        ({"secret": SECRET, "url": "http://[::1]/hook"}, f"The integration's url: {INSIDE}"),
        (
            {"secret": SECRET, "url": "http://localhost/hook"},
            "The integration's url: The host's name has to resolve to public addresses only.",
        ),
        (
            {"url": "https://receiver.example"},
            f"The integration's secret: {KEY_EXPECTED}",
        ),
    ],
    ids=["no url", "url inside", "name inside", "no secret"],
)
async def test_settings_that_lead_nowhere_fail_for_good(desk: Desk, settings: dict[str, str], message: str) -> None:
    desk.settings = load_settings({"INTEGRATION_ENCRYPTION_KEY": ENCRYPTION_KEY})
    with pytest.raises(PermanentError) as failed:
        await desk.notify(desk.integrate(**settings))
    assert str(failed.value) == message


async def test_an_integration_is_its_users_alone(desk: Desk, receiver: Receiver, shared_database: Database) -> None:
    integration = desk.integrate(url=receiver.url(), secret=SECRET)
    with pytest.raises(PermanentError, match=r"^The job's user has no such integration\.$"):
        await desk.notify(integration, user_id=uuid4())
    with pytest.raises(PermanentError, match="no such integration"):
        await desk.sync(integration, user_id=uuid4())
    shared_database.execute(f"update app.integrations set deleted_at = now() where id = '{integration}'")
    with pytest.raises(PermanentError, match="no such integration"):
        await desk.notify(integration)
    assert receiver.requests == []


@pytest.mark.parametrize("key", [None, base64.b64encode(OTHER_SECRET.encode()[:32]).decode()], ids=["none", "another"])
async def test_without_the_key_settings_stay_encrypted(desk: Desk, receiver: Receiver, key: str | None) -> None:
    integration = desk.integrate(url=receiver.url(), secret=SECRET)
    desk.settings = load_settings({"INTEGRATION_ENCRYPTION_KEY": key or "", **LOOPBACK})
    with pytest.raises(PermanentError, match=r"^The settings can't be decrypted: they"):
        await desk.notify(integration)
    assert receiver.requests == []


async def test_a_service_that_is_there_is_shown_so(desk: Desk, receiver: Receiver) -> None:
    integration = desk.integrate(url=receiver.url(PATH), token=TOKEN)
    assert desk.sync_of(integration) == (None, None, False)
    assert (await desk.sync(integration))["status"] == 204
    [request] = receiver.requests
    assert (request.line, request.body) == (f"GET {PATH} HTTP/1.1", b"")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert desk.sync_of(integration) == ("succeeded", None, True)

    receiver.answer = answering(401)
    with pytest.raises(PermanentError):
        await desk.sync(integration)
    assert desk.sync_of(integration) == ("failed", "The service answered 401.", True)
    receiver.answer = answering(429, "Retry-After: 7")
    with pytest.raises(RetryLater):
        await desk.sync(integration)
    assert desk.sync_of(integration) == ("failed", "The service answered 429.", True)
    receiver.answer = answering(200)
    await desk.sync(integration)
    assert desk.sync_of(integration) == ("succeeded", None, True)


async def test_a_service_without_a_token_is_asked_without(desk: Desk, receiver: Receiver) -> None:
    await desk.sync(desk.integrate(url=receiver.url()))
    assert "authorization" not in receiver.requests[0].headers


@pytest.mark.parametrize("token", [f"{TOKEN}\r\nX-Other: 1", "", " ", "ü", 5, ["a"], "x" * 8193])
async def test_what_is_no_token_is_not_sent(desk: Desk, receiver: Receiver, token: Any) -> None:
    integration = desk.integrate(url=receiver.url(), token=token)
    with pytest.raises(PermanentError) as failed:
        await desk.sync(integration)
    assert str(failed.value) == "The integration's token: Expected up to 8,192 printable ASCII characters."
    assert desk.sync_of(integration) == ("failed", str(failed.value), False)
    assert receiver.requests == []


@pytest.mark.parametrize(
    "answer",
    [NO_CONTENT, answering(302, "Location: http://127.0.0.1/"), answering(404), answering(503), b"no HTTP", silence],
    ids=["success", "redirect", "refusal", "failure", "no HTTP", "silence"],
)
async def test_secrets_are_in_no_log_result_or_error(
    desk: Desk, answer: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither are the address, nor what the service answered."""
    monkeypatch.setattr(outgoing, "TOTAL_SECONDS", 0.5)
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpcore").setLevel(logging.CRITICAL)  # as gateway.logs does
    said: list[str] = []
    async with receiving(answer) as receiver:
        integration = desk.integrate(url=receiver.url(PATH), secret=SECRET, token=TOKEN)
        for job in (desk.notify, desk.sync):
            try:
                said.append(repr(await job(integration)))
            except JobError as error:
                said += [repr(error), *map(repr, _causes(error))]
        said += [repr(desk.sync_of(integration)), caplog.text]
        assert len(receiver.requests) == 2
    text = "\n".join(said)
    assert [secret for secret in (SECRET[6:], TOKEN, PATH, "Whatever", "Location") if secret in text] == []


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What a log would show behind an exception."""
    while (cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        yield cause
        error = cause


# --- when integrations are stored -----------------------------------------------------------------------------


@pytest.fixture
def user(people_gateway: Gateway) -> Iterator[httpx.Client]:
    """An HTTP client of a user of a tenant of the test's own."""
    headers = bearer(token(uuid4(), sub=str(uuid4())))
    with httpx.Client(base_url=people_gateway.address, headers=headers, timeout=30, trust_env=False) as client:
        yield client


INTEGRATIONS: Final = "/api/v1/integrations"
WEBHOOK: Final = {"provider": "webhook", "settings": {"url": "https://receiver.example/hook", "secret": SECRET}}


def test_a_webhook_is_stored_and_not_asked_yet(user: httpx.Client) -> None:
    response = user.post(INTEGRATIONS, json=WEBHOOK)
    assert response.status_code == 201
    made = response.json()["data"]
    assert (made["setting_names"], made["sync_status"], made["sync_error"], made["last_synced_at"]) == (
        ["secret", "url"],
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("provider", "settings", "field", "message"),
    [
        ("webhook", {"secret": SECRET}, "settings.url", SCHEME),
        ("webhook", {"secret": SECRET, "url": None}, "settings.url", SCHEME),
        ("webhook", {"secret": SECRET, "url": "http://169.254.169.254/"}, "settings.url", INSIDE),
        ("webhook", {"url": "https://receiver.example"}, "settings.secret", KEY_EXPECTED),
        ("webhook", {"url": "https://receiver.example", "secret": "hunter2hunter2"}, "settings.secret", KEY_EXPECTED),
        ("crm", {"url": "http://[::ffff:10.0.0.1]/"}, "settings.url", INSIDE),
        ("crm", {"url": "https://user:hunter2hunter2@crm.example/"}, "settings.url", USER),
    ],
)
def test_settings_that_lead_nowhere_are_refused(
    user: httpx.Client, provider: str, settings: dict[str, Any], field: str, message: str
) -> None:
    made = user.post(INTEGRATIONS, json={"provider": "crm", "settings": {"secret": 5}}).json()["data"]
    body = {"provider": provider, "settings": settings}
    for response in (
        user.post(INTEGRATIONS, json=body),
        user.patch(f"{INTEGRATIONS}/{made['id']}", json=body),
    ):
        assert response.status_code == 422
        [detail] = response.json()["error"]["details"]
        assert detail["field"] == field
        assert detail["message"] == message
        assert "hunter2" not in response.text
    assert user.get(INTEGRATIONS).json()["data"] == [made]

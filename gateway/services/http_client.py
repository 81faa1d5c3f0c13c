"""HTTP to addresses that tenants choose, and never into the network that we stand in (OWASP API7:2023).

A name is resolved once; each of its addresses has to be public, and the connection is made to an address that was
looked at: a name that resolves to something else a moment later gains nothing. TLS verifies the name all the same.
Redirects are not followed, proxies of the environment not used, and of the answer the body is not read.
"""

import asyncio
import re
import socket
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import httpcore
import httpx

from gateway import __version__
from gateway.settings import Settings, SettingsError

if TYPE_CHECKING:
    import ssl

Address = IPv4Address | IPv6Address

CONNECT_SECONDS: Final = 5.0
"""For one address of a name: the connection, and TLS."""
TOTAL_SECONDS: Final = 20.0
"""From the name to the answer's headers. The Standard Webhooks specification recommends 15 to 30 s."""
RESOLVERS: Final = ThreadPoolExecutor(32, "resolver")
"""Of our own: a name server may take its time, and what else waits for threads is not to wait for it."""
MAXIMUM_URL: Final = 2048
PORTS: Final = (range(80, 81), range(443, 444), range(1024, 65536))
"""Others are mail's, SSH's and their like: nothing that is asked by HTTP."""

GLOBAL_UNICAST: Final = ip_network("2000::/3")
"""All of IPv6 that the IANA has given out to reach hosts by (RFC 4291; IPv6 address space registry)."""
TRANSLATED: Final = ip_network("64:ff9b::/96")
"""NAT64: the last four bytes are the IPv4 address that is meant (RFC 6052)."""
NOT_PUBLIC: Final = (
    ip_network("168.63.129.16/32"),  # the host of a virtual machine at Azure
    ip_network("192.0.0.0/24"),  # IETF protocol assignments; a cloud's metadata at 192.0.0.192
    ip_network("192.88.99.0/24"),  # relays of 6to4
    ip_network("2001::/23"),  # IETF protocol assignments, with Teredo: an IPv4 address is inside
    ip_network("2002::/16"),  # 6to4: an IPv4 address is inside
    ip_network("3fff::/20"),  # documentation
)
"""What Python's is_global takes for public, in some of its versions at least, and is not."""

_NAME: Final = re.compile(r"(?=.{1,254}$)([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")


class AddressRefused(Exception):
    """Nothing is sent there. The message is a sentence, which doesn't say what a name resolved to."""


class SendFailed(Exception):
    """There was no answer; another time there may be one. The message is a sentence without a secret."""


class Answer(NamedTuple):
    """What came back."""

    status: int
    retry_after: str | None
    """The header of this name."""
    duration_ms: float


def is_public(address: Address) -> bool:
    """Whether an address is one of the open Internet's, and of nothing that leads elsewhere by way of it."""
    address = _meant_by(address)
    if isinstance(address, IPv6Address) and address not in GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast and not any(address in network for network in NOT_PUBLIC)


def _meant_by(address: Address) -> Address:
    """The IPv4 address that an IPv6 address only spells: a connection goes there."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in TRANSLATED:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


@cache
def tls_context() -> "ssl.SSLContext":
    """Verifies certificates by the file that SSL_CERT_FILE names, else by certifi's authorities; takes long to make."""
    return httpx.create_ssl_context()


class _CheckedBackend(httpcore.AnyIOBackend):
    """Connects to addresses that pass a check, whatever the name."""

    def __init__(self, is_allowed: Callable[[Address], bool]) -> None:
        self._is_allowed = is_allowed

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature of httpcore
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to the first address of a name that takes one. Raises AddressRefused, SendFailed."""
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                RESOLVERS, partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            )
        except (socket.gaierror, UnicodeError):
            raise SendFailed("The host's name has no address at present.") from None
        addresses = [str(entry[4][0]) for entry in found]
        if not all(self._is_allowed(ip_address(address)) for address in addresses):
            raise AddressRefused("The host's name has no public address.")
        rpc_error: Exception = httpcore.ConnectError()
        for address in addresses:
            try:
                return await super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                rpc_error = error
        raise rpc_error


class HttpClient:
    """Asks addresses that tenants choose: public ones, and those of OUTGOING_ALLOWED_NETWORKS.

    Raises SettingsError when that one names no networks.
    """

    def __init__(self, settings: Settings) -> None:
        try:
            self._allowed = [ip_network(network) for network in settings.outgoing_allowed_networks]
        except ValueError as error:
            raise SettingsError(f"OUTGOING_ALLOWED_NETWORKS: {error}") from None
        self._schemes = ("https",) if settings.environment.lower() == "production" else ("https", "http")

    def is_allowed(self, address: Address) -> bool:
        """Whether a connection to an address may be made."""
        meant = _meant_by(address)
        return is_public(address) or any(meant in network for network in self._allowed)

    def check(self, text: object) -> httpx.URL:
        """The URL of a text, unless it is refused at first sight: what its name resolves to is seen when it is asked.

        Raises AddressRefused.
        """
        if not isinstance(text, str) or len(text) > MAXIMUM_URL:
            raise AddressRefused(f"Expected a URL of at most {MAXIMUM_URL:,} characters.")
        try:
            url = httpx.URL(text)
        except httpx.InvalidURL:
            raise AddressRefused("Expected a URL.") from None
        host = url.raw_host.decode("ascii")
        if url.scheme not in self._schemes or not host:
            raise AddressRefused(
                f"Expected a URL that begins with {' or '.join(f'{one}://' for one in self._schemes)}."
            )
        if url.userinfo:
            raise AddressRefused("Expected a URL without a user and password: they belong into settings of their own.")
        if url.port is not None and not any(url.port in ports for ports in PORTS):
            raise AddressRefused("Expected port 80, 443, or one from 1024 to 65535.")
        if ":" not in host and not _NAME.fullmatch(host):
            raise AddressRefused("Expected a URL with the name of a host.")
        try:
            # Numbers only, hence nothing is asked, but in all spellings that a connection would take: 0x7f.1
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            return url
        if not all(self.is_allowed(ip_address(str(entry[4][0]))) for entry in found):
            raise AddressRefused("Expected a public address.")
        return url

    async def ask(self, method: str, text: object, headers: Mapping[str, str], content: bytes | None = None) -> Answer:
        """Sends one request, and answers what came back, of whatever status.

        text      the URL; headers: printable ASCII
        Raises AddressRefused, and SendFailed when there is no answer in TOTAL_SECONDS.
        """
        url = self.check(text)
        start = perf_counter()
        try:
            async with (
                asyncio.timeout(TOTAL_SECONDS),
                httpcore.AsyncConnectionPool(tls_context(), network_backend=_CheckedBackend(self.is_allowed)) as pool,
                pool.stream(
                    method,
                    httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=[
                        ("Host", url.netloc.decode("ascii")),
                        ("User-Agent", f"cardbase/{__version__}"),
                        ("Accept", "*/*"),
                        ("Connection", "close"),
                        *headers.items(),
                    ],
                    content=content,
                    extensions={"timeout": {"connect": CONNECT_SECONDS}},
                ) as response,
            ):
                retry_after = next((value for name, value in response.headers if name.lower() == b"retry-after"), None)
                return Answer(
                    response.status,
                    None if retry_after is None else retry_after.decode("latin-1"),
                    round((perf_counter() - start) * 1000, 3),
                )
        except (TimeoutError, httpcore.TimeoutException):
            raise SendFailed(f"There was no answer within {TOTAL_SECONDS:.0f} s.") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise SendFailed(_reason(error)) from None


def _reason(error: Exception) -> str:
    """Why there was no answer, in our words: the library's could quote a header."""
    if isinstance(error, httpcore.ProtocolError):
        return "What answered was not HTTP."
    if why := getattr(next(iter(error.args), None), "verify_message", None):  # of what the library caught
        return f"The certificate was not good: {why}."
    return "The connection was not made, or broke off."

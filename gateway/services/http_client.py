"""HTTP requests to addresses that tenants choose, but never into the operator's own network (OWASP API7:2023).

A name is resolved once, all its addresses have to be public, and the connection is made to one that was checked: it
doesn't help an attacker if the name resolves to something else a moment later. TLS still verifies the name. Redirects
are not followed, proxies from the environment are not used, and the response's body is not read.
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
"""To one of a name's addresses, TLS included."""
TOTAL_SECONDS: Final = 20.0
"""From resolving the name to the response's headers. The Standard Webhooks specification recommends 15 to 30 s."""
RESOLVERS: Final = ThreadPoolExecutor(32, "resolver")
"""Separate threads, so that a slow name server holds up nothing else that uses threads."""
MAXIMUM_URL: Final = 2048
PORTS: Final = (range(80, 81), range(443, 444), range(1024, 65536))
"""The others belong to mail, SSH and the like, which don't speak HTTP."""

GLOBAL_UNICAST: Final = ip_network("2000::/3")
"""The part of IPv6 that the IANA has assigned to global unicast (RFC 4291; IPv6 address space registry)."""
TRANSLATED: Final = ip_network("64:ff9b::/96")
"""NAT64: the last four bytes are the IPv4 address (RFC 6052)."""
NOT_PUBLIC: Final = (
    ip_network("168.63.129.16/32"),  # the host of a virtual machine on Azure
    ip_network("192.0.0.0/24"),  # IETF protocol assignments; a cloud's metadata at 192.0.0.192
    ip_network("192.88.99.0/24"),  # 6to4 relays
    ip_network("2001::/23"),  # IETF protocol assignments, among them Teredo, which embeds an IPv4 address
    ip_network("2002::/16"),  # 6to4, which embeds an IPv4 address
    ip_network("3fff::/20"),  # documentation
)
"""Not public, although is_global of some Python versions says so."""

_NAME: Final = re.compile(r"(?=.{1,254}$)([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?")


class AddressRefused(Exception):
    """Nothing is sent to this address. The message is a sentence that doesn't reveal what a name resolved to."""


class SendFailed(Exception):
    """There was no response; a retry may get one. The message is a sentence without secrets."""


class Response(NamedTuple):
    """The response to a request."""

    status: int
    retry_after: str | None
    """The header of this name."""
    duration_ms: float


def is_public(address: Address) -> bool:
    """Whether an address is on the public Internet and leads nowhere else."""
    address = _target_of(address)
    if isinstance(address, IPv6Address) and address not in GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast and not any(address in network for network in NOT_PUBLIC)


def _target_of(address: Address) -> Address:
    """Where a connection goes: the IPv4 address that an IPv6 address embeds, or the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in TRANSLATED:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


@cache
def tls_context() -> "ssl.SSLContext":
    """Verifies certificates with SSL_CERT_FILE, or else certifi's authorities. Cached: it takes long to create."""
    return httpx.create_ssl_context()


class _CheckedBackend(httpcore.AnyIOBackend):
    """Connects only to addresses that pass a check."""

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
        """A connection to the first of a name's addresses that accepts one. Raises AddressRefused, SendFailed."""
        try:
            found = await asyncio.get_running_loop().run_in_executor(
                RESOLVERS, partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            )
        except (socket.gaierror, UnicodeError):
            raise SendFailed("The host's name can't be resolved.") from None
        addresses = [str(entry[4][0]) for entry in found]
        if not all(self._is_allowed(ip_address(address)) for address in addresses):
            raise AddressRefused("The host's name has to resolve to public addresses only.")
        failure: Exception = httpcore.ConnectError()
        for address in addresses:
            try:
                return await super().connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class HttpClient:
    """Sends requests to addresses that tenants choose: public ones, and those in OUTGOING_ALLOWED_NETWORKS.

    Raises SettingsError when that setting is not a list of networks.
    """

    def __init__(self, settings: Settings) -> None:
        try:
            self._allowed = [ip_network(network) for network in settings.outgoing_allowed_networks]
        except ValueError as error:
            raise SettingsError(f"OUTGOING_ALLOWED_NETWORKS: {error}") from None
        self._schemes = ("https",) if settings.is_production else ("https", "http")

    def is_allowed(self, address: Address) -> bool:
        """Whether a connection to an address may be made."""
        target = _target_of(address)
        return is_public(target) or any(target in network for network in self._allowed)

    def check(self, text: object) -> httpx.URL:
        """Parses a URL. Raises AddressRefused, though not for what its name resolves to: `send` checks that."""
        if not isinstance(text, str) or len(text) > MAXIMUM_URL:
            raise AddressRefused(f"Expected a URL of at most {MAXIMUM_URL:,} characters.")
        try:
            url = httpx.URL(text)
        except httpx.InvalidURL:
            raise AddressRefused("Expected a URL.") from None
        host = url.raw_host.decode("ascii")
        if url.scheme not in self._schemes or not host:
            prefixes = " or ".join(f"{scheme}://" for scheme in self._schemes)
            raise AddressRefused(f"Expected a URL that begins with {prefixes}.")
        if url.userinfo:
            raise AddressRefused("Expected a URL without a user and password: put them in separate settings.")
        if url.port is not None and not any(url.port in ports for ports in PORTS):
            raise AddressRefused("Expected port 80, 443, or one from 1024 to 65535.")
        if ":" not in host and not _NAME.fullmatch(host):
            raise AddressRefused("Expected a URL with a host name.")
        try:
            # Resolves nothing, but accepts every spelling of an address that a connection would: 0x7f.1
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except socket.gaierror:
            return url
        if not all(self.is_allowed(ip_address(str(entry[4][0]))) for entry in found):
            raise AddressRefused("Expected a public address.")
        return url

    async def send(
        self, method: str, text: object, headers: Mapping[str, str], content: bytes | None = None
    ) -> Response:
        """Sends one request and returns the response, whatever its status.

        text      the URL
        headers   printable ASCII

        Raises AddressRefused, and SendFailed when there is no response within TOTAL_SECONDS.
        """
        url = self.check(text)
        host, agent = url.netloc.decode("ascii"), f"cardbase/{__version__}"
        headers = {"Host": host, "User-Agent": agent, "Accept": "*/*", "Connection": "close", **headers}
        start = perf_counter()
        try:
            async with (
                asyncio.timeout(TOTAL_SECONDS),
                httpcore.AsyncConnectionPool(tls_context(), network_backend=_CheckedBackend(self.is_allowed)) as pool,
                pool.stream(
                    method,
                    httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                    headers=list(headers.items()),
                    content=content,
                    extensions={"timeout": {"connect": CONNECT_SECONDS}},
                ) as response,
            ):
                found = (value.decode("latin-1") for name, value in response.headers if name.lower() == b"retry-after")
                return Response(response.status, next(found, None), round((perf_counter() - start) * 1000, 3))
        except (TimeoutError, httpcore.TimeoutException):
            raise SendFailed(f"There was no response within {TOTAL_SECONDS:.0f} s.") from None
        except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
            raise SendFailed(_reason(error)) from None


def _reason(error: Exception) -> str:
    """Why there was no response, in our words: the library's might quote a header."""
    if isinstance(error, httpcore.ProtocolError):
        return "The response was not HTTP."
    if why := getattr(next(iter(error.args), None), "verify_message", None):  # of the error that the library caught
        return f"The certificate can't be verified: {why}."
    return "The connection failed or was lost."

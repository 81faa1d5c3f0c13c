"""The gate: refuses requests before they are routed, those for hosts that are not served here above all.

While X-Tenant-ID is trusted, the browser of somebody on this machine could be made to send it: a web page whose own
name suddenly resolves to 127.0.0.1 (DNS rebinding) may read all responses. But its requests still carry its name.
"""

import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from litestar.enums import ScopeType

from gateway.errors import ApiError
from gateway.identity import is_loopback
from gateway.reply import send_error
from gateway.request import REFUSAL, RequestContext, context_of, record_error
from gateway.settings import Settings, SettingsError

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

ANY_HOST: Final = ("/health", "/ready", "/metrics")
"""Paths for probes, which use whatever address they find."""
LOOPBACK: Final = "<loopback>"
"""Among hosts: localhost, and every loopback address."""
_HOST: Final = re.compile(r"(\[[0-9a-f:.]+\]|(?:\*\.)?[0-9a-z_.-]+)(?::\d*)?")

SendError = Callable[[RequestContext, "Send", ApiError], Awaitable[None]]
Hosts = frozenset[str] | None
"""Hosts that are served, `*.example.com` for all names below that one; None: any."""


def served_hosts(settings: Settings) -> Hosts:
    """The hosts that requests may be for. Raises SettingsError."""
    if not settings.allowed_hosts:
        return frozenset((LOOPBACK, _name_of(settings.host))) if settings.trusts_tenant_header else None
    if "*" in settings.allowed_hosts:
        return None
    for host in settings.allowed_hosts:
        if not _name_of(host):
            expected = "host names such as api.example.com, comma-separated"
            raise SettingsError(f"ALLOWED_HOSTS must be {expected}, not {host!r}")
    return frozenset(map(_name_of, settings.allowed_hosts))


def is_served(hosts: Hosts, header: bytes) -> bool:
    """Whether the host of a Host header is one of them."""
    if hosts is None:
        return True
    name = _name_of(header.decode("latin-1"))
    if name in hosts or (LOOPBACK in hosts and is_loopback(name)):
        return True
    parents = name.split(".")
    return any(f"*.{'.'.join(parents[start:])}" in hosts for start in range(1, len(parents)))


def _name_of(text: str) -> str:
    """A host without port and trailing dot, in lower case, an address in its shortest form; empty if it is none."""
    found = _HOST.fullmatch(text.lower())
    name = found[1].strip("[]").removesuffix(".") if found else ""
    with suppress(ValueError):
        return str(ip_address(name))
    return name


class Gate:
    """The gate in front of an application.

    send_rpc_error: sends an error in the format of /rpc

    Raises SettingsError.
    """

    def __init__(self, app: "ASGIApp", settings: Settings, send_rpc_error: SendError) -> None:
        self._app = app
        self._hosts = served_hosts(settings)
        self._send_rpc_error = send_rpc_error

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Passes a request on, or refuses it."""
        if scope["type"] != ScopeType.HTTP or (refusal := self._refusal(scope)) is None:
            await self._app(scope, receive, send)
            return
        context = context_of(scope)
        record_error(context, refusal, refusal)
        send_refusal = self._send_rpc_error if scope["path"].startswith("/rpc/") else send_error
        await send_refusal(context, send, refusal)

    def _refusal(self, scope: "Scope") -> ApiError | None:
        if (refusal := scope.get(REFUSAL)) is not None:
            return refusal  # type: ignore[return-value]
        host = context_of(scope).headers.get(b"host")
        if host is None and scope["http_version"] == "1.1":
            return ApiError(400, message="A request needs the header Host, which names the host that it is for.")
        if host is not None and b"," in host:
            return ApiError(400, message="A request may have only one header Host.")
        if is_served(self._hosts, host or b"") or scope["path"] in ANY_HOST:
            return None
        return ApiError(421, message="Requests for this host are not served here. ALLOWED_HOSTS names those that are.")

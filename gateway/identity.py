"""Who calls: the tenant, and where there is one the user."""

from collections.abc import Mapping
from functools import lru_cache
from uuid import UUID

import msgspec

from gateway.errors import Refusal, invalid
from gateway.settings import Settings


class Identity(msgspec.Struct, frozen=True):
    """The caller. user_id is None for callers that are no users, such as services."""

    tenant_id: UUID
    user_id: UUID | None = None


@lru_cache(maxsize=4096)
def _tenant_of_header(value: bytes) -> UUID:
    text = value.decode("latin-1").strip()
    try:
        tenant_id = UUID(text)
    except ValueError:
        tenant_id = None
    if tenant_id is None or text.lower() != str(tenant_id):
        raise invalid("X-Tenant-ID", "Expected a UUID such as 018f2f6e-7c1a-7000-8000-000000000001.")
    return tenant_id


class Identifier:
    """Learns the caller's identity from a request's headers."""

    def __init__(self, settings: Settings) -> None:
        self._trusts_header = settings.trusts_tenant_header

    def identify(self, headers: Mapping[bytes, bytes]) -> Identity:
        """The caller by its headers (names in lower case). Raises Refusal: 401, 403 or 422."""
        tenant_header = headers.get(b"x-tenant-id")
        if not self._trusts_header:
            raise Refusal(401, message="A bearer token is needed.", headers={"WWW-Authenticate": "Bearer"})
        if tenant_header is None:
            raise invalid("X-Tenant-ID", "This header is required.")
        return Identity(_tenant_of_header(tenant_header))

"""Refresh tokens: a secret, the ids of its user, and a seal that shows without the database that we made it."""

import hashlib
import hmac
from typing import Final, NamedTuple
from uuid import UUID

import msgspec

SECRET_BYTES: Final = 32
"""Of a refresh token, after the ids of its user."""
SEAL_BYTES: Final = 16
"""Before them."""


class RefreshToken(NamedTuple):
    """A refresh token: a secret, and the ids of its user, so that only that user's sessions are searched.

    seal: shows that the token was made with our key. A token without one, or with another key's, may be valid, too:
    only the database knows. But it proves nothing until the database has said so.
    """

    tenant_id: UUID
    user_id: UUID
    secret: bytes
    seal: bytes = b""

    @property
    def text(self) -> str:
        """As the client gets it."""
        return msgspec.to_builtins(self.seal + self._sealed)  # type: ignore[no-any-return]

    @property
    def hash(self) -> bytes:
        """As the database gets it."""
        return hashlib.sha256(self.secret).digest()

    @property
    def owner(self) -> dict[str, UUID]:
        """The ids of its user, as arguments of a call."""
        return {"tenant_id": self.tenant_id, "user_id": self.user_id}

    @property
    def _sealed(self) -> bytes:
        return self.tenant_id.bytes + self.user_id.bytes + self.secret

    def sealed(self, key: str) -> "RefreshToken":
        """The token with a seal."""
        return self._replace(seal=hmac.digest(key.encode(), b"refresh token" + self._sealed, "sha256")[:SEAL_BYTES])

    def is_sealed(self, key: str | None) -> bool:
        """Whether its seal was made with this key."""
        return key is not None and hmac.compare_digest(self.seal, self.sealed(key).seal)


def parse_refresh_token(text: str) -> RefreshToken | None:
    """A refresh token from its text; None when it is malformed."""
    try:
        parts = msgspec.convert(text, bytes)
    except msgspec.ValidationError:
        return None
    seal, rest = parts[: -32 - SECRET_BYTES], parts[-32 - SECRET_BYTES :]
    if len(rest) != 32 + SECRET_BYTES or len(seal) not in (0, SEAL_BYTES):
        return None
    return RefreshToken(UUID(bytes=rest[:16]), UUID(bytes=rest[16:32]), rest[32:], seal)

"""Who calls: the tenant and, if there is one, the user, from a bearer token or a trusted header.

A token takes precedence: it is verified whenever it is sent, and a header sent with it must name the same tenant.
The algorithm is the configured one, never the token's choice; keys are read once, at the start.
"""

import ipaddress
import logging
import math
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import jwt
import msgspec

from gateway.errors import ApiError, invalid
from gateway.jwt_keys import verification_keys
from gateway.request import RequestContext
from gateway.settings import Settings, SettingsError

CLOCK_SKEW_SECONDS: Final = 30
"""How far the clock of a token's issuer may be from ours."""
MAXIMUM_TOKEN_BYTES: Final = 4096
MAXIMUM_CACHED_TOKENS: Final = 4096
"""Verified tokens that each process remembers: at most 16 MiB."""
LEAST_SECRET_BYTES: Final = 32
"""RFC 7518, section 3.2: a key for HS256 is at least as long as its hash."""

Reason = Literal["missing", "invalid", "expired", "claims", "no_key"]

logger = logging.getLogger(__name__)


class Identity(msgspec.Struct, frozen=True):
    """The caller. user_id is None for callers that are not users, such as services."""

    tenant_id: UUID
    user_id: UUID | None = None

    @property
    def owner(self) -> bytes:
        """The owner of what this user encrypts: the bytes of both ids."""
        assert self.user_id is not None
        return self.tenant_id.bytes + self.user_id.bytes


class Unauthenticated(ApiError):
    """A 401: the caller did not say who it is, or could not prove it.

    reason: "missing" (no token), "invalid" (not a token, or not signed with our key), "expired", "claims" (a claim is
    missing or not for us), "no_key" (a token was sent, but there is no key to verify it with)
    """

    def __init__(self, reason: Reason, message: str) -> None:
        challenge = "Bearer"
        if reason != "missing":
            challenge = f'Bearer error="invalid_token", error_description="{message.rstrip(".")}"'
        super().__init__(401, message=message, headers={"WWW-Authenticate": challenge})
        self.reason: Final = reason


class _Verified(NamedTuple):
    """What a token proves, and until when (seconds since 1970)."""

    identity: Identity
    tenant_header: bytes
    expires: float


class Identifier:
    """Learns the caller's identity from a request's headers. A known token costs one dictionary lookup.

    Raises SettingsError when the configured keys can't be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._trusts_header = settings.trusts_tenant_header
        self._algorithm = settings.jwt_algorithm
        self._audience = settings.jwt_audience
        self._issuer = settings.jwt_issuer
        self._keys = verification_keys(settings)
        self._verified: dict[bytes, _Verified] = {}
        # PyJWT would warn at the first token of what check_identity warns of at the start.
        warnings.filterwarnings("ignore", "The HMAC key is")

    def identify(self, headers: Mapping[bytes, bytes]) -> Identity:
        """The caller, by its headers (names in lower case).

        Raises Unauthenticated (401), or ApiError: 403 TENANT_MISMATCH, 422 for an invalid tenant header.
        """
        authorization = headers.get(b"authorization")
        if authorization is not None:
            verified = self._verified.get(authorization)
            if verified is None or verified.expires <= time.time():
                verified = self._verify(authorization)
            if verified is not None:
                tenant_header = headers.get(b"x-tenant-id")
                if tenant_header is not None and tenant_header.strip().lower() != verified.tenant_header:
                    raise ApiError(403, "TENANT_MISMATCH", "X-Tenant-ID names another tenant than the token does.")
                return verified.identity
        if not self._trusts_header:
            raise Unauthenticated("missing", "A bearer token is needed.")
        tenant_header = headers.get(b"x-tenant-id")
        if tenant_header is None:
            raise invalid("X-Tenant-ID", "This header is required.")
        return Identity(_tenant_of_header(tenant_header))

    def expires(self, headers: Mapping[bytes, bytes]) -> float:
        """When the token of a caller just identified expires, in seconds since 1970; infinity without a token."""
        verified = self._verified.get(headers.get(b"authorization", b""))
        return math.inf if verified is None else verified.expires

    def _verify(self, authorization: bytes) -> _Verified | None:
        """What the token proves; None for credentials of another scheme."""
        scheme, _, token = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            return None
        if not self._keys:
            raise Unauthenticated("no_key", "Tokens can't be verified here. Send X-Tenant-ID without one.")
        self._verified.pop(authorization, None)
        claims = self._claims(token.strip())
        tenant_id = _uuid_claim(claims, "tenant_id")
        if tenant_id is None:
            raise Unauthenticated("claims", "The token has no tenant_id.")
        identity = Identity(tenant_id, _uuid_claim(claims, "sub"))
        verified = _Verified(identity, str(tenant_id).encode(), int(claims["exp"]) + CLOCK_SKEW_SECONDS)
        while len(self._verified) >= MAXIMUM_CACHED_TOKENS:
            del self._verified[next(iter(self._verified))]
        self._verified[authorization] = verified
        return verified

    def _claims(self, token: bytes) -> Mapping[str, Any]:
        """The claims of a token that is signed with our key, for us, and current. Raises Unauthenticated."""
        if len(token) > MAXIMUM_TOKEN_BYTES:
            raise Unauthenticated("invalid", f"The token has more than {MAXIMUM_TOKEN_BYTES} bytes.")
        has_audience = self._audience is not None  # if not, PyJWT would refuse tokens that name one
        try:
            return jwt.decode(
                token,
                self._key_for(token),
                algorithms=[self._algorithm],
                audience=self._audience,
                issuer=self._issuer,
                leeway=CLOCK_SKEW_SECONDS,
                options={"require": ["exp"], "verify_aud": has_audience, "verify_sub": False, "verify_jti": False},
            )
        except (jwt.PyJWTError, LookupError, ValueError, TypeError, RecursionError) as error:
            raise Unauthenticated(*_REFUSALS.get(type(error), ("invalid", "The token is not valid."))) from None

    def _key_for(self, token: bytes) -> Any:
        """The key that a token names by its kid; a single key needs no kid."""
        if len(self._keys) == 1:
            return next(iter(self._keys.values()))
        key_id = jwt.get_unverified_header(token).get("kid")
        return self._keys[key_id]


_REFUSALS: Final[Mapping[type[Exception], tuple[Reason, str]]] = {
    jwt.ExpiredSignatureError: ("expired", "The token has expired."),
    jwt.ImmatureSignatureError: ("claims", "The token is not valid yet."),
    jwt.InvalidAudienceError: ("claims", "The token is for another audience."),
    jwt.InvalidIssuerError: ("claims", "The token is from another issuer."),
    jwt.InvalidIssuedAtError: ("claims", "The token's iat is not a time."),
    jwt.MissingRequiredClaimError: ("claims", "The token lacks a claim."),
}


def identify(context: RequestContext, identifier: Identifier, *, is_for_users: bool) -> Identity:
    """The caller of a request. Raises Unauthenticated when a user is required and the caller is not one."""
    if is_for_users and b"authorization" not in context.headers:
        raise Unauthenticated("missing", "This is for users: a bearer token with sub is needed.")
    identity = identifier.identify(context.headers)
    context.tenant_id = identity.tenant_id
    if is_for_users and identity.user_id is None:
        raise Unauthenticated("missing", "This is for users: the token has no sub.")
    return identity


def issue_token(
    settings: Settings, identity: Identity, *, minutes: int | None = None, private_key: str | None = None
) -> str:
    """A bearer token that a gateway with these settings accepts.

    minutes       its lifetime; None: access_token_expire_minutes
    private_key   in PEM, for every algorithm but HS256

    Raises SettingsError when there is no key to sign with.
    """
    key = settings.jwt_secret_key if settings.jwt_algorithm == "HS256" else private_key
    if key is None:
        needed = "JWT_SECRET_KEY" if settings.jwt_algorithm == "HS256" else "--key, the private key"
        raise SettingsError(f"a token is signed with {needed}, which is missing")
    now = int(time.time())
    claims: dict[str, Any] = {
        "tenant_id": str(identity.tenant_id),
        "sub": str(identity.user_id) if identity.user_id is not None else None,
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "iat": now,
        "exp": now + 60 * (minutes or settings.access_token_expire_minutes),
    }
    try:
        return jwt.encode(
            {name: value for name, value in claims.items() if value is not None}, key, settings.jwt_algorithm
        )
    except (jwt.PyJWTError, ValueError, TypeError):
        raise SettingsError(f"this key can't sign with {settings.jwt_algorithm}") from None


def check_identity(settings: Settings) -> None:
    """Refuses to start with keys that can't be used and, in production, with settings that let anybody in.

    Raises SettingsError. Outside production, unsafe settings are only warned about.
    """
    Identifier(settings)
    if settings.trusts_tenant_header and not is_loopback(settings.host):
        _refuse_in_production(
            settings,
            f"TRUST_TENANT_HEADER: on {settings.host} anybody who reaches the gateway could act as any tenant. "
            "Set JWT_SECRET_KEY or JWT_PUBLIC_KEY, or HOST=127.0.0.1",
        )
    secret = settings.jwt_secret_key
    if settings.jwt_algorithm == "HS256" and secret is not None and len(secret.encode()) < LEAST_SECRET_BYTES:
        _refuse_in_production(settings, f"JWT_SECRET_KEY: shorter than {LEAST_SECRET_BYTES} bytes: it can be guessed")


def _refuse_in_production(settings: Settings, line: str) -> None:
    if settings.is_production:
        raise SettingsError(line)
    logger.warning(line)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, as nobody else can reach it."""
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host.lower() == "localhost"


@lru_cache(maxsize=4096)
def _tenant_of_header(value: bytes) -> UUID:
    tenant_id = _uuid(value.decode("latin-1").strip())
    if tenant_id is None:
        raise invalid("X-Tenant-ID", "Expected a UUID such as 018f2f6e-7c1a-7000-8000-000000000001.")
    return tenant_id


def _uuid_claim(claims: Mapping[str, Any], name: str) -> UUID | None:
    """A claim that must be a UUID, or None if it is absent. Raises Unauthenticated."""
    value = claims.get(name)
    if value is None:
        return None
    found = _uuid(value) if isinstance(value, str) else None
    if found is None:
        raise Unauthenticated("claims", f"The token's {name} is not a UUID.")
    return found


def _uuid(text: str) -> UUID | None:
    """A UUID in its usual form, with hyphens; uuid.UUID would accept braces and bare digits, too."""
    try:
        found = UUID(text)
    except ValueError:
        return None
    return found if str(found) == text.lower() else None

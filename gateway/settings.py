"""Configuration, read once from the environment.

Precedence: an environment variable, else the default beside its field. The variable's name is the field's name in
upper case. An empty value counts as unset.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

Count = Annotated[int, Meta(ge=1, le=10_000)]
Milliseconds = Annotated[int, Meta(ge=1, le=600_000)]
Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]

_TRUTH: Final = {
    "true": True,
    "1": True,
    "yes": True,
    "on": True,
    "false": False,
    "0": False,
    "no": False,
    "off": False,
}


class SettingsError(Exception):
    """A variable has a value that can't be used; the message is one line that names it."""


class Secret(str):
    """A string that stays out of logs and tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'**********'"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be configured. Times carry their unit in the name."""

    database_url: str | None = None
    """A database that `cardbase deploy` has prepared, reached as cardbase_gateway. None: the embedded one."""
    deploy_database_url: str | None = None
    """What `cardbase deploy` connects with: a role that may create roles and schemas. None: the embedded one."""
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8002
    """0 takes a free port."""
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    """Gateway processes."""
    database_pool_min: Annotated[int, Meta(ge=0, le=1000)] = 5
    """Connections each process opens at its start."""
    database_pool_max: Annotated[int, Meta(ge=1, le=1000)] = 20
    """Connections each process opens at most."""
    database_acquire_timeout_ms: Milliseconds = 2000
    """No connection in this time: 503 DATABASE_BUSY."""
    database_statement_timeout_ms: Milliseconds = 5000
    """A statement that runs longer: 504 TIMEOUT."""
    database_prepared_statements: bool = True
    """False behind a pooler that can't keep them, such as PgBouncer before 1.21 in transaction mode."""
    tenant_connections: Count = 15
    """Connections of each process that one tenant has at most, so that some are left for the others."""
    tenant_waiting: Count = 200
    """Calls of one tenant that wait in each process at most; over it 429 RATE_LIMITED."""
    jwt_secret_key: str | None = None
    jwt_algorithm: Algorithm = "HS256"
    jwt_public_key: str | None = None
    """PEM or a JSON Web Key Set, as text or as the path of a file."""
    jwt_audience: str | None = None
    """What a token's aud has to name. None: not checked."""
    jwt_issuer: str | None = None
    """What a token's iss has to be. None: not checked."""
    access_token_expire_minutes: Annotated[int, Meta(ge=1, le=525_600)] = 60
    """For how long a token that we issue is good."""
    trust_tenant_header: bool | None = None
    """Whether X-Tenant-ID without a token is believed. None: only while no JWT key is set."""
    redis_url: str | None = None
    """Cache, rate limits and pub/sub shared by all processes. None: in the memory of each."""
    rate_limit_per_minute: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Requests of a tenant, over all endpoints. 0: no limit."""
    allowed_origins: tuple[str, ...] = ()
    """CORS; comma separated in the variable."""
    max_body_bytes: Annotated[int, Meta(ge=1, le=1_073_741_824)] = 8_388_608
    idempotency_ttl_hours: Annotated[int, Meta(ge=1, le=8760)] = 24
    default_page_size: Annotated[int, Meta(ge=1, le=1000)] = 20
    max_page_size: Annotated[int, Meta(ge=1, le=1000)] = 100
    environment: Annotated[str, Meta(min_length=1, max_length=64)] = "development"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    data_folder: Path = Path(".cardbase")
    """Where the embedded database lives."""

    @property
    def trusts_tenant_header(self) -> bool:
        """Whether X-Tenant-ID without a token is believed."""
        if self.trust_tenant_header is None:
            return not self.verifies_tokens
        return self.trust_tenant_header

    @property
    def verifies_tokens(self) -> bool:
        """Whether a key is set that bearer tokens can be verified with."""
        return self.jwt_secret_key is not None or self.jwt_public_key is not None


_SECRET_FIELDS: Final = frozenset({"jwt_secret_key", "database_url", "deploy_database_url", "redis_url"})


def _parse(field: msgspec.structs.FieldInfo, text: str) -> Any:
    """The value of one field from its variable's text. Raises ValueError when it isn't one."""
    if field.type is Path:
        return Path(text)
    if field.type == tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if field.type in (bool, bool | None):
        if text.lower() not in _TRUTH:
            raise ValueError("expected true or false")
        return _TRUTH[text.lower()]
    value = msgspec.convert(text, field.type, strict=False)
    return Secret(value) if field.name in _SECRET_FIELDS and isinstance(value, str) else value


def _complaint(error: Exception) -> str:
    return re.sub(r"`(\w+) \| null`", r"`\1`", str(error))


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from environment variables. Raises SettingsError, one line, at the first value that can't be used."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(Settings):
        variable = field.name.upper()
        text = environment.get(variable, "").strip()
        if text:
            try:
                values[field.name] = _parse(field, text)
            except ValueError as error:
                shown = "" if field.name in _SECRET_FIELDS else f", got {text!r}"
                raise SettingsError(f"{variable}: {_complaint(error)}{shown}") from None
    settings = Settings(**values)
    _check(settings)
    return settings


def _check(settings: Settings) -> None:
    """Refuses values that are right one by one but not together."""
    if settings.database_pool_min > settings.database_pool_max:
        raise SettingsError(
            f"DATABASE_POOL_MIN: {settings.database_pool_min} is more than DATABASE_POOL_MAX, "
            f"{settings.database_pool_max}"
        )
    if settings.default_page_size > settings.max_page_size:
        raise SettingsError(
            f"DEFAULT_PAGE_SIZE: {settings.default_page_size} is more than MAX_PAGE_SIZE, {settings.max_page_size}"
        )
    for variable in ("DATABASE_URL", "DEPLOY_DATABASE_URL"):
        url = getattr(settings, variable.lower())
        if url is not None and not url.startswith(("postgresql://", "postgres://")):
            raise SettingsError(f"{variable}: expected a URL that begins with postgresql://")
    if settings.redis_url is not None and not settings.redis_url.startswith(("redis://", "rediss://", "unix://")):
        raise SettingsError("REDIS_URL: expected a URL that begins with redis://, rediss:// or unix://")
    if settings.jwt_algorithm == "HS256":
        if settings.jwt_secret_key is None and settings.jwt_public_key is not None:
            raise SettingsError("JWT_ALGORITHM: HS256 takes JWT_SECRET_KEY, but only JWT_PUBLIC_KEY is set")
    elif settings.jwt_public_key is None:
        raise SettingsError(f"JWT_PUBLIC_KEY: {settings.jwt_algorithm} needs it")

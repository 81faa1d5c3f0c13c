"""Configuration, read once from the environment.

Precedence: an environment variable, else the default beside its field. The variable's name is the field's name in
upper case. An empty value counts as unset. A secret may stand in a file instead, which the variable with _FILE behind
its name names: JWT_SECRET_KEY_FILE.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import quote, urlsplit, urlunsplit

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
    worker_database_url: str | None = None
    """A database that `cardbase deploy` has prepared, reached as cardbase_worker. None: the embedded one."""
    deploy_database_password: str | None = None
    """Of DEPLOY_DATABASE_URL, where the URL has none."""
    gateway_database_password: str | None = None
    """Of DATABASE_URL, where the URL has none; `cardbase deploy` makes it the password of cardbase_gateway."""
    service_database_password: str | None = None
    """`cardbase deploy` makes it the password of cardbase_service."""
    worker_database_password: str | None = None
    """Of WORKER_DATABASE_URL, where the URL has none; `cardbase deploy` makes it the password of cardbase_worker."""
    host: str = "127.0.0.1"
    """Where the gateway listens."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8002
    """Where the gateway listens. 0 takes a free port."""
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
    database_shared_statements: Literal["when_waiting", "always", "never"] = "when_waiting"
    """Which short calls share a statement, with one round trip and one commit: those that would wait, all, or none."""
    tenant_connections: Count = 15
    """Connections of each process that one tenant has at most, so that some are left for the others."""
    tenant_waiting: Count = 200
    """Calls of one tenant that wait in each process at most; over it 429 RATE_LIMITED."""
    jwt_secret_key: str | None = None
    """Verifies bearer tokens with HS256."""
    jwt_algorithm: Algorithm = "HS256"
    """HS256 takes the secret key; RS256, ES256 and EdDSA take the public key. A token with another one is refused."""
    jwt_public_key: str | None = None
    """PEM or a JSON Web Key Set, as text or as the path of a file."""
    jwt_audience: str | None = None
    """What a token's aud has to name. None: not checked."""
    jwt_issuer: str | None = None
    """What a token's iss has to be. None: not checked."""
    access_token_expire_minutes: Annotated[int, Meta(ge=1, le=525_600)] = 60
    """For how long a token that we issue is good."""
    refresh_token_expire_days: Annotated[int, Meta(ge=1, le=3650)] = 30
    """For how long a user who stays away stays signed in."""
    sign_in_attempts_per_account: Count = 10
    """Failed attempts to sign in with one email address within 15 minutes; over it 429 RATE_LIMITED."""
    sign_in_attempts_per_address: Count = 100
    """Failed attempts to sign in, and registrations, from one network address within 15 minutes."""
    integration_encryption_key: str | None = None
    """32 bytes in base64 that the settings of integrations are encrypted with. None: they can't be stored."""
    outgoing_allowed_networks: tuple[str, ...] = ()
    """Networks like 10.1.0.0/16 that integrations may lead to, though not public; comma separated in the variable."""
    trust_tenant_header: bool | None = None
    """Whether X-Tenant-ID without a token is believed. None: only while no JWT key is set."""
    redis_url: str | None = None
    """Cache, rate limits and pub/sub shared by all processes. None: in the memory of each."""
    rate_limit_per_minute: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Requests of a tenant, over all endpoints. 0: no limit."""
    search_connections: Count = 5
    """Connections of each process that searches have at most, as they take their time; one tenant's: three quarters."""
    search_rate_limit_per_minute: Annotated[int, Meta(ge=0, le=10_000_000)] = 600
    """Requests of a tenant at each endpoint that searches, which cost more than others. 0: no limit of their own."""
    allowed_origins: tuple[str, ...] = ()
    """CORS; comma separated in the variable."""
    max_body_bytes: Annotated[int, Meta(ge=1, le=1_073_741_824)] = 8_388_608
    """A longer body: 413 PAYLOAD_TOO_LARGE."""
    usage_retention_days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    """For how many days a worker leaves usage events. None: for ever."""
    event_streams: Count = 2000
    """Event streams of each process at most; over it 503 TOO_MANY_STREAMS."""
    tenant_event_streams: Count = 1000
    """Event streams of one tenant in each process at most; over it 429 RATE_LIMITED."""
    event_retention_minutes: Annotated[int, Meta(ge=1, le=10_080)] = 60
    """For how many minutes a worker leaves events: for so long a client that comes again has missed nothing."""
    maintenance_interval_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 60
    """How often a worker looks what there is to remove."""
    worker_jobs: Annotated[int, Meta(ge=2, le=10_000)] = 100
    """Jobs that a worker is at, at most."""
    worker_heartbeat_seconds: Annotated[float, Meta(ge=0.5, le=3600)] = 30
    """A worker that was not heard of for so long is taken for dead, and its jobs are run elsewhere."""
    job_time_limit_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 300
    """An attempt at a job that takes longer is interrupted, and has failed."""
    job_retry_seconds: Annotated[float, Meta(gt=0, le=3600)] = 5
    """Until the second attempt at a job; the pause doubles from attempt to attempt, up to an hour."""
    job_retention_hours: Annotated[int, Meta(ge=1, le=876_000)] = 168
    """For how many hours a worker leaves jobs that have ended."""
    worker_metrics_port: Annotated[int, Meta(ge=0, le=65535)] = 8003
    """Where a worker has its metrics, on HOST. 0 takes a free port."""
    idempotency_ttl_hours: Annotated[int, Meta(ge=1, le=8760)] = 24
    """For how long the answer to an idempotency key is kept."""
    default_page_size: Annotated[int, Meta(ge=1, le=1000)] = 20
    """Of the core resources; cards have their own."""
    max_page_size: Annotated[int, Meta(ge=1, le=1000)] = 100
    """Of the core resources; cards have their own."""
    environment: Annotated[str, Meta(min_length=1, max_length=64)] = "development"
    """Shown by /api/v1/info; in `production` what is unsafe is refused."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Of the log: JSON lines outside a terminal."""
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


_PASSWORD_OF: Final = {
    "database_url": "gateway_database_password",
    "deploy_database_url": "deploy_database_password",
    "worker_database_url": "worker_database_password",
}
_SECRET_FIELDS: Final = frozenset(
    {
        "jwt_secret_key",
        "integration_encryption_key",
        "redis_url",
        "service_database_password",
        *_PASSWORD_OF,
        *_PASSWORD_OF.values(),
    }
)


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
        if not text and field.name in _SECRET_FIELDS:
            text = _read_secret(environment, variable)
        if text:
            try:
                values[field.name] = _parse(field, text)
            except ValueError as error:
                shown = "" if field.name in _SECRET_FIELDS else f", got {text!r}"
                raise SettingsError(f"{variable}: {_complaint(error)}{shown}") from None
    settings = Settings(**values)
    _check(settings)
    return _with_passwords(settings)


def _read_secret(environment: Mapping[str, str], variable: str) -> str:
    """The text of the file that NAME_FILE names; empty without one."""
    file = environment.get(f"{variable}_FILE", "").strip()
    try:
        return Path(file).read_text(encoding="utf-8").strip() if file else ""
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{variable}_FILE: {file} can't be read: {error}") from None


def _with_passwords(settings: Settings) -> Settings:
    """Puts passwords that stand apart into the URLs that have a user and no password."""
    changes = {}
    for name, password_name in _PASSWORD_OF.items():
        url, password = getattr(settings, name), getattr(settings, password_name)
        if url is None or password is None:
            continue
        parts = urlsplit(url)
        user, at, where = parts.netloc.rpartition("@")
        if at and ":" not in user:
            changes[name] = Secret(urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{where}")))
    return msgspec.structs.replace(settings, **changes)


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
    for variable in ("DATABASE_URL", "DEPLOY_DATABASE_URL", "WORKER_DATABASE_URL"):
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

"""Configuration, read once from environment variables.

A variable has the name of its field in upper case. If it is unset or empty, the default next to the field applies.
A secret may be in a file instead, whose path is in the variable with the suffix _FILE: JWT_SECRET_KEY_FILE.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin
from urllib.parse import quote, urlsplit, urlunsplit

import msgspec
from msgspec import Meta
from msgspec.inspect import IntType, StrType, type_info

Count = Annotated[int, Meta(ge=1, le=10_000)]
Milliseconds = Annotated[int, Meta(ge=1, le=600_000)]
Algorithm = Literal["HS256", "RS256", "ES256", "EdDSA"]

_BOOLEANS: Final = {"yes": "true", "on": "true", "no": "false", "off": "false"}
"""What msgspec doesn't take for a boolean already."""


class SettingsError(Exception):
    """A variable has an invalid value. The message is one line that names the variable and never shows a secret."""


class Secret(str):
    """A string that stays out of logs and tracebacks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'**********'"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be configured. The name of a time includes its unit."""

    database_url: str | None = None
    """The database that the gateway connects to, as cardbase_gateway. Unset: the embedded one."""
    deploy_database_url: str | None = None
    """The database that `cardbase deploy` deploys to, as a role that may create roles. Unset: the embedded one."""
    worker_database_url: str | None = None
    """The database that workers connect to, as cardbase_worker. Unset: the embedded one."""
    deploy_database_password: str | None = None
    """The password for DEPLOY_DATABASE_URL, if the URL has none."""
    gateway_database_password: str | None = None
    """The password for DATABASE_URL, if the URL has none. `cardbase deploy` sets it for cardbase_gateway."""
    service_database_password: str | None = None
    """The password that `cardbase deploy` sets for cardbase_service."""
    worker_database_password: str | None = None
    """The password for WORKER_DATABASE_URL, if the URL has none. `cardbase deploy` sets it for cardbase_worker."""
    host: str = "127.0.0.1"
    """The address that gateway and worker listen on."""
    port: Annotated[int, Meta(ge=0, le=65535)] = 8002
    """The port that the gateway listens on. 0: any free port."""
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    """Gateway processes. All settings per process apply to each of them."""
    database_pool_min: Annotated[int, Meta(ge=0, le=1000)] = 5
    """Database connections that each process opens at startup."""
    database_pool_max: Annotated[int, Meta(ge=1, le=1000)] = 20
    """Maximum number of pooled database connections of each process."""
    database_acquire_timeout_ms: Milliseconds = 2000
    """How long a call waits for a connection before it fails with 503 DATABASE_BUSY."""
    database_statement_timeout_ms: Milliseconds = 5000
    """How long a statement may run before it fails with 504 TIMEOUT."""
    database_prepared_statements: bool = True
    """Set to false behind a pooler that doesn't support them, such as PgBouncer before 1.21 in transaction mode."""
    database_shared_statements: Literal["when_waiting", "always", "never"] = "when_waiting"
    """Which short calls are batched into one statement: those that would wait for a connection, all, or none."""
    tenant_connections: Count = 15
    """Connections of each process that one tenant may use at the same time, so that some are left for others."""
    tenant_waiting: Count = 200
    """Calls of one tenant that may wait in each process; further ones fail with 429 RATE_LIMITED."""
    jwt_secret_key: str | None = None
    """The key that verifies bearer tokens with HS256."""
    jwt_algorithm: Algorithm = "HS256"
    """HS256 uses the secret key; RS256, ES256 and EdDSA use the public key. Other tokens are refused."""
    jwt_public_key: str | None = None
    """PEM or a JSON Web Key Set, as text or as the path of a file."""
    jwt_audience: str | None = None
    """The audience that a token's aud must contain. Unset: not checked."""
    jwt_issuer: str | None = None
    """The issuer that a token's iss must equal. Unset: not checked."""
    access_token_expire_minutes: Annotated[int, Meta(ge=1, le=525_600)] = 60
    """Lifetime of the access tokens that cardbase issues."""
    refresh_token_expire_days: Annotated[int, Meta(ge=1, le=3650)] = 30
    """How long an inactive user stays signed in."""
    sign_up: Literal["open", "closed"] | None = None
    """Whether anybody may register a new tenant; closed, users only join with a token of theirs. Unset: open, except in
    production."""
    integration_encryption_key: str | None = None
    """The key that integrations' settings are encrypted with: 32 bytes in base64. Unset: they can't be stored."""
    outgoing_allowed_networks: tuple[str, ...] = ()
    """Non-public networks that integrations may call, comma-separated: 10.1.0.0/16."""
    trust_tenant_header: bool | None = None
    """Whether X-Tenant-ID is accepted without a token. Unset: only if no JWT key is set."""
    redis_url: str | None = None
    """Redis, where all processes share their cache and rate limits. Unset: each process keeps its own, in memory."""
    rate_limit_per_minute: Annotated[int, Meta(ge=0, le=10_000_000)] = 0
    """Requests per tenant, over all endpoints. 0: no limit."""
    search_connections: Count = 5
    """Connections of each process that searches may use, as they are slow; one tenant's searches: three quarters."""
    search_rate_limit_per_minute: Annotated[int, Meta(ge=0, le=10_000_000)] = 600
    """Requests per tenant to each search endpoint. 0: no limit besides RATE_LIMIT_PER_MINUTE."""
    trusted_proxies: tuple[str, ...] = ()
    """Networks whose X-Forwarded-For and X-Forwarded-Proto are believed, comma-separated: 10.1.0.0/16."""
    allowed_hosts: tuple[str, ...] = ()
    """Hosts that requests may be for, comma-separated, others are 421 MISDIRECTED_REQUEST; *.example.com: all names
    below. Unset: any, but while X-Tenant-ID is trusted only HOST and loopback names."""
    allowed_origins: tuple[str, ...] = ()
    """Origins allowed by CORS, comma-separated."""
    max_body_bytes: Annotated[int, Meta(ge=1, le=1_073_741_824)] = 8_388_608
    """Maximum size of a request body; a larger one is refused with 413 PAYLOAD_TOO_LARGE."""
    body_timeout_ms: Milliseconds = 10_000
    """How long a request's headers, and then its body, may take to arrive: 408 REQUEST_TIMEOUT."""
    body_budget_bytes: Annotated[int, Meta(ge=1, le=1_099_511_627_776)] = 268_435_456
    """Bytes of request bodies that each process holds; further ones are refused with 503 SERVER_BUSY."""
    max_header_bytes: Annotated[int, Meta(ge=1024, le=1_048_576)] = 32_768
    """Maximum size of request line, headers and trailers, of which there are 100 at most: 431 HEADERS_TOO_LARGE."""
    usage_retention_days: Annotated[int, Meta(ge=1, le=36_500)] | None = None
    """How long usage events are kept. Unset: forever."""
    event_streams: Count = 1000
    """Event streams of each process, a tenth of them of one tenant, 20 of one user: 503 TOO_MANY_STREAMS, or 429."""
    event_retention_minutes: Annotated[int, Meta(ge=1, le=10_080)] = 60
    """How long events are kept: a client that reconnects within this time misses nothing."""
    maintenance_interval_seconds: Annotated[int, Meta(ge=1, le=86_400)] = 60
    """How often a worker looks for expired rows to remove."""
    worker_jobs: Annotated[int, Meta(ge=2, le=10_000)] = 100
    """Jobs that a worker runs at the same time."""
    tenant_running_jobs: Count | None = None
    """Jobs of one tenant that all workers together run at the same time. Unset: half of what they can run."""
    worker_heartbeat_seconds: Annotated[float, Meta(ge=0.5, le=3600)] = 30
    """A worker without a sign of life for this long is considered dead, and its jobs are run by others."""
    job_time_limit_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 300
    """How long one attempt at a job may take before it is interrupted and counts as failed."""
    job_retry_seconds: Annotated[float, Meta(gt=0, le=3600)] = 5
    """Delay before the second attempt at a job; it doubles with every attempt, up to an hour."""
    job_retention_hours: Annotated[int, Meta(ge=1, le=876_000)] = 168
    """How long finished jobs are kept."""
    tenant_pending_jobs: Annotated[int, Meta(ge=1, le=100_000)] = 10_000
    """Jobs that one tenant may have pending; further ones fail with 429 RATE_LIMITED. `cardbase deploy` applies it."""
    embed_memories: bool | None = None
    """Whether writing a memory embeds it in the background. Unset: if `cardbase deploy` finds the extra `embed`."""
    worker_metrics_port: Annotated[int, Meta(ge=0, le=65535)] = 8003
    """The port that a worker serves its metrics on, at HOST. 0: any free port."""
    idempotency_ttl_hours: Annotated[int, Meta(ge=1, le=8760)] = 24
    """How long the response to a request with an idempotency key is kept."""
    default_page_size: Annotated[int, Meta(ge=1, le=1000)] = 20
    """Items per page of users, memories, conversations, messages, tasks, integrations and jobs."""
    max_page_size: Annotated[int, Meta(ge=1, le=1000)] = 100
    """Largest page size that a request may ask for. Cards have page sizes of their own."""
    environment: Annotated[str, Meta(min_length=1, max_length=64)] = "development"
    """Shown by /api/v1/info. In `production`, unsafe settings are refused."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level that is logged. Outside a terminal the log is JSON lines."""
    data_folder: Path = Path(".cardbase")
    """The folder of the embedded database."""

    @property
    def is_production(self) -> bool:
        """Whether unsafe settings are refused."""
        return self.environment.lower() == "production"

    @property
    def trusts_tenant_header(self) -> bool:
        """Whether X-Tenant-ID is accepted without a token."""
        if self.trust_tenant_header is None:
            return not self.verifies_tokens
        return self.trust_tenant_header

    @property
    def signs_tokens(self) -> bool:
        """Whether users can sign in: tokens are issued with the secret key."""
        return self.jwt_algorithm == "HS256" and self.jwt_secret_key is not None

    @property
    def verifies_tokens(self) -> bool:
        """Whether a key is set that verifies bearer tokens."""
        return self.jwt_secret_key is not None or self.jwt_public_key is not None


_PASSWORD_OF: Final = {
    "database_url": "gateway_database_password",
    "deploy_database_url": "deploy_database_password",
    "worker_database_url": "worker_database_password",
}
_SECRET_FIELDS: Final = {
    *("jwt_secret_key", "integration_encryption_key", "redis_url", "service_database_password"),
    *(*_PASSWORD_OF, *_PASSWORD_OF.values()),
}


def load_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from environment variables. Raises SettingsError, one line, at the first invalid value."""
    values: dict[str, Any] = {}
    for field in msgspec.structs.fields(Settings):
        variable = field.name.upper()
        text = environment.get(variable, "").strip()
        if field.name in _SECRET_FIELDS:
            if text := text or _read_secret(environment, variable):
                values[field.name] = Secret(text)
        elif text:
            try:
                values[field.name] = _parse(field.type, text)
            except ValueError:
                raise SettingsError(f"{variable} must be {_requirement(field.type, text)}") from None
    settings = Settings(**values)
    _check(settings)
    return _with_passwords(settings)


def _read_secret(environment: Mapping[str, str], variable: str) -> str:
    """The content of the file that NAME_FILE names; empty if it names none."""
    file = environment.get(f"{variable}_FILE", "").strip()
    try:
        return Path(file).read_text(encoding="utf-8").strip() if file else ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"{variable}_FILE names {file}, which can't be read: {reason}") from None


def _parse(kind: Any, text: str) -> Any:
    """A variable's text as a field's type. Raises ValueError if it isn't one."""
    if kind is Path:
        return Path(text)
    if kind == tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if bool in (kind, *get_args(kind)):
        text = _BOOLEANS.get(text.lower(), text)
    return msgspec.convert(text, kind, strict=False)


def _requirement(kind: Any, text: str) -> str:
    """What a value of a field's type must be, and that this text is not: `a whole number, not 'abc'`."""
    kind = next((each for each in get_args(kind) if type(None) in get_args(kind)), kind)  # the int of `int | None`
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}, not {text!r}"
    if bool in (kind, *get_args(kind)):
        return f"true or false, not {text!r}"
    info: Any = type_info(kind)
    if isinstance(info, StrType):
        return f"at most {info.max_length} characters long, not {text!r}"
    is_whole = isinstance(info, IntType)
    try:
        msgspec.convert(text, int if is_whole else float, strict=False)
    except ValueError:
        return f"{'a whole number' if is_whole else 'a number'}, not {text!r}"
    least = f"more than {info.gt}" if info.ge is None else f"at least {info.ge}"
    return f"{least} and at most {info.le}, not {text}"


def _with_passwords(settings: Settings) -> Settings:
    """Puts separate passwords into the URLs that have a user but no password."""
    changes = {}
    for name, password_name in _PASSWORD_OF.items():
        url, password = getattr(settings, name), getattr(settings, password_name)
        if url is None or password is None:
            continue
        parts = urlsplit(url)
        user, at, host = parts.netloc.rpartition("@")
        if at and ":" not in user:
            changes[name] = Secret(urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}")))
    return msgspec.structs.replace(settings, **changes)


def _check(settings: Settings) -> None:
    """Refuses URLs of another scheme, and values that don't go together."""
    for low, high in (("database_pool_min", "database_pool_max"), ("default_page_size", "max_page_size")):
        value, limit = getattr(settings, low), getattr(settings, high)
        if value > limit:
            raise SettingsError(f"{low.upper()} must be at most {high.upper()} ({limit}), not {value}")
    for name in _PASSWORD_OF:
        if not (getattr(settings, name) or "postgresql://").startswith(("postgresql://", "postgres://")):
            raise SettingsError(f"{name.upper()} must be a URL that begins with postgresql://")
    if not (settings.redis_url or "redis://").startswith(("redis://", "rediss://", "unix://")):
        raise SettingsError("REDIS_URL must be a URL that begins with redis://, rediss:// or unix://")
    if settings.jwt_algorithm == "HS256":
        if settings.jwt_secret_key is None and settings.jwt_public_key is not None:
            raise SettingsError("JWT_ALGORITHM=HS256 needs JWT_SECRET_KEY, but only JWT_PUBLIC_KEY is set")
    elif settings.jwt_public_key is None:
        raise SettingsError(f"JWT_ALGORITHM={settings.jwt_algorithm} needs JWT_PUBLIC_KEY, which is not set")

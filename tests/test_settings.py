"""Configuration from environment variables."""

import re
from pathlib import Path
from typing import Any

import pytest
from support.gateways import run_cardbase

from gateway.settings import Settings, SettingsError, load_settings

SECRET = "correct-horse-battery-staple-0123456789"


def test_defaults_are_those_that_are_documented() -> None:
    settings = load_settings({})
    documented = {
        "database_url": None,
        "deploy_database_url": None,
        "host": "127.0.0.1",
        "port": 8002,
        "workers": 1,
        "database_pool_min": 5,
        "database_pool_max": 20,
        "database_acquire_timeout_ms": 2000,
        "database_statement_timeout_ms": 5000,
        "jwt_secret_key": None,
        "jwt_algorithm": "HS256",
        "jwt_public_key": None,
        "access_token_expire_minutes": 60,
        "redis_url": None,
        "rate_limit_per_minute": 0,
        "search_rate_limit_per_minute": 600,
        "trusted_proxies": (),
        "allowed_hosts": (),
        "allowed_origins": (),
        "max_body_bytes": 8_388_608,
        "max_header_bytes": 32_768,
        "body_timeout_ms": 10_000,
        "body_budget_bytes": 268_435_456,
        "idempotency_ttl_hours": 24,
        "default_page_size": 20,
        "max_page_size": 100,
        "environment": "development",
        "log_level": "info",
        "data_folder": Path(".cardbase"),
    }
    assert {name: getattr(settings, name) for name in documented} == documented


@pytest.mark.parametrize(
    ("environment", "trusted"),
    [
        ({}, True),
        ({"JWT_SECRET_KEY": SECRET}, False),
        ({"JWT_PUBLIC_KEY": "-----BEGIN PUBLIC KEY-----", "JWT_ALGORITHM": "ES256"}, False),
        ({"JWT_SECRET_KEY": SECRET, "TRUST_TENANT_HEADER": "true"}, True),
        ({"TRUST_TENANT_HEADER": "false"}, False),
    ],
    ids=["no key", "secret", "public key", "secret, told to trust", "told not to trust"],
)
def test_tenant_header_is_trusted_while_no_key_is_set(environment: dict[str, str], trusted: bool) -> None:
    assert load_settings(environment).trusts_tenant_header is trusted


@pytest.mark.parametrize(
    ("variable", "text", "field", "value"),
    [
        ("PORT", "0", "port", 0),
        ("PORT", " 80 ", "port", 80),
        ("PORT", "", "port", 8002),
        ("WORKERS", "2", "workers", 2),
        ("TRUST_TENANT_HEADER", "Yes", "trust_tenant_header", True),
        ("TRUST_TENANT_HEADER", "0", "trust_tenant_header", False),
        ("ALLOWED_ORIGINS", "https://a.example, https://b.example,", "allowed_origins", ("https://a.example", "https://b.example")),
        ("LOG_LEVEL", "debug", "log_level", "debug"),
        ("DATA_FOLDER", "/srv/cards", "data_folder", Path("/srv/cards")),
        ("DATABASE_URL", "postgres://u@h/d", "database_url", "postgres://u@h/d"),
        ("REDIS_URL", "rediss://cache:6380/1", "redis_url", "rediss://cache:6380/1"),
    ],
)  # fmt: skip
def test_variable_becomes_a_setting(variable: str, text: str, field: str, value: Any) -> None:
    assert getattr(load_settings({variable: text}), field) == value


WHOLE = "a whole number"
PORTS = "at least 0 and at most 65535"
MILLISECONDS = "at least 1 and at most 600000"


@pytest.mark.parametrize(
    ("variable", "text", "complaint"),
    [
        ("PORT", "eighty", f"{WHOLE}, not 'eighty'"),
        ("PORT", "-1", f"{PORTS}, not -1"),
        ("PORT", "65536", f"{PORTS}, not 65536"),
        ("PORT", "80.5", f"{WHOLE}, not '80.5'"),
        ("PORT", "8_002", f"{WHOLE}, not '8_002'"),
        ("WORKERS", "0", "at least 1 and at most 64, not 0"),
        ("WORKERS", "many", f"{WHOLE}, not 'many'"),
        ("DATABASE_POOL_MIN", "-1", "at least 0 and at most 1000, not -1"),
        ("DATABASE_POOL_MIN", "21", "at most DATABASE_POOL_MAX (20), not 21"),
        ("DATABASE_POOL_MAX", "0", "at least 1 and at most 1000, not 0"),
        ("DATABASE_ACQUIRE_TIMEOUT_MS", "0", f"{MILLISECONDS}, not 0"),
        ("DATABASE_ACQUIRE_TIMEOUT_MS", "2s", f"{WHOLE}, not '2s'"),
        ("DATABASE_STATEMENT_TIMEOUT_MS", "0", f"{MILLISECONDS}, not 0"),
        ("DATABASE_STATEMENT_TIMEOUT_MS", "600001", f"{MILLISECONDS}, not 600001"),
        ("DATABASE_SHARED_STATEMENTS", "often", "one of when_waiting, always, never, not 'often'"),
        ("TENANT_CONNECTIONS", "0", "at least 1 and at most 10000, not 0"),
        ("TENANT_WAITING", "0", "at least 1 and at most 10000, not 0"),
        ("DATABASE_URL", "mysql://localhost/cards", "a URL that begins with postgresql://"),
        ("DATABASE_URL", "localhost", "a URL that begins with postgresql://"),
        ("DEPLOY_DATABASE_URL", "sqlite://", "a URL that begins with postgresql://"),
        ("WORKER_DATABASE_URL", "db:5432", "a URL that begins with postgresql://"),
        ("REDIS_URL", "http://localhost", "a URL that begins with redis://, rediss:// or unix://"),
        ("JWT_ALGORITHM", "none", "one of HS256, RS256, ES256, EdDSA, not 'none'"),
        ("JWT_ALGORITHM", "HS512", "one of HS256, RS256, ES256, EdDSA, not 'HS512'"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "0", "at least 1 and at most 525600, not 0"),
        ("TRUST_TENANT_HEADER", "maybe", "true or false, not 'maybe'"),
        ("DATABASE_PREPARED_STATEMENTS", "2", "true or false, not '2'"),
        ("RATE_LIMIT_PER_MINUTE", "-1", "at least 0 and at most 10000000, not -1"),
        ("MAX_BODY_BYTES", "0", "at least 1 and at most 1073741824, not 0"),
        ("MAX_BODY_BYTES", "8M", f"{WHOLE}, not '8M'"),
        ("BODY_TIMEOUT_MS", "0", f"{MILLISECONDS}, not 0"),
        ("BODY_BUDGET_BYTES", "0", "at least 1 and at most 1099511627776, not 0"),
        ("USAGE_RETENTION_DAYS", "ninety", f"{WHOLE}, not 'ninety'"),
        ("USAGE_RETENTION_DAYS", "0", "at least 1 and at most 36500, not 0"),
        ("WORKER_HEARTBEAT_SECONDS", "soon", "a number, not 'soon'"),
        ("WORKER_HEARTBEAT_SECONDS", "nan", "at least 0.5 and at most 3600, not nan"),
        ("JOB_TIME_LIMIT_SECONDS", "0", "more than 0 and at most 86400, not 0"),
        ("IDEMPOTENCY_TTL_HOURS", "0", "at least 1 and at most 8760, not 0"),
        ("DEFAULT_PAGE_SIZE", "0", "at least 1 and at most 1000, not 0"),
        ("DEFAULT_PAGE_SIZE", "101", "at most MAX_PAGE_SIZE (100), not 101"),
        ("MAX_PAGE_SIZE", "1001", "at least 1 and at most 1000, not 1001"),
        ("ENVIRONMENT", "x" * 65, f"at most 64 characters long, not '{'x' * 65}'"),
        ("SIGN_UP", "ajar", "one of open, closed, not 'ajar'"),
        ("LOG_LEVEL", "loud", "one of debug, info, warning, error, not 'loud'"),
        ("LOG_LEVEL", "a\nb", "one of debug, info, warning, error, not 'a\\nb'"),
    ],
)
def test_wrong_value_is_one_line_that_says_what_it_must_be(variable: str, text: str, complaint: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({variable: text})
    assert str(refused.value) == f"{variable} must be {complaint}"


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"DATABASE_POOL_MAX": "4"}, {"DATABASE_POOL_MIN", "DATABASE_POOL_MAX"}),
        ({"MAX_PAGE_SIZE": "19"}, {"DEFAULT_PAGE_SIZE", "MAX_PAGE_SIZE"}),
        ({"JWT_ALGORITHM": "RS256", "JWT_SECRET_KEY": SECRET}, {"JWT_PUBLIC_KEY", "RS256"}),
        ({"JWT_PUBLIC_KEY": "-----BEGIN PUBLIC KEY-----"}, {"JWT_ALGORITHM", "JWT_SECRET_KEY", "JWT_PUBLIC_KEY"}),
    ],
    ids=["pool", "pages", "key of the wrong kind", "algorithm of the wrong kind"],
)
def test_values_that_do_not_go_together_are_one_line_that_names_them(
    environment: dict[str, str], named: set[str]
) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(environment)
    line = str(refused.value)
    assert named <= set(re.findall(r"\w+", line))
    assert "\n" not in line
    assert SECRET not in line


@pytest.mark.parametrize("variable", ["DATABASE_URL", "DEPLOY_DATABASE_URL", "REDIS_URL"])
def test_refusal_does_not_show_an_address_that_may_hold_a_password(variable: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings({variable: f"ftp://user:{SECRET}@host"})
    assert str(refused.value).startswith(f"{variable} must be a URL that begins with ")
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), (b"\xff", "it is not UTF-8 text")]
)
def test_file_of_a_secret_that_cannot_be_read_is_one_line(content: bytes | None, reason: str, tmp_path: Path) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError) as refused:
        load_settings({"JWT_SECRET_KEY_FILE": str(file)})
    assert str(refused.value) == f"JWT_SECRET_KEY_FILE names {file}, which can't be read: {reason}"


def test_settings_do_not_show_their_secrets() -> None:
    settings = load_settings(
        {
            "DATABASE_URL": f"postgresql://user:{SECRET}@host/cards",
            "DEPLOY_DATABASE_URL": f"postgresql://owner:{SECRET}@host/cards",
            "REDIS_URL": f"redis://:{SECRET}@cache",
            "JWT_SECRET_KEY": SECRET,
        }
    )
    assert settings.jwt_secret_key == SECRET
    assert SECRET not in repr(settings)
    assert SECRET not in f"{settings!s}"


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().port = 80  # type: ignore[misc]


@pytest.mark.parametrize("command", ["serve", "deploy"])
def test_command_stops_with_status_2_and_one_line(command: str, tmp_path: Path) -> None:
    done = run_cardbase(command, folder=tmp_path, DATABASE_POOL_MAX="none")
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line == "cardbase: DATABASE_POOL_MAX must be a whole number, not 'none'"
    assert list(tmp_path.iterdir()) == []

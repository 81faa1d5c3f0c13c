"""Passwords of the login roles. The server is sent a verifier, never the password, so no log can contain it."""

import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from typing import Final

from gateway.database.connect import connected
from gateway.errors import DATABASE_ERRORS
from gateway.observe.logs import describe
from gateway.operate.deploy import DeployError
from gateway.settings import Settings, SettingsError

ITERATIONS: Final = 4096
"""The server's default (scram_iterations)."""


def wanted_passwords(settings: Settings) -> dict[str, str]:
    """The passwords in the settings, by login role. Raises SettingsError."""
    passwords = {}
    for role in ("gateway", "service", "worker"):
        password: str | None = getattr(settings, f"{role}_database_password")
        if password is None:
            continue
        if not (password.isascii() and password.isprintable()):
            # Other characters are normalized before they are hashed (SASLprep), and not by all clients alike.
            raise SettingsError(f"{role.upper()}_DATABASE_PASSWORD must consist of printable ASCII characters")
        passwords[f"cardbase_{role}"] = password
    return passwords


def scram_verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """What a server stores for a password: `SCRAM-SHA-256$iterations:salt$stored key:server key` (RFC 5803)."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (
        base64.b64encode(part).decode() for part in (salt, hashlib.sha256(client_key).digest(), server_key)
    )
    return f"SCRAM-SHA-256${iterations}:{salt64}${stored64}:{server64}"


async def set_passwords(url: str, passwords: Mapping[str, str]) -> None:
    """Sets passwords of roles, in one transaction. Raises DeployError."""
    try:
        async with connected(url, "cardbase deploy") as connection:
            statements = (
                f"alter role {role} password '{scram_verifier(password, os.urandom(16))}'"
                for role, password in passwords.items()
            )
            await connection.execute(";".join(statements))
    except DATABASE_ERRORS as error:
        raise DeployError(f"cannot set the passwords: {describe(error)}") from error

"""Passwords of the roles that log in. The server gets a verifier, never the password: no log can hold it."""

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
"""The server's own choice (scram_iterations)."""


def wanted_passwords(settings: Settings) -> dict[str, str]:
    """The password of each login role that the settings name one for. Raises SettingsError."""
    fields = ("gateway_database_password", "service_database_password", "worker_database_password")
    wanted = {f"cardbase_{name.partition('_')[0]}": getattr(settings, name) for name in fields}
    for name in fields:
        password = getattr(settings, name)
        if password is not None and not (password.isascii() and password.isprintable()):
            # Others are normalized before they are hashed (SASLprep), and not by all clients alike.
            raise SettingsError(f"{name.upper()}: expected printable ASCII characters")
    return {role: password for role, password in wanted.items() if password is not None}


def scram_verifier(password: str, salt: bytes, iterations: int = ITERATIONS) -> str:
    """What a server stores of a password: `SCRAM-SHA-256$iterations:salt$stored key:server key` (RFC 5803)."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    salt64, stored64, server64 = (
        base64.b64encode(part).decode() for part in (salt, hashlib.sha256(client_key).digest(), server_key)
    )
    return f"SCRAM-SHA-256${iterations}:{salt64}${stored64}:{server64}"


async def set_passwords(url: str, passwords: Mapping[str, str]) -> None:
    """Gives roles their passwords, in one transaction. Raises DeployError."""
    try:
        async with connected(url, "cardbase deploy") as connection:
            statements = (
                f"alter role {role} password '{scram_verifier(password, os.urandom(16))}'"
                for role, password in passwords.items()
            )
            await connection.execute(";".join(statements))
    except DATABASE_ERRORS as error:
        raise DeployError(f"the passwords can't be set: {describe(error)}") from error

"""The keys that verify bearer tokens, read once at the start from a secret, a PEM text or a JSON Web Key Set."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.settings import Settings, SettingsError


def verification_keys(settings: Settings) -> Mapping[str | None, Any]:
    """The keys that verify tokens, by their kid; empty: tokens can't be verified. Raises SettingsError."""
    algorithm = jwt.get_algorithm_by_name(settings.jwt_algorithm)
    if settings.jwt_algorithm == "HS256":
        try:
            return {} if settings.jwt_secret_key is None else {None: algorithm.prepare_key(settings.jwt_secret_key)}
        except jwt.InvalidKeyError:
            raise SettingsError("JWT_SECRET_KEY: this is a public key, which everybody may know") from None
    if settings.jwt_public_key is None:
        return {}
    keys: dict[str | None, Any] = {}
    for key_id, key in _public_keys(_key_text(settings.jwt_public_key), settings.jwt_algorithm):
        try:
            algorithm.prepare_key(key)
        except (jwt.InvalidKeyError, TypeError):
            continue  # for another algorithm
        if key_id in keys:
            raise SettingsError(f"JWT_PUBLIC_KEY: two keys of the set have the kid {key_id!r}")
        if complaint := algorithm.check_key_length(key):
            raise SettingsError(f"JWT_PUBLIC_KEY: {complaint}")
        keys[key_id] = key
    if not keys:
        raise SettingsError(f"JWT_PUBLIC_KEY: no key for {settings.jwt_algorithm} in it")
    return keys


def _key_text(value: str) -> str:
    """The PEM or JSON text: the value itself, or the content of the file that it names."""
    # In many environment files a line end is written as two characters.
    text = value.strip().replace("\\n", "\n")
    if text.startswith(("-----BEGIN", "{")):
        return text
    try:
        return Path(value).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise SettingsError(f"JWT_PUBLIC_KEY: expected PEM, a JWK Set, or the path of either: {reason}") from None


def _public_keys(text: str, algorithm: str) -> list[tuple[str | None, Any]]:
    """The keys of a PEM text or a JWK Set (RFC 7517), each with its kid. jwt.PyJWKSet would leave out Ed448 keys."""
    if "PRIVATE KEY" in text:
        raise SettingsError("JWT_PUBLIC_KEY: this is a private key; the gateway needs only the public one")
    if not text.startswith("{"):
        try:
            return [(None, load_pem_public_key(text.encode()))]
        except (ValueError, UnsupportedAlgorithm):
            raise SettingsError("JWT_PUBLIC_KEY: this is not a public key in PEM") from None
    try:
        entries = msgspec.convert(msgspec.json.decode(text)["keys"], list[dict[str, Any]])
    except (msgspec.MsgspecError, KeyError, TypeError):
        raise SettingsError('JWT_PUBLIC_KEY: this is not a JSON Web Key Set, {"keys": [{…}]}') from None
    if any("d" in entry or entry.get("kty") == "oct" for entry in entries):
        raise SettingsError("JWT_PUBLIC_KEY: the set holds a private key; the gateway needs only the public ones")
    keys: list[tuple[str | None, Any]] = []
    for entry in entries:
        if entry.get("use", "sig") == "sig" and entry.get("alg", algorithm) == algorithm:
            with suppress(jwt.PyJWTError, ValueError, TypeError):
                keys.append((entry.get("kid"), jwt.PyJWK(entry, algorithm).key))
    return keys

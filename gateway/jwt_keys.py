"""The keys that verify bearer tokens, read once at the start from a secret, a PEM text or a JSON Web Key Set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jwt
import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from gateway.settings import Settings, SettingsError

MINIMUM_RSA_BITS: Final = 2048
"""RFC 7518, section 3.3."""


def verification_keys(settings: Settings) -> Mapping[str | None, Any]:
    """The keys that verify tokens, by their kid; none: tokens can't be verified. Raises SettingsError."""
    if settings.jwt_algorithm == "HS256":
        if settings.jwt_secret_key is None:
            return {}
        try:
            key = jwt.get_algorithm_by_name("HS256").prepare_key(settings.jwt_secret_key)
        except jwt.InvalidKeyError:
            raise SettingsError("JWT_SECRET_KEY: this is a public key, which everybody may know") from None
        return {None: key}
    if settings.jwt_public_key is None:
        return {}
    text = _key_text(settings.jwt_public_key)
    if "PRIVATE KEY" in text:
        raise SettingsError("JWT_PUBLIC_KEY: this is a private key; the gateway needs the public one only")
    keys = _keys_of_set(text, settings.jwt_algorithm) if text.startswith("{") else {None: _key_of_pem(text)}
    usable = {key_id: key for key_id, key in keys.items() if _is_for(settings.jwt_algorithm, key)}
    if not usable:
        raise SettingsError(f"JWT_PUBLIC_KEY: no key for {settings.jwt_algorithm} in it")
    for key in usable.values():
        if isinstance(key, RSAPublicKey) and key.key_size < MINIMUM_RSA_BITS:
            raise SettingsError(f"JWT_PUBLIC_KEY: {key.key_size} bits are too few, {MINIMUM_RSA_BITS} are needed")
    return usable


def _key_text(value: str) -> str:
    """PEM or JSON as it was given, or read from the file that was named."""
    # In many an environment file a line end is written as two characters.
    text = value.strip().replace("\\n", "\n")
    if text.startswith(("-----BEGIN", "{")):
        return text
    try:
        return Path(value).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text file"
        raise SettingsError(
            f"JWT_PUBLIC_KEY: expected a public key in PEM, a JSON Web Key Set, or a file with either: {reason}"
        ) from None


def _key_of_pem(text: str) -> Any:
    try:
        return load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise SettingsError("JWT_PUBLIC_KEY: this is not a public key in PEM") from None


def _keys_of_set(text: str, algorithm: str) -> Mapping[str | None, Any]:
    """The keys of a JSON Web Key Set (RFC 7517) that are for signatures by the algorithm."""
    try:
        entries = msgspec.convert(msgspec.json.decode(text)["keys"], list[dict[str, Any]])
    except (msgspec.MsgspecError, KeyError, TypeError):
        raise SettingsError('JWT_PUBLIC_KEY: this is not a JSON Web Key Set, {"keys": [{…}]}') from None
    if any("d" in entry or entry.get("kty") == "oct" for entry in entries):
        raise SettingsError("JWT_PUBLIC_KEY: the set holds a private key; the gateway needs the public ones only")
    # jwt.PyJWKSet would do, but for Ed448, which it doesn't know.
    keys: dict[str | None, Any] = {}
    for entry in entries:
        if entry.get("use", "sig") != "sig" or entry.get("alg", algorithm) != algorithm:
            continue
        try:
            key = jwt.PyJWK(entry, algorithm).key
        except (jwt.PyJWTError, ValueError, TypeError):
            continue  # of another kind than the algorithm's
        if not _is_for(algorithm, key):
            continue
        key_id = entry.get("kid")
        if key_id in keys:
            raise SettingsError(f"JWT_PUBLIC_KEY: two keys of the set have the kid {key_id!r}")
        keys[key_id] = key
    return keys


def _is_for(algorithm: str, key: Any) -> bool:
    if algorithm == "RS256":
        return isinstance(key, RSAPublicKey)
    if algorithm == "ES256":
        return isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    return isinstance(key, (Ed25519PublicKey, Ed448PublicKey))

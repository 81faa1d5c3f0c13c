"""Encryption for one user at a time, with a key that the database does not have."""

import base64
import binascii
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.errors import ApiError
from gateway.settings import Settings, SettingsError

VERSION: Final = b"\x01"
"""Of the format: AES-256-GCM, a nonce of 12 bytes, ciphertext and tag."""
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12


class Encryptor:
    """Encrypts secrets of an owner, identified by bytes: no other owner's bytes decrypt them.

    Raises SettingsError when INTEGRATION_ENCRYPTION_KEY is malformed.
    """

    def __init__(self, settings: Settings) -> None:
        key = settings.integration_encryption_key
        self._cipher = None if key is None else AESGCM(_decode_key(key))

    def encrypt(self, owner: bytes, secret: bytes) -> bytes:
        """Encrypts for an owner. Raises ApiError 501 when there is no key."""
        nonce = os.urandom(NONCE_BYTES)
        return VERSION + nonce + self._get_cipher().encrypt(nonce, secret, owner)

    def decrypt(self, owner: bytes, encrypted: bytes) -> bytes:
        """Decrypts what was encrypted for an owner. Raises ApiError 501, or ValueError when owner or key differ."""
        if encrypted[:1] != VERSION:
            raise ValueError("encrypted in an unknown format")
        nonce, secret = encrypted[1 : 1 + NONCE_BYTES], encrypted[1 + NONCE_BYTES :]
        try:
            return self._get_cipher().decrypt(nonce, secret, owner)
        except InvalidTag:
            raise ValueError("encrypted for another owner, or with another key") from None

    def _get_cipher(self) -> AESGCM:
        if self._cipher is None:
            raise ApiError(
                501,
                "ENCRYPTION_NOT_CONFIGURED",
                "Integrations can't be stored here: their settings are encrypted with INTEGRATION_ENCRYPTION_KEY, "
                "which is not set.",
            )
        return self._cipher


def _decode_key(text: str) -> bytes:
    try:
        key = base64.b64decode(text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingsError(
            f"INTEGRATION_ENCRYPTION_KEY must be {KEY_BYTES} bytes in base64, as `openssl rand -base64 32` prints"
        )
    return key

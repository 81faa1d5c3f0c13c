"""Settings of integrations are sealed here, with a key that the database does not have, and never shown again."""

import base64
import binascii
import os
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.database.pool import Reply
from gateway.endpoint import Asked, Handler
from gateway.errors import Refusal, invalid
from gateway.identity import Identity
from gateway.schemas.resources import CreateIntegration, UpdateIntegration
from gateway.services.http_client import AddressRefused, Outgoing
from gateway.services.webhook_signature import signing_key
from gateway.settings import Settings, SettingsError

VERSION: Final = b"\x01"
"""Of the form: AES-256-GCM, 12 bytes of nonce, ciphertext and tag."""
KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
MAXIMUM_BYTES: Final = 65_536
"""Of an integration's settings, as JSON."""
WEBHOOK: Final = "webhook"
"""The provider of integrations that webhooks go to."""


class Sealer:
    """Encrypts for one user at a time: what was sealed for one can't be opened as another's.

    Raises SettingsError when the settings have a key that can't be used.
    """

    def __init__(self, settings: Settings) -> None:
        self._outgoing = Outgoing(settings)
        self._cipher = None
        if settings.integration_encryption_key is not None:
            self._cipher = AESGCM(_key(settings.integration_encryption_key))

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By the names that the route table has for them."""
        return {"create_integration": self.create_integration, "update_integration": self.update_integration}

    def seal(self, owner: Identity, secret: bytes) -> bytes:
        """Encrypts for a user. Raises Refusal 501 where there is no key."""
        nonce = os.urandom(NONCE_BYTES)
        return VERSION + nonce + self._get_cipher().encrypt(nonce, secret, _context(owner))

    def open(self, owner: Identity, sealed: bytes) -> bytes:
        """What was sealed for a user. Raises ValueError when it was not, or not with this key; Refusal 501."""
        if sealed[:1] != VERSION:
            raise ValueError("sealed in a form that is not known")
        nonce, secret = sealed[1 : 1 + NONCE_BYTES], sealed[1 + NONCE_BYTES :]
        try:
            return self._get_cipher().decrypt(nonce, secret, _context(owner))
        except InvalidTag:
            raise ValueError("sealed for somebody else, or with another key") from None

    async def create_integration(self, asked: Asked) -> Reply:
        """Creates an integration, its settings sealed."""
        body: CreateIntegration = asked.body
        settings = self._sealed(asked, body.provider, body.settings)
        return await asked.call("create_integration", _owner(asked) | {"provider": body.provider} | settings)

    async def update_integration(self, asked: Asked) -> Reply:
        """Changes an integration; new settings are sealed."""
        body: UpdateIntegration = asked.body
        provider = None if body.provider is msgspec.UNSET else body.provider
        settings = {} if body.settings is msgspec.UNSET else self._sealed(asked, provider, body.settings)
        unchanged: dict[str, Any] = {"sealed_settings": None, "setting_names": None}
        return await asked.call(
            "update_integration", _owner(asked) | asked.path | {"provider": provider} | unchanged | settings
        )

    def _check(self, provider: str | None, settings: Mapping[str, msgspec.Raw]) -> None:
        """Refuses settings that no job could ask a service by: they would be found wrong much later."""
        if provider == WEBHOOK or "url" in settings:
            try:
                self._outgoing.check(_text(settings, "url"))
            except AddressRefused as error:
                raise invalid("settings.url", str(error)) from None
        if provider == WEBHOOK:
            try:
                signing_key(_text(settings, "secret"))
            except ValueError as error:
                raise invalid("settings.secret", str(error)) from None

    def _sealed(self, asked: Asked, provider: str | None, settings: Mapping[str, msgspec.Raw]) -> dict[str, Any]:
        assert asked.identity is not None
        self._check(provider, settings)
        secret = msgspec.json.encode(settings)
        if len(secret) > MAXIMUM_BYTES:
            raise invalid("settings", f"Expected at most {MAXIMUM_BYTES} bytes, got {len(secret)}.")
        return {"sealed_settings": self.seal(asked.identity, secret), "setting_names": sorted(settings)}

    def _get_cipher(self) -> AESGCM:
        if self._cipher is None:
            raise Refusal(
                501,
                "ENCRYPTION_NOT_CONFIGURED",
                "Integrations can't be stored here: their settings are encrypted with INTEGRATION_ENCRYPTION_KEY, "
                "which is not set.",
            )
        return self._cipher


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text.translate(str.maketrans("-_", "+/")) + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise SettingsError(
            f"INTEGRATION_ENCRYPTION_KEY: expected {KEY_BYTES} bytes in base64, as `openssl rand -base64 32` prints"
        )
    return key


def _text(settings: Mapping[str, msgspec.Raw], name: str) -> str:
    """A setting that has to be a text; empty when it is none."""
    try:
        return msgspec.json.decode(settings.get(name, b'""'), type=str)
    except msgspec.ValidationError:
        return ""


def _context(owner: Identity) -> bytes:
    assert owner.user_id is not None
    return owner.tenant_id.bytes + owner.user_id.bytes


def _owner(asked: Asked) -> dict[str, Any]:
    assert asked.identity is not None
    return {"tenant_id": asked.identity.tenant_id, "user_id": asked.identity.user_id}

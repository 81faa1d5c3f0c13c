"""Integrations: their settings are encrypted before the database gets them, and never shown again."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from gateway.database.statement import Reply
from gateway.database.unstorable import unstorable
from gateway.errors import invalid
from gateway.handlers.call import Handler, HandlerRequest
from gateway.schemas.resources import CreateIntegration, UpdateIntegration
from gateway.services.encryption import Encryptor
from gateway.services.http_client import AddressRefused, HttpClient
from gateway.services.webhook_signature import signing_key
from gateway.settings import Settings

MAXIMUM_BYTES: Final = 65_536
"""Of an integration's settings, as JSON."""
WEBHOOK: Final = "webhook"
"""The provider of integrations that webhooks are sent to."""
Channels = list[Literal["push", "email"]]
"""Of its user's notifications, what an integration wants."""


class Integrations:
    """Creating and updating integrations."""

    def __init__(self, settings: Settings, encryptor: Encryptor) -> None:
        self._http_client = HttpClient(settings)
        self._encryptor = encryptor

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """By their names in the route table."""
        return {"create_integration": self.create_integration, "update_integration": self.update_integration}

    async def create_integration(self, request: HandlerRequest) -> Reply:
        """Creates an integration with encrypted settings."""
        body: CreateIntegration = request.body
        settings = self._encrypted(request, body.provider, body.settings)
        return await request.call("create_integration", request.owner | {"provider": body.provider} | settings)

    async def update_integration(self, request: HandlerRequest) -> Reply:
        """Changes an integration; new settings are encrypted."""
        body: UpdateIntegration = request.body
        provider = None if body.provider is msgspec.UNSET else body.provider
        settings: dict[str, Any] = {"encrypted_settings": None, "setting_names": None}
        if body.settings is not msgspec.UNSET:
            settings = self._encrypted(request, provider, body.settings)
        arguments = request.owner | request.path | {"provider": provider} | settings
        return await request.call("update_integration", arguments)

    def _check(self, provider: str | None, settings: Mapping[str, msgspec.Raw]) -> None:
        """Rejects settings that no job could use, which would only fail much later. Raises ApiError."""
        receives = provider == WEBHOOK or "notifications" in settings
        if receives or "url" in settings:
            try:
                self._http_client.check(_text(settings, "url"))
            except AddressRefused as error:
                raise invalid("settings.url", str(error)) from None
        if receives:
            try:
                signing_key(_text(settings, "secret"))
            except ValueError as error:
                raise invalid("settings.secret", str(error)) from None
        if "notifications" in settings:
            try:
                msgspec.json.decode(settings["notifications"], type=Channels)
            except msgspec.ValidationError:
                raise invalid("settings.notifications", 'Expected an array of "push" and "email".') from None

    def _encrypted(
        self, request: HandlerRequest, provider: str | None, settings: Mapping[str, msgspec.Raw]
    ) -> dict[str, Any]:
        assert request.identity is not None
        self._check(provider, settings)
        secret = msgspec.json.encode(settings)
        if len(secret) > MAXIMUM_BYTES:
            raise invalid("settings", f"Expected at most {MAXIMUM_BYTES} bytes, got {len(secret)}.")
        if (found := unstorable(secret)) is not None:
            raise invalid(f"settings.{found[0]}", found[1])
        encrypted = self._encryptor.encrypt(request.identity.owner, secret)
        return {"encrypted_settings": encrypted, "setting_names": sorted(settings)}


def _text(settings: Mapping[str, msgspec.Raw], name: str) -> str:
    """A setting that has to be a string; empty when it isn't one."""
    try:
        return msgspec.json.decode(settings.get(name, b'""'), type=str)
    except msgspec.ValidationError:
        return ""

"""Integrations over HTTP: what is checked when they are stored, and that their settings are encrypted."""

import base64
from collections.abc import Callable
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import msgspec
import pytest
from support import shapes
from support.gateways import Gateway
from support.servers import Database
from support.tokens import ENCRYPTION_KEY, SECRET, bearer, token

from gateway.identity import Identity
from gateway.services.encryption import Encryptor
from gateway.settings import load_settings

SIGNING_SECRET: Final = f"whsec_{base64.b64encode(bytes(range(32))).decode()}"
KEY_EXPECTED: Final = "Expected whsec_ and 24 to 64 bytes in base64, as `openssl rand -base64 32` prints."
SCHEME: Final = "Expected a URL that begins with https:// or http://."
USER: Final = "Expected a URL without a user and password: put them in separate settings."
NUMBER: Final = "The number is too large or too precise to be stored."
INSIDE: Final = "Expected a public address."
INTEGRATIONS: Final = "/api/v1/integrations"
CHANNELS: Final = 'Expected an array of "push" and "email".'
RECEIVER: Final = {"url": "https://receiver.example/hook", "secret": SIGNING_SECRET}
WEBHOOK: Final = {"provider": "webhook", "settings": RECEIVER}


def test_a_webhook_is_stored_and_not_asked_yet(user: httpx.Client) -> None:
    response = user.post(INTEGRATIONS, json=WEBHOOK)
    assert response.status_code == 201
    made = response.json()["data"]
    assert (made["setting_names"], made["sync_status"], made["sync_error"], made["last_synced_at"]) == (
        ["secret", "url"],
        None,
        None,
        None,
    )


def test_an_integration_says_which_notifications_it_wants(user: httpx.Client) -> None:
    settings = {**RECEIVER, "notifications": ["push", "email"]}
    response = user.post(INTEGRATIONS, json={"provider": "phone", "settings": settings})
    assert response.status_code == 201
    assert response.json()["data"]["setting_names"] == ["notifications", "secret", "url"]


@pytest.mark.parametrize(
    ("provider", "settings", "field", "message"),
    [
        ("webhook", {"secret": SIGNING_SECRET}, "settings.url", SCHEME),
        ("webhook", {"secret": SIGNING_SECRET, "url": None}, "settings.url", SCHEME),
        ("webhook", {"secret": SIGNING_SECRET, "url": "http://169.254.169.254/"}, "settings.url", INSIDE),
        ("webhook", {"url": "https://receiver.example"}, "settings.secret", KEY_EXPECTED),
        ("webhook", {"url": "https://receiver.example", "secret": "hunter2hunter2"}, "settings.secret", KEY_EXPECTED),
        ("crm", {"url": "http://[::ffff:10.0.0.1]/"}, "settings.url", INSIDE),
        ("crm", {"notifications": ["push"]}, "settings.url", SCHEME),
        ("crm", {"notifications": ["push"], "url": "https://receiver.example"}, "settings.secret", KEY_EXPECTED),
        ("webhook", {**RECEIVER, "notifications": ["fax"]}, "settings.notifications", CHANNELS),
        ("webhook", {**RECEIVER, "notifications": "push"}, "settings.notifications", CHANNELS),
        ("webhook", {**RECEIVER, "notifications": None}, "settings.notifications", CHANNELS),
        ("crm", {"url": "https://user:hunter2hunter2@crm.example/"}, "settings.url", USER),
        ("crm", {"limits": [1, msgspec.Raw(b"1e1000")]}, "settings.limits[1]", NUMBER),
    ],
)
def test_settings_that_lead_nowhere_are_refused(
    user: httpx.Client, provider: str, settings: dict[str, Any], field: str, message: str
) -> None:
    made = user.post(INTEGRATIONS, json={"provider": "crm", "settings": {"secret": 5}}).json()["data"]
    body = msgspec.json.encode({"provider": provider, "settings": settings})
    for response in (
        user.post(INTEGRATIONS, content=body),
        user.patch(f"{INTEGRATIONS}/{made['id']}", content=body),
    ):
        assert response.status_code == 422
        [detail] = response.json()["error"]["details"]
        assert detail["field"] == field
        assert detail["message"] == message
        assert "hunter2" not in response.text
    assert user.get(INTEGRATIONS).json()["data"] == [made]


def test_settings_are_stored_encrypted_shown_nowhere_and_can_be_decrypted_with_the_key(
    people_gateway: Gateway, user_client: Callable[..., httpx.Client], shared_database: Database, tenant_id: UUID
) -> None:
    user_id = uuid4()
    user = user_client(user_id=user_id)
    secret = f"xoxb-{uuid4()}"
    sent = {"provider": "slack", "settings": {"token": secret, "deep": {"n": [None]}}}
    made = user.post(INTEGRATIONS, json=sent).json()["data"]
    path = f"{INTEGRATIONS}/{made['id']}"
    shown = [user.get(path).text, user.get(INTEGRATIONS).text, user.patch(path, json={"provider": "Slack"}).text]
    assert not any(secret in text for text in [*shown, people_gateway.log, people_gateway.output])

    row = shared_database.execute(
        f"select encode(encrypted_settings, 'hex') from app.integrations where id = '{made['id']}'"
    )
    assert secret.encode().hex() not in row
    encryptor = Encryptor(load_settings({"INTEGRATION_ENCRYPTION_KEY": ENCRYPTION_KEY}))
    opened = encryptor.decrypt(Identity(tenant_id, user_id).owner, bytes.fromhex(row))
    assert msgspec.json.decode(opened) == {"token": secret, "deep": {"n": [None]}}


def test_without_a_key_integrations_are_refused_with_what_to_do(
    make_gateway: Callable[..., Gateway], database: Database
) -> None:
    gateway = make_gateway(database, JWT_SECRET_KEY=SECRET)
    with gateway.client() as client:
        client.headers.update(bearer(token(uuid4(), sub=str(uuid4()))))
        response = client.post(INTEGRATIONS, json={"provider": "slack", "settings": {"token": "xoxb-secret"}})
        assert response.status_code == 501
        assert response.json() == shapes.api_error(
            "ENCRYPTION_NOT_CONFIGURED",
            "Integrations can't be stored here: their settings are encrypted with INTEGRATION_ENCRYPTION_KEY, "
            "which is not set.",
        )
        assert client.get(INTEGRATIONS).json()["meta"]["total"] == 0

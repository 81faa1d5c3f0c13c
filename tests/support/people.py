"""People who register with a gateway."""

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

import pytest

from support.gateways import Gateway
from support.tokens import bearer

AUTH: Final = "/api/v1/auth"
ME: Final = "/api/v1/users/me"
PASSWORD: Final = "correct horse battery staple"


def new_email() -> str:
    return f"user-{uuid4().hex}@example.com"


def register(gateway: Gateway, **fields: Any) -> dict[str, Any]:
    """Registers a user. Returns the data of the response."""
    with gateway.client() as client:
        headers = fields.pop("headers", {})
        body = {"email": new_email(), "password": PASSWORD} | fields
        response = client.post(f"{AUTH}/register", json=body, headers=headers)
    assert response.status_code == 201, response.text
    data: dict[str, Any] = response.json()["data"]
    return data


def signed_in(user: Mapping[str, Any]) -> dict[str, str]:
    """The header of a registered user."""
    return bearer(user["access_token"])


@pytest.fixture
def visitor(people_gateway: Gateway) -> Any:
    """An HTTP client that is nobody yet."""
    with people_gateway.client() as client:
        yield client

"""Users over HTTP: profiles, preferences, search."""

from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
from support import shapes
from support.gateways import Gateway
from support.people import ME, register, signed_in
from support.tokens import bearer, token

PREFERENCES: Final = f"{ME}/preferences"
SEARCH: Final = "/api/v1/users/search"


# --- profile, preferences -------------------------------------------------------------------------------------


def test_a_profile_is_changed_field_by_field_and_cleared_by_null(
    people_gateway: Gateway, visitor: httpx.Client
) -> None:
    user = register(people_gateway, display_name="Ann")
    visitor.headers.update(signed_in(user))
    assert visitor.get(ME).json() == {"success": True, "data": user["user"], "meta": None}

    change = {"first_name": "Ann", "last_name": "Smith", "avatar_url": "https://example.com/a.png"}
    changed = visitor.patch(ME, json=change)
    assert changed.status_code == 200
    assert changed.json()["data"] == user["user"] | change | {"updated_at": shapes.TIME}
    emptied = visitor.patch(ME, json={"avatar_url": None, "display_name": None}).json()["data"]
    assert emptied == changed.json()["data"] | {"avatar_url": None, "display_name": None, "updated_at": shapes.TIME}
    assert visitor.patch(ME, json={}).json()["data"] == emptied
    assert visitor.get(ME).json()["data"] == emptied


def test_a_user_of_another_issuer_has_no_profile(visitor: httpx.Client) -> None:
    user_id = uuid4()
    response = visitor.get(ME, headers=bearer(token(uuid4(), sub=str(user_id))))
    assert response.status_code == 404
    assert response.json()["error"]["code"] == "USER_NOT_FOUND"


def test_preferences_start_as_the_defaults(people_gateway: Gateway, visitor: httpx.Client) -> None:
    visitor.headers.update(signed_in(register(people_gateway)))
    defaults = {"theme": "system", "language": "en", "email_notifications": True, "push_notifications": True}
    assert visitor.get(PREFERENCES).json() == {"success": True, "data": defaults, "meta": None}
    change = {"theme": "dark", "push_notifications": False}
    assert visitor.patch(PREFERENCES, json=change).json()["data"] == defaults | change
    assert visitor.patch(PREFERENCES, json={"language": "de-CH"}).json()["data"] == defaults | change | {
        "language": "de-CH"
    }
    assert visitor.get(PREFERENCES).json()["data"] == defaults | change | {"language": "de-CH"}


BAD_CHANGES: Final = {
    "empty name": (ME, {"display_name": ""}, "display_name"),
    "long name": (ME, {"first_name": "x" * 101}, "first_name"),
    "nul": (ME, {"last_name": "\0"}, "last_name"),
    "no web address": (ME, {"avatar_url": "javascript:alert(1)"}, "avatar_url"),
    "line feed": (ME, {"avatar_url": "https://example.com/\n"}, "avatar_url"),
    "long address": (ME, {"avatar_url": "https://" + "x" * 2048}, "avatar_url"),
    "number": (ME, {"display_name": 1}, "display_name"),
    "theme": (PREFERENCES, {"theme": "pink"}, "theme"),
    "null theme": (PREFERENCES, {"theme": None}, "theme"),
    "language": (PREFERENCES, {"language": "english!"}, "language"),
    "not a boolean": (PREFERENCES, {"email_notifications": "yes"}, "email_notifications"),
}


@pytest.mark.parametrize(("path", "body", "field"), BAD_CHANGES.values(), ids=BAD_CHANGES)
def test_bad_changes_are_refused(
    people_gateway: Gateway, visitor: httpx.Client, path: str, body: Any, field: str
) -> None:
    visitor.headers.update(signed_in(register(people_gateway)))
    before = visitor.get(path).json()
    response = visitor.patch(path, json=body)
    assert response.status_code == 422, response.text
    assert [detail["field"] for detail in response.json()["error"]["details"]] == [field]
    assert visitor.get(path).json() == before


# --- search ---------------------------------------------------------------------------------------------------


def test_search_finds_members_of_the_tenant_by_name_and_address(people_gateway: Gateway, visitor: httpx.Client) -> None:
    ann = register(people_gateway, display_name="Ann Smith")
    inside = {"tenant_id": ann["user"]["tenant_id"], "headers": signed_in(ann)}
    ben = register(people_gateway, display_name="Ben Smithers", **inside)
    register(people_gateway, display_name="Cora Smith")
    visitor.headers.update(signed_in(ben))

    def found(**query: Any) -> list[Any]:
        response = visitor.get(SEARCH, params=query)
        assert response.status_code == 200, response.text
        answer: list[Any] = response.json()["data"]
        return answer

    def shown(user: dict[str, Any]) -> dict[str, Any]:
        return {name: user["user"][name] for name in ("id", "display_name", "avatar_url")}

    assert found(q="smi") == [shown(ann), shown(ben)]
    assert found(q="smi", limit=1) == [shown(ann)]
    assert found(q=ben["user"]["email"]) == [shown(ben)]
    assert found(q="Smihters") == [shown(ben), shown(ann)]
    assert found(q="zoe") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("", "q"),
        ("q=", "q"),
        ("q=%20", "q"),
        ("q=%00", "q"),
        ("q=" + "x" * 101, "q"),
        ("q=x&limit=0", "limit"),
        ("q=x&limit=51", "limit"),
        ("q=x&limit=many", "limit"),
    ],
)
def test_bad_searches_are_refused(people_gateway: Gateway, visitor: httpx.Client, query: str, field: str) -> None:
    visitor.headers.update(bearer(token(uuid4(), sub=str(uuid4()))))
    response = visitor.get(f"{SEARCH}?{query}")
    assert response.status_code == 422
    assert [detail["field"] for detail in response.json()["error"]["details"]] == [field]

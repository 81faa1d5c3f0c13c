"""One card at a time over HTTP: create, get, change, delete."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import httpx
import pytest
from support.shapes import TIME, UUID_V7, api_error, card

CARDS = "/api/v1/cards"
ABSENT = "018f2f6e-7c1a-7000-8000-0000000000ff"


def created(client: httpx.Client, **fields: Any) -> dict[str, Any]:
    response = client.post(CARDS, json={"card_type": "voice", "content": {"tone": "plain"}} | fields)
    assert response.status_code == 201, response.text
    body: dict[str, Any] = response.json()
    return body


def not_found(card_id: str) -> dict[str, Any]:
    message = f"The tenant has no active card {card_id}. api.list_cards lists the cards there are."
    return api_error("CARD_NOT_FOUND", "Card not found.", ("card_id", message))


def test_create_returns_the_card_and_its_etag(client: httpx.Client) -> None:
    response = client.post(CARDS, json={"card_type": "voice", "content": {"tone": "plain"}, "created_by": "me"})

    assert response.status_code == 201
    assert response.json() == card(card_type="voice", content={"tone": "plain"}, created_by="me", created=True)
    assert response.headers["etag"] == '"1-0"'
    assert "x-idempotency-cache" not in response.headers


def test_create_again_finds_the_card_whatever_the_order_of_its_keys(client: httpx.Client) -> None:
    first = created(client, content={"a": 1, "b": {"c": 2, "d": 3}})

    again = client.post(CARDS, content=b'{"content": {"b": {"d": 3,   "c": 2}, "a": 1}, "card_type": "voice"}')

    assert again.status_code == 200
    assert again.json() == first | {"created": False}


def test_create_replays_with_an_idempotency_key(client: httpx.Client) -> None:
    body = {"card_type": "voice", "content": {"tone": "loud"}}
    first = client.post(CARDS, json=body, headers={"Idempotency-Key": "one"})
    client.delete(f"{CARDS}/{first.json()['card_id']}")

    again = client.post(CARDS, json=body, headers={"Idempotency-Key": '"one"'})
    other = client.post(CARDS, json=body | {"content": {}}, headers={"Idempotency-Key": "one"})

    assert (first.status_code, first.headers["x-idempotency-cache"]) == (201, "MISS")
    assert (again.status_code, again.headers["x-idempotency-cache"]) == (201, "HIT")
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
    assert (other.status_code, other.json()["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({"content": {}}, "card_type", id="type missing"),
        pytest.param({"card_type": "voice"}, "content", id="content missing"),
        pytest.param({"card_type": "video", "content": {}}, "card_type", id="type unknown"),
        pytest.param({"card_type": "voice", "content": []}, "content", id="content no object"),
        pytest.param({"card_type": "voice", "content": None}, "content", id="content null"),
        pytest.param({"card_type": "voice", "content": {}, "created_by": "x" * 256}, "created_by", id="name too long"),
        pytest.param(
            {"card_type": "voice", "content": {}, "source_session_id": "x"}, "source_session_id", id="no uuid"
        ),
    ],
)
def test_create_refuses_and_names_the_field(client: httpx.Client, body: dict[str, Any], field: str) -> None:
    response = client.post(CARDS, json=body)

    assert response.status_code == 422
    assert response.json()["error"]["code"] == "VALIDATION_ERROR"
    assert [detail["field"] for detail in response.json()["error"]["details"]] == [field]
    assert client.get(CARDS).json()["cards"] == []


def test_get_returns_the_card_and_head_its_headers(client: httpx.Client) -> None:
    made = created(client)
    del made["created"]

    got = client.get(f"{CARDS}/{made['card_id']}")
    head = client.head(f"{CARDS}/{made['card_id']}")

    assert (got.status_code, got.json(), got.headers["etag"]) == (200, made, '"1-0"')
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-length", "content-type"):
        assert head.headers[name] == got.headers[name]


def test_get_is_304_until_the_card_is_used_or_changed(client: httpx.Client) -> None:
    path = f"{CARDS}/{created(client)['card_id']}"

    def known(etag: str) -> int:
        return client.get(path, headers={"If-None-Match": etag}).status_code

    unchanged = client.get(path, headers={"If-None-Match": '"1-0"'})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", '"1-0"')
    assert [known('W/"1-0"'), known('"0-0", "1-0"'), known("*"), known('"2-0"')] == [304, 304, 304, 200]

    client.post(f"{path}/usage", json={})
    assert [known('"1-0"'), known('"1-1"')] == [200, 304]

    client.patch(path, json={"content": {"tone": "new"}})
    assert [known('"1-1"'), known('"2-1"')] == [200, 304]


@pytest.mark.parametrize(
    ("method", "suffix", "body"),
    [("GET", "", None), ("PATCH", "", {}), ("DELETE", "", None), ("GET", "/usage", None), ("POST", "/usage", {})],
)
def test_an_absent_card_and_another_tenants_look_the_same(
    client: httpx.Client, other_client: httpx.Client, method: str, suffix: str, body: Any
) -> None:
    card_id = created(other_client)["card_id"]

    absent = client.request(method, f"{CARDS}/{ABSENT}{suffix}", json=body)
    foreign = client.request(method, f"{CARDS}/{card_id}{suffix}", json=body)

    assert (absent.status_code, absent.json()) == (404, not_found(ABSENT))
    assert (foreign.status_code, foreign.json()) == (404, not_found(card_id))
    assert other_client.get(f"{CARDS}/{card_id}").status_code == 200


def test_update_replaces_content_and_raises_the_version(client: httpx.Client) -> None:
    made = created(client)
    path = f"{CARDS}/{made['card_id']}"
    session = "018f2f6e-7c1a-7000-8000-00000000000a"

    response = client.patch(path, json={"content": {"tone": "new"}, "source_session_id": session})

    assert response.status_code == 200
    assert response.headers["etag"] == '"2-0"'
    assert response.json() == card(
        card_id=made["card_id"],
        card_type="voice",
        content={"tone": "new"},
        source_session_id=session,
        created_at=made["created_at"],
    )
    assert response.json()["content_hash"] != made["content_hash"]
    assert response.json()["updated_at"] > made["updated_at"]
    assert client.get(path).json() == response.json()


def test_update_honours_if_match(client: httpx.Client) -> None:
    path = f"{CARDS}/{created(client)['card_id']}"

    def update(etag: str, tone: str) -> int:
        return client.patch(path, json={"content": {"tone": tone}}, headers={"If-Match": etag}).status_code

    assert update('"7-0"', "stale") == 412
    assert client.get(path).json()["content"] == {"tone": "plain"}
    client.post(f"{path}/usage", json={})
    assert update('"1-0"', "being used is no change") == 200
    assert update('"1-0"', "stale now") == 412
    assert update('W/"2-1"', "weak never matches") == 412
    assert update("*", "any") == 200


def test_update_to_another_cards_content_names_that_card(client: httpx.Client) -> None:
    other = created(client, content={"tone": "taken"})
    mine = created(client, content={"tone": "mine"})

    response = client.patch(f"{CARDS}/{mine['card_id']}", json={"content": {"tone": "taken"}})

    assert response.status_code == 409
    assert response.json()["error"]["code"] == "DUPLICATE_CARD"
    (detail,) = response.json()["error"]["details"]
    assert detail["field"] == "content"
    assert other["card_id"] in detail["message"]
    assert client.get(f"{CARDS}/{mine['card_id']}").json()["content"] == {"tone": "mine"}


def test_of_many_updates_at_once_with_one_etag_one_succeeds(client: httpx.Client) -> None:
    path = f"{CARDS}/{created(client)['card_id']}"
    together = Barrier(16)

    def update(number: int) -> int:
        together.wait()
        return client.patch(path, json={"content": {"n": number}}, headers={"If-Match": '"1-0"'}).status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = sorted(pool.map(update, range(16)))

    assert statuses == [200] + [412] * 15
    assert client.get(path).headers["etag"] == '"2-0"'


def test_delete_is_soft_and_its_content_may_be_created_anew(client: httpx.Client) -> None:
    first = created(client)
    path = f"{CARDS}/{first['card_id']}"

    deleted = client.delete(path)

    assert (deleted.status_code, deleted.content) == (204, b"")
    assert client.delete(path).status_code == 404
    assert client.get(path).status_code == 404
    assert client.post(f"{CARDS}/retrieve", json={"card_ids": [first["card_id"]]}).json() == {
        "cards": [],
        "missing_ids": [first["card_id"]],
    }
    anew = created(client)
    assert anew["card_id"] != first["card_id"]
    assert anew["content_hash"] == first["content_hash"]
    listed = client.get(CARDS, params={"include_deleted": "true"}).json()["cards"]
    assert [(item["card_id"], item["is_active"], item["deleted_at"]) for item in listed] == [
        (anew["card_id"], True, None),
        (first["card_id"], False, TIME),
    ]


def test_of_many_deletes_at_once_one_succeeds(client: httpx.Client) -> None:
    path = f"{CARDS}/{created(client)['card_id']}"
    together = Barrier(8)

    def delete(_: int) -> int:
        together.wait()
        return client.delete(path).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(delete, range(8))) == [204] + [404] * 7


def test_usage_history_is_newest_first_a_page_at_a_time(client: httpx.Client) -> None:
    path = f"{CARDS}/{created(client)['card_id']}/usage"
    for number in range(5):
        client.post(path, json={"workflow_id": f"w{number}", "workflow_type": "email", "session_id": "s"})
    client.post(path, json={"workflow_id": "w0"})

    first = client.get(path, params={"limit": 3}).json()
    second = client.get(path, params={"limit": 3, "cursor": first["next_cursor"]}).json()

    assert [event["workflow_id"] for event in first["events"]] == ["w4", "w3", "w2"]
    assert first["events"][0] == {
        "usage_id": UUID_V7,
        "workflow_id": "w4",
        "workflow_type": "email",
        "session_id": "s",
        "used_at": TIME,
    }
    assert [event["workflow_id"] for event in second["events"]] == ["w1", "w0"]
    assert second["next_cursor"] is None


def test_methods_that_a_path_does_not_have_are_405_and_named(client: httpx.Client) -> None:
    response = client.put(f"{CARDS}/{ABSENT}", json={})

    assert response.status_code == 405
    assert response.json()["error"]["code"] == "METHOD_NOT_ALLOWED"
    allowed = {name.strip() for name in response.headers["allow"].split(",")}
    assert allowed == {"GET", "HEAD", "PATCH", "DELETE", "OPTIONS"}
    assert client.options(f"{CARDS}/{ABSENT}").status_code == 204


def test_a_hash_is_the_sha256_of_the_canonical_text(client: httpx.Client) -> None:
    made = client.post(CARDS, content=b'{"card_type": "company", "content": {"name":"Acme"}}').json()

    # printf '{"name": "Acme"}' | sha256sum
    assert made["content_hash"] == "6dab3f6449dea6d39f3fb40e70299f7952ae1d112f36ba04cac08ab3d2ff6b87"

"""Cards over HTTP: batch, retrieve, usage."""

import hashlib
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from support import shapes
from support.gateways import Gateway
from support.servers import Database
from support.tables import EMPTY, query, row_counts

BATCH = "/api/v1/cards/batch"
RETRIEVE = "/api/v1/cards/retrieve"
ONBOARDING = [
    {"card_type": "company", "content": {"name": "Acme"}},
    {"card_type": "audience", "content": {"segment": "engineers", "size": 120}},
    {"card_type": "voice", "content": {"tone": ["plain", "warm"]}},
    {"card_type": "insight", "content": {"text": "They buy in March.", "sure": True, "source": None}},
]


def create(client: httpx.Client, *contents: dict[str, Any]) -> list[str]:
    """Creates company cards. Returns their ids."""
    cards = [{"card_type": "company", "content": content} for content in contents]
    response = client.post(BATCH, json={"cards": cards})
    assert response.status_code == 201, response.text
    return [card["card_id"] for card in response.json()["cards"]]


def usage(card_id: str | UUID) -> str:
    return f"/api/v1/cards/{card_id}/usage"


def headers_of(response: httpx.Response) -> dict[str, str]:
    """The headers, without those that differ each time."""
    changing = {"x-request-id", "x-trace-id", "x-process-time", "date"}
    return {name: value for name, value in response.headers.items() if name not in changing}


# --- create ---------------------------------------------------------------------------------------------------


def test_new_batch_returns_201_and_its_cards_in_the_order_sent(client: httpx.Client) -> None:
    response = client.post(BATCH, json={"cards": ONBOARDING})

    assert response.status_code == 201
    assert headers_of(response) == {
        "content-type": "application/json",
        "content-length": str(len(response.content)),
    }
    assert response.headers["x-process-time"] == shapes.SECONDS
    assert response.json() == {
        "cards": [shapes.card(**sent, created=True) for sent in ONBOARDING],
        "created_count": 4,
        "existing_count": 0,
    }
    cards = response.json()["cards"]
    assert len({card["card_id"] for card in cards}) == 4
    assert all(card["created_at"] == card["updated_at"] for card in cards)
    assert cards[0]["content_hash"] == hashlib.sha256(b'{"name": "Acme"}').hexdigest()


def test_same_batch_again_returns_200_and_the_same_cards(client: httpx.Client) -> None:
    first = client.post(BATCH, json={"cards": ONBOARDING}).json()
    again = client.post(BATCH, json={"cards": ONBOARDING})

    assert again.status_code == 200
    assert again.json() == {
        "cards": [card | {"created": False} for card in first["cards"]],
        "created_count": 0,
        "existing_count": 4,
    }


def test_batch_with_known_and_new_cards_returns_201_and_says_which_were_created(client: httpx.Client) -> None:
    known = client.post(BATCH, json={"cards": ONBOARDING[1:3]}).json()["cards"]
    response = client.post(BATCH, json={"cards": ONBOARDING})

    assert response.status_code == 201
    assert response.json() == {
        "cards": [
            shapes.card(**ONBOARDING[0], created=True),
            known[0] | {"created": False},
            known[1] | {"created": False},
            shapes.card(**ONBOARDING[3], created=True),
        ],
        "created_count": 2,
        "existing_count": 2,
    }


def test_duplicates_inside_one_batch_share_one_card_that_the_first_created(client: httpx.Client) -> None:
    body = (
        b'{"cards": [{"card_type": "company", "content": {"a": 1, "b": {"c": [2]}}},'
        b' {"card_type": "company", "content": {"other": true}},'
        b' {"card_type": "company", "content":   { "b" : {"c":[2]},\n"a":1 }},'
        b' {"card_type": "company", "content": {"a": 7, "b": {"c": [2]}, "a": 1}}]}'
    )
    response = client.post(BATCH, content=body)

    assert response.status_code == 201
    answer = response.json()
    assert [card["created"] for card in answer["cards"]] == [True, True, False, False]
    assert (answer["created_count"], answer["existing_count"]) == (2, 2)
    first, _, third, fourth = answer["cards"]
    assert third == fourth == first | {"created": False}


def test_same_content_of_another_type_is_another_card(client: httpx.Client) -> None:
    cards = [{"card_type": kind, "content": {"name": "Acme"}} for kind in ("company", "audience", "voice", "insight")]
    answer = client.post(BATCH, json={"cards": cards}).json()
    assert answer["created_count"] == 4
    assert len({card["card_id"] for card in answer["cards"]}) == 4
    assert len({card["content_hash"] for card in answer["cards"]}) == 1


def test_fields_of_the_batch_are_defaults_for_its_cards(client: httpx.Client) -> None:
    of_batch, of_card = str(uuid4()), str(uuid4())
    cards = [
        {"card_type": "company", "content": {"n": 1}},
        {"card_type": "company", "content": {"n": 2}, "created_by": "importer", "source_session_id": of_card},
        {"card_type": "company", "content": {"n": 3}, "created_by": None, "source_session_id": None},
    ]
    body = {"cards": cards, "created_by": "wizard", "source_session_id": of_batch}
    answer = client.post(BATCH, json=body).json()
    assert [(card["created_by"], card["source_session_id"]) for card in answer["cards"]] == [
        ("wizard", of_batch),
        ("importer", of_card),
        ("wizard", of_batch),
    ]


def test_defaults_of_a_batch_may_be_null(client: httpx.Client) -> None:
    body = {"cards": [ONBOARDING[0]], "created_by": None, "source_session_id": None}
    response = client.post(BATCH, json=body)
    assert response.json()["cards"] == [shapes.card(**ONBOARDING[0], created=True)]


def test_existing_card_keeps_its_origin(client: httpx.Client) -> None:
    client.post(BATCH, json={"cards": ONBOARDING[:1], "created_by": "first"})
    answer = client.post(BATCH, json={"cards": ONBOARDING[:1], "created_by": "second"}).json()
    assert answer["cards"] == [shapes.card(**ONBOARDING[0], created_by="first", created=False)]


def test_batch_takes_a_thousand_cards(client: httpx.Client) -> None:
    cards = [{"card_type": "insight", "content": {"number": number % 900}} for number in range(1000)]
    response = client.post(BATCH, json={"cards": cards})
    assert response.status_code == 201
    answer = response.json()
    assert [card["content"]["number"] for card in answer["cards"]] == [number % 900 for number in range(1000)]
    assert [card["created"] for card in answer["cards"]] == [True] * 900 + [False] * 100
    assert (answer["created_count"], answer["existing_count"]) == (900, 100)


def test_longest_names_are_kept(client: httpx.Client) -> None:
    created_by = "ä" * 255
    body = {"cards": [{**ONBOARDING[0], "created_by": created_by}], "created_by": "é" * 255}
    response = client.post(BATCH, json=body)
    assert response.status_code == 201
    assert response.json()["cards"][0]["created_by"] == created_by


def test_numbers_keep_their_text(client: httpx.Client) -> None:
    numbers = ["1.50", "0.10", "-0.000", "100", "12345678901234567890123456789012345678901234567890.123400", "1e3"]
    kept = [*numbers[:5], "1000"]
    content = "[" + ", ".join(numbers) + "]"
    body = '{"cards": [{"card_type": "company", "content": {"numbers": ' + content + "}}]}"
    created = client.post(BATCH, content=body.encode())
    assert created.status_code == 201
    expected = '"content": {"numbers": [' + ", ".join(kept).replace("-0.000", "0.000") + "]}"
    assert expected in created.text
    retrieved = client.post(RETRIEVE, json={"card_ids": [created.json()["cards"][0]["card_id"]]})
    assert expected in retrieved.text


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"": ""},
        {"text": 'Zürich, 東京, 🎉, \u2028, \x7f, \\u0000, \\, ", /'},
        {"quote": "it's $1 %s {} ${x} --"},
        {"deep": [[[[[[[[[[{"a": [None, True, False, 0, -1, 1.25]}]]]]]]]]]]},
        {"large": "x" * 100_000},
        {f"key {number}": number for number in range(500)},
        {"numbers": list(range(30_000))},
    ],
    ids=["empty", "empty key", "all kinds of characters", "placeholders", "deep", "large", "many keys", "many numbers"],
)
def test_content_comes_back_as_it_was_sent(client: httpx.Client, content: dict[str, Any]) -> None:
    (card_id,) = create(client, content)
    answer = client.post(RETRIEVE, json={"card_ids": [card_id]}).json()
    assert answer == {"cards": [shapes.card(card_id=card_id, content=content)], "missing_ids": []}


def test_two_tenants_with_the_same_content_have_a_card_each(client: httpx.Client, other_client: httpx.Client) -> None:
    mine = client.post(BATCH, json={"cards": ONBOARDING})
    theirs = other_client.post(BATCH, json={"cards": ONBOARDING})
    assert (mine.status_code, theirs.status_code) == (201, 201)
    ids_of_mine = {card["card_id"] for card in mine.json()["cards"]}
    ids_of_theirs = {card["card_id"] for card in theirs.json()["cards"]}
    assert len(ids_of_mine | ids_of_theirs) == 8


# --- idempotency ----------------------------------------------------------------------------------------------


def test_replay_returns_the_stored_response_byte_for_byte_with_its_status(
    client: httpx.Client, shared_database: Database, tenant_id: UUID
) -> None:
    key = {"Idempotency-Key": "onboarding-1"}
    first = client.post(BATCH, json={"cards": ONBOARDING}, headers=key)
    assert first.status_code == 201
    assert headers_of(first) == {
        "content-type": "application/json",
        "content-length": str(len(first.content)),
        "x-idempotency-cache": "MISS",
    }
    # What happens to a card meanwhile does not change the stored response.
    assert client.post(usage(first.json()["cards"][0]["card_id"])).status_code == 200
    stored = row_counts(shared_database, tenant_id)

    replay = client.post(BATCH, json={"cards": ONBOARDING}, headers=key)
    assert replay.status_code == 201
    assert replay.content == first.content
    assert headers_of(replay) == headers_of(first) | {"x-idempotency-cache": "HIT"}
    assert row_counts(shared_database, tenant_id) == stored


def test_replay_of_an_answer_that_created_nothing_is_200_too(client: httpx.Client) -> None:
    client.post(BATCH, json={"cards": ONBOARDING})
    key = {"Idempotency-Key": "again"}
    first = client.post(BATCH, json={"cards": ONBOARDING}, headers=key)
    replay = client.post(BATCH, json={"cards": ONBOARDING}, headers=key)
    assert (first.status_code, replay.status_code) == (200, 200)
    assert (first.headers["x-idempotency-cache"], replay.headers["x-idempotency-cache"]) == ("MISS", "HIT")
    assert replay.content == first.content


def test_request_without_a_key_says_nothing_of_the_cache(client: httpx.Client) -> None:
    response = client.post(BATCH, json={"cards": ONBOARDING})
    assert "x-idempotency-cache" not in response.headers


def test_same_request_written_differently_is_a_replay(client: httpx.Client) -> None:
    key = {"Idempotency-Key": "spelling"}
    first = client.post(BATCH, content=b'{"cards":[{"card_type":"voice","content":{"a":1,"b":2}}]}', headers=key)
    again = b'{ "cards": [ {"content": {"b": 2, "a": 1}, "card_type": "voice"} ] }'
    replay = client.post(BATCH, content=again, headers=key)
    assert replay.headers["x-idempotency-cache"] == "HIT"
    assert replay.content == first.content


@pytest.mark.parametrize(
    "body",
    [
        {"cards": ONBOARDING[:3]},
        {"cards": ONBOARDING[::-1]},
        {"cards": ONBOARDING, "created_by": "somebody"},
        {"cards": ONBOARDING, "source_session_id": "018f2f6e-7c1a-7000-8000-000000000001"},
    ],
    ids=["fewer cards", "another order", "another maker", "another session"],
)
def test_key_with_another_request_is_refused(
    client: httpx.Client, shared_database: Database, tenant_id: UUID, body: dict[str, Any]
) -> None:
    key = {"Idempotency-Key": "mine"}
    first = client.post(BATCH, json={"cards": ONBOARDING}, headers=key)
    stored = row_counts(shared_database, tenant_id)

    response = client.post(BATCH, json=body, headers=key)
    assert response.status_code == 422
    assert "x-idempotency-cache" not in response.headers
    assert response.json() == shapes.api_error(
        "IDEMPOTENCY_KEY_REUSED",
        "The idempotency key was used for another request.",
        (
            "Idempotency-Key",
            "The key mine belongs to a request with another body or function. Send a new key with a new request.",
        ),
    )
    assert row_counts(shared_database, tenant_id) == stored
    assert client.post(BATCH, json={"cards": ONBOARDING}, headers=key).content == first.content


def test_key_of_another_function_is_refused(client: httpx.Client) -> None:
    key = {"Idempotency-Key": "of a batch"}
    client.post(BATCH, json={"cards": ONBOARDING[:1]}, headers=key)
    response = client.post("/api/v1/cards", json=ONBOARDING[0], headers=key)
    assert response.status_code == 422
    assert response.json()["error"]["code"] == "IDEMPOTENCY_KEY_REUSED"


@pytest.mark.parametrize("key", ["k", "k" * 255, "with space, and; more = !", "ключ".encode().decode("latin-1")])
def test_keys_of_all_forms_are_remembered(client: httpx.Client, key: str) -> None:
    headers = [(b"Idempotency-Key", key.encode("latin-1"))]
    first, second = (client.post(BATCH, json={"cards": ONBOARDING}, headers=headers) for _ in range(2))
    assert (first.headers["x-idempotency-cache"], second.headers["x-idempotency-cache"]) == ("MISS", "HIT")


def test_key_in_double_quotes_is_the_same_key(client: httpx.Client) -> None:
    first = client.post(BATCH, json={"cards": ONBOARDING}, headers={"Idempotency-Key": '"8e03978e-40d5"'})
    second = client.post(BATCH, json={"cards": ONBOARDING}, headers={"Idempotency-Key": "8e03978e-40d5"})
    assert (first.headers["x-idempotency-cache"], second.headers["x-idempotency-cache"]) == ("MISS", "HIT")
    assert second.content == first.content


def test_equal_keys_of_two_tenants_never_meet(client: httpx.Client, other_client: httpx.Client) -> None:
    key = {"Idempotency-Key": "1"}
    mine = client.post(BATCH, json={"cards": ONBOARDING}, headers=key)
    theirs = other_client.post(BATCH, json={"cards": ONBOARDING[:2]}, headers=key)
    assert (mine.status_code, mine.headers["x-idempotency-cache"]) == (201, "MISS")
    assert (theirs.status_code, theirs.headers["x-idempotency-cache"]) == (201, "MISS")
    assert theirs.json()["created_count"] == 2
    assert client.post(BATCH, json={"cards": ONBOARDING}, headers=key).content == mine.content
    assert other_client.post(BATCH, json={"cards": ONBOARDING[:2]}, headers=key).content == theirs.content


def test_failed_request_is_not_remembered(client: httpx.Client, shared_database: Database, tenant_id: UUID) -> None:
    key = {"Idempotency-Key": "second try"}
    refused = client.post(BATCH, json={"cards": [{"card_type": "company", "content": 1}]}, headers=key)
    assert refused.status_code == 422
    assert row_counts(shared_database, tenant_id) == EMPTY

    response = client.post(BATCH, json={"cards": ONBOARDING}, headers=key)
    assert (response.status_code, response.headers["x-idempotency-cache"]) == (201, "MISS")


def test_expired_key_starts_anew(client: httpx.Client, shared_database: Database, tenant_id: UUID) -> None:
    key = {"Idempotency-Key": "yesterday"}
    client.post(BATCH, json={"cards": ONBOARDING}, headers=key)
    expire = "update app.idempotency_store set expires_at = now() - interval '1 second'"
    query(shared_database, tenant_id, expire)

    response = client.post(BATCH, json={"cards": ONBOARDING[:1]}, headers=key)
    assert (response.status_code, response.headers["x-idempotency-cache"]) == (200, "MISS")
    replay = client.post(BATCH, json={"cards": ONBOARDING[:1]}, headers=key)
    assert (replay.content, replay.headers["x-idempotency-cache"]) == (response.content, "HIT")


def test_key_is_remembered_for_as_long_as_the_setting_says(
    database: Database, make_gateway: Callable[..., Gateway], tenant_id: UUID
) -> None:
    gateway = make_gateway(database, IDEMPOTENCY_TTL_HOURS="3")
    with gateway.client(tenant_id) as client:
        client.post(BATCH, json={"cards": ONBOARDING}, headers={"Idempotency-Key": "3 h"})
    lifetimes = query(database, tenant_id, "select expires_at - created_at from app.idempotency_store")
    assert lifetimes == "03:00:00"


# --- retrieve -------------------------------------------------------------------------------------------------


def test_retrieve_returns_found_cards_in_the_order_requested_each_once(client: httpx.Client) -> None:
    cards = client.post(BATCH, json={"cards": ONBOARDING}).json()["cards"]
    for card in cards:
        del card["created"]
    ids = [card["card_id"] for card in cards]
    nowhere = [str(uuid4()), str(uuid4())]
    asked = [nowhere[1], ids[3], ids[0], nowhere[0], ids[3], ids[1].upper(), nowhere[1], ids[0]]

    response = client.post(RETRIEVE, json={"card_ids": asked})
    assert response.status_code == 200
    assert headers_of(response) == {"content-type": "application/json", "content-length": str(len(response.content))}
    assert response.json() == {"cards": [cards[3], cards[0], cards[1]], "missing_ids": [nowhere[1], nowhere[0]]}


def test_retrieve_takes_a_thousand_ids(client: httpx.Client) -> None:
    ids = create(client, *({"number": number} for number in range(999)))
    nowhere = str(uuid4())
    answer = client.post(RETRIEVE, json={"card_ids": [*reversed(ids), nowhere]}).json()
    assert [card["card_id"] for card in answer["cards"]] == [*reversed(ids)]
    assert answer["missing_ids"] == [nowhere]


def test_cards_of_another_tenant_are_missing(client: httpx.Client, other_client: httpx.Client) -> None:
    ids = create(client, {"secret": 1}, {"secret": 2})
    response = other_client.post(RETRIEVE, json={"card_ids": ids})
    assert response.status_code == 200
    assert response.json() == {"cards": [], "missing_ids": ids}


def test_deleted_cards_are_missing_and_may_be_created_anew(client: httpx.Client) -> None:
    kept, deleted = create(client, {"n": 1}, {"n": 2})
    assert client.delete(f"/api/v1/cards/{deleted}").status_code == 204
    answer = client.post(RETRIEVE, json={"card_ids": [deleted, kept]}).json()
    assert ([card["card_id"] for card in answer["cards"]], answer["missing_ids"]) == ([kept], [deleted])
    assert client.post(usage(deleted)).status_code == 404
    (anew,) = create(client, {"n": 2})
    assert anew != deleted


# --- usage ----------------------------------------------------------------------------------------------------


def test_usage_is_counted_and_its_first_event_of_a_workflow_recorded(client: httpx.Client) -> None:
    (card_id,) = create(client, {"name": "Acme"})
    body = {"workflow_id": "campaign-7", "workflow_type": "email", "session_id": "s-1"}

    first = client.post(usage(card_id), json=body)
    assert first.status_code == 200
    assert headers_of(first) == {
        "content-type": "application/json",
        "content-length": str(len(first.content)),
        "x-event-recorded": "true",
    }
    assert first.json() == {
        "card_id": card_id,
        "usage_count": 1,
        "last_used_at": shapes.TIME,
        "event_recorded": True,
    }

    repeat = client.post(usage(card_id), json=body)
    assert repeat.status_code == 200
    assert repeat.headers["x-event-recorded"] == "false"
    assert repeat.json() == {
        "card_id": card_id,
        "usage_count": 2,
        "last_used_at": shapes.TIME,
        "event_recorded": False,
    }
    assert repeat.json()["last_used_at"] > first.json()["last_used_at"]

    (card,) = client.post(RETRIEVE, json={"card_ids": [card_id]}).json()["cards"]
    assert (card["usage_count"], card["last_used_at"]) == (2, repeat.json()["last_used_at"])


@pytest.mark.parametrize("content", [b"", b"{}", b'{"workflow_id": null, "workflow_type": "chat"}'])
def test_usage_without_a_workflow_is_an_event_each_time(
    client: httpx.Client, shared_database: Database, tenant_id: UUID, content: bytes
) -> None:
    (card_id,) = create(client, {"name": "Acme"})
    for expected in (1, 2, 3):
        response = client.post(usage(card_id), content=content)
        assert (response.status_code, response.headers["x-event-recorded"]) == (200, "true")
        assert response.json()["usage_count"] == expected
    assert row_counts(shared_database, tenant_id) == EMPTY | {"cards": 1, "card_usage": 3, "card_usage_totals": 1}


def test_workflow_is_an_event_for_each_of_its_cards(
    client: httpx.Client, shared_database: Database, tenant_id: UUID
) -> None:
    ids = create(client, {"n": 1}, {"n": 2})
    for card_id in ids:
        for workflow in ("w-1", "w-2", "w-1"):
            client.post(usage(card_id), json={"workflow_id": workflow})
    answer = client.post(RETRIEVE, json={"card_ids": ids}).json()
    assert [card["usage_count"] for card in answer["cards"]] == [3, 3]
    assert row_counts(shared_database, tenant_id) == EMPTY | {"cards": 2, "card_usage": 4, "card_usage_totals": 2}


def test_existing_card_in_a_batch_shows_its_usage(client: httpx.Client) -> None:
    (card_id,) = create(client, ONBOARDING[0]["content"])  # type: ignore[arg-type]
    last_used_at = client.post(usage(card_id)).json()["last_used_at"]
    answer = client.post(BATCH, json={"cards": ONBOARDING[:1]}).json()
    used = {"card_id": card_id, "usage_count": 1, "last_used_at": last_used_at}
    assert answer["cards"] == [shapes.card(**ONBOARDING[0], **used, created=False)]


def test_longest_names_of_a_usage_are_kept(client: httpx.Client) -> None:
    (card_id,) = create(client, {"name": "Acme"})
    body = {"workflow_id": "ü" * 255, "workflow_type": "t" * 100, "session_id": "s" * 255}
    assert client.post(usage(card_id), json=body).headers["x-event-recorded"] == "true"
    (event,) = client.get(usage(card_id)).json()["events"]
    assert event == {"usage_id": shapes.UUID_V7, "used_at": shapes.TIME, **body}


def test_card_of_another_tenant_looks_like_one_that_never_existed(
    client: httpx.Client, other_client: httpx.Client
) -> None:
    (card_id,) = create(client, {"name": "Acme"})
    nowhere = str(uuid4())
    for absent in (card_id, nowhere):
        response = other_client.post(usage(absent), json={"workflow_id": "w"})
        assert response.status_code == 404
        assert "x-event-recorded" not in response.headers
        assert response.json() == shapes.api_error(
            "CARD_NOT_FOUND",
            "Card not found.",
            ("card_id", f"The tenant has no active card {absent}. api.list_cards lists the cards there are."),
        )
    (card,) = client.post(RETRIEVE, json={"card_ids": [card_id]}).json()["cards"]
    assert card["usage_count"] == 0


# --- request ids ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/cards/retrieve", "/health", "/nowhere"])
@pytest.mark.parametrize("value", ["a", "x" * 128, "req-1/2:3;4=~!"])
def test_valid_ids_are_taken_over(client: httpx.Client, path: str, value: str) -> None:
    response = client.post(path, json={}, headers={"X-Request-ID": value, "X-Trace-ID": value[::-1]})
    assert (response.headers["x-request-id"], response.headers["x-trace-id"]) == (value, value[::-1])
    assert response.headers["x-process-time"] == shapes.SECONDS
    assert response.json()["error"]["request_id"] == value


@pytest.mark.parametrize("value", [None, "", "x" * 129, "two words", "caf\xe9"])
def test_other_ids_are_made_up(client: httpx.Client, value: str | None) -> None:
    names = ("X-Request-ID", "X-Trace-ID")
    sent = [] if value is None else [(name.encode(), value.encode("latin-1")) for name in names]
    responses = [client.post(RETRIEVE, json={}, headers=sent) for _ in range(2)]
    made = [response.headers[name] for response in responses for name in names]
    assert made == [shapes.MADE_UP_ID] * 4
    assert len(set(made)) == 4
    assert responses[0].json()["error"]["request_id"] == responses[0].headers["x-request-id"]

"""Lists of cards over HTTP: filters, pages, totals, and paging while the list changes."""

from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

CARDS = "/api/v1/cards"
SESSION = "018f2f6e-7c1a-7000-8000-00000000000a"


def add(client: httpx.Client, *cards: dict[str, Any]) -> list[str]:
    """Creates cards. Returns their ids in the order given."""
    response = client.post(f"{CARDS}/batch", json={"cards": list(cards)})
    assert response.is_success, response.text
    return [item["card_id"] for item in response.json()["cards"]]


def numbered(first: int, count: int, card_type: str = "insight") -> list[dict[str, Any]]:
    return [{"card_type": card_type, "content": {"n": number}} for number in range(first, first + count)]


def listed(client: httpx.Client, **parameters: Any) -> list[str]:
    response = client.get(CARDS, params=parameters)
    assert response.status_code == 200, response.text
    return [item["card_id"] for item in response.json()["cards"]]


def walk(client: httpx.Client, **parameters: Any) -> list[str]:
    """The ids of all pages."""
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = client.get(CARDS, params=parameters | cursor).json()
        seen += [item["card_id"] for item in page["cards"]]
        if page["next_cursor"] is None:
            return seen
        cursor = {"cursor": page["next_cursor"]}


def test_newest_first(client: httpx.Client) -> None:
    ids = [*add(client, *numbered(0, 3)), *add(client, *numbered(3, 2))]

    assert listed(client) == ids[::-1]


def test_each_filter_and_all_together(client: httpx.Client) -> None:
    company, voice, mine, sessions, old = add(
        client,
        {"card_type": "company", "content": {"name": "Acme", "tags": ["a", "b"], "size": {"people": 5}}},
        {"card_type": "voice", "content": {"name": "Acme"}},
        {"card_type": "voice", "content": {"n": 1}, "created_by": "me"},
        {"card_type": "audience", "content": {"n": 2}, "source_session_id": SESSION},
        {"card_type": "company", "content": {"name": "Old", "tags": ["b"]}, "created_by": "me"},
    )
    client.delete(f"{CARDS}/{old}")

    assert listed(client, card_type="voice") == [mine, voice]
    assert listed(client, created_by="me") == [mine]
    assert listed(client, source_session_id=SESSION) == [sessions]
    assert listed(client, contains='{"name": "Acme"}') == [voice, company]
    assert listed(client, contains='{"tags": ["b"]}') == [company]
    assert listed(client, contains='{"size": {"people": 5}}') == [company]
    assert listed(client, contains='{"tags": ["b"]}', include_deleted="true") == [old, company]
    assert listed(client, contains="{}") == [sessions, mine, voice, company]
    assert listed(client, card_type="company", created_by="me", include_deleted="true") == [old]
    assert listed(client, card_type="company", created_by="me") == []


def test_another_tenant_sees_nothing_of_it(client: httpx.Client, other_client: httpx.Client) -> None:
    add(client, *numbered(0, 3))

    assert other_client.get(CARDS, params={"count": "exact"}).json() == {"cards": [], "next_cursor": None, "total": 0}


def test_total_counts_what_the_filters_leave(client: httpx.Client) -> None:
    ids = add(client, *numbered(0, 5), *numbered(0, 2, "voice"))
    client.delete(f"{CARDS}/{ids[0]}")

    def total(**parameters: Any) -> int:
        page: dict[str, Any] = client.get(CARDS, params=dict[str, Any](count="exact", limit=1, **parameters)).json()
        return int(page["total"])

    assert [total(), total(card_type="voice"), total(contains='{"n": 1}'), total(include_deleted="true")] == [
        6,
        2,
        2,
        7,
    ]
    assert "total" not in client.get(CARDS).json()


def test_five_thousand_cards_in_pages_of_every_length(client: httpx.Client) -> None:
    ids = [card_id for first in range(0, 5000, 1000) for card_id in add(client, *numbered(first, 1000))]

    assert walk(client, limit=1000) == ids[::-1]
    assert walk(client, limit=333, card_type="insight") == ids[::-1]
    assert len(client.get(CARDS).json()["cards"]) == 50


@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        pytest.param({"limit": "0"}, "limit", id="limit too small"),
        pytest.param({"limit": "1001"}, "limit", id="limit too large"),
        pytest.param({"limit": "ten"}, "limit", id="limit no number"),
        pytest.param({"limit": ""}, "limit", id="limit empty"),
        pytest.param({"limit": "9" * 30}, "limit", id="limit beyond any integer"),
        pytest.param({"card_type": "video"}, "card_type", id="type unknown"),
        pytest.param({"card_type": "a\x00b"}, "card_type", id="type with a null character"),
        pytest.param({"source_session_id": "x"}, "source_session_id", id="session no uuid"),
        pytest.param({"created_by": "x" * 256}, "created_by", id="name too long"),
        pytest.param({"created_by": "\x00"}, "created_by", id="name with a null character"),
        pytest.param({"contains": "[]"}, "contains", id="contains no object"),
        pytest.param({"contains": "{"}, "contains", id="contains no JSON"),
        pytest.param({"contains": '{"a": "\\u0000"}'}, "contains", id="contains what can't be stored"),
        pytest.param({"contains": '{"a": 1e999999}'}, "contains", id="contains too large a number"),
        pytest.param({"include_deleted": "perhaps"}, "include_deleted", id="neither true nor false"),
        pytest.param({"cursor": "abc"}, "cursor", id="cursor made up"),
        pytest.param({"cursor": "é"}, "cursor", id="cursor not ASCII"),
        pytest.param({"cursor": ""}, "cursor", id="cursor empty"),
        pytest.param({"count": "all"}, "count", id="count unknown"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(client: httpx.Client, parameters: dict[str, str], field: str) -> None:
    response = client.get(CARDS, params=parameters)

    assert response.status_code == 422, response.text
    assert response.json()["error"]["code"] == "VALIDATION_ERROR"
    assert [detail["field"] for detail in response.json()["error"]["details"]] == [field]


def test_a_cursor_of_another_list_is_refused(client: httpx.Client, other_client: httpx.Client) -> None:
    add(client, *numbered(0, 3))
    cursor = client.get(CARDS, params={"limit": 1}).json()["next_cursor"]

    filtered = client.get(CARDS, params={"cursor": cursor, "card_type": "voice"})
    foreign = other_client.get(CARDS, params={"cursor": cursor})

    assert [filtered.status_code, foreign.status_code] == [422, 422]


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["page", "add", "delete seen", "delete unseen"]), st.integers(0, 999)), max_size=30
    ),
    limit=st.integers(1, 7),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_paging_shows_each_card_that_stays_once(client: httpx.Client, steps: list[tuple[str, int]], limit: int) -> None:
    for card_id in listed(client, limit=1000):
        client.delete(f"{CARDS}/{card_id}")
    before = add(client, *numbered(0, 20))
    stayed = set(before)
    seen: list[str] = []
    cursor: dict[str, str] = {}
    is_done = False

    def turn_page() -> None:
        nonlocal cursor, is_done
        page = client.get(CARDS, params=dict[str, Any](limit=limit, **cursor)).json()
        seen.extend(item["card_id"] for item in page["cards"])
        cursor = {"cursor": page["next_cursor"]}
        is_done = page["next_cursor"] is None

    turn_page()
    for number, (step, choice) in enumerate(steps):
        if is_done:
            break
        if step == "page":
            turn_page()
        elif step == "add":
            add(client, *numbered(1000 + 10 * number, 1 + choice % 5))
        else:
            wanted = set(seen) if step == "delete seen" else stayed - set(seen)
            if candidates := sorted(stayed & wanted):
                gone = candidates[choice % len(candidates)]
                client.delete(f"{CARDS}/{gone}")
                stayed.discard(gone)
    while not is_done:
        turn_page()

    assert len(seen) == len(set(seen))
    assert stayed <= set(seen) <= set(before)

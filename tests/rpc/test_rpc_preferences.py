"""What the header Prefer asks for."""

import httpx
import pytest
from support.gateways import wait_until
from support.rpc import assert_refused, note_ids, said_of, sleeping
from support.servers import Database


@pytest.mark.usefixtures("no_notes")
def test_a_dry_run_returns_rows_and_leaves_nothing(rpc: httpx.Client) -> None:
    response = rpc.post("write_notes", json={"n": 2}, headers={"Prefer": "tx=rollback"})
    assert (response.status_code, response.json()) == (200, [1, 2])
    assert response.headers["preference-applied"] == "tx=rollback"
    assert note_ids(rpc) == []
    assert rpc.post("write_notes", json={"n": 1}, headers={"Prefer": "tx=commit"}).status_code == 200
    assert note_ids(rpc) == [1]


@pytest.mark.usefixtures("no_notes")
def test_a_dry_run_shows_deferred_violations(rpc: httpx.Client) -> None:
    rpc.post("write_notes", json={"n": 1}).raise_for_status()
    for headers in ({"Prefer": "tx=rollback"}, {}):
        response = rpc.post("write_notes", json={"n": 1}, headers=headers)
        assert_refused(
            response,
            409,
            "23505",
            'duplicate key value violates unique constraint "notes_key"',
            "Key (note_id)=(1) already exists.",
            None,
        )


@pytest.mark.usefixtures("no_notes")
def test_a_dry_run_does_not_use_up_an_idempotency_key(rpc: httpx.Client) -> None:
    headers = {"Idempotency-Key": "once"}
    for _ in range(2):
        response = rpc.post("count_up", json={"step": 1}, headers={**headers, "Prefer": "tx=rollback"})
        assert response.headers["x-idempotency-cache"] == "MISS"
    assert rpc.post("count_up", json={"step": 1}, headers=headers).headers["x-idempotency-cache"] == "MISS"


def test_a_time_zone_holds_for_one_call(rpc: httpx.Client) -> None:
    response = rpc.get("moment", headers={"Prefer": "timezone=Asia/Tokyo"})
    assert (response.text, response.headers["preference-applied"]) == (
        '"2026-01-31T21:00:00+09:00"',
        "timezone=Asia/Tokyo",
    )
    assert {rpc.get("moment").text for _ in range(20)} == {'"2026-01-31T12:00:00+00:00"'}
    response = rpc.get("moment", headers={"Prefer": "timezone=Mars/Olympus"})
    assert_refused(response, 400, "22023", 'invalid value for parameter "TimeZone": "Mars/Olympus"', None, None)


@pytest.mark.usefixtures("no_notes")
def test_more_rows_than_may_be_affected_roll_the_call_back(rpc: httpx.Client) -> None:
    strict = {"Prefer": "handling=strict, max-affected=2"}
    response = rpc.post("write_notes?limit=1", json={"n": 3}, headers=strict)
    message = "Query result exceeds max-affected preference constraint"
    assert_refused(response, 400, "PGRST124", message, "The query affects 3 rows", None)
    assert note_ids(rpc) == []
    response = rpc.post("write_notes", json={"n": 2}, headers=strict)
    assert (response.json(), response.headers["preference-applied"]) == ([1, 2], "handling=strict, max-affected=2")
    assert rpc.post("do_nothing", headers=strict).json()["code"] == "PGRST128"
    lenient = rpc.post("count_to", json={"n": 3}, headers={"Prefer": "max-affected=2"})
    assert (lenient.json(), "preference-applied" in lenient.headers) == ([1, 2, 3], False)


def test_unknown_preferences_are_ignored_unless_handling_is_strict(rpc: httpx.Client) -> None:
    asked = "x=1, count=many, count=exact, count=planned, wait=-1"
    response = rpc.get("count_to?n=1", headers={"Prefer": asked})
    assert (response.status_code, response.headers["preference-applied"]) == (200, "count=exact")
    response = rpc.get("count_to?n=1", headers=[("Prefer", asked), ("Prefer", "handling=strict")])
    message, details = "Invalid preferences given with handling=strict", "Invalid preferences: x=1, count=many, wait=-1"
    assert_refused(response, 400, "PGRST122", message, details, None)


def test_return_minimal_has_no_body_but_the_range(rpc: httpx.Client) -> None:
    headers = {"Prefer": "return=minimal,count=exact"}
    response = rpc.post("count_to?limit=1", json={"n": 3}, headers=headers)
    assert (response.status_code, response.content) == (204, b"")
    assert said_of(response) == {"content-range": "0-0/3", "preference-applied": "return=minimal, count=exact"}
    assert rpc.post("custom_reply", json={"status": 202}, headers=headers).status_code == 202


def test_return_representation_is_the_default(rpc: httpx.Client) -> None:
    response = rpc.post("add", json={"a": 1}, headers={"Prefer": "return=representation"})
    assert (response.text, "preference-applied" in response.headers) == ("11", False)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        pytest.param("sleep?seconds=20", {"Prefer": "wait=1"}, id="the client's timeout"),
        pytest.param("sleep_a_little?seconds=20", {}, id="the function's timeout"),
    ],
)
def test_a_call_that_takes_too_long_times_out(
    rpc: httpx.Client, rpc_database: Database, path: str, headers: dict[str, str]
) -> None:
    response = rpc.get(path, headers=headers)
    message = "The database took too long. Ask for less, or repeat the request later."
    assert_refused(response, 504, "57014", message, None, None)
    wait_until(lambda: sleeping(rpc_database) == 0)

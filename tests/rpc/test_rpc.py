"""/rpc: any function, over HTTP. The functions are those of rpc_functions.sql."""

import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from support import shapes, tokens
from support.gateways import Gateway, wait_until
from support.locks import Holder, waiting_for_locks
from support.servers import Database

FILLED = ["tenant_id", "user_id", "idempotency_key", "idempotency_ttl_hours", "if_match", "cleared_fields"]
JSON = "application/json; charset=utf-8"
OBJECT = "application/vnd.pgrst.object+json"
ARRAY = "application/vnd.pgrst.array+json"


@pytest.fixture(scope="module")
def connection(rpc_gateway: Gateway) -> Iterator[httpx.Client]:
    """A client of /rpc."""
    with httpx.Client(base_url=f"{rpc_gateway.address}/rpc/", timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture
def rpc(connection: httpx.Client, tenant_id: UUID) -> httpx.Client:
    """The client, as a tenant of its own."""
    connection.headers["X-Tenant-ID"] = str(tenant_id)
    return connection


@pytest.fixture
def no_notes(rpc_database: Database) -> None:
    """Nothing was written yet."""
    rpc_database.execute("truncate test.notes")


def said_of(response: httpx.Response) -> dict[str, str]:
    """The headers, without those that differ each time or are the same each time."""
    usual = {"x-request-id", "x-trace-id", "x-process-time", "date", "content-length", "vary"}
    return {name: value for name, value in response.headers.items() if name not in usual}


def rpc_error(code: str, message: Any, details: str | None = None, hint: str | None = None) -> dict[str, Any]:
    """The body of an error."""
    return {"code": code, "message": message, "details": details, "hint": hint, "request_id": shapes.MADE_UP_ID}


def assert_refused(response: httpx.Response, status: int, code: str, message: Any, *said: str | None) -> None:
    """Asserts a whole error: the four keys first and in order, the code also in a header."""
    assert (response.status_code, response.json()) == (status, rpc_error(code, message, *said)), response.text
    assert list(response.json()) == ["code", "message", "details", "hint", "request_id"]
    assert response.headers["proxy-status"] == f"PostgREST; error={code}"
    assert response.headers["content-type"] == JSON
    assert ("retry-after" in response.headers) == (status == 503)


def note_ids(rpc: httpx.Client) -> list[int | None]:
    """The notes that were written."""
    found: list[int | None] = rpc.get("note_ids").raise_for_status().json()
    return found


# --- what is answered ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments", "answer"),
    [
        pytest.param("add", {"a": 1, "b": 2}, "3", id="integers"),
        pytest.param("add", {"a": 1}, "11", id="a default"),
        pytest.param("add", {"a": "1", "b": None}, "null", id="an integer as text, and null"),
        pytest.param("greet", {"name": 'é "x"'}, '"Hello, é \\"x\\""', id="text"),
        pytest.param("greet", {"name": [1, {"a": None}]}, '"Hello, [1,{\\"a\\":null}]"', id="JSON as text"),
        pytest.param("nothing_known", {}, "null", id="null"),
        pytest.param("is_odd", {"n": 9007199254740993}, "true", id="a bigint beyond 2**53"),
        pytest.param("percent_of", {"part": 50, "whole": 0.3}, "0.15000000000000000000", id="a domain and numeric"),
        pytest.param("other_color", {"color": "red"}, '"green"', id="an enum"),
        pytest.param("span", {"low": 1, "high": 3}, '"[1,3)"', id="a range"),
        pytest.param("total", {"numbers": [1, 2, 3]}, "6", id="an array"),
        pytest.param("total", {"numbers": "{1,2}"}, "3", id="an array as SQL writes it"),
        pytest.param("join_words", {"words": ["a,b", '"c"', "{}"]}, r'"a,b-\"c\"-{}"', id="variadic"),
        pytest.param("first_words", {"n": 2}, '["one","two"]', id="an array answered"),
        pytest.param("move", {"point": {"x": 1, "y": 2}, "by": 2}, '{"x":3,"y":4}', id="a row"),
        pytest.param("bounds", {"numbers": [3, 1, 2]}, '{"low":1,"high":3}', id="out parameters"),
        pytest.param("only_out", {}, '{"answer":42}', id="one out parameter"),
        pytest.param("any_record", {}, '{"?column?":1,"text":"one"}', id="a record without names"),
        pytest.param(
            "any_records",
            {},
            '[{"column1":1,"column2":"one"}, \n {"column1":2,"column2":"two"}]',
            id="a set of such records",
        ),
        pytest.param("count_to", {"n": 2}, "[1, 2]", id="a set of scalars"),
        pytest.param("count_to", {"n": 0}, "[]", id="an empty set"),
        pytest.param("squares", {"n": 2}, '[{"number":1,"square":1}, \n {"number":2,"square":4}]', id="a table"),
        pytest.param("only_column", {"n": 1}, '[{"number":1}]', id="a table of one column"),
        pytest.param("points", {"n": 1}, '[{"x":1,"y":-1}]', id="a set of rows"),
        pytest.param("echo_json", {"document": {"b": 1.10, "a": [None]}}, '{"b":1.1,"a":[null]}', id="json"),
        pytest.param(
            "echo_jsonb", {"document": {"b": 1, "a": 2}}, '{"label": null, "document": {"a": 2, "b": 1}}', id="jsonb"
        ),
        pytest.param("echo_jsonb", {"document": None}, '{"label": null, "document": null}', id="a null is SQL's null"),
        pytest.param("Odd%20%22name%22%2F%C3%A9", {" odd argument": "x"}, '"x"', id="names that need quotes"),
        pytest.param("either", {"a": 1}, '"a"', id="overloads by name, a"),
        pytest.param("either", {"b": "1"}, '"b"', id="overloads by name, b"),
        pytest.param("either", {"a": 1, "b": 1}, '"a and b"', id="overloads by name, both"),
    ],
)
def test_post_answers_what_the_function_does(
    rpc: httpx.Client, function: str, arguments: dict[str, Any], answer: str
) -> None:
    response = rpc.post(function, json=arguments)
    assert (response.status_code, response.text) == (200, answer)
    rows = len(response.json()) if answer.startswith("[") and function != "first_words" else 1
    assert said_of(response) == {"content-type": JSON, "content-range": f"0-{rows - 1}/*" if rows else "*/*"}
    assert response.headers["vary"] == "Accept, Prefer, Range"


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        pytest.param("add?a=1&b=2", 3, id="cast by type"),
        pytest.param("add?a=1&a=5", 15, id="the last of a repeated name"),
        pytest.param("greet?name=", "Hello, ", id="an empty text"),
        pytest.param("greet?name=eq.smith", "Hello, eq.smith", id="what could be a filter is an argument by name"),
        pytest.param("total?numbers={1,2}", 3, id="an array"),
        pytest.param('join_words?words=a&words=b,c&words="', 'a-b,c-"', id="variadic, collected"),
        pytest.param("join_words?words={a,b}", "a-b", id="variadic, as an array"),
        pytest.param("join_words?words=a", "a", id="variadic, one"),
        pytest.param("move?point=(1,2)", {"x": 2, "y": 3}, id="a row"),
        pytest.param('echo_jsonb?document={"a":1}', {"label": None, "document": {"a": 1}}, id="json"),
        pytest.param("count_to?n=2&select=*", [1, 2], id="select=* is nothing special"),
    ],
)
def test_get_takes_arguments_as_text(rpc: httpx.Client, query: str, answer: Any) -> None:
    response = rpc.get(query)
    assert (response.status_code, response.json()) == (200, answer)


def test_a_form_is_read_like_a_query(rpc: httpx.Client) -> None:
    response = rpc.post("join_words", data={"words": ["a", "b"]})
    assert (response.status_code, response.json()) == (200, "a-b")


@pytest.mark.parametrize(
    ("function", "content_type", "body", "answer"),
    [
        ("take_text", "text/plain", "é".encode(), "É"),
        ("take_bytes", "application/octet-stream", b"\x00\xff", 2),
        ("take_json", "application/json", b'{"a": [1]}', {"a": [1]}),
        ("take_json", "application/json", b"[1, 2]", [1, 2]),
        ("take_json", "application/vnd.example+json", b"7", 7),
    ],
)
def test_one_unnamed_parameter_takes_a_whole_body(
    rpc: httpx.Client, function: str, content_type: str, body: bytes, answer: Any
) -> None:
    response = rpc.post(function, content=body, headers={"Content-Type": content_type})
    assert (response.status_code, response.json()) == (200, answer)


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        pytest.param("first_words", b'[{"n": 1}, {"n": 2}]', ["one"], id="of several objects the first"),
        pytest.param("nothing_known", b"", None, id="nothing"),
        pytest.param("nothing_known", b"[]", None, id="an empty array"),
        pytest.param("nothing_known", b"17", None, id="a scalar"),
        pytest.param("add?columns=a", b'{"a": 1, "b": 2}', 11, id="columns limit what is looked at"),
        pytest.param("add", b'{"a": 1, "a": 2}', 12, id="of a repeated key the last"),
    ],
)
def test_json_bodies_that_are_no_plain_object(rpc: httpx.Client, path: str, body: bytes, answer: Any) -> None:
    response = rpc.post(path, content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()) == (200, answer)


def test_void_answers_nothing(rpc: httpx.Client) -> None:
    response = rpc.post("do_nothing")
    assert (response.status_code, response.content) == (204, b"")
    assert said_of(response) == {"content-range": "0-0/*"}
    assert "content-length" not in response.headers


def test_a_reply_is_sent_as_it_is(rpc: httpx.Client) -> None:
    """Status, headers and body are the function's; measures that nobody knows do no harm."""
    response = rpc.post("custom_reply", json={"status": 202, "headers": {"X-Own": "1"}})
    assert (response.status_code, response.text) == (202, '{"a": null, "b": 1}')
    assert said_of(response) == {"content-type": JSON, "content-range": "0-0/*", "x-own": "1"}


def test_a_reply_that_the_client_has_is_304(rpc: httpx.Client) -> None:
    response = rpc.get("tagged", headers={"If-None-Match": '"7"'})
    assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", '"7"')
    assert rpc.get("tagged", headers={"If-None-Match": '"8"'}).json() == {"n": 7}


def test_a_product_function_works_like_its_route(rpc: httpx.Client) -> None:
    """The same function, arguments from JSON or from the query; `limit` is an argument where the function has it."""
    made = rpc.post("create_card", json={"card_type": "voice", "content": {"tone": "warm", "n": 1.50}})
    assert (made.status_code, made.json()) == (
        201,
        shapes.card(card_type="voice", content={"tone": "warm", "n": 1.5}, created=True),
    )
    card = {key: value for key, value in made.json().items() if key != "created"}
    found = rpc.get("get_card", params={"card_id": card["card_id"]})
    assert (found.status_code, found.json(), found.headers["etag"]) == (200, card, made.headers["etag"])
    listed = rpc.get("list_cards", params={"limit": "1", "contains": '{"tone": "warm"}', "count": "exact"})
    assert listed.json() == {"cards": [card], "next_cursor": None, "total": 1}
    assert rpc.post("list_cards", json={"limit": 1}).json() == {"cards": [card], "next_cursor": None}
    stale = rpc.post("update_card", json={"card_id": card["card_id"], "content": {}}, headers={"If-Match": '"9-0"'})
    assert (stale.status_code, stale.json()["code"]) == (412, "PT412")
    missing = rpc.get("get_card", params={"card_id": str(uuid4())})
    assert_refused(missing, 404, "PT404", *(missing.json()[key] for key in ("message", "details", "hint")))


# --- how much of it, and in which form -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "headers", "status", "content_range", "numbers"),
    [
        pytest.param("n=5", {}, 200, "0-4/*", [1, 2, 3, 4, 5], id="all"),
        pytest.param("n=5", {"Prefer": "count=exact"}, 200, "0-4/5", [1, 2, 3, 4, 5], id="all, counted"),
        pytest.param("n=5", {"Prefer": "count=planned"}, 200, "0-4/5", [1, 2, 3, 4, 5], id="planned is exact"),
        pytest.param("n=5", {"Prefer": "count=estimated"}, 200, "0-4/5", [1, 2, 3, 4, 5], id="estimated, too"),
        pytest.param("n=5&limit=2", {}, 206, "0-1/*", [1, 2], id="a page says that there is more"),
        pytest.param("n=5&limit=5", {}, 200, "0-4/*", [1, 2, 3, 4, 5], id="a page that is all"),
        pytest.param("n=5&limit=2&offset=2", {"Prefer": "count=exact"}, 206, "2-3/5", [3, 4], id="a page, counted"),
        pytest.param("n=5&offset=4", {}, 206, "4-4/*", [5], id="the last page"),
        pytest.param("n=5&offset=5", {"Prefer": "count=exact"}, 206, "*/5", [], id="a page past the end"),
        pytest.param("n=5&limit=0", {"Prefer": "count=exact"}, 206, "*/5", [], id="no rows, but the count"),
        pytest.param("n=0", {"Prefer": "count=exact"}, 200, "*/0", [], id="none, counted"),
        pytest.param("n=5", {"Range": "1-2"}, 206, "1-2/*", [2, 3], id="Range"),
        pytest.param("n=5", {"Range": "3-"}, 206, "3-4/*", [4, 5], id="an open Range"),
        pytest.param("n=5&limit=1", {"Range": "1-2"}, 206, "0-0/*", [1], id="limit counts before Range"),
        pytest.param("n=5", {"Range": "bytes=0-9"}, 200, "0-4/*", [1, 2, 3, 4, 5], id="a Range of something else"),
    ],
)
def test_ranges_and_counts(
    rpc: httpx.Client, query: str, headers: dict[str, str], status: int, content_range: str, numbers: list[int]
) -> None:
    response = rpc.get(f"only_column?{query}", headers=headers)
    assert (response.status_code, [row["number"] for row in response.json()]) == (status, numbers)
    assert response.headers["content-range"] == content_range
    assert response.headers.get("preference-applied") == headers.get("Prefer")

    head = rpc.head(f"only_column?{query}", headers={key: headers[key] for key in headers if key != "Range"})
    assert head.content == b""
    assert "content-length" not in head.headers
    if "Range" not in headers:
        assert (head.status_code, head.headers["content-range"]) == (status, content_range)
        posted = rpc.post(
            f"only_column?{query.partition('&')[2]}", json={"n": int(query[2])}, headers={**headers, "Range": "0-0"}
        )
        assert (posted.status_code, posted.headers["content-range"]) == (status, content_range)


@pytest.mark.parametrize(
    ("query", "headers", "status", "code", "details"),
    [
        ("limit=-1", {}, 416, "PGRST103", "Limit should be greater than or equal to zero."),
        ("offset=-1", {}, 416, "PGRST103", "Offset should be greater than or equal to zero."),
        (
            "",
            {"Range": "3-2"},
            416,
            "PGRST103",
            "The lower boundary must be lower than or equal to the upper boundary in the Range header.",
        ),
        (
            "offset=9",
            {"Prefer": "count=exact"},
            416,
            "PGRST103",
            "An offset of 9 was requested, but there are only 3 rows.",
        ),
        ("limit=x", {}, 400, "PGRST100", "Expected an integer."),
        ("limit=9223372036854775807", {}, 400, "PGRST100", "Expected an integer."),
    ],
)
def test_ranges_that_are_none(
    rpc: httpx.Client, query: str, headers: dict[str, str], status: int, code: str, details: str
) -> None:
    response = rpc.get(f"count_to?n=3&{query}", headers=headers)
    assert (response.status_code, response.json()["code"], response.json()["details"]) == (status, code, details)


@pytest.mark.parametrize(
    ("accept", "media_type", "answer"),
    [
        ("*/*", JSON, '[{"name":"Ann","nickname":null}, \n {"name":"Bob \\"B\\", Jr.","nickname":"Bo"}]'),
        (
            f"{ARRAY};nulls=stripped",
            f"{ARRAY};nulls=stripped; charset=utf-8",
            '[{"name":"Ann"},{"name":"Bob \\"B\\", Jr.","nickname":"Bo"}]',
        ),
        (
            "application/vnd.pgrst.array;nulls=stripped",
            f"{ARRAY};nulls=stripped; charset=utf-8",
            '[{"name":"Ann"},{"name":"Bob \\"B\\", Jr.","nickname":"Bo"}]',
        ),
        ("text/csv", "text/csv; charset=utf-8", 'name,nickname\nAnn,\n"Bob ""B"", Jr.",Bo'),
        ("text/html, text/csv;q=0.5, */*;q=0.1", "text/csv; charset=utf-8", 'name,nickname\nAnn,\n"Bob ""B"", Jr.",Bo'),
    ],
)
def test_forms_of_the_answer(rpc: httpx.Client, accept: str, media_type: str, answer: str) -> None:
    response = rpc.get("people", headers={"Accept": accept})
    assert (response.status_code, response.headers["content-type"], response.text) == (200, media_type, answer)


def test_one_object_is_answered_as_one(rpc: httpx.Client) -> None:
    response = rpc.get("squares?n=3&limit=1", headers={"Accept": OBJECT})
    assert (response.status_code, response.text) == (206, '{"number":1,"square":1}')
    assert response.headers["content-type"] == f"{OBJECT}; charset=utf-8"
    stripped = rpc.get("people?limit=1", headers={"Accept": "application/vnd.pgrst.object;nulls=stripped"})
    assert (stripped.text, stripped.headers["content-type"]) == (
        '{"name":"Ann"}',
        f"{OBJECT};nulls=stripped; charset=utf-8",
    )


@pytest.mark.usefixtures("no_notes")
@pytest.mark.parametrize(("n", "rows"), [(0, 0), (2, 2)])
def test_another_number_than_one_object_undoes_the_call(rpc: httpx.Client, n: int, rows: int) -> None:
    response = rpc.post("write_notes", json={"n": n}, headers={"Accept": OBJECT})
    message = "Cannot coerce the result to a single JSON object"
    assert_refused(response, 406, "PGRST116", message, f"The result contains {rows} rows", None)
    assert note_ids(rpc) == []


@pytest.mark.parametrize(
    ("function", "accept"), [("people", "image/png"), ("people", "application/geo+json"), ("tagged", "text/csv")]
)
def test_forms_that_there_are_not(rpc: httpx.Client, function: str, accept: str) -> None:
    response = rpc.get(function, headers={"Accept": accept})
    assert_refused(response, 406, "PGRST107", f"None of these media types are available: {accept}", None, None)


# --- what Prefer asks for ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_notes")
def test_a_dry_run_answers_and_leaves_nothing(rpc: httpx.Client) -> None:
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


def test_a_time_zone_is_for_one_answer_only(rpc: httpx.Client) -> None:
    response = rpc.get("moment", headers={"Prefer": "timezone=Asia/Tokyo"})
    assert (response.text, response.headers["preference-applied"]) == (
        '"2026-01-31T21:00:00+09:00"',
        "timezone=Asia/Tokyo",
    )
    assert {rpc.get("moment").text for _ in range(20)} == {'"2026-01-31T12:00:00+00:00"'}
    response = rpc.get("moment", headers={"Prefer": "timezone=Mars/Olympus"})
    assert_refused(response, 400, "22023", 'invalid value for parameter "TimeZone": "Mars/Olympus"', None, None)


@pytest.mark.usefixtures("no_notes")
def test_more_rows_than_may_be_affected_undo_the_call(rpc: httpx.Client) -> None:
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


def test_unknown_preferences_are_ignored_unless_it_is_strict(rpc: httpx.Client) -> None:
    asked = "x=1, count=many, count=exact, count=planned, wait=-1"
    response = rpc.get("count_to?n=1", headers={"Prefer": asked})
    assert (response.status_code, response.headers["preference-applied"]) == (200, "count=exact")
    response = rpc.get("count_to?n=1", headers=[("Prefer", asked), ("Prefer", "handling=strict")])
    message, details = "Invalid preferences given with handling=strict", "Invalid preferences: x=1, count=many, wait=-1"
    assert_refused(response, 400, "PGRST122", message, details, None)


def test_return_minimal_answers_no_body_but_the_range(rpc: httpx.Client) -> None:
    headers = {"Prefer": "return=minimal,count=exact"}
    response = rpc.post("count_to?limit=1", json={"n": 3}, headers=headers)
    assert (response.status_code, response.content) == (204, b"")
    assert said_of(response) == {"content-range": "0-0/3", "preference-applied": "return=minimal, count=exact"}
    assert rpc.post("custom_reply", json={"status": 202}, headers=headers).status_code == 202


def test_return_representation_is_what_happens_anyway(rpc: httpx.Client) -> None:
    response = rpc.post("add", json={"a": 1}, headers={"Prefer": "return=representation"})
    assert (response.text, "preference-applied" in response.headers) == ("11", False)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        pytest.param("sleep?seconds=20", {"Prefer": "wait=1"}, id="the client's patience"),
        pytest.param("sleep_a_little?seconds=20", {}, id="the function's own limit"),
    ],
)
def test_a_call_that_takes_too_long_is_ended(
    rpc: httpx.Client, rpc_database: Database, path: str, headers: dict[str, str]
) -> None:
    response = rpc.get(path, headers=headers)
    message = "The database took too long. Ask for less, or repeat the request later."
    assert_refused(response, 504, "57014", message, None, None)
    wait_until(lambda: sleeping(rpc_database) == 0)


def sleeping(database: Database) -> int:
    """How many connections are at work in a sleep."""
    count = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
    return int(database.execute(count))


# --- which function ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "called", "searched", "hint"),
    [
        (
            "POST",
            "ad",
            {"a": 1, "b": 2},
            "api.ad(a, b)",
            "with parameters a, b or with a single unnamed json/jsonb parameter",
            "api.add",
        ),
        (
            "POST",
            "nowhere",
            {},
            "api.nowhere without parameters",
            "without parameters or with a single unnamed json/jsonb parameter",
            None,
        ),
        (
            "POST",
            "add",
            {"a": 1, "c": 2},
            "api.add(a, c)",
            "with parameters a, c or with a single unnamed json/jsonb parameter",
            "api.add(a, b)",
        ),
        (
            "POST",
            "add",
            {},
            "api.add without parameters",
            "without parameters or with a single unnamed json/jsonb parameter",
            None,
        ),
        ("POST", "ADD", {"a": 1}, "api.ADD(a)", "with parameter a or with a single unnamed json/jsonb parameter", None),
        ("GET", "add?a=1&d=2", None, "api.add(a, d)", "with parameters a, d", "api.add(a, b)"),
        ("GET", "elsewhere", None, "api.elsewhere without parameters", "without parameters", None),
        ("GET", "for_insiders", None, "api.for_insiders without parameters", "without parameters", None),
        ("GET", "for_services", None, "api.for_services without parameters", "without parameters", None),
        ("GET", "catalog", None, "api.catalog without parameters", "without parameters", None),
        ("GET", "any_element?element=1", None, "api.any_element(element)", "with parameter element", None),
        (
            "POST",
            "do_procedure",
            {},
            "api.do_procedure without parameters",
            "without parameters or with a single unnamed json/jsonb parameter",
            None,
        ),
    ],
)
def test_functions_that_are_not_there(
    rpc: httpx.Client, method: str, path: str, body: Any, called: str, searched: str, hint: str | None
) -> None:
    response = rpc.request(method, path, json=body)
    name = path.partition("?")[0]
    message = f"Could not find the function {called} in the schema cache"
    details = f"Searched for the function api.{name} {searched}, but no matches were found in the schema cache."
    suggestion = f"Perhaps you meant to call the function {hint}" if hint else response.json()["hint"]
    assert_refused(response, 404, "PGRST202", message, details, suggestion)


def test_a_whole_body_needs_an_unnamed_parameter(rpc: httpx.Client) -> None:
    response = rpc.post("add", content=b"x", headers={"Content-Type": "text/plain"})
    message = "Could not find the function api.add in the schema cache"
    details = (
        "Searched for the function api.add with a single unnamed text parameter, "
        "but no matches were found in the schema cache."
    )
    assert_refused(response, 404, "PGRST202", message, details, None)


def test_types_do_not_choose_between_overloads(rpc: httpx.Client) -> None:
    response = rpc.post("ambiguous", json={"a": 1})
    listed = "api.ambiguous(a => integer), api.ambiguous(a => text)"
    hint = "Try renaming the parameters or the function itself in the database so function overloading can be resolved"
    message = f"Could not choose the best candidate function between: {listed}"
    assert_refused(response, 300, "PGRST203", message, None, hint)


@pytest.mark.parametrize("name", FILLED)
def test_what_the_gateway_fills_is_no_argument(rpc: httpx.Client, name: str) -> None:
    body = {"card_type": "voice", "content": {}, name: str(uuid4())}
    response = rpc.post("create_card", json=body)
    assert (response.status_code, response.json()["code"]) == (404, "PGRST202")
    assert rpc.get(f"my_tenant_given?{name}={uuid4()}").json()["code"] == "PGRST202"


def test_paths_that_only_begin_alike_are_others(rpc_gateway: Gateway) -> None:
    with rpc_gateway.client() as client:
        for path in ("/rpc", "/rpcadd?a=1"):
            response = client.get(path)
            assert (response.status_code, response.json()["error"]["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("path", ["", "add/1", "/"])
def test_paths_that_name_no_function(rpc: httpx.Client, path: str) -> None:
    address = str(rpc.base_url).rstrip("/") + f"/{path}"
    assert_refused(rpc.get(address), 404, "PGRST125", "Invalid path specified in request URL", None, None)


# --- methods, profiles, what is left out ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "allow"),
    [("add", "OPTIONS,GET,HEAD,POST"), ("write_note", "OPTIONS,POST"), ("squares", "OPTIONS,GET,HEAD,POST")],
)
def test_options_tells_the_methods_to_anybody(rpc_gateway: Gateway, function: str, allow: str) -> None:
    with rpc_gateway.client() as client:
        response = client.options(f"/rpc/{function}")
    assert (response.status_code, response.content, response.headers["allow"]) == (200, b"", allow)


def test_options_of_a_function_that_is_not_there(rpc: httpx.Client) -> None:
    assert rpc.options("nowhere").status_code == 404


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "QUERY"])
def test_other_methods_are_refused(rpc: httpx.Client, method: str) -> None:
    response = rpc.request(method, "add?a=1")
    assert_refused(response, 405, "PGRST101", f"Cannot use the {method} method on RPC", None, None)
    assert response.headers["allow"] == "OPTIONS,GET,HEAD,POST"


@pytest.mark.usefixtures("no_notes")
def test_a_volatile_function_is_not_called_by_get(rpc: httpx.Client) -> None:
    assert rpc.get("write_note").status_code == 405
    response = rpc.get("write_note?note_id=1")
    details, hint = "The function api.write_note is volatile: it may write.", "Call it with POST."
    assert_refused(response, 405, "PGRST101", "Cannot use the GET method on RPC", details, hint)
    assert response.headers["allow"] == "OPTIONS,POST"
    head = rpc.head("write_note?note_id=1")
    assert (head.status_code, head.content) == (405, b"")
    assert head.headers["proxy-status"] == "PostgREST; error=PGRST101"
    assert note_ids(rpc) == []


@pytest.mark.usefixtures("no_notes")
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_stable_function_that_writes_is_refused(rpc: httpx.Client, method: str) -> None:
    sent = {"params": {"note_id": "1"}} if method == "GET" else {"json": {"note_id": 1}}
    response = rpc.request(method, "write_although_stable", **sent)
    assert_refused(response, 405, "25006", "cannot execute INSERT in a read-only transaction", None, None)
    assert note_ids(rpc) == []


@pytest.mark.parametrize("preference", ["timezone=UTC", "tx=rollback"])
def test_a_stable_function_that_writes_is_refused_in_a_transaction_too(rpc: httpx.Client, preference: str) -> None:
    response = rpc.get("write_although_stable?note_id=1", headers={"Prefer": preference})
    assert (response.status_code, response.json()["code"]) == (405, "25006")


@pytest.mark.parametrize("profile", ["api", "public"])
def test_profiles_name_the_one_schema(rpc: httpx.Client, profile: str) -> None:
    response = rpc.get("add?a=1", headers={"Accept-Profile": profile, "Content-Profile": "other"})
    assert (response.text, response.headers["content-profile"]) == ("11", profile)
    response = rpc.post("add", json={"a": 1}, headers={"Content-Profile": profile, "Accept-Profile": "other"})
    assert (response.text, response.headers["content-profile"]) == ("11", profile)


def test_other_profiles_are_refused(rpc: httpx.Client) -> None:
    response = rpc.get("add?a=1", headers={"Accept-Profile": "app"})
    assert_refused(
        response, 406, "PGRST106", "Invalid schema: app", None, "Only the following schemas are exposed: api"
    )


@pytest.mark.parametrize(
    ("method", "path", "headers", "details"),
    [
        ("GET", "squares?n=2&select=number", {}, "shaping the answer by the query parameter select=number"),
        (
            "GET",
            "squares?n=2&select=number,other(*)",
            {},
            "shaping the answer by the query parameter select=number,other(*)",
        ),
        ("GET", "squares?n=2&order=number.desc", {}, "shaping the answer by the query parameter order=number.desc"),
        ("GET", "squares?n=2&or=(number.eq.1)", {}, "shaping the answer by the query parameter or=(number.eq.1)"),
        ("GET", "squares?n=2&other.limit=1", {}, "shaping the answer by the query parameter other.limit=1"),
        ("GET", "squares?n=2&number=eq.1", {}, "filtering the answer by number=eq.1"),
        ("POST", "squares?number=not.in.(1,2)", {}, "filtering the answer by number=not.in.(1,2)"),
        ("POST", "squares?select=number", {}, "shaping the answer by the query parameter select=number"),
        (
            "GET",
            "squares?n=2",
            {"Accept": 'application/vnd.pgrst.plan+json; for="x"; options=analyze'},
            "the plan of a query (explain)",
        ),
    ],
)
def test_what_is_left_to_functions_is_named(
    rpc: httpx.Client, method: str, path: str, headers: dict[str, str], details: str
) -> None:
    response = rpc.request(method, path, json={"n": 2} if method == "POST" else None, headers=headers)
    hint = "A function takes as arguments what it filters and orders by, and answers the columns it is meant to."
    assert_refused(response, 400, "PGRST127", "Feature not implemented", details, hint)


# --- bad requests --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "content_type", "body", "code", "message"),
    [
        pytest.param("add", "application/json", b'{"a":', "PGRST102", "Empty or invalid json", id="half an object"),
        pytest.param("add", "application/json", b"nonsense", "PGRST102", "Empty or invalid json", id="no JSON"),
        pytest.param(
            "greet", "application/json", b'{"name": "\xff"}', "PGRST102", "Empty or invalid json", id="no UTF-8"
        ),
        pytest.param(
            "take_text", "text/plain", b"\xff", "PGRST102", "The body is not valid UTF-8", id="no UTF-8 in text"
        ),
        pytest.param(
            "add",
            "application/json",
            b'[{"a": 1}, {"b": 1}]',
            "PGRST102",
            "All object keys must match",
            id="other keys",
        ),
        pytest.param(
            "add", "application/json", b'[{"a": 1}, 2]', "PGRST102", "All object keys must match", id="not only objects"
        ),
        pytest.param("add", "image/png", b"x", "PGRST102", "Content-Type not acceptable: image/png", id="media type"),
        pytest.param(
            "add?a=1",
            "application/json",
            b"{}",
            "PGRST100",
            '"failed to parse filter (1)" (line 1, column 1)',
            id="query",
        ),
        pytest.param(
            "add",
            "application/x-www-form-urlencoded",
            b"a=%ff",
            "PGRST100",
            "The query string or form is not valid",
            id="form",
        ),
        pytest.param(
            "add", "application/json", b'{"a": "x"}', "22P02", 'invalid input syntax for type integer: "x"', id="type"
        ),
        pytest.param(
            "add", "application/json", b'{"a": {}}', "22P02", 'invalid input syntax for type integer: "{}"', id="object"
        ),
        pytest.param(
            "add",
            "application/json",
            b'{"a": 99999999999}',
            "22003",
            'value "99999999999" is out of range for type integer',
            id="range",
        ),
        pytest.param(
            "greet",
            "application/json",
            rb'{"name": "\u0000"}',
            "22P05",
            "unsupported Unicode escape sequence",
            id="NUL",
        ),
        pytest.param(
            "greet", "application/json", rb'{"name": "\ud800"}', "PGRST102", "Empty or invalid json", id="half a pair"
        ),
        pytest.param(
            "echo_jsonb",
            "application/json",
            b'{"document": 1e999999}',
            "22003",
            "value overflows numeric format",
            id="number",
        ),
        pytest.param(
            "percent_of",
            "application/json",
            b'{"part": 101, "whole": 1}',
            "23514",
            'value for domain api.percent violates check constraint "percent_check"',
            id="domain",
        ),
        pytest.param(
            "move",
            "application/json",
            b'{"point": [1]}',
            "22023",
            "cannot call populate_composite on an array",
            id="row",
        ),
        pytest.param("total", "application/json", b'{"numbers": 1}', "22P02", "expected JSON array", id="array"),
    ],
)
def test_bad_bodies_are_400(
    rpc: httpx.Client, path: str, content_type: str, body: bytes, code: str, message: str
) -> None:
    response = rpc.post(path, content=body, headers={"Content-Type": content_type})
    assert (response.status_code, response.json()["code"], response.json()["message"]) == (400, code, message)


def test_what_is_nested_too_deep_is_400(rpc: httpx.Client) -> None:
    body = b'{"document": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    response = rpc.post("echo_jsonb", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 400


def test_a_body_that_is_too_large_is_413(rpc: httpx.Client) -> None:
    response = rpc.post("greet", content=b'{"name": "' + b"x" * 9_000_000 + b'"}')
    message = "The body has more than 8388608 bytes. Send it in parts."
    assert_refused(response, 413, "PAYLOAD_TOO_LARGE", message, None, None)


def test_bad_query_strings_are_400(rpc: httpx.Client) -> None:
    for query in ("a=%ff", "&".join(f"n{i}=1" for i in range(1001))):
        response = rpc.get(f"add?{query}")
        assert (response.status_code, response.json()["code"]) == (400, "PGRST100")
    assert rpc.get("greet?name=%00").json()["code"] == "22021"


# --- what functions raise ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("PT402", 402),
        ("PT404", 404),
        ("PT409", 409),
        ("PT503", 503),
        ("23503", 409),
        ("23505", 409),
        ("23514", 400),
        ("22012", 400),
        ("23502", 400),
        ("23P01", 409),
        ("25006", 405),
        ("28000", 403),
        ("0L000", 403),
        ("0P000", 403),
        ("42501", 403),
        ("55P03", 409),
        ("P0001", 400),
        ("P0002", 404),
        ("ZZ999", 400),
        ("3F000", 400),
    ],
)
def test_errors_that_are_told(rpc: httpx.Client, code: str, status: int) -> None:
    told = {"message": "it is so", "detail": "because", "hint": "do this"}
    for function in ("refuse", "refuse_as_set")[: 1 if code.startswith("PT") else 2]:
        arguments = {"code": code} | (told if function == "refuse" else {})
        response = rpc.post(function, json=arguments)
        said = ("it is so", "because", "do this") if function == "refuse" else (code, None, None)
        assert_refused(response, status, code, *said)


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("PT40A", 500),
        ("PT500", 500),
        ("PT200", 500),
        ("08000", 503),
        ("09000", 500),
        ("21000", 500),
        ("25000", 500),
        ("2D000", 500),
        ("38000", 500),
        ("39000", 500),
        ("3B000", 500),
        ("40000", 500),
        ("42883", 500),
        ("42P01", 500),
        ("42P17", 500),
        ("42703", 500),
        ("53000", 503),
        ("53400", 500),
        ("54001", 500),
        ("55000", 500),
        ("57000", 500),
        ("57P01", 503),
        ("58000", 500),
        ("F0000", 500),
        ("HV000", 500),
        ("P0000", 500),
        ("P0004", 500),
        ("XX000", 500),
    ],
)
def test_errors_of_which_only_the_code_is_told(rpc: httpx.Client, code: str, status: int) -> None:
    response = rpc.post("refuse", json={"code": code, "message": "secret", "detail": "secret", "hint": "secret"})
    message = {
        500: "Something went wrong on our side. The log has it under this request's id.",
        503: "The database can't be reached. Repeat the request a little later.",
    }[status]
    assert_refused(response, status, code, message, None, None)


def test_what_is_broken_inside_a_function_is_our_fault(rpc: httpx.Client, rpc_gateway: Gateway) -> None:
    response = rpc.get("broken")
    message = "Something went wrong on our side. The log has it under this request's id."
    assert_refused(response, 500, "42P01", message, None, None)
    request_id = response.json()["request_id"]
    wait_until(lambda: request_id in rpc_gateway.log)
    line = next(json.loads(line) for line in rpc_gateway.log.splitlines() if request_id in line)
    assert (line["route"], line["status"], line["code"]) == ("/rpc/{function}", 500, "42P01")
    assert 'relation "nowhere" does not exist' in line["exception"]


def test_a_cardinality_violation_can_be_the_callers_fault(rpc: httpx.Client) -> None:
    response = rpc.post("refuse", json={"code": "21000", "message": "UPDATE requires a WHERE clause"})
    assert_refused(response, 400, "21000", "UPDATE requires a WHERE clause", None, None)


def test_an_error_can_be_raised_whole(rpc: httpx.Client) -> None:
    message = {"code": "OUT_OF_STOCK", "message": "none left", "details": "of 3", "hint": "wait"}
    detail = {"status": 409, "headers": {"X-Left": "0", "Retry-After": "60"}}
    response = rpc.post("refuse", json={"code": "PGRST", "message": json.dumps(message), "detail": json.dumps(detail)})
    assert (response.status_code, response.headers["x-left"], response.headers["retry-after"]) == (409, "0", "60")
    assert response.json() == rpc_error("OUT_OF_STOCK", "none left", "of 3", "wait")
    assert response.headers["proxy-status"] == "PostgREST; error=OUT_OF_STOCK"


@pytest.mark.parametrize(
    ("message", "detail"),
    [
        ("no JSON", '{"status": 400, "headers": {}}'),
        ('{"code": "A"}', '{"status": 400, "headers": {}}'),
        ('{"code": "A", "message": "m"}', None),
        ('{"code": "A", "message": "m"}', '{"status": 400}'),
        ('{"code": "A", "message": "m"}', '{"status": 99, "headers": {}}'),
        ('{"code": "A", "message": "m"}', '{"status": 400, "headers": {"a b": "c"}}'),
        ('{"code": "A", "message": "m"}', '{"status": 400, "headers": {"a": "c\\nd: e"}}'),
    ],
)
def test_an_error_raised_whole_that_can_not_be_read(rpc: httpx.Client, message: str, detail: str | None) -> None:
    response = rpc.post("refuse", json={"code": "PGRST", "message": message, "detail": detail})
    text = "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error"
    assert (response.status_code, response.json()["code"], response.json()["message"]) == (500, "PGRST121", text)


def test_a_head_that_fails_tells_its_code_in_a_header(rpc: httpx.Client) -> None:
    response = rpc.head("refuse?code=PT418")
    assert (response.status_code, response.content) == (418, b"")
    assert response.headers["proxy-status"] == "PostgREST; error=PT418"


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_collisions_are_tried_again(rpc: httpx.Client, rpc_gateway: Gateway, rpc_database: Database, code: str) -> None:
    rpc_database.execute("alter sequence test.attempts restart")
    before = metric(rpc_gateway, "cards_database_retries_total")
    response = rpc.post("fail_at_first", json={"times": 3, "code": code})
    assert (response.status_code, response.json()) == (200, 4)
    assert metric(rpc_gateway, "cards_database_retries_total") == before + 3
    rpc_database.execute("alter sequence test.attempts restart")
    response = rpc.post("fail_at_first", json={"times": 9, "code": code}, headers={"Prefer": "timezone=UTC"})
    message = "The database can't be reached. Repeat the request a little later."
    assert_refused(response, 503, code, message, None, None)


def metric(gateway: Gateway, name: str) -> float:
    """The value of a metric."""
    with gateway.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return next(float(line.removeprefix(f"{name} ")) for line in lines if line.startswith(f"{name} "))


# --- who calls -----------------------------------------------------------------------------------------------


def test_the_tenant_is_a_parameter_and_a_setting(rpc: httpx.Client, tenant_id: UUID) -> None:
    for response in (rpc.get("my_tenant"), rpc.post("my_tenant"), rpc.get("my_tenant_given")):
        assert (response.status_code, response.json()) == (200, str(tenant_id))
    assert rpc.get("my_tenants?n=2").json() == [str(tenant_id)] * 2


def test_a_function_that_knows_nothing_of_tenants_sees_one(rpc: httpx.Client, rpc_gateway: Gateway) -> None:
    for number in range(3):
        rpc.post("create_card", json={"card_type": "voice", "content": {"n": number}}).raise_for_status()
    assert rpc.get("my_card_count").json() == 3
    with rpc_gateway.client(uuid4()) as other:
        assert other.get("/rpc/my_card_count").json() == 0
    assert rpc.post("my_card_count").json() == 3


def test_the_user_comes_from_the_token(rpc_gateway: Gateway, tenant_id: UUID) -> None:
    user_id = uuid4()
    with rpc_gateway.client() as client:
        client.headers["Authorization"] = f"Bearer {tokens.token(tenant_id, sub=str(user_id))}"
        for function in ("my_user", "maybe_my_user"):
            assert client.get(f"/rpc/{function}").json() == str(user_id)
            assert client.post(f"/rpc/{function}").json() == str(user_id)


def test_a_function_for_users_refuses_those_who_are_none(rpc: httpx.Client) -> None:
    message = "This function is for users: a bearer token with sub is needed."
    response = rpc.get("my_user")
    assert_refused(response, 401, "PGRST302", message, None, None)
    assert response.headers["www-authenticate"] == "Bearer"
    assert rpc.get("maybe_my_user").text == "null"


def test_callers_who_do_not_say_who_they_are(rpc_gateway: Gateway) -> None:
    with rpc_gateway.client() as client:
        response = client.get("/rpc/add?a=1")
        details = "X-Tenant-ID: This header is required."
        assert_refused(response, 422, "VALIDATION_ERROR", "The request is not valid.", details, None)
        expired = client.get("/rpc/add?a=1", headers={"Authorization": f"Bearer {tokens.token(seconds=-100)}"})
        assert_refused(expired, 401, "PGRST303", "The token has expired.", None, None)
        assert expired.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
        forged = client.get("/rpc/add?a=1", headers={"Authorization": f"Bearer {tokens.token(key='x' * 40)}"})
        assert_refused(forged, 401, "PGRST301", "The token is not valid.", None, None)
        both = {"Authorization": f"Bearer {tokens.token()}", "X-Tenant-ID": str(uuid4())}
        assert client.get("/rpc/add?a=1", headers=both).json()["code"] == "TENANT_MISMATCH"


def test_too_many_requests_are_refused_in_the_same_shape(
    make_gateway: Callable[..., Gateway], rpc_database: Database, tenant_id: UUID
) -> None:
    gateway = make_gateway(rpc_database, RATE_LIMIT_PER_MINUTE="1")
    with gateway.client(tenant_id) as client:
        assert client.get("/rpc/add?a=1").status_code == 200
        response = client.get("/rpc/add?a=1")
    assert (response.status_code, response.json()["code"]) == (429, "RATE_LIMITED")
    assert list(response.json()) == ["code", "message", "details", "hint", "request_id"]


# --- idempotency ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_notes")
def test_any_function_with_a_key_does_its_work_once(rpc: httpx.Client, tenant_id: UUID, rpc_gateway: Gateway) -> None:
    headers = {"Idempotency-Key": "k", "Prefer": "count=exact"}
    first = rpc.post("count_up", json={"step": 1}, headers=headers)
    assert (first.status_code, first.json()) == (200, [{"notes": 1, "taken": 1}])
    assert first.headers["x-idempotency-cache"] == "MISS"
    again = rpc.post("count_up", json={"step": 1}, headers={**headers, "Idempotency-Key": '"k"'})
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert said_of(again) == said_of(first) | {"x-idempotency-cache": "HIT"}
    assert note_ids(rpc) == [None]

    other = rpc.post("count_up", json={"step": 2}, headers=headers)
    message = "the idempotency key was used for another request"
    details = "The key k belongs to a request with another body or function."
    assert_refused(other, 422, "PT422", message, details, "Send a new key with a new request.")
    assert rpc.post("do_once", headers=headers).status_code == 422
    assert rpc.post("count_up?limit=0", json={"step": 1}, headers=headers).status_code == 422
    with rpc_gateway.client(uuid4()) as stranger:
        theirs = stranger.post("/rpc/count_up", json={"step": 1}, headers=headers)
    assert (theirs.json(), theirs.headers["x-idempotency-cache"]) == ([{"notes": 2, "taken": 1}], "MISS")


@pytest.mark.usefixtures("no_notes")
def test_two_users_equal_keys_never_meet(rpc_gateway: Gateway, tenant_id: UUID) -> None:
    for _ in range(2):
        user_id = str(uuid4())
        for result in ("MISS", "HIT"):
            headers = {"Authorization": f"Bearer {tokens.token(tenant_id, sub=user_id)}", "Idempotency-Key": "k"}
            with rpc_gateway.client() as client:
                response = client.post("/rpc/my_own_once", headers=headers)
            assert (response.json(), response.headers["x-idempotency-cache"]) == (user_id, result)


@pytest.mark.usefixtures("no_notes")
def test_the_key_is_the_functions_too(rpc: httpx.Client, rpc_database: Database) -> None:
    rpc.post("count_up", json={"step": 1}, headers={"Idempotency-Key": "its own"})
    rpc.post("count_up", json={"step": 1})
    assert rpc_database.execute("select text from test.notes order by text") == "its own"


@pytest.mark.usefixtures("no_notes")
def test_a_key_keeps_an_answer_without_a_body(rpc: httpx.Client) -> None:
    for result in ("MISS", "HIT"):
        response = rpc.post("do_once", headers={"Idempotency-Key": "k"})
        assert (response.status_code, response.headers["x-idempotency-cache"]) == (204, result)
    assert note_ids(rpc) == [None]


@pytest.mark.usefixtures("no_notes")
def test_a_kept_answer_comes_in_every_form(rpc: httpx.Client) -> None:
    key = {"Idempotency-Key": "k"}
    assert rpc.post("count_up", json={"step": 1}, headers={**key, "Accept": OBJECT}).json() == {"notes": 1, "taken": 1}
    csv = rpc.post("count_up", json={"step": 1}, headers={**key, "Accept": "text/csv"})
    assert (csv.text, csv.headers["x-idempotency-cache"]) == ("notes,taken\n1,1", "HIT")


@pytest.mark.usefixtures("no_notes")
def test_a_failed_call_does_not_use_up_its_key(rpc: httpx.Client) -> None:
    key = {"Idempotency-Key": "k"}
    assert rpc.post("count_up", json={"step": "x"}, headers=key).status_code == 400
    assert rpc.post("count_up", json={"step": 1}, headers=key).headers["x-idempotency-cache"] == "MISS"


@pytest.mark.usefixtures("no_notes")
def test_a_key_works_for_a_function_that_only_reads(rpc: httpx.Client) -> None:
    """By POST the answer is kept; a GET needs no key."""
    assert rpc.post("peek_once", headers={"Idempotency-Key": "k"}).headers["x-idempotency-cache"] == "MISS"
    rpc.post("write_note", json={"note_id": 1})
    again = rpc.post("peek_once", headers={"Idempotency-Key": "k"})
    assert (again.json(), again.headers["x-idempotency-cache"]) == (0, "HIT")
    got = rpc.get("peek_once", headers={"Idempotency-Key": "k"})
    assert (got.json(), "x-idempotency-cache" in got.headers) == (1, False)


def test_a_product_function_keeps_its_key_itself(rpc: httpx.Client) -> None:
    sent = {"json": {"cards": [{"card_type": "voice", "content": {}}]}, "headers": {"Idempotency-Key": "k"}}
    first, again = (rpc.post("create_cards", **sent) for _ in range(2))  # type: ignore[arg-type]
    assert (first.status_code, first.headers["x-idempotency-cache"]) == (201, "MISS")
    assert (again.status_code, again.headers["x-idempotency-cache"], again.content) == (201, "HIT", first.content)


@pytest.mark.usefixtures("no_notes")
def test_two_calls_at_once_with_one_key_do_the_work_once(rpc: httpx.Client, rpc_database: Database) -> None:
    answers: list[httpx.Response] = []

    def call() -> None:
        sent = {"X-Tenant-ID": rpc.headers["X-Tenant-ID"], "Idempotency-Key": "k"}
        answers.append(httpx.post(f"{rpc.base_url}count_up", json={"step": 1}, headers=sent, trust_env=False))

    with Holder(rpc_database, "lock table test.notes in access exclusive mode"):
        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: waiting_for_locks(rpc_database) == 4)
    for thread in threads:
        thread.join()
    assert {answer.content for answer in answers} == {b'[{"notes": 1, "taken": 1}]'}
    assert sorted(answer.headers["x-idempotency-cache"] for answer in answers) == ["HIT", "HIT", "HIT", "MISS"]


# --- clients that leave --------------------------------------------------------------------------------------


def test_the_query_of_a_client_that_left_is_cancelled(
    make_gateway: Callable[..., Gateway], rpc_database: Database, tenant_id: UUID
) -> None:
    gateway = make_gateway(rpc_database, DATABASE_STATEMENT_TIMEOUT_MS="600000")
    with gateway.client(tenant_id) as client, client.stream("GET", "/rpc/add?a=1"):
        pass
    left = leave_early(gateway, rpc_database, tenant_id, "GET", "sleep?seconds=600")
    wait_until(lambda: sleeping(rpc_database) == 0, 5)
    wait_until(lambda: left in gateway.log)
    line = next(json.loads(line) for line in gateway.log.splitlines() if left in line)
    assert (line["status"], line["code"], line["level"]) == (499, "CLIENT_LEFT", "info")
    with gateway.client(tenant_id) as client:
        assert client.get("/rpc/add?a=1").text == "11"


def test_a_write_is_finished_without_its_client(
    make_gateway: Callable[..., Gateway], rpc_database: Database, tenant_id: UUID
) -> None:
    rpc_database.execute("truncate test.notes")
    gateway = make_gateway(rpc_database)
    leave_early(gateway, rpc_database, tenant_id, "POST", "sleep_and_write", {"seconds": 1, "note_id": 7})
    wait_until(lambda: rpc_database.execute("select note_id from test.notes") == "7")


def leave_early(gateway: Gateway, database: Database, tenant_id: UUID, method: str, path: str, body: Any = None) -> str:
    """Sends a request and closes the connection while the database is at work; answers its id."""
    request_id = uuid4().hex
    content = "" if body is None else json.dumps(body)
    lines = (
        f"{method} /rpc/{path} HTTP/1.1",
        "Host: gateway",
        f"X-Tenant-ID: {tenant_id}",
        f"X-Request-ID: {request_id}",
        "Content-Type: application/json",
        f"Content-Length: {len(content)}",
        "",
        content,
    )
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall("\r\n".join(lines).encode())
        wait_until(lambda: sleeping(database) == 1)
    return request_id


# --- a catalog that changes ----------------------------------------------------------------------------------


@pytest.fixture
def own(make_gateway: Callable[..., Gateway], database: Database, tenant_id: UUID) -> Iterator[httpx.Client]:
    """A client of a gateway on a database of its own."""
    with make_gateway(database).client(tenant_id) as client:
        yield client


def until_it_answers(client: httpx.Client, path: str, text: str) -> None:
    """Waits for an answer."""
    wait_until(lambda: client.get(path).text == text, 30)


def test_a_new_function_is_called_without_any_sign(own: httpx.Client, database: Database) -> None:
    assert own.get("/rpc/newcomer").status_code == 404
    database.execute("create function api.newcomer() returns integer language sql stable return 1")
    until_it_answers(own, "/rpc/newcomer", "1")


@pytest.mark.usefixtures("notifications")
def test_a_changed_function_is_seen_after_a_notification(own: httpx.Client, database: Database) -> None:
    """A function that was only read from becomes one that writes: the catalog alone can tell."""
    for notify in ("notify cardbase, 'reload'", "notify pgrst, 'reload schema'", "notify pgrst"):
        database.execute("create function api.changing() returns integer language sql stable return 1", notify)
        until_it_answers(own, "/rpc/changing", "1")
        database.execute(
            "create or replace function api.changing() returns integer language sql volatile return 2", notify
        )
        wait_until(lambda: own.get("/rpc/changing").status_code == 405)
        assert own.post("/rpc/changing").text == "2"
        database.execute("drop function api.changing()", notify)
        wait_until(lambda: own.get("/rpc/changing").status_code == 404)


def test_a_changed_row_type_is_answered_as_it_is_now(own: httpx.Client, database: Database) -> None:
    """Statements are prepared: a function that is made anew with other columns does not break them."""
    signature = "create function api.changing() returns table ({}) language sql stable as '{}'"
    database.execute(signature.format("a integer", "select 1"))
    until_it_answers(own, "/rpc/changing", '[{"a":1}]')
    for _ in range(20):
        own.get("/rpc/changing")
    database.execute("drop function api.changing()", signature.format("b text, c integer", "select null::text, 2"))
    assert {own.get("/rpc/changing").text for _ in range(20)} == {'[{"b":null,"c":2}]'}


def test_sighup_reloads(make_gateway: Callable[..., Gateway], database: Database, tenant_id: UUID) -> None:
    gateway = make_gateway(database)
    with gateway.client(tenant_id) as client:
        database.execute("create function api.changing() returns integer language sql stable return 1")
        until_it_answers(client, "/rpc/changing", "1")
        database.execute("create or replace function api.changing() returns integer language sql volatile return 2")
        assert client.get("/rpc/changing").status_code == 200
        gateway.process.send_signal(signal.SIGHUP)
        wait_until(lambda: client.get("/rpc/changing").status_code == 405)


def test_a_raised_version_is_seen_though_nobody_says_so(
    make_gateway: Callable[..., Gateway], database: Database, tenant_id: UUID
) -> None:
    """Also after the connection that listens has died."""
    gateway = make_gateway(database)
    with gateway.client(tenant_id) as client:
        database.execute("create function api.changing() returns integer language sql stable return 1")
        until_it_answers(client, "/rpc/changing", "1")
        database.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where application_name = 'cardbase listener' and datname = current_database()",
            "create or replace function api.changing() returns integer language sql volatile return 2",
            "update deployment.state set catalog_version = 4711",
        )
        wait_until(lambda: client.get("/rpc/changing").status_code == 405, 30)
        assert client.get("/api/v1/info").json()["catalog_version"] == 4711
    assert metric(gateway, "cards_catalog_version") == 4711


def test_calls_go_on_while_the_catalog_is_read_anew(own: httpx.Client, database: Database) -> None:
    database.execute("create function api.steady() returns integer language sql stable return 1")
    until_it_answers(own, "/rpc/steady", "1")
    for number in range(20):
        database.execute("notify cardbase, 'reload'")
        assert own.get("/rpc/steady").text == "1", number


def test_without_a_database_it_says_when_to_come_back(
    make_gateway: Callable[..., Gateway], database: Database, tenant_id: UUID
) -> None:
    url = database.url("cardbase_gateway").replace(database.name, "nowhere_at_all")
    with make_gateway(DATABASE_URL=url).client(tenant_id) as client:
        response = client.get("/rpc/is_ready")
    assert (response.status_code, response.json()["code"], response.headers["retry-after"]) == (503, "PGRST002", "1")


# --- connections ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_notes")
@pytest.mark.parametrize(
    "settings",
    [
        pytest.param({"DATABASE_POOL_MAX": "3", "DATABASE_POOL_MIN": "0"}, id="few connections"),
        pytest.param({"DATABASE_PREPARED_STATEMENTS": "false"}, id="behind a pooler"),
    ],
)
def test_reads_are_read_only_without_connections_of_their_own(
    make_gateway: Callable[..., Gateway], rpc_database: Database, tenant_id: UUID, settings: dict[str, str]
) -> None:
    with make_gateway(rpc_database, **settings).client(tenant_id) as client:
        response = client.get("/rpc/write_although_stable?note_id=1")
        assert (response.status_code, response.json()["code"]) == (405, "25006")
        assert client.get("/rpc/squares?n=1").json() == [{"number": 1, "square": 1}]
        assert client.post("/rpc/write_notes", json={"n": 0}).json() == []


def test_all_connections_together_keep_to_the_maximum(
    make_gateway: Callable[..., Gateway], rpc_database: Database, tenant_id: UUID
) -> None:
    gateway = make_gateway(rpc_database, DATABASE_POOL_MIN="0", DATABASE_POOL_MAX="8")
    assert metric(gateway, "cards_database_pool_max") == 8

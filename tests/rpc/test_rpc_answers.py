"""What calls return: values, pages and formats."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from support import shapes
from support.rpc import ARRAY, JSON, OBJECT, assert_refused, note_ids, said_of


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
def test_post_returns_what_the_function_returns(
    rpc: httpx.Client, function: str, arguments: dict[str, Any], answer: str
) -> None:
    response = rpc.post(function, json=arguments)
    assert (response.status_code, response.text) == (200, answer)
    rows = len(response.json()) if answer.startswith("[") and function != "first_words" else 1
    assert said_of(response) == {"content-type": JSON, "content-range": f"0-{rows - 1}/*" if rows else "*/*"}
    assert response.headers["vary"] == "Accept, Prefer, Range"


def test_void_returns_nothing(rpc: httpx.Client) -> None:
    response = rpc.post("do_nothing")
    assert (response.status_code, response.content) == (204, b"")
    assert said_of(response) == {"content-range": "0-0/*"}
    assert "content-length" not in response.headers


def test_a_reply_is_sent_as_it_is(rpc: httpx.Client) -> None:
    """Status, headers and body are the function's; unknown measures do no harm."""
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
def test_invalid_ranges(
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
def test_formats_of_a_response(rpc: httpx.Client, accept: str, media_type: str, answer: str) -> None:
    response = rpc.get("people", headers={"Accept": accept})
    assert (response.status_code, response.headers["content-type"], response.text) == (200, media_type, answer)


def test_one_object_is_returned_as_an_object(rpc: httpx.Client) -> None:
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
def test_any_number_of_rows_but_one_rolls_the_call_back(rpc: httpx.Client, n: int, rows: int) -> None:
    response = rpc.post("write_notes", json={"n": n}, headers={"Accept": OBJECT})
    message = "Cannot coerce the result to a single JSON object"
    assert_refused(response, 406, "PGRST116", message, f"The result contains {rows} rows", None)
    assert note_ids(rpc) == []


@pytest.mark.parametrize(
    ("function", "accept"), [("people", "image/png"), ("people", "application/geo+json"), ("tagged", "text/csv")]
)
def test_formats_that_are_not_available(rpc: httpx.Client, function: str, accept: str) -> None:
    response = rpc.get(function, headers={"Accept": accept})
    assert_refused(response, 406, "PGRST107", f"None of these media types are available: {accept}", None, None)

"""Arguments from a query, a form or a body, and requests that can't be read."""

from typing import Any

import httpx
import pytest
from support.rpc import assert_refused

TOO_MANY_DIGITS = (
    "Expected a number of at most 1,000 digits on both sides of the point together.",
    "Round it, or send it as a string. Nothing was stored.",
)


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
def test_json_bodies_other_than_an_object(rpc: httpx.Client, path: str, body: bytes, answer: Any) -> None:
    response = rpc.post(path, content=body, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()) == (200, answer)


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


@pytest.mark.parametrize(
    ("path", "body", "place"),
    [
        pytest.param("echo_jsonb", b'{"document": {"a": [0, 1e1000]}}', "document.a[1]", id="json"),
        pytest.param("average", b'{"numbers": [1, 0e-1000]}', "numbers[1]", id="an array"),
        pytest.param("take_jsonb", b'{"a": 1e131071}', "body.a", id="a whole body"),
    ],
)
def test_numbers_that_are_long_written_out_are_refused(rpc: httpx.Client, path: str, body: bytes, place: str) -> None:
    response = rpc.post(path, content=body, headers={"Content-Type": "application/json"})
    assert_refused(response, 422, "PT422", f"{place} is too long", *TOO_MANY_DIGITS)


def test_json_in_a_query_is_checked_too(rpc: httpx.Client) -> None:
    response = rpc.get("echo_jsonb", params={"document": '{"a": 1e1000}'})
    assert_refused(response, 422, "PT422", "document.a is too long", *TOO_MANY_DIGITS)
    assert rpc.get("echo_jsonb", params={"document": '{"a": 1e999}'}).status_code == 200


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

"""Methods and profiles, and PostgREST's features that are left to functions."""

import httpx
import pytest
from support.gateways import Gateway
from support.rpc import assert_refused, note_ids


@pytest.mark.parametrize(
    ("function", "allow"),
    [("add", "OPTIONS,GET,HEAD,POST"), ("write_note", "OPTIONS,POST"), ("squares", "OPTIONS,GET,HEAD,POST")],
)
def test_options_lists_the_methods_for_anybody(rpc_gateway: Gateway, function: str, allow: str) -> None:
    with rpc_gateway.client() as client:
        response = client.options(f"/rpc/{function}")
    assert (response.status_code, response.content, response.headers["allow"]) == (200, b"", allow)


def test_options_of_an_unknown_function(rpc: httpx.Client) -> None:
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
    hint = "Pass what to filter and order by as arguments, and let the function return the columns you need."
    assert_refused(response, 400, "PGRST127", "Feature not implemented", details, hint)

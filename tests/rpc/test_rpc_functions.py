"""Which function a request calls."""

from typing import Any
from uuid import uuid4

import httpx
import pytest
from support.gateways import Gateway
from support.rpc import FILLED, assert_refused


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
def test_unknown_functions(
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

"""Errors that functions raise."""

import json

import httpx
import pytest
from support.gateways import Gateway, wait_until
from support.rpc import assert_refused, metric, rpc_error
from support.servers import Database


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
def test_errors_that_are_shown(rpc: httpx.Client, code: str, status: int) -> None:
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
def test_errors_of_which_only_the_code_is_shown(rpc: httpx.Client, code: str, status: int) -> None:
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
def test_a_whole_error_that_can_not_be_read(rpc: httpx.Client, message: str, detail: str | None) -> None:
    response = rpc.post("refuse", json={"code": "PGRST", "message": message, "detail": detail})
    text = "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error"
    assert (response.status_code, response.json()["code"], response.json()["message"]) == (500, "PGRST121", text)


def test_a_failed_head_has_its_code_in_a_header(rpc: httpx.Client) -> None:
    response = rpc.head("refuse?code=PT418")
    assert (response.status_code, response.content) == (418, b"")
    assert response.headers["proxy-status"] == "PostgREST; error=PT418"


@pytest.mark.parametrize("code", ["40001", "40P01"])
def test_collisions_are_retried(rpc: httpx.Client, rpc_gateway: Gateway, rpc_database: Database, code: str) -> None:
    rpc_database.execute("alter sequence test.attempts restart")
    before = metric(rpc_gateway, "cards_database_retries_total")
    response = rpc.post("fail_at_first", json={"times": 3, "code": code})
    assert (response.status_code, response.json()) == (200, 4)
    assert metric(rpc_gateway, "cards_database_retries_total") == before + 3
    rpc_database.execute("alter sequence test.attempts restart")
    response = rpc.post("fail_at_first", json={"times": 9, "code": code}, headers={"Prefer": "timezone=UTC"})
    message = "The database can't be reached. Repeat the request a little later."
    assert_refused(response, 503, code, message, None, None)

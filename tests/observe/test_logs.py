"""Logs: one JSON line per request, with what an operator needs and without secrets."""

import io
import json
import logging
import os
import pty
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import asyncpg
import httpx
import pytest
import structlog
from support.gateways import Gateway, wait_until
from support.servers import Database

from gateway.observe import logs
from gateway.observe.logs import configure_logging, describe, log_request
from gateway.request import RequestContext

SECRET: Final = "correct-horse-battery-staple-0123456789"
BATCH: Final = "/api/v1/cards/batch"


def lines(gateway: Gateway) -> list[dict[str, Any]]:
    """Everything that was logged; every line must be JSON."""
    return [json.loads(line) for line in gateway.log.splitlines()]


def line_of(gateway: Gateway, response: httpx.Response) -> dict[str, Any]:
    """The line of one request."""
    request_id = response.headers["x-request-id"]

    def found() -> list[dict[str, Any]]:
        return [line for line in lines(gateway) if line.get("request_id") == request_id]

    wait_until(lambda: bool(found()))
    [line] = found()
    return line


# --- what a line says ---------------------------------------------------------------------------------------------


def test_a_request_is_logged_once_with_all_that_is_known(gateway: Gateway) -> None:
    tenant_id = uuid4()
    headers = {"X-Request-ID": f"request-{tenant_id}", "X-Trace-ID": "trace/1"}
    with gateway.client(tenant_id) as client:
        response = client.post(BATCH, json={"cards": [{"card_type": "voice", "content": {}}]}, headers=headers)
    line = line_of(gateway, response)
    moment = datetime.fromisoformat(line.pop("timestamp"))
    assert abs(datetime.now(UTC) - moment) < timedelta(minutes=1)
    assert 0 < line.pop("duration_ms") < 60_000
    assert line == {
        "level": "info",
        "event": "request",
        "method": "POST",
        "route": BATCH,
        "status": 201,
        "tenant_id": str(tenant_id),
        "client": "127.0.0.1",
        "request_id": f"request-{tenant_id}",
        "trace_id": "trace/1",
    }


def test_a_refusal_is_logged_with_its_code_and_without_a_stack(gateway: Gateway) -> None:
    with gateway.client(uuid4()) as client:
        line = line_of(gateway, client.post(f"/api/v1/cards/{uuid4()}/usage", json={}))
    assert (line["level"], line["status"], line["code"]) == ("info", 404, "CARD_NOT_FOUND")
    assert not {"cause", "exception"} & line.keys()


def test_a_request_without_a_tenant_has_none_in_its_line(gateway: Gateway) -> None:
    with gateway.client() as client:
        line = line_of(gateway, client.get("/nowhere"))
    assert (line["route"], line["status"], line["code"]) == ("none", 404, "NOT_FOUND")
    assert "tenant_id" not in line


TRACE: Final = "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    ("trace_parent", "trace_id"),
    [
        (f"00-{TRACE}-b7ad6b7169203331-01", TRACE),
        (f"00-{TRACE}-b7ad6b7169203331-00", TRACE),
        (f"cc-{TRACE}-b7ad6b7169203331-01-of-the-future", TRACE),
        (f"00-{TRACE}-b7ad6b7169203331-01-more", None),
        (f"ff-{TRACE}-b7ad6b7169203331-01", None),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-b7ad6b7169203331-01", None),
        (f"00-{TRACE}-b7ad6b7169203331", None),
        ("", None),
    ],
)
def test_trace_id_is_taken_from_a_valid_traceparent(trace_parent: str, trace_id: str | None) -> None:
    context = RequestContext([(b"traceparent", trace_parent.encode())])
    if trace_id is None:
        assert re.fullmatch("[0-9a-f]{32}", context.trace_id)
        assert context.trace_id != TRACE
    else:
        assert context.trace_id == trace_id


def test_x_trace_id_takes_precedence_over_traceparent(gateway: Gateway) -> None:
    parent = f"00-{TRACE}-b7ad6b7169203331-01"
    with gateway.client() as client:
        both = client.get("/api/v1/info", headers={"traceparent": parent, "X-Trace-ID": "mine"})
        one = client.get("/api/v1/info", headers={"traceparent": parent})
    assert (both.headers["x-trace-id"], one.headers["x-trace-id"]) == ("mine", TRACE)
    assert line_of(gateway, one)["trace_id"] == TRACE


# --- what goes wrong ----------------------------------------------------------------------------------------------


def test_a_500_is_logged_with_its_stack_and_without_the_data(
    make_gateway: Callable[..., Gateway], database: Database
) -> None:
    body = "begin raise exception using errcode = 'XX000', message = 'broken', detail = 'row: top secret'; end"
    database.execute(
        "create or replace function api.get_card(tenant_id uuid, card_id uuid) returns api.reply"
        f" language plpgsql as $$ {body} $$"
    )
    gateway = make_gateway(database)
    with gateway.client(uuid4()) as client:
        response = client.get(f"/api/v1/cards/{uuid4()}")
    assert response.status_code == 500
    assert "broken" not in response.text
    line = line_of(gateway, response)
    assert (line["level"], line["code"], line["cause"]) == (
        "error",
        "INTERNAL_ERROR",
        "InternalServerError XX000: broken",
    )
    assert "gateway/database/pool.py" in line["exception"]
    assert "top secret" not in gateway.log


def test_a_503_is_logged_with_its_cause_and_without_a_stack(make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway(DATABASE_URL="postgresql://cardbase_gateway:hunter2@127.0.0.1:1/cardbase")
    with gateway.client(uuid4()) as client:
        response = client.get(f"/api/v1/cards/{uuid4()}")
    assert response.status_code == 503
    line = line_of(gateway, response)
    assert (line["level"], line["code"]) == ("error", "DATABASE_UNAVAILABLE")
    assert "exception" not in line
    assert "hunter2" not in gateway.log + gateway.output


def test_logs_hold_no_secret(make_gateway: Callable[..., Gateway], database: Database) -> None:
    """Whatever is refused, and at the most verbose level."""
    gateway = make_gateway(database, JWT_SECRET_KEY=SECRET, LOG_LEVEL="debug", WORKERS="2")
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl"
    with gateway.client() as client:
        for headers in (
            {"Authorization": f"Bearer {token}"},
            {"Authorization": f"Bearer {token} {SECRET}"},
            {"Authorization": "Basic aHVudGVyMjpodW50ZXIy"},
        ):
            response = client.post(BATCH, json={"cards": [], "password": "hunter2"}, headers=headers)
            assert response.status_code == 401
        line_of(gateway, response)
    wait_until(lambda: len(lines(gateway)) >= 3)
    assert gateway.stop() == 0
    for secret in (SECRET, token, "aHVudGVyMjpodW50ZXIy", "hunter2", "cardbase-tests"):
        assert secret not in gateway.log + gateway.output


# --- how lines are written ----------------------------------------------------------------------------------------


@pytest.fixture
def restored() -> Iterator[None]:
    """Resets what configure_logging sets for the whole process."""
    root, output, level = logging.getLogger(), logs._Logging.output, logs._Logging.level
    handlers, root_level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in ("asyncio", "uvicorn.access", "uvicorn.error")}
    yield
    root.handlers[:], logs._Logging.output, logs._Logging.level = handlers, output, level
    root.setLevel(root_level)
    for name, number in levels.items():
        logging.getLogger(name).setLevel(number)
    structlog.reset_defaults()


@pytest.mark.usefixtures("restored")
def test_libraries_log_in_the_same_form() -> None:
    stream = io.StringIO()
    configure_logging("info", stream)
    try:
        raise ConnectionError("gone")
    except ConnectionError:
        logging.getLogger("library").exception("it %s", "failed", extra={"attempt": 3})
    line = json.loads(stream.getvalue())
    assert (line["event"], line["level"], line["attempt"]) == ("it failed", "error", 3)
    assert line["exception"].endswith("ConnectionError: gone")


@pytest.mark.usefixtures("restored")
def test_a_stack_shows_code_and_never_values() -> None:
    stream = io.StringIO()
    configure_logging("info", stream)
    password = "hunter2"
    context = RequestContext([])
    try:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise RuntimeError("then") from error
    except RuntimeError as error:
        context.error = error
    log_request("GET", "/", context, 0.001)
    text = json.loads(stream.getvalue())["exception"]
    assert text.index("KeyError: 'first'") < text.index("RuntimeError: then")
    assert password not in text


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize(("level", "expected"), [("info", ["info", "error"]), ("warning", ["error"])])
def test_log_level_holds_for_requests_too(level: str, expected: list[str]) -> None:
    stream = io.StringIO()
    configure_logging(level, stream)
    context = RequestContext([])
    log_request("GET", "/", context, 0.001)
    context.error = OSError("gone")
    log_request("GET", "/", context, 0.001)
    assert [json.loads(line)["level"] for line in stream.getvalue().splitlines()] == expected


def test_of_a_database_error_only_the_message_is_logged() -> None:
    error = asyncpg.exceptions.CheckViolationError("new row violates check")
    error.detail = "Failing row contains (top secret)."
    assert describe(error) == "CheckViolationError 23514: new row violates check"


@pytest.mark.usefixtures("restored")
async def test_many_lines_are_written_to_a_pipe_in_atomic_parts() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb", buffering=0) as received, os.fdopen(writer, "w") as stream:
        configure_logging("info", stream)
        output = logs._Logging.output
        assert output is not None
        for number in range(100):
            output.write(b"%04d %s\n" % (number, b"x" * 300))
        sizes = [len(part) for part in logs._parts(output._lines)]
        assert max(sizes) <= logs.ATOMIC_BYTES
        output.flush()
        text = received.read(65536)
    assert [int(line[:4]) for line in text.splitlines()] == list(range(100))


@pytest.mark.usefixtures("restored")
async def test_a_reader_that_is_gone_stops_no_request() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stream = os.fdopen(writer, "w")
    configure_logging("info", stream)
    log_request("GET", "/", RequestContext([]), 0.001)
    assert logs._Logging.output is not None
    logs._Logging.output.flush()
    stream.close()


@pytest.mark.usefixtures("restored")
def test_on_a_terminal_lines_are_for_people(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    with os.fdopen(leader, "rb", buffering=0) as screen, os.fdopen(follower, "w", buffering=1) as terminal:
        configure_logging("info", terminal)
        context = RequestContext([(b"x-request-id", b"abc")])
        context.status = 201
        log_request("POST", BATCH, context, 0.0123)
        shown = re.sub(r"\x1b\[[\d;]*m", "", screen.read(4096).decode())
    assert re.fullmatch(rf"\d\d:\d\d:\d\d \[info\s*\] POST {BATCH} 201 in 12\.3 ms\s+request_id=abc\s*", shown), shown

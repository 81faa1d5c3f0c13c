"""The official clients of PostgREST against /rpc: for Python before and since version 2, and for JavaScript.

Each runs as a program (tests/rpc/clients) in a separate environment, which is made once and kept next to the
one of these tests. The functions are those of rpc_functions.sql.
"""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from uuid import UUID

import pytest
from support.gateways import Gateway, wait_until
from support.servers import Database, clean_environment

CLIENTS: Final = Path(__file__).parent / "clients"
ENVIRONMENTS: Final = Path(sys.prefix) / "postgrest-clients"
NAMES: Final = ("python 1", "python 2", "javascript")
SINCE_PYTHON_2: Final = NAMES[1:]
SECONDS: Final = 120

Run = Callable[..., list[dict[str, Any]]]


class Call(NamedTuple):
    """A call by a client. then: what is called on its builder, by the names that the Python clients have."""

    function: str
    arguments: Mapping[str, Any] = MappingProxyType({})
    options: Mapping[str, Any] = MappingProxyType({})
    then: Sequence[Sequence[Any]] = ()


def run(command: Sequence[str | Path], standard_input: str = "", folder: Path | None = None) -> str:
    """Runs a program; returns what it prints."""
    done = subprocess.run(
        [str(part) for part in command],
        input=standard_input,
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]}: {done.stderr or done.stdout}"
    return done.stdout


def python_1() -> list[str | Path]:
    """The program with the Python client before version 2."""
    folder = ENVIRONMENTS / "python"
    python, wanted = folder / "bin" / "python", CLIENTS / "python" / "requirements.txt"
    installed = folder / wanted.name
    if not installed.exists() or installed.read_bytes() != wanted.read_bytes():
        run([sys.executable, "-m", "venv", "--clear", folder])
        run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--requirement", wanted])
        shutil.copy(wanted, installed)
    return [python, CLIENTS / "call.py"]


def javascript() -> list[str | Path]:
    """The program with the JavaScript client."""
    if not (node := shutil.which("node")) or not (npm := shutil.which("npm")):
        pytest.skip("node is not installed")
    folder = ENVIRONMENTS / "node"
    wanted, installed = CLIENTS / "node" / "package-lock.json", folder / "installed.json"
    if not installed.exists() or installed.read_bytes() != wanted.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(CLIENTS / "node", folder)
        run([npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"], folder=folder)
        shutil.copy(wanted, installed)
    return [node, CLIENTS / "call.mjs", folder]


@pytest.fixture(scope="session", params=NAMES)
def client_name(request: pytest.FixtureRequest) -> str:
    """Which client it is."""
    return str(request.param)


@pytest.fixture(scope="session")
def program(client_name: str) -> list[str | Path]:
    """The program that calls by this client."""
    if client_name == "python 2":
        return [sys.executable, CLIENTS / "call.py"]
    return python_1() if client_name == "python 1" else javascript()


@pytest.fixture
def call(program: list[str | Path], client_name: str, rpc_gateway: Gateway, tenant_id: UUID) -> Run:
    """Makes calls by this client, one after the other; returns its result of each."""

    def in_its_words(method: str) -> str:
        first, *others = method.split("_")
        return first + "".join(map(str.capitalize, others)) if client_name == "javascript" else method

    def make(*calls: Call, **headers: str) -> list[dict[str, Any]]:
        asked = {
            "address": rpc_gateway.address,
            "headers": {"X-Tenant-ID": str(tenant_id), **headers},
            "calls": [
                {
                    "function": each.function,
                    "arguments": dict(each.arguments),
                    "options": dict(each.options),
                    "then": [[in_its_words(method), *values] for method, *values in each.then],
                }
                for each in calls
            ],
        }
        answers: list[dict[str, Any]] = json.loads(run(program, json.dumps(asked)))
        return answers

    return make


def answer(data: Any, count: int | None = None) -> dict[str, Any]:
    """What a client returns."""
    return {"data": data, "count": count, "error": None}


def error(code: Any, message: str, details: str | None = None, hint: str | None = None) -> dict[str, Any]:
    """What a client returns where the call is refused."""
    said = {"code": code, "message": message, "details": details, "hint": hint}
    return {"data": None, "count": None, "error": said}


GET: Final = {"get": True}
SQUARES: Final = [{"number": 1, "square": 1}, {"number": 2, "square": 4}, {"number": 3, "square": 9}]
ANSWERED: Final = {
    "integer": (Call("add", {"a": 1}), answer(11)),
    "integer by get": (Call("add", {"a": 1, "b": 2}, GET), answer(3)),
    "text": (Call("greet", {"name": 'é "x" & y'}), answer('Hello, é "x" & y')),
    "text by get": (Call("greet", {"name": 'é "x" & y'}, GET), answer('Hello, é "x" & y')),
    "boolean": (Call("is_odd", {"n": 2}), answer(False)),
    "null": (Call("nothing_known"), answer(None)),
    "array": (Call("total", {"numbers": [1, 2]}), answer(3)),
    "object": (Call("move", {"point": {"x": 1, "y": 2}}), answer({"x": 2, "y": 3})),
    "set": (Call("count_to", {"n": 3}), answer([1, 2, 3])),
    "empty set": (Call("count_to", {"n": 0}), answer([])),
    "table": (Call("squares", {"n": 3}), answer(SQUARES)),
    "table by get": (Call("squares", {"n": 3}, GET), answer(SQUARES)),
    "limit": (Call("squares", {"n": 3}, then=[("limit", 2)]), answer(SQUARES[:2])),
    "range": (Call("squares", {"n": 3}, GET, then=[("range", 1, 1)]), answer(SQUARES[1:2])),
    "count=exact": (Call("squares", {"n": 3}, {"count": "exact"}, [("limit", 1)]), answer(SQUARES[:1], 3)),
    "count=planned": (Call("squares", {"n": 3}, {"count": "planned"}, [("limit", 1)]), answer(SQUARES[:1], 3)),
    "count=estimated": (Call("squares", {"n": 3}, {"count": "estimated"}, [("limit", 1)]), answer(SQUARES[:1], 3)),
    "count by get": (Call("squares", {"n": 3}, {"count": "exact", **GET}), answer(SQUARES, 3)),
    "count of a scalar": (Call("add", {"a": 1}, {"count": "planned"}), answer(11, 1)),
    "count of none": (Call("count_to", {"n": 0}, {"count": "planned"}), answer([], 0)),
    "single": (Call("squares", {"n": 1}, then=[("single",)]), answer(SQUARES[0])),
    "csv": (Call("squares", {"n": 2}, then=[("csv",)]), answer("number,square\n1,1\n2,4")),
    "product function": (Call("list_cards", {"card_type": "voice"}), answer({"cards": [], "next_cursor": None})),
}


def test_responses_are_understood(call: Run) -> None:
    """All in one run of the program: it takes longer to start than all the calls together."""
    answers = call(*(asked for asked, _ in ANSWERED.values()))
    assert dict(zip(ANSWERED, answers, strict=True)) == {name: expected for name, (_, expected) in ANSWERED.items()}


def test_void_is_no_data(call: Run, client_name: str) -> None:
    """For the Python clients, that is an empty list."""
    assert call(Call("do_nothing")) == [answer(None if client_name == "javascript" else [])]


def test_maybe_single(call: Run, client_name: str) -> None:
    one, none = call(*(Call("squares", {"n": n}, then=[("maybe_single",)]) for n in (1, 0)))
    assert one == answer(SQUARES[0])
    if client_name == "python 1":  # it leaves this to its caller
        message = "Cannot coerce the result to a single JSON object"
        assert none == error("PGRST116", message, "The result contains 0 rows")
    else:
        assert none == answer(None)


def test_head_counts_and_returns_no_data(call: Run) -> None:
    (found,) = call(Call("squares", {"n": 3}, {"head": True, "count": "exact"}))
    assert found["count"] == 3
    assert found["error"] is None
    assert not found["data"]


def test_head_with_an_error(call: Run, client_name: str) -> None:
    """There is no body: since version 2 the Python client finds the code in a header, the others don't look there."""
    (found,) = call(Call("refuse", {"code": "PT418"}, {"head": True}))
    code = {"python 1": 418, "python 2": "PT418"}.get(client_name)
    assert found["data"] is None
    assert found["error"].get("code") == code


@pytest.mark.parametrize("client_name", ["javascript"], indirect=True)
def test_head_with_an_object_as_argument(call: Run) -> None:
    """The JavaScript client sends it by POST and wants no body back."""
    (found,) = call(Call("echo_json", {"document": {"a": 1}}, {"head": True, "count": "exact"}))
    assert (found["count"], found["error"], found["data"] or None) == (1, None, None)


REFUSED: Final = {
    "PTxyz": (
        Call("refuse", {"code": "PT402", "message": "pay first", "detail": "12 EUR", "hint": "by card"}),
        error("PT402", "pay first", "12 EUR", "by card"),
    ),
    "PTxyz without more": (Call("refuse", {"code": "PT404"}, GET), error("PT404", "refused")),
    "SQLSTATE": (
        Call("add", {"a": "x"}),
        error("22P02", 'invalid input syntax for type integer: "x"'),
    ),
    "no such function": (
        Call("ad", {"a": 1}),
        error(
            "PGRST202",
            "Could not find the function api.ad(a) in the schema cache",
            "Searched for the function api.ad with parameter a or with a single unnamed json/jsonb parameter, "
            "but no matches were found in the schema cache.",
            "Perhaps you meant to call the function api.add",
        ),
    ),
    "not one row": (
        Call("squares", {"n": 2}, then=[("single",)]),
        error("PGRST116", "Cannot coerce the result to a single JSON object", "The result contains 2 rows"),
    ),
}


def test_errors_are_understood(call: Run) -> None:
    answers = call(*(asked for asked, _ in REFUSED.values()))
    assert dict(zip(REFUSED, answers, strict=True)) == {name: expected for name, (_, expected) in REFUSED.items()}


@pytest.mark.parametrize("options", [{}, GET], ids=["post", "get"])
def test_what_is_left_to_functions_is_refused(call: Run, client_name: str, options: dict[str, Any]) -> None:
    """Filters, columns, embedding, order; and plans, by those clients that can ask for one here."""
    methods: list[Sequence[Any]] = [
        ("eq", "number", 1),
        ("select", "number"),
        ("select", "number,others(*)"),
        ("order", "number"),
    ]
    if client_name != "python 2":
        methods.append(("explain",))
    asked = [Call("squares", {"n": 2}, options, [method]) for method in methods]
    answers = call(*asked)
    assert [found["error"]["code"] for found in answers] == ["PGRST127"] * len(asked)
    assert [found["error"]["message"] for found in answers] == ["Feature not implemented"] * len(asked)
    assert "number=eq.1" in answers[0]["error"]["details"]


def test_a_dry_run_leaves_nothing(call: Run, client_name: str, rpc_database: Database) -> None:
    """By a method, where the client has one, else by a header."""
    rpc_database.execute("truncate test.notes")
    if client_name == "javascript":
        (dry,) = call(Call("write_notes", {"n": 2}, then=[("rollback",)]))
    else:
        (dry,) = call(Call("write_notes", {"n": 2}), Prefer="tx=rollback")
    assert dry == answer([1, 2])
    assert call(Call("note_ids")) == [answer([])]


@pytest.mark.parametrize("client_name", SINCE_PYTHON_2, indirect=True)
def test_more_rows_than_may_be_affected(call: Run, rpc_database: Database) -> None:
    rpc_database.execute("truncate test.notes")
    refused, read = call(Call("write_notes", {"n": 2}, then=[("max_affected", 1)]), Call("note_ids"))
    message = "Query result exceeds max-affected preference constraint"
    assert (refused, read) == (error("PGRST124", message, "The query affects 2 rows"), answer([]))


@pytest.mark.parametrize("client_name", SINCE_PYTHON_2, indirect=True)
def test_nulls_are_left_out(call: Run) -> None:
    (found,) = call(Call("people", then=[("strip_nulls",)]))
    assert found == answer([{"name": "Ann"}, {"name": 'Bob "B", Jr.', "nickname": "Bo"}])


def test_a_get_is_retried_after_503(call: Run, client_name: str, rpc_gateway: Gateway, rpc_database: Database) -> None:
    """The response says when to retry, and the client does. Before version 2 the Python client does not."""
    rpc_database.execute("insert into test.closed default values")
    before = refused_for_now(rpc_gateway)
    found: list[dict[str, Any]] = []
    thread = threading.Thread(target=lambda: found.extend(call(Call("enter", {}, GET))))
    thread.start()
    wait_until(lambda: refused_for_now(rpc_gateway) > before)
    rpc_database.execute("delete from test.closed")
    thread.join()
    refused = error("PT503", "closed for now")
    assert found == [refused if client_name == "python 1" else answer("welcome")]


def refused_for_now(gateway: Gateway) -> int:
    """How many requests were refused with that code."""
    return gateway.log.count('"code":"PT503"')

"""Measures: functions count under names that they choose, and no measure breaks the call that it describes."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final
from uuid import uuid4

import httpx
import pytest
from prometheus_client import CollectorRegistry
from support.gateways import Gateway, environment_of, running_gateway, wait_until
from support.monitoring import samples, value
from support.servers import Database

from gateway.observe.metrics import MAXIMUM_LABEL_VALUES, MAXIMUM_MEASURES, Metrics

WARNING: Final = "a function's measure can't be counted"
FUNCTION: Final = """
create or replace function api.track_usage(
    tenant_id uuid,
    card_id uuid,
    workflow_id text default null,
    workflow_type text default null,
    session_id text default null
)
returns api.reply
language sql
volatile
return row(200, null, '{"done": true}', track_usage.session_id::jsonb)::api.reply
"""
"""Replaces a function of the product, and returns the measures that its caller sends."""
PLACES: Final = ("route", "rpc")


@pytest.fixture(scope="module")
def measured(_clone: Callable[[ExitStack], Database], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway on a database with that function."""
    with ExitStack() as stack:
        database = _clone(stack)
        database.execute(FUNCTION)
        variables = {"DATABASE_URL": database.url("cardbase_gateway")}
        yield stack.enter_context(running_gateway(tmp_path_factory.mktemp("measured"), variables))


def call(gateway: Gateway, place: str, measures: str) -> httpx.Response:
    """Calls the function, by its route or over /rpc."""
    card_id = str(uuid4())
    with gateway.client(uuid4()) as client:
        if place == "route":
            return client.post(f"/api/v1/cards/{card_id}/usage", json={"session_id": measures})
        return client.post("/rpc/track_usage", json={"card_id": card_id, "session_id": measures})


def exposition_of(gateway: Gateway) -> str:
    with gateway.client() as client:
        return client.get("/metrics").text


def dropped(gateway: Gateway) -> list[str]:
    """The measures that the log says were dropped."""
    lines = [json.loads(line) for line in gateway.log.splitlines()]
    return [line["measure"] for line in lines if line["event"] == WARNING]


@pytest.mark.parametrize("place", PLACES)
def test_a_metric_that_a_function_names_is_counted(measured: Gateway, place: str) -> None:
    kind = f"by {place}"
    for times in (2, 1):
        response = call(measured, place, json.dumps([["made_up_total", {"kind": kind}, times]]))
        assert (response.status_code, response.json()) == (200, {"done": True})
    assert f'made_up_total{{kind="{kind}"}} 3.0' in exposition_of(measured).splitlines()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("measures", "name"),
    [
        pytest.param('{"not": "a list, by PLACE"}', '{"not": "a list, by PLACE"}', id="no list"),
        pytest.param('[["short_PLACE_total", {}]]', '[["short_PLACE_total", {}]]', id="no count"),
        pytest.param('[["text_PLACE_total", {}, "1"]]', '[["text_PLACE_total", {}, "1"]]', id="count is a text"),
        pytest.param('[["less_PLACE_total", {}, -1]]', "less_PLACE_total", id="count below zero"),
        pytest.param('[["No name, by PLACE", {}, 1]]', "No name, by PLACE", id="name is none"),
        pytest.param('[["unfinished_PLACE", {}, 1]]', "unfinished_PLACE", id="name without _total"),
        pytest.param(
            '[["clash_PLACE_total", {"kind": "x"}, 1], ["clash_PLACE_total", {"other": "x"}, 1]]',
            "clash_PLACE_total",
            id="other labels than before",
        ),
        pytest.param('[["self_PLACE_total", {"self": "1"}, 1]]', "self_PLACE_total", id="label self"),
    ],
)
def test_a_measure_that_cannot_be_counted_is_dropped_with_one_warning(
    measured: Gateway, place: str, measures: str, name: str
) -> None:
    measures, name = measures.replace("PLACE", place), name.replace("PLACE", place)
    for _ in range(2):
        response = call(measured, place, measures)
        assert (response.status_code, response.json()) == (200, {"done": True})
    wait_until(lambda: response.headers["x-request-id"] in measured.log)  # a request is logged after its warnings
    assert dropped(measured).count(name) == 1


def test_a_measure_that_cannot_be_counted_does_not_stop_the_others(measured: Gateway) -> None:
    measures = [["first_total", {}, 1], ["not to be counted", {}, 1], ["last_total", {}, 1]]
    assert call(measured, "route", json.dumps(measures)).status_code == 200
    assert {"first_total 1.0", "last_total 1.0"} <= set(exposition_of(measured).splitlines())


# --- bounds -------------------------------------------------------------------------------------------------------


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def test_names_beyond_the_bound_are_dropped(metrics: Metrics) -> None:
    before = samples(metrics.exposition().decode()).keys()
    for number in range(MAXIMUM_MEASURES + 10):
        metrics.count(b'[["made_up_%d_total", {}, 1], ["made_up_0_total", {}, 1]]' % number)
    text = metrics.exposition().decode()
    assert samples(text).keys() - before == {f"made_up_{number}_total" for number in range(MAXIMUM_MEASURES)}
    assert value(text, "made_up_0_total") == MAXIMUM_MEASURES + 11


def test_warnings_are_bounded(metrics: Metrics, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(2 * MAXIMUM_MEASURES):
        metrics.count(b'[["name %d", {}, 1]]' % number)
    assert [record.__dict__["measure"] for record in caplog.records] == [f"name {n}" for n in range(MAXIMUM_MEASURES)]


def test_label_values_beyond_the_bound_are_counted_as_other(metrics: Metrics) -> None:
    for number in range(MAXIMUM_LABEL_VALUES + 20):
        metrics.count(b'[["made_up_total", {"kind": "kind %d"}, 1]]' % number)
    text = metrics.exposition().decode()
    kinds = {dict(labels)["kind"] for labels in samples(text)["made_up_total"]}
    assert kinds == {f"kind {number}" for number in range(MAXIMUM_LABEL_VALUES)} | {"other"}
    assert value(text, "made_up_total", kind="other") == 20


def test_a_null_label_is_none(metrics: Metrics) -> None:
    metrics.count(b'[["made_up_total", {"kind": null}, 1]]')
    assert value(metrics.exposition().decode(), "made_up_total", kind="none") == 1


PROCESS: Final = """
import sys
from prometheus_client import CollectorRegistry
from gateway.observe.metrics import Metrics

metrics = Metrics(CollectorRegistry())
for number in range(int(sys.argv[1]), int(sys.argv[2])):
    metrics.count(b'[["made_up_total", {"kind": "kind %d"}, 1]]' % number)
print(metrics.exposition().decode())
"""
"""Counts kinds from one number to another, and prints what all processes have counted."""


def test_two_processes_agree_on_label_values_and_their_sums(tmp_path: Path) -> None:
    """The second process sees names of the first, adds some, and reaches the bound that both share."""

    def run(first: int, end: int) -> str:
        command = [sys.executable, "-c", PROCESS, str(first), str(end)]
        environment = environment_of({"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)})
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    run(0, 80)
    text = run(40, MAXIMUM_LABEL_VALUES + 30)
    kinds = {dict(labels)["kind"] for labels in samples(text)["made_up_total"]}
    assert kinds == {f"kind {number}" for number in range(MAXIMUM_LABEL_VALUES)} | {"other"}
    assert [value(text, "made_up_total", kind=f"kind {number}") for number in (0, 39, 40, 79, 80, 99)] == [
        1,
        1,
        2,
        2,
        1,
        1,
    ]
    assert value(text, "made_up_total", kind="other") == 30

"""Metrics: their names, their bounds, and their values with several processes."""

import math
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Final
from uuid import UUID, uuid4

import httpx
import psutil
import pytest
from prometheus_client import CollectorRegistry, values
from support import monitoring
from support.gateways import Gateway, is_alive, running_gateway, wait_until
from support.monitoring import Prometheus, value
from support.servers import Database

from gateway import __version__
from gateway.observe import metrics as observe
from gateway.observe.metrics import Metrics
from gateway.observe.processes import BoundedNames
from gateway.request import RequestContext

BATCH: Final = "/api/v1/cards/batch"
USAGE: Final = "/api/v1/cards/{card_id}/usage"
CONTRACT: Final = {
    "cards_api_requests_total": {"method", "route", "status"},
    "cards_api_request_duration_seconds_bucket": {"method", "route", "le"},
    "card_usage_events_total": {"card_type", "workflow_type"},
    "cards_usage_write_duration_ms_bucket": {"le"},
    "cards_idempotency_total": {"result"},
    "cards_created_total": {"card_type", "result"},
    "cards_database_pool_size": set(),
    "cards_database_pool_in_use": set(),
    "cards_database_pool_waiting": set(),
    "cards_build_info": {"version", "python"},
}


def metrics_of(gateway: Gateway) -> str:
    with gateway.client() as client:
        response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return response.text


def voice(text: str) -> dict[str, object]:
    return {"card_type": "voice", "content": {"text": text}}


@pytest.fixture(scope="module")
def two_processes(
    server: object, shared_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway with two worker processes."""
    variables = {"DATABASE_URL": shared_database.url("cardbase_gateway"), "WORKERS": "2", "DATABASE_POOL_MIN": "1"}
    with running_gateway(tmp_path_factory.mktemp("two"), variables) as gateway:
        wait_until(lambda: value(metrics_of(gateway), "cards_processes") == 2, 30)
        yield gateway


@pytest.fixture(scope="module")
def prometheus(
    two_processes: Gateway, shared_database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus that scrapes a gateway with two worker processes, and a worker."""
    monitoring.tool("prometheus")
    with ExitStack() as stack:
        folder = tmp_path_factory.mktemp("prometheus")
        url = shared_database.url("cardbase_worker")
        worker = stack.enter_context(monitoring.running_worker(folder, WORKER_DATABASE_URL=url))
        targets = {
            "cardbase-gateway": [two_processes.address.removeprefix("http://")],
            "cardbase-worker": [worker.address.removeprefix("http://")],
        }
        prometheus = stack.enter_context(monitoring.running_prometheus(folder, targets))
        wait_until(lambda: prometheus.number('count(up{job=~"cardbase-.*"} == 1)') == 2, 30)
        yield prometheus


# --- what is exported ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTRACT)
def test_metrics_have_the_names_and_labels_that_are_documented(two_processes: Gateway, name: str) -> None:
    label_sets = monitoring.samples(metrics_of(two_processes)).get(name, set())
    assert label_sets, "is there from the start"
    assert {frozenset(label for label, _ in labels) for labels in label_sets} == {frozenset(CONTRACT[name])}


def test_one_process_exports_what_two_do(gateway: Gateway, two_processes: Gateway) -> None:
    assert monitoring.samples(metrics_of(gateway)).keys() == monitoring.samples(metrics_of(two_processes)).keys()


def test_build_says_what_is_running(two_processes: Gateway) -> None:
    [labels] = monitoring.samples(metrics_of(two_processes))["cards_build_info"]
    assert dict(labels)["version"] == __version__


def test_requests_are_counted_by_route_and_never_by_path(gateway: Gateway) -> None:
    with gateway.client(uuid4()) as client:
        client.post(USAGE.format(card_id=uuid4()), json={})
        client.get(f"/nowhere/{uuid4()}")
        client.request("PROPFIND", BATCH)
    text = metrics_of(gateway)
    assert value(text, "cards_api_requests_total", method="POST", route=USAGE, status="404") >= 1
    assert value(text, "cards_api_requests_total", method="GET", route="none", status="404") >= 1
    names = {label for labels in monitoring.samples(text)["cards_api_requests_total"] for label in labels}
    assert ("method", "PROPFIND") not in names
    for _, label in names:
        assert not any(_is_uuid(part) for part in label.split("/")), label


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def test_what_functions_did_is_counted(gateway: Gateway) -> None:
    def counts() -> list[float]:
        text = metrics_of(gateway)
        return [
            value(text, "cards_created_total", card_type="voice", result="created"),
            value(text, "cards_created_total", card_type="voice", result="existing"),
            value(text, "card_usage_events_total", card_type="voice", workflow_type="none"),
            value(text, "cards_idempotency_total", result="miss"),
            value(text, "cards_idempotency_total", result="hit"),
            value(text, "cards_idempotency_total", result="reused"),
            value(text, "cards_usage_write_duration_ms_count"),
            value(text, "cards_api_errors_total", code="IDEMPOTENCY_KEY_REUSED"),
        ]

    with gateway.client(uuid4()) as client:
        client.post(BATCH, json={"cards": [voice("warm up")]}, headers={"Idempotency-Key": "warm up"})
        client.post(BATCH, json={"cards": [voice("other")]}, headers={"Idempotency-Key": "warm up"})
        before = counts()
        for _ in range(2):
            created = client.post(
                BATCH, json={"cards": [voice("a"), voice("b"), voice("a")]}, headers={"Idempotency-Key": "key"}
            )
        client.post(BATCH, json={"cards": [voice("c")]}, headers={"Idempotency-Key": "key"})
        card_id = created.json()["cards"][0]["card_id"]
        for _ in range(3):
            client.post(USAGE.format(card_id=card_id), json={"workflow_id": "w"})
    assert [after - earlier for after, earlier in zip(counts(), before, strict=True)] == [2, 1, 1, 1, 1, 1, 3, 1]


# --- bounds -------------------------------------------------------------------------------------------------------


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


def exposition(metrics: Metrics) -> str:
    return metrics.exposition().decode()


def test_workflow_types_beyond_the_bound_are_counted_as_other(metrics: Metrics) -> None:
    for number in range(150):
        measure = f'[["card_usage_events_total", {{"card_type": "voice", "workflow_type": "type {number}"}}, 1]]'
        metrics.count(measure.encode())
        metrics.count(measure.encode())
    metrics.count(b'[["card_usage_events_total", {"card_type": "voice", "workflow_type": null}, 1]]')
    label_sets = monitoring.samples(exposition(metrics))["card_usage_events_total"]
    types = {dict(labels)["workflow_type"] for labels in label_sets}
    assert types == {f"type {number}" for number in range(100)} | {"none", "other"}
    events = {"card_type": "voice", "workflow_type": "other"}
    assert value(exposition(metrics), "card_usage_events_total", **events) == 100


def test_processes_agree_on_the_workflow_types(tmp_path: Path) -> None:
    one, two = (BoundedNames(3, tmp_path) for _ in range(2))
    assert [one.name("a"), two.name("b"), one.name("line\nend"), two.name("d"), one.name("d")] == [
        *("a", "b", "line\nend"),
        *("other", "other"),
    ]
    assert [two.name("a"), one.name("b"), two.name("line\nend")] == ["a", "b", "line\nend"]


def test_error_codes_beyond_the_bound_are_counted_as_other(metrics: Metrics) -> None:
    context = RequestContext([])
    for number in range(200):
        context.code = f"CODE_{number}"
        metrics.count_request("GET", "none", context, 0.001)
    codes = {dict(labels)["code"] for labels in monitoring.samples(exposition(metrics))["cards_api_errors_total"]}
    assert len(codes) == observe.MAXIMUM_LABEL_VALUES + 1
    assert {"other", "DATABASE_BUSY", "INTERNAL_ERROR"} < codes


def test_tenants_are_compared_without_being_named(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    tenants = [uuid4() for _ in range(3)]
    context = RequestContext([])
    for tenant_id in (tenants[0], tenants[0], *tenants):
        context.tenant_id = tenant_id
        metrics.count_request("GET", "none", context, 0.001)
    monkeypatch.setattr("gateway.observe.metrics.perf_counter", lambda: perf_counter() + 61)
    text = exposition(metrics)
    assert value(text, "cards_tenants_active") == 3
    assert value(text, "cards_busiest_tenant_ratio") == 0.6
    assert not any(str(tenant_id) in text for tenant_id in tenants)


def test_one_process_keeps_its_metrics_in_memory() -> None:
    assert values.ValueClass._multiprocess is False


# --- several processes --------------------------------------------------------------------------------------------


def test_two_processes_export_one_sum(two_processes: Gateway) -> None:
    """Whichever process serves /metrics: each client keeps its connection, so many clients reach both."""
    before = value(metrics_of(two_processes), "cards_created_total", card_type="insight", result="created")
    tenant_id = uuid4()
    for number in range(20):
        with two_processes.client(tenant_id) as client:
            card = {"card_type": "insight", "content": {"number": number}}
            assert client.post(BATCH, json={"cards": [card]}).status_code == 201
    for _ in range(10):
        text = metrics_of(two_processes)
        assert value(text, "cards_created_total", card_type="insight", result="created") - before == 20


def test_a_dead_process_loses_its_gauges_and_keeps_its_counts(
    make_gateway: Callable[..., Gateway], shared_database: Database
) -> None:
    gateway = make_gateway(shared_database, WORKERS="2", DATABASE_POOL_MIN="3", DATABASE_POOL_MAX="3")

    def figures() -> tuple[float, float, float]:
        text = metrics_of(gateway)
        names = ("cards_processes", "cards_database_pool_max", "cards_database_pool_size")
        processes, allowed, size = (value(text, name) for name in names)
        return processes, allowed, size

    wait_until(lambda: figures() == (2, 6, 6), 30)
    with gateway.client(uuid4()) as client:
        assert client.post(BATCH, json={"cards": [voice("counted")]}).status_code == 201
    victim = next(child for child in psutil.Process(gateway.process.pid).children() if _serves(child))
    os.kill(victim.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(victim.pid), 30)
    wait_until(lambda: _figures_of_two(figures), 30)
    counted = value(metrics_of(gateway), "cards_api_requests_total", method="POST", route=BATCH, status="201")
    assert counted == 1


def _figures_of_two(figures: Callable[[], tuple[float, float, float]]) -> bool:
    """Whether there is a successor, and the dead process is not counted any more."""
    try:
        return figures() == (2, 6, 6)
    except httpx.TransportError:
        return False  # the dead process had accepted the connection


def _serves(process: psutil.Process) -> bool:
    return any("spawn_main" in word for word in process.cmdline())


def test_nothing_is_left_of_the_shared_metrics(
    make_gateway: Callable[..., Gateway], shared_database: Database, tmp_path: Path
) -> None:
    gateway = make_gateway(shared_database, WORKERS="2", PROMETHEUS_MULTIPROC_DIR=str(tmp_path))
    assert list(tmp_path.iterdir())
    assert gateway.stop() == 0
    assert list(tmp_path.iterdir()) == []


# --- Prometheus ---------------------------------------------------------------------------------------------------


def test_prometheus_knows_the_rates_of_known_traffic(prometheus: Prometheus, two_processes: Gateway) -> None:
    created = f'cards_api_requests_total{{method="POST",route="{BATCH}",status="201"}}'
    tracked = f'cards_api_requests_total{{method="POST",route="{USAGE}",status="200"}}'
    events = 'card_usage_events_total{card_type="company",workflow_type="campaign"}'
    # Two scrapes first, so that what is counted from now on shows as an increase.
    wait_until(lambda: prometheus.number(f"count_over_time({created}[1m])") >= 2, 30)
    before = prometheus.number(created)

    for number in range(30):
        with two_processes.client(uuid4()) as client:
            card = {"card_type": "company", "content": {"number": number}}
            card_id = client.post(BATCH, json={"cards": [card]}).json()["cards"][0]["card_id"]
            for workflow in ("a", "a", "b"):
                body = {"workflow_id": workflow, "workflow_type": "campaign"}
                assert client.post(USAGE.format(card_id=card_id), json=body).status_code == 200
            assert client.post(USAGE.format(card_id=uuid4()), json={}).status_code == 404

    # The last scrape may have come between the last card and its usage.
    wait_until(lambda: prometheus.number(created) - before == 30 and prometheus.number(tracked) == 90, 30)
    # Prometheus extrapolates to the ends of the window, by about one scrape interval in all: little of twelve.
    wait_until(lambda: prometheus.number(f"count_over_time({tracked}[1m])") >= 12, 30)
    assert prometheus.number(events) == 60
    assert prometheus.number(tracked) == 90
    assert prometheus.number(f"increase({created}[5m])") == pytest.approx(30, rel=0.2)
    assert prometheus.number(f"rate({created}[5m]) * 300") == pytest.approx(30, rel=0.2)
    assert prometheus.number(f"sum(rate({tracked}[5m])) / sum(rate({created}[5m]))") == pytest.approx(3, rel=0.2)
    quantile = "histogram_quantile(0.99, sum by (le) (rate(cards_api_request_duration_seconds_bucket[5m])))"
    assert 0 < prometheus.number(quantile) < 5
    assert math.isclose(
        prometheus.number(f'sum(cards_api_request_duration_seconds_count{{route="{BATCH}"}})'),
        prometheus.number(f'sum(cards_api_requests_total{{route="{BATCH}"}})'),
    )

"""Dashboards and rules: every query uses only metrics and labels that gateway and worker export."""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, Final, NamedTuple
from uuid import uuid4

import pytest
import yaml
from support import monitoring
from support.gateways import running_gateway, wait_until
from support.monitoring import OPS, Prometheus
from support.servers import Database

DASHBOARDS: Final = sorted((OPS / "grafana" / "dashboards").glob("*.json"))
FOREIGN: Final = {"up": {"job", "instance"}}
"""Labels that Prometheus itself adds."""
ADDED: Final = {"job", "instance", "le"}
GROUPING: Final = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")
QUIET: Final = {"Refusals by error code"}
"""Panels that are empty while nothing is wrong."""


class Query(NamedTuple):
    """A query of a panel, an alert or a recording rule."""

    title: str
    expression: str


def panels() -> list[Query]:
    return [
        Query(f"{file.stem}: {panel['title']}", target["expr"])
        for file in DASHBOARDS
        for panel in json.loads(file.read_text())["panels"]
        for target in panel.get("targets", ())
    ]


def rules() -> list[Query]:
    return [
        Query(rule.get("alert") or rule["record"], rule["expr"])
        for group in monitoring.rule_groups()
        for rule in group["rules"]
    ]


def metrics_of(expression: str) -> dict[str, set[str]]:
    """The metrics an expression is about, each with the labels it selects by."""
    found: dict[str, set[str]] = {}
    for name, selector in re.findall(r"\b((?:cards?_\w+|up)\b)(?:\{([^}]*)\})?", GROUPING.sub("", expression)):
        found.setdefault(name, set()).update(re.findall(r"(\w+)\s*=?[=~!]", selector))
    return found


def labels_grouped_by(expression: str) -> set[str]:
    return {label.strip() for part in GROUPING.findall(expression) for label in part.split(",") if label.strip()}


class Exported(NamedTuple):
    """The metrics of a gateway with two processes and a worker, with a Prometheus that scrapes them."""

    labels: dict[str, set[str]]
    prometheus: Prometheus | None


@pytest.fixture(scope="module")
def exported(shared_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exported]:
    """Everything has happened once: a card of each kind, usage, a replay, a refusal."""
    folder = tmp_path_factory.mktemp("exported")
    with ExitStack() as stack:
        variables = {"DATABASE_URL": shared_database.url("cardbase_gateway"), "WORKERS": "2", "DATABASE_POOL_MIN": "1"}
        gateway = stack.enter_context(running_gateway(folder / "gateway", variables))
        url = shared_database.url("cardbase_worker")
        worker = stack.enter_context(monitoring.running_worker(folder / "worker", WORKER_DATABASE_URL=url))
        targets = {
            "cardbase-gateway": [gateway.address.removeprefix("http://")],
            "cardbase-worker": [worker.address.removeprefix("http://")],
        }
        try:
            prometheus = stack.enter_context(monitoring.running_prometheus(folder / "prometheus", targets))
        except pytest.skip.Exception:
            prometheus = None
        with gateway.client(uuid4()) as client:
            body = {"cards": [{"card_type": "voice", "content": {"text": "Hello."}}]}
            for _ in range(2):
                created = client.post("/api/v1/cards/batch", json=body, headers={"Idempotency-Key": "once"})
            usage = f"/api/v1/cards/{created.json()['cards'][0]['card_id']}/usage"
            assert client.post(usage, json={}).status_code == 200
            assert client.post("/api/v1/cards/batch", json={}).status_code == 422
            wait_until(lambda: "cards_table_rows" in worker.get("/metrics").text, 30)
            text = client.get("/metrics").text + worker.get("/metrics").text
        labels = {
            name: {label for labels in label_sets for label, _ in labels}
            for name, label_sets in monitoring.samples(text).items()
        }
        yield Exported(labels, prometheus)


@pytest.mark.parametrize("query", [*panels(), *rules()], ids=lambda query: query.title)
def test_a_query_uses_what_is_exported(exported: Exported, query: Query) -> None:
    metrics = metrics_of(query.expression)
    known = exported.labels | FOREIGN
    assert metrics or "cardbase:" in query.expression
    for name, selected in metrics.items():
        assert name in known, f"nobody exports {name}"
        assert selected <= known[name] | ADDED, f"{name} has no such label"
    if metrics:
        grouped = labels_grouped_by(query.expression)
        assert grouped <= ADDED | {label for name in metrics for label in known[name]}, "no such label to group by"


@pytest.mark.parametrize("query", panels(), ids=lambda query: query.title)
def test_a_panel_shows_something(exported: Exported, query: Query) -> None:
    """Prometheus accepts each query, and finds data for it."""
    if exported.prometheus is None:
        pytest.skip("prometheus is not installed")
    prometheus, expression = exported.prometheus, query.expression.replace("$__rate_interval", "1m")
    prometheus.query(expression)
    if query.title.partition(": ")[2] not in QUIET:
        wait_until(lambda: bool(prometheus.query(expression)), 30)


@pytest.mark.parametrize("query", rules(), ids=lambda query: query.title)
def test_prometheus_accepts_a_rule(exported: Exported, query: Query) -> None:
    if exported.prometheus is None:
        pytest.skip("prometheus is not installed")
    exported.prometheus.query(query.expression)


def test_recorded_series_are_those_that_alerts_use() -> None:
    recorded = {rule["record"] for group in monitoring.rule_groups() for rule in group["rules"] if "record" in rule}
    used = {name for query in rules() for name in re.findall(r"\bcardbase:[\w:]+", query.expression)}
    assert used == recorded


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_is_provisioned_unchanged(file: Any) -> None:
    dashboard = json.loads(file.read_text())
    source = yaml.safe_load((OPS / "grafana/provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    assert dashboard["uid"] == f"cardbase-{file.stem}"
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in dashboard["panels"]:
        position = panel["gridPos"]
        assert position["x"] + position["w"] <= 24
        if panel["type"] != "row":
            assert panel["datasource"] == {"type": source["type"], "uid": source["uid"]}
            assert all(target["datasource"] == panel["datasource"] for target in panel["targets"])
    corners = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(corners) == len(set(corners)), "panels lie on each other"


def test_dashboards_are_found_where_grafana_looks() -> None:
    [provider] = yaml.safe_load((OPS / "grafana/provisioning/dashboards/cardbase.yml").read_text())["providers"]
    mounts = yaml.safe_load((OPS.parent / "compose.yaml").read_text())["services"]["grafana"]["volumes"]
    assert f"./ops/grafana/dashboards:{provider['options']['path']}:ro" in mounts
    assert "./ops/grafana/provisioning:/etc/grafana/provisioning:ro" in mounts

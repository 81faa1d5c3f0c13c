"""One picture of a load run: the service dashboard's panels, from a real Prometheus' data.

    python ops/report.py                             starts database, gateway, worker and Prometheus, and loads them
    python ops/report.py --prometheus http://…:9090  draws the last minutes of one that runs already

The panels and their queries are read from ops/grafana/dashboards, so that the picture shows what Grafana shows.
"""

import argparse
import asyncio
import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

REPOSITORY: Final = Path(__file__).resolve().parent.parent
DASHBOARDS: Final = REPOSITORY / "ops" / "grafana" / "dashboards"
SCRAPE_SECONDS: Final = 1
CLIENTS: Final = (4, 16, 48, 16)
"""Clients at once in each quarter of the run."""
TENANTS: Final = [uuid4() for _ in range(12)]
UNITS: Final[dict[str, Callable[[float], str]]] = {
    "percentunit": lambda value: f"{value * 100:.3g} %",
    "s": lambda value: f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s",
    "ms": lambda value: f"{value:.3g} ms",
    "bytes": lambda value: f"{value / 2**20:.0f} MiB",
    "bool_yes_no": lambda value: "yes" if value else "no",
}


def show(value: float, unit: str) -> str:
    """A value as people read it."""
    return UNITS[unit](value) if unit in UNITS else f"{value:,.4g}"


# --- load ---------------------------------------------------------------------------------------------------------


async def put_load(address: str, seconds: float) -> None:
    """Clients of several tenants create, replay, retrieve, list and track, and make a mistake now and then."""
    deadline = time.monotonic() + seconds
    limits = httpx.Limits(max_connections=max(CLIENTS), max_keepalive_connections=max(CLIENTS))
    async with httpx.AsyncClient(base_url=address, limits=limits, timeout=30, trust_env=False) as client:
        for quarter, clients in enumerate(CLIENTS, start=1):
            until = deadline - seconds * (len(CLIENTS) - quarter) / len(CLIENTS)
            await asyncio.gather(*(_behave(client, until) for _ in range(clients)))


async def _behave(client: httpx.AsyncClient, until: float) -> None:
    card_ids: list[str] = []
    # A few tenants are busy, most are not.
    tenant_id = TENANTS[min(int(random.expovariate(0.5)), len(TENANTS) - 1)]
    headers = {"X-Tenant-ID": str(tenant_id)}
    while time.monotonic() < until:
        step = random.random()
        if not card_ids or step < 0.2:
            card_ids = await _create(client, headers) or card_ids
        elif step < 0.6:
            body = {"workflow_id": str(uuid4()), "workflow_type": random.choice(("campaign", "report", "draft"))}
            await client.post(f"/api/v1/cards/{random.choice(card_ids)}/usage", json=body, headers=headers)
        elif step < 0.9:
            await client.post("/api/v1/cards/retrieve", json={"card_ids": card_ids}, headers=headers)
        elif step < 0.96:
            await client.get("/api/v1/cards", params={"limit": 20}, headers=headers)
        elif step < 0.98:
            await client.get(f"/api/v1/cards/{uuid4()}", headers=headers)
        else:
            await client.post("/api/v1/cards/batch", json={"cards": []}, headers=headers)


async def _create(client: httpx.AsyncClient, headers: dict[str, str]) -> list[str]:
    kinds = ("company", "audience", "voice", "insight")
    cards = [{"card_type": kind, "content": {"number": random.randrange(5000)}} for kind in kinds]
    key = {"Idempotency-Key": str(uuid4())}
    for _ in range(random.choice((1, 1, 2))):
        response = await client.post("/api/v1/cards/batch", json={"cards": cards}, headers=headers | key)
    return [card["card_id"] for card in response.json()["cards"]] if response.is_success else []


# --- what runs ----------------------------------------------------------------------------------------------------


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], folder: Path, answers: str, **variables: str) -> Iterator[None]:
    """A program, from its first answer at an address until the end of the block."""
    log = folder / f"{Path(command[0]).name}-{command[-1].strip('-').split('=')[0]}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{' '.join(command)} does not answer:\n{log.read_text()[-2000:]}")
            try:
                if httpx.get(answers, trust_env=False).is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def run_and_measure(seconds: float, folder: Path) -> Iterator[str]:
    """Starts everything, puts load on it, and yields the address of the Prometheus that has watched."""
    prometheus = shutil.which("prometheus") or sys.exit("prometheus is missing (Debian: apt-get install prometheus)")
    gateway_port, worker_port, port = free_port(), free_port(), free_port()
    command = [sys.executable, "-c", "from gateway.cli import main; main()"]
    environment = {"PYTHONPATH": str(REPOSITORY), "DATA_FOLDER": str(folder / "data"), "DATABASE_POOL_MAX": "8"}
    jobs = {"cardbase-gateway": gateway_port, "cardbase-worker": worker_port}
    configuration = {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "scrape_timeout": f"{SCRAPE_SECONDS}s"},
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]} for name, port in jobs.items()
        ],
    }
    (folder / "prometheus.yml").write_text(json.dumps(configuration))
    with ExitStack() as stack:
        address = f"http://127.0.0.1:{gateway_port}"
        variables = {"PORT": str(gateway_port), "WORKERS": "2", **environment}
        stack.enter_context(running([*command, "serve"], folder, f"{address}/ready", **variables))
        metrics = f"http://127.0.0.1:{worker_port}/metrics"
        variables = {"WORKER_METRICS_PORT": str(worker_port), **environment}
        stack.enter_context(running([*command, "worker"], folder, metrics, **variables))
        arguments = [f"--storage.tsdb.path={folder / 'tsdb'}", f"--config.file={folder / 'prometheus.yml'}"]
        watching = f"http://127.0.0.1:{port}"
        arguments = [prometheus, *arguments, f"--web.listen-address=127.0.0.1:{port}"]
        stack.enter_context(running(arguments, folder, f"{watching}/-/ready"))
        print(f"load on {address} for {seconds:.0f} s", flush=True)
        asyncio.run(put_load(address, seconds))
        time.sleep(2 * SCRAPE_SECONDS)
        yield watching


# --- the picture --------------------------------------------------------------------------------------------------


def query(prometheus: str, expression: str, start: float, end: float) -> list[tuple[dict[str, str], list[list[Any]]]]:
    """An expression's values over time: [(labels, [[time, value], …]), …]."""
    step = max(SCRAPE_SECONDS, (end - start) / 300)
    parameters: dict[str, Any] = {"query": expression, "start": start, "end": end, "step": step}
    answer = httpx.get(f"{prometheus}/api/v1/query_range", params=parameters, timeout=60, trust_env=False).json()
    if answer["status"] != "success":
        sys.exit(f"{expression}: {answer['error']}")
    return [(series["metric"], series["values"]) for series in answer["data"]["result"]]


def draw(prometheus: str, dashboard: dict[str, Any], start: float, end: float, file: Path) -> None:
    """Draws a dashboard's panels, in its own layout, into one picture."""
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = pyplot.figure(figsize=(22, height * 0.5), facecolor="#f4f5f7")
    for panel in panels:
        place = panel["gridPos"]
        is_number = panel["type"] == "stat"
        axes = figure.add_axes(
            (
                (place["x"] + (0.1 if is_number else 0.9)) / 24,
                1 - (place["y"] + place["h"] - (0.2 if is_number else 1.0)) / height,
                (place["w"] - (0.2 if is_number else 1.3)) / 24,
                (place["h"] - (0.4 if is_number else 1.8)) / height,
            )
        )
        series = [
            (_legend(target["legendFormat"], labels), values)
            for target in panel["targets"]
            for labels, values in query(prometheus, _at(target["expr"], end - start), start, end)
        ]
        (_number if is_number else _graph)(axes, panel, series, start)
    for row in (panel for panel in dashboard["panels"] if panel["type"] == "row"):
        figure.text(0.008, 1 - (row["gridPos"]["y"] + 0.9) / height, row["title"], fontsize=15, color="#555555")
    figure.text(0.995, 0.002, time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(end)), ha="right", color="#888888")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=80, facecolor=figure.get_facecolor())
    pyplot.close(figure)


def _at(expression: str, seconds: float) -> str:
    """An expression with the rate interval that fits a run of so many seconds."""
    return expression.replace("$__rate_interval", f"{max(5 * SCRAPE_SECONDS, int(seconds / 30))}s")


def _legend(template: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template) or "value"


def _number(axes: Axes, panel: dict[str, Any], series: list[tuple[str, list[list[Any]]]], _: float) -> None:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    values = [float(value) for _, points in series for _, value in points if value != "NaN"]
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color("#dddddd")
    for legend, points in series[:1]:
        axes.fill_between(range(len(points)), [float(value) for _, value in points], color="#cfe3f7", linewidth=0)
        axes.margins(x=0, y=0.6)
        text = show(values[-1], unit) if values else "nothing"
        is_name = panel["options"].get("textMode") == "value_and_name"
        axes.text(
            0.5, 0.42, legend if is_name else text, transform=axes.transAxes, fontsize=22, ha="center", va="center"
        )
    axes.set_title(panel["title"], fontsize=11, loc="center", y=0.76)


def _graph(axes: Axes, panel: dict[str, Any], series: list[tuple[str, list[list[Any]]]], start: float) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    lines = [
        (legend, [moment - start for moment, _ in points], [float(value) for _, value in points])
        for legend, points in series
        if any(value not in ("NaN", "0") for _, value in points)
    ]
    if lines and defaults["custom"]["stacking"]["mode"] == "normal":
        moments = sorted({moment for _, xs, _ in lines for moment in xs})
        stacked = [[dict(zip(xs, ys, strict=True)).get(moment, 0.0) for moment in moments] for _, xs, ys in lines]
        axes.stackplot(moments, stacked, labels=[legend for legend, _, _ in lines], alpha=0.75)
    else:
        for legend, xs, ys in lines:
            axes.plot(xs, ys, label=legend, linewidth=1.6)
    axes.set_title(panel["title"], fontsize=12, loc="left", fontweight="bold")
    axes.set_ylim(bottom=0)
    axes.margins(x=0)
    axes.grid(color="#e3e3e3")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: show(value, defaults["unit"])))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} s"))
    axes.tick_params(labelsize=8, color="#bbbbbb")
    for side in axes.spines.values():
        side.set_color("#dddddd")
    if lines:
        columns = 1 if max(len(legend) for legend, _, _ in lines) > 22 else 3
        axes.legend(fontsize=7, loc="upper left", ncols=columns, framealpha=0.7)
    else:
        axes.text(0.5, 0.5, "nothing", transform=axes.transAxes, ha="center", color="#999999")


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", help="the address of a Prometheus that runs already")
    parser.add_argument("--seconds", type=float, default=60, help="how long the load, or the look back, is (60)")
    parser.add_argument("--dashboard", default="service", choices=[file.stem for file in DASHBOARDS.glob("*.json")])
    parser.add_argument("--output", type=Path, default=REPOSITORY / "bench" / "output" / "report.png")
    arguments = parser.parse_args()
    dashboard = json.loads((DASHBOARDS / f"{arguments.dashboard}.json").read_text())
    with tempfile.TemporaryDirectory(prefix="cardbase-report-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        watched = iter([arguments.prometheus]) if arguments.prometheus else run_and_measure(arguments.seconds, folder)
        start = time.time()
        for prometheus in watched:
            end = time.time()
            draw(prometheus, dashboard, min(start, end - arguments.seconds), end, arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()

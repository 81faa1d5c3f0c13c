"""Draws one picture of a load run: the service dashboard's panels, from a real Prometheus' data.

    python ops/report.py                             starts database, gateway, worker and Prometheus, and loads them
    python ops/report.py --prometheus http://…:9090  draws the last minutes of one that is running already

Panels and queries are read from ops/grafana/dashboards, so that the picture shows what Grafana shows.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import ceil, log2
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import uuid4

import httpx
import matplotlib

matplotlib.use("agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, MultipleLocator

REPOSITORY: Final = Path(__file__).resolve().parent.parent
DASHBOARDS: Final = REPOSITORY / "ops" / "grafana" / "dashboards"
SCRAPE_SECONDS: Final = 1
CLIENTS: Final = (4, 16, 48, 16)
"""Concurrent clients in each quarter of the run."""
TENANTS: Final = [uuid4() for _ in range(12)]
UNITS: Final[dict[str, Callable[[float], str]]] = {
    "percentunit": lambda value: f"{value * 100:.3g} %",
    "s": lambda value: f"{value * 1000:.3g} ms" if value < 1 else f"{value:.3g} s",
    "ms": lambda value: f"{value:.3g} ms",
    "bytes": lambda value: f"{value / 2**20:.0f} MiB",
    "bool_yes_no": lambda value: "yes" if value else "no",
}

HEADER: Final = 2.6
GAP: Final = 0.12
"""The space above the panels and around each, in units of the dashboard's grid."""
GREY: Final = "#6b7280"

Series = tuple[str, list[list[Any]]]
"""The legend, and [[time, value], …]."""


class Run(NamedTuple):
    """What is drawn: its start, its end, a description, and when the load changed, in seconds after the start."""

    start: float
    end: float
    what: str
    changes: Sequence[float] = ()


def show(value: float, unit: str) -> str:
    """A value in a form for people."""
    return UNITS[unit](value) if unit in UNITS else f"{value:,.4g}"


# --- load ---------------------------------------------------------------------------------------------------------


async def put_load(address: str, seconds: float) -> None:
    """Clients of several tenants create, replay, retrieve, list and track, and make an occasional mistake."""
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
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], folder: Path, address: str, **variables: str) -> Iterator[None]:
    """Runs a program during the block, which starts once the program responds at an address."""
    log = folder / f"{Path(command[0]).name}-{command[-1].strip('-').split('=')[0]}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{' '.join(command)} does not respond:\n{log.read_text()[-2000:]}")
            try:
                if httpx.get(address, trust_env=False).is_success:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def run_and_measure(seconds: float, folder: Path) -> Iterator[tuple[str, Run]]:
    """Starts everything, puts load on it, and yields the address of the Prometheus that scraped it, and the run."""
    prometheus = shutil.which("prometheus") or sys.exit("prometheus is missing (Debian: apt-get install prometheus)")
    gateway_port, worker_port, port = free_port(), free_port(), free_port()
    command = [sys.executable, "-c", "from gateway.operate.cli import main; main()"]
    environment = {"PYTHONPATH": str(REPOSITORY), "DATA_FOLDER": str(folder / "data"), "DATABASE_POOL_MAX": "8"}
    jobs = {"gateway": gateway_port, "worker": worker_port}
    configuration = {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "scrape_timeout": f"{SCRAPE_SECONDS}s"},
        "scrape_configs": [
            {
                "job_name": f"cardbase-{name}",
                "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": {"instance": name}}],
            }
            for name, port in jobs.items()
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
        # Prometheus scrapes its targets only some seconds after its start.
        while len(query(watching, "up == 1", time.time(), time.time())) < len(jobs):
            time.sleep(0.1)
        start = time.time()
        asyncio.run(put_load(address, seconds))
        end = time.time()
        time.sleep(2 * SCRAPE_SECONDS)
        clients = ", ".join(map(str, CLIENTS))
        what = (
            f"{clients} clients of {len(TENANTS)} tenants for {seconds / len(CLIENTS):.0f} s each (dotted lines);"
            f" client, 2 gateway processes, worker, database and Prometheus share {os.cpu_count()} CPUs"
        )
        changes = [seconds * quarter / len(CLIENTS) for quarter in range(1, len(CLIENTS))]
        yield watching, Run(start, end, what, changes)


# --- the picture --------------------------------------------------------------------------------------------------


def query(prometheus: str, expression: str, start: float, end: float) -> list[tuple[dict[str, str], list[list[Any]]]]:
    """The values of an expression over time: [(labels, [[time, value], …]), …]."""
    step = max(SCRAPE_SECONDS, (end - start) / 300)
    parameters: dict[str, Any] = {"query": expression, "start": start, "end": end, "step": step}
    response = httpx.get(f"{prometheus}/api/v1/query_range", params=parameters, timeout=60, trust_env=False).json()
    if response["status"] != "success":
        sys.exit(f"{expression}: {response['error']}")
    return [(series["metric"], series["values"]) for series in response["data"]["result"]]


def draw(prometheus: str, dashboard: dict[str, Any], run: Run, file: Path) -> None:
    """Draws a dashboard's panels, in its layout, into one picture."""
    panels = dashboard["panels"]
    height = HEADER + max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels)
    figure = pyplot.figure(figsize=(22, height * 0.52), facecolor="#eef0f3")
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.end))
    figure.text(0.008, 1 - 0.9 / height, dashboard["title"], fontsize=22, fontweight="bold", va="center")
    figure.text(0.008, 1 - 1.9 / height, run.what, fontsize=13, color=GREY, va="center")
    figure.text(0.992, 1 - 0.9 / height, when, fontsize=13, color=GREY, va="center", ha="right")
    for panel in panels:
        place = panel["gridPos"]
        left, right = (place["x"] + GAP) / 24, (place["x"] + place["w"] - GAP) / 24
        top = 1 - (HEADER + place["y"] + GAP) / height
        bottom = 1 - (HEADER + place["y"] + place["h"] - GAP) / height
        if panel["type"] == "row":
            figure.text(left, (top + bottom) / 2, panel["title"], fontsize=16, color=GREY, va="center")
            continue
        box = figure.add_axes((left, bottom, right - left, top - bottom), xticks=[], yticks=[])
        for side in box.spines.values():
            side.set_color("#d5d8dd")
        series = [
            (_legend(target["legendFormat"], labels), values)
            for target in panel["targets"]
            for labels, values in query(prometheus, _at(target["expr"], run.end - run.start), run.start, run.end)
        ]
        (_number if panel["type"] == "stat" else _graph)(box, panel, series, run)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=80, facecolor=figure.get_facecolor())
    pyplot.close(figure)


def _at(expression: str, seconds: float) -> str:
    """The expression, with a rate interval that suits a run of that many seconds."""
    return expression.replace("$__rate_interval", f"{max(5 * SCRAPE_SECONDS, int(seconds / 30))}s")


def _legend(template: str, labels: dict[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), template) or "value"


def _number(box: Axes, panel: dict[str, Any], series: list[Series], run: Run) -> None:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    legend, points = next(iter(series), ("", []))
    moments = [moment for moment, value in points if value != "NaN"]
    values = [float(value) for _, value in points if value != "NaN"]
    text = show(values[-1], unit) if values else "no data"
    if panel["options"].get("textMode") == "value_and_name":
        text = legend
    box.text(0.5, 0.86, panel["title"], transform=box.transAxes, fontsize=13, ha="center", va="center")
    box.text(0.5, 0.55, text, transform=box.transAxes, fontsize=26, ha="center", va="center", fontweight="bold")
    line = box.inset_axes((0, 0, 1, 0.34))
    line.set_axis_off()
    line.fill_between(moments, values, color="#cfe3f7", linewidth=0)
    line.set(xlim=(run.start, run.end), ylim=(0, 1.05 * max(values, default=0) or 1))


def _graph(box: Axes, panel: dict[str, Any], series: list[Series], run: Run) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    unit = defaults["unit"]
    lines = [
        (legend, [moment - run.start for moment, _ in points], [float(value) for _, value in points])
        for legend, points in series
        if any(value not in ("NaN", "0") for _, value in points)
    ]
    columns = 2 if max((len(legend) for legend, _, _ in lines), default=0) > 16 else 4
    # Below the graph there is space for the times and the legend.
    below = 0.13 + 0.07 * ceil(len(lines) / columns)
    axes = box.inset_axes((0.1, below, 0.87, 0.87 - below))
    if lines and defaults["custom"]["stacking"]["mode"] == "normal":
        moments = sorted({moment for _, xs, _ in lines for moment in xs})
        stacked = [[dict(zip(xs, ys, strict=True)).get(moment, 0.0) for moment in moments] for _, xs, ys in lines]
        axes.stackplot(moments, stacked, labels=[legend for legend, _, _ in lines], alpha=0.8, linewidth=0)
    else:
        for legend, xs, ys in lines:
            axes.plot(xs, ys, label=legend, linewidth=2)
    box.text(0.02, 0.93, panel["title"], transform=box.transAxes, fontsize=14, fontweight="bold", va="center")
    if unit == "reqps":
        box.text(0.97, 0.93, "per second", transform=box.transAxes, fontsize=11, color=GREY, va="center", ha="right")
    # A line at the top, such as a maximum, must not look like the frame.
    top = 1.08 * axes.get_ylim()[1] if lines else 1
    axes.set(xlim=(0, run.end - run.start), ylim=(0, top))
    if unit == "bytes":
        axes.yaxis.set_major_locator(MultipleLocator(2 ** ceil(log2(top / 5))))
    else:
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=unit == "none"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: show(value, unit)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f} s"))
    axes.grid(color="#e6e8eb")
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=10, color="#bbbbbb", labelcolor="#444444")
    for moment in run.changes:
        axes.axvline(moment, color=GREY, linewidth=1, linestyle=":")
    for side in axes.spines.values():
        side.set_visible(False)
    if lines:
        handles, labels = axes.get_legend_handles_labels()
        box.legend(
            *(handles, labels),
            loc="lower left",
            bbox_to_anchor=(0.015, 0.01),
            ncols=columns,
            fontsize=10.5,
            frameon=False,
            borderpad=0.2,
            handlelength=1.4,
        )
    else:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, fontsize=13, ha="center", color=GREY)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prometheus", help="the address of a Prometheus that is running already")
    parser.add_argument(
        "--seconds", type=float, default=60, help="the length of the load, or of the period to draw (60)"
    )
    parser.add_argument("--dashboard", default="service", choices=[file.stem for file in DASHBOARDS.glob("*.json")])
    parser.add_argument("--output", type=Path, default=REPOSITORY / "bench" / "output" / "report.png")
    arguments = parser.parse_args()
    dashboard = json.loads((DASHBOARDS / f"{arguments.dashboard}.json").read_text())
    with tempfile.TemporaryDirectory(prefix="cardbase-report-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        if arguments.prometheus:
            now = time.time()
            what = f"The last {arguments.seconds:.0f} s"
            watched = iter([(arguments.prometheus, Run(now - arguments.seconds, now, what))])
        else:
            watched = run_and_measure(arguments.seconds, folder)
        for prometheus, run in watched:
            draw(prometheus, dashboard, run, arguments.output)
    print(arguments.output)


if __name__ == "__main__":
    main()

"""Monitoring under test: a real Prometheus, a worker, and the names of their metrics."""

import json
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from support import REPOSITORY
from support.gateways import COMMAND, environment_of, wait_until

OPS: Final = REPOSITORY / "ops"
STOP_SECONDS: Final = 30.0


def tool(name: str) -> str:
    """The path of a program. Skips the test when the machine lacks it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: apt-get install {'prometheus' if name == 'promtool' else name}")
    return found


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def samples(text: str) -> dict[str, set[frozenset[tuple[str, str]]]]:
    """The label sets of each sample of an exposition, by the sample's name."""
    found: dict[str, set[frozenset[tuple[str, str]]]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, set()).add(frozenset(sample.labels.items()))
    return found


def value(text: str, name: str, **labels: str) -> float:
    """The value of one sample of an exposition, named by all of its labels."""
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    raise AssertionError(f"no {name}{labels} in:\n{text}")


def rule_groups() -> list[dict[str, Any]]:
    """The groups of all rule files."""
    files = sorted((OPS / "prometheus" / "rules").glob("*.yml"))
    return [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]


@dataclass(frozen=True)
class Running:
    """A running program that serves HTTP, and the file that it prints to."""

    address: str
    output: Path
    process: "subprocess.Popen[bytes]"

    def get(self, path: str, **parameters: str) -> httpx.Response:
        return httpx.get(f"{self.address}{path}", params=parameters, trust_env=False, timeout=30)


@contextmanager
def running_worker(
    folder: Path, *arguments: str, command: Sequence[str] = COMMAND, **variables: str
) -> Iterator[Running]:
    """`cardbase worker` in a folder, with arguments and environment variables, its metrics on a free port."""
    folder.mkdir(parents=True, exist_ok=True)
    output = folder / "worker"
    with _running(
        [*command, "worker", *arguments], folder, output, {"WORKER_METRICS_PORT": "0", **variables}
    ) as process:

        def says_where() -> bool:
            assert process.poll() is None, output.read_text()
            return "http://" in output.read_text()

        wait_until(says_where, 30)
        found = re.search(r"http://[\d.]+:\d+", output.read_text())
        assert found
        yield Running(found[0], output, process)


@contextmanager
def running_prometheus(folder: Path, targets: Mapping[str, Sequence[str]]) -> Iterator["Prometheus"]:
    """A Prometheus with the repository's configuration, except for its targets and intervals."""
    program = tool("prometheus")
    folder.mkdir(parents=True, exist_ok=True)
    configuration = yaml.safe_load((OPS / "prometheus" / "prometheus.yml").read_text())
    configuration["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
    configuration["rule_files"] = [str(OPS / "prometheus" / file) for file in configuration["rule_files"]]
    configuration["scrape_configs"] = [
        {"job_name": job["job_name"], "static_configs": [{"targets": list(targets[job["job_name"]])}]}
        for job in configuration["scrape_configs"]
        if job["job_name"] in targets
    ]
    (folder / "prometheus.yml").write_text(json.dumps(configuration))
    address = f"127.0.0.1:{free_port()}"
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
    ]
    output = folder / "prometheus.log"
    with _running(command, folder, output, {}) as process:
        prometheus = Prometheus(f"http://{address}", output, process)

        def is_ready() -> bool:
            assert process.poll() is None, output.read_text()
            try:
                return prometheus.get("/-/ready").is_success
            except httpx.TransportError:
                return False

        wait_until(is_ready, 30)
        yield prometheus


@contextmanager
def _running(
    command: Sequence[str], folder: Path, output: Path, variables: Mapping[str, str]
) -> Iterator["subprocess.Popen[bytes]"]:
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment_of(variables),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


class Prometheus(Running):
    """A running Prometheus."""

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The current result of an expression: [{metric, value}, …]."""
        answer = self.get("/api/v1/query", query=expression).json()
        assert answer["status"] == "success", f"{expression}: {answer.get('error')}"
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def number(self, expression: str) -> float:
        """The current value of an expression with one value; not a number when it has none."""
        result = self.query(expression)
        assert len(result) <= 1, f"{expression}: {len(result)} values"
        return float(result[0]["value"][1]) if result else float("nan")

"""The bench: it runs, its results are right, and its figures end up where they belong."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support import REPOSITORY
from support.gateways import environment_of

from bench import BenchError, report, results, targets
from bench.results import Measurement
from bench.workloads import MIX, WORKLOADS

SMALL = ("--tenants", "20", "--cards", "2000")


def run_bench(folder: Path, *arguments: str) -> Any:
    """Runs `python -m bench`. Returns the JSON that it wrote."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", *arguments, "--output", str(folder)],
        cwd=REPOSITORY,
        env=environment_of({}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return msgspec.json.decode(next(folder.glob("*.json")).read_bytes())


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_the_bench_runs_with_little_data(tmp_path: Path) -> None:
    """Every function returns what it should, over HTTP and without, and nothing fails."""
    workloads = ("batch_replay", "usage_hot", "mix")
    has_matplotlib = find_spec("matplotlib") is not None
    written = run_bench(
        tmp_path,
        *SMALL,
        *("--peer", "cardbase", "--peer", "pgbench", "--rounds", "1", "--seconds", "1", "--connections", "4"),
        *(argument for workload in workloads for argument in ("--workload", workload)),
        *(("--no-start", "--picture") if has_matplotlib else ("--no-start", "--no-picture")),
    )

    assert [(one["workload"], one["peer"], one["errors"]) for one in written["medians"]] == [
        ("batch_replay", "cardbase", 0),
        ("batch_replay", "pgbench", 0),
        ("usage_hot", "cardbase", 0),
        ("usage_hot", "pgbench", 0),
        ("mix", "cardbase", 0),
        ("mix", "pgbench", 0),
    ]
    assert all(one["requests"] > 0 and one["p50_ms"] <= one["p99_ms"] for one in written["rounds"])
    assert {one["peer"] for one in written["rounds"] if one["gateway_megabytes"]} == {"cardbase"}
    assert (tmp_path / "performance.png").exists() == has_matplotlib


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_growth_runs_with_little_data(tmp_path: Path) -> None:
    """Two sizes, the disk space that they take, and a purge of everything that had expired."""
    written = run_bench(
        tmp_path,
        "growth",
        *("--size", "1000", "--size", "2000", "--tenants", "20", "--workload", "mix"),
        *("--rounds", "1", "--seconds", "1", "--usage-calls", "0"),
    )

    small, large = written["sizes"]
    assert [one["errors"] for one in (*small["measurements"], *large["measurements"])] == [0, 0]
    assert (small["purge"]["rows"], large["purge"]["rows"]) == (50, 100)
    assert large["bytes"]["cards"] > small["bytes"]["cards"]


@pytest.mark.skipif(shutil.which("wrk") is None, reason="wrk is not installed")
def test_resources_run_with_little_data(tmp_path: Path) -> None:
    """A page, a search, and sign-in."""
    workloads = ("list_messages", "search_two")
    written = run_bench(
        tmp_path,
        "resources",
        *("--memories", "1000", "--messages", "1000", "--rounds", "1", "--seconds", "1"),
        *(argument for workload in workloads for argument in ("--workload", workload)),
    )

    assert [(one["workload"], one["connections"], one["errors"]) for one in written["medians"]] == [
        ("list_messages", 16, 0),
        ("search_two", 16, 0),
        ("list_messages", 1, 0),
        ("search_two", 1, 0),
    ]
    assert written["login"]["hash_ms"] > 0
    assert written["login"]["alone"]["errors"] == 0


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed")
@pytest.mark.skipif(find_spec("celery") is None, reason="celery is not installed")
def test_jobs_run_with_few(tmp_path: Path) -> None:
    """All are completed, here and by Celery, also next to a flood of another tenant; old rows are gone each hour."""
    written = run_bench(
        tmp_path,
        "jobs",
        *("--jobs", "100", "--rounds", "1", "--pool", "threads-10", "--starts", "2"),
        *("--flood", "300", "--jobs-per-hour", "500"),
    )

    assert [one["name"].partition(",")[0] for one in written["medians"]] == ["cardbase", "Celery"]
    assert all(one["seconds"] > 0 and one["drained_seconds"] > 0 for one in written["rounds"])
    assert len(written["start_ms"]) > 0
    assert [len(one["start_ms"]) for one in written["floods"]] == [20, 20]
    assert {one["hour"]: one["rows"] for one in written["hours"] if one["table"] == "events"}[3] <= 1000
    assert {one["hour"]: one["rows"] for one in written["hours"] if one["table"] == "pending_jobs"}[3] == 0


def test_events_reach_all_listeners(tmp_path: Path) -> None:
    """Each listener of a tenant gets each of its events."""
    written = run_bench(tmp_path, "events", "--listeners", "40", "--events", "4")

    assert (written["tenants"], written["deliveries"]) == (2, 80)


def measured(workload: str, connections: int, peer: str, rate: float, p99_ms: float = 1.0) -> Measurement:
    return Measurement(
        workload=workload,
        connections=connections,
        peer=peer,
        requests=100,
        seconds=1.0,
        errors=0,
        requests_per_second=rate,
        p50_ms=1.0,
        p95_ms=1.0,
        p99_ms=p99_ms,
        gateway_cpu_us=None if peer == "pgbench" else 100.0,
        database_cpu_us=100.0,
        gateway_megabytes=None if peer == "pgbench" else 80.0,
    )


def test_medians_are_taken_over_the_rounds_and_requests_summed_up() -> None:
    rounds = [measured("retrieve", 16, "cardbase", rate) for rate in (100, 900, 200)]

    median = results.median_of(rounds)["retrieve", 16, "cardbase"]

    assert (median.requests_per_second, median.requests, median.seconds) == (200, 300, 3.0)


def test_targets_compare_with_each_peer_and_with_the_better_tail() -> None:
    medians = results.median_of(
        [
            measured("retrieve", 64, "cardbase", 5000, p99_ms=10),
            measured("retrieve", 64, "postgrest", 2500, p99_ms=40),
            measured("retrieve", 64, "fastapi", 1000, p99_ms=16),
            measured("retrieve", 64, "pgbench", 10_000),
        ]
    )

    found = {target.name: (target.measured, target.is_met) for target in targets.of_comparison(medians)}

    assert found == {
        "retrieve, 64 connections: requests/s against postgrest": (2.0, False),
        "retrieve, 64 connections: requests/s against fastapi": (5.0, True),
        "retrieve, 64 connections: p99 against the better of postgrest and fastapi": (0.625, False),
        "retrieve, 64 connections: requests/s against pgbench": (0.5, True),
        "memory of the gateway under load, MB": (80.0, True),
    }


def test_the_mix_is_made_of_workloads_and_adds_up() -> None:
    assert MIX.keys() < WORKLOADS.keys()
    assert sum(MIX.values()) == 100


def test_a_region_of_the_document_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text("before\n\n<!-- growth -->\n\nold\n\n<!-- /growth -->\n\nafter\n")

    report.write_region("growth", r"| \1 |", document)
    report.write_region("growth", r"| \1 |", document)

    assert document.read_text() == "before\n\n<!-- growth -->\n\n| \\1 |\n\n<!-- /growth -->\n\nafter\n"


def test_a_document_without_the_region_is_refused(tmp_path: Path) -> None:
    document = tmp_path / "performance.md"
    document.write_text("nothing\n")

    with pytest.raises(BenchError, match="no place"):
        report.write_region("growth", "text", document)


@pytest.mark.parametrize("region", ["workloads", "comparison", "growth", "memory", "resources", "jobs", "events"])
def test_the_document_has_a_place_for_each_result(region: str) -> None:
    text = report.DOCUMENT.read_text()

    assert text.count(f"<!-- {region} -->") == text.count(f"<!-- /{region} -->") == 1


def test_a_table_lines_up_with_numbers_to_the_right() -> None:
    assert report.table(("name", "count"), [("a", "1,000"), ("long one", "7")]) == (
        "| name     | count |\n| -------- | ----: |\n| a        | 1,000 |\n| long one |     7 |"
    )

"""What was measured, and the medians of it."""

import platform
import subprocess
from collections import defaultdict
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
import psutil

from gateway.operate import embedded

OUTPUT: Final = Path(__file__).with_name("output")

Cell = tuple[str, int, str]
"""Workload, connections, peer."""


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """One run of one workload against one peer."""

    workload: str
    connections: int
    peer: str
    requests: int
    seconds: float
    errors: int
    requests_per_second: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    gateway_cpu_us: float | None
    """Processor time per request, in microseconds. None: there is no gateway."""
    database_cpu_us: float
    gateway_megabytes: float | None
    """Resident memory of the largest gateway process after the run, in MB."""


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured, and with what."""

    processor: str
    cores: int
    memory_gib: int
    system: str
    disk: str
    software: Mapping[str, str]


def median_of(measurements: Iterable[Measurement]) -> dict[Cell, Measurement]:
    """The median of each figure over the rounds; requests and errors are added up, and of memory the peak counts."""
    rounds_of: dict[Cell, list[Measurement]] = defaultdict(list)
    for one in measurements:
        rounds_of[one.workload, one.connections, one.peer].append(one)
    return {cell: _median(rounds) for cell, rounds in rounds_of.items()}


def _median(rounds: list[Measurement]) -> Measurement:
    gateway_cpu = [one.gateway_cpu_us for one in rounds if one.gateway_cpu_us is not None]
    return msgspec.structs.replace(
        rounds[0],
        requests=sum(one.requests for one in rounds),
        seconds=sum(one.seconds for one in rounds),
        errors=sum(one.errors for one in rounds),
        requests_per_second=median(one.requests_per_second for one in rounds),
        p50_ms=median(one.p50_ms for one in rounds),
        p95_ms=median(one.p95_ms for one in rounds),
        p99_ms=median(one.p99_ms for one in rounds),
        gateway_cpu_us=median(gateway_cpu) if gateway_cpu else None,
        database_cpu_us=median(one.database_cpu_us for one in rounds),
        gateway_megabytes=max((one.gateway_megabytes for one in rounds if one.gateway_megabytes), default=None),
    )


def describe_machine(folder: Path) -> Machine:
    """This machine; folder: where the database is."""
    disks = {Path(disk.mountpoint): disk.fstype for disk in psutil.disk_partitions(all=True)}
    mounted = next((path for path in (folder, *folder.parents) if path in disks), None)
    return Machine(
        processor=_processor(),
        cores=psutil.cpu_count() or 1,
        memory_gib=round(psutil.virtual_memory().total / 2**30),
        system=f"{platform.system()} {platform.release().split('-')[0]}",
        disk=disks[mounted] if mounted else "unknown",
        software={
            "Python": platform.python_version(),
            "PostgreSQL": _first_line(embedded.binaries() / "postgres", "--version").split()[-1],
            **{name: _version(name) for name in ("litestar", "uvicorn", "asyncpg", "fastapi", "pydantic")},
        },
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _first_line(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0]


def write(folder: Path, name: str, content: object) -> Path:
    """Writes results as JSON. Returns the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.json"
    file.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
    return file

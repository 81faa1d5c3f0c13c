"""Whether the gateway's memory stays flat under load."""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Final

import msgspec

from bench import BenchError, load, peers, processes, report, results
from bench.compare import Say
from bench.results import Machine
from bench.store import Sample, Store
from bench.targets import GATEWAY_MEGABYTES, Target

WORKLOAD: Final = "mix"
CONNECTIONS: Final = 64
GROWTH: Final = 1.05
"""Memory in the last fifth of the time relative to the second fifth; the first one fills pools and caches."""


class Memory(msgspec.Struct, frozen=True):
    """Resident memory of the gateway process, in MB, at even intervals."""

    machine: Machine
    minutes: float
    requests: int
    megabytes: list[float]


def watch(store: Store, samples: Sequence[Sample], folder: Path, *, minutes: float, say: Say) -> Memory:
    """Runs the mix at 64 connections for some time. Raises BenchError when a request fails."""
    load.check_wrk()
    seconds = max(1, round(minutes * 60))
    interval = max(0.1, seconds / 120)
    megabytes: list[float] = []
    with peers.cardbase(store, folder / "cardbase") as peer, ThreadPoolExecutor(1) as pool:
        peer.prepare(WORKLOAD, samples)
        running = pool.submit(peer.run, WORKLOAD, connections=CONNECTIONS, seconds=seconds)
        while not running.done():
            megabytes.append(processes.resident_megabytes(peer.process))
            if len(megabytes) % 12 == 1:
                say(f"{len(megabytes) * interval:6.0f} s  {megabytes[-1]:6.1f} MB")
            time.sleep(interval)
        done = running.result()
    if done.errors:
        raise BenchError(f"{done.errors} requests failed")
    return Memory(results.describe_machine(folder), minutes, done.requests, megabytes)


def targets(memory: Memory) -> list[Target]:
    """The peak memory, and whether it grew."""
    fifth = max(1, len(memory.megabytes) // 5)
    second, last = memory.megabytes[fifth : 2 * fifth] or memory.megabytes, memory.megabytes[-fifth:]
    return [
        Target("memory of the gateway, the most, MB", max(memory.megabytes), "≤", GATEWAY_MEGABYTES),
        Target("memory in the last fifth of the time against the second", median(last) / median(second), "≤", GROWTH),
    ]


def text(memory: Memory) -> str:
    """All of it, as Markdown."""
    what = f"{memory.requests:,} requests of the mix over {memory.minutes:g} minutes at {CONNECTIONS} connections:"
    return "\n\n".join((report.machine(memory.machine), what, report.targets(targets(memory))))

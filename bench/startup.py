"""How long `cardbase serve` takes from the command to the first response, without data and with its data."""

import time
from pathlib import Path

import msgspec

from bench import processes
from bench.peers import CARDBASE


class Start(msgspec.Struct, frozen=True):
    """Two starts in one folder."""

    cold_seconds: float
    """With an empty folder: the database has to be created, too."""
    warm_seconds: float
    megabytes: float
    """Resident memory of the gateway process, after the second start."""


def measure(folder: Path) -> Start:
    """Starts `cardbase serve` on its embedded database in a new folder, twice. Raises BenchError."""
    cold_seconds, _ = _start(folder)
    warm_seconds, megabytes = _start(folder)
    return Start(cold_seconds, warm_seconds, megabytes)


def _start(folder: Path) -> tuple[float, float]:
    port = processes.free_port()
    started = time.perf_counter()
    with processes.running((*CARDBASE, "serve"), folder=folder, variables={"PORT": str(port)}) as process:
        # It responds once the database does.
        processes.wait_for(f"http://127.0.0.1:{port}/ready", process, folder)
        return time.perf_counter() - started, processes.resident_megabytes(process)

"""Processes under measurement: starting, waiting for, measuring and stopping them."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
import psutil

from bench import BenchError

REPOSITORY: Final = Path(__file__).parents[1]
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The variables, and nothing from the caller's environment that could change what is measured."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "LC_ALL": "C.UTF-8", **variables}


@contextmanager
def running(command: Sequence[str | Path], *, folder: Path, variables: Mapping[str, str]) -> Iterator[psutil.Popen]:
    """A process with its output in `folder/log`. It is stopped at the end, and killed if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log").open("ab") as log:
        process = psutil.Popen(
            [str(part) for part in command],
            cwd=folder,
            env=environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        if process.is_running():
            process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(url: str, process: psutil.Popen, folder: Path) -> None:
    """Waits until a URL returns 2xx. Raises BenchError when the process ends, or does not respond in time."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise BenchError(f"{process.args[0]} ended with status {process.returncode}:\n{last_lines(folder)}")
        with suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False).is_success:
                return
        time.sleep(0.01)
    raise BenchError(f"waited {START_SECONDS:.0f} s in vain for {url}:\n{last_lines(folder)}")


def last_lines(folder: Path, count: int = 5) -> str:
    """The end of what a process printed."""
    return "\n".join((folder / "log").read_text(errors="replace").splitlines()[-count:])


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(root: psutil.Process) -> float:
    """Processor time of a process and its children, including those that have ended and were waited for."""
    while True:
        processes = _tree(root)
        with suppress(psutil.NoSuchProcess):
            times = [process.cpu_times() for process in processes]
            # A child that ends meanwhile would be counted twice, or not at all, as its time passes to its parent.
            if _tree(root) == processes:
                return float(
                    sum(one.user + one.system for one in times) + times[0].children_user + times[0].children_system
                )


def resident_megabytes(root: psutil.Process) -> float:
    """Resident memory of the largest process of a tree, in MB (10⁶ bytes)."""
    largest = 0
    for process in _tree(root):
        with suppress(psutil.NoSuchProcess):
            largest = max(largest, process.memory_info().rss)
    return largest / 1e6


def _tree(root: psutil.Process) -> list[psutil.Process]:
    return [root, *root.children(recursive=True)]

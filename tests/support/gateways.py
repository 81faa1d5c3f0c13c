"""The gateway under test: the real `cardbase` command in its own process."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import httpx
import msgspec
import psutil

from gateway.settings import Settings, load_settings
from support import REPOSITORY
from support.servers import clean_environment

COMMAND: Final = (sys.executable, "-c", "from gateway.operate.cli import main; main()")
ADDRESS: Final = re.compile(r"^ +API +(http://\S+)/api/v1$", re.MULTILINE)
COMMON: Final[dict[str, str]] = {}
"""Environment variables of every gateway of this run."""
START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 30.0


@dataclass(frozen=True)
class Gateway:
    """A running `cardbase serve`, and the files that it prints to."""

    process: "subprocess.Popen[bytes]"
    folder: Path

    @property
    def output(self) -> str:
        """What it printed."""
        return (self.folder / "output").read_text()

    @property
    def log(self) -> str:
        """What it logged."""
        return (self.folder / "log").read_text()

    @property
    def address(self) -> str:
        """The address that it announces."""
        found = ADDRESS.search(self.output)
        assert found, f"no address is announced:\n{self.output}{self.log}"
        return found[1]

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @contextmanager
    def client(self, tenant_id: UUID | None = None) -> Iterator[httpx.Client]:
        """An HTTP client, as a tenant."""
        headers = {"X-Tenant-ID": str(tenant_id)} if tenant_id else {}
        with httpx.Client(base_url=self.address, headers=headers, timeout=30, trust_env=False) as client:
            yield client

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Sends a signal and waits until the process ends. Returns the exit status."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)

    def _wait_until_it_answers(self) -> None:
        def answers() -> bool:
            if self.process.poll() is not None:
                raise AssertionError(f"ended with status {self.process.returncode}:\n{self.output}{self.log}")
            if not ADDRESS.search(self.output):
                return False
            try:
                return httpx.get(f"{self.address}/api/v1/info", trust_env=False).is_success
            except httpx.TransportError:
                return False

        wait_until(answers, START_SECONDS)


def environment_of(variables: Mapping[str, str]) -> dict[str, str]:
    """A clean environment with some variables, in which the repository's package is found."""
    return {**clean_environment(), "PYTHONPATH": str(REPOSITORY), **COMMON, **variables}


def settings_of(**given: Any) -> Settings:
    """The settings of a part of a gateway that a test opens in its own process."""
    return msgspec.structs.replace(load_settings(COMMON), **given)


@contextmanager
def running_gateway(folder: Path, variables: Mapping[str, str]) -> Iterator[Gateway]:
    """`cardbase serve` in a folder, with environment variables, on a free port unless PORT names one."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "output").open("wb") as output, (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*COMMAND, "serve"],
            cwd=folder,
            env=environment_of({"PORT": "0", **variables}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=log,
        )
    gateway = Gateway(process, folder)
    try:
        gateway._wait_until_it_answers()
        yield gateway
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Stops a process and its workers, and kills them if need be."""
    if process.poll() is not None:
        return
    children = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        for child in children:
            child.kill()
        process.kill()
        process.wait()
        raise AssertionError(f"the gateway was still there {STOP_SECONDS:.0f} s after SIGTERM") from None


def run_cardbase(*arguments: str | Path, folder: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Runs a `cardbase` command and waits for it."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment_of(variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


def wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Waits for a condition. Fails when it does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False

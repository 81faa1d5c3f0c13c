"""`cardbase serve` as a process: start, stop, signals, workers."""

import re
import signal
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from shutil import which
from uuid import UUID

import httpx
import psutil
import pytest
from support.gateways import Gateway, is_alive, run_cardbase, running_gateway, wait_until
from support.locks import Holder, waiting_for_locks
from support.servers import Database, open_folder, run_psql

from gateway.operate.embedded import EmbeddedError, running
from gateway.operate.local_keys import own_keys
from gateway.settings import load_settings

BATCH = "/api/v1/cards/batch"
BODY = {"cards": [{"card_type": "company", "content": {"name": "Acme"}}]}


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder to serve in; a database that is left running there is stopped after the test."""
    with open_folder() as created:
        yield created
        if (created / ".cardbase").exists():
            with suppress(EmbeddedError), running(created / ".cardbase"):
                pass  # the last to leave stops the server


def postmaster(folder: Path) -> int:
    """The process id of the embedded database."""
    return int((folder / ".cardbase" / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def worker_processes(gateway: Gateway) -> list[int]:
    """The id of a gateway's worker process, if it has one."""
    children = psutil.Process(gateway.process.pid).children()
    return [child.pid for child in children if is_alive(child.pid) and "--beside-gateway" in child.cmdline()]


def test_cold_start_in_an_empty_folder_serves_on_an_embedded_database(folder: Path) -> None:
    with running_gateway(folder, {}) as gateway:
        address = gateway.address
        assert f"  docs  {address}/docs\n" in gateway.output
        assert httpx.get(f"{address}/docs").status_code == 200
        assert httpx.get(f"{address}/ready").json() == {"ready": True}

        found = re.search(r"^  SQL   (postgresql://cardbase_service@\S+)$", gateway.output, re.MULTILINE)
        assert found
        call = f"select status from api.retrieve_cards('{UUID(int=1)}', array['{UUID(int=2)}'::uuid])"
        assert run_psql(found[1], "-c", call) == "200"

        person = {"email": "ada@example.com", "password": "correct horse battery"}
        registered = httpx.post(f"{address}/api/v1/auth/register", json=person)
        bearer = {"Authorization": f"Bearer {registered.json()['data']['access_token']}"}
        secret = {"provider": "crm", "settings": {"token": "t"}}
        assert httpx.post(f"{address}/api/v1/integrations", json=secret, headers=bearer).status_code == 201
        assert stat.S_IMODE((folder / ".cardbase" / "keys.json").stat().st_mode) == 0o600

        server = postmaster(folder)
        wait_until(lambda: bool(worker_processes(gateway)), 30)
        [worker] = worker_processes(gateway)
        assert is_alive(server)
        assert gateway.stop() == 0
    assert not is_alive(server)
    assert not is_alive(worker)
    with running_gateway(folder, {}) as gateway:
        me = httpx.get(f"{gateway.address}/api/v1/users/me", headers=bearer)
        assert (me.status_code, me.json()["data"]["email"]) == (200, "ada@example.com")


@pytest.mark.parametrize(
    ("variables", "added"),
    [
        ({}, {"JWT_SECRET_KEY", "TRUST_TENANT_HEADER", "INTEGRATION_ENCRYPTION_KEY"}),
        ({"TRUST_TENANT_HEADER": "false"}, {"JWT_SECRET_KEY", "INTEGRATION_ENCRYPTION_KEY"}),
        ({"JWT_SECRET_KEY": "k" * 32}, {"INTEGRATION_ENCRYPTION_KEY"}),
        ({"JWT_PUBLIC_KEY": "key.pem", "JWT_ALGORITHM": "RS256"}, {"INTEGRATION_ENCRYPTION_KEY"}),
        ({"ENVIRONMENT": "production"}, set()),
        ({"DATABASE_URL": "postgresql://elsewhere/cards"}, set()),
    ],
)
def test_keys_are_made_only_where_nobody_chose_any(tmp_path: Path, variables: dict[str, str], added: set[str]) -> None:
    settings = load_settings({"DATA_FOLDER": str(tmp_path), **variables})
    assert own_keys(settings, make=False) == {}
    keys = own_keys(settings, make=True)
    assert set(keys) == added
    assert own_keys(settings, make=True) == keys
    assert own_keys(settings, make=False) == keys


def test_worker_process_runs_as_long_as_the_gateway(folder: Path) -> None:
    """It runs jobs, also after it died, even if its port for metrics is in use."""
    with ExitStack() as stack:
        taken = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = str(taken.getsockname()[1])
        gateway = stack.enter_context(running_gateway(folder, {"WORKER_METRICS_PORT": port}))
        client = stack.enter_context(gateway.client(UUID(int=1)))

        def does_a_job() -> None:
            job = client.post("/api/v1/jobs/test").json()["data"]["job_id"]
            wait_until(lambda: client.get(f"/api/v1/jobs/{job}").json()["data"]["status"] == "completed", 30)

        does_a_job()
        [first] = worker_processes(gateway)
        psutil.Process(first).kill()
        does_a_job()
        assert "the worker has no metrics" in gateway.log
        [second] = worker_processes(gateway)
        assert second != first
        gateway.process.kill()
        gateway.process.wait()
        wait_until(lambda: not is_alive(second), 30)


def test_without_an_embedded_database_there_is_no_worker_process(gateway: Gateway) -> None:
    assert worker_processes(gateway) == []


@pytest.mark.skipif(which("curl") is None, reason="curl is not installed")
def test_printed_curl_line_works_when_pasted(gateway: Gateway) -> None:
    command = gateway.output[gateway.output.index("curl ") :]
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    assert '"card_type": "company"' in done.stdout


def test_cards_and_keys_survive_a_restart_of_gateway_and_database(folder: Path, tenant_id: UUID) -> None:
    key = {"Idempotency-Key": "before the restart"}
    with running_gateway(folder, {}) as gateway, gateway.client(tenant_id) as client:
        first = client.post(BATCH, json=BODY, headers=key)
        (card,) = first.json()["cards"]
        client.post(f"/api/v1/cards/{card['card_id']}/usage", json={"workflow_id": "w"})
        server = postmaster(folder)
    assert not is_alive(server)

    with running_gateway(folder, {}) as gateway, gateway.client(tenant_id) as client:
        replay = client.post(BATCH, json=BODY, headers=key)
        assert (replay.status_code, replay.content) == (201, first.content)
        assert replay.headers["x-idempotency-cache"] == "HIT"
        repeat = client.post(f"/api/v1/cards/{card['card_id']}/usage", json={"workflow_id": "w"})
        assert (repeat.json()["usage_count"], repeat.headers["x-event-recorded"]) == (2, "false")


def test_after_a_kill_the_next_start_finds_the_data(folder: Path, tenant_id: UUID) -> None:
    with running_gateway(folder, {}) as gateway, gateway.client(tenant_id) as client:
        first = client.post(BATCH, json=BODY, headers={"Idempotency-Key": "k"})
        gateway.stop(signal.SIGKILL)

    with running_gateway(folder, {}) as gateway, gateway.client(tenant_id) as client:
        replay = client.post(BATCH, json=BODY, headers={"Idempotency-Key": "k"})
        assert (replay.content, replay.headers["x-idempotency-cache"]) == (first.content, "HIT")
        server = postmaster(folder)
    assert not is_alive(server)


@pytest.mark.parametrize(
    ("workers", "number", "status"),
    [("1", signal.SIGTERM, 0), ("1", signal.SIGINT, 130), ("2", signal.SIGTERM, 0)],
    ids=["SIGTERM", "SIGINT", "SIGTERM, two workers"],
)
def test_signal_finishes_the_request_in_progress(
    database: Database,
    make_gateway: Callable[..., Gateway],
    tenant_id: UUID,
    workers: str,
    number: signal.Signals,
    status: int,
) -> None:
    gateway = make_gateway(database, WORKERS=workers, DATABASE_STATEMENT_TIMEOUT_MS="30000")
    with gateway.client(tenant_id) as client, ThreadPoolExecutor(1) as pool:
        with Holder(database, "lock table app.cards in exclusive mode") as holder:
            in_progress = pool.submit(client.post, BATCH, json=BODY)
            wait_until(lambda: waiting_for_locks(database) == 1)
            gateway.process.send_signal(number)
            wait_until(lambda: not takes_connections(gateway.port))
            assert gateway.process.poll() is None
            assert not in_progress.done()
            holder.release()
        response = in_progress.result()
    assert (response.status_code, response.json()["created_count"]) == (201, 1)
    assert gateway.process.wait(30) == status
    assert "Traceback" not in gateway.log


def takes_connections(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_port_that_is_taken_is_one_line(gateway: Gateway, shared_database: Database, tmp_path: Path) -> None:
    variables = {"PORT": str(gateway.port), "DATABASE_URL": shared_database.url("cardbase_gateway")}
    done = run_cardbase("serve", folder=tmp_path, **variables)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    taken = f"127.0.0.1:{gateway.port} is already in use"
    assert line == f"cardbase: {taken}. Choose another port: PORT={gateway.port + 100} make run"


@pytest.mark.parametrize("host", ["203.0.113.1", "no-such-host.invalid"])
def test_host_of_another_machine_is_one_line(host: str, shared_database: Database, tmp_path: Path) -> None:
    url = shared_database.url("cardbase_gateway")
    done = run_cardbase("serve", folder=tmp_path, HOST=host, PORT="0", DATABASE_URL=url, JWT_SECRET_KEY="k" * 32)
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"cardbase: cannot listen on {host}:0, which HOST and PORT name: ")


def test_several_workers_share_the_work_and_end_together(
    shared_database: Database, make_gateway: Callable[..., Gateway], tenant_id: UUID
) -> None:
    gateway = make_gateway(shared_database, WORKERS="2")
    workers = [child for child in psutil.Process(gateway.process.pid).children() if takes_requests(child)]
    assert len(workers) == 2
    with gateway.client(tenant_id) as client:
        assert client.post(BATCH, json=BODY).status_code == 201
        assert client.post(BATCH, json=BODY).status_code == 200
    assert gateway.stop() == 0
    assert not any(is_alive(worker.pid) for worker in workers)


def test_killed_worker_is_replaced(shared_database: Database, make_gateway: Callable[..., Gateway]) -> None:
    gateway = make_gateway(shared_database, WORKERS="2")
    parent = psutil.Process(gateway.process.pid)
    before = {child.pid for child in parent.children() if takes_requests(child)}
    killed = before.pop()
    psutil.Process(killed).kill()

    def is_replaced() -> bool:
        return len({child.pid for child in parent.children() if takes_requests(child)} - {killed}) == 2

    wait_until(is_replaced, 30)
    with gateway.client() as client:
        assert client.get("/ready").status_code == 200


def takes_requests(process: psutil.Process) -> bool:
    """Whether it is a worker: multiprocessing also starts a process that tracks resources."""
    try:
        return any("spawn_main" in argument for argument in process.cmdline())
    except psutil.Error:
        return False


def test_gateway_starts_without_a_database_and_says_so(make_gateway: Callable[..., Gateway], tenant_id: UUID) -> None:
    gateway = make_gateway(DATABASE_URL="postgresql://cardbase_gateway@/nothing?host=/nowhere")
    with gateway.client(tenant_id) as client:
        responses = [client.get("/ready"), client.post(BATCH, json=BODY)]
    assert [response.status_code for response in responses] == [503, 503]
    assert responses[1].headers["retry-after"] == "1"
    assert responses[1].json()["error"]["code"] == "DATABASE_UNAVAILABLE"

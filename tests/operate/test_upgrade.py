"""Upgrade with no downtime: deploy, then one gateway after the other, as docs/operations.md says."""

import threading
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Self
from uuid import UUID

import httpx
from support.gateways import Gateway, run_cardbase, wait_until
from support.servers import Database

BATCH = "/api/v1/cards/batch"


class Clients:
    """Callers behind a load balancer, which sends them to the first of its gateways that takes a connection."""

    def __init__(self, tenant_id: UUID) -> None:
        self.addresses: list[str] = []
        self.statuses: list[int] = []
        self.failures: list[str] = []
        self._headers = {"X-Tenant-ID": str(tenant_id)}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(4)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        numbers = cycle(range(100))
        while not self._stop.is_set():
            body = {"cards": [{"card_type": "voice", "content": {"number": next(numbers)}}]}
            for address in [*self.addresses]:
                try:
                    answer = httpx.post(f"{address}{BATCH}", json=body, headers=self._headers, trust_env=False)
                except httpx.ConnectError:
                    continue
                except httpx.TransportError as error:
                    self.failures.append(f"{type(error).__name__}: {error}")
                    break
                self.statuses.append(answer.status_code)
                break
            else:
                self.failures.append("no gateway takes a connection")

    def wait_for(self, more: int) -> None:
        """Waits until that many more calls have a response."""
        before = len(self.statuses)
        wait_until(lambda: len(self.statuses) >= before + more, 60)


def test_no_call_fails_while_database_and_gateways_are_replaced(
    database: Database, make_gateway: Callable[..., Gateway], tmp_path: Path, tenant_id: UUID
) -> None:
    first, second = make_gateway(database), make_gateway(database, WORKERS="2")
    clients = Clients(tenant_id)
    clients.addresses = [first.address, second.address]
    with clients:
        clients.wait_for(20)
        done = run_cardbase("deploy", "--all", folder=tmp_path, DEPLOY_DATABASE_URL=database.url())
        assert done.returncode == 0, done.stderr
        clients.wait_for(20)
        for old in (first, second):
            new = make_gateway(database)
            clients.addresses[:] = [*clients.addresses[1:], new.address]
            clients.wait_for(4)
            assert old.stop() == 0
            clients.wait_for(20)
    assert clients.failures == []
    assert set(clients.statuses) <= {200, 201}

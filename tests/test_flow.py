"""The tour, end to end."""

import subprocess
import sys
from uuid import UUID

import pytest
from support import REPOSITORY, flow
from support.gateways import Gateway, environment_of
from support.servers import Database
from support.tables import row_counts


def test_flow_goes_through_its_six_steps(gateway: Gateway, shared_database: Database, tenant_id: UUID) -> None:
    steps: list[str] = []
    with flow.client_of(gateway.address, tenant_id) as client:
        flow.run(client, lambda title, rows: steps.append(title if rows else ""))
    assert steps == [
        "Onboarding creates a card of each type",
        "A workflow retrieves them",
        "It tracks its use of each, one of them twice",
        "The counts went up",
        "The metrics are exposed",
        "The first request again is a replay",
    ]
    stored = {"cards": 4, "card_usage": 4, "card_usage_totals": 4, "idempotency_store": 1}
    assert row_counts(shared_database, tenant_id) == stored


def test_flow_fails_for_a_tenant_that_has_the_cards_already(gateway: Gateway, tenant_id: UUID) -> None:
    with flow.client_of(gateway.address, tenant_id) as client:
        flow.run(client, lambda title, rows: None)
        with pytest.raises(flow.FlowError, match=r"^expected 201, got 200"):
            flow.run(client, lambda title, rows: None)


def demo(url: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.support.flow", "--url", url]
    environment = environment_of({"COLUMNS": "120"})
    return subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)


def test_demo_prints_each_step_for_a_person(gateway: Gateway) -> None:
    done = demo(gateway.address)
    assert (done.returncode, done.stderr) == (0, "")
    titles = [line for line in done.stdout.splitlines() if line[:1].isdigit()]
    assert [title[0] for title in titles] == list("123456")
    assert done.stdout.endswith("\nAll six steps did what they should.\n")


def test_demo_without_a_gateway_says_so(gateway: Gateway) -> None:
    done = demo("http://127.0.0.1:1")
    assert done.returncode == 1
    assert "Step 1 failed: " in done.stdout
    assert done.stderr == ""

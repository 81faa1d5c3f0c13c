"""The tour of a running gateway in six steps, for a person and for the tests.

    python -m tests.support.flow --url http://127.0.0.1:8002

Each run uses a new tenant, so it can be repeated at will. Exit status 1: a step did not do what it should.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
from rich.console import Console
from rich.table import Table

ONBOARDING: Final = [
    {"card_type": "company", "content": {"name": "Acme", "founded": 1947, "makes": ["anvils", "rockets"]}},
    {"card_type": "audience", "content": {"segment": "coyotes", "wants": "speed"}},
    {"card_type": "voice", "content": {"tone": "confident", "avoid": ["small print"]}},
    {"card_type": "insight", "content": {"text": "They order again after every fall.", "sure": True}},
]
METRICS: Final = (
    "cards_api_requests_total",
    "cards_api_request_duration_seconds_count",
    "card_usage_events_total",
    "cards_usage_write_duration_ms_count",
    "cards_idempotency_total",
    "cards_created_total",
)


class FlowError(Exception):
    """A step did not do what it should."""


def expect(condition: bool, complaint: str) -> None:
    """Raises FlowError with the complaint unless the condition holds."""
    if not condition:
        raise FlowError(complaint)


def answered(response: httpx.Response, status: int) -> Any:
    """The response's JSON. Raises FlowError unless its status is the expected one."""
    expect(response.status_code == status, f"expected {status}, got {response.status_code}: {response.text}")
    return response.json()


Show = Callable[[str, list[tuple[str, str]]], None]
"""Called with the title of a finished step and what it showed: names and values."""


def run(client: httpx.Client, show: Show) -> None:
    """Runs all steps. The client's tenant must have no cards yet. Raises FlowError."""
    key = {"Idempotency-Key": f"onboarding-{uuid4()}"}
    created = client.post("/api/v1/cards/batch", json={"cards": ONBOARDING, "created_by": "tour"}, headers=key)
    show("Onboarding creates a card of each type", list(_created(created)))

    ids = [card["card_id"] for card in created.json()["cards"]]
    retrieved = answered(client.post("/api/v1/cards/retrieve", json={"card_ids": ids[::-1]}), 200)
    show("A workflow retrieves them", list(_retrieved(retrieved, ids[::-1])))

    show("It tracks its use of each, one of them twice", list(_tracked(client, ids)))

    after = answered(client.post("/api/v1/cards/retrieve", json={"card_ids": ids}), 200)
    show("The counts went up", list(_counted(after, [2, 1, 1, 1])))

    metrics = client.get("/metrics")
    expect(metrics.status_code == 200, f"expected 200, got {metrics.status_code}")
    show("The metrics are exposed", list(_exposed(metrics.text)))

    replay = client.post("/api/v1/cards/batch", json={"cards": ONBOARDING, "created_by": "tour"}, headers=key)
    show("The first request again is a replay", list(_replayed(created, replay)))


def _created(response: httpx.Response) -> Iterator[tuple[str, str]]:
    answer = answered(response, 201)
    expect(answer["created_count"] == len(ONBOARDING), "not all cards are new")
    expect(response.headers.get("X-Idempotency-Cache") == "MISS", "the first request is no MISS")
    for sent, card in zip(ONBOARDING, answer["cards"], strict=True):
        expect((card["card_type"], card["content"]) == (sent["card_type"], sent["content"]), "a card differs")
        yield card["card_type"], card["card_id"]


def _retrieved(answer: Any, asked: list[str]) -> Iterator[tuple[str, str]]:
    expect([card["card_id"] for card in answer["cards"]] == asked, "the cards are not those asked for, in that order")
    expect(answer["missing_ids"] == [], "cards are missing")
    for card in answer["cards"]:
        expect(card["usage_count"] == 0, "a card was used before")
        yield card["card_type"], str(card["content"])


def _tracked(client: httpx.Client, ids: list[str]) -> Iterator[tuple[str, str]]:
    workflow = {"workflow_id": f"campaign-{uuid4()}", "workflow_type": "campaign"}
    for card_id, is_first in [*((card_id, True) for card_id in ids), (ids[0], False)]:
        response = client.post(f"/api/v1/cards/{card_id}/usage", json=workflow)
        answer = answered(response, 200)
        expect(answer["event_recorded"] is is_first, "an event is recorded once for a card and a workflow")
        expect(response.headers.get("X-Event-Recorded") == str(is_first).lower(), "the header says otherwise")
        yield card_id, "recorded" if is_first else "a repeat: counted, not recorded"


def _counted(answer: Any, counts: list[int]) -> Iterator[tuple[str, str]]:
    expect([card["usage_count"] for card in answer["cards"]] == counts, "the counts are wrong")
    for card in answer["cards"]:
        expect(card["last_used_at"] is not None, "a used card does not say when")
        yield card["card_type"], f"used {card['usage_count']}, last at {card['last_used_at']}"


def _exposed(text: str) -> Iterator[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    for name in METRICS:
        values = [float(line.rpartition(" ")[2]) for line in lines if line.partition(" ")[0].split("{")[0] == name]
        expect(sum(values) > 0, f"{name} has counted nothing")
        yield name, f"{sum(values):.0f}"


def _replayed(first: httpx.Response, replay: httpx.Response) -> Iterator[tuple[str, str]]:
    expect(replay.headers.get("X-Idempotency-Cache") == "HIT", "the replay is no HIT")
    expect((replay.status_code, replay.content) == (first.status_code, first.content), "the replay differs")
    yield "X-Idempotency-Cache", replay.headers["X-Idempotency-Cache"]
    yield "answer", f"status {replay.status_code} and the same {len(replay.content)} bytes"


def client_of(url: str, tenant_id: UUID, token: str | None = None) -> httpx.Client:
    """An HTTP client of a gateway, as a tenant; with a token, as the token's tenant."""
    headers = {"Authorization": f"Bearer {token}"} if token else {"X-Tenant-ID": str(tenant_id)}
    return httpx.Client(base_url=url, headers=headers, timeout=30)


def main() -> int:
    """The tour on the command line. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.flow", description="A tour of a running gateway.")
    parser.add_argument("--url", default="http://127.0.0.1:8002", help="where it is (default: %(default)s)")
    parser.add_argument(
        "--token", default=os.environ.get("CARDBASE_TOKEN"), help="bearer token of a tenant without cards"
    )
    arguments = parser.parse_args()
    console = Console()
    tenant_id = uuid4()
    done = 0

    def show(title: str, rows: list[tuple[str, str]]) -> None:
        nonlocal done
        done += 1
        table = Table(show_header=False, box=None, padding=(0, 2))
        for row in rows:
            table.add_row("", *row)
        console.print(f"[bold green]{done}[/] [bold]{title}[/]")
        console.print(table)

    console.print(f"{arguments.url}, as the new tenant {tenant_id}\n")
    try:
        with client_of(arguments.url, tenant_id, arguments.token) as client:
            run(client, show)
    except (FlowError, httpx.HTTPError) as error:
        console.print(f"[bold red]Step {done + 1} failed:[/] ", end="")
        console.print(str(error), markup=False)
        return 1
    console.print("\n[bold green]All six steps did what they should.[/]")
    return 0


if __name__ == "__main__":
    sys.exit(main())

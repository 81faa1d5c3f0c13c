"""What operators and tools request: information, metrics, the API description. Health is in test_health.py."""

import json
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import pytest
import schemathesis
from prometheus_client.parser import text_string_to_metric_families
from support import REPOSITORY, shapes
from support.gateways import Gateway, wait_until
from support.locks import Holder, waiting_for_locks
from support.servers import Database
from support.tokens import SECRET, key_pair

from gateway.routes import ROUTES

BATCH: Final = "/api/v1/cards/batch"
RETRIEVE: Final = "/api/v1/cards/retrieve"
USAGE: Final = "/api/v1/cards/{card_id}/usage"
CARDS: Final = {"cards": [{"card_type": "company", "content": {"name": "Acme"}}]}


def create(client: httpx.Client) -> str:
    """Creates a card and returns its id."""
    return str(client.post(BATCH, json=CARDS).json()["cards"][0]["card_id"])


# --- information ----------------------------------------------------------------------------------------------


def test_information_names_the_version_and_the_environment(
    shared_database: Database, make_gateway: Callable[..., Gateway]
) -> None:
    gateway = make_gateway(shared_database, ENVIRONMENT="staging")
    with gateway.client() as client:
        response = client.get("/api/v1/info")
    assert response.status_code == 200
    information = response.json()
    assert (information["api_version"], information["environment"]) == ("v1", "staging")
    resources = {route.path.split("/")[3] for route in ROUTES}
    others = {"usage", "idempotency", "rpc", "cache", "events", "tenant_header"}
    assert sorted(information["features_enabled"]) == sorted(resources | others)


@pytest.mark.parametrize(
    ("variables", "enabled"),
    [
        ({}, {"tenant_header"}),
        ({"JWT_SECRET_KEY": SECRET}, {"sign_in"}),
        ({"JWT_SECRET_KEY": SECRET, "SIGN_UP": "closed"}, {"sign_in"}),
        ({"JWT_SECRET_KEY": SECRET, "TRUST_TENANT_HEADER": "true"}, {"sign_in", "tenant_header"}),
        ({"JWT_ALGORITHM": "RS256", "JWT_PUBLIC_KEY": key_pair("RS256").public}, set()),
    ],
    ids=["no key", "key", "closed", "both", "public key"],
)
def test_information_says_how_callers_identify_themselves(
    shared_database: Database, make_gateway: Callable[..., Gateway], variables: dict[str, str], enabled: set[str]
) -> None:
    with make_gateway(shared_database, **variables).client() as client:
        features = client.get("/api/v1/info").json()["features_enabled"]
    assert {"sign_in", "tenant_header"} & set(features) == enabled


# --- connections ----------------------------------------------------------------------------------------------

POOL_MAX: Final = 8


def test_documents_say_how_many_connections_a_gateway_process_takes(
    database: Database, make_gateway: Callable[..., Gateway]
) -> None:
    """All of the pool's are in use, also those for reads over /rpc, more calls wait, and /health is requested."""
    figures = {
        name: re.findall(r"DATABASE_POOL_MAX`? \+ (\d+)\)", (REPOSITORY / "docs" / name).read_text())
        for name in ("operations.md", "runbook.md")
    }
    for kind in ("stable", "volatile"):
        database.execute(
            f"create function api.wait_{kind}() returns boolean language sql {kind}"
            " as 'select pg_advisory_xact_lock_shared(13) is null'",
            f"grant execute on function api.wait_{kind}() to cardbase_gateway",
        )
    gateway = make_gateway(
        DATABASE_URL=database.session_url("cardbase_gateway"),
        DATABASE_PREPARED_STATEMENTS="true",
        DATABASE_POOL_MAX=str(POOL_MAX),
        DATABASE_ACQUIRE_TIMEOUT_MS="60000",
        DATABASE_STATEMENT_TIMEOUT_MS="60000",
    )

    def call(number: int) -> int:
        with gateway.client(UUID(int=number)) as client:  # each is another tenant's, whose share is limited
            return client.request(
                *(("GET", "/rpc/wait_stable"), ("POST", "/rpc/wait_volatile"))[number % 2]
            ).status_code

    with ThreadPoolExecutor(2 * POOL_MAX) as pool, Holder(database, "select pg_advisory_xact_lock(13)") as holder:
        calls = pool.map(call, range(1, 2 * POOL_MAX + 1))
        wait_until(lambda: waiting_for_locks(database) == POOL_MAX)
        with gateway.client() as client:
            assert client.get("/health").json()["database"] == "connected"
        connections = "select count(*) from pg_stat_activity where datname = current_database() and usename = "
        taken = int(database.execute(connections + "'cardbase_gateway'"))
        holder.release()
        assert set(calls) == {200}
    assert figures == {name: [str(taken - POOL_MAX)] for name in figures}


# --- metrics --------------------------------------------------------------------------------------------------

Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def samples(client: httpx.Client) -> Samples:
    """All samples by name and labels."""
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def value(all_samples: Samples, name: str, **labels: str) -> float:
    return all_samples[name, frozenset(labels.items())]


def test_known_metrics_are_zero_before_anything_happened(
    shared_database: Database, make_gateway: Callable[..., Gateway]
) -> None:
    gateway = make_gateway(shared_database)
    with gateway.client() as client:
        found = samples(client)
    for result in ("hit", "miss", "reused", "in_progress"):
        assert value(found, "cards_idempotency_total", result=result) == 0
    for card_type in ("company", "audience", "voice", "insight"):
        assert value(found, "card_usage_events_total", card_type=card_type, workflow_type="none") == 0
        for result in ("created", "existing"):
            assert value(found, "cards_created_total", card_type=card_type, result=result) == 0
    assert value(found, "cards_usage_write_duration_ms_count") == 0
    assert value(found, "cards_database_pool_size") == 5
    assert value(found, "cards_database_pool_in_use") == 0
    assert value(found, "cards_database_pool_waiting") == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_metrics_count_what_was_done(
    shared_database: Database, make_gateway: Callable[..., Gateway], tenant_id: UUID, workers: str
) -> None:
    """Over all workers: each of them reports what any of them did."""
    gateway = make_gateway(shared_database, WORKERS=workers)
    kinds = ("company", "company", "voice")
    body = {"cards": [{"card_type": kind, "content": {"n": number}} for number, kind in enumerate(kinds)]}
    other = {"cards": body["cards"][:1]}
    key = {"Idempotency-Key": "k"}
    with gateway.client(tenant_id) as client:
        for headers in (key, key, {}):
            ids = [card["card_id"] for card in client.post(BATCH, json=body, headers=headers).json()["cards"]]
        assert client.post(BATCH, json=other, headers=key).status_code == 422
        path = USAGE.format(card_id=ids[0])
        for usage in (
            {"workflow_id": "w", "workflow_type": "email"},
            {"workflow_id": "w", "workflow_type": "email"},
            {},
        ):
            assert client.post(path, json=usage).status_code == 200
        assert client.post(USAGE.format(card_id=uuid4()), json={}).status_code == 404
        assert client.post(RETRIEVE, json={"card_ids": ids}).status_code == 200
        assert client.post("/nowhere").status_code == 404
        assert client.request("LINK", "/nowhere").status_code == 404
        found = samples(client)

    def requests(route: str, status: str) -> float:
        return value(found, "cards_api_requests_total", method="POST", route=route, status=status)

    assert (requests(BATCH, "201"), requests(BATCH, "200"), requests(BATCH, "422")) == (2, 1, 1)
    assert (requests(USAGE, "200"), requests(USAGE, "404"), requests(RETRIEVE, "200")) == (3, 1, 1)
    assert requests("none", "404") == 1
    for route, count in ((BATCH, 4), (USAGE, 4), (RETRIEVE, 1)):
        assert value(found, "cards_api_request_duration_seconds_count", method="POST", route=route) == count
    idempotency = {
        result: value(found, "cards_idempotency_total", result=result) for result in ("hit", "miss", "reused")
    }
    assert idempotency == {"hit": 1, "miss": 1, "reused": 1}
    created = {
        (kind, result): value(found, "cards_created_total", card_type=kind, result=result)
        for kind in ("company", "voice", "insight")
        for result in ("created", "existing")
    }
    # A replay creates nothing and finds nothing.
    assert created == {
        ("company", "created"): 2,
        ("company", "existing"): 2,
        ("voice", "created"): 1,
        ("voice", "existing"): 1,
        ("insight", "created"): 0,
        ("insight", "existing"): 0,
    }
    assert value(found, "card_usage_events_total", card_type="company", workflow_type="email") == 1
    assert value(found, "card_usage_events_total", card_type="company", workflow_type="none") == 1
    assert value(found, "cards_usage_write_duration_ms_count") == 4


def test_key_that_is_held_by_another_is_counted_as_in_progress(
    shared_database: Database, make_gateway: Callable[..., Gateway], tenant_id: UUID
) -> None:
    gateway = make_gateway(shared_database)
    create_one = f"""select from api.create_cards('{tenant_id}', '[{{"card_type": "voice", "content": {{}}}}]',
        idempotency_key => 'k')"""
    with gateway.client(tenant_id) as client, Holder(shared_database, create_one):
        assert client.post(BATCH, json=CARDS, headers={"Idempotency-Key": "k"}).status_code == 409
        assert value(samples(client), "cards_idempotency_total", result="in_progress") == 1


def test_labels_are_bounded_and_hold_no_ids(
    shared_database: Database, make_gateway: Callable[..., Gateway], tenant_id: UUID
) -> None:
    gateway = make_gateway(shared_database)
    with gateway.client(tenant_id) as client:
        path = USAGE.format(card_id=create(client))
        for number in range(110):
            client.post(path, json={"workflow_id": f"id {number}", "workflow_type": f"type {number}"})
        client.get(f"/made-up/{tenant_id}")
        client.post(USAGE.format(card_id="no-uuid"))
        found = samples(client)
    types = {dict(labels)["workflow_type"] for name, labels in found if name == "card_usage_events_total"}
    assert types == {"none", "other", *(f"type {number}" for number in range(100))}
    other = value(found, "card_usage_events_total", card_type="company", workflow_type="other")
    assert other == 10
    texts = {text for _, labels in found for _, text in labels}
    assert not [text for text in texts if re.search("made-up|no-uuid|id [0-9]", text) or text == shapes.UUID]


# --- the API's description ------------------------------------------------------------------------------------


@pytest.fixture
def document(gateway: Gateway) -> dict[str, Any]:
    with gateway.client() as client:
        response = client.get("/openapi.json")
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    described: dict[str, Any] = response.json()
    return described


def test_description_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    schemathesis.openapi.from_dict(document).validate()


def test_description_has_every_route_with_its_function_and_its_comment(document: dict[str, Any]) -> None:
    for route in ROUTES:
        operation = document["paths"][route.path][route.method.lower()]
        assert operation["operationId"] == route.function
        assert operation["summary"] not in ("", route.function.replace("_", " ")), route
        assert {str(status) for status in route.answers} <= set(operation["responses"]), route
        assert ("requestBody" in operation) is (route.body is not None), route
    assert {"/health", "/ready", "/api/v1/info"} <= set(document["paths"])


def test_description_points_nowhere_that_does_not_exist(document: dict[str, Any]) -> None:
    references = set(re.findall(r'"\$ref": ?"([^"]+)"', json.dumps(document)))
    assert references
    for reference in references:
        place: Any = document
        for part in reference.removeprefix("#/").split("/"):
            assert part in place, reference
            place = place[part]


def test_responses_are_as_described(document: dict[str, Any], client: httpx.Client) -> None:
    described = schemathesis.openapi.from_dict(document)
    created = client.post(BATCH, json=CARDS, headers={"Idempotency-Key": "k"})
    card_id = created.json()["cards"][0]["card_id"]
    responses = [
        (BATCH, created),
        (BATCH, client.post(BATCH, json=CARDS)),
        (BATCH, client.post(BATCH, content=b"{")),
        (BATCH, client.post(BATCH, json={"cards": []})),
        (USAGE, client.post(USAGE.format(card_id=card_id), json={"workflow_id": "w"})),
        (USAGE, client.post(USAGE.format(card_id=uuid4()))),
        (RETRIEVE, client.post(RETRIEVE, json={"card_ids": [card_id, str(uuid4())]})),
    ]
    assert [response.status_code for _, response in responses] == [201, 200, 400, 422, 200, 404, 200]
    for path, response in responses:
        described[path]["POST"].validate_response(response)


def test_documentation_page_needs_no_address_outside(client: httpx.Client) -> None:
    page = client.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "//" not in page.text
    needed = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    own = [address for address in needed if not address.startswith("data:")]
    assert len(own) == 3
    for address in own:
        assert address.startswith("/docs/")
        answer = client.get(address)
        assert answer.status_code == 200
        kind = {"css": "text/css", "js": "text/javascript"}[address.rpartition(".")[2]]
        assert answer.headers["content-type"].startswith(kind)
    assert "/openapi.json" in client.get("/docs/start.js").text
    # And the browser is told to ask nobody else.
    sources = re.split("[; ]+", page.headers["content-security-policy"])
    assert not [source for source in sources if "." in source or "*" in source or "http" in source]

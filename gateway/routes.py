"""The table: HTTP method and path → SQL function of schema api. Nothing else happens here.

A path segment, query parameter, header, body field or the caller's identity goes to the function's parameter of the
same name. Parameters that the gateway fills itself: tenant_id, user_id, idempotency_key (header Idempotency-Key),
idempotency_ttl_hours (setting), if_match (header If-Match).
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.schemas.cards import (
    Card,
    CardInput,
    CardPage,
    CreateCards,
    CreatedCard,
    CreatedCards,
    ListCards,
    ListUsage,
    RetrieveCards,
    RetrievedCards,
    TrackedUsage,
    TrackUsage,
    UpdateCard,
    UsagePage,
)


class Route(NamedTuple):
    """One line of the table."""

    method: str
    path: str
    function: str
    answers: Mapping[int, Any]
    """Shape of the answer by status; None: no body."""
    body: type | None = None
    """Shape of the request's body."""
    query: type | None = None
    """Shape of the query string."""
    takes: tuple[str, ...] = ()
    """Further parameters that the gateway fills: idempotency_key, if_match."""
    errors: tuple[str, ...] = ()
    """Error codes beyond those that every route has."""
    is_shared: bool = False
    """Whether short calls that wait may share a statement."""
    per_minute: int = 0
    """Requests of a tenant per minute, where RATE_LIMIT_PER_MINUTE is too many; 0: no limit of its own."""


IDEMPOTENT: Final = ("idempotency_key", "idempotency_ttl_hours")
IDEMPOTENCY_ERRORS: Final = ("IDEMPOTENCY_KEY_REUSED", "IDEMPOTENCY_IN_PROGRESS")

ROUTES: Final = (
    Route(
        "POST",
        "/api/v1/cards/batch",
        "create_cards",
        {201: CreatedCards, 200: CreatedCards},
        body=CreateCards,
        takes=IDEMPOTENT,
        errors=IDEMPOTENCY_ERRORS,
    ),
    Route(
        "POST",
        "/api/v1/cards/retrieve",
        "retrieve_cards",
        {200: RetrievedCards},
        body=RetrieveCards,
        is_shared=True,
    ),
    Route(
        "POST",
        "/api/v1/cards/{card_id}/usage",
        "track_usage",
        {200: TrackedUsage},
        body=TrackUsage,
        errors=("CARD_NOT_FOUND",),
        is_shared=True,
    ),
    Route(
        "GET",
        "/api/v1/cards/{card_id}/usage",
        "list_usage",
        {200: UsagePage},
        query=ListUsage,
        errors=("CARD_NOT_FOUND",),
    ),
    Route(
        "POST",
        "/api/v1/cards",
        "create_card",
        {201: CreatedCard, 200: CreatedCard},
        body=CardInput,
        takes=IDEMPOTENT,
        errors=IDEMPOTENCY_ERRORS,
    ),
    Route("GET", "/api/v1/cards", "list_cards", {200: CardPage}, query=ListCards),
    Route("GET", "/api/v1/cards/{card_id}", "get_card", {200: Card, 304: None}, errors=("CARD_NOT_FOUND",)),
    Route(
        "PATCH",
        "/api/v1/cards/{card_id}",
        "update_card",
        {200: Card},
        body=UpdateCard,
        takes=("if_match",),
        errors=("CARD_NOT_FOUND", "DUPLICATE_CARD", "PRECONDITION_FAILED", "CONFLICT"),
    ),
    Route(
        "DELETE",
        "/api/v1/cards/{card_id}",
        "delete_card",
        {204: None},
        takes=("if_match",),
        errors=("CARD_NOT_FOUND", "PRECONDITION_FAILED"),
    ),
)

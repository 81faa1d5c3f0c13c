"""Cards and their usage."""

from datetime import datetime
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Meta, Raw

CARD_TYPES: Final = ("company", "audience", "voice", "insight")
"""For the OpenAPI document, and for metrics that start at zero. What counts is app.card_types() in the database."""
CardType = Annotated[str, Meta(description="The card's type.", extra_json_schema={"enum": list(CARD_TYPES)})]
Content = Annotated[
    Raw,
    Meta(
        description="The card's document, a JSON object. Stored as sent; key order and white space don't matter.",
        extra_json_schema={"type": "object", "additionalProperties": True},
    ),
]
CreatedBy = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00]*$", description="Who created it.")]
SourceSessionId = Annotated[UUID, Meta(description="The onboarding session it comes from.")]
Time = Annotated[datetime, Meta(tz=True)]
ContentHash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 of the content's canonical text.")]


JSON_TEXT = Meta(
    extra={"json": True},
    extra_json_schema={"contentMediaType": "application/json", "contentSchema": {"type": "object"}},
)
"""A query parameter whose text is a JSON object."""
PageLimit = Annotated[int, Meta(ge=1, le=1000, description="Items on a page.")]
Cursor = Annotated[str, Meta(pattern="^[A-Za-z0-9_-]+$", description="next_cursor of the previous page.")]


def _nothing() -> Raw:
    """The default of a document that was left out: the same as null."""
    return Raw(b"null")


class CardInput(msgspec.Struct, omit_defaults=True):
    """A card to create."""

    card_type: CardType
    content: Content
    created_by: CreatedBy | None = None
    source_session_id: SourceSessionId | None = None


class CreateCards(msgspec.Struct):
    """A batch of cards to create; the batch's own fields are defaults for its cards."""

    cards: Annotated[list[CardInput], Meta(min_length=1, max_length=1000)]
    source_session_id: SourceSessionId | None = None
    created_by: CreatedBy | None = None


class UpdateCard(msgspec.Struct):
    """Changes to a card; fields left out stay as they are. Content is replaced as a whole."""

    content: Content = msgspec.field(default_factory=_nothing)
    source_session_id: SourceSessionId | None = None


class ListCards(msgspec.Struct):
    """Filters and page of a list of cards."""

    card_type: CardType | None = None
    source_session_id: Annotated[UUID, Meta(description="Only cards of this session.")] | None = None
    created_by: CreatedBy | None = None
    contains: Annotated[str, JSON_TEXT, Meta(description="Only cards whose content contains this.")] | None = None
    include_deleted: Annotated[bool, Meta(description="Include deleted cards.")] = False
    limit: PageLimit = 50
    cursor: Cursor | None = None
    count: Annotated[Literal["exact"], Meta(description="Return the total, too.")] | None = None


class ListUsage(msgspec.Struct):
    """Page of a list of usage events."""

    limit: PageLimit = 50
    cursor: Cursor | None = None


class RetrieveCards(msgspec.Struct):
    """Ids of the cards to return."""

    card_ids: Annotated[list[UUID], Meta(min_length=1, max_length=1000)]


class TrackUsage(msgspec.Struct):
    """One use of a card. With a workflow_id, one event is recorded per card and workflow."""

    workflow_id: Annotated[str, Meta(max_length=255, pattern=r"^[^\x00]*$")] | None = None
    workflow_type: Annotated[str, Meta(max_length=100, pattern=r"^[^\x00]*$")] | None = None
    session_id: Annotated[str, Meta(max_length=255, pattern=r"^[^\x00]*$")] | None = None


class Card(msgspec.Struct):
    """A card as it is stored."""

    card_id: UUID
    card_type: CardType
    content: Content
    content_hash: ContentHash
    source_session_id: UUID | None
    created_by: CreatedBy
    created_at: Time
    updated_at: Time
    is_active: bool
    deleted_at: Time | None
    usage_count: Annotated[int, Meta(ge=0)]
    last_used_at: Time | None


class CreatedCard(Card):
    """A card, and whether this request created it."""

    created: bool


class CreatedCards(msgspec.Struct):
    """The cards in the order sent. The counts count entries."""

    cards: list[CreatedCard]
    created_count: Annotated[int, Meta(ge=0)]
    existing_count: Annotated[int, Meta(ge=0)]


class RetrievedCards(msgspec.Struct):
    """The cards found, in the requested order, each once, and the ids of those not found."""

    cards: list[Card]
    missing_ids: list[UUID]


class CardPage(msgspec.Struct):
    """Cards, newest first. next_cursor is null on the last page; total is present with count=exact."""

    cards: list[Card]
    next_cursor: str | None
    total: Annotated[int, Meta(ge=0)] | msgspec.UnsetType = msgspec.UNSET


class UsageEvent(msgspec.Struct):
    """A recorded use of a card."""

    usage_id: UUID
    workflow_id: str | None
    workflow_type: str | None
    session_id: str | None
    used_at: Time


class UsagePage(msgspec.Struct):
    """Usage events, newest first. next_cursor is null on the last page."""

    events: list[UsageEvent]
    next_cursor: str | None


class TrackedUsage(msgspec.Struct):
    """A card's count after this use, and whether an event was recorded."""

    card_id: UUID
    usage_count: Annotated[int, Meta(ge=1)]
    last_used_at: Time
    event_recorded: bool

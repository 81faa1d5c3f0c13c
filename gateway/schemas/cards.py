"""Cards and their usage."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from msgspec import Meta, Raw

CardType = Annotated[
    str,
    Meta(description="Kind of the card.", extra_json_schema={"enum": ["company", "audience", "voice", "insight"]}),
]
Content = Annotated[
    Raw,
    Meta(
        description="The card's document, a JSON object. Stored as sent; key order and white space don't matter.",
        extra_json_schema={"type": "object", "additionalProperties": True},
    ),
]
CreatedBy = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00]*$", description="Who made it.")]
SourceSessionId = Annotated[UUID, Meta(description="The onboarding session it comes from.")]
ContentHash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="SHA-256 of the content's canonical text.")]


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


class RetrieveCards(msgspec.Struct):
    """Ids of the cards to get."""

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
    created_at: datetime
    updated_at: datetime
    is_active: bool
    deleted_at: datetime | None
    usage_count: Annotated[int, Meta(ge=0)]
    last_used_at: datetime | None


class CreatedCard(Card):
    """A card, and whether this request created it."""

    created: bool


class CreatedCards(msgspec.Struct):
    """The cards in the order sent. The counts count entries."""

    cards: list[CreatedCard]
    created_count: Annotated[int, Meta(ge=0)]
    existing_count: Annotated[int, Meta(ge=0)]


class RetrievedCards(msgspec.Struct):
    """The cards found, in the order asked, each once, and the ids of those that are not there."""

    cards: list[Card]
    missing_ids: list[UUID]


class TrackedUsage(msgspec.Struct):
    """A card's count after this use, and whether an event was recorded."""

    card_id: UUID
    usage_count: Annotated[int, Meta(ge=1)]
    last_used_at: datetime
    event_recorded: bool

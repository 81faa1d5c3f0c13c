"""Live events."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.schemas.cards import Time


class FollowEvents(msgspec.Struct):
    """Which events, and where to start."""

    types: (
        Annotated[
            str,
            Meta(
                pattern="^(cards|memories|messages|tasks|jobs)(,(cards|memories|messages|tasks|jobs))*$",
                max_length=100,
                description="Only of these, separated by commas: cards, memories, messages, tasks, jobs.",
            ),
        ]
        | None
    ) = None
    last_event_id: (
        Annotated[
            str,
            Meta(
                max_length=100,
                description="Continue after this event. The header Last-Event-ID takes precedence. Default: now.",
            ),
        ]
        | None
    ) = None


class Event(msgspec.Struct):
    """What happened to a row, without its content: the data of a server-sent event."""

    type: Annotated[str, Meta(description="Such as card.created, task.updated, message.deleted or job.completed.")]
    resource_id: Annotated[UUID, Meta(description="The row it happened to.")]
    created_at: Time
    data: Annotated[dict[str, Any], Meta(description="Ids and states of the row, such as a task's status.")]

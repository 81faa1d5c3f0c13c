"""Search over memories, messages, tasks and cards."""

from typing import Annotated, Literal
from uuid import UUID

import msgspec
from msgspec import Meta

from gateway.schemas.cards import Time

SearchMode = Annotated[
    Literal["text", "hybrid"],
    Meta(description="text: by words and names. hybrid: memories also by similarity of meaning."),
]
MatchType = Literal["memory", "message", "task", "card"]


class Search(msgspec.Struct):
    """What to search for, and where."""

    q: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=500,
            pattern=r"^[^\x00]*[^\x00\s][^\x00]*$",
            description='Words that must all occur; "phrases"; or between alternatives; -words that must not occur.',
        ),
    ]
    types: (
        Annotated[
            str,
            Meta(
                pattern="^[a-z]+(,[a-z]+)*$",
                max_length=100,
                description="Only these, separated by commas: memories, messages, tasks, cards.",
            ),
        ]
        | None
    ) = None
    limit: Annotated[int, Meta(ge=1, le=100, description="Maximum number of matches.")] = 20
    mode: SearchMode = "text"


class Match(msgspec.Struct):
    """A match: where in the text, and how good it is."""

    type: MatchType
    id: UUID
    title: Annotated[str | None, Meta(description="A task's title, a card's name; null where there is none.")]
    snippet: Annotated[str, Meta(description="The matching part of the text, as plain text.")]
    highlight: Annotated[
        str, Meta(description="The same as HTML: matching words are marked, everything else is escaped.")
    ]
    rank: Annotated[float, Meta(description="The best first. Ranks are comparable only within one response.")]
    created_at: Time


class SearchMeta(msgspec.Struct):
    """How the search was done."""

    mode: SearchMode
    types: list[Literal["memories", "messages", "tasks", "cards"]]
    limit: Annotated[int, Meta(ge=1)]
    count: Annotated[int, Meta(ge=0, description="Matches in this response.")]


class Matches(msgspec.Struct):
    """Matches, the best first."""

    success: Literal[True]
    data: list[Match]
    meta: SearchMeta

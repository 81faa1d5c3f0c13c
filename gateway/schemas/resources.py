"""The core resources: their envelope, their pages, and what a user owns."""

from typing import Annotated, Generic, Literal, TypeVar
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from gateway.schemas.cards import Time

Shape = TypeVar("Shape")

NO_NUL = r"^[^\x00]*$"
Metadata = Annotated[
    Raw,
    Meta(description="A JSON object.", extra_json_schema={"type": "object", "additionalProperties": True}),
]
LongText = Annotated[str, Meta(min_length=1, max_length=100_000, pattern=NO_NUL)]
Title = Annotated[str, Meta(min_length=1, max_length=500, pattern=NO_NUL)]
MemoryType = Annotated[str, Meta(min_length=1, max_length=50, pattern=NO_NUL, description="Kind of memory.")]
Role = Literal["user", "assistant", "system", "tool"]
TaskStatus = Literal["pending", "in_progress", "completed", "cancelled"]
Priority = Literal["low", "medium", "high", "urgent"]
Description = Annotated[str, Meta(min_length=1, max_length=20_000, pattern=NO_NUL)]
Provider = Annotated[str, Meta(min_length=1, max_length=100, pattern=NO_NUL, description="Name of the other service.")]
SearchText = Annotated[str, Meta(max_length=1000, pattern=NO_NUL, description="Only those that contain this text.")]


class Success(msgspec.Struct, Generic[Shape]):
    """A successful response."""

    success: Literal[True]
    data: Shape
    meta: None


class PageMeta(msgspec.Struct):
    """Which page this is, and how many there are."""

    page: Annotated[int, Meta(ge=1)]
    per_page: Annotated[int, Meta(ge=1)]
    total: Annotated[int, Meta(ge=0)]
    total_pages: Annotated[int, Meta(ge=0)]


class Page(msgspec.Struct, Generic[Shape]):
    """A page of a list."""

    success: Literal[True]
    data: list[Shape]
    meta: PageMeta


class PageQuery(msgspec.Struct):
    """Which page of a list. per_page: items on a page; DEFAULT_PAGE_SIZE if left out, at most MAX_PAGE_SIZE."""

    page: Annotated[int, Meta(ge=1, le=2_147_483_647)] = 1
    per_page: Annotated[int, Meta(ge=1)] | None = None


class Memory(msgspec.Struct):
    """What an assistant remembers for a user."""

    id: UUID
    content: LongText
    memory_type: MemoryType
    metadata: Metadata
    created_at: Time
    updated_at: Time


class CreateMemory(msgspec.Struct):
    """A memory to store."""

    content: LongText
    memory_type: MemoryType | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class UpdateMemory(msgspec.Struct):
    """Changes to a memory; fields left out stay as they are."""

    content: LongText | UnsetType = UNSET
    memory_type: MemoryType | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class ListMemories(PageQuery):
    """Filters and page of a list of memories."""

    memory_type: MemoryType | None = None
    q: SearchText | None = None


class Conversation(msgspec.Struct):
    """A conversation of a user with an assistant."""

    id: UUID
    title: Title | None
    metadata: Metadata
    message_count: Annotated[int, Meta(ge=0, description="Messages ever added.")]
    last_message_at: Time | None
    created_at: Time
    updated_at: Time


class CreateConversation(msgspec.Struct):
    """A conversation to start."""

    title: Title | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET


class UpdateConversation(msgspec.Struct):
    """Changes to a conversation; fields left out stay as they are, null clears a field."""

    title: Title | UnsetType | None = UNSET
    metadata: Metadata | UnsetType = UNSET


class ListConversations(PageQuery):
    """Filters and page of a list of conversations."""

    q: SearchText | None = None


class Message(msgspec.Struct):
    """A message of a conversation."""

    id: UUID
    conversation_id: UUID
    position: Annotated[int, Meta(ge=1, description="Number of the message in its conversation.")]
    role: Role
    content: LongText
    metadata: Metadata
    created_at: Time
    updated_at: Time


class MessageInput(msgspec.Struct, omit_defaults=True):
    """A message to add."""

    role: Role
    content: LongText
    metadata: Metadata | UnsetType = UNSET


class CreateMessages(msgspec.Struct):
    """Either messages, 1 to 1,000 in order; or role, content and metadata of a single one."""

    messages: Annotated[list[MessageInput], Meta(min_length=1, max_length=1000)] | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    content: LongText | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class UpdateMessage(msgspec.Struct):
    """Changes to a message; fields left out stay as they are."""

    content: LongText | UnsetType = UNSET
    metadata: Metadata | UnsetType = UNSET


class ListMessages(PageQuery):
    """Filter, order and page of a list of messages."""

    role: Role | None = None
    order: Annotated[Literal["asc", "desc"], Meta(description="desc: the latest message first.")] = "asc"


class Task(msgspec.Struct):
    """A task of a user."""

    id: UUID
    title: Title
    description: Description | None
    status: TaskStatus
    priority: Priority
    due_at: Time | None
    created_at: Time
    updated_at: Time


class CreateTask(msgspec.Struct):
    """A task to create."""

    title: Title
    description: Description | UnsetType | None = UNSET
    status: TaskStatus | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    due_at: Time | UnsetType | None = UNSET


class UpdateTask(msgspec.Struct):
    """Changes to a task; fields left out stay as they are, null clears a field."""

    title: Title | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    status: TaskStatus | UnsetType = UNSET
    priority: Priority | UnsetType = UNSET
    due_at: Time | UnsetType | None = UNSET


class ListTasks(PageQuery):
    """Filters and page of a list of tasks."""

    status: TaskStatus | None = None
    priority: Priority | None = None


ProviderSettings = Annotated[
    dict[Annotated[str, Meta(min_length=1, max_length=100, pattern=NO_NUL)], Raw],
    Meta(max_length=100, description="Settings and secrets. They are stored encrypted, and never returned."),
]


class Integration(msgspec.Struct):
    """A user's account at another service. Only the names of its settings are returned."""

    id: UUID
    provider: Provider
    setting_names: list[str]
    sync_status: Annotated[
        Literal["succeeded", "failed"] | None,
        Meta(description="Outcome of the last sync_integration job; null if there was none."),
    ]
    sync_error: Annotated[str | None, Meta(description="Why it failed.")]
    last_synced_at: Annotated[Time | None, Meta(description="When such a job last succeeded.")]
    created_at: Time
    updated_at: Time


class CreateIntegration(msgspec.Struct):
    """An account at another service."""

    provider: Provider
    settings: ProviderSettings


class UpdateIntegration(msgspec.Struct):
    """Changes to an integration; fields left out stay as they are. Settings are replaced as a whole."""

    provider: Provider | UnsetType = UNSET
    settings: ProviderSettings | UnsetType = UNSET


class ListIntegrations(PageQuery):
    """Filter and page of a list of integrations."""

    provider: Provider | None = None

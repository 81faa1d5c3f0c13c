"""The table: HTTP method and path → SQL function of schema api. Nothing else happens here.

A path segment, query parameter, header, body field or the caller's identity goes to the function's parameter of the
same name. Parameters that the gateway fills itself: tenant_id, user_id, idempotency_key (header Idempotency-Key),
idempotency_ttl_hours (setting), if_match (header If-Match), cleared_fields (the body's fields that are null).
"""

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

from gateway.database.pool import HEAVY, LIGHT, Sharing
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
from gateway.schemas.events import Event, FollowEvents
from gateway.schemas.jobs import EnqueuedJob, EnqueueJob, EnqueueTestJob, Job, ListJobs
from gateway.schemas.people import (
    FoundUser,
    Login,
    Logout,
    Preferences,
    Refresh,
    Register,
    SearchUsers,
    SignedIn,
    UpdatePreferences,
    UpdateUser,
    User,
)
from gateway.schemas.resources import (
    Conversation,
    CreateConversation,
    CreateIntegration,
    CreateMemory,
    CreateMessages,
    CreateTask,
    Integration,
    ListConversations,
    ListIntegrations,
    ListMemories,
    ListMessages,
    ListTasks,
    Memory,
    Message,
    Page,
    Success,
    Task,
    UpdateConversation,
    UpdateIntegration,
    UpdateMemory,
    UpdateMessage,
    UpdateTask,
)
from gateway.schemas.search import Matches, Search


class Source(NamedTuple):
    """The rows that an answer is made of, and nothing else: those of a table that are the user's, or the tenant's.

    Changes of the table are announced by the trigger app.announce_change.
    """

    table: str
    owner: Literal["user", "tenant"]


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
    """Further parameters that the gateway fills. With user_id the route is for users."""
    is_for_tenants: bool = False
    """Whether it is also for callers who are no user: then user_id is null."""
    errors: tuple[str, ...] = ()
    """Error codes beyond those that every route has."""
    sharing: Sharing | None = None
    """How short calls that wait share statements. None: they don't."""
    is_read_only: bool = False
    """Whether the function changes nothing."""
    is_search: bool = False
    """Whether SEARCH_RATE_LIMIT_PER_MINUTE holds here, too."""
    handler: str = ""
    """Answers in place of the plain call: for what the database must not see, such as a password."""
    cached: Source | None = None
    """Answers are kept until these rows change. The function must be STABLE, and for users."""


IDEMPOTENT: Final = ("idempotency_key", "idempotency_ttl_hours")
IDEMPOTENCY_ERRORS: Final = ("IDEMPOTENCY_KEY_REUSED", "IDEMPOTENCY_IN_PROGRESS")
USER: Final = ("user_id",)
USER_UPDATE: Final = ("user_id", "cleared_fields")

CARDS: Final = (
    Route(
        "POST",
        "/api/v1/cards/batch",
        "create_cards",
        {201: CreatedCards, 200: CreatedCards},
        body=CreateCards,
        takes=IDEMPOTENT,
        errors=IDEMPOTENCY_ERRORS,
        sharing=HEAVY,
    ),
    Route(
        "POST",
        "/api/v1/cards/retrieve",
        "retrieve_cards",
        {200: RetrievedCards},
        body=RetrieveCards,
        sharing=LIGHT,
        is_read_only=True,
    ),
    Route(
        "POST",
        "/api/v1/cards/{card_id}/usage",
        "track_usage",
        {200: TrackedUsage},
        body=TrackUsage,
        errors=("CARD_NOT_FOUND",),
        sharing=LIGHT,
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
        sharing=HEAVY,
    ),
    Route("GET", "/api/v1/cards", "list_cards", {200: CardPage}, query=ListCards),
    Route(
        "GET",
        "/api/v1/cards/{card_id}",
        "get_card",
        {200: Card, 304: None},
        errors=("CARD_NOT_FOUND",),
        sharing=LIGHT,
        is_read_only=True,
    ),
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

SIGN_IN: Final = (
    Route(
        "POST",
        "/api/v1/auth/register",
        "register_user",
        {201: Success[SignedIn]},
        body=Register,
        errors=("CONFLICT", "FORBIDDEN", "SIGN_IN_NOT_CONFIGURED"),
        handler="register",
    ),
    Route(
        "POST",
        "/api/v1/auth/login",
        "start_session",
        {200: Success[SignedIn]},
        body=Login,
        errors=("SIGN_IN_NOT_CONFIGURED",),
        handler="login",
    ),
    Route(
        "POST",
        "/api/v1/auth/refresh",
        "refresh_session",
        {200: Success[SignedIn]},
        body=Refresh,
        errors=("SIGN_IN_NOT_CONFIGURED",),
        handler="refresh",
    ),
    Route("POST", "/api/v1/auth/logout", "end_session", {204: None}, body=Logout, handler="logout"),
)

USERS: Final = (
    Route(
        "GET",
        "/api/v1/users/me",
        "get_user",
        {200: Success[User]},
        takes=USER,
        errors=("USER_NOT_FOUND",),
        cached=Source("users", "user"),
    ),
    Route(
        "PATCH",
        "/api/v1/users/me",
        "update_user",
        {200: Success[User]},
        body=UpdateUser,
        takes=USER_UPDATE,
        errors=("USER_NOT_FOUND",),
    ),
    Route(
        "GET",
        "/api/v1/users/me/preferences",
        "get_preferences",
        {200: Success[Preferences]},
        takes=USER,
        cached=Source("user_preferences", "user"),
    ),
    Route(
        "PATCH",
        "/api/v1/users/me/preferences",
        "update_preferences",
        {200: Success[Preferences]},
        body=UpdatePreferences,
        takes=USER,
    ),
    Route(
        "GET",
        "/api/v1/users/search",
        "search_users",
        {200: Success[list[FoundUser]]},
        query=SearchUsers,
        takes=USER,
        is_search=True,
        cached=Source("users", "tenant"),
    ),
)

MEMORIES: Final = (
    Route("POST", "/api/v1/memories", "create_memory", {201: Success[Memory]}, body=CreateMemory, takes=USER),
    Route("GET", "/api/v1/memories", "list_memories", {200: Page[Memory]}, query=ListMemories, takes=USER),
    Route(
        "GET", "/api/v1/memories/{id}", "get_memory", {200: Success[Memory]}, takes=USER, errors=("MEMORY_NOT_FOUND",)
    ),
    Route(
        "PATCH",
        "/api/v1/memories/{id}",
        "update_memory",
        {200: Success[Memory]},
        body=UpdateMemory,
        takes=USER,
        errors=("MEMORY_NOT_FOUND",),
    ),
    Route("DELETE", "/api/v1/memories/{id}", "delete_memory", {204: None}, takes=USER, errors=("MEMORY_NOT_FOUND",)),
)

CONVERSATIONS: Final = (
    Route(
        "POST",
        "/api/v1/conversations",
        "create_conversation",
        {201: Success[Conversation]},
        body=CreateConversation,
        takes=USER,
    ),
    Route(
        "GET",
        "/api/v1/conversations",
        "list_conversations",
        {200: Page[Conversation]},
        query=ListConversations,
        takes=USER,
    ),
    Route(
        "GET",
        "/api/v1/conversations/{id}",
        "get_conversation",
        {200: Success[Conversation]},
        takes=USER,
        errors=("CONVERSATION_NOT_FOUND",),
    ),
    Route(
        "PATCH",
        "/api/v1/conversations/{id}",
        "update_conversation",
        {200: Success[Conversation]},
        body=UpdateConversation,
        takes=USER_UPDATE,
        errors=("CONVERSATION_NOT_FOUND",),
    ),
    Route(
        "DELETE",
        "/api/v1/conversations/{id}",
        "delete_conversation",
        {204: None},
        takes=USER,
        errors=("CONVERSATION_NOT_FOUND",),
    ),
    Route(
        "POST",
        "/api/v1/conversations/{conversation_id}/messages",
        "create_messages",
        {201: Success[Message | list[Message]]},
        body=CreateMessages,
        takes=(*USER, *IDEMPOTENT),
        errors=("CONVERSATION_NOT_FOUND", *IDEMPOTENCY_ERRORS),
    ),
    Route(
        "GET",
        "/api/v1/conversations/{conversation_id}/messages",
        "list_messages",
        {200: Page[Message]},
        query=ListMessages,
        takes=USER,
        errors=("CONVERSATION_NOT_FOUND",),
    ),
    Route(
        "GET",
        "/api/v1/messages/{id}",
        "get_message",
        {200: Success[Message]},
        takes=USER,
        errors=("MESSAGE_NOT_FOUND",),
    ),
    Route(
        "PATCH",
        "/api/v1/messages/{id}",
        "update_message",
        {200: Success[Message]},
        body=UpdateMessage,
        takes=USER,
        errors=("MESSAGE_NOT_FOUND",),
    ),
    Route("DELETE", "/api/v1/messages/{id}", "delete_message", {204: None}, takes=USER, errors=("MESSAGE_NOT_FOUND",)),
)

TASKS: Final = (
    Route("POST", "/api/v1/tasks", "create_task", {201: Success[Task]}, body=CreateTask, takes=USER),
    Route("GET", "/api/v1/tasks", "list_tasks", {200: Page[Task]}, query=ListTasks, takes=USER),
    Route("GET", "/api/v1/tasks/{id}", "get_task", {200: Success[Task]}, takes=USER, errors=("TASK_NOT_FOUND",)),
    Route(
        "PATCH",
        "/api/v1/tasks/{id}",
        "update_task",
        {200: Success[Task]},
        body=UpdateTask,
        takes=USER_UPDATE,
        errors=("TASK_NOT_FOUND",),
    ),
    Route("DELETE", "/api/v1/tasks/{id}", "delete_task", {204: None}, takes=USER, errors=("TASK_NOT_FOUND",)),
)

INTEGRATIONS: Final = (
    Route(
        "POST",
        "/api/v1/integrations",
        "create_integration",
        {201: Success[Integration]},
        body=CreateIntegration,
        takes=USER,
        errors=("ENCRYPTION_NOT_CONFIGURED",),
        handler="create_integration",
    ),
    Route(
        "GET", "/api/v1/integrations", "list_integrations", {200: Page[Integration]}, query=ListIntegrations, takes=USER
    ),
    Route(
        "GET",
        "/api/v1/integrations/{id}",
        "get_integration",
        {200: Success[Integration]},
        takes=USER,
        errors=("INTEGRATION_NOT_FOUND",),
    ),
    Route(
        "PATCH",
        "/api/v1/integrations/{id}",
        "update_integration",
        {200: Success[Integration]},
        body=UpdateIntegration,
        takes=USER,
        errors=("INTEGRATION_NOT_FOUND", "ENCRYPTION_NOT_CONFIGURED"),
        handler="update_integration",
    ),
    Route(
        "DELETE",
        "/api/v1/integrations/{id}",
        "delete_integration",
        {204: None},
        takes=USER,
        errors=("INTEGRATION_NOT_FOUND",),
    ),
)

JOBS: Final = (
    Route(
        "POST",
        "/api/v1/jobs",
        "enqueue_job",
        {202: Success[EnqueuedJob]},
        body=EnqueueJob,
        takes=(*USER, *IDEMPOTENT),
        is_for_tenants=True,
        errors=IDEMPOTENCY_ERRORS,
    ),
    Route(
        "POST",
        "/api/v1/jobs/test",
        "enqueue_test_job",
        {202: Success[EnqueuedJob]},
        body=EnqueueTestJob,
        takes=(*USER, *IDEMPOTENT),
        is_for_tenants=True,
        errors=IDEMPOTENCY_ERRORS,
    ),
    Route(
        "GET", "/api/v1/jobs", "list_jobs", {200: Success[list[Job]]}, query=ListJobs, takes=USER, is_for_tenants=True
    ),
    Route(
        "GET",
        "/api/v1/jobs/{id}",
        "get_job",
        {200: Success[Job]},
        takes=USER,
        is_for_tenants=True,
        errors=("JOB_NOT_FOUND",),
    ),
    Route(
        "POST",
        "/api/v1/jobs/{id}/cancel",
        "cancel_job",
        {200: Success[Job]},
        takes=USER,
        is_for_tenants=True,
        errors=("JOB_NOT_FOUND", "CONFLICT"),
    ),
)

SEARCH: Final = (
    Route(
        "GET",
        "/api/v1/search",
        "search",
        {200: Matches},
        query=Search,
        takes=USER,
        errors=("EMBEDDINGS_NOT_CONFIGURED",),
        is_search=True,
        handler="search",
    ),
)

ROUTES: Final = (*CARDS, *SIGN_IN, *USERS, *MEMORIES, *CONVERSATIONS, *TASKS, *INTEGRATIONS, *JOBS, *SEARCH)

EVENTS: Final = Route(
    "GET",
    "/api/v1/events",
    "read_events",
    {200: Event},
    query=FollowEvents,
    takes=USER,
    errors=("TOO_MANY_STREAMS",),
)
"""Not of the table: gateway/events/endpoint.py answers it, with as many calls as it takes."""

"""The table: HTTP method and path → SQL function of schema api. Nothing else happens here.

A path segment, query parameter or body field becomes the function's parameter of the same name. The gateway itself
injects tenant_id, user_id, idempotency_key (header Idempotency-Key), idempotency_ttl_hours (setting), if_match (header
If-Match) and cleared_fields (the body's fields that are null).

gateway/endpoint.py serves these routes; gateway/statements.py writes the SQL text of each.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Literal, NamedTuple

from gateway.database.statement import HEAVY_BATCH, LIGHT_BATCH, BatchPolicy
from gateway.schemas import cards, events, jobs, people, resources, search
from gateway.schemas.resources import Page, Success


class Source(NamedTuple):
    """The rows that a cached response depends on, and on nothing else: a user's or a tenant's rows of one table.

    The trigger app.announce_change announces changes of the table.
    """

    table: str
    owner: Literal["user", "tenant"]


class Route(NamedTuple):
    """One line of the table."""

    method: str
    path: str
    function: str
    answers: Mapping[int, Any]
    """Shape of the response by status; None: no body."""
    body: type | None = None
    """Shape of the request's body."""
    maximum_bytes: int | None = None
    """Of a body; None: MAX_BODY_BYTES."""
    query: type | None = None
    """Shape of the query string."""
    injected_parameters: tuple[str, ...] = ()
    """Parameters that the gateway injects. With user_id the route is for users."""
    is_for_tenants: bool = False
    """Whether callers without a user may call it, too: user_id is null then."""
    own_errors: tuple[str, ...] = ()
    """Error codes besides those of every route and of the injected parameters."""
    batch_policy: BatchPolicy | None = None
    """How calls are batched. None: each call runs alone."""
    is_read_only: bool = False
    """Whether the function changes nothing: a batch of its calls may run twice."""
    is_search: bool = False
    """Whether SEARCH_RATE_LIMIT_PER_MINUTE applies, too."""
    handler: str = ""
    """Runs instead of the plain call, for what the database must not see, such as a password."""
    cached: Source | None = None
    """The response is cached until these rows change. The function must be STABLE, and for users."""

    @property
    def is_for_users(self) -> bool:
        """Whether only users may call it."""
        return "user_id" in self.injected_parameters and not self.is_for_tenants

    @property
    def errors(self) -> tuple[str, ...]:
        """Error codes besides those of every route."""
        idempotency = IDEMPOTENCY_ERRORS if "idempotency_key" in self.injected_parameters else ()
        precondition = ("PRECONDITION_FAILED",) if "if_match" in self.injected_parameters else ()
        return (*self.own_errors, *precondition, *idempotency)


Options = dict[str, Any]
"""Fields that several routes share."""

get, post, patch, delete = (partial(Route, method) for method in ("GET", "POST", "PATCH", "DELETE"))

IDEMPOTENCY_ERRORS: Final = ("IDEMPOTENCY_KEY_REUSED", "IDEMPOTENCY_IN_PROGRESS")
IDEMPOTENT: Final[Options] = {"injected_parameters": ("idempotency_key", "idempotency_ttl_hours")}
MATCHED: Final[Options] = {"injected_parameters": ("if_match",)}
USER: Final[Options] = {"injected_parameters": ("user_id",)}
USER_CLEARING: Final[Options] = {"injected_parameters": ("user_id", "cleared_fields")}
USER_IDEMPOTENT: Final[Options] = {"injected_parameters": ("user_id", "idempotency_key", "idempotency_ttl_hours")}


def missing(resource: str) -> Options:
    """The error of a route whose resource may not exist."""
    return {"own_errors": (f"{resource.upper()}_NOT_FOUND",)}


def crud(
    path: str,
    shape: type,
    create: type,
    update: type,
    query: type,
    *,
    clears: bool = False,
    handled_errors: tuple[str, ...] = (),
) -> tuple[Route, ...]:
    """The five routes of a resource that belongs to users, named by its shape, and by its path in the plural.

    clears           whether a null in an update clears the field
    handled_errors   further errors of the routes that write; their handlers are named like the functions
    """
    one, plural, resource = f"{path}/{{id}}", path.rpartition("/")[2], shape.__name__.lower()
    success, page = Success[shape], Page[shape]  # type: ignore[valid-type]
    changing = USER_CLEARING if clears else USER
    not_found = missing(resource)["own_errors"]
    routes = (
        post(path, f"create_{resource}", {201: success}, create, **USER, own_errors=handled_errors),
        get(path, f"list_{plural}", {200: page}, query=query, **USER),
        get(one, f"get_{resource}", {200: success}, **USER, own_errors=not_found),
        patch(one, f"update_{resource}", {200: success}, update, **changing, own_errors=(*not_found, *handled_errors)),
        delete(one, f"delete_{resource}", {204: None}, **USER, own_errors=not_found),
    )
    if handled_errors:
        return tuple(each._replace(handler=each.function) if each.body else each for each in routes)
    return routes


CARD: Final = "/api/v1/cards/{card_id}"
CARDS: Final = (
    post(
        "/api/v1/cards/batch",
        "create_cards",
        {201: cards.CreatedCards, 200: cards.CreatedCards},
        cards.CreateCards,
        **IDEMPOTENT,
        batch_policy=HEAVY_BATCH,
    ),
    post(
        "/api/v1/cards/retrieve",
        "retrieve_cards",
        {200: cards.RetrievedCards},
        cards.RetrieveCards,
        batch_policy=LIGHT_BATCH,
        is_read_only=True,
    ),
    post(
        f"{CARD}/usage",
        "track_usage",
        {200: cards.TrackedUsage},
        cards.TrackUsage,
        **missing("card"),
        batch_policy=LIGHT_BATCH,
    ),
    get(f"{CARD}/usage", "list_usage", {200: cards.UsagePage}, query=cards.ListUsage, **missing("card")),
    post(
        "/api/v1/cards",
        "create_card",
        {201: cards.CreatedCard, 200: cards.CreatedCard},
        cards.CardInput,
        **IDEMPOTENT,
        batch_policy=HEAVY_BATCH,
    ),
    get("/api/v1/cards", "list_cards", {200: cards.CardPage}, query=cards.ListCards),
    get(CARD, "get_card", {200: cards.Card, 304: None}, **missing("card"), batch_policy=LIGHT_BATCH, is_read_only=True),
    patch(
        CARD,
        "update_card",
        {200: cards.Card},
        cards.UpdateCard,
        **MATCHED,
        own_errors=("CARD_NOT_FOUND", "DUPLICATE_CARD", "CONFLICT"),
    ),
    delete(CARD, "delete_card", {204: None}, **MATCHED, **missing("card")),
)

SIGNED_IN: Final = Success[people.SignedIn]
UNPROVEN: Final[Options] = {"maximum_bytes": 16_384}
"""For callers of whom nothing is known yet: they could fill the memory."""
SIGNING_IN: Final[Options] = {**UNPROVEN, "own_errors": ("SIGN_IN_NOT_CONFIGURED",)}
SIGN_IN: Final = (
    post(
        "/api/v1/auth/register",
        "register_user",
        {201: SIGNED_IN},
        people.Register,
        **UNPROVEN,
        own_errors=("CONFLICT", "FORBIDDEN", "SIGN_IN_NOT_CONFIGURED"),
        handler="register",
    ),
    post("/api/v1/auth/login", "start_session", {200: SIGNED_IN}, people.Login, **SIGNING_IN, handler="login"),
    post("/api/v1/auth/refresh", "refresh_session", {200: SIGNED_IN}, people.Refresh, **SIGNING_IN, handler="refresh"),
    post("/api/v1/auth/logout", "end_session", {204: None}, people.Logout, **UNPROVEN, handler="logout"),
)

ME: Final = "/api/v1/users/me"
PREFERENCES: Final = Success[people.Preferences]
USERS: Final = (
    get(ME, "get_user", {200: Success[people.User]}, **USER, **missing("user"), cached=Source("users", "user")),
    patch(ME, "update_user", {200: Success[people.User]}, people.UpdateUser, **USER_CLEARING, **missing("user")),
    get(f"{ME}/preferences", "get_preferences", {200: PREFERENCES}, **USER, cached=Source("user_preferences", "user")),
    patch(f"{ME}/preferences", "update_preferences", {200: PREFERENCES}, people.UpdatePreferences, **USER),
    get(
        "/api/v1/users/search",
        "search_users",
        {200: Success[list[people.FoundUser]]},
        query=people.SearchUsers,
        **USER,
        is_search=True,
        cached=Source("users", "tenant"),
    ),
)

MEMORIES: Final = crud(
    "/api/v1/memories", resources.Memory, resources.CreateMemory, resources.UpdateMemory, resources.ListMemories
)
CONVERSATIONS: Final = crud(
    "/api/v1/conversations",
    resources.Conversation,
    resources.CreateConversation,
    resources.UpdateConversation,
    resources.ListConversations,
    clears=True,
)
MESSAGES_OF: Final = "/api/v1/conversations/{conversation_id}/messages"
MESSAGE: Final = "/api/v1/messages/{id}"
ONE_MESSAGE: Final = Success[resources.Message]
MESSAGES: Final = (
    post(
        MESSAGES_OF,
        "create_messages",
        {201: Success[resources.Message | list[resources.Message]]},
        resources.CreateMessages,
        **USER_IDEMPOTENT,
        **missing("conversation"),
    ),
    get(
        MESSAGES_OF,
        "list_messages",
        {200: Page[resources.Message]},
        query=resources.ListMessages,
        **USER,
        **missing("conversation"),
    ),
    get(MESSAGE, "get_message", {200: ONE_MESSAGE}, **USER, **missing("message")),
    patch(MESSAGE, "update_message", {200: ONE_MESSAGE}, resources.UpdateMessage, **USER, **missing("message")),
    delete(MESSAGE, "delete_message", {204: None}, **USER, **missing("message")),
)
TASKS: Final = crud(
    "/api/v1/tasks", resources.Task, resources.CreateTask, resources.UpdateTask, resources.ListTasks, clears=True
)
INTEGRATIONS: Final = crud(
    "/api/v1/integrations",
    resources.Integration,
    resources.CreateIntegration,
    resources.UpdateIntegration,
    resources.ListIntegrations,
    handled_errors=("ENCRYPTION_NOT_CONFIGURED",),
)

JOB: Final = Success[jobs.Job]
ENQUEUED: Final = {202: Success[jobs.EnqueuedJob]}
ENQUEUING: Final[Options] = {**USER_IDEMPOTENT, "is_for_tenants": True}
FOR_TENANTS: Final[Options] = {**USER, "is_for_tenants": True}
JOBS: Final = (
    post("/api/v1/jobs", "enqueue_job", ENQUEUED, jobs.EnqueueJob, **ENQUEUING),
    post("/api/v1/jobs/test", "enqueue_test_job", ENQUEUED, jobs.EnqueueTestJob, **ENQUEUING),
    get("/api/v1/jobs", "list_jobs", {200: Success[list[jobs.Job]]}, query=jobs.ListJobs, **FOR_TENANTS),
    get("/api/v1/jobs/{id}", "get_job", {200: JOB}, **FOR_TENANTS, **missing("job")),
    post("/api/v1/jobs/{id}/cancel", "cancel_job", {200: JOB}, **FOR_TENANTS, own_errors=("JOB_NOT_FOUND", "CONFLICT")),
)

SEARCH: Final = (
    get(
        "/api/v1/search",
        "search",
        {200: search.Matches},
        query=search.Search,
        **USER,
        own_errors=("EMBEDDINGS_NOT_CONFIGURED",),
        is_search=True,
        handler="search",
    ),
)

ROUTES: Final = (*CARDS, *SIGN_IN, *USERS, *MEMORIES, *CONVERSATIONS, *MESSAGES, *TASKS, *INTEGRATIONS, *JOBS, *SEARCH)

EVENTS: Final = get(
    "/api/v1/events",
    "read_events",
    {200: events.Event},
    query=events.FollowEvents,
    **USER,
    own_errors=("TOO_MANY_STREAMS",),
)
"""Not in the table: gateway/events/endpoint.py serves it, with as many calls as it takes."""

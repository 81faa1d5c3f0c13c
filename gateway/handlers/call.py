"""A line of the route table with a handler: more than one SQL call, or arguments that are not in the request."""

from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol
from uuid import UUID

from gateway.arguments import decode_query
from gateway.database.calls import Calls
from gateway.database.statement import CallStatement, Reply
from gateway.endpoint import Call, refuse
from gateway.identity import Identifier, Identity
from gateway.request import RequestContext
from gateway.routes import Route
from gateway.settings import Settings
from gateway.statements import call_of

if TYPE_CHECKING:
    from litestar.types import Receive, Scope


NOBODY: Final = UUID(int=0)
"""The tenant in whose turn callers' requests run who have proved nothing: whatever tenant they name, they share one."""


class FunctionCall(Protocol):
    """Calls a function of schema api, given its name and arguments.

    proven: the tenant that a caller who has not signed in has proved to belong to, and whose turn the call takes
    """

    async def __call__(self, function: str, arguments: Mapping[str, Any], proven: UUID | None = None) -> Reply:
        """The function's reply."""


class HandlerRequest(NamedTuple):
    """A request as its handler gets it.

    identity   the caller; None on routes for callers who have not signed in
    client     the caller's IP address; empty when it is not known
    call       calls a function of schema api
    """

    context: RequestContext
    identity: Identity | None
    client: str
    path: dict[str, UUID]
    query: Any
    body: Any
    call: FunctionCall

    @property
    def owner(self) -> dict[str, Any]:
        """The caller's ids, as arguments of a call, on routes for users."""
        assert self.identity is not None
        return {"tenant_id": self.identity.tenant_id, "user_id": self.identity.user_id}


Handler = Callable[[HandlerRequest], Awaitable[Reply]]


class HandlerCall(Call):
    """One line of the route table with a handler."""

    def __init__(
        self, handler: Handler, route: Route, identifier: Identifier, calls: Calls, settings: Settings
    ) -> None:
        super().__init__(route, identifier, calls, settings)
        self._handler = handler
        self._statements: dict[str, CallStatement] = {}

    async def reply(self, context: RequestContext, scope: "Scope", receive: "Receive") -> Reply:
        """Runs the handler for one request. Raises ApiError, or whatever api_error_of understands."""
        identity = self.identify(context) if self.route.is_for_users else None
        path = self.path_arguments(scope)
        body = await self.read(context, receive)
        query = None if self.route.query is None else decode_query(scope["query_string"], self.route.query)
        tenant_id = NOBODY if identity is None else identity.tenant_id

        async def call(function: str, arguments: Mapping[str, Any], proven: UUID | None = None) -> Reply:
            return await self._calls.call(
                self._statement_of(function, arguments), list(arguments.values()), proven or tenant_id
            )

        request = HandlerRequest(context, identity, context.client, path, query, self.decode(body), call)
        start = perf_counter()
        try:
            return await self._handler(request)
        except Exception as error:
            refuse(error, body)
        finally:
            context.called = (self.route.function, perf_counter() - start)

    def _statement_of(self, function: str, arguments: Mapping[str, Any]) -> CallStatement:
        if function not in self._statements:
            self._statements[function] = CallStatement(call_of(function, arguments), is_search=self.route.is_search)
        return self._statements[function]

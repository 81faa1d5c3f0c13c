"""From an HTTP request to one SQL call and back, by a line of the route table.

Endpoints are plain ASGI applications under Litestar's router: a request is decoded once, by msgspec, and the body of
the answer is sent as the bytes that the database returned.
"""

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NoReturn
from uuid import UUID

import msgspec
from litestar.enums import HttpMethod

from gateway.arguments import argument, check_json, conversion_of, decode_query, fields_of, path_argument
from gateway.database.calls import Calls
from gateway.database.statement import CallStatement, Reply
from gateway.database.unstorable import unstorable
from gateway.errors import ApiError, ErrorDetail, api_error_of, invalid
from gateway.identity import Identifier, Identity, identify
from gateway.reply import JSON, add_headers, send_answer, send_error
from gateway.request import RequestContext, context_of, read_body, record_error
from gateway.routes import Route
from gateway.settings import Settings
from gateway.statements import statement_of

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

MAXIMUM_BATCHED_BYTES: Final = 8192
"""Of a body: a call with more is slow, and would hold up the other calls of its batch."""
_HEADER_OF: Final = {"idempotency_key": b"idempotency-key", "if_match": b"if-match"}


class Call:
    """One line of the route table, made ready: the statement, and how its arguments come from a request."""

    def __init__(self, route: Route, identifier: Identifier, calls: Calls, settings: Settings) -> None:
        self.route = route
        self._identifier = identifier
        self._calls = calls
        self._maximum_bytes = settings.max_body_bytes
        self._ttl_hours = settings.idempotency_ttl_hours
        self._page_sizes = (settings.default_page_size, settings.max_page_size)
        self._decoder: msgspec.json.Decoder[Any] | None = msgspec.json.Decoder(route.body) if route.body else None
        self._path_names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
        self._body_fields = [(field.encode_name, conversion_of(field.type)) for field in fields_of(route.body)]
        self._query_fields = [(field.encode_name, conversion_of(field.type)) for field in fields_of(route.query)]
        fields = [name for name, _ in (*self._body_fields, *self._query_fields)]
        self.statement = statement_of(route, ["tenant_id", *self._path_names, *fields, *route.injected_parameters])
        self._lone_statement = self.statement
        if route.batch_policy is not None:
            self._lone_statement = CallStatement(self.statement.sql)

    async def reply(self, context: RequestContext, scope: "Scope", receive: "Receive") -> Reply:
        """Runs the call for one request. Raises ApiError, or whatever api_error_of understands."""
        identity = self.identify(context)
        body = await self.read(context, receive)
        arguments = self._arguments(context, identity, scope, body)
        statement = self.statement if len(body) <= MAXIMUM_BATCHED_BYTES else self._lone_statement
        try:
            return await self.run(context, identity, statement, arguments)
        except Exception as error:
            refuse(error, body)

    async def run(
        self, context: RequestContext, identity: Identity, statement: CallStatement, arguments: Sequence[Any]
    ) -> Reply:
        """Runs the call, and takes its time."""
        start = perf_counter()
        try:
            return await self._calls.call(statement, arguments, identity.tenant_id)
        finally:
            context.called = (self.route.function, perf_counter() - start)

    def identify(self, context: RequestContext) -> Identity:
        """Who calls. Raises ApiError."""
        return identify(context, self._identifier, is_for_users=self.route.is_for_users)

    async def read(self, context: RequestContext, receive: "Receive") -> bytes:
        """The request's body, an empty one as `{}`; nothing for a route without one. Raises ApiError."""
        if self._decoder is None:
            return b""
        media_type = context.headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
        if media_type != b"application/json" and not media_type.endswith(b"+json"):
            raise ApiError(415, message="The body must be JSON. Send it with Content-Type: application/json.")
        return await read_body(context, receive, self._maximum_bytes) or b"{}"

    def decode(self, body: bytes) -> Any:
        """The body as its struct; None for a route without one. Raises ApiError."""
        if self._decoder is None:
            return None
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            refuse(error, body)

    def path_arguments(self, scope: "Scope") -> dict[str, UUID]:
        """The ids in the path, by name. Raises ApiError."""
        return {name: path_argument(name, scope["path_params"][name]) for name in self._path_names}

    def _arguments(self, context: RequestContext, identity: Identity, scope: "Scope", body: bytes) -> Sequence[Any]:
        decoded = self.decode(body)
        return [
            identity.tenant_id,
            *self.path_arguments(scope).values(),
            *(argument(name, getattr(decoded, name), convert) for name, convert in self._body_fields),
            *self._query_arguments(scope),
            *(self._injected(name, context, identity, decoded) for name in self.route.injected_parameters),
        ]

    def _query_arguments(self, scope: "Scope") -> list[Any]:
        arguments: list[Any] = []
        if self.route.query is not None:
            query = decode_query(scope["query_string"], self.route.query)
            for name, convert in self._query_fields:
                value = getattr(query, name)
                if convert is not None and value is not None:
                    check_json(name, value)
                if name == "per_page":
                    value = self._per_page(value)
                arguments.append(argument(name, value, convert))
        return arguments

    def _injected(self, name: str, context: RequestContext, identity: Identity, decoded: Any) -> Any:
        """What the gateway itself passes for a parameter."""
        if name == "idempotency_ttl_hours":
            return self._ttl_hours
        if name == "user_id":
            return identity.user_id
        if name == "cleared_fields":
            return [field for field, _ in self._body_fields if getattr(decoded, field) is None]
        header = context.headers.get(_HEADER_OF[name])
        return None if header is None else header.decode("latin-1")

    def _per_page(self, value: int | None) -> int:
        default, maximum = self._page_sizes
        if value is not None and value > maximum:
            raise invalid("per_page", f"Expected at most {maximum}.")
        return default if value is None else value


class Endpoint:
    """All lines of the route table with one path, as an ASGI application.

    count: is told what each call says it did, api.reply.measures
    """

    def __init__(self, calls: Mapping[str, Call], count: Callable[[bytes | None], None]) -> None:
        self._calls = dict(calls)
        if "GET" in calls:
            self._calls["HEAD"] = calls["GET"]
        self._count = count

    @property
    def methods(self) -> list[HttpMethod]:
        """The methods it serves; Litestar answers OPTIONS and refuses the others."""
        return [HttpMethod(method) for method in self._calls]

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answers one request, whatever happens."""
        context = context_of(scope)
        try:
            call = self._calls[scope["method"]]  # type: ignore[typeddict-item]
            reply = await call.reply(context, scope, receive)
        except Exception as error:
            api_error = api_error_of(error)
            record_error(context, api_error, error)
            await send_error(context, send, api_error)
            return
        self._count(reply.measures)
        headers = [JSON] if reply.body is not None else []
        is_read = call.route.method == "GET"
        status = add_headers(context, reply.status, reply.headers, headers, is_read=is_read)
        await send_answer(send, status, headers, reply.body or b"")


def refuse(error: Exception, body: bytes) -> NoReturn:
    """Raises what the client is told of an error, from the error itself, which the log has to know.

    Of a value that PostgreSQL can't store, it names the place in the body.
    """
    api_error = api_error_of(error)
    is_about_a_value = api_error.code in ("VALIDATION_ERROR", "MALFORMED_JSON") and not api_error.details
    if is_about_a_value and (found := unstorable(body)) is not None:
        message = "The request has a value that can't be stored."
        api_error = ApiError(422, message=message, details=(ErrorDetail(*found),))
    if api_error is error:
        raise api_error  # from nothing: it must not be its own cause
    raise api_error from error

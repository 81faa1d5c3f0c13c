"""From an HTTP request to one SQL call and back, by a route of gateway/routes.py.

Endpoints are plain ASGI applications under Litestar's router: msgspec decodes a request once, gateway/statements.py has
the SQL text, gateway/database/calls.py runs it, and the response's body is the bytes that the database returned.
"""

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NoReturn
from uuid import UUID

import litestar
import msgspec
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler

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
    from litestar.types import ASGIApp, Receive, Scope, Send

MAXIMUM_BATCHED_BYTES: Final = 8192
"""Size of a body. A call with a larger one is slow, and would hold up the other calls of its batch."""
_HEADER_OF: Final = {"idempotency_key": b"idempotency-key", "if_match": b"if-match"}


class Endpoint:
    """All routes with one path, as an ASGI application.

    count: is passed api.reply.measures of each call, what the function says it did
    """

    def __init__(self, calls: Mapping[str, "Call"], count: Callable[[bytes | None], None]) -> None:
        self._calls = dict(calls)
        if "GET" in calls:
            self._calls["HEAD"] = calls["GET"]
        self._count = count

    @property
    def methods(self) -> list[HttpMethod]:
        """The methods it serves; Litestar itself handles OPTIONS and refuses the others."""
        return [HttpMethod(method) for method in self._calls]

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Responds to one request, whatever happens."""
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


def handler_of(path: str, methods: Sequence[HttpMethod], application: "ASGIApp") -> HTTPRouteHandler:
    """An ASGI application as the handler of a path.

    Litestar routes to it and does no more, for it is a middleware that calls nothing further in: Litestar's request,
    signature and response objects would take longer than the database does.
    """

    def in_front_of(app: "ASGIApp") -> "ASGIApp":  # noqa: ARG001 - the signature of a Litestar middleware
        return application

    @litestar.route(path.replace("}", ":str}"), http_method=methods, status_code=200, middleware=[in_front_of])
    async def unreached() -> None:
        """The application in front of it has responded."""

    return unreached


class Call:
    """One route, prepared: its statement, and how the arguments come from a request."""

    def __init__(self, route: Route, identifier: Identifier, calls: Calls, settings: Settings) -> None:
        self.route = route
        self._identifier = identifier
        self._calls = calls
        self._maximum_bytes = min(route.maximum_bytes or settings.max_body_bytes, settings.max_body_bytes)
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
        """Runs the call for one request. Raises ApiError, or anything else that api_error_of understands."""
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
        """Runs the call and records how long it took."""
        start = perf_counter()
        try:
            return await self._calls.call(statement, arguments, identity.tenant_id)
        finally:
            context.called = (self.route.function, perf_counter() - start)

    def identify(self, context: RequestContext) -> Identity:
        """The caller. Raises ApiError."""
        return identify(context, self._identifier, is_for_users=self.route.is_for_users)

    async def read(self, context: RequestContext, receive: "Receive") -> bytes:
        """The request's body, `{}` if it is empty; no bytes for a route without a body. Raises ApiError."""
        if self._decoder is None:
            return b""
        media_type = context.headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
        if media_type != b"application/json" and not media_type.endswith(b"+json"):
            raise ApiError(415, message="The body must be JSON. Send it with Content-Type: application/json.")
        return await read_body(context, receive, self._maximum_bytes) or b"{}"

    def decode(self, body: bytes) -> Any:
        """The body as its struct; None for a route without a body. Raises ApiError."""
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
        """The argument of a parameter that the gateway injects."""
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


def refuse(error: Exception, body: bytes) -> NoReturn:
    """Raises the ApiError of an error, from the error itself, which the log needs.

    For a value that PostgreSQL can't store, it names the place in the body.
    """
    api_error = api_error_of(error)
    is_about_a_value = api_error.code in ("VALIDATION_ERROR", "MALFORMED_JSON") and not api_error.details
    if is_about_a_value and (found := unstorable(body)) is not None:
        api_error = ApiError(422, details=(ErrorDetail(*found),))
    if api_error is error:
        raise api_error  # an error must not be its own cause
    raise api_error from error

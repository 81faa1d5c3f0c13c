"""From an HTTP request to one SQL call and back, by a line of the route table.

Endpoints are plain ASGI applications under Litestar's router: a request is decoded once, by msgspec, and the
answer's body is sent as the bytes that the database gave.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, cast
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec
from litestar.enums import HttpMethod
from msgspec import inspect

from gateway.database.pool import SHARED_TIMEOUT_SECONDS, Database, Reply, Statement
from gateway.database.unstorable import unstorable
from gateway.errors import ErrorDetail, Refusal, invalid, refusal_of
from gateway.identity import Identifier, Identity, Unauthenticated
from gateway.observe.metrics import Metrics
from gateway.request import JSON, Exchange, exchange_of, note, read_body, send_body, send_refusal
from gateway.routes import Route
from gateway.settings import Settings
from gateway.stores.cache import Cache

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Receive, Scope, Send

REPLY: Final = "status, headers, body, measures"
MAXIMUM_SHARED_BYTES: Final = 8192
"""Of a body: a call with more takes its time, and would keep those waiting that it shares a statement with."""
SNAPSHOT: Final = "pg_current_snapshot()::text as snapshot"
_HEADER_OF: Final = {"idempotency_key": b"idempotency-key", "if_match": b"if-match"}
_SEND_AS_IS: Final = (
    inspect.UUIDType,
    inspect.StrType,
    inspect.LiteralType,
    inspect.IntType,
    inspect.FloatType,
    inspect.BoolType,
)

Convert = Callable[[Any], Any]


def _conversion(field_type: inspect.Type) -> Convert | None:
    """How a decoded field becomes an argument: None as it is, else its JSON for a jsonb parameter."""
    if isinstance(field_type, inspect.Metadata):
        return str.encode if (field_type.extra or {}).get("json") else _conversion(field_type.type)
    if isinstance(field_type, inspect.UnionType):
        return next(_conversion(kind) for kind in field_type.types if not isinstance(kind, inspect.NoneType))
    if isinstance(field_type, inspect.RawType):
        return _document
    if isinstance(field_type, inspect.DateTimeType):
        return _instant
    if isinstance(field_type, _SEND_AS_IS):
        return None
    if isinstance(field_type, inspect.ListType) and _conversion(field_type.item_type) is None:
        return None
    return msgspec.json.encode


def _document(raw: msgspec.Raw) -> bytes | None:
    text = bytes(raw)
    return None if text == b"null" else text


def _instant(time: datetime) -> datetime:
    """A time in UTC. Raises OverflowError where its year is not one from 1 to 9999 there."""
    return time.astimezone(UTC)


def identify(exchange: Exchange, identifier: Identifier, *, is_for_users: bool) -> Identity:
    """The caller. Raises Unauthenticated where a user is needed and the caller is none."""
    if is_for_users and b"authorization" not in exchange.headers:
        raise Unauthenticated("missing", "This is for users: a bearer token with sub is needed.")
    identity = identifier.identify(exchange.headers)
    exchange.tenant_id = identity.tenant_id
    if is_for_users and identity.user_id is None:
        raise Unauthenticated("missing", "This is for users: the token names none in sub.")
    return identity


class Call:
    """One line of the route table, made ready: the statement, and how its arguments come from a request."""

    def __init__(self, route: Route, identifier: Identifier, database: Database, settings: Settings) -> None:
        self.route = route
        self._identifier = identifier
        self._database = database
        self._maximum_bytes = settings.max_body_bytes
        self._ttl_hours = settings.idempotency_ttl_hours
        self._page_sizes = (settings.default_page_size, settings.max_page_size)
        self._is_for_users = "user_id" in route.takes and not route.is_for_tenants
        self._decoder: msgspec.json.Decoder[Any] | None = msgspec.json.Decoder(route.body) if route.body else None
        self._path_names = [part[1:-1] for part in route.path.split("/") if part.startswith("{")]
        self._body_fields = self._fields(route.body)
        self._query_fields = self._fields(route.query)
        names = ["tenant_id", *self._path_names, *(name for name, _ in (*self._body_fields, *self._query_fields))]
        self.statement = _statement(route, [*names, *route.takes])
        self._lone_statement = self.statement if route.sharing is None else Statement(self.statement.sql)

    @staticmethod
    def _fields(shape: type | None) -> list[tuple[str, Convert | None]]:
        if shape is None:
            return []
        info = inspect.type_info(shape)
        assert isinstance(info, inspect.StructType)
        return [(field.encode_name, _conversion(field.type)) for field in info.fields]

    async def answer(self, exchange: Exchange, scope: "Scope", receive: "Receive") -> Reply:
        """Runs the call for one request. Raises Refusal, or whatever refusal_of understands."""
        identity = self._identify(exchange)
        body = await self._read(exchange, receive)
        arguments = self._arguments(exchange, identity, scope, body)
        statement = self.statement if len(body) <= MAXIMUM_SHARED_BYTES else self._lone_statement
        try:
            return await self._ask(exchange, identity, statement, arguments)
        except Exception as error:
            _refuse(error, body)

    async def _ask(
        self, exchange: Exchange, identity: Identity, statement: Statement, arguments: Sequence[Any]
    ) -> Reply:
        start = perf_counter()
        try:
            return await self._database.call(statement, arguments, identity.tenant_id)
        finally:
            exchange.called = (self.route.function, perf_counter() - start)

    def _identify(self, exchange: Exchange) -> Identity:
        return identify(exchange, self._identifier, is_for_users=self._is_for_users)

    async def _read(self, exchange: Exchange, receive: "Receive") -> bytes:
        if self._decoder is None:
            return b""
        self._check_media_type(exchange)
        return await read_body(exchange, receive, self._maximum_bytes) or b"{}"

    def _decode(self, body: bytes) -> Any:
        assert self._decoder is not None
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            _refuse(error, body)

    def _path_arguments(self, scope: "Scope") -> dict[str, UUID]:
        return {name: _uuid(name, scope["path_params"][name]) for name in self._path_names}

    def _arguments(self, exchange: Exchange, identity: Identity, scope: "Scope", body: bytes) -> Sequence[Any]:
        decoded = None if self._decoder is None else self._decode(body)
        return [
            identity.tenant_id,
            *self._path_arguments(scope).values(),
            *(_argument(name, getattr(decoded, name), convert) for name, convert in self._body_fields),
            *self._query_arguments(scope),
            *(self._own_argument(name, exchange, identity, decoded) for name in self.route.takes),
        ]

    def _query_arguments(self, scope: "Scope") -> list[Any]:
        arguments: list[Any] = []
        if self.route.query is not None:
            query = decode_query(scope["query_string"], self.route.query)
            for name, convert in self._query_fields:
                value = getattr(query, name)
                if convert is not None and value is not None:
                    _check_json(name, value)
                if name == "per_page":
                    value = self._per_page(value)
                arguments.append(_argument(name, value, convert))
        return arguments

    def _own_argument(self, name: str, exchange: Exchange, identity: Identity, decoded: Any) -> Any:
        """What the gateway itself gives for a parameter."""
        if name == "idempotency_ttl_hours":
            return self._ttl_hours
        if name == "user_id":
            return identity.user_id
        if name == "cleared_fields":
            return [field for field, _ in self._body_fields if getattr(decoded, field) is None]
        header = exchange.headers.get(_HEADER_OF[name])
        return None if header is None else header.decode("latin-1")

    def _per_page(self, value: int | None) -> int:
        default, maximum = self._page_sizes
        if value is not None and value > maximum:
            raise invalid("per_page", f"Expected at most {maximum}.")
        return default if value is None else value

    @staticmethod
    def _check_media_type(exchange: Exchange) -> None:
        media_type = exchange.headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
        if media_type != b"application/json" and not media_type.endswith(b"+json"):
            raise Refusal(415, message="The body must be JSON. Send it with Content-Type: application/json.")


class CachedCall(Call):
    """One line of the route table whose answers are kept."""

    def __init__(
        self, cache: Cache, route: Route, identifier: Identifier, database: Database, settings: Settings
    ) -> None:
        super().__init__(route, identifier, database, settings)
        self._cache = cache

    async def _ask(
        self, exchange: Exchange, identity: Identity, statement: Statement, arguments: Sequence[Any]
    ) -> Reply:
        assert self.route.cached is not None
        table, owner = self.route.cached
        made_of = f"{table}:{identity.tenant_id}"
        if owner == "user":
            made_of += f":{identity.user_id}"
        ask = partial(super()._ask, exchange, identity, statement, arguments)
        return await self._cache.answer(made_of, [self.route.function, *arguments], ask)


class Asked(NamedTuple):
    """A request that a handler answers, in more than one call or with more than the request has.

    identity   the caller; None where the route is for callers who are nobody yet
    call       calls a function of schema api, by its name and its arguments
    """

    exchange: Exchange
    identity: Identity | None
    client: str
    path: dict[str, UUID]
    query: Any
    body: Any
    call: Callable[[str, Mapping[str, Any]], Awaitable[Reply]]


Handler = Callable[[Asked], Awaitable[Reply]]


class HandledCall(Call):
    """One line of the route table whose requests a handler answers."""

    def __init__(
        self, handler: Handler, route: Route, identifier: Identifier, database: Database, settings: Settings
    ) -> None:
        super().__init__(route, identifier, database, settings)
        self._handler = handler
        self._statements: dict[str, Statement] = {}

    async def answer(self, exchange: Exchange, scope: "Scope", receive: "Receive") -> Reply:
        """Has the handler answer one request. Raises Refusal, or whatever refusal_of understands."""
        identity = self._identify(exchange) if self._is_for_users else None
        path = self._path_arguments(scope)
        body = await self._read(exchange, receive)
        client = scope["client"]
        asked = Asked(
            exchange,
            identity,
            client[0] if client else "",
            path,
            None if self.route.query is None else decode_query(scope["query_string"], self.route.query),
            None if self._decoder is None else self._decode(body),
            self._run,
        )
        start = perf_counter()
        try:
            return await self._handler(asked)
        except Exception as error:
            _refuse(error, body)
        finally:
            exchange.called = (self.route.function, perf_counter() - start)

    async def _run(self, function: str, arguments: Mapping[str, Any]) -> Reply:
        if function not in self._statements:
            self._statements[function] = Statement(_call_of(function, arguments), is_search=self.route.is_search)
        return await self._database.call(
            self._statements[function], list(arguments.values()), arguments.get("tenant_id")
        )


def _argument(name: str, value: Any, convert: Convert | None) -> Any:
    """A decoded field as an argument; what was left out is null. Raises Refusal."""
    if value is None or value is msgspec.UNSET or convert is None:
        return None if value is msgspec.UNSET else value
    try:
        return convert(value)
    except OverflowError:
        raise invalid(name, "Expected a time within the years 1 to 9999.") from None


def _uuid(name: str, text: str) -> UUID:
    try:
        return msgspec.convert(text, UUID)
    except msgspec.ValidationError:
        raise invalid(name, "Expected a UUID.") from None


def decode_query(query_string: bytes, shape: type) -> Any:
    """The query string as its struct; of a repeated parameter the last counts."""
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise invalid("query", "The query string is not valid.") from None
    for name, value in pairs:
        if "\x00" in value:
            raise invalid(name, r"A string can't have the character \u0000.")
    query: Any = msgspec.convert(dict(pairs), shape, strict=False)
    for name, _ in pairs:
        if getattr(query, name, "") is None:
            raise invalid(name, "A query string has no null. Leave the parameter out.")
    return query


def _check_json(name: str, text: str) -> None:
    """Refuses a query parameter that is not JSON, or holds what can't be stored."""
    if (found := unstorable(text.encode())) is not None:
        raise invalid(name, found[1])
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise invalid(name, f"Expected JSON: {error}.") from None


def _refuse(error: Exception, body: bytes) -> NoReturn:
    """Raises what the client is told of an error, from the error itself, which the log has to know."""
    refusal = _located(refusal_of(error), body)
    if refusal is error:
        raise refusal  # from nothing: it must not be its own cause
    raise refusal from error


def _located(refusal: Refusal, body: bytes) -> Refusal:
    """A refusal of a value that PostgreSQL can't take, with the place in the body it stands at."""
    is_about_a_value = refusal.code in ("VALIDATION_ERROR", "MALFORMED_JSON") and not refusal.details
    if is_about_a_value and (found := unstorable(body)) is not None:
        return Refusal(422, message="The request has a value that can't be stored.", details=(ErrorDetail(*found),))
    return refusal


def _call_of(function: str, names: Iterable[str], reply: str = REPLY) -> str:
    named = ", ".join(f'"{name}" => ${position}' for position, name in enumerate(names, start=1))
    return f"select {reply} from api.{function}({named})"


def _statement(route: Route, names: Sequence[str]) -> Statement:
    """The statement that calls a route's function, and where its calls may share one, that for many calls."""
    sql = _call_of(route.function, names, REPLY if route.cached is None else f"{REPLY}, {SNAPSHOT}")
    if route.sharing is None:
        return Statement(sql, is_search=route.is_search)
    types = [_sql_type(route, name) for name in names]
    arrays = ", ".join(
        f"${position}::{'text' if kind.endswith('[]') else kind}[]" for position, kind in enumerate(types, start=1)
    )
    columns = ", ".join(f'"{name}"' for name in names)
    named = ", ".join(f'"{name}" => call."{name}"::{kind}' for name, kind in zip(names, types, strict=True))
    shared_sql = (
        f"select call.position, {REPLY} from unnest({arrays}) with ordinality as call({columns}, position) "
        f"cross join lateral api.{route.function}({named}) "
        # Run once, before all else. The server's own limit leaves no doubt whether the statement was rolled back.
        f"where (select set_config('lock_timeout', '{SHARED_TIMEOUT_SECONDS}s', true)) is not null"
    )
    array_columns = [index for index, kind in enumerate(types) if kind.endswith("[]")]
    return Statement(sql, shared_sql, array_columns, sharing=route.sharing, is_read_only=route.is_read_only)


_SQL_TYPE_OF: Final = {"idempotency_key": "text", "idempotency_ttl_hours": "integer"}


def _sql_type(route: Route, name: str) -> str:
    """The SQL type of a parameter of a route whose calls share statements; the ids of path and caller are uuid."""
    if route.body is not None:
        info = inspect.type_info(route.body)
        assert isinstance(info, inspect.StructType)
        for field in info.fields:
            if field.encode_name == name:
                return _sql_type_of_field(field.type)
    return _SQL_TYPE_OF.get(name, "uuid")


def _sql_type_of_field(field_type: inspect.Type) -> str:
    if isinstance(field_type, inspect.UnionType):
        return next(_sql_type_of_field(kind) for kind in field_type.types if not isinstance(kind, inspect.NoneType))
    if isinstance(field_type, inspect.Metadata):
        return _sql_type_of_field(field_type.type)
    if _conversion(field_type) is not None:
        return "jsonb"
    if isinstance(field_type, inspect.ListType):
        return _sql_type_of_field(field_type.item_type) + "[]"
    return "uuid" if isinstance(field_type, inspect.UUIDType) else "text"


class Endpoint:
    """All lines of the route table with one path, as an ASGI application."""

    def __init__(self, calls: Mapping[str, Call], metrics: Metrics) -> None:
        self._calls = dict(calls)
        if "GET" in calls:
            self._calls["HEAD"] = calls["GET"]
        self._metrics = metrics

    @property
    def methods(self) -> list[HttpMethod]:
        """The methods it answers; Litestar answers OPTIONS and refuses the others."""
        return [HttpMethod(method) for method in self._calls]

    def in_front_of(self, app: "ASGIApp") -> "ASGIApp":  # noqa: ARG002 - the signature of a Litestar middleware
        """This endpoint as the middleware that answers before the handler behind it would."""
        return cast("ASGIApp", self)

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answers one request, whatever happens."""
        exchange = exchange_of(scope)
        try:
            call = self._calls[scope["method"]]  # type: ignore[typeddict-item]
            reply = await call.answer(exchange, scope, receive)
        except Exception as error:
            refusal = refusal_of(error)
            note(exchange, refusal, error)
            await send_refusal(exchange, send, refusal)
            return
        self._metrics.count(reply.measures)
        status = reply.status
        headers = [JSON] if reply.body is not None else []
        if reply.headers is not None:
            for name, value in msgspec.json.decode(reply.headers).items():
                headers.append((name.lower().encode(), value.encode()))
                if name == "X-Idempotency-Cache":
                    exchange.idempotency = value.lower()
                elif name == "ETag" and call.route.method == "GET" and is_known(exchange, value):
                    status = 304
        await send_body(send, status, headers, reply.body or b"")


def is_known(exchange: Exchange, etag: str) -> bool:
    """Whether If-None-Match names this ETag (RFC 9110, section 13.1.2: weak comparison)."""
    header = exchange.headers.get(b"if-none-match")
    if header is None:
        return False
    candidates = [part.strip().removeprefix("W/") for part in header.decode("latin-1").split(",")]
    return "*" in candidates or etag in candidates

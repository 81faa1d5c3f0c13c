"""/rpc/{function}: any function of schema api, found in the database's own catalog, by PostgREST's conventions.

A call is one statement on a pooled connection. Calls that can't write run on connections whose transactions are
read-only; a transaction of several statements is opened only where the request asks for what one statement can't do.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar
from urllib.parse import unquote

import asyncpg
import msgspec

from gateway.database.pool import Pool
from gateway.errors import ApiError
from gateway.identity import Identifier, Identity
from gateway.reply import Headers, add_headers, send_answer
from gateway.request import RequestContext, context_of, read_body
from gateway.rpc import request as rpc_request
from gateway.rpc.catalog import Catalog, CatalogKeeper, Function
from gateway.rpc.errors import RpcError, rpc_error_of
from gateway.rpc.request import Arguments, Preferences, Range, Wanted
from gateway.rpc.statement import MAXIMUM_STATEMENTS, RpcStatement, Shape, arguments_of, statement_of
from gateway.settings import Settings

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

ROUTE: Final = "/rpc/{function}"
SCHEMAS: Final = ("api", "public")
"""What a profile may name: the schema, and an alias that clients send unasked."""
CLIENT_LEFT: Final = 499
"""The status, in log and metrics alone, of a request whose client did not wait for the answer."""
ALLOWED: Final = {True: "OPTIONS,POST", False: "OPTIONS,GET,HEAD,POST"}
"""The methods of a function, by whether it is volatile."""

T = TypeVar("T")


class ClientLeft(Exception):
    """The client closed the connection before its answer was there."""


class _DryRun(Exception):
    """Carries the rows out of a transaction that is to be rolled back."""

    def __init__(self, rows: list[asyncpg.Record]) -> None:
        super().__init__()
        self.rows = rows


class _Request(NamedTuple):
    """A request, read as far as that goes without the catalog."""

    context: RequestContext
    method: str
    name: str
    identity: Identity
    wanted: Wanted
    preferences: Preferences

    @property
    def is_read(self) -> bool:
        return self.method != "POST"


class _Call(NamedTuple):
    """A call made ready."""

    request: _Request
    function: Function
    statement: RpcStatement
    arguments: list[Any]
    rows: Range
    reads_only: bool
    keeps_key: bool


class Rpc:
    """/rpc as an ASGI application.

    readers   connections whose transactions are read-only; None: reads run in transactions that say so themselves
    count     is told what each call says it did, api.reply.measures
    """

    def __init__(
        self,
        settings: Settings,
        pool: Pool,
        readers: Pool | None,
        keeper: CatalogKeeper,
        identifier: Identifier,
        count: Callable[[bytes | None], None],
    ) -> None:
        self._pool = pool
        self._readers = readers
        self._keeper = keeper
        self._identifier = identifier
        self._count = count
        self._maximum_bytes = settings.max_body_bytes
        self._ttl_hours = settings.idempotency_ttl_hours
        self._patience = settings.database_acquire_timeout_ms / 1000

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answers one request, whatever happens."""
        context = context_of(scope)
        scope["path_template"] = ROUTE
        try:
            status, headers, body = await self._answer(context, scope, receive)
        except ClientLeft:
            context.status, context.code = CLIENT_LEFT, "CLIENT_LEFT"
        except Exception as error:
            await send_rpc_error(context, send, error, is_head=scope["method"] == "HEAD")  # type: ignore[typeddict-item]
        else:
            is_head = scope["method"] == "HEAD"  # type: ignore[typeddict-item]
            await send_answer(send, status, headers, body, tells_length=not is_head)

    async def _answer(self, context: RequestContext, scope: "Scope", receive: "Receive") -> tuple[int, Headers, bytes]:
        method: str = scope["method"]  # type: ignore[typeddict-item]
        if method not in ("GET", "HEAD", "POST", "OPTIONS"):
            raise RpcError(405, "PGRST101", f"Cannot use the {method} method on RPC", headers={"Allow": ALLOWED[False]})
        name = _function_name(scope)
        catalog = await self._keeper.catalog(self._patience)
        if method == "OPTIONS":
            return await self._options(catalog, name)
        request = _Request(
            context,
            method,
            name,
            self._identifier.identify(context.headers),
            rpc_request.wanted(_header(context, b"accept")),
            rpc_request.preferences(_header(context, b"prefer")),
        )
        context.tenant_id = request.identity.tenant_id
        profile = _header(context, b"accept-profile" if request.is_read else b"content-profile")
        if profile and profile not in SCHEMAS:
            raise RpcError(
                406, "PGRST106", f"Invalid schema: {profile}", hint="Only the following schemas are exposed: api"
            )
        context.vary = b"Accept, Prefer, Range"
        headers: Headers = []
        if profile:
            headers.append((b"content-profile", profile.encode("latin-1")))
        if request.preferences.applied:
            headers.append((b"preference-applied", ", ".join(request.preferences.applied).encode("latin-1")))
        body = b"" if request.is_read else await read_body(context, receive, self._maximum_bytes)
        try:
            call = await self._prepare(catalog, request, scope["query_string"], body)
            rows = await self._run(call, receive)
            status, answer = self._form(call, rows, headers)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise rpc_error_of(error, body) from error
        return status, headers, answer

    async def _options(self, catalog: Catalog, name: str) -> tuple[int, Headers, bytes]:
        functions = catalog.functions.get(name)
        if functions is None and (newer := await self._keeper.newer(catalog, self._patience)):
            functions = newer.functions.get(name)
        if functions is None:
            catalog.choose(name, (), None)
            raise AssertionError("unreachable")
        is_volatile = all(function.is_volatile for function in functions)
        return 200, [(b"allow", ALLOWED[is_volatile].encode())], b""

    async def _prepare(self, catalog: Catalog, request: _Request, query_string: bytes, body: bytes) -> _Call:
        """Finds the function, in a newer catalog if need be, and makes the call ready."""
        try:
            return self._call(catalog, request, query_string, body)
        except RpcError as rpc_error:
            if rpc_error.code != "PGRST202":
                raise
            newer = await self._keeper.newer(catalog, self._patience)
            if newer is None:
                raise
        return self._call(newer, request, query_string, body)

    def _call(self, catalog: Catalog, request: _Request, query_string: bytes, body: bytes) -> _Call:
        pairs = rpc_request.query_pairs(query_string)
        overloads = catalog.functions.get(request.name, [])
        if request.is_read and overloads and all(function.is_volatile for function in overloads):
            raise _may_write(request)
        if request.is_read:
            names = {name for function in overloads for name in function.arguments}
            given = [pair for pair in pairs if not rpc_request.is_reserved(pair[0]) or pair[0] in names]
            shaping = [pair for pair in pairs if rpc_request.is_reserved(pair[0]) and pair[0] not in names]
            arguments = rpc_request.text_arguments(given, _variadic(overloads))
        else:
            shaping = [pair for pair in pairs if rpc_request.is_reserved(pair[0])]
            rpc_request.refuse_filters(pair for pair in pairs if pair not in shaping)
            arguments = _body_arguments(request.context, pairs, body, overloads)
        range_header = _header(request.context, b"range") if request.method == "GET" else None
        rows = rpc_request.rows_wanted(shaping, range_header)
        try:
            function = catalog.choose(request.name, arguments.values, arguments.body_kind)
        except RpcError as rpc_error:
            # What can't be an argument was meant as a filter.
            unknown = ((name, value) for name, value in pairs if not any(name in each.arguments for each in overloads))
            filter_error = rpc_request.filters_among(unknown) if request.is_read else None
            raise filter_error or rpc_error from None
        _check(request, function)
        if function.unnamed_type is not None:
            arguments = Arguments({"": body if function.unnamed_type == "bytea" else _text(body)}, is_json=False)
        return self._ready(catalog, request, function, arguments, rows)

    def _ready(
        self, catalog: Catalog, request: _Request, function: Function, arguments: Arguments, rows: Range
    ) -> _Call:
        key = request.context.headers.get(b"idempotency-key")
        keeps_key = (
            key is not None
            and not request.is_read
            and function.kind != "reply"
            and "idempotency_key" in function.filled
        )
        shape = Shape(
            frozenset(arguments.values),
            arguments.is_json,
            request.wanted.form,
            request.wanted.strips_nulls,
            keeps_key,
        )
        statement = catalog.statements.get((id(function), shape))
        if statement is None:
            if len(catalog.statements) >= MAXIMUM_STATEMENTS:
                catalog.statements.clear()
            statement = catalog.statements[id(function), shape] = statement_of(function, shape)
        counts = request.preferences.counts
        counts_all = counts or request.preferences.maximum_affected is not None
        cap = None if counts_all or rows.limit is None else rows.offset + rows.limit + 1
        values: dict[str, Any] = {
            **arguments.values,
            "tenant_id": request.identity.tenant_id,
            "user_id": request.identity.user_id,
            "idempotency_key": None if key is None else key.decode("latin-1"),
            "idempotency_ttl_hours": self._ttl_hours,
            "if_match": _header(request.context, b"if-match") or None,
            "cleared_fields": sorted(name for name, value in arguments.values.items() if value is None),
            "/offset": rows.offset,
            "/limit": rows.limit,
            # One more than the page: so that an answer that leaves rows out says so.
            "/cap": cap,
        }
        if keeps_key:
            values["/function"] = function.name
            values["/request"] = _fingerprinted(arguments, rows, counts)
        reads_only = not (function.is_volatile or keeps_key)
        return _Call(request, function, statement, arguments_of(statement, values), rows, reads_only, keeps_key)

    async def _run(self, call: _Call, receive: "Receive") -> list[asyncpg.Record]:
        """Runs a call: for a read as long as its client is there, for a write to its end."""
        work = self._fetch(call)
        if call.request.is_read:
            work = _unless_client_leaves(receive, work)
        wait_seconds = call.request.preferences.wait_seconds
        started = perf_counter()
        try:
            async with asyncio.timeout(wait_seconds):
                return await work
        except TimeoutError:
            raise ApiError(504) from None
        finally:
            call.request.context.called = (call.function.name, perf_counter() - started)

    async def _fetch(self, call: _Call) -> list[asyncpg.Record]:
        tenant_id, seconds = call.request.identity.tenant_id, call.function.seconds
        has_readers = call.reads_only and self._readers is not None
        pool = self._readers if has_readers and self._readers is not None else self._pool
        if not _needs_transaction(call) and (has_readers or not call.reads_only):
            rows = await pool.fetch(call.statement.sql, call.arguments, tenant_id, seconds)
            _judge(call, rows)
            return rows
        timezone, is_dry_run = call.request.preferences.timezone, call.request.preferences.is_dry_run

        async def work(connection: Any) -> list[asyncpg.Record]:
            if timezone is not None:
                await connection.fetchval("select set_config('timezone', $1, true)", timezone)
            rows: list[asyncpg.Record] = await connection.fetch(call.statement.sql, *call.arguments)
            _judge(call, rows)
            if is_dry_run:
                await connection.execute("set constraints all immediate")
                raise _DryRun(rows)
            return rows

        try:
            return await pool.transact(work, tenant_id, seconds, read_only=call.reads_only)
        except _DryRun as dry_run:
            return dry_run.rows

    def _form(self, call: _Call, rows: list[asyncpg.Record], headers: Headers) -> tuple[int, bytes]:
        """Status and body of the answer; adds its headers."""
        if call.function.kind == "reply":
            status, body = self._form_reply(call, rows[0], headers)
        else:
            body, row_count, total_count, cache = rows[0]
            status = 204 if call.function.kind == "void" else 206 if row_count < total_count else 200
            headers.append((b"content-range", _content_range(call, row_count, total_count)))
            if cache is not None:
                headers.append((b"x-idempotency-cache", cache.encode()))
                call.request.context.idempotency = cache.lower()
        if call.request.preferences.is_minimal and status in (200, 206):
            status = 204
        if status in (204, 304) or body is None or call.request.preferences.is_minimal:
            return status, b""
        if not any(name == b"content-type" for name, _ in headers):
            headers.append((b"content-type", f"{call.request.wanted.media_type}; charset=utf-8".encode()))
        return status, body

    def _form_reply(self, call: _Call, reply: asyncpg.Record, headers: Headers) -> tuple[int, bytes | None]:
        """Status and body of what a product function answers; adds the headers that it names."""
        status, named, body, measures = reply
        headers.append((b"content-range", _content_range(call, 1, 1)))
        status = add_headers(call.request.context, status, named, headers, is_read=call.request.is_read)
        if not call.request.preferences.is_dry_run:
            self._count(measures)
        return status, body


async def send_rpc_error(context: RequestContext, send: "Send", error: Exception, *, is_head: bool = False) -> None:
    """Sends what went wrong in PostgREST's shape, and keeps it for log and metrics."""
    rpc_error = rpc_error_of(error)
    context.code = rpc_error.code
    context.error = error.__cause__ or error if rpc_error.status >= 500 else None
    context.idempotency = rpc_error.idempotency
    headers: Headers = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"proxy-status", f"PostgREST; error={_token(rpc_error.code)}".encode()),
        *((name.lower().encode(), value.encode("latin-1")) for name, value in rpc_error.headers.items()),
    ]
    await send_answer(send, rpc_error.status, headers, rpc_error.body(context.request_id), tells_length=not is_head)


async def _unless_client_leaves(receive: "Receive", work: Coroutine[Any, Any, T]) -> T:
    """What work answers. When the client goes away before that, work is cancelled and ClientLeft is raised."""

    async def leave() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    task, leaving = asyncio.ensure_future(work), asyncio.ensure_future(leave())
    try:
        await asyncio.wait((task, leaving), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientLeft
    finally:
        leaving.cancel()
        if not task.done():
            task.cancel()
            # Until the connection is back in the pool.
            await asyncio.wait((task,))


def _function_name(scope: "Scope") -> str:
    """The function that a path names. Raises RpcError 404 for a path that names none."""
    path: bytes = scope["raw_path"]
    name = path.partition(b"?")[0].removeprefix(b"/rpc").removeprefix(b"/")
    if not name or b"/" in name:
        raise RpcError(404, "PGRST125", "Invalid path specified in request URL")
    return unquote(name.decode("latin-1"))


def _header(context: RequestContext, name: bytes) -> str:
    return context.headers.get(name, b"").decode("latin-1").strip()


def _text(body: bytes) -> str:
    try:
        return str(body, "utf-8")
    except UnicodeDecodeError:
        raise RpcError(400, "PGRST102", "The body is not valid UTF-8") from None


def _token(code: str) -> str:
    """A code as it may stand in a header: in quotes unless it is a token (RFC 8941), and nothing that can't be sent."""
    if re.fullmatch(r"[A-Za-z0-9_.:-]+", code):
        return code
    escaped = re.sub(r'(["\\])', r"\\\1", re.sub(r"[^\x20-\x7e]", "?", code))
    return f'"{escaped}"'


def _variadic(functions: Iterable[Function]) -> frozenset[str]:
    return frozenset(
        name for function in functions for name, parameter in function.arguments.items() if parameter.is_variadic
    )


def _body_arguments(
    context: RequestContext, pairs: rpc_request.Pairs, body: bytes, overloads: list[Function]
) -> Arguments:
    """The arguments that a body gives, or, for one that is no JSON and no form, what kind it is."""
    kind = rpc_request.body_kind(_header(context, b"content-type"))
    if kind == "form":
        return rpc_request.text_arguments(rpc_request.query_pairs(body), _variadic(overloads))
    if kind != "json":
        return Arguments({}, is_json=False, body_kind=kind)
    listed = dict(pairs).get("columns")
    columns = None if listed is None else frozenset(name.strip().strip('"') for name in listed.split(","))
    return rpc_request.json_arguments(body, columns)


def _may_write(request: _Request) -> RpcError:
    return RpcError(
        405,
        "PGRST101",
        f"Cannot use the {request.method} method on RPC",
        f"The function api.{request.name} is volatile: it may write.",
        hint="Call it with POST.",
        headers={"Allow": ALLOWED[True]},
    )


def _check(request: _Request, function: Function) -> None:
    """Refuses what this function can't be asked for. Raises RpcError."""
    if request.is_read and function.is_volatile:
        raise _may_write(request)
    if request.preferences.maximum_affected is not None and not function.is_set:
        raise RpcError(
            400,
            "PGRST128",
            "Function must return SETOF or TABLE when max-affected preference is used with handling=strict",
        )
    if request.wanted.form == "csv" and function.kind == "reply":
        raise rpc_request.not_acceptable("text/csv")
    if request.identity.user_id is None and any(
        parameter.name == "user_id" and parameter.is_required for parameter in function.parameters
    ):
        raise RpcError(
            401,
            "PGRST302",
            "This function is for users: a bearer token with sub is needed.",
            headers={"WWW-Authenticate": "Bearer"},
        )


def _fingerprinted(arguments: Arguments, rows: Range, counts: bool) -> str:
    """All that makes two requests for a function the same, as JSON."""
    values = arguments.values
    if arguments.is_json:
        values = {name: None if text is None else msgspec.Raw(text.encode()) for name, text in values.items()}
    elif isinstance(values.get(""), bytes):
        values = {"": values[""].hex()}
    return msgspec.json.encode([values, rows, counts]).decode()


def _needs_transaction(call: _Call) -> bool:
    """Whether one statement is not enough: a setting before it, or an effect to take back when its rows don't do."""
    preferences = call.request.preferences
    if preferences.timezone is not None or preferences.is_dry_run:
        return True
    judges = (
        (call.request.wanted.form == "object" and call.function.is_set)
        or preferences.maximum_affected is not None
        or (preferences.counts and call.rows.offset > 0)
    )
    return judges and not call.reads_only


def _judge(call: _Call, rows: list[asyncpg.Record]) -> None:
    """Raises RpcError when the rows are not what the request asks for."""
    if call.function.kind == "reply":
        return
    _, row_count, total_count, _ = rows[0]
    preferences = call.request.preferences
    if preferences.maximum_affected is not None and total_count > preferences.maximum_affected:
        raise RpcError(
            400,
            "PGRST124",
            "Query result exceeds max-affected preference constraint",
            f"The query affects {total_count} rows",
        )
    if preferences.counts and call.rows.offset > total_count:
        raise rpc_request.unsatisfiable(
            f"An offset of {call.rows.offset} was requested, but there are only {total_count} rows."
        )
    if call.request.wanted.form == "object" and call.function.is_set and row_count != 1:
        raise RpcError(
            406, "PGRST116", "Cannot coerce the result to a single JSON object", f"The result contains {row_count} rows"
        )


def _content_range(call: _Call, row_count: int, total_count: int) -> bytes:
    first = call.rows.offset
    rows = f"{first}-{first + row_count - 1}" if row_count else "*"
    return f"{rows}/{total_count if call.request.preferences.counts else '*'}".encode()

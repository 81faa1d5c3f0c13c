"""/rpc/{function}: any function of schema api, found in the database's own catalog, by PostgREST's conventions.

A call is one statement on a pooled connection. Calls that can't write run on connections whose transactions are
read-only; a transaction of several statements is opened only where the request asks for what one statement can't do.
"""

import asyncio
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import unquote

import asyncpg

from gateway.database.pool import Pool
from gateway.errors import ApiError
from gateway.identity import Identifier
from gateway.reply import NO_BODY, Headers, add_headers, send_answer
from gateway.request import RequestContext, context_of, read_body
from gateway.rpc.call import ALLOWED_METHODS, Call, prepare
from gateway.rpc.catalog import Catalog, CatalogKeeper
from gateway.rpc.errors import RpcError, rpc_error_of
from gateway.rpc.request import Request, accepted, header, preferences
from gateway.settings import Settings

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

ROUTE: Final = "/rpc/{function}"
SCHEMAS: Final = ("api", "public")
"""What a profile may name: the schema, and an alias that clients send by default."""
CLIENT_LEFT: Final = 499
"""The status, in log and metrics alone, of a request whose client did not wait for the response."""

T = TypeVar("T")


class ClientLeft(Exception):
    """The client closed the connection before its response was ready."""


class _DryRun(Exception):
    """Rolls a transaction back whose rows are wanted all the same."""


class Rpc:
    """/rpc as an ASGI application.

    readers   connections whose transactions are read-only; None: reads run in transactions that are declared read-only
    count     receives what each call says it did, api.reply.measures
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
        self._catalog_seconds = settings.database_acquire_timeout_ms / 1000

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Responds to one request, whatever happens."""
        context = context_of(scope)
        method: str = scope["method"]  # type: ignore[typeddict-item]
        scope["path_template"] = ROUTE
        try:
            status, headers, body = await self._respond(context, method, scope, receive)
        except ClientLeft:
            context.status, context.code = CLIENT_LEFT, "CLIENT_LEFT"
        except Exception as error:
            await send_rpc_error(context, send, error, is_head=method == "HEAD")
        else:
            await send_answer(send, status, headers, body, tells_length=method != "HEAD")

    async def _respond(
        self, context: RequestContext, method: str, scope: "Scope", receive: "Receive"
    ) -> tuple[int, Headers, bytes]:
        if method not in ("GET", "HEAD", "POST", "OPTIONS"):
            allow = {"Allow": ALLOWED_METHODS[False]}
            raise RpcError(405, "PGRST101", f"Cannot use the {method} method on RPC", headers=allow)
        name = _function_name(scope)
        catalog = await self._keeper.catalog(self._catalog_seconds)
        if method == "OPTIONS":
            overloads = await self._with_newest(catalog, lambda newest: newest.overloads(name))
            is_volatile = all(function.is_volatile for function in overloads)
            return 200, [(b"allow", ALLOWED_METHODS[is_volatile].encode())], b""
        request = await self._read(context, method, name, scope, receive)
        try:
            call = await self._with_newest(catalog, lambda newest: prepare(newest, request, self._ttl_hours))
            rows = await self._run(call, receive)
            return self._response(call, rows)
        except asyncpg.PostgresError as error:
            raise rpc_error_of(error, request.body) from error

    async def _read(
        self, context: RequestContext, method: str, name: str, scope: "Scope", receive: "Receive"
    ) -> Request:
        identity = self._identifier.identify(context.headers)
        accept, prefer = accepted(header(context, b"accept")), preferences(header(context, b"prefer"))
        context.tenant_id = identity.tenant_id
        is_read = method != "POST"
        profile = header(context, b"accept-profile" if is_read else b"content-profile")
        if profile and profile not in SCHEMAS:
            hint = "Only the following schemas are exposed: api"
            raise RpcError(406, "PGRST106", f"Invalid schema: {profile}", hint=hint)
        context.vary = b"Accept, Prefer, Range"
        body = b"" if is_read else await read_body(context, receive, self._maximum_bytes)
        return Request(context, method, name, identity, accept, prefer, profile, scope["query_string"], body)

    async def _with_newest(self, catalog: Catalog, use: Callable[[Catalog], T]) -> T:
        """Uses the catalog, and a newer one where the function is not in it."""
        try:
            return use(catalog)
        except RpcError as rpc_error:
            if rpc_error.code != "PGRST202":
                raise
            newer = await self._keeper.newer(catalog, self._catalog_seconds)
            if newer is None:
                raise
        return use(newer)

    async def _run(self, call: Call, receive: "Receive") -> list[asyncpg.Record]:
        """Runs a call and returns its rows: a read while its client is connected, a write to its end."""
        work = self._fetch(call)
        if call.request.is_read:
            work = _unless_client_leaves(receive, work)
        started = perf_counter()
        try:
            async with asyncio.timeout(call.request.preferences.wait_seconds):
                return await work
        except TimeoutError:
            raise ApiError(504) from None
        finally:
            call.request.context.called = (call.function.name, perf_counter() - started)

    async def _fetch(self, call: Call) -> list[asyncpg.Record]:
        pool, read_only = self._pool, call.is_read_only
        if call.is_read_only and self._readers is not None:
            pool, read_only = self._readers, False  # its transactions are read-only anyway
        tenant_id = call.request.identity.tenant_id
        # The timeout that a function sets for itself does not hold for the very statement that calls it.
        seconds = call.function.timeout_ms / 1000 if call.function.timeout_ms else None
        if not call.needs_transaction and not read_only:
            rows = await pool.fetch(call.statement.sql, call.arguments, tenant_id, seconds)
            call.check(rows)
            return rows
        rows = []

        async def work(connection: Any) -> None:
            nonlocal rows
            if (timezone := call.request.preferences.timezone) is not None:
                await connection.fetchval("select set_config('timezone', $1, true)", timezone)
            rows = await connection.fetch(call.statement.sql, *call.arguments)
            call.check(rows)
            if call.request.preferences.is_dry_run:
                await connection.execute("set constraints all immediate")
                raise _DryRun

        with suppress(_DryRun):
            await pool.transact(work, tenant_id, seconds, read_only=read_only)
        return rows

    def _response(self, call: Call, rows: list[asyncpg.Record]) -> tuple[int, Headers, bytes]:
        request, context = call.request, call.request.context
        headers: Headers = []
        if request.profile:
            headers.append((b"content-profile", request.profile.encode("latin-1")))
        if request.preferences.applied:
            headers.append((b"preference-applied", ", ".join(request.preferences.applied).encode("latin-1")))
        if call.function.kind == "reply":
            status, named, body, measures = rows[0]
            headers.append((b"content-range", call.content_range(1, 1)))
            status = add_headers(context, status, named, headers, is_read=request.is_read)
            if not request.preferences.is_dry_run:
                self._count(measures)
        else:
            body, row_count, total_count, cache = rows[0]
            headers.append((b"content-range", call.content_range(row_count, total_count)))
            status = 204 if call.function.kind == "void" else 206 if row_count < total_count else 200
            if cache is not None:
                headers.append((b"x-idempotency-cache", cache.encode()))
                context.idempotency = cache.lower()
        if request.preferences.is_minimal:
            return 204 if status in (200, 206) else status, headers, b""
        if status in NO_BODY or body is None:
            return status, headers, b""
        if not any(name == b"content-type" for name, _ in headers):
            headers.append((b"content-type", f"{request.accepted.media_type}; charset=utf-8".encode()))
        return status, headers, body


async def send_rpc_error(context: RequestContext, send: "Send", error: Exception, *, is_head: bool = False) -> None:
    """Sends an error in PostgREST's shape, and keeps it for log and metrics."""
    rpc_error = rpc_error_of(error)
    context.code = rpc_error.code
    context.error = error.__cause__ or error if rpc_error.status >= 500 else None
    context.idempotency = rpc_error.idempotency
    headers: Headers = [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"proxy-status", f"PostgREST; error={_structured(rpc_error.code)}".encode()),
        *((name.lower().encode(), value.encode("latin-1")) for name, value in rpc_error.headers.items()),
    ]
    await send_answer(send, rpc_error.status, headers, rpc_error.body(context.request_id), tells_length=not is_head)


async def _unless_client_leaves(receive: "Receive", work: Coroutine[Any, Any, T]) -> T:
    """What work returns. When the client disconnects before that, work is cancelled and ClientLeft is raised."""

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
    """The function that a path names. Raises RpcError 404 when it names none."""
    path: bytes = scope["raw_path"]
    name = path.partition(b"?")[0].removeprefix(b"/rpc").removeprefix(b"/")
    if not name or b"/" in name:
        raise RpcError(404, "PGRST125", "Invalid path specified in request URL")
    return unquote(name.decode("latin-1"))


def _structured(code: str) -> str:
    """A code as a header's structured value (RFC 8941): quoted unless it is a token, without unprintable characters."""
    if re.fullmatch(r"[A-Za-z0-9_.:-]+", code):
        return code
    escaped = re.sub(r'(["\\])', r"\\\1", re.sub(r"[^\x20-\x7e]", "?", code))
    return f'"{escaped}"'

"""Preparing a call: from a request to one function of the catalog, its statement, and the statement's arguments."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from gateway.rpc.arguments import Arguments, arguments_and_options, filter_error, whole_body
from gateway.rpc.catalog import Catalog, Function
from gateway.rpc.errors import RpcError
from gateway.rpc.request import Range, Request, header, not_acceptable, requested_range, unsatisfiable
from gateway.rpc.statement import RpcStatement, statement_of

ALLOWED_METHODS: Final = {True: "OPTIONS,POST", False: "OPTIONS,GET,HEAD,POST"}
"""The methods of a function, by whether it is volatile."""


class Call(NamedTuple):
    """A call that is ready to run.

    arguments    of the statement, in order
    is_read_only whether it must run in a read-only transaction
    """

    request: Request
    function: Function
    statement: RpcStatement
    arguments: list[Any]
    range: Range
    is_read_only: bool

    @property
    def expects_one_row(self) -> bool:
        """Whether the rows have to be exactly one."""
        return self.request.accepted.format == "object" and self.function.is_set

    @property
    def needs_transaction(self) -> bool:
        """Whether one statement is not enough: it needs a setting before it, or its rows may have it undone."""
        preferences = self.request.preferences
        if preferences.timezone is not None or preferences.is_dry_run:
            return True
        may_be_undone = (
            self.expects_one_row
            or preferences.maximum_affected is not None
            or (preferences.counts and self.range.offset > 0)
        )
        return may_be_undone and not self.is_read_only

    def check(self, rows: Sequence[Any]) -> None:
        """Raises RpcError when the rows of the statement are not what the request asks for."""
        if self.function.kind == "reply":
            return
        _, row_count, total_count, _ = rows[0]
        preferences = self.request.preferences
        if preferences.maximum_affected is not None and total_count > preferences.maximum_affected:
            message = "Query result exceeds max-affected preference constraint"
            raise RpcError(400, "PGRST124", message, f"The query affects {total_count} rows")
        if preferences.counts and self.range.offset > total_count:
            details = f"An offset of {self.range.offset} was requested, but there are only {total_count} rows."
            raise unsatisfiable(details)
        if self.expects_one_row and row_count != 1:
            message = "Cannot coerce the result to a single JSON object"
            raise RpcError(406, "PGRST116", message, f"The result contains {row_count} rows")

    def content_range(self, row_count: int, total_count: int) -> bytes:
        """The header Content-Range, such as `0-9/25`; the total is * unless it was asked for."""
        first = self.range.offset
        rows = f"{first}-{first + row_count - 1}" if row_count else "*"
        return f"{rows}/{total_count if self.request.preferences.counts else '*'}".encode()


def prepare(catalog: Catalog, request: Request, ttl_hours: int) -> Call:
    """Finds the function that a request calls, and makes the call ready. Raises RpcError.

    ttl_hours: how long an idempotency key is kept
    """
    overloads = catalog.by_name.get(request.name, [])
    if request.is_read and overloads and all(function.is_volatile for function in overloads):
        raise _may_write(request)
    arguments, options = arguments_and_options(request, overloads)
    page = requested_range(options, header(request.context, b"range") if request.method == "GET" else "")
    try:
        function = catalog.choose(request.name, arguments.values, arguments.body_kind)
    except RpcError as rpc_error:
        # An unknown name in a query may be meant as a filter.
        known = {name for function in overloads for name in function.arguments}
        unknown = [(name, arguments.values[name]) for name in arguments.values if request.is_read and name not in known]
        raise filter_error(unknown) or rpc_error from None
    _check_function(request, function)
    if function.unnamed_type is not None:
        arguments = whole_body(request.body, function.unnamed_type)
    return _call(request, function, arguments, page, ttl_hours)


def _may_write(request: Request) -> RpcError:
    return RpcError(
        405,
        "PGRST101",
        f"Cannot use the {request.method} method on RPC",
        f"The function api.{request.name} is volatile: it may write.",
        hint="Call it with POST.",
        headers={"Allow": ALLOWED_METHODS[True]},
    )


def _check_function(request: Request, function: Function) -> None:
    """Raises RpcError when the function can't do what the request asks for."""
    if request.is_read and function.is_volatile:
        raise _may_write(request)
    if request.preferences.maximum_affected is not None and not function.is_set:
        message = "Function must return SETOF or TABLE when max-affected preference is used with handling=strict"
        raise RpcError(400, "PGRST128", message)
    if request.accepted.format == "csv" and function.kind == "reply":
        raise not_acceptable("text/csv")
    if request.identity.user_id is None and any(
        parameter.name == "user_id" and parameter.is_required for parameter in function.parameters
    ):
        message = "This function is for users: a bearer token with sub is needed."
        raise RpcError(401, "PGRST302", message, headers={"WWW-Authenticate": "Bearer"})


def _call(request: Request, function: Function, arguments: Arguments, page: Range, ttl_hours: int) -> Call:
    key = request.context.headers.get(b"idempotency-key")
    keeps_key = (
        key is not None and not request.is_read and function.kind != "reply" and "idempotency_key" in function.filled
    )
    names = frozenset(arguments.values)
    statement = statement_of(function, names, request.accepted, is_json=arguments.is_json, keeps_key=keeps_key)
    counts_all = request.preferences.counts or request.preferences.maximum_affected is not None
    values: dict[str, Any] = {
        **arguments.values,
        "tenant_id": request.identity.tenant_id,
        "user_id": request.identity.user_id,
        "idempotency_key": None if key is None else key.decode("latin-1"),
        "idempotency_ttl_hours": ttl_hours,
        "if_match": header(request.context, b"if-match") or None,
        "cleared_fields": sorted(name for name, value in arguments.values.items() if value is None),
        "/offset": page.offset,
        "/limit": page.limit,
        # One row more than the page tells whether the page leaves rows out.
        "/maximum": None if counts_all or page.limit is None else page.offset + page.limit + 1,
    }
    if keeps_key:
        values["/function"] = function.name
        values["/request"] = _fingerprint(arguments, page, counts=request.preferences.counts)
    is_read_only = not (function.is_volatile or keeps_key)
    return Call(request, function, statement, [values[name] for name in statement.names], page, is_read_only)


def _fingerprint(arguments: Arguments, page: Range, *, counts: bool) -> str:
    """All that makes two requests to one function the same, as JSON."""
    values = arguments.values
    if arguments.is_json:
        values = {name: None if text is None else msgspec.Raw(text.encode()) for name, text in values.items()}
    elif isinstance(values.get(""), bytes):
        values = {"": values[""].hex()}
    return msgspec.json.encode([values, page, counts]).decode()

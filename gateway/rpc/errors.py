"""What can go wrong on /rpc, in PostgREST's shape: `{"code", "message", "details", "hint"}`, each a string or null.

Codes that begin with PGRST are PostgREST's own, with its statuses and messages, so that its clients understand them.
A SQLSTATE is the code of what a function raises.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

import asyncpg
import msgspec

from gateway.database.unstorable import unstorable
from gateway.errors import CONNECTION_ERRORS, MESSAGE_OF, RETRY_AFTER_SECONDS, ApiError, api_error_of, status_of
from gateway.identity import Unauthenticated

CODE_OF: Final[Mapping[str, str]] = {
    "DATABASE_UNAVAILABLE": "PGRST000",
    "DATABASE_BUSY": "PGRST003",
    "TIMEOUT": "57014",
    "MALFORMED_JSON": "PGRST102",
}
"""PostgREST's code of a refusal that every part of the gateway has. The others keep their own."""
_REASON: Final[Mapping[str, str]] = {
    "missing": "PGRST302",
    "invalid": "PGRST301",
    "no_key": "PGRST301",
    "expired": "PGRST303",
    "claims": "PGRST303",
}
_IDEMPOTENCY: Final = {"idempotency_key_reused": "reused", "idempotency_in_progress": "in_progress"}


class RpcError(Exception):
    """A call that is not answered as it asked, with all that the client is told."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: str | None = None,
        *,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
        idempotency: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.hint = hint
        self.headers = dict(headers or {})
        self.idempotency = idempotency
        if status == 503 or idempotency == "in_progress":
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))

    def body(self, request_id: str) -> bytes:
        """The error as JSON, its four keys first and in this order."""
        error = {"code": self.code, "message": self.message, "details": self.details, "hint": self.hint}
        return msgspec.json.encode({**error, "request_id": request_id})


def not_implemented(feature: str) -> RpcError:
    """A 400 that names what PostgREST has and this gateway leaves to the functions."""
    hint = "A function takes as arguments what it filters and orders by, and answers the columns it is meant to."
    return RpcError(400, "PGRST127", "Feature not implemented", feature, hint=hint)


def rpc_error_of(error: BaseException, body: bytes = b"") -> RpcError:
    """What the client is told of an exception. body: the request's, for what in it can't be stored."""
    if isinstance(error, RpcError):
        return error
    if isinstance(error, asyncpg.PostgresError):
        return _error_of_database(error, body)
    if isinstance(error, CONNECTION_ERRORS) and not isinstance(error, OSError):
        return RpcError(503, "PGRST001", MESSAGE_OF[503])
    return _error_of_api_error(api_error_of(error))


def _error_of_api_error(api_error: ApiError) -> RpcError:
    code = CODE_OF.get(api_error.code, api_error.code)
    if isinstance(api_error, Unauthenticated):
        code = _REASON[api_error.reason]
    details = "; ".join(f"{detail.field}: {detail.message}" for detail in api_error.details)
    return RpcError(api_error.status, code, api_error.message, details or None, headers=api_error.headers)


def _error_of_database(error: asyncpg.PostgresError, body: bytes) -> RpcError:
    sqlstate = error.sqlstate or "XX000"
    if sqlstate == "PGRST":
        return _error_raised_as_json(error)
    status = status_of(sqlstate, is_rpc=True)
    message, details, hint = error.message or "", error.detail or None, error.hint or None
    if (status == 400 or sqlstate == "54001") and (found := unstorable(body)) is not None:
        place, reason = found
        return RpcError(400, sqlstate, message, f"{place}: {reason}", hint=hint)
    if sqlstate == "21000" and "requires a WHERE clause" in message:
        status = 400
    if status == 500 or (status == 503 and not sqlstate.startswith("PT")):
        return RpcError(status, sqlstate, MESSAGE_OF[status])
    if sqlstate == "57014":
        message, details, hint = MESSAGE_OF[504], None, None
    idempotency = _IDEMPOTENCY.get(error.constraint_name or "")
    return RpcError(status, sqlstate, message, details, hint=hint, idempotency=idempotency)


class _RaisedError(msgspec.Struct):
    code: str
    message: str
    details: str | None = None
    hint: str | None = None


class _RaisedAnswer(msgspec.Struct):
    status: int
    headers: dict[str, str]


def _error_raised_as_json(error: asyncpg.PostgresError) -> RpcError:
    """A failure that a function gives whole: raise sqlstate 'PGRST', with JSON as message and as detail."""
    try:
        raised = msgspec.json.decode(error.message or "", type=_RaisedError)
        answer = msgspec.json.decode(error.detail or "", type=_RaisedAnswer)
    except (msgspec.DecodeError, msgspec.ValidationError) as cause:
        return _unreadable(f"Invalid JSON in MESSAGE or DETAIL: {cause}")
    if not 400 <= answer.status <= 599 or not all(map(_is_header, answer.headers.items())):
        return _unreadable("The status is no error's, or a header can't be sent")
    return RpcError(
        answer.status, raised.code, raised.message, raised.details, hint=raised.hint, headers=answer.headers
    )


def _unreadable(details: str) -> RpcError:
    return RpcError(
        500,
        "PGRST121",
        "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error",
        details,
        hint='MESSAGE is {"code", "message", "details"?, "hint"?} and DETAIL {"status", "headers": {…}}.',
    )


def _is_header(header: tuple[str, Any]) -> bool:
    name, value = header
    return bool(re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) and re.fullmatch(r"[\t\x20-\x7e]*", value))

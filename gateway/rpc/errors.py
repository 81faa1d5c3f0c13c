"""Errors of /rpc, in PostgREST's shape: `{"code", "message", "details", "hint"}`, each a string or null.

Codes that begin with PGRST are PostgREST's own, with its statuses and messages, so that its clients understand them.
The code of an error that a function raises is its SQLSTATE.
"""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Annotated, Final

import asyncpg
import msgspec
from msgspec import Meta

from gateway.database.unstorable import unstorable
from gateway.errors import CONNECTION_ERRORS, MESSAGE_OF, RETRY_AFTER_SECONDS, api_error_of, status_of
from gateway.identity import Unauthenticated

_CODE_OF: Final[Mapping[str, str]] = {
    "missing": "PGRST302",
    "invalid": "PGRST301",
    "no_key": "PGRST301",
    "expired": "PGRST303",
    "claims": "PGRST303",
    "DATABASE_UNAVAILABLE": "PGRST000",
    "DATABASE_BUSY": "PGRST003",
    "TIMEOUT": "57014",
    "MALFORMED_JSON": "PGRST102",
}
"""PostgREST's code, by the reason of a 401, or the code of an error of the core. Other errors keep their code."""
_IDEMPOTENCY: Final = {"idempotency_key_reused": "reused", "idempotency_in_progress": "in_progress"}


@dataclass(eq=False)
class RpcError(Exception):
    """A call that failed or was refused, with all that the client is told.

    idempotency: what the idempotency key met, for metrics: reused or in_progress
    """

    status: int
    code: str
    message: str
    details: str | None = None
    _: KW_ONLY
    hint: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    idempotency: str | None = None

    def __post_init__(self) -> None:
        if self.status == 503 or self.idempotency == "in_progress":
            self.headers = {"Retry-After": str(RETRY_AFTER_SECONDS), **self.headers}

    def __str__(self) -> str:
        return self.message

    def body(self, request_id: str) -> bytes:
        """The error as JSON, PostgREST's four keys first and in this order."""
        error = {"code": self.code, "message": self.message, "details": self.details, "hint": self.hint}
        return msgspec.json.encode({**error, "request_id": request_id})


def not_implemented(feature: str) -> RpcError:
    """A 400 for a feature of PostgREST that is left to the functions here."""
    hint = "Pass what to filter and order by as arguments, and let the function return the columns you need."
    return RpcError(400, "PGRST127", "Feature not implemented", feature, hint=hint)


def rpc_error_of(error: BaseException, body: bytes = b"") -> RpcError:
    """What the client is told of an exception. body: the request's, to find the value in it that can't be stored."""
    if isinstance(error, RpcError):
        return error
    if isinstance(error, asyncpg.PostgresError):
        return _error_of_database(error, body)
    if isinstance(error, CONNECTION_ERRORS) and not isinstance(error, OSError):
        return RpcError(503, "PGRST001", MESSAGE_OF[503])
    api_error = api_error_of(error)
    code = api_error.reason if isinstance(api_error, Unauthenticated) else api_error.code
    details = "; ".join(f"{detail.field}: {detail.message}" for detail in api_error.details)
    return RpcError(
        api_error.status, _CODE_OF.get(code, code), api_error.message, details or None, headers=api_error.headers
    )


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
    if status == 500 or (status in (503, 504) and not sqlstate.startswith("PT")):
        return RpcError(status, sqlstate, MESSAGE_OF[status])
    idempotency = _IDEMPOTENCY.get(error.constraint_name or "")
    return RpcError(status, sqlstate, message, details, hint=hint, idempotency=idempotency)


class _RaisedError(msgspec.Struct):
    code: str
    message: str
    details: str | None = None
    hint: str | None = None


class _RaisedResponse(msgspec.Struct):
    status: Annotated[int, Meta(ge=400, le=599)]
    headers: dict[
        Annotated[str, Meta(pattern=r"\A[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")],
        Annotated[str, Meta(pattern=r"\A[\t\x20-\x7e]*\Z")],
    ]


def _error_raised_as_json(error: asyncpg.PostgresError) -> RpcError:
    """A whole response that a function raises: SQLSTATE PGRST, with JSON as message and as detail."""
    try:
        raised = msgspec.json.decode(error.message or "", type=_RaisedError)
        response = msgspec.json.decode(error.detail or "", type=_RaisedResponse)
    except msgspec.DecodeError as cause:
        return RpcError(
            500,
            "PGRST121",
            "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error",
            f"Invalid JSON in MESSAGE or DETAIL: {cause}",
            hint='MESSAGE is {"code", "message", "details"?, "hint"?} and DETAIL {"status", "headers": {…}}.',
        )
    return RpcError(
        response.status, raised.code, raised.message, raised.details, hint=raised.hint, headers=response.headers
    )

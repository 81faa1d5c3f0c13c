"""What can go wrong, as HTTP: from any exception to the one error envelope.

An error that our functions raise has its HTTP status in the SQLSTATE (PTxyz), its error code in the constraint's name
and the field in the column's name. Anything unforeseen is a 500 that reveals nothing of its cause; the log has it.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import asyncpg
import msgspec
from litestar.exceptions import HTTPException

RETRY_AFTER_SECONDS: Final = 1

CONNECTION_ERRORS: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,  # TimeoutError is one
)
"""The database can't be reached. The same statement may succeed once it is back."""
DATABASE_ERRORS: Final = (asyncpg.PostgresError, *CONNECTION_ERRORS)
"""Everything that a statement can fail with."""

STATUS_OF: Final[Mapping[str, tuple[int, int]]] = {
    "08": (503, 503),  # connection exception
    "0L": (403, 403),  # invalid grantor
    "0P": (403, 403),  # invalid role
    "21": (422, 500),  # cardinality violation
    "22": (422, 400),  # data exception: a value PostgreSQL can't take
    "23": (500, 400),  # integrity constraint violation
    "23502": (422, 400),  # not null violation
    "23503": (409, 409),  # foreign key violation
    "23505": (409, 409),  # unique violation
    "23514": (422, 400),  # check violation
    "23P01": (409, 409),  # exclusion violation
    "25006": (405, 405),  # a write in a read-only transaction
    "28": (503, 403),  # the gateway could not log in: a mistake of its operator. Over /rpc, PostgREST's status
    "3D000": (503, 503),  # the database does not exist (any more)
    "40001": (503, 503),  # serialization failure: the same call may succeed next time
    "40P01": (503, 503),  # deadlock: likewise
    "42501": (403, 403),  # a privilege is missing, or a policy forbids the row
    "53": (503, 503),  # insufficient resources
    "53400": (503, 500),  # configuration limit exceeded
    "54001": (422, 500),  # nested too deep
    "55P03": (409, 409),  # a lock was not available in time
    "57014": (504, 504),  # cancelled: the statement ran too long. Not 503, because clients retry that
    "57P": (503, 503),  # the server is shutting down, starting, or crashed
    "P0001": (400, 400),  # raised without a code
    "P0002": (404, 404),  # no data found
}
"""HTTP statuses of a SQLSTATE, by the code or its beginning (PostgreSQL manual, appendix A): for the route table, and
for /rpc, which has PostgREST's. The longest match counts."""

INTERNAL: Final = ("09", "25", "2D", "38", "39", "3B", "40", "42", "54", "55", "57", "58", "F0", "HV", "P0", "XX")
"""Classes of errors that no client can cause: 500. What is in neither table is a 500, over /rpc a 400."""

CODE_OF: Final[Mapping[int, str]] = {
    400: "BAD_REQUEST",
    401: "UNAUTHENTICATED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    406: "NOT_ACCEPTABLE",
    408: "REQUEST_TIMEOUT",
    409: "CONFLICT",
    412: "PRECONDITION_FAILED",
    413: "PAYLOAD_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    421: "MISDIRECTED_REQUEST",
    422: "VALIDATION_ERROR",
    429: "RATE_LIMITED",
    431: "HEADERS_TOO_LARGE",
    500: "INTERNAL_ERROR",
    503: "DATABASE_UNAVAILABLE",
    504: "TIMEOUT",
}
"""The error code of a status, for errors that name none."""

MESSAGE_OF: Final[Mapping[int, str]] = {
    403: "This is not allowed.",
    404: "There is nothing at this address.",
    405: "This address does not support this method. The Allow header lists those it supports.",
    409: "The request conflicts with another one. Repeat it.",
    422: "The request has a value that can't be stored.",
    500: "Something went wrong on our side. The log has it under this request's id.",
    503: "The database can't be reached. Repeat the request a little later.",
    504: "The database took too long. Ask for less, or repeat the request later.",
}
"""The message of a status, for errors whose own text must not leave the gateway."""


class ErrorDetail(msgspec.Struct, frozen=True):
    """One thing that is wrong: where, as a path into the request, and what."""

    field: str
    message: str


class ApiError(Exception):
    """An error response: its status, and everything the client is told."""

    def __init__(
        self,
        status: int,
        code: str | None = None,
        message: str | None = None,
        *,
        details: tuple[ErrorDetail, ...] = (),
        headers: Mapping[str, str] | None = None,
        sqlstate: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.status = status
        self.code = code or CODE_OF.get(status, HTTPStatus(status).name)
        self.message = message or MESSAGE_OF.get(status, HTTPStatus(status).description or HTTPStatus(status).phrase)
        self.details = details
        self.headers = dict(headers or {})
        self.sqlstate = sqlstate
        self.hint = hint
        if status in (429, 503) or self.code == "IDEMPOTENCY_IN_PROGRESS":
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
        super().__init__(self.message)


def invalid(field: str, message: str) -> ApiError:
    """A 422 about one field of the request."""
    return ApiError(422, message="The request is not valid.", details=(ErrorDetail(field, message),))


def envelope(api_error: ApiError, request_id: str) -> bytes:
    """The body of an error: `{"success": false, "error": {"code", "message", "details", "request_id"}}`."""
    error = {"code": api_error.code, "message": api_error.message, "details": api_error.details}
    error["request_id"] = request_id
    return msgspec.json.encode({"success": False, "error": error})


def status_of(sqlstate: str, *, is_rpc: bool = False) -> int:
    """HTTP status of a SQLSTATE.

    "PTxyz" is raised by our own functions and contains its status; "PT40A" would be a bug of ours: 500.
    """
    if raised := re.fullmatch(r"PT([45]\d\d)", sqlstate):
        return int(raised[1])
    for length in (5, 3, 2):
        if statuses := STATUS_OF.get(sqlstate[:length]):
            return statuses[is_rpc]
    return 400 if is_rpc and not sqlstate.startswith(("PT", *INTERNAL)) else 500


def api_error_of(error: BaseException) -> ApiError:
    """The error response to an exception."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, asyncpg.PostgresError):
        return _error_of_database(error)
    if isinstance(error, CONNECTION_ERRORS):
        return ApiError(503)
    if isinstance(error, msgspec.ValidationError):
        return _error_of_shape(error)
    if isinstance(error, (msgspec.DecodeError, UnicodeDecodeError)):
        return ApiError(400, "MALFORMED_JSON", f"The body is not valid JSON: {error}.")
    if isinstance(error, RecursionError):
        return invalid("body", "Nested too deep.")
    if isinstance(error, HTTPException):
        message = None if error.status_code in MESSAGE_OF else error.detail
        return ApiError(error.status_code, message=message, headers=error.headers)
    return ApiError(500)


def _error_of_shape(error: msgspec.ValidationError) -> ApiError:
    """A 422 from msgspec's message, such as "Expected `str`, got `int` - at `$.cards[0].card_type`"."""
    message, _, path = str(error).partition(" - at `")
    if missing := re.fullmatch(r"Object missing required field `(\w+)`", message):
        return invalid(_field(path, missing[1]), "This field is required.")
    return invalid(_field(path), f"{message}.")


def _field(path: str, name: str = "") -> str:
    """A field's path as callers write it: "$.cards[0]`" and "content" become "cards[0].content"."""
    parts = (path.removeprefix("key` in `").rstrip("`").removeprefix("$").removeprefix("."), name)
    return ".".join(part for part in parts if part) or "body"


def _error_of_database(error: asyncpg.PostgresError) -> ApiError:
    sqlstate = error.sqlstate or "XX000"
    status = status_of(sqlstate)
    if not sqlstate.startswith("PT"):
        return ApiError(status, sqlstate=sqlstate)
    code = error.constraint_name.upper() if error.constraint_name else None
    message = f"{error.message[:1].upper()}{error.message[1:]}." if error.message else None
    text = " ".join(part for part in (error.detail, error.hint) if part)
    details = (ErrorDetail(error.column_name or "", text),) if text else ()
    return ApiError(status, code, message, details=details, sqlstate=sqlstate, hint=error.hint)

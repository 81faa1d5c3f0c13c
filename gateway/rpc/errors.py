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
from gateway.errors import MESSAGE_OF, RETRY_AFTER_SECONDS, Refusal, refusal_of
from gateway.identity import Unauthenticated

STATUS_OF: Final[Mapping[str, int]] = {
    "08": 503,  # connection exception
    "09": 500,  # triggered action exception
    "0L": 403,  # invalid grantor
    "0P": 403,  # invalid role specification
    "21000": 500,  # cardinality violation
    "23503": 409,  # foreign key violation
    "23505": 409,  # unique violation
    "23P01": 409,  # exclusion violation
    "25": 500,  # invalid transaction state
    "25006": 405,  # a write in a read-only transaction
    "28": 403,  # invalid authorization
    "2D": 500,  # invalid transaction termination
    "38": 500,  # external routine exception
    "39": 500,  # external routine invocation exception
    "3B": 500,  # savepoint exception
    "40": 500,  # transaction rollback
    "40001": 503,  # serialization failure: repeated in vain, the same call may pass later
    "40P01": 503,  # deadlock: likewise
    "42": 500,  # the function itself names what is not there: the catalog has already found the function
    "42501": 403,  # a privilege is missing, or a policy forbids the row
    "53": 503,  # insufficient resources
    "53400": 500,  # configuration limit exceeded
    "54": 500,  # program limit exceeded
    "55": 500,  # object not in prerequisite state
    "55P03": 409,  # a lock was not had in time
    "57": 500,  # operator intervention
    "57014": 504,  # cancelled: the statement ran too long. Not 503, for clients repeat that
    "57P": 503,  # the server is shutting down, starting, or crashed
    "58": 500,  # system error
    "F0": 500,  # configuration file error
    "HV": 500,  # foreign data wrapper error
    "P0": 500,  # PL/pgSQL error
    "P0001": 400,  # raised without a code
    "P0002": 404,  # no data found
    "XX": 500,  # internal error
}
"""HTTP status of a SQLSTATE, by the code or its beginning; the longest match counts, and what is not here is 400."""

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


class Failure(Exception):
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


def not_implemented(feature: str) -> Failure:
    """A 400 that names what PostgREST has and this gateway leaves to the functions."""
    hint = "A function takes as arguments what it filters and orders by, and answers the columns it is meant to."
    return Failure(400, "PGRST127", "Feature not implemented", feature, hint=hint)


def failure_of(error: BaseException, body: bytes = b"") -> Failure:
    """What the client is told of an exception. body: the request's, for what in it can't be stored."""
    if isinstance(error, Failure):
        return error
    if isinstance(error, asyncpg.PostgresError):
        return _failure_of_database(error, body)
    if isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError)):
        return Failure(503, "PGRST001", MESSAGE_OF[503])
    return _failure_of_refusal(refusal_of(error))


def _failure_of_refusal(refusal: Refusal) -> Failure:
    code = CODE_OF.get(refusal.code, refusal.code)
    if isinstance(refusal, Unauthenticated):
        code = _REASON[refusal.reason]
    details = "; ".join(f"{detail.field}: {detail.message}" for detail in refusal.details)
    return Failure(refusal.status, code, refusal.message, details or None, headers=refusal.headers)


def status_of(sqlstate: str) -> int:
    """HTTP status of a SQLSTATE. PTxyz carries its own; where xyz is no status of an error, that is a mistake: 500."""
    if sqlstate.startswith("PT"):
        return int(sqlstate[2:]) if re.fullmatch(r"PT[45]\d\d", sqlstate) else 500
    for length in (5, 3, 2):
        if status := STATUS_OF.get(sqlstate[:length]):
            return status
    return 400


def _failure_of_database(error: asyncpg.PostgresError, body: bytes) -> Failure:
    sqlstate = error.sqlstate or "XX000"
    if sqlstate == "PGRST":
        return _failure_raised_as_json(error)
    status = status_of(sqlstate)
    message, details, hint = error.message or "", error.detail or None, error.hint or None
    if (status == 400 or sqlstate == "54001") and (found := unstorable(body)) is not None:
        place, reason = found
        return Failure(400, sqlstate, message, f"{place}: {reason}", hint=hint)
    if sqlstate == "21000" and "requires a WHERE clause" in message:
        status = 400
    if status == 500 or (status == 503 and not sqlstate.startswith("PT")):
        return Failure(status, sqlstate, MESSAGE_OF[status])
    if sqlstate == "57014":
        message, details, hint = MESSAGE_OF[504], None, None
    idempotency = _IDEMPOTENCY.get(error.constraint_name or "")
    return Failure(status, sqlstate, message, details, hint=hint, idempotency=idempotency)


class _RaisedError(msgspec.Struct):
    code: str
    message: str
    details: str | None = None
    hint: str | None = None


class _RaisedAnswer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    status_text: str | None = None


def _failure_raised_as_json(error: asyncpg.PostgresError) -> Failure:
    """A failure that a function gives whole: raise sqlstate 'PGRST', with JSON as message and as detail."""
    try:
        raised = msgspec.json.decode(error.message or "", type=_RaisedError)
        answer = msgspec.json.decode(error.detail or "", type=_RaisedAnswer)
    except (msgspec.DecodeError, msgspec.ValidationError) as cause:
        return _unreadable(f"Invalid JSON in MESSAGE or DETAIL: {cause}")
    if not 400 <= answer.status <= 599 or not all(map(_is_header, answer.headers.items())):
        return _unreadable("The status is no error's, or a header can't be sent")
    return Failure(answer.status, raised.code, raised.message, raised.details, hint=raised.hint, headers=answer.headers)


def _unreadable(details: str) -> Failure:
    return Failure(
        500,
        "PGRST121",
        "Could not parse JSON in the \"RAISE SQLSTATE 'PGRST'\" error",
        details,
        hint='MESSAGE is {"code", "message", "details"?, "hint"?} and DETAIL {"status", "headers": {…}}.',
    )


def _is_header(header: tuple[str, Any]) -> bool:
    name, value = header
    return bool(re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) and re.fullmatch(r"[\t\x20-\x7e]*", value))

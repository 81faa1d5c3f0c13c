"""What a request to /rpc asks for in its headers: the format, the preferences, and the rows of the response."""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from gateway.identity import Identity
from gateway.request import RequestContext
from gateway.rpc.errors import RpcError, not_implemented

Format = Literal["json", "object", "csv"]
Pairs = list[tuple[str, str]]
"""The parameters of a query string, in order."""

_CACHED_HEADERS: Final = 128
"""Values of Accept and of Prefer that are kept as they were read: clients send the same few."""
_MAXIMUM_ROWS: Final = 2**62 - 1
"""Of limit and of offset: PostgreSQL gets their sum, plus one, as a bigint."""
_MEDIA_TYPE_OF: Final[Mapping[Format, str]] = {
    "json": "application/json",
    "object": "application/vnd.pgrst.object+json",
    "csv": "text/csv",
}
_FORMAT_OF: Final[Mapping[str, Format]] = {
    "*/*": "json",
    "application/*": "json",
    "application/json": "json",
    "application/vnd.pgrst.array": "json",
    "application/vnd.pgrst.array+json": "json",
    "application/vnd.pgrst.object": "object",
    "application/vnd.pgrst.object+json": "object",
    "text/csv": "csv",
    "text/*": "csv",
}
_PREFERENCES: Final[Mapping[str, str]] = {
    "count": "exact|planned|estimated",
    "tx": "commit|rollback",
    "return": "representation|minimal|headers-only",
    "handling": "strict|lenient",
    "timezone": r"[A-Za-z0-9_+\-/:]+",
    "max-affected": r"\d{1,18}",
    "wait": r"0*[1-9]\d{0,8}",
}
"""The known preferences, and the pattern of their values (RFC 7240)."""


def header(context: RequestContext, name: bytes) -> str:
    """A request header without the white space around it; empty when there is none."""
    return context.headers.get(name, b"").decode("latin-1").strip()


class Accepted(NamedTuple):
    """The format of a response."""

    format: Format
    media_type: str
    strips_nulls: bool = False


@lru_cache(_CACHED_HEADERS)
def accepted(accept: str) -> Accepted:
    """The first format of the header Accept that is available. Raises RpcError: 406, or 400 for a query plan."""
    listed: list[tuple[float, str, bool]] = []
    for part in (accept or "*/*").split(","):
        media_type, *options = (piece.strip() for piece in part.lower().split(";"))
        quality = next((option[2:] for option in options if option.startswith("q=")), "1")
        weight = float(quality) if re.fullmatch(r"[01](\.\d{0,3})?", quality) else 1.0
        if weight:
            listed.append((weight, media_type, "nulls=stripped" in options))
    for _, media_type, strips_nulls in sorted(listed, key=lambda each: each[0], reverse=True):
        if media_type.startswith("application/vnd.pgrst.plan"):
            raise not_implemented("the plan of a query (explain)")
        if media_type in _FORMAT_OF:
            name, bare_type = _FORMAT_OF[media_type], media_type.removesuffix("+json")
            if strips_nulls and bare_type.startswith("application/vnd.pgrst."):
                return Accepted(name, f"{bare_type}+json;nulls=stripped", strips_nulls=True)
            return Accepted(name, _MEDIA_TYPE_OF[name])
    raise not_acceptable(accept)


def not_acceptable(accept: str) -> RpcError:
    """A 406 for media types that a function can't return."""
    return RpcError(406, "PGRST107", f"None of these media types are available: {accept}")


class Preferences(NamedTuple):
    """What the header Prefer asks for.

    maximum_affected   rows that the call may return; more undo it
    wait_seconds       the call's timeout
    applied            the preferences that the response confirms
    """

    counts: bool = False
    is_dry_run: bool = False
    is_minimal: bool = False
    timezone: str | None = None
    maximum_affected: int | None = None
    wait_seconds: int | None = None
    applied: tuple[str, ...] = ()


@lru_cache(_CACHED_HEADERS)
def preferences(prefer: str) -> Preferences:
    """Reads the header Prefer. The first value of a repeated preference counts, and unknown ones are ignored.

    Raises RpcError 400 PGRST122 for unknown preferences together with handling=strict.
    """
    found: dict[str, str] = {}
    unknown: list[str] = []
    for part in prefer.split(",") if prefer else ():
        name, _, value = (piece.strip() for piece in part.partition(";")[0].partition("="))
        name, value = name.lower(), value.strip('"')
        if not re.fullmatch(_PREFERENCES.get(name, r"(?!)"), value):
            unknown.append(part.strip())
        else:
            found.setdefault(name, value)
    if found.get("handling") != "strict":
        found.pop("max-affected", None)
    elif unknown:
        details = f"Invalid preferences: {', '.join(unknown)}"
        raise RpcError(400, "PGRST122", "Invalid preferences given with handling=strict", details)
    is_minimal = found.get("return") in ("minimal", "headers-only")
    return Preferences(
        counts="count" in found,
        is_dry_run=found.get("tx") == "rollback",
        is_minimal=is_minimal,
        timezone=found.get("timezone"),
        maximum_affected=int(found["max-affected"]) if "max-affected" in found else None,
        wait_seconds=int(found["wait"]) if "wait" in found else None,
        applied=tuple(f"{name}={value}" for name, value in found.items() if name != "return" or is_minimal),
    )


class Range(NamedTuple):
    """The rows of a page. offset: the first one's position from 0; limit: how many; None: all that follow."""

    offset: int = 0
    limit: int | None = None


def requested_range(pairs: Pairs, header: str) -> Range:
    """The rows that limit and offset ask for, or else the header Range.

    Raises RpcError: 400 PGRST127 for parameters that filter, order or select; 416 for a range that can't be.
    """
    numbers: dict[str, int] = {}
    for name, value in pairs:
        if name in ("limit", "offset"):
            numbers[name] = _row_number(name, value)
        elif name != "columns" and not (name == "select" and value.strip() in ("", "*")):
            raise not_implemented(f"shaping the answer by the query parameter {name}={value}"[:300])
    if not numbers:
        return _range_of_header(header)
    for name in ("limit", "offset"):
        if numbers.get(name, 0) < 0:
            raise unsatisfiable(f"{name.capitalize()} should be greater than or equal to zero.")
    return Range(numbers.get("offset", 0), numbers.get("limit"))


def _range_of_header(header: str) -> Range:
    match = re.fullmatch(r"\s*(?:items=)?(\d{1,18})-(\d{0,18})\s*", header)
    if match is None:
        return Range()
    first = int(match[1])
    if not match[2]:
        return Range(first)
    if int(match[2]) < first:
        raise unsatisfiable("The lower boundary must be lower than or equal to the upper boundary in the Range header.")
    return Range(first, int(match[2]) - first + 1)


def _row_number(name: str, value: str) -> int:
    if not re.fullmatch(r"-?\d{1,19}", value, re.ASCII) or int(value) > _MAXIMUM_ROWS:
        raise RpcError(400, "PGRST100", f"The query parameter {name} is not valid", "Expected an integer.")
    return int(value)


def unsatisfiable(details: str) -> RpcError:
    """A 416 that says what is wrong with the range."""
    return RpcError(416, "PGRST103", "Requested range not satisfiable", details)


class Request(NamedTuple):
    """A request, read as far as possible without the catalog."""

    context: RequestContext
    method: str
    name: str
    identity: Identity
    accepted: Accepted
    preferences: Preferences
    profile: str
    query_string: bytes
    body: bytes

    @property
    def is_read(self) -> bool:
        """Whether the call must not write."""
        return self.method != "POST"

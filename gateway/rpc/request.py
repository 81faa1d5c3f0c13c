"""What a request to /rpc asks for: its arguments, and the format and the rows of its response."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from gateway.request import RequestContext
from gateway.rpc.errors import RpcError, not_implemented

BodyKind = Literal["json", "text", "xml", "bytea"]
Format = Literal["json", "object", "csv"]
Pairs = list[tuple[str, str]]

RESERVED: Final = frozenset({"select", "order", "limit", "offset", "and", "or", "columns", "on_conflict"})
"""Query parameters that are not arguments, unless the function has a parameter of that name."""
_RESERVED_OF_EMBEDDED: Final = re.compile(r".*\.(order|limit|offset|and|or)")
_FILTER: Final = re.compile(
    r"(not\.)?(eq|neq|gte?|lte?|i?like|i?match|in|is|isdistinct|(pl|ph|w)?fts|cs|cd|ov|sl|sr|nxr|nxl|adj)(\(\w*\))?\..*",
    re.DOTALL,
)
_MAXIMUM_ROWS: Final = 2**62 - 1
"""Of limit and of offset: PostgreSQL gets their sum, plus one, as a bigint."""
_BODY_KINDS: Final[Mapping[str, BodyKind | Literal["form"]]] = {
    "application/json": "json",
    "application/x-www-form-urlencoded": "form",
    "text/plain": "text",
    "text/xml": "xml",
    "application/xml": "xml",
    "application/octet-stream": "bytea",
}
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

_objects: Final = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[dict[str, msgspec.Raw]])
_any_json: Final = msgspec.json.Decoder()


def header(context: RequestContext, name: bytes) -> str:
    """A request header without the white space around it; empty when there is none."""
    return context.headers.get(name, b"").decode("latin-1").strip()


class Accepted(NamedTuple):
    """The format of a response."""

    format: Format
    media_type: str
    strips_nulls: bool = False


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


def query_pairs(query_string: bytes) -> Pairs:
    """The parameters of a query string or form, in order. Raises RpcError 400 PGRST100."""
    try:
        text = query_string.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError:
        raise RpcError(400, "PGRST100", "The query string or form is not valid", "Expected name=value&…") from None


def is_reserved(name: str) -> bool:
    """Whether a query parameter shapes the response, so that it is not an argument."""
    return name in RESERVED or _RESERVED_OF_EMBEDDED.fullmatch(name) is not None


def filter_error(pairs: Iterable[tuple[str, str]]) -> RpcError | None:
    """The error for the first query parameter that reads as a filter; None when there is none."""
    for name, value in pairs:
        if _FILTER.fullmatch(value):
            return not_implemented(f"filtering the answer by {name}={value}"[:300])
    return None


class Arguments(NamedTuple):
    """The arguments of a call.

    values     by name: JSON text, or SQL text where is_json is false; None is null
    body_kind  the type of an unnamed parameter that could take the whole body; None: there is no body to take
    """

    values: Mapping[str, Any]
    is_json: bool
    body_kind: BodyKind | None = None


def text_arguments(pairs: Pairs, variadic: frozenset[str]) -> Arguments:
    """Arguments from a query string or a form: text, which PostgreSQL casts. The last of a repeated name counts.

    variadic: the names of parameters that take all values of a repeated name instead.
    """
    values = dict(pairs)
    for name in variadic & values.keys():
        several = [value for key, value in pairs if key == name]
        if len(several) > 1 or not several[0].startswith("{"):  # else it is an array already, as SQL writes it
            values[name] = _array_literal(several)
    return Arguments(values, is_json=False)


def _array_literal(values: Iterable[str]) -> str:
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in escaped) + "}"


def body_kind(content_type: str) -> BodyKind | Literal["form"]:
    """How to read a body. Raises RpcError 400 PGRST102 for a media type that can't be read."""
    media_type = content_type.partition(";")[0].strip().lower() or "application/json"
    kind = "json" if media_type.endswith("+json") else _BODY_KINDS.get(media_type)
    if kind is None:
        raise RpcError(400, "PGRST102", f"Content-Type not acceptable: {media_type[:100]}")
    return kind


def json_arguments(body: bytes, columns: frozenset[str] | None) -> Arguments:
    """Arguments from a JSON body: an object, or an array of objects with the same keys, of which the first counts.

    Any other JSON has no arguments. columns: the keys to use; None: all. Raises RpcError 400 PGRST102.
    """
    try:
        values = {
            name: None if bytes(value) == b"null" else str(value, "utf-8")
            for name, value in _first_object(body).items()
            if columns is None or name in columns
        }
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RpcError(400, "PGRST102", "Empty or invalid json") from None
    return Arguments(values, is_json=True, body_kind="json")


def _first_object(body: bytes) -> dict[str, msgspec.Raw]:
    if not body.strip(b" \t\r\n"):
        return {}
    try:
        decoded = _objects.decode(body)
    except msgspec.ValidationError:
        other = _any_json.decode(body)
        if isinstance(other, list) and any(isinstance(item, dict) for item in other):
            raise RpcError(400, "PGRST102", "All object keys must match") from None
        return {}
    if isinstance(decoded, dict):
        return decoded
    if any(item.keys() != decoded[0].keys() for item in decoded):
        raise RpcError(400, "PGRST102", "All object keys must match")
    return decoded[0] if decoded else {}

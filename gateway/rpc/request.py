"""What a request to /rpc asks for: the arguments, and in which form and how much of the answer."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from gateway.rpc.errors import RpcError, not_implemented

BodyKind = Literal["json", "text", "xml", "bytea"]
Form = Literal["json", "object", "csv"]

RESERVED: Final = frozenset({"select", "order", "limit", "offset", "and", "or", "columns", "on_conflict"})
"""Query parameters that are no arguments, unless the function called has one of that name."""
_RESERVED_OF_EMBEDDED: Final = re.compile(r".*\.(order|limit|offset|and|or)")
_FILTER: Final = re.compile(
    r"(not\.)?(eq|neq|gte?|lte?|i?like|i?match|in|is|isdistinct|(pl|ph|w)?fts|cs|cd|ov|sl|sr|nxr|nxl|adj)(\(\w*\))?\..*",
    re.DOTALL,
)
_MAXIMUM: Final = 2**63 - 2
_BODY_KINDS: Final[Mapping[str, BodyKind]] = {
    "text/plain": "text",
    "text/xml": "xml",
    "application/xml": "xml",
    "application/octet-stream": "bytea",
}
_MEDIA_TYPES: Final[Mapping[str, tuple[Form, bool, str]]] = {
    "*/*": ("json", False, "application/json"),
    "application/*": ("json", False, "application/json"),
    "application/json": ("json", False, "application/json"),
    "application/vnd.pgrst.array": ("json", False, "application/json"),
    "application/vnd.pgrst.array+json": ("json", False, "application/json"),
    "application/vnd.pgrst.object": ("object", False, "application/vnd.pgrst.object+json"),
    "application/vnd.pgrst.object+json": ("object", False, "application/vnd.pgrst.object+json"),
    "text/csv": ("csv", False, "text/csv"),
    "text/*": ("csv", False, "text/csv"),
}
_STRIPPABLE: Final = ("application/vnd.pgrst.array", "application/vnd.pgrst.object")
_PREFERENCES: Final[Mapping[str, str]] = {
    "count": "exact|planned|estimated",
    "tx": "commit|rollback",
    "return": "representation|minimal|headers-only",
    "handling": "strict|lenient",
    "timezone": r"[A-Za-z0-9_+\-/:]+",
    "max-affected": r"\d{1,18}",
    "wait": r"0*[1-9]\d{0,8}",
}
"""The preferences there are, and what they may be (RFC 7240)."""

_objects: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_arrays: Final = msgspec.json.Decoder(list[msgspec.Raw])
_anything: Final = msgspec.json.Decoder()

Pairs = list[tuple[str, str]]


class Wanted(NamedTuple):
    """In which form and how much of the answer."""

    form: Form
    strips_nulls: bool
    media_type: str


class Preferences(NamedTuple):
    """What the header Prefer asks for. applied: those of it that are followed whenever they are there."""

    counts: bool = False
    is_dry_run: bool = False
    is_minimal: bool = False
    is_strict: bool = False
    timezone: str | None = None
    maximum_affected: int | None = None
    wait_seconds: int | None = None
    applied: tuple[str, ...] = ()


class Arguments(NamedTuple):
    """The arguments of a call.

    values     by name: JSON text, or SQL text where is_json is false (all that were given); None is null
    body_kind  what the whole body may be for a function with one unnamed parameter; None: nothing
    """

    values: Mapping[str, Any]
    is_json: bool
    body_kind: BodyKind | None = None


def wanted(accept: str) -> Wanted:
    """The form to answer in: the first one in the header Accept that there is. Raises RpcError: 406, or 400."""
    listed: list[tuple[float, str]] = []
    for part in accept.split(",") if accept else ["*/*"]:
        media_type, _, rest = part.strip().lower().partition(";")
        options = {option.strip() for option in rest.split(";")}
        quality = next((option[2:] for option in options if option.startswith("q=")), "1")
        weight = float(quality) if re.fullmatch(r"[01](\.\d{0,3})?", quality) else 1.0
        stripped = ";nulls=stripped" if "nulls=stripped" in options else ""
        listed.append((-weight, media_type.strip() + stripped))
    for weight, name in sorted(listed, key=lambda pair: pair[0]):
        media_type, _, stripped = name.partition(";")
        if weight == 0:
            continue
        if media_type.startswith("application/vnd.pgrst.plan"):
            raise not_implemented("the plan of a query (explain)")
        if media_type in _MEDIA_TYPES:
            form, _, answered = _MEDIA_TYPES[media_type]
            if stripped and media_type.removesuffix("+json") in _STRIPPABLE:
                return Wanted(form, True, f"{media_type.removesuffix('+json')}+json;nulls=stripped")
            return Wanted(form, False, answered)
    raise not_acceptable(accept)


def not_acceptable(accept: str) -> RpcError:
    """A 406 for media types that a function does not answer in."""
    return RpcError(406, "PGRST107", f"None of these media types are available: {accept}")


def preferences(prefer: str) -> Preferences:
    """What the header Prefer asks for. The first of a kind counts, and what is unknown is ignored.

    Raises RpcError 400 PGRST122 where it asks for handling=strict and for something unknown.
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
    is_strict = found.get("handling") == "strict"
    if is_strict and unknown:
        raise RpcError(
            400,
            "PGRST122",
            "Invalid preferences given with handling=strict",
            f"Invalid preferences: {', '.join(unknown)}",
        )
    if not is_strict:
        found.pop("max-affected", None)
    is_minimal = found.get("return") in ("minimal", "headers-only")
    return Preferences(
        counts="count" in found,
        is_dry_run=found.get("tx") == "rollback",
        is_minimal=is_minimal,
        is_strict=is_strict,
        timezone=found.get("timezone"),
        maximum_affected=int(found["max-affected"]) if "max-affected" in found else None,
        wait_seconds=int(found["wait"]) if "wait" in found else None,
        applied=tuple(f"{name}={value}" for name, value in found.items() if name != "return" or is_minimal),
    )


def query_pairs(query_string: bytes) -> Pairs:
    """The parameters of a query string or form, in order. Raises RpcError 400 PGRST100."""
    try:
        text = query_string.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError:
        raise RpcError(400, "PGRST100", "The query string or form is not valid", "Expected name=value&…") from None


def is_reserved(name: str) -> bool:
    """Whether a query parameter shapes the answer, so that it is no argument."""
    return name in RESERVED or _RESERVED_OF_EMBEDDED.fullmatch(name) is not None


class Range(NamedTuple):
    """Which rows: the first by its place from 0, and how many; None: all that follow."""

    offset: int = 0
    limit: int | None = None


def rows_wanted(pairs: Pairs, range_header: str | None) -> Range:
    """Which rows are asked for by limit and offset, or else by the header Range.

    Raises RpcError: 400 PGRST127 for parameters that ask for other rows or columns, 416 for what is no range.
    """
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in ("limit", "offset"):
            given[name] = value
        elif name != "columns" and not (name == "select" and value.strip() in ("", "*")):
            raise not_implemented(f"shaping the answer by the query parameter {name}={value}"[:300])
    if not given:
        return _range_of_header(range_header)
    numbers = {name: _integer(name, value) for name, value in given.items()}
    if numbers.get("limit", 0) < 0:
        raise unsatisfiable("Limit should be greater than or equal to zero.")
    if numbers.get("offset", 0) < 0:
        raise unsatisfiable("Offset should be greater than or equal to zero.")
    return Range(numbers.get("offset", 0), numbers.get("limit"))


def _range_of_header(header: str | None) -> Range:
    match = re.fullmatch(r"\s*(?:items=)?(\d{1,18})-(\d{0,18})\s*", header or "")
    if match is None:
        return Range()
    first, last = int(match[1]), int(match[2]) if match[2] else None
    if last is None:
        return Range(first)
    if last < first:
        raise unsatisfiable("The lower boundary must be lower than or equal to the upper boundary in the Range header.")
    return Range(first, last - first + 1)


def _integer(name: str, value: str) -> int:
    if not re.fullmatch(r"-?\d{1,19}", value, re.ASCII) or int(value) > _MAXIMUM // 2:
        raise RpcError(400, "PGRST100", f"The query parameter {name} is not valid", "Expected an integer.")
    return int(value)


def unsatisfiable(details: str) -> RpcError:
    """A 416 that says what is wrong with the range."""
    return RpcError(416, "PGRST103", "Requested range not satisfiable", details)


def refuse_filters(pairs: Iterable[tuple[str, str]]) -> None:
    """Refuses the query parameters of a POST, whose arguments are in its body: they could only be filters."""
    for name, value in pairs:
        if _FILTER.fullmatch(value):
            raise not_implemented(f"filtering the answer by {name}={value}"[:300])
        raise RpcError(
            400,
            "PGRST100",
            f'"failed to parse filter ({value[:100]})" (line 1, column 1)',
            f"The query parameter {name[:100]} is no argument: those of a POST are in its body.",
        )


def filters_among(pairs: Iterable[tuple[str, str]]) -> RpcError | None:
    """The failure that says so where one of the parameters can be read as a filter."""
    for name, value in pairs:
        if _FILTER.fullmatch(value):
            return not_implemented(f"filtering the answer by {name}={value}"[:300])
    return None


def text_arguments(pairs: Iterable[tuple[str, str]], variadic: frozenset[str]) -> Arguments:
    """Arguments from a query string or a form: text, cast by each parameter's type. Of a repeated name the last counts.

    variadic: the names of parameters that collect.
    """
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in variadic:
            values.setdefault(name, []).append(value)
        else:
            values[name] = value
    for name in variadic & values.keys():
        several = values[name]
        is_array = len(several) == 1 and several[0].startswith("{")  # as SQL writes it
        values[name] = several[0] if is_array else _array_literal(several)
    return Arguments(values, is_json=False)


def _array_literal(values: Iterable[str]) -> str:
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in escaped) + "}"


def body_kind(content_type: str) -> BodyKind | Literal["form"]:
    """How to read a body. Raises RpcError 400 PGRST102 for a media type that can't be read."""
    media_type = content_type.partition(";")[0].strip().lower() or "application/json"
    if media_type == "application/x-www-form-urlencoded":
        return "form"
    if media_type == "application/json" or media_type.endswith("+json"):
        return "json"
    if media_type in _BODY_KINDS:
        return _BODY_KINDS[media_type]
    raise RpcError(400, "PGRST102", f"Content-Type not acceptable: {media_type[:100]}")


def json_arguments(body: bytes, columns: frozenset[str] | None) -> Arguments:
    """Arguments from a JSON body: an object, or an array of objects with the same keys, of which the first counts.

    columns: the keys to look at; None: all. Raises RpcError 400 PGRST102.
    """
    text = body.lstrip(b" \t\r\n")
    try:
        if text[:1] == b"{":
            items = _objects.decode(text)
        elif text[:1] == b"[":
            items = _first_of(_arrays.decode(text))
        else:
            if text:
                _anything.decode(text)
            items = {}
        values = {
            name: None if bytes(value) == b"null" else str(value, "utf-8")
            for name, value in items.items()
            if columns is None or name in columns
        }
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise RpcError(400, "PGRST102", "Empty or invalid json") from None
    return Arguments(values, is_json=True, body_kind="json")


def _first_of(array: list[msgspec.Raw]) -> dict[str, msgspec.Raw]:
    """The first of several objects with the same keys; of an array of anything else, no arguments."""
    if not array or not any(bytes(item)[:1] == b"{" for item in array):
        for item in array:
            _anything.decode(item)
        return {}
    try:
        objects = [_objects.decode(item) for item in array]
    except msgspec.ValidationError:
        objects = []
    if not objects or any(item.keys() != objects[0].keys() for item in objects):
        raise RpcError(400, "PGRST102", "All object keys must match")
    return objects[0]

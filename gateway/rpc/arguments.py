"""The arguments of a call: the query of a read, or the body of a POST."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from gateway.rpc.catalog import BodyKind, Function
from gateway.rpc.errors import RpcError, not_implemented
from gateway.rpc.request import Pairs, Request, header

RESERVED: Final = frozenset({"select", "order", "limit", "offset", "and", "or", "columns", "on_conflict"})
"""Query parameters that are options, and not arguments, unless the function has a parameter of that name."""
_RESERVED_OF_EMBEDDED: Final = re.compile(r".*\.(order|limit|offset|and|or)")
_FILTER: Final = re.compile(
    r"(not\.)?(eq|neq|gte?|lte?|i?like|i?match|in|is|isdistinct|(pl|ph|w)?fts|cs|cd|ov|sl|sr|nxr|nxl|adj)(\(\w*\))?\..*",
    re.DOTALL,
)
_BODY_KINDS: Final[Mapping[str, BodyKind | Literal["form"]]] = {
    "application/json": "json",
    "application/x-www-form-urlencoded": "form",
    "text/plain": "text",
    "text/xml": "xml",
    "application/xml": "xml",
    "application/octet-stream": "bytea",
}
_objects: Final = msgspec.json.Decoder(dict[str, msgspec.Raw] | list[dict[str, msgspec.Raw]])
_any_json: Final = msgspec.json.Decoder()


class Arguments(NamedTuple):
    """The arguments of a call.

    values     by name: JSON text, or SQL text where is_json is false; None is null
    body_kind  the type of an unnamed parameter that could take the whole body; None: there is no body to take
    """

    values: Mapping[str, Any]
    is_json: bool
    body_kind: BodyKind | None = None


def arguments_and_options(request: Request, overloads: Sequence[Function]) -> tuple[Arguments, Pairs]:
    """The arguments of a call, and the query parameters that are none. Raises RpcError 400."""
    pairs = _decoded(request.query_string)
    if request.is_read:
        parameters = {name for function in overloads for name in function.arguments}
        options = [pair for pair in pairs if _is_reserved(pair[0]) and pair[0] not in parameters]
        given = [pair for pair in pairs if not _is_reserved(pair[0]) or pair[0] in parameters]
        return _text_arguments(given, overloads), options
    for name, value in pairs:
        if not _is_reserved(name):
            raise filter_error([(name, value)]) or RpcError(
                400,
                "PGRST100",
                f'"failed to parse filter ({value[:100]})" (line 1, column 1)',
                f"The query parameter {name[:100]} is not an argument: a POST has its arguments in its body.",
            )
    return _body_arguments(request, dict(pairs).get("columns"), overloads), pairs


def filter_error(pairs: Iterable[tuple[str, str]]) -> RpcError | None:
    """The error for the first query parameter that reads as a filter; None when there is none."""
    for name, value in pairs:
        if _FILTER.fullmatch(value):
            return not_implemented(f"filtering the answer by {name}={value}"[:300])
    return None


def whole_body(body: bytes, sql_type: str) -> Arguments:
    """The argument of a function with one unnamed parameter. Raises RpcError 400."""
    try:
        return Arguments({"": body if sql_type == "bytea" else str(body, "utf-8")}, is_json=False)
    except UnicodeDecodeError:
        raise RpcError(400, "PGRST102", "The body is not valid UTF-8") from None


def _is_reserved(name: str) -> bool:
    return name in RESERVED or _RESERVED_OF_EMBEDDED.fullmatch(name) is not None


def _decoded(query_string: bytes) -> Pairs:
    """The parameters of a query string or form, in order."""
    try:
        text = query_string.decode("ascii")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError:
        raise RpcError(400, "PGRST100", "The query string or form is not valid", "Expected name=value&…") from None


def _body_arguments(request: Request, columns: str | None, overloads: Sequence[Function]) -> Arguments:
    """The arguments in a body; of one that is neither JSON nor a form, what kind of body it is."""
    content_type = header(request.context, b"content-type")
    media_type = content_type.partition(";")[0].strip().lower() or "application/json"
    kind = "json" if media_type.endswith("+json") else _BODY_KINDS.get(media_type)
    if kind is None:
        raise RpcError(400, "PGRST102", f"Content-Type not acceptable: {media_type[:100]}")
    if kind == "form":
        return _text_arguments(_decoded(request.body), overloads)
    if kind == "json":
        return _json_arguments(request.body, columns)
    return Arguments({}, is_json=False, body_kind=kind)


def _text_arguments(pairs: Pairs, overloads: Sequence[Function]) -> Arguments:
    """Arguments as text, which PostgreSQL casts. Of a repeated name the last counts; a variadic parameter takes all."""
    values = dict(pairs)
    parameters = (parameter for function in overloads for parameter in function.arguments.values())
    for name in {parameter.name for parameter in parameters if parameter.is_variadic} & values.keys():
        several = [value for key, value in pairs if key == name]
        if len(several) > 1 or not several[0].startswith("{"):  # else it is an array already, as SQL writes it
            values[name] = _array_literal(several)
    return Arguments(values, is_json=False)


def _array_literal(values: Iterable[str]) -> str:
    escaped = (value.replace("\\", "\\\\").replace('"', '\\"') for value in values)
    return "{" + ",".join(f'"{value}"' for value in escaped) + "}"


def _json_arguments(body: bytes, columns: str | None) -> Arguments:
    """Arguments from JSON: an object, or an array of objects with the same keys, of which the first counts.

    Any other JSON has no arguments. columns: the keys to use, separated by commas; None: all.
    """
    used = None if columns is None else {name.strip().strip('"') for name in columns.split(",")}
    try:
        values = {
            name: None if bytes(value) == b"null" else str(value, "utf-8")
            for name, value in _first_object(body).items()
            if used is None or name in used
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
        decoded = []
        if isinstance(other, list) and any(isinstance(item, dict) for item in other):
            raise RpcError(400, "PGRST102", "All object keys must match") from None
    objects = [decoded] if isinstance(decoded, dict) else decoded
    if any(item.keys() != objects[0].keys() for item in objects):
        raise RpcError(400, "PGRST102", "All object keys must match")
    return objects[0] if objects else {}

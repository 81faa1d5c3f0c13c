"""Path, query string and body → the arguments of a function's parameters, matched by name."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias
from urllib.parse import parse_qsl
from uuid import UUID

import msgspec
from msgspec import inspect

from gateway.database.unstorable import unstorable
from gateway.errors import invalid

Convert: TypeAlias = Callable[[Any], Any] | None
"""How a decoded field becomes an argument. None: as it is."""


def fields_of(shape: type | None) -> Sequence[inspect.Field]:
    """The fields of a struct; no fields for None."""
    fields: Sequence[inspect.Field] = getattr(inspect.type_info(shape), "fields", ())
    return fields


def conversion_of(field_type: inspect.Type) -> Convert:
    """How a field of this type becomes an argument: a time in UTC, JSON for a jsonb parameter, or else as it is."""
    if isinstance(field_type, inspect.Metadata):
        return str.encode if (field_type.extra or {}).get("json") else conversion_of(field_type.type)
    if isinstance(field_type, inspect.UnionType):
        return next(conversion_of(kind) for kind in field_type.types if not isinstance(kind, inspect.NoneType))
    if isinstance(field_type, inspect.RawType):
        return _document
    if isinstance(field_type, inspect.DateTimeType):
        return _instant
    if isinstance(field_type, inspect.ListType):
        return msgspec.json.encode if conversion_of(field_type.item_type) else None
    return msgspec.json.encode if isinstance(field_type, (inspect.StructType, inspect.DictType)) else None


def is_json(field_type: inspect.Type) -> bool:
    """Whether a field of this type becomes JSON, for a jsonb parameter."""
    return conversion_of(field_type) not in (None, _instant)


def _document(raw: msgspec.Raw) -> bytes | None:
    return None if (text := bytes(raw)) == b"null" else text


def _instant(time: datetime) -> datetime:
    """A time in UTC. Raises OverflowError when its year in UTC is not from 1 to 9999."""
    return time.astimezone(UTC)


def argument(name: str, value: Any, convert: Convert) -> Any:
    """A decoded field as an argument; null for a field that was left out. Raises ApiError 422."""
    if value is None or value is msgspec.UNSET:
        return None
    try:
        return value if convert is None else convert(value)
    except OverflowError:
        raise invalid(name, "Expected a time within the years 1 to 9999.") from None


def path_argument(name: str, text: str) -> UUID:
    """A path segment as an argument. Raises ApiError 422."""
    try:
        return msgspec.convert(text, UUID)
    except msgspec.ValidationError:
        raise invalid(name, "Expected a UUID.") from None


def decode_query(query_string: bytes, shape: type) -> Any:
    """The query string as its struct; the last value of a repeated parameter counts. Raises ApiError 422."""
    try:
        pairs = parse_qsl(query_string.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise invalid("query", "The query string is not valid.") from None
    for name, value in pairs:
        if "\x00" in value:
            raise invalid(name, r"A string can't have the character \u0000.")
    query: Any = msgspec.convert(dict(pairs), shape, strict=False)
    for name, _ in pairs:
        if getattr(query, name, "") is None:
            raise invalid(name, "A query string has no null. Leave the parameter out.")
    return query


def check_json(name: str, text: str) -> None:
    """Raises ApiError 422 for a query parameter that is not JSON, or has a value that can't be stored."""
    if (found := unstorable(text.encode())) is not None:
        raise invalid(name, found[1])
    try:
        msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise invalid(name, f"Expected JSON: {error}.") from None

"""Finds what PostgreSQL can't store in JSON that is otherwise well formed, to say where it is.

Used only after a refusal: the database decides, this names the place.
"""

import json
import re
from contextlib import suppress
from decimal import Decimal, InvalidOperation
from typing import Any, Final

_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def unstorable(body: bytes) -> tuple[str, str] | None:
    """The first place in a JSON text that can't be stored: its path, such as "cards[0].content.name", and why.

    None when there is none, or the text is no JSON at all.
    """
    try:
        # Numbers become their own text, as bytes: no other value is of that type.
        waiting: list[tuple[str, Any]] = [("", json.loads(body, parse_float=str.encode, parse_int=str.encode))]
    except RecursionError:
        return "body", "Nested too deep."
    except UnicodeDecodeError:
        return "body", "The text is not valid UTF-8."
    except ValueError:
        return None
    while waiting:
        path, value = waiting.pop()
        if (reason := _reason(value)) is not None:
            return path or "body", reason
        inner: list[tuple[str, Any]] = []
        if isinstance(value, dict):
            if (reason := next(filter(None, map(_reason, value)), None)) is not None:
                return path or "body", f"In a key: {reason}"
            inner = [(f"{path}.{key}" if path else key, value[key]) for key in value]
        elif isinstance(value, list):
            inner = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
        waiting.extend(reversed(inner))
    return None


def _reason(value: Any) -> str | None:
    if isinstance(value, bytes):
        with suppress(InvalidOperation):  # an exponent beyond all bounds
            _, digits, exponent = Decimal(value.decode()).as_tuple()
            if max(len(digits) + int(exponent), 1) + max(-int(exponent), 0) <= 1000:
                return None
        return "The number is too large or too precise to be stored."
    if isinstance(value, str):
        if "\x00" in value:
            return r"A string can't have the character \u0000."
        if _SURROGATE.search(value):
            return "A string can't have half of a surrogate pair."
    return None

"""Finds what PostgreSQL can't store in JSON that is otherwise well formed, to say where it is.

Used only after a refusal: the database decides, this names the place.
"""

import json
import re
from decimal import Decimal
from typing import Any, Final

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_EXPONENT: Final = re.compile(r"[eE]([+-]?\d+)$")


class _Number(str):
    """A number's own text."""

    __slots__ = ()


def unstorable(body: bytes) -> tuple[str, str] | None:
    """The first place in a JSON text that can't be stored: its path, such as "cards[0].content.name", and why.

    None when there is none, or the text is no JSON at all.
    """
    try:
        waiting: list[tuple[str, Any]] = [("", json.loads(body, parse_float=_Number, parse_int=_Number))]
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


def _digits(number: str) -> int:
    """The digits of a number as the database writes it, on both sides of the point."""
    decimal = Decimal(number)
    scale = -int(decimal.as_tuple().exponent)
    return max(decimal.adjusted() + 1 if decimal else 1, 1) + max(scale, 0)


def _reason(value: Any) -> str | None:
    if isinstance(value, _Number):
        exponent = _EXPONENT.search(value)
        if len(value) > 16_000 or (exponent is not None and abs(int(exponent[1])) > 16_000) or _digits(value) > 1000:
            return "The number is too large or too precise to be stored."
    elif isinstance(value, str):
        if "\x00" in value:
            return r"A string can't have the character \u0000."
        if _SURROGATE.search(value):
            return "A string can't have half of a surrogate pair."
    return None

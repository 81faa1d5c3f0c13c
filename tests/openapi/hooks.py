"""What a valid request needs in addition to its shape, and what no schema can say."""

from typing import Any
from uuid import uuid4

import schemathesis


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: schemathesis.Case[Any], __: dict[str, Any]) -> None:
    """A cursor belongs to the list it came from, an idempotency key to one request, and no text may have a NUL."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.query:
        case.query.pop("cursor", None)
    if "Idempotency-Key" in case.headers:
        case.headers["Idempotency-Key"] = str(uuid4())
    if isinstance(case.body, (dict, list)) and (body := storable(case.body)) != case.body:
        case.body = body


def storable(value: Any) -> Any:
    """A JSON value without the character that PostgreSQL can't store."""
    if isinstance(value, str):
        return value.replace("\x00", "")
    if isinstance(value, dict):
        return {storable(key): storable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [storable(item) for item in value]
    return value

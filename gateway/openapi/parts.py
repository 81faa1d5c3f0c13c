"""Parts that the product's routes and /rpc have in common in the OpenAPI document."""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from gateway.settings import Settings

Schema = dict[str, Any]

REQUEST_HEADERS: Final[Mapping[str, tuple[str, str, Schema]]] = {
    "tenant_id": (
        "X-Tenant-ID",
        "The tenant, where the header is trusted. With a token it must equal the token's tenant.",
        {"type": "string", "format": "uuid"},
    ),
    "idempotency_key": (
        "Idempotency-Key",
        "The same key with the same request returns the first response again, and does nothing.",
        {"type": "string", "minLength": 1, "maxLength": 255},
    ),
    "last_event_id": ("Last-Event-ID", "Continue after this event.", {"type": "string"}),
    "if_match": ("If-Match", "ETags of the card as you know it.", {"type": "string"}),
}
"""Name, description and schema of a header, by the name of the parameter that it fills."""
RESPONSE_HEADERS: Final[Mapping[str, str]] = {
    "X-Request-ID": "The request's id: the one it was sent with, or a new one.",
    "X-Trace-ID": "The trace's id: the one it was sent with, or a new one.",
    "X-Process-Time": "Seconds.",
}


def summary_and_description(comment: str) -> tuple[str, str]:
    """The first line of a function's comment, and the rest."""
    summary, _, rest = comment.partition("\n")
    description = re.sub(r"(?m)^@\w+.*\n?", "", rest).strip()
    return summary.rstrip("."), re.sub(r"(?<!\n)\n(?!\n)", " ", description)


def header_parameter(name: str) -> dict[str, Any]:
    """The header that fills a parameter."""
    header, text, schema = REQUEST_HEADERS[name]
    return {"name": header, "in": "header", "description": text, "required": False, "schema": schema}


def tenant_parameters(settings: Settings) -> list[dict[str, Any]]:
    """The header that names the tenant, where it is trusted."""
    if not settings.trusts_tenant_header:
        return []
    return [header_parameter("tenant_id") | {"required": not settings.verifies_tokens}]


def security(settings: Settings, *, is_for_users: bool) -> list[dict[str, Any]]:
    """How callers say who they are."""
    with_token: list[dict[str, Any]] = [{"bearer": []}] if settings.verifies_tokens or is_for_users else []
    return with_token if is_for_users or not settings.trusts_tenant_header else [*with_token, {}]


def response(
    description: str | int, content: Mapping[str, Any] | None, headers: Mapping[str, str] = RESPONSE_HEADERS
) -> dict[str, Any]:
    """A response. description: or the status; content: of `application/json`; None: there is no body."""
    text = HTTPStatus(description).phrase if isinstance(description, int) else description
    described = {name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()}
    body = {} if content is None else {"content": {"application/json": content}}
    return {"description": text, "headers": described, **body}

"""The OpenAPI 3.1 document, built from the route table, its structs and the functions' comments."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from gateway import __version__
from gateway.errors import CODE_OF, MESSAGE_OF
from gateway.openapi import parts
from gateway.openapi.parts import response
from gateway.openapi.rpc import ERROR, rpc_errors, rpc_paths
from gateway.routes import EVENTS, ROUTES, Route
from gateway.rpc.catalog import Catalog
from gateway.schemas.operations import ErrorEnvelope, Health, Info, Ready
from gateway.settings import Settings

REF: Final = "#/components/schemas/{name}"
_OTHER_CODES: Final[Mapping[int, tuple[str, ...]]] = {
    400: ("MALFORMED_JSON",),
    403: ("TENANT_MISMATCH",),
    404: tuple(
        f"{resource}_NOT_FOUND"
        for resource in ("CARD", "USER", "MEMORY", "CONVERSATION", "MESSAGE", "TASK", "INTEGRATION", "JOB")
    ),
    409: ("DUPLICATE_CARD", "IDEMPOTENCY_IN_PROGRESS"),
    422: ("IDEMPOTENCY_KEY_REUSED",),
    501: ("SIGN_IN_NOT_CONFIGURED", "ENCRYPTION_NOT_CONFIGURED", "EMBEDDINGS_NOT_CONFIGURED"),
    503: ("DATABASE_BUSY", "SERVER_BUSY", "TOO_MANY_STREAMS"),
}
"""Error codes, by status, next to the one of the status itself."""
STATUS_OF_CODE: Final[Mapping[str, int]] = {
    **{code: status for status, codes in _OTHER_CODES.items() for code in codes},
    **{code: status for status, code in CODE_OF.items()},
}
EVERYWHERE: Final = (
    "BAD_REQUEST",
    "UNAUTHENTICATED",
    "TENANT_MISMATCH",
    "VALIDATION_ERROR",
    "MISDIRECTED_REQUEST",
    "RATE_LIMITED",
    "HEADERS_TOO_LARGE",
    "INTERNAL_ERROR",
    "DATABASE_UNAVAILABLE",
    "DATABASE_BUSY",
    "TIMEOUT",
)
WITH_BODY: Final = (
    "MALFORMED_JSON",
    "REQUEST_TIMEOUT",
    "PAYLOAD_TOO_LARGE",
    "UNSUPPORTED_MEDIA_TYPE",
    "SERVER_BUSY",
)


def _error(status: int, codes: list[str]) -> dict[str, Any]:
    message = MESSAGE_OF.get(status, HTTPStatus(status).phrase)
    error = {"message": message, "details": [], "request_id": "6f1c0e9a4b7d4f0e8a3c5d2b1e9f7a60"}
    examples = {code: {"value": {"success": False, "error": {"code": code, **error}}} for code in codes}
    return response(", ".join(codes), {"schema": {"$ref": REF.format(name="ErrorEnvelope")}, "examples": examples})


class _Document:
    """Collects structs while operations are described."""

    def __init__(self, comments: Mapping[str, str], settings: Settings) -> None:
        self._comments = comments
        self._settings = settings
        self._per_page = {"default": settings.default_page_size, "maximum": settings.max_page_size}
        self.responses: dict[str, Any] = {}
        shapes = {ErrorEnvelope, Health, Info, Ready}
        for route in (*ROUTES, EVENTS):
            shapes |= {shape for shape in (*route.answers.values(), route.body, route.query) if shape is not None}
        ordered = sorted(shapes, key=lambda shape: shape.__name__)
        schemas, self.components = msgspec.json.schema_components(ordered, ref_template=REF)
        self._schema_of = dict(zip(ordered, schemas, strict=True))
        for route in ROUTES:
            if route.body is not None and not route.handler:
                self._allow_null(self.components[route.body.__name__])

    @staticmethod
    def _allow_null(shape: dict[str, Any]) -> None:
        """A document that may be left out may be null, too, which its type can't say: it is kept as it was sent."""
        for name, schema in shape["properties"].items():
            if schema.get("type") == "object" and name not in shape.get("required", ()):
                shape["properties"][name] = {"anyOf": [schema, {"type": "null"}]}

    def content(self, shape: Any) -> dict[str, Any] | None:
        """A body of this shape; None for none."""
        return None if shape is None else {"schema": self._schema_of[shape]}

    def parameters(self, route: Route) -> list[dict[str, Any]]:
        parameters = [] if _is_for_anybody(route) else parts.tenant_parameters(self._settings)
        parameters += [
            parts.header_parameter(name) for name in route.injected_parameters if name in parts.REQUEST_HEADERS
        ]
        for name in re.findall(r"{(\w+)}", route.path):
            schema = {"type": "string", "format": "uuid"}
            parameters.append({"name": name, "in": "path", "required": True, "schema": schema})
        if route.query is not None:
            shape = self.components[route.query.__name__]
            required = shape.get("required", ())
            for name, schema in shape["properties"].items():
                bare = _without_null(schema) | (self._per_page if name == "per_page" else {})
                parameters.append({"name": name, "in": "query", "required": name in required, **_parameter_shape(bare)})
        return parameters

    def operation(self, route: Route) -> dict[str, Any]:
        summary, description = parts.summary_and_description(self._comments.get(route.function, ""))
        codes = (*EVERYWHERE, *(WITH_BODY if route.body else ()), *route.errors)
        answers = {str(status): response(status, self.content(shape)) for status, shape in route.answers.items()}
        operation: dict[str, Any] = {
            "operationId": route.function,
            "tags": [route.path.split("/")[3]],
            "summary": summary or route.function.replace("_", " "),
            "description": description,
            "security": []
            if _is_for_anybody(route)
            else parts.security(self._settings, is_for_users=route.is_for_users),
            "parameters": self.parameters(route),
            "responses": answers | self.errors(codes),
        }
        if route.body is not None:
            operation["requestBody"] = {
                "required": bool(self.components[route.body.__name__].get("required")),
                "content": {"application/json": self.content(route.body)},
            }
        return operation

    def errors(self, codes: Iterable[str]) -> dict[str, Any]:
        """The errors by status. Those of several operations that are alike are one part of the document."""
        by_status: dict[int, list[str]] = {}
        for code in codes:
            by_status.setdefault(STATUS_OF_CODE[code], []).append(code)
        references = {}
        for status, names in sorted(by_status.items()):
            name = "_or_".join(names)
            self.responses[name] = _error(status, names)
            references[str(status)] = {"$ref": f"#/components/responses/{name}"}
        return references


def _is_for_anybody(route: Route) -> bool:
    """Whether its callers need not say who they are, such as those who sign in."""
    return bool(route.handler) and "user_id" not in route.injected_parameters


def _parameter_shape(schema: dict[str, Any]) -> dict[str, Any]:
    """How a query parameter is written: plainly, or as the text of a JSON document."""
    if "contentMediaType" not in schema:
        return {"schema": schema}
    return {
        "description": schema.get("description", ""),
        "content": {schema["contentMediaType"]: {"schema": schema["contentSchema"]}},
    }


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A query parameter's schema: a query string has no null."""
    choices = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    bare = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    default = {"default": schema["default"]} if schema.get("default") is not None else {}
    return bare | (choices[0] if len(choices) == 1 else {}) | default


def _events(document: _Document) -> dict[str, Any]:
    """The operation whose response goes on for as long as there are events."""
    operation = document.operation(EVENTS)
    stream = operation["responses"]["200"]
    shape = stream["content"].pop("application/json")["schema"]
    stream["description"] = "A stream of events."
    stream["content"]["text/event-stream"] = {
        "schema": {"type": "string", "contentMediaType": "application/json", "contentSchema": shape}
    }
    operation["parameters"].append(parts.header_parameter("last_event_id"))
    return operation | {
        "operationId": "follow_events",
        "summary": "Follows what happens to the caller's rows and to the tenant's cards, as server-sent events",
        "description": "Each event's data is a JSON object. The event `reset` says that earlier events are no longer "
        "known: load again what you show. `position` only carries a newer id. Reconnect with the last id.",
    }


def _operational(summary: str, responses: Mapping[int, Any]) -> dict[str, Any]:
    name = summary.lower().replace(" ", "_")
    described = {str(status): response(status, content) for status, content in responses.items()}
    return {"get": {"operationId": name, "tags": ["operations"], "summary": summary, "responses": described}}


def openapi(catalog: Catalog, settings: Settings) -> dict[str, Any]:
    """The OpenAPI 3.1 document. catalog: the functions, with their comments."""
    document = _Document(catalog.comments, settings)
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = document.operation(route)
    paths[EVENTS.path] = {"get": _events(document)}
    known = {
        route.function: {status: document.content(shape) for status, shape in route.answers.items()} for route in ROUTES
    }
    paths |= rpc_paths(catalog, known, settings)
    health, ready = document.content(Health), document.content(Ready)
    paths["/health"] = _operational("Health", {200: health, 503: health})
    paths["/ready"] = _operational("Readiness", {200: ready, 503: ready})
    paths["/api/v1/info"] = _operational("Information", {200: document.content(Info)})
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "cardbase",
            "version": __version__,
            "description": "A multi-tenant store for cards, where the database is the application.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": document.components | {"RpcError": ERROR},
            "responses": document.responses | rpc_errors(),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }

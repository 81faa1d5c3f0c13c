"""The OpenAPI 3.1 document, made of the route table, its structs and the functions' own comments."""

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from gateway import __version__
from gateway.errors import CODE_OF, MESSAGE_OF
from gateway.openapi.rpc import ERROR, Common, rpc_errors, rpc_paths
from gateway.routes import EVENTS, ROUTES, Route
from gateway.rpc.catalog import Catalog
from gateway.schemas.operations import ErrorEnvelope, Health, Info, Ready
from gateway.settings import Settings

REF: Final = "#/components/schemas/{name}"
STATUS_OF_CODE: Final[Mapping[str, int]] = {
    "MALFORMED_JSON": 400,
    "CARD_NOT_FOUND": 404,
    "USER_NOT_FOUND": 404,
    "MEMORY_NOT_FOUND": 404,
    "CONVERSATION_NOT_FOUND": 404,
    "MESSAGE_NOT_FOUND": 404,
    "TASK_NOT_FOUND": 404,
    "INTEGRATION_NOT_FOUND": 404,
    "JOB_NOT_FOUND": 404,
    "DUPLICATE_CARD": 409,
    "IDEMPOTENCY_IN_PROGRESS": 409,
    "PRECONDITION_FAILED": 412,
    "IDEMPOTENCY_KEY_REUSED": 422,
    "TENANT_MISMATCH": 403,
    "SIGN_IN_NOT_CONFIGURED": 501,
    "ENCRYPTION_NOT_CONFIGURED": 501,
    "EMBEDDINGS_NOT_CONFIGURED": 501,
    "DATABASE_BUSY": 503,
    "TOO_MANY_STREAMS": 503,
} | {code: status for status, code in CODE_OF.items()}
EVERYWHERE: Final = (
    "UNAUTHENTICATED",
    "TENANT_MISMATCH",
    "VALIDATION_ERROR",
    "RATE_LIMITED",
    "INTERNAL_ERROR",
    "DATABASE_UNAVAILABLE",
    "DATABASE_BUSY",
    "TIMEOUT",
)
WITH_BODY: Final = ("MALFORMED_JSON", "PAYLOAD_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE")
REQUEST_HEADERS: Final[Mapping[str, tuple[str, str, Mapping[str, Any]]]] = {
    "tenant_id": (
        "X-Tenant-ID",
        "The tenant, where the header is trusted. Beside a token it must equal the token's.",
        {"type": "string", "format": "uuid"},
    ),
    "idempotency_key": (
        "Idempotency-Key",
        "The same key and request again answer what the first answered, and do nothing.",
        {"type": "string", "minLength": 1, "maxLength": 255},
    ),
    "last_event_id": ("Last-Event-ID", "Go on after this event.", {"type": "string"}),
    "if_match": ("If-Match", "ETags of the card as you know it.", {"type": "string"}),
}
ANSWER_HEADERS: Final[Mapping[str, str]] = {
    "X-Request-ID": "The request's id, taken over or made up.",
    "X-Trace-ID": "The trace's id, taken over or made up.",
    "X-Process-Time": "Seconds.",
}


def _words(comment: str) -> tuple[str, str]:
    """Summary and description of a function's comment: its first line, and what follows."""
    summary, _, rest = comment.partition("\n")
    description = re.sub(r"(?m)^@\w+.*\n?", "", rest).strip()
    return summary.rstrip("."), re.sub(r"(?<!\n)\n(?!\n)", " ", description)


def _error_example(code: str, status: int) -> dict[str, Any]:
    message = MESSAGE_OF.get(status, HTTPStatus(status).phrase)
    error = {"code": code, "message": message, "details": [], "request_id": "6f1c0e9a4b7d4f0e8a3c5d2b1e9f7a60"}
    return {"value": {"success": False, "error": error}}


def _answer_headers(names: Mapping[str, str]) -> dict[str, Any]:
    return {name: {"description": text, "schema": {"type": "string"}} for name, text in names.items()}


def _error(status: int, codes: list[str]) -> dict[str, Any]:
    return {
        "description": ", ".join(codes),
        "headers": _answer_headers(ANSWER_HEADERS),
        "content": {
            "application/json": {
                "schema": {"$ref": REF.format(name="ErrorEnvelope")},
                "examples": {code: _error_example(code, status) for code in codes},
            }
        },
    }


def _json_answer(status: int, schema: Any) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "description": HTTPStatus(status).phrase,
        "headers": _answer_headers(ANSWER_HEADERS),
    }
    if schema is not None:
        answer["content"] = {"application/json": {"schema": schema}}
    return answer


class _Document:
    """Collects structs while operations are described."""

    def __init__(self, comments: Mapping[str, str], settings: Settings) -> None:
        self._comments = comments
        self._trusts_header = settings.trusts_tenant_header
        self._verifies_tokens = settings.verifies_tokens
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

    def schema(self, shape: Any) -> Any:
        return None if shape is None else self._schema_of[shape]

    def parameters(self, route: Route) -> list[dict[str, Any]]:
        parameters = [] if _is_for_anybody(route) else self.tenant_parameters()
        parameters += [_header_parameter(name) for name in route.injected_parameters if name in REQUEST_HEADERS]
        for name in _path_names(route):
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
        summary, description = _words(self._comments.get(route.function, ""))
        codes = (*EVERYWHERE, *(WITH_BODY if route.body else ()), *route.errors)
        answers = {str(status): _json_answer(status, self.schema(shape)) for status, shape in route.answers.items()}
        operation: dict[str, Any] = {
            "operationId": route.function,
            "tags": [route.path.split("/")[3]],
            "summary": summary or route.function.replace("_", " "),
            "description": description,
            "security": self.security(is_for_users=route.is_for_users) if not _is_for_anybody(route) else [],
            "parameters": self.parameters(route),
            "responses": answers | self.errors(codes),
        }
        if route.body is not None:
            operation["requestBody"] = {
                "required": bool(self.components[route.body.__name__].get("required")),
                "content": {"application/json": {"schema": self.schema(route.body)}},
            }
        return operation

    def tenant_parameters(self) -> list[dict[str, Any]]:
        """The header that names the tenant, where that is believed."""
        if not self._trusts_header:
            return []
        return [_header_parameter("tenant_id") | {"required": not self._verifies_tokens}]

    def security(self, *, is_for_users: bool) -> list[dict[str, Any]]:
        """How callers say who they are."""
        with_token: list[dict[str, Any]] = [{"bearer": []}] if self._verifies_tokens or is_for_users else []
        return with_token if is_for_users or not self._trusts_header else [*with_token, {}]

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


def _path_names(route: Route) -> list[str]:
    return re.findall(r"{(\w+)}", route.path)


def _header_parameter(name: str) -> dict[str, Any]:
    header, text, schema = REQUEST_HEADERS[name]
    return {"name": header, "in": "header", "description": text, "required": False, "schema": schema}


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
    """The operation whose answer goes on for as long as there is something to say."""
    operation = document.operation(EVENTS)
    shape = operation["responses"]["200"]["content"].pop("application/json")["schema"]
    return operation | {
        "operationId": "follow_events",
        "summary": "Follows what happens to the caller's rows and to the tenant's cards, as server-sent events",
        "description": "Each event's data is a JSON object. The event `reset` says that what happened before is not "
        "known here: load what you show. `position` only brings a newer id. Come again with the last id.",
        "parameters": [*operation["parameters"], _header_parameter("last_event_id")],
        "responses": operation["responses"]
        | {
            "200": {
                "description": "A stream of events.",
                "headers": _answer_headers(ANSWER_HEADERS),
                "content": {
                    "text/event-stream": {
                        "schema": {"type": "string", "contentMediaType": "application/json", "contentSchema": shape}
                    }
                },
            }
        },
    }


def _operational(summary: str, answers: Mapping[int, Any]) -> dict[str, Any]:
    name = summary.lower().replace(" ", "_")
    responses = {str(status): _json_answer(status, schema) for status, schema in answers.items()}
    return {"get": {"operationId": name, "tags": ["operations"], "summary": summary, "responses": responses}}


def openapi(catalog: Catalog, settings: Settings) -> dict[str, Any]:
    """The OpenAPI 3.1 document. catalog: the functions, with their comments."""
    document = _Document(catalog.comments, settings)
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = document.operation(route)
    paths[EVENTS.path] = {"get": _events(document)}
    common = Common(
        headers=_answer_headers({**ANSWER_HEADERS, "Content-Range": "The rows answered, and how many there are."}),
        tenant_parameters=document.tenant_parameters(),
        filling_parameters={name: _header_parameter(name) for name in ("idempotency_key", "if_match")},
        security=document.security(is_for_users=False),
        user_security=document.security(is_for_users=True),
        words=_words,
    )
    answers = {
        route.function: {status: document.schema(shape) for status, shape in route.answers.items()} for route in ROUTES
    }
    paths |= rpc_paths(catalog, answers, common)
    health = document.schema(Health)
    ready = document.schema(Ready)
    paths["/health"] = _operational("Health", {200: health, 503: health})
    paths["/ready"] = _operational("Readiness", {200: ready, 503: ready})
    paths["/api/v1/info"] = _operational("Information", {200: document.schema(Info)})
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
            "responses": document.responses | rpc_errors(common.headers),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }

"""The part of the OpenAPI document that describes /rpc: a path for each function of the catalog."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

from gateway.errors import MESSAGE_OF
from gateway.openapi import parts
from gateway.openapi.parts import Schema, response
from gateway.rpc.catalog import Catalog, Function, Parameter, SqlType
from gateway.settings import Settings

Responses = Mapping[int, Schema | None]
"""The content of a response, by status; None: no body."""

HEADERS: Final = {**parts.RESPONSE_HEADERS, "Content-Range": "The rows of this page, and how many there are."}
ERROR: Final[Schema] = {
    "title": "RpcError",
    "description": "The body of an error on /rpc, as PostgREST's clients know it.",
    "type": "object",
    "properties": {
        "code": {"type": "string", "description": "For programs: PostgREST's code, or the SQLSTATE."},
        "message": {"type": "string"},
        "details": {"type": ["string", "null"]},
        "hint": {"type": ["string", "null"]},
        "request_id": {"type": "string"},
    },
    "required": ["code", "message", "details", "hint", "request_id"],
}
ERRORS: Final[Mapping[int, tuple[str, str]]] = {
    300: ("PGRST203", "Could not choose the best candidate function between: api.f(a => integer), api.f(a => text)"),
    400: ("PGRST102", "Empty or invalid json"),
    401: ("PGRST302", "A bearer token is needed."),
    403: ("TENANT_MISMATCH", "X-Tenant-ID names another tenant than the token does."),
    404: ("PGRST202", "Could not find the function api.f(a) in the schema cache"),
    405: ("25006", "cannot execute INSERT in a read-only transaction"),
    406: ("PGRST116", "Cannot coerce the result to a single JSON object"),
    408: ("REQUEST_TIMEOUT", "The body was not complete within 10 s."),
    409: ("23505", 'duplicate key value violates unique constraint "notes_key"'),
    412: ("PT412", "the card has changed"),
    413: ("PAYLOAD_TOO_LARGE", "The body has more than 8388608 bytes. Send it in parts."),
    416: ("PGRST103", "Requested range not satisfiable"),
    421: ("MISDIRECTED_REQUEST", "Requests for this host are not served here. ALLOWED_HOSTS names those that are."),
    422: ("PT422", "the request is not valid"),
    429: ("RATE_LIMITED", "Too many requests of this tenant are waiting. Send fewer at once."),
    431: ("HEADERS_TOO_LARGE", "The request line, headers and trailers may have at most 32768 bytes and 100 headers."),
    500: ("XX000", MESSAGE_OF[500]),
    503: ("PGRST000", MESSAGE_OF[503]),
    504: ("57014", MESSAGE_OF[504]),
}
"""An example of each error, by its status."""
PREFER: Final = {
    "name": "Prefer",
    "in": "header",
    "description": "count=exact, return=minimal, tx=rollback (a dry run), timezone=…, wait=<seconds>, "
    "handling=strict with max-affected=<rows>; several are separated by commas.",
    "schema": {"type": "string"},
    "example": "count=exact",
}

_KIND_OF: Final[Mapping[str, str]] = {
    **dict.fromkeys(("smallint", "integer", "bigint"), "integer"),
    **dict.fromkeys(("numeric", "real", "double precision"), "number"),
    "boolean": "boolean",
    "uuid": "uuid",
}
_ANYTHING: Final[Schema] = {}
_RESULT: Final[Mapping[str, Schema]] = {
    "integer": {"type": ["integer", "null"]},
    "number": {"type": ["number", "string", "null"]},  # NaN and the infinities are strings
    "boolean": {"type": ["boolean", "null"]},
    "uuid": {"type": ["string", "null"]},
    "scalar": {"type": ["string", "null"]},
    "array": {"type": ["array", "null"]},
}
"""The schema of a value that is returned, by the kind of its type; any may be null."""
_BODY: Final[Mapping[str, Schema]] = {
    "integer": {"type": ["integer", "string", "null"]},
    "number": {"type": ["number", "string", "null"]},
    "boolean": {"type": ["boolean", "string", "integer", "null"]},
    "uuid": {"type": ["string", "null"], "format": "uuid"},
    "array": {"type": ["array", "string", "null"]},
    "row": {"type": ["object", "string", "null"]},
}
"""The schema of an argument in a JSON body: every type is also read from text, and text from any JSON."""
_QUERY: Final[Mapping[str, Schema]] = {
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "uuid": {"type": "string", "format": "uuid"},
}
"""The schema of an argument in a query string, if it is more than text."""


def _schema(kind: SqlType, schemas: Mapping[str, Schema]) -> Schema:
    if kind.labels:
        return {"enum": [*kind.labels, None]}
    return schemas.get(_KIND_OF.get(kind.base, kind.kind), _ANYTHING)


def rpc_errors() -> dict[str, Any]:
    """The errors as components, by name."""
    responses: dict[str, Any] = {}
    for status, (code, message) in ERRORS.items():
        example = {"code": code, "message": message, "details": None, "hint": None, "request_id": "6f1c0e9a4b7d4f0e"}
        content = {"schema": {"$ref": "#/components/schemas/RpcError"}, "example": example}
        responses[f"Rpc{status}"] = response(status, content, HEADERS)
    return responses


def rpc_paths(catalog: Catalog, known: Mapping[str, Responses], settings: Settings) -> dict[str, Any]:
    """The paths of all functions.

    known: the responses of functions that a route calls, too, by name; for a type can't tell the shape of a document.
    """
    paths: dict[str, Any] = {}
    for name, overloads in catalog.by_name.items():
        path: dict[str, Any] = {"post": _post(overloads, known.get(name), settings)}
        if len(overloads) == 1 and not overloads[0].is_volatile and overloads[0].unnamed_type is None:
            path["get"] = _get(overloads[0], known.get(name), settings)
        paths[f"/rpc/{quote(name, safe='')}"] = path
    return paths


def _post(overloads: list[Function], known: Responses | None, settings: Settings) -> dict[str, Any]:
    bodies = [_body(function) for function in overloads]
    filled = [name for name in ("idempotency_key", "if_match") if name in overloads[0].filled]
    return {
        **_operation("post", overloads, known, settings),
        "parameters": [*parts.tenant_parameters(settings), *map(parts.header_parameter, filled), PREFER],
        "requestBody": {
            "required": all(function.required for function in overloads),
            "content": {"application/json": {"schema": bodies[0] if len(bodies) == 1 else {"anyOf": bodies}}},
        },
    }


def _get(function: Function, known: Responses | None, settings: Settings) -> dict[str, Any]:
    query = [
        {"name": name, "in": "query", "required": parameter.is_required, **_query_shape(parameter)}
        for name, parameter in function.arguments.items()
    ]
    return {
        **_operation("get", [function], known, settings),
        "parameters": [*parts.tenant_parameters(settings), PREFER, *query],
    }


def _operation(method: str, overloads: list[Function], known: Responses | None, settings: Settings) -> dict[str, Any]:
    name = overloads[0].name
    texts = [parts.summary_and_description(function.comment) for function in overloads]
    returned = {"schema": _result(overloads)}
    contents: dict[int, Schema | None] = {204: None}  # void, or Prefer: return=minimal
    if not all(function.kind == "void" for function in overloads):
        contents |= known or {200: returned, 206: returned}
    if method == "post":
        contents.pop(304, None)
    responses = {str(status): response(status, content, HEADERS) for status, content in sorted(contents.items())}
    errors = {str(status): {"$ref": f"#/components/responses/Rpc{status}"} for status in ERRORS}
    return {
        "operationId": f"{method}_rpc_{name}",
        "tags": ["rpc"],
        "summary": texts[0][0] or name.replace("_", " "),
        "description": "\n\n".join(description for _, description in texts if description),
        "security": parts.security(settings, is_for_users=any("user_id" in function.filled for function in overloads)),
        "responses": responses | errors,
    }


def _result(overloads: list[Function]) -> Schema:
    if len(overloads) > 1:
        return _ANYTHING
    function, row = overloads[0], _ANYTHING
    if function.kind == "row":
        properties = {column.name: _schema(column.type, _RESULT) for column in function.columns}
        row = {"type": "object", "properties": properties, "required": list(properties)}
    elif function.kind == "scalar":
        row = _schema(function.type, _RESULT)
    return {"type": "array", "items": row} if function.is_set else row


def _body(function: Function) -> Schema:
    """The schema of a body. JSON other than an object counts as no arguments, and so does an array without objects."""
    if function.unnamed_type is not None:
        return _ANYTHING
    named: Schema = {
        "type": "object",
        "properties": {name: _described(parameter) for name, parameter in function.arguments.items()},
        "required": sorted(function.required),
        "additionalProperties": False,
    }
    if function.required:
        return named
    return {"anyOf": [named, {"type": ["array", "string", "number", "boolean", "null"]}]}


def _described(parameter: Parameter) -> Schema:
    """A parameter's schema, with its default as SQL writes it unless that is null."""
    schema = _schema(parameter.type, _BODY)
    if parameter.default is None or parameter.default.upper().startswith("NULL"):
        return schema
    return {**schema, "description": f"Default: {parameter.default}."}


def _query_shape(parameter: Parameter) -> dict[str, Any]:
    if parameter.type.kind == "json":
        return {"content": {"application/json": {"schema": _ANYTHING}}}
    if parameter.is_variadic:
        return {"schema": {"type": "array", "items": {"type": "string"}}}
    if parameter.type.labels:  # a query string has no null
        return {"schema": {"enum": list(parameter.type.labels)}}
    return {"schema": _schema(parameter.type, _QUERY) or {"type": "string"}}

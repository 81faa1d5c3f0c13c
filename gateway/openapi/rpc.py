"""The part of the OpenAPI document that describes /rpc: a path for each function of the catalog."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from gateway.errors import MESSAGE_OF
from gateway.rpc.catalog import Catalog, Column, Function, Parameter, SqlType

Schema = dict[str, Any]
Answers = Mapping[int, Schema | None]

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
    409: ("23505", 'duplicate key value violates unique constraint "notes_key"'),
    412: ("PT412", "the card has changed"),
    413: ("PAYLOAD_TOO_LARGE", "The body has more than 8388608 bytes. Send it in parts."),
    416: ("PGRST103", "Requested range not satisfiable"),
    422: ("PT422", "the request is not valid"),
    429: ("RATE_LIMITED", "Too many requests of this tenant are waiting. Send fewer at once."),
    500: ("XX000", MESSAGE_OF[500]),
    503: ("PGRST000", MESSAGE_OF[503]),
    504: ("57014", MESSAGE_OF[504]),
}
"""An example of each error, by its status."""

_INTEGERS: Final = frozenset({"smallint", "integer", "bigint"})
_NUMBERS: Final = frozenset({"numeric", "real", "double precision"})
_FORMATS: Final[Mapping[str, str]] = {"uuid": "uuid"}
_ANYTHING: Final[Schema] = {}


class Common(NamedTuple):
    """Parts of the document that all functions have.

    headers             of each answer
    tenant_parameters   the header that names the tenant, if there is one
    filling_parameters  headers by the name of the parameter that they fill
    security            of functions for anybody who has a tenant
    user_security       of functions for users
    words               summary and description of a comment
    """

    headers: Mapping[str, Any]
    tenant_parameters: list[dict[str, Any]]
    filling_parameters: Mapping[str, dict[str, Any]]
    security: list[dict[str, Any]]
    user_security: list[dict[str, Any]]
    words: Callable[[str], tuple[str, str]]


def answer_schema(kind: SqlType) -> Schema:
    """The schema of a value that is answered; any may be null."""
    if kind.labels:
        return {"enum": [*kind.labels, None]}
    if kind.base in _INTEGERS:
        return {"type": ["integer", "null"]}
    if kind.base in _NUMBERS:
        return {"type": ["number", "string", "null"]}  # NaN and the infinities are strings
    if kind.base == "boolean":
        return {"type": ["boolean", "null"]}
    if kind.kind == "array":
        return {"type": ["array", "null"]}
    if kind.kind == "scalar":
        return {"type": ["string", "null"]}
    return _ANYTHING


def argument_schema(kind: SqlType) -> Schema:
    """The schema of an argument in a JSON body: every type is also read from text, and text from any JSON."""
    if kind.labels:
        return {"enum": [*kind.labels, None]}
    if kind.base in _INTEGERS:
        return {"type": ["integer", "string", "null"]}
    if kind.base in _NUMBERS:
        return {"type": ["number", "string", "null"]}
    if kind.base == "boolean":
        return {"type": ["boolean", "string", "integer", "null"]}
    if kind.base in _FORMATS:
        return {"type": ["string", "null"], "format": _FORMATS[kind.base]}
    if kind.kind == "array":
        return {"type": ["array", "string", "null"]}
    if kind.kind == "row":
        return {"type": ["object", "string", "null"]}
    return _ANYTHING


def query_schema(kind: SqlType) -> Schema:
    """The schema of an argument in a query string."""
    if kind.labels:
        return {"enum": list(kind.labels)}
    if kind.base in _INTEGERS:
        return {"type": "integer"}
    if kind.base in _NUMBERS:
        return {"type": "number"}
    return {"type": "string", **({"format": _FORMATS[kind.base]} if kind.base in _FORMATS else {})}


def rpc_errors(headers: Mapping[str, Any]) -> dict[str, Any]:
    """The errors as components, by name. headers: those of each answer."""
    responses: dict[str, Any] = {}
    for status, (code, message) in ERRORS.items():
        response = _response(HTTPStatus(status).phrase, {"$ref": "#/components/schemas/RpcError"}, headers)
        example = {"code": code, "message": message, "details": None, "hint": None, "request_id": "6f1c0e9a4b7d4f0e"}
        response["content"]["application/json"]["example"] = example
        responses[f"Rpc{status}"] = response
    return responses


def rpc_paths(catalog: Catalog, answers: Mapping[str, Answers], common: Common) -> dict[str, Any]:
    """The paths of all functions.

    answers: those of functions that a route calls, too, by name; for a type can't tell the shape of a document.
    """
    paths: dict[str, Any] = {}
    for name, functions in catalog.functions.items():
        known = answers.get(name)
        path: dict[str, Any] = {"post": _post(functions, known, common)}
        if len(functions) == 1 and not functions[0].is_volatile and functions[0].unnamed_type is None:
            path["get"] = _get(functions[0], known, common)
        paths[f"/rpc/{quote(name, safe='')}"] = path
    return paths


def _post(functions: list[Function], known: Answers | None, common: Common) -> dict[str, Any]:
    bodies = [_body(function) for function in functions]
    required = all(function.required for function in functions)
    return {
        **_operation("post", functions, known, common),
        "parameters": _parameters(functions[0], common, is_read=False),
        "requestBody": {
            "required": required,
            "content": {"application/json": {"schema": bodies[0] if len(bodies) == 1 else {"anyOf": bodies}}},
        },
    }


def _get(function: Function, known: Answers | None, common: Common) -> dict[str, Any]:
    query = [
        {
            "name": name,
            "in": "query",
            "required": parameter.is_required,
            **_query_shape(parameter),
        }
        for name, parameter in function.arguments.items()
    ]
    return {
        **_operation("get", [function], known, common),
        "parameters": [*_parameters(function, common, is_read=True), *query],
    }


def _operation(method: str, functions: list[Function], known: Answers | None, common: Common) -> dict[str, Any]:
    name = functions[0].name
    texts = [common.words(function.comment) for function in functions]
    is_for_users = any("user_id" in function.filled for function in functions)
    answers: dict[int, Schema | None] = {status: _answered(functions) for status in (200, 206)}
    if known is not None:
        answers = dict(known)
    if all(function.kind == "void" for function in functions):
        answers = {}
    answers.setdefault(204, None)  # void, or Prefer: return=minimal
    responses: dict[str, Any] = {}
    for status, schema in sorted(answers.items()):
        if not (status == 304 and method == "post"):
            responses[str(status)] = _response(HTTPStatus(status).phrase, schema, common.headers)
    responses |= {str(status): {"$ref": f"#/components/responses/Rpc{status}"} for status in ERRORS}
    return {
        "operationId": f"{method}_rpc_{name}",
        "tags": ["rpc"],
        "summary": texts[0][0] or name.replace("_", " "),
        "description": "\n\n".join(description for _, description in texts if description),
        "security": common.user_security if is_for_users else common.security,
        "responses": responses,
    }


def _response(description: str, schema: Schema | None, headers: Mapping[str, Any]) -> dict[str, Any]:
    response: dict[str, Any] = {"description": description, "headers": dict(headers)}
    if schema is not None:
        response["content"] = {"application/json": {"schema": schema}}
    return response


def _answered(functions: list[Function]) -> Schema:
    if len(functions) > 1:
        return _ANYTHING
    function = functions[0]
    if function.kind == "row":
        row = _row(function.columns)
    else:
        row = answer_schema(function.type) if function.kind == "scalar" else _ANYTHING
    return {"type": "array", "items": row} if function.is_set else row


def _row(columns: tuple[Column, ...]) -> Schema:
    properties = {column.name: answer_schema(column.type) for column in columns}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _body(function: Function) -> Schema:
    """The schema of a body. What is no object counts as no arguments, and so does an array of anything but objects."""
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
    """A parameter's schema with its default as SQL writes it, where that says more than that there is none."""
    schema = argument_schema(parameter.type)
    if parameter.default is None or parameter.default.upper().startswith("NULL"):
        return schema
    return {**schema, "description": f"Default: {parameter.default}."}


def _query_shape(parameter: Parameter) -> dict[str, Any]:
    if parameter.type.kind == "json":
        return {"content": {"application/json": {"schema": _ANYTHING}}}
    if parameter.is_variadic:
        return {"schema": {"type": "array", "items": {"type": "string"}}}
    return {"schema": query_schema(parameter.type)}


def _parameters(function: Function, common: Common, *, is_read: bool) -> list[dict[str, Any]]:
    """The header parameters of a function, beside the tenant's: those that fill one of its own, and Prefer."""
    filled = [name for name in ("idempotency_key", "if_match") if name in function.filled and not is_read]
    prefer = {
        "name": "Prefer",
        "in": "header",
        "description": "count=exact, return=minimal, tx=rollback (a dry run), timezone=…, wait=<seconds>, "
        "handling=strict with max-affected=<rows>; several with commas between.",
        "schema": {"type": "string"},
        "example": "count=exact",
    }
    return [*common.tenant_parameters, *(common.filling_parameters[name] for name in filled), prefer]

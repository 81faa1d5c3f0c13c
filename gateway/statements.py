"""The SQL text of a route's call: alone, and batched with others of its kind. The functions are in db/functions/."""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import inspect

from gateway.arguments import fields_of, is_json
from gateway.database.statement import BATCH_TIMEOUT_SECONDS, CallStatement
from gateway.routes import Route

REPLY: Final = "status, headers, body, measures"
SNAPSHOT: Final = "pg_current_snapshot()::text as snapshot"
_SQL_TYPE_OF: Final = {"idempotency_key": "text", "idempotency_ttl_hours": "integer"}


def call_of(function: str, names: Iterable[str], reply: str = REPLY) -> str:
    """The text of a call with named parameters: `select … from api.f("a" => $1, "b" => $2)`."""
    named = ", ".join(f'"{name}" => ${position}' for position, name in enumerate(names, start=1))
    return f"select {reply} from api.{function}({named})"


def statement_of(route: Route, names: Sequence[str]) -> CallStatement:
    """The statement that calls a route's function with the parameters of these names, and their batched form."""
    sql = call_of(route.function, names, REPLY if route.cached is None else f"{REPLY}, {SNAPSHOT}")
    if route.batch_policy is None:
        return CallStatement(sql, is_search=route.is_search)
    types = [_sql_type(route, name) for name in names]
    arrays = ", ".join(
        f"${position}::{'text' if kind.endswith('[]') else kind}[]" for position, kind in enumerate(types, start=1)
    )
    columns = ", ".join(f'"{name}"' for name in names)
    named = ", ".join(f'"{name}" => call."{name}"::{kind}' for name, kind in zip(names, types, strict=True))
    batched_sql = (
        f"select call.position, {REPLY} from unnest({arrays}) with ordinality as call({columns}, position) "
        f"cross join lateral api.{route.function}({named}) "
        # Evaluated once, first of all. The server's own timeout leaves no doubt whether the batch was rolled back.
        f"where (select set_config('lock_timeout', '{BATCH_TIMEOUT_SECONDS}s', true)) is not null"
    )
    lists = [index for index, kind in enumerate(types) if kind.endswith("[]")]
    return CallStatement(sql, batched_sql, lists, route.batch_policy, is_read_only=route.is_read_only)


def _sql_type(route: Route, name: str) -> str:
    """The SQL type of a parameter of a route whose calls are batched; ids of path and caller are uuid."""
    for field in fields_of(route.body):
        if field.encode_name == name:
            return _sql_type_of(field.type)
    return _SQL_TYPE_OF.get(name, "uuid")


def _sql_type_of(field_type: inspect.Type) -> str:
    if isinstance(field_type, inspect.UnionType):
        return next(_sql_type_of(kind) for kind in field_type.types if not isinstance(kind, inspect.NoneType))
    if isinstance(field_type, inspect.Metadata):
        return _sql_type_of(field_type.type)
    if is_json(field_type):
        return "jsonb"
    if isinstance(field_type, inspect.ListType):
        return _sql_type_of(field_type.item_type) + "[]"
    return "uuid" if isinstance(field_type, inspect.UUIDType) else "text"

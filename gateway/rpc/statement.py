"""The one SQL statement of a call: it calls the function and makes the answer of what that gives, as bytes.

A function that answers api.reply is called as it is, so that a cluster can send the whole call to the tenant's node.
For every other one the statement applies the tenant setting, cuts the page out, counts, and builds the JSON: so it goes
on working when a row type changes. Where such a function has an idempotency key, the statement keeps that, too.
"""

from typing import Any, Final, Literal, NamedTuple

from gateway.rpc.catalog import FILLED, Function, Parameter

MAXIMUM_STATEMENTS: Final = 2000
"""Kept with a catalog; more are forgotten all at once."""

_CAST: Final = {
    "tenant_id": "::uuid",
    "user_id": "::uuid",
    "idempotency_ttl_hours": "::integer",
    "cleared_fields": "::text[]",
}

_PLAIN: Final = """
with

called as materialized (
    select result.*
    from {source}
    where (select set_config('app.current_tenant_id', {tenant_id}::text, true)) is not null
    limit {cap}::bigint
),

page as (
    select called.*
    from called
    offset {offset}::bigint
    limit {limit}::bigint
),

answer as (
    select
        {body} as body,
        count(*) as row_count,
        (select count(*) from called) as total_count
    from page
)

select
    convert_to({output}, 'UTF8'),
    answer.row_count,
    answer.total_count,
    null
from answer
"""
# The condition is evaluated once, before the function is called.

_KEPT: Final = """
with

earlier as materialized (
    select
        reply.status,
        reply.headers,
        reply.body
    from api.claim_request({tenant_id}, {user_id}, {key}, {function}, {request}::jsonb) as reply
),

called as materialized (
    select result.*
    from earlier
    cross join lateral (
        select result.*
        from {source}
        where earlier.status is null
        limit {cap}::bigint
    ) as result
),

page as (
    select called.*
    from called
    offset {offset}::bigint
    limit {limit}::bigint
),

fresh as (
    select
        ({body})::jsonb as body,
        count(*) as row_count,
        (select count(*) from called) as total_count
    from page
),

kept as (
    select
        reply.headers,
        reply.body
    from earlier
    cross join fresh
    cross join lateral (
        select
            reply.headers,
            reply.body
        from api.remember_request(
            {tenant_id},
            {user_id},
            {key},
            {function},
            {request}::jsonb,
            {ttl},
            fresh.row_count,
            fresh.total_count,
            fresh.body
        ) as reply
        where earlier.status is null
        offset 0
    ) as reply
),

answer as (
    select
        earlier.headers,
        earlier.body::json as body
    from earlier
    where earlier.status is not null
    union all
    select
        kept.headers,
        kept.body::json
    from kept
)

select
    convert_to({output}, 'UTF8'),
    (answer.headers ->> 'row_count')::bigint,
    (answer.headers ->> 'total_count')::bigint,
    answer.headers ->> 'X-Idempotency-Cache'
from answer
"""
# What is lateral and has a limit or offset stays in its place: it runs only when there is no earlier reply.


class RpcStatement(NamedTuple):
    """A statement, and what its parameters are, by name."""

    sql: str
    names: tuple[str, ...]


class Shape(NamedTuple):
    """What a statement depends on beside the function."""

    names: frozenset[str]
    """The arguments given."""
    is_json: bool
    """Whether they are JSON text, rather than SQL text."""
    form: Literal["json", "object", "csv"]
    strips_nulls: bool
    keeps_key: bool
    """Whether the statement keeps the idempotency key."""


class _Places:
    """The parameters of a statement, numbered as they are first used."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __getitem__(self, name: str) -> str:
        if name not in self.names:
            self.names.append(name)
        return f"${self.names.index(name) + 1}{_CAST.get(name, '')}"


def statement_of(function: Function, shape: Shape) -> RpcStatement:
    """The statement that calls a function with these arguments and answers in this form."""
    places = _Places()
    call = f"api.{_quoted(function.name)}({_arguments(function, shape, places)})"
    if function.kind == "reply":
        body = "jsonb_strip_nulls(body)" if shape.strips_nulls else "body"
        return RpcStatement(f"select status, headers, {body} as body, measures from {call}", tuple(places.names))
    template = _KEPT if shape.keeps_key else _PLAIN
    sql = template.format(
        source=_source(function, call),
        body=_body(function),
        output=_output(function, shape),
        tenant_id=places["tenant_id"],
        cap=places["/cap"],
        offset=places["/offset"],
        limit=places["/limit"],
        **(_keeping(function, places) if shape.keeps_key else {}),
    )
    return RpcStatement(sql, tuple(places.names))


def _keeping(function: Function, places: _Places) -> dict[str, str]:
    return {
        "user_id": places["user_id"] if "user_id" in function.filled else "null",
        "key": f"{places['idempotency_key']}::text",
        "function": f"{places['/function']}::text",
        "request": f"{places['/request']}::text",
        "ttl": places["idempotency_ttl_hours"],
    }


def _source(function: Function, call: str) -> str:
    """The call as a table named result, whose column is called value unless the function names its columns."""
    if function.kind == "row":
        return f"{call} as result"
    if function.kind == "record":
        return f"(select {call} as value) as result"
    if function.kind == "void":
        return f"(select 1 as value from {call}) as result"
    return f"{call} as result (value)"


def _body(function: Function) -> str:
    if function.kind == "void":
        return "null::json"
    rows = "coalesce(json_agg(page.*), '[]')" if function.kind == "row" else "coalesce(json_agg(page.value), '[]')"
    return rows if function.is_set else f"{rows} -> 0"


def _output(function: Function, shape: Shape) -> str:
    body = "answer.body"
    if shape.form == "object" and function.is_set:
        body = f"{body} -> 0"
    if shape.strips_nulls:
        body = f"json_strip_nulls({body})"
    return f"api.as_csv({body})" if shape.form == "csv" else f"({body})::text"


def _arguments(function: Function, shape: Shape, places: _Places) -> str:
    """The arguments as SQL: by position up to an unnamed one, then by name."""
    listed: list[str] = []
    is_positional = function.unnamed_type is not None
    for parameter in function.parameters:
        if parameter.name in FILLED:
            value = f"{places[parameter.name]}::{parameter.type.name}"
        elif parameter.name in shape.names:
            value = _value(parameter, shape, places)
        else:
            continue
        name = "" if is_positional else f"{_quoted(parameter.name)} => "
        listed.append(f"{'variadic ' if parameter.is_variadic else ''}{name}{value}")
        is_positional = is_positional and parameter.name != ""
    return ", ".join(listed)


def _value(parameter: Parameter, shape: Shape, places: _Places) -> str:
    """An argument as a value of its parameter's type, from the text of a JSON value or of an SQL value."""
    place, kind = places[parameter.name], parameter.type
    if parameter.name == "" and kind.base == "bytea":
        return f"{place}::{kind.name}"
    if not shape.is_json:
        return f"{place}::text::{kind.name}"
    if kind.kind == "json":
        return f"{place}::text::{kind.name}"
    if kind.kind == "scalar":
        return f"({place}::text::json #>> '{{}}')::{kind.name}"
    # PostgreSQL itself turns arrays and objects into arrays and rows, and their names into columns.
    return (
        "(select argument.value from json_to_record(json_build_object('value', "
        f"{place}::text::json)) as argument (value {kind.name}))"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def arguments_of(statement: RpcStatement, values: "dict[str, Any]") -> list[Any]:
    """The values of a statement's parameters, in their order."""
    return [values[name] for name in statement.names]

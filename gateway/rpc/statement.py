"""The one SQL statement of a call: it calls the function and builds the response's body, as bytes.

A function that returns api.reply is called as it is, so that a cluster can send the whole call to the tenant's node.
For any other function the statement applies the tenant setting, cuts out the page, counts, and builds the JSON, so it
keeps working when a row type changes. Where such a function has an idempotency key, the statement keeps that, too.
"""

from collections import ChainMap
from functools import lru_cache
from typing import Final, NamedTuple

from gateway.rpc.catalog import FILLED, Function, Parameter
from gateway.rpc.request import Accepted

MAXIMUM_STATEMENTS: Final = 2000
"""Kept in memory, the most recently used ones."""

_TYPE_OF: Final = {
    "tenant_id": "uuid",
    "user_id": "uuid",
    "idempotency_key": "text",
    "idempotency_ttl_hours": "integer",
    "cleared_fields": "text[]",
    "/offset": "bigint",
    "/limit": "bigint",
    "/maximum": "bigint",
    "/function": "text",
    "/request": "text",
}
"""The type of what the gateway passes. A name with a slash is not a parameter of the function."""

_SOURCE: Final = {
    "row": "{call} as result",
    "record": "(select {call} as value) as result",
    "void": "(select 1 as value from {call}) as result",
    "scalar": "{call} as result (value)",
}
"""The call as a table named result, by the function's kind; its column is named value, unless the function names it."""

_WITHOUT_KEY: Final = """
with

called as materialized (
    select result.*
    from {source}
    where (select set_config('app.current_tenant_id', {tenant_id}::text, true)) is not null
    limit {/maximum}
),

page as (
    select called.*
    from called
    offset {/offset}
    limit {/limit}
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

_WITH_KEY: Final = """
with

earlier as materialized (
    select reply.*
    from api.claim_request({tenant_id}, {caller}, {idempotency_key}, {/function}, {/request}::jsonb) as reply
),

called as materialized (
    select result.*
    from earlier
    cross join lateral (
        select result.*
        from {source}
        where earlier.status is null
        limit {/maximum}
    ) as result
),

page as (
    select called.*
    from called
    offset {/offset}
    limit {/limit}
),

fresh as (
    select
        ({body})::jsonb as body,
        count(*) as row_count,
        (select count(*) from called) as total_count
    from page
),

kept as (
    select reply.*
    from earlier
    cross join fresh
    cross join lateral (
        select reply.*
        from api.remember_request(
            {tenant_id}, {caller}, {idempotency_key}, {/function}, {/request}::jsonb, {idempotency_ttl_hours},
            fresh.row_count, fresh.total_count, fresh.body
        ) as reply
        where earlier.status is null
        offset 0
    ) as reply
),

answer as (
    select earlier.headers, earlier.body::json as body from earlier where earlier.status is not null
    union all
    select kept.headers, kept.body::json from kept
)

select
    convert_to({output}, 'UTF8'),
    (answer.headers ->> 'row_count')::bigint,
    (answer.headers ->> 'total_count')::bigint,
    answer.headers ->> 'X-Idempotency-Cache'
from answer
"""
# A lateral query with a limit or offset is not moved elsewhere: it runs only when there is no earlier reply.


class RpcStatement(NamedTuple):
    """A statement, and the names of its parameters in order."""

    sql: str
    names: tuple[str, ...]


class _Placeholders(dict[str, str]):
    """The placeholder of each parameter of a statement, numbered in the order of their first use."""

    def __missing__(self, name: str) -> str:
        cast = f"::{_TYPE_OF[name]}" if name in _TYPE_OF else ""
        self[name] = f"${len(self) + 1}{cast}"
        return self[name]


@lru_cache(MAXIMUM_STATEMENTS)
def statement_of(
    function: Function, names: frozenset[str], accepted: Accepted, *, is_json: bool, keeps_key: bool
) -> RpcStatement:
    """The statement that calls a function.

    names       of the arguments that the caller gave
    accepted    the format to return
    is_json     whether the arguments are JSON text, rather than SQL text
    keeps_key   whether the statement keeps the idempotency key
    """
    placeholders = _Placeholders()
    call = f"api.{_quoted(function.name)}({_arguments(function, names, placeholders, is_json=is_json)})"
    if function.kind == "reply":
        body = "jsonb_strip_nulls(body)" if accepted.strips_nulls else "body"
        return RpcStatement(f"select status, headers, {body} as body, measures from {call}", tuple(placeholders))
    parts = {
        "source": _SOURCE[function.kind].format(call=call),
        "body": _body(function),
        "output": _output(function, accepted),
        "caller": placeholders["user_id"] if "user_id" in function.filled else "null",
    }
    template = _WITH_KEY if keeps_key else _WITHOUT_KEY
    sql = template.format_map(ChainMap(parts, placeholders))
    return RpcStatement(sql, tuple(placeholders))


def _body(function: Function) -> str:
    if function.kind == "void":
        return "null::json"
    rows = "coalesce(json_agg(page.*), '[]')" if function.kind == "row" else "coalesce(json_agg(page.value), '[]')"
    return rows if function.is_set else f"{rows} -> 0"


def _output(function: Function, accepted: Accepted) -> str:
    body = "answer.body"
    if accepted.format == "object" and function.is_set:
        body = f"{body} -> 0"
    if accepted.strips_nulls:
        body = f"json_strip_nulls({body})"
    return f"api.as_csv({body})" if accepted.format == "csv" else f"({body})::text"


def _arguments(function: Function, names: frozenset[str], placeholders: _Placeholders, *, is_json: bool) -> str:
    """The arguments as SQL: by position up to an unnamed one, then by name."""
    listed: list[str] = []
    is_positional = function.unnamed_type is not None
    for parameter in function.parameters:
        if parameter.name in FILLED:
            value = f"{placeholders[parameter.name]}::{parameter.type.name}"
        elif parameter.name in names:
            value = _value(parameter, placeholders[parameter.name], is_json=is_json)
        else:
            continue
        name = "" if is_positional else f"{_quoted(parameter.name)} => "
        listed.append(f"{'variadic ' if parameter.is_variadic else ''}{name}{value}")
        is_positional = is_positional and parameter.name != ""
    return ", ".join(listed)


def _value(parameter: Parameter, placeholder: str, *, is_json: bool) -> str:
    """An argument as a value of its parameter's type, from the text of a JSON value or of an SQL value."""
    kind = parameter.type
    if parameter.name == "" and kind.base == "bytea":
        return f"{placeholder}::{kind.name}"
    checked = f"api.check_argument({_literal(parameter.name or 'body')}, {placeholder}::text::jsonb)"
    if kind.base == "jsonb":
        return f"{checked}::{kind.name}"
    if not is_json or kind.kind == "json":
        return f"{placeholder}::text::{kind.name}"
    if kind.kind == "scalar":
        return f"({placeholder}::text::json #>> '{{}}')::{kind.name}"
    # PostgreSQL itself turns arrays and objects into arrays and rows, and their names into columns.
    return (
        "(select argument.value from json_to_record(json_build_object('value', "
        f"{placeholder}::text::json)) as argument (value {kind.name}) where {checked} is not null)"
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

"""Two tenants with rows in every table, and every function of api called for one of them.

Everything is generated from the catalog: a new function is called with arguments chosen by its parameters' names, and a
parameter that is not known here fails the test that meets it.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple
from uuid import UUID, uuid4

import asyncpg

CANARY: Final = "canary"
"""The beginning of all texts of a tenant, followed by the tenant's name."""

VALUES: Final[Mapping[str, Any]] = {
    "body": {},
    "card_type": "voice",
    "cards": [{"card_type": "voice", "content": {"text": "{canary}, in a batch"}}],
    "content": "{canary} content",
    "display_name": "{canary} name",
    "email": "{canary}@example.com",
    "function_name": "create_cards",
    "idempotency_key": "a key that every tenant uses for {function}",
    "idempotency_ttl_hours": 24,
    "kind": "test",
    "network": "192.0.2.1",
    "next_token_hash": "\\x" + 32 * "77",
    "password": "a long password that nobody guesses",
    "password_hash": "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$hash",
    "priority": "low",
    "provider": "{canary} provider",
    "q": "{canary}",
    "refresh_token": "a refresh token that nobody was given",
    "request": {},
    "role": "user",
    "row_count": 1,
    "rows": [],
    "encrypted_settings": "\\x00",
    "session_id": "{canary} session",
    "setting_names": ["{canary} setting"],
    "settings": {"{canary} setting": "secret"},
    "status": "pending",
    "theme": "dark",
    "title": "{canary} title",
    "total_count": 1,
    "valid_days": 1,
    "workflow_id": "{canary} workflow",
    "workflow_type": "{canary} type",
}
"""The value of a parameter that is not an id, by its name. {canary}: the tenant's; {function}: the
function's name."""
OF_FUNCTION: Final[Mapping[tuple[str, str], Any]] = {
    ("create_card", "content"): {"text": "{canary}"},
    ("update_card", "content"): {"text": "{canary}, changed"},
    ("list_cards", "contains"): {},
    ("enqueue_job", "arguments"): {"message": "{canary}"},
    ("check_argument", "name"): "content",
    ("check_argument", "argument"): {"text": "{canary}"},
}
"""The exceptions: functions in which a parameter of that name means something else."""
LEFT_OUT: Final = frozenset({"if_match", "cursor", "count", "messages", "cleared_fields", "metadata"})
"""Optional parameters that have no effect on whose rows are meant, or that exclude others."""
SEEDS: Final = (
    "begin_registration",
    "register_user",
    "read_events",
    "create_card",
    "create_cards",
    "track_usage",
    "update_preferences",
    "create_memory",
    "create_conversation",
    "create_messages",
    "create_task",
    "create_integration",
    "enqueue_job",
)
"""Functions that make a tenant's rows, in the order in which they depend on each other."""
ROWS: Final[Mapping[str, str]] = {
    "card_search": "insert into app.card_search (tenant_id, card_id, version, title, search_vector)"
    " select tenant_id, card_id, version, 'a title', '' from app.cards where tenant_id = $1",
    "memory_embeddings": "insert into app.memory_embeddings"
    " (tenant_id, user_id, memory_id, model, content_hash, embedding)"
    " select tenant_id, user_id, id, 'model', '\\x00', '[1]' from app.memories where tenant_id = $1",
}
"""SQL that makes a tenant's rows of tables that no function of api fills."""
WITHOUT_TENANT: Final = frozenset(
    {"credentials", "login_attempts", "workers", "dispatch_turn", "schedules", "announcement_secret"}
)
"""Tables whose rows exist before a tenant is known, or belong to none: their tenant is 0."""
DERIVED: Final = frozenset({"card_search", "card_search_queue"})
"""Tables that a tenant's searches update."""

FUNCTIONS: Final = """
select
    routine.proname as name,
    coalesce(obj_description(routine.oid, 'pg_proc'), '') not like '%@internal%' as is_public,
    (
        select role
        from unnest(array['cardbase_gateway', 'cardbase_service', 'cardbase_worker']) as role
        where has_function_privilege(role, routine.oid, 'execute')
        limit 1
    ) as role,
    coalesce(array_agg(parameter.name order by parameter.position) filter (where parameter.name is not null), '{}')
        as names,
    coalesce(array_agg(format_type(parameter.type, null) order by parameter.position)
        filter (where parameter.name is not null), '{}') as types,
    routine.pronargs - routine.pronargdefaults as required
from pg_proc as routine
left join lateral unnest(routine.proargnames, routine.proargtypes::oid[]) with ordinality
    as parameter (name, type, position) on parameter.position <= routine.pronargs
where routine.pronamespace = 'api'::regnamespace
group by routine.oid
order by routine.proname
"""


class Function(NamedTuple):
    """A function of schema api."""

    name: str
    is_public: bool
    """Whether /rpc serves it."""
    role: str
    """A role that may call it, preferably the gateway's."""
    parameters: Mapping[str, str]
    """Types by name."""
    required: frozenset[str]

    @property
    def ids(self) -> list[str]:
        """The parameters that say which row is meant."""
        return [name for name in self.parameters if is_id(name)]


@dataclass
class Tenant:
    """One of the two tenants, or one that doesn't exist."""

    name: str
    tenant_id: UUID = field(default_factory=uuid4)
    user_id: UUID = field(default_factory=uuid4)
    rows: dict[str, str] = field(default_factory=dict)
    """The ids of its rows, by kind: card, memory, token_hash …; a missing one is made up."""

    @property
    def canary(self) -> str:
        return f"{CANARY}-{self.name}"

    def id_of(self, parameter: str, noun: str) -> str:
        """The value of a parameter that is an id, in a function about this kind of row."""
        if parameter == "user_id":
            return str(self.user_id)
        what = noun if parameter == "id" else parameter.removesuffix("_ids").removesuffix("_id")
        if what not in self.rows:
            self.rows[what] = f"\\x{uuid4().hex}{uuid4().hex}" if what == "token_hash" else str(uuid4())
        return self.rows[what]

    def value_of(self, parameter: str, function: str) -> Any:
        """The value of any other parameter. Raises KeyError when there is none."""
        value = OF_FUNCTION.get((function, parameter), VALUES.get(parameter, ...))
        if value is ...:
            raise KeyError(f"{function}: tests/support/world.py has no value for the parameter {parameter}")
        return json.loads(json.dumps(value).replace("{canary}", self.canary).replace("{function}", function))

    @property
    def secrets(self) -> list[str]:
        """What nobody else may ever see."""
        return [self.canary, str(self.tenant_id), str(self.user_id), *self.rows.values()]


def is_id(parameter: str) -> bool:
    """Whether a parameter says which row is meant."""
    return parameter in ("id", "token_hash") or (
        parameter.endswith(("_id", "_ids"))
        and parameter not in ("tenant_id", "workflow_id", "session_id", "source_session_id")
    )


def arguments_of(function: Function, caller: Tenant, owner: Tenant) -> dict[str, str]:
    """The arguments, as text, of a tenant's call about the rows of another one (or its own, or nobody's)."""
    noun = noun_of(function.name)
    arguments = {}
    for name, kind in function.parameters.items():
        if name == "tenant_id":
            arguments[name] = str(caller.tenant_id)
        elif is_id(name):
            text = owner.id_of(name, noun)
            arguments[name] = f"{{{text}}}" if kind.endswith("[]") else text
        elif name not in LEFT_OUT and (name in function.required or name in VALUES):
            arguments[name] = as_text(caller.value_of(name, function.name), kind)
    return arguments


def noun_of(function: str) -> str:
    """What a function is about: get_memory and list_memories are about a memory."""
    noun = function.partition("_")[2]
    if noun.endswith("ies"):
        return noun.removesuffix("ies") + "y"
    return noun.removesuffix("s")


def as_text(value: Any, kind: str) -> str:
    """A value as the text input of a type."""
    if kind in ("json", "jsonb"):
        return json.dumps(value)
    if isinstance(value, list):
        return "{" + ",".join(json.dumps(item) for item in value) + "}"
    return str(value)


def statement_of(function: Function, arguments: Iterable[str]) -> str:
    """The statement that calls a function with named arguments, each given as text, and returns JSON."""
    named = ", ".join(
        f'"{name}" => ${position}::text::{function.parameters[name]}' for position, name in enumerate(arguments, 1)
    )
    return f"select to_jsonb(answer)::text from api.{function.name}({named}) as answer"


async def functions_of(connection: "asyncpg.Connection[Any]") -> list[Function]:
    """Every function of schema api."""
    return [
        Function(
            row["name"],
            row["is_public"],
            row["role"],
            dict(zip(row["names"], row["types"], strict=True)),
            frozenset(row["names"][: row["required"]]),
        )
        for row in await connection.fetch(FUNCTIONS)
    ]


async def tables_of(connection: "asyncpg.Connection[Any]") -> list[str]:
    """Every table of schema app."""
    sql = "select relname from pg_class where relnamespace = 'app'::regnamespace and relkind in ('r', 'p') order by 1"
    return [row["relname"] for row in await connection.fetch(sql)]


async def call(connection: "asyncpg.Connection[Any]", function: Function, arguments: Mapping[str, str]) -> str:
    """Calls a function as a role that may call it. Returns its reply, or everything that its error says."""
    await connection.execute(f"savepoint called; set local role {function.role}")
    try:
        reply: str = await connection.fetchval(statement_of(function, arguments), *arguments.values())
    except asyncpg.PostgresError as error:
        await connection.execute("rollback to savepoint called")
        return json.dumps({name: str(value) for name, value in sorted(error.as_dict().items()) if name not in _PLACES})
    await connection.execute("reset role")
    return reply


_PLACES: Final = ("context", "server_source_filename", "server_source_line", "server_source_function")


async def settle(connection: "asyncpg.Connection[Any]", tenant: Tenant) -> None:
    """Gives a tenant rows in every table, by calling the functions that make them."""
    functions = {function.name: function for function in await functions_of(connection)}
    for name in SEEDS:
        if (function := functions.get(name)) is None:
            continue
        reply = json.loads(await call(connection, function, arguments_of(function, tenant, tenant)))
        assert reply.get("status", 500) < 300, (name, reply)
        body = reply["body"]
        if name == "register_user":
            tenant.user_id = UUID(_found(body, "user_id", "id"))
        elif name in ("create_card", "create_memory", "create_conversation", "create_task", "create_integration"):
            tenant.rows[noun_of(name)] = _found(body, "card_id", "id")
        elif name == "create_messages":
            tenant.rows["message"] = _found(body, "id")
        elif name == "enqueue_job":
            tenant.rows["job"] = _found(body, "job_id")
    for table in await tables_of(connection):
        if table in ROWS:
            await connection.execute(ROWS[table], tenant.tenant_id)
        count = await connection.fetchval(f"select count(*) from app.{table} where tenant_id = $1", tenant.tenant_id)
        assert count or table in WITHOUT_TENANT, f"tests/support/world.py puts nothing into app.{table}"


def _found(body: Any, *names: str) -> str:
    """The first value of such a name in a JSON document, wherever it stands."""
    waiting = [body]
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, dict):
            for name in names:
                if name in value:
                    return str(value[name])
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    raise AssertionError(f"none of {names} in {body}")


async def fingerprint_of(connection: "asyncpg.Connection[Any]", tenant: Tenant) -> str:
    """A hash over all rows of a tenant that are not derived from others."""
    rows = " union all ".join(
        f"select '{table}', to_jsonb({table})::text from app.{table} where tenant_id = $1"
        for table in await tables_of(connection)
        if table not in DERIVED
    )
    sql = f"select md5(string_agg(name || row, ',' order by name, row)) from ({rows}) as rows (name, row)"
    found: str = await connection.fetchval(sql, tenant.tenant_id)
    return found

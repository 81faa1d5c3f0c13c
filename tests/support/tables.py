"""The contents of the tables, read without the functions."""

import json
from typing import Final
from uuid import UUID

from support.servers import Database

EMPTY: Final = {"cards": 0, "card_usage": 0, "card_usage_totals": 0, "idempotency_store": 0}


def row_counts(database: Database, tenant_id: UUID) -> dict[str, int]:
    """How many rows of a tenant each table holds."""
    return {table: int(count) for table, count in json.loads(query(database, tenant_id, _COUNTS)).items()}


def query(database: Database, tenant_id: UUID, sql: str) -> str:
    """Runs a query as the tenant, with the rights of the functions. Returns what it selects."""
    return database.execute("set role cardbase_api", f"set app.current_tenant_id = '{tenant_id}'", sql)


_COUNTS: Final = "select json_object_agg(name, rows) from ({}) as counts (name, rows)".format(
    " union all ".join(f"select '{table}', count(*) from app.{table}" for table in EMPTY)
)

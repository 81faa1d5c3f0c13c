"""Maintenance of the database, and its figures for operators.

Each step has a connection of its own, which may also lead through a pooler.
"""

import asyncio
import logging
from collections import Counter
from time import perf_counter
from typing import Final

import asyncpg
import msgspec

from gateway.database.connect import connected
from gateway.errors import DATABASE_ERRORS
from gateway.observe.logs import describe
from gateway.settings import Settings
from gateway.worker.metrics import Figure, WorkerMetrics

logger = logging.getLogger(__name__)

MAXIMUM_ROWS: Final = 1000
"""How many rows a task handles in one step, which is a transaction."""
PAUSE_SECONDS: Final = 0.05
"""Between two steps, so that vacuum and replication keep up with what is removed."""
STATEMENT_SECONDS: Final = 60.0
RUN: Final = "select task, action, row_count from app.run_maintenance($1, $2, $3, $4)"


async def _fetch(url: str, sql: str, *arguments: object) -> list[asyncpg.Record]:
    """Runs one statement on a connection of its own, which may also lead through a pooler."""
    async with connected(url, "cardbase worker", statement_seconds=STATEMENT_SECONDS) as connection:
        rows: list[asyncpg.Record] = await connection.fetch(sql, *arguments)
        return rows


async def measure(url: str, metrics: WorkerMetrics, settings: Settings) -> None:
    """Measures the database once."""
    try:
        rows = await _fetch(url, "select * from app.measure_database($1)", settings.usage_retention_days)
    except DATABASE_ERRORS as error:
        logger.warning("the database can't be measured", extra={"cause": describe(error)})
        metrics.show(())
    else:
        metrics.show([Figure(row["metric"], msgspec.json.decode(row["labels"]), row["value"]) for row in rows])


async def maintain(url: str, metrics: WorkerMetrics, settings: Settings) -> Counter[tuple[str, str]] | None:
    """Does what maintenance there is, step by step.

    Returns how many rows were handled by (task, action), action being "removed" or "indexed"; empty when another
    worker is running maintenance; None when it failed, which was logged.
    """
    done: Counter[tuple[str, str]] = Counter()
    try:
        while True:
            start = perf_counter()
            rows = await _fetch(
                url,
                RUN,
                settings.usage_retention_days,
                MAXIMUM_ROWS,
                settings.job_retention_hours,
                settings.event_retention_minutes,
            )
            metrics.steps.observe(perf_counter() - start)
            for row in rows:
                metrics.rows.labels(row["task"], row["action"]).inc(row["row_count"])
                done[row["task"], row["action"]] += row["row_count"]
            if all(row["row_count"] < MAXIMUM_ROWS for row in rows):
                break
            await asyncio.sleep(PAUSE_SECONDS)
    except DATABASE_ERRORS as error:
        logger.warning("maintenance failed", extra={"cause": describe(error)})
        metrics.runs.labels("failed").inc()
        return None
    metrics.runs.labels("done" if done else "elsewhere").inc()
    metrics.last_success.set_to_current_time()
    if any(done.values()):
        by_action: dict[str, dict[str, int]] = {}
        for (task, action), rows_done in done.items():
            by_action.setdefault(action, {})[task] = rows_done
        logger.info("maintenance done", extra=by_action)
    return done

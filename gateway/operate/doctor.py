"""Examines a deployed database: what in its catalog would let somebody in, or break a rule of the house.

Each file of db/doctor asks for one kind of fault; whatever differs from db/ itself is what a deploy would change.
"""

from pathlib import Path
from typing import NamedTuple

from gateway.database.connect import connect
from gateway.errors import DATABASE_ERRORS
from gateway.operate.deploy import DEFAULT_SOURCE, DeployError, deploy


class Finding(NamedTuple):
    """One thing that is wrong."""

    subject: str
    """What it is wrong with: a function, table, policy, role or file."""
    problem: str
    remedy: str
    """What to do."""


async def examine(url: str, source: Path = DEFAULT_SOURCE) -> list[Finding]:
    """All that is wrong with a deployed database, in the order of the files that ask for it. Changes nothing.

    url      a role that may deploy to it
    source   the db/ that it should be like

    Raises DeployError when it can't be reached, or was not deployed to.
    """
    try:
        connection = await connect(url, "cardbase doctor")
    except (*DATABASE_ERRORS, ValueError) as error:
        raise DeployError(f"cannot connect to the database: {' '.join(str(error).split())}") from error
    findings: list[Finding] = []
    try:
        if await connection.fetchval("select to_regclass('deployment.state')") is None:
            raise DeployError("this database was not deployed to: run cardbase deploy")
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            # Names are shown as it says.
            await connection.execute("set local search_path = pg_catalog, pg_temp")
            for file in sorted((source / "doctor").glob("*.sql")):
                rows = await connection.fetch(file.read_text(encoding="utf-8"))
                findings += (Finding(row["subject"], row["problem"], row["remedy"]) for row in rows)
    finally:
        await connection.close()
    return findings + await _differences(url, source)


async def _differences(url: str, source: Path) -> list[Finding]:
    """What a deploy would change, or why it would refuse to."""
    try:
        lines = await deploy(url, check=True, source=source)
    except DeployError as error:
        return [Finding("db/", str(error), "See to it, then run cardbase deploy.")]
    parts = (line.partition(": ") for line in lines)
    return [Finding(subject, problem, "Run cardbase deploy.") for subject, _, problem in parts]

"""Examines a deployed database: anything in its catalog that lets somebody in, or breaks a rule of db/.

Each file of db/doctor looks for one kind of fault; any other difference from db/ is found by `cardbase deploy --check`.
"""

from pathlib import Path
from typing import NamedTuple

from gateway.operate.deploy import DEFAULT_SOURCE, DeployError, connect_as_deployer, deploy


class Finding(NamedTuple):
    """One thing that is wrong."""

    subject: str
    """What it is wrong with: a function, table, policy, role or file."""
    problem: str
    remedy: str
    """What to do."""


async def examine(url: str, source: Path = DEFAULT_SOURCE) -> list[Finding]:
    """Returns everything that is wrong with a deployed database, in the order of the files. Changes nothing.

    url      a role that may deploy to it
    source   the db/ that it should match

    Raises DeployError if it can't be reached, or was not deployed to.
    """
    connection = await connect_as_deployer(url, "cardbase doctor")
    findings: list[Finding] = []
    try:
        if await connection.fetchval("select to_regclass('deployment.state')") is None:
            raise DeployError("this database was not deployed to: run cardbase deploy")
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            # It decides how names are shown.
            await connection.execute("set local search_path = pg_catalog, pg_temp")
            for file in sorted((source / "doctor").glob("*.sql")):
                rows = await connection.fetch(file.read_text(encoding="utf-8"))
                findings += (Finding(row["subject"], row["problem"], row["remedy"]) for row in rows)
    finally:
        await connection.close()
    return findings + await _differences(url, source)


async def _differences(url: str, source: Path) -> list[Finding]:
    """What a deploy would change, or why it would be refused."""
    try:
        lines = await deploy(url, check=True, source=source)
    except DeployError as error:
        return [Finding("db/", str(error), "Solve this, then run cardbase deploy.")]
    parts = (line.partition(": ") for line in lines)
    return [Finding(subject, problem, "Run cardbase deploy.") for subject, _, problem in parts]

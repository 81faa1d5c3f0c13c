"""pgTAP: finding it, installing it, running its test files and judging what they print."""

import os
import re
import subprocess
from pathlib import Path
from typing import Final

from support import REPOSITORY
from support.servers import Database, clean_environment, program, run_psql

SCHEMA: Final = "tap"
SEARCH_PATH: Final = f"public, {SCHEMA}"
MISSING: Final = "pgTAP is not installed: apt-get install pgtap, or let PGTAP_SQL name its pgtap--*.sql"
SECONDS: Final = 120
"""Seconds that a test file may take."""

_PLAN: Final = re.compile(r"1\.\.(\d+)")
_RESULT: Final = re.compile(r"(not )?ok (\d+)(?: - (.*))?")


def script() -> Path | None:
    """pgTAP's own SQL script: PGTAP_SQL, or else the newest that a Debian package has installed."""
    if named := os.environ.get("PGTAP_SQL"):
        return Path(named)
    found = Path("/usr/share/postgresql").glob("*/extension/pgtap--*.sql")
    complete = [path for path in found if re.fullmatch(r"pgtap--[\d.]+\.sql", path.name)]
    return max(complete, key=lambda path: [int(part) for part in re.findall(r"\d+", path.name)], default=None)


def install(database: Database, path: Path) -> None:
    """Installs pgTAP into a separate schema, open to all roles: a test changes roles between assertions."""
    run_psql(
        database.url(),
        *("-c", f"create schema {SCHEMA}"),
        *("-c", f"grant usage on schema {SCHEMA} to public"),
        *("-c", f"set search_path = {SCHEMA}"),
        *("-c", "set client_min_messages = warning"),
        *("-f", str(path)),
    )


def run(database: Database, file: Path) -> list[str]:
    """Runs a test file with psql, as pg_prove does. Returns what is wrong with it, line by line."""
    command: list[str | Path] = [
        program("psql"),
        "-X",
        "-q",
        "-A",
        "-t",
        "-v",
        "ON_ERROR_STOP=1",
        "-f",
        file,
        database.url(),
    ]
    environment = {**clean_environment(), "PGOPTIONS": f"-c search_path={SEARCH_PATH.replace(' ', '')}"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env=environment, cwd=REPOSITORY, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return [f"not finished after {SECONDS} s"]
    return complaints(done.stdout, done.stderr, done.returncode)


def complaints(output: str, errors: str = "", status: int = 0) -> list[str]:
    """Why a TAP output is not a pass; empty when it is one.

    Strict: there is one plan and it comes first, every test of it ran once and in order, each has a unique
    description, none failed (not even a TODO), and psql ended with status 0.
    """
    lines = output.splitlines()
    plans = [(index, int(match[1])) for index, line in enumerate(lines) if (match := _PLAN.fullmatch(line))]
    results = [(index, match) for index, line in enumerate(lines) if (match := _RESULT.fullmatch(line))]
    wrong: list[str] = []

    for index, match in results:
        if match[1]:
            wrong += [match[0], *_diagnostics(lines[index + 1 :])]
    numbers = [int(match[2]) for _, match in results]
    if len(plans) != 1:
        wrong.append(f"{len(plans)} plans instead of one")
    elif results and results[0][0] < plans[0][0]:
        wrong.append("the plan comes after the first test")
    elif len(numbers) != plans[0][1]:
        wrong.append(f"planned {plans[0][1]} tests but ran {len(numbers)}")
    if numbers != list(range(1, len(numbers) + 1)):
        wrong.append(f"tests out of order: {numbers}")
    descriptions = [match[3] or "" for _, match in results]
    wrong += (f"test {match[2]} has no description" for _, match in results if not match[3])
    wrong += sorted({f"described twice: {text}" for text in descriptions if text and descriptions.count(text) > 1})
    wrong += (line for line in lines if line.startswith("Bail out!"))
    if status != 0:
        wrong.append(f"psql ended with status {status}: {errors.strip()}")
    return wrong


def _diagnostics(lines: list[str]) -> list[str]:
    end = next((index for index, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return lines[:end]

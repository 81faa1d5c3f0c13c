"""The load generators: wrk for HTTP, pgbench for the functions themselves."""

import shutil
import subprocess
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from bench import BenchError
from bench.processes import environment
from bench.store import Store
from bench.workloads import TOKEN, Call, Request
from gateway.operate import embedded

SCRIPT: Final = Path(__file__).with_name("requests.lua")
TIMEOUT_SECONDS: Final = 10

_TYPES: Final = {"card_id": "uuid", "card_ids": "uuid[]", "cards": "jsonb", "limit": "integer"}
"""Of the functions' parameters; text otherwise."""
_MAXIMUM_SCRIPT_CHARACTERS: Final = 100_000
"""Each connection parses each script once, within the measured time."""


class Load(msgspec.Struct, frozen=True):
    """What a load generator measured."""

    requests: int
    seconds: float
    errors: int
    """Responses other than 2xx and 3xx, failed connections, and timeouts."""
    p50_ms: float
    p95_ms: float
    p99_ms: float


def check_wrk() -> None:
    """Raises BenchError when wrk is not installed."""
    if shutil.which("wrk") is None:
        raise BenchError("wrk is missing: on Debian, apt-get install wrk")


def write_requests(file: Path, requests: Sequence[Request]) -> None:
    """Writes requests as requests.lua reads them."""
    lines = []
    for request in requests:
        headers = [part for header in request.headers.items() for part in header]
        lines.append("\t".join((request.method, request.path, request.body, *headers)) + "\n")
    file.write_text("".join(lines))


def run_wrk(address: str, requests: Path, *, connections: int, seconds: int) -> Load:
    """Sends the requests of a file, on each connection one by one. Raises BenchError when there is no response."""
    output = _run(
        *("wrk", "-t", "1", "-c", connections, "-d", f"{seconds}s", "--timeout", f"{TIMEOUT_SECONDS}s"),
        *("-s", SCRIPT, address, "--", requests, time.time_ns() // 1000),
    )
    load = msgspec.json.decode(output.splitlines()[-1], type=Load)
    if load.requests == 0:
        raise BenchError(f"{address} sent no response:\n{output}")
    return load


def write_scripts(folder: Path, calls: Sequence[Call]) -> list[tuple[Path, int]]:
    """Writes calls for pgbench: a script for each function, and its share of all calls."""
    folder.mkdir(parents=True, exist_ok=True)
    calls_of: dict[str, list[Call]] = defaultdict(list)
    for call in calls:
        calls_of[call.function].append(call)
    scripts = []
    for function, theirs in calls_of.items():
        file = folder / f"{function}.sql"
        file.write_text(_script(function, theirs))
        scripts.append((file, len(theirs)))
    return scripts


def run_pgbench(
    store: Store,
    scripts: Sequence[tuple[Path, int]],
    *,
    connections: int,
    seconds: int = 0,
    transactions: int = 0,
) -> Load:
    """Calls functions on connections of a trusted service, for some time or a number of transactions each.

    Raises BenchError when a call fails.
    """
    folder = scripts[0][0].parent
    for log in folder.glob("log.*"):
        log.unlink()
    started = time.perf_counter()
    output = _run(
        *(embedded.binaries() / "pgbench", "--no-vacuum", "--protocol=prepared"),
        *("--client", connections, "--jobs", min(2, connections)),
        *(("--time", seconds) if seconds else ("--transactions", transactions)),
        *("--log", f"--log-prefix={folder / 'log'}"),
        *(f"--file={file}@{weight}" for file, weight in scripts),
        *("--host", store.server.socket_folder, "--username", "cardbase_service", store.database),
    )
    elapsed = time.perf_counter() - started
    # client, transaction, microseconds, script, and when
    milliseconds = sorted(
        int(line.split(" ", 3)[2]) / 1000 for log in folder.glob("log.*") for line in log.read_text().splitlines()
    )
    if not milliseconds:
        raise BenchError(f"pgbench completed no transaction:\n{output}")
    rate = next(float(line.split()[2]) for line in output.splitlines() if line.startswith("tps = "))
    return Load(
        requests=len(milliseconds),
        seconds=len(milliseconds) / rate if rate else elapsed,
        errors=0,
        p50_ms=_percentile(milliseconds, 50),
        p95_ms=_percentile(milliseconds, 95),
        p99_ms=_percentile(milliseconds, 99),
    )


def _script(function: str, calls: Sequence[Call]) -> str:
    """One statement that makes any of several calls: it contains all of them as constants, and a variable chooses."""
    rows = [{"tenant_id": str(call.tenant_id), **call.arguments} for call in calls]
    length = sum(len(str(row)) for row in rows) // len(rows)
    rows = rows[: max(1, _MAXIMUM_SCRIPT_CHARACTERS // length)]
    arguments = []
    for name in rows[0]:
        kind = "uuid" if name == "tenant_id" else _TYPES.get(name, "text")
        values = [_text(row[name]) for row in rows]
        # Arrays of arrays would have to be rectangular, and only a text has a token.
        is_text = kind in ("uuid[]", "jsonb", "text")
        value = f"({_array(values)}::{'text' if is_text else kind}[])[:choice]"
        if TOKEN in values[0]:
            value = f"replace({value}, '{TOKEN}', lpad(:token::text, 16, '0'))"
        arguments.append(f'"{name}" => {value}::{kind}')
    return (
        f"\\set choice random(1, {len(rows)})\n"
        "\\set token random(1000000000000000, 8999999999999999)\n"
        f"select status, headers, body from api.{function}({', '.join(arguments)});\n"
    )


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "{" + ",".join(value) + "}"
    return msgspec.json.encode(value).decode()


def _array(values: Sequence[str]) -> str:
    items = ",".join('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in values)
    return "'{" + items.replace("'", "''") + "}'"


def _percentile(ordered: Sequence[float], percent: int) -> float:
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]


def _run(*command: object) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        env=environment({}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        name = Path(str(command[0])).name
        raise BenchError(f"{name} failed:\n{(done.stderr or done.stdout).strip()[-2000:]}")
    return done.stdout

"""Where the time of one workload goes: py-spy on the gateway, pg_stat_statements in the database."""

import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from bench import load, peers, report
from bench.compare import Say
from bench.store import Sample, Store

SETTINGS: Final = {"shared_preload_libraries": "pg_stat_statements", "pg_stat_statements.track": "all"}
"""Settings that the database must be started with."""

STATEMENTS: Final = """
select calls, total_exec_time / calls * 1000 as microseconds, total_exec_time as milliseconds,
    wal_bytes::bigint / calls as wal_bytes, shared_blks_hit / calls as blocks,
    left(regexp_replace(query, '\\s+', ' ', 'g'), 110) as query
from pg_stat_statements
where calls > 10
order by total_exec_time desc
limit 20
"""


def profile(
    store: Store, samples: Sequence[Sample], folder: Path, workload: str, *, connections: int, seconds: int,
    output: Path, say: Say,
) -> str:  # fmt: skip
    """Runs one workload against cardbase. Returns the statements that took the most time; nested ones count twice.

    With py-spy installed, writes a flame graph of the gateway to `output`.
    """
    load.check_wrk()
    store.execute("create extension if not exists pg_stat_statements")
    with peers.cardbase(store, folder / "cardbase") as peer, ThreadPoolExecutor(1) as pool:
        peer.prepare(workload, samples)
        store.execute("select pg_stat_statements_reset()")
        running = pool.submit(peer.run, workload, connections=connections, seconds=seconds)
        if (spy := shutil.which("py-spy")) is None:
            say("py-spy is not installed: no flame graph (pip install py-spy)")
        else:
            output.mkdir(parents=True, exist_ok=True)
            graph = output / f"profile-{workload}.svg"
            command = (spy, "record", "--native", "-d", str(max(1, seconds - 1)), "-o", str(graph))
            subprocess.run((*command, "-p", str(peer.process.pid)), check=False)
        done = running.result()
        rows = store.fetch(STATEMENTS)
    say(f"{done.requests / done.seconds:,.0f} requests/s, {done.errors} errors")
    return report.table(
        ("calls", "µs each", "ms in all", "WAL bytes", "blocks", "statement"),
        [
            (
                f"{row['calls']:,}", f"{row['microseconds']:,.1f}", f"{row['milliseconds']:,.0f}",
                f"{row['wal_bytes']:,}", f"{row['blocks']:,}", row["query"].replace("|", "¦"),
            )
            for row in rows
        ],
    )  # fmt: skip

"""cardbase as its data grows: speed, bytes, the cost of purging, and what an hour of usage leaves behind."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from bench import load, peers, report, results, store
from bench.compare import Say, measure
from bench.results import Machine, Measurement
from bench.store import Sample, Store
from bench.targets import LARGE_OF_SMALL, Target
from bench.workloads import WORKLOADS

PURGED_PER_CALL: Final = 1000
USAGE_CONNECTIONS: Final = 16
NAP_SECONDS: Final = 75
"""By default autovacuum looks once a minute, and then takes its time."""

BYTES: Final = """
select coalesce(index.relname, relation.relname) as name,
    case when index.oid is null then pg_table_size(relation.oid) else pg_relation_size(index.oid) end as bytes
from pg_class as relation
left join lateral (
    select null::oid as oid, null::name as relname
    union all
    select pg_class.oid, pg_class.relname
    from pg_index
    inner join pg_class on pg_class.oid = pg_index.indexrelid
    where pg_index.indrelid = relation.oid
) as index on true
where relation.oid = any($1::regclass[])
order by relation.relname, index.relname nulls first
"""
STATE: Final = """
select relname as table, n_live_tup as live, n_dead_tup as dead, n_tup_upd as updates, n_tup_hot_upd as hot_updates,
    autovacuum_count as autovacuums, pg_total_relation_size(relid) as bytes
from pg_stat_user_tables
where relid = any($1::regclass[])
order by relname
"""


class TableState(msgspec.Struct, frozen=True):
    """What the server counts of a table."""

    table: str
    live: int
    dead: int
    updates: int
    hot_updates: int
    autovacuums: int
    bytes: int


class Usage(msgspec.Struct, frozen=True):
    """An hour's worth of usage tracking at full speed: tables before, after, and after autovacuum."""

    calls: int
    seconds: float
    before: list[TableState]
    after: list[TableState]
    settled: list[TableState]


class Purge(msgspec.Struct, frozen=True):
    """Expired idempotency keys removed, a thousand per call."""

    rows: int
    calls: int
    seconds: float
    slowest_ms: float


class Size(msgspec.Struct, frozen=True):
    """Everything that was measured at one number of cards."""

    cards: int
    load_seconds: float
    bytes: Mapping[str, int]
    """Of tables without their indexes, and of indexes."""
    measurements: list[Measurement]
    purge: Purge
    usage: Usage | None


class Growth(msgspec.Struct, frozen=True):
    """The whole run."""

    machine: Machine
    sizes: list[Size]


@dataclass(frozen=True)
class Plan:
    """What to measure. usage_calls: for each size; 0: none. nap_seconds: how long to wait for autovacuum at most."""

    sizes: Sequence[int]
    workloads: Sequence[str]
    connections: int
    rounds: int
    seconds: int
    tenants: int
    usage_calls: int
    nap_seconds: float = NAP_SECONDS


@dataclass
class _Grown:
    """A database of one size, with a gateway in front."""

    cards: int
    store: Store
    samples: Sequence[Sample]
    peer: peers.HttpPeer
    load_seconds: float
    bytes: Mapping[str, int]
    measurements: list[Measurement]


def grow(server: Store, plan: Plan, folder: Path, say: Say) -> Growth:
    """Fills a database for each size, and measures them in turn, so that drift of the machine cancels out."""
    load.check_wrk()
    with ExitStack() as stack:
        grown = [_fill(stack, server, plan, cards, folder, say) for cards in plan.sizes]
        for number in range(plan.rounds):
            for workload in plan.workloads:
                for one in grown[number % len(grown) :] + grown[: number % len(grown)]:
                    measured = measure(
                        one.store, one.peer, workload, one.samples, connections=plan.connections, seconds=plan.seconds
                    )
                    one.measurements.append(measured)
                    say(
                        f"round {number + 1}/{plan.rounds}  {workload:15}  {one.cards:9,} cards"
                        f"  {measured.requests_per_second:8,.0f} requests/s  p99 {measured.p99_ms:8.2f} ms"
                    )
        purges = {one.cards: _purge(one.store) for one in grown}
        usages = _use(grown, plan, folder, say) if plan.usage_calls else {}
    sizes = [
        Size(one.cards, one.load_seconds, one.bytes, one.measurements, purges[one.cards], usages.get(one.cards))
        for one in grown
    ]
    return Growth(results.describe_machine(folder), sizes)


def _fill(stack: ExitStack, server: Store, plan: Plan, cards: int, folder: Path, say: Say) -> _Grown:
    say(f"loading {cards:,} cards")
    started = time.perf_counter()
    database = server.with_database(f"cards_{cards}")
    store.fill(database, tenants=min(plan.tenants, cards // 4), cards=cards)
    seconds = time.perf_counter() - started
    samples = store.samples(database, cards)
    peer = stack.enter_context(peers.cardbase(database, folder / f"cardbase-{cards}"))
    sizes = {row["name"]: row["bytes"] for row in database.fetch(BYTES, store.TABLES)}
    for workload in plan.workloads:
        peer.prepare(workload, samples)
    return _Grown(cards, database, samples, peer, seconds, sizes, [])


def _purge(database: Store) -> Purge:
    """Purges until nothing is left that had expired when the data was loaded."""
    rows, times = 0, []
    while True:
        started = time.perf_counter()
        found = database.fetch(
            "select app.purge_idempotency_store($1) as purged", PURGED_PER_CALL, user="cardbase_worker"
        )
        times.append(time.perf_counter() - started)
        rows += found[0]["purged"]
        if found[0]["purged"] < PURGED_PER_CALL:
            return Purge(rows, len(times), sum(times), max(times) * 1000)


def _use(grown: Sequence[_Grown], plan: Plan, folder: Path, say: Say) -> dict[int, Usage]:
    """Tracks the usage at each size, then waits until autovacuum has been everywhere, or its time is up."""
    begun: dict[int, Usage] = {}
    for one in grown:
        scripts = load.write_scripts(folder / f"usage-{one.cards}", WORKLOADS["usage_spread"](one.samples, "pgbench"))
        before = _state(one.store)
        each = max(1, plan.usage_calls // USAGE_CONNECTIONS)
        done = load.run_pgbench(one.store, scripts, connections=USAGE_CONNECTIONS, transactions=each)
        say(f"{one.cards:,} cards: {done.requests:,} uses in {done.seconds:.1f} s")
        begun[one.cards] = Usage(done.requests, done.seconds, before, after=_state(one.store), settled=[])
    say("waiting for autovacuum")
    deadline = time.monotonic() + plan.nap_seconds
    while time.monotonic() < deadline:
        time.sleep(1)
        if all(_was_vacuumed(begun[one.cards].before, _state(one.store)) for one in grown):
            break
    return {one.cards: msgspec.structs.replace(begun[one.cards], settled=_state(one.store)) for one in grown}


def _was_vacuumed(before: Sequence[TableState], now: Sequence[TableState]) -> bool:
    return all(new.autovacuums > old.autovacuums for old, new in zip(before, now, strict=True))


def _state(database: Store) -> list[TableState]:
    rows = database.fetch(STATE, ["app.card_usage", "app.card_usage_totals"])
    return [TableState(**dict(row)) for row in rows]


# --- for people ---------------------------------------------------------------------------------------------


def targets(growth: Growth) -> list[Target]:
    """Each workload at the largest size against the smallest."""
    small, large = growth.sizes[0], growth.sizes[-1]
    rates = [
        {cell[0]: one.requests_per_second for cell, one in results.median_of(size.measurements).items()}
        for size in (small, large)
    ]
    return [
        Target(
            f"{workload}: requests/s at {large.cards:,} cards against {small.cards:,}",
            rates[1][workload] / rate,
            "≥",
            LARGE_OF_SMALL,
        )
        for workload, rate in rates[0].items()
    ]


def text(growth: Growth) -> str:
    """All of it, as Markdown."""
    parts = [
        report.machine(growth.machine),
        "Requests per second of cardbase, by the number of cards:",
        _speed(growth),
        report.targets(targets(growth)),
        "Bytes per card, of each table without its indexes and of each index, as loaded:",
        _bytes(growth),
        f"Purging expired idempotency keys, {PURGED_PER_CALL:,} per call:",
        _purges(growth),
    ]
    if any(size.usage for size in growth.sizes):
        parts += ["Usage tracked as often as in an hour of 100 uses a second, at full speed:", _usages(growth)]
    return "\n\n".join(parts)


def _speed(growth: Growth) -> str:
    medians = [results.median_of(size.measurements) for size in growth.sizes]
    rows = [(cell[0], *(f"{one[cell].requests_per_second:,.0f}" for one in medians)) for cell in medians[0]]
    return report.table(("workload", *(f"{size.cards:,}" for size in growth.sizes)), rows)


def _bytes(growth: Growth) -> str:
    rows = [
        (name, *(f"{size.bytes[name] / size.cards:,.1f}" for size in growth.sizes)) for name in growth.sizes[0].bytes
    ]
    rows.append(("all", *(f"{sum(size.bytes.values()) / size.cards:,.1f}" for size in growth.sizes)))
    return report.table(("table or index", *(f"{size.cards:,}" for size in growth.sizes)), rows)


def _purges(growth: Growth) -> str:
    rows = [
        (
            f"{size.cards:,}", f"{size.purge.rows:,}", f"{size.purge.rows / size.purge.seconds:,.0f}",
            f"{size.purge.seconds / size.purge.calls * 1000:.1f}", f"{size.purge.slowest_ms:.1f}",
        )
        for size in growth.sizes
    ]  # fmt: skip
    return report.table(("cards", "purged", "rows/s", "ms per call", "slowest ms"), rows)


def _usages(growth: Growth) -> str:
    rows = []
    for size in growth.sizes:
        if size.usage is None:
            continue
        for before, after, settled in zip(size.usage.before, size.usage.after, size.usage.settled, strict=True):
            updates = after.updates - before.updates
            hot = f"{(after.hot_updates - before.hot_updates) / updates:.1%}" if updates else ""
            rows.append((
                f"{size.cards:,}", before.table, f"{size.usage.calls:,}", hot, f"{before.bytes / 1e6:,.1f}",
                f"{after.bytes / 1e6:,.1f}", f"{settled.bytes / 1e6:,.1f}", f"{after.dead:,}", f"{settled.dead:,}",
                str(settled.autovacuums - before.autovacuums),
            ))  # fmt: skip
    header = (
        "cards", "table", "uses", "HOT updates", "MB before", "MB after", "MB settled", "dead after", "dead settled",
        "autovacuums",
    )  # fmt: skip
    return report.table(header, rows)

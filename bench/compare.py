"""The comparison: the same calls, against each peer in turn, over several rounds."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench import BenchError, processes
from bench.load import Load, check_wrk
from bench.peers import PEERS, Peer
from bench.results import Measurement
from bench.store import Sample, Store
from bench.workloads import WORKLOADS, hot_card

Say = Callable[[str], None]
Point = tuple[str, int]
"""Workload and connections."""

WITH_TARGETS: Final = ("batch_new", "retrieve", "usage_spread", "batch_replay", "usage_hot")


@dataclass(frozen=True)
class Plan:
    """What to measure. limit_seconds: after that time no further point is started."""

    peers: Sequence[str]
    points: Sequence[Point]
    rounds: int
    seconds: int
    tenants: int = 1_000
    cards: int = 100_000
    limit_seconds: float = float("inf")

    @property
    def workloads(self) -> list[str]:
        """Each workload once, in the order of the points."""
        return list(dict.fromkeys(workload for workload, _ in self.points))


def quick(peers: Sequence[str]) -> Plan:
    """Two minutes: one round of everything that has targets, and of the rest at 16 connections."""
    points = [(workload, connections) for connections in (64, 16) for workload in WITH_TARGETS]
    points += [(workload, 16) for workload in WORKLOADS if workload not in WITH_TARGETS]
    points += [(workload, 1) for workload in WITH_TARGETS[:3]]
    return Plan(peers, points, rounds=1, seconds=1, limit_seconds=90)


def whole(
    peers: Sequence[str], workloads: Iterable[str], connections: Sequence[int], *, rounds: int, seconds: int
) -> Plan:
    """Each workload at each number of connections."""
    points = [(workload, count) for count in connections for workload in workloads]
    return Plan(peers, points, rounds=rounds, seconds=seconds)


def compare(store: Store, plan: Plan, samples: Sequence[Sample], folder: Path, say: Say) -> list[Measurement]:
    """Starts the peers and measures. Raises BenchError when a peer can't start or returns something wrong."""
    check_wrk()
    started = time.monotonic()
    measurements: list[Measurement] = []
    with ExitStack() as stack:
        peers = [stack.enter_context(PEERS[name](store, folder / name)) for name in plan.peers]
        for peer in peers:
            say(f"preparing {peer.name}")
            for workload in plan.workloads:
                peer.prepare(workload, samples)
        for number, workload, connections in _rounds(plan):
            if time.monotonic() - started > plan.limit_seconds:
                say(f"out of time: left out {workload} at {connections} connections and what follows")
                break
            # Each peer goes first equally often, so that what one leaves behind (a checkpoint, a running autovacuum)
            # does not always hit the same one.
            first = (number + plan.points.index((workload, connections))) % len(peers)
            for peer in peers[first:] + peers[:first]:
                one = measure(store, peer, workload, samples, connections=connections, seconds=plan.seconds)
                measurements.append(one)
                say(
                    f"round {number + 1}/{plan.rounds}  {workload:15}  {connections:2}  {peer.name:9}"
                    f"  {one.requests_per_second:8,.0f} requests/s  p99 {one.p99_ms:8.2f} ms"
                    + (f"  {one.errors} ERRORS" if one.errors else "")
                )
    # Side by side, whichever ran first.
    return sorted(measurements, key=lambda one: _place(plan, one))


def _place(plan: Plan, one: Measurement) -> tuple[int, int]:
    return plan.points.index((one.workload, one.connections)), plan.peers.index(one.peer)


def _rounds(plan: Plan) -> Iterator[tuple[int, str, int]]:
    for number in range(plan.rounds):
        for workload, connections in plan.points:
            yield number, workload, connections


def measure(
    store: Store, peer: Peer, workload: str, samples: Sequence[Sample], *, connections: int, seconds: int
) -> Measurement:
    """Runs one workload against one peer, and measures its cost. Raises BenchError when hot uses were lost."""
    _wait_until_idle(store)
    counted = _hot_uses(store, samples)[0] if workload == "usage_hot" else 0
    gateway, database = _cpu(peer), processes.cpu_seconds(store.postmaster)
    load = peer.run(workload, connections=connections, seconds=seconds)
    gateway_used, database_used = _cpu(peer) - gateway, processes.cpu_seconds(store.postmaster) - database
    if workload == "usage_hot":
        _check_hot_uses(store, samples, counted, load, connections)
    process = peer.process
    return Measurement(
        workload=workload,
        connections=connections,
        peer=peer.name,
        requests=load.requests,
        seconds=load.seconds,
        errors=load.errors,
        requests_per_second=load.requests / load.seconds,
        p50_ms=load.p50_ms,
        p95_ms=load.p95_ms,
        p99_ms=load.p99_ms,
        gateway_cpu_us=None if process is None else gateway_used / load.requests * 1e6,
        database_cpu_us=database_used / load.requests * 1e6,
        gateway_megabytes=None if process is None else processes.resident_megabytes(process),
    )


def _wait_until_idle(store: Store) -> None:
    """Waits until the last requests of the previous peer are done, for whose responses nobody waits any more."""
    while store.fetch(
        "select from pg_stat_activity"
        " where backend_type = 'client backend' and state <> 'idle' and pid <> pg_backend_pid()"
    ):
        time.sleep(0.01)


def _cpu(peer: Peer) -> float:
    return 0.0 if peer.process is None else processes.cpu_seconds(peer.process)


def _hot_uses(store: Store, samples: Sequence[Sample]) -> tuple[int, int]:
    """How often the hot card was used, by its total and by its events."""
    rows = store.fetch(
        "select coalesce((select usage_count from app.card_usage_totals where tenant_id = $1 and card_id = $2), 0)"
        " as total, (select count(*) from app.card_usage where tenant_id = $1 and card_id = $2) as events",
        samples[0].tenant_id,
        hot_card(samples).card_id,
    )
    return rows[0]["total"], rows[0]["events"]


def _check_hot_uses(store: Store, samples: Sequence[Sample], before: int, load: Load, connections: int) -> None:
    total, events = _hot_uses(store, samples)
    # When the time is up, each connection may have a request under way that was counted but got no response.
    if total != events or not load.requests <= total - before <= load.requests + connections:
        raise BenchError(
            f"usage_hot: {load.requests} requests got a response, the total rose by {total - before}, "
            f"and there are {events} events to a total of {total}"
        )

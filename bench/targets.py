"""The targets that the figures are compared with."""

from collections.abc import Callable, Iterator, Mapping
from typing import Final, Literal

import msgspec

from bench.results import Cell, Measurement

CARDBASE: Final = "cardbase"
PEERS: Final = ("postgrest", "fastapi")
MAIN: Final = ("batch_new", "retrieve", "usage_spread")
BUSY: Final = (16, 64)

FASTER_THAN_PEERS: Final = 2.5
TAIL_OF_PEERS: Final = 0.5
OF_PGBENCH: Final = {"batch_new": 0.6, "retrieve": 0.4, "usage_spread": 0.6}
REPLAY_OF_NEW: Final = 2.0
HOT_OF_SPREAD: Final = 0.5
P95_MS: Final = {"batch_new": 15.0, "retrieve": 8.0, "usage_spread": 8.0}
GATEWAY_MEGABYTES: Final = 120.0
COLD_START_SECONDS: Final = 10.0
WARM_START_SECONDS: Final = 3.0
LARGE_OF_SMALL: Final = 0.8


class Target(msgspec.Struct, frozen=True):
    """One figure and its bound."""

    name: str
    measured: float
    relation: Literal["≥", "≤"]
    bound: float

    @property
    def is_met(self) -> bool:
        """Whether the figure is within the bound."""
        return self.measured >= self.bound if self.relation == "≥" else self.measured <= self.bound


Medians = Mapping[Cell, Measurement]


def of_comparison(medians: Medians) -> list[Target]:
    """The targets that these measurements can be compared with."""
    parts: tuple[Callable[[Medians], Iterator[Target]], ...] = (
        _against_peers, _tails, _against_pgbench, _within, _latencies, _memory,
    )  # fmt: skip
    return [target for part in parts for target in part(medians)]


def of_start(cold_seconds: float, warm_seconds: float, megabytes: float) -> list[Target]:
    """The targets of `cardbase serve` itself."""
    return [
        Target("first start to first answer, seconds", cold_seconds, "≤", COLD_START_SECONDS),
        Target("second start to first answer, seconds", warm_seconds, "≤", WARM_START_SECONDS),
        Target("memory of the gateway after its start, MB", megabytes, "≤", GATEWAY_MEGABYTES),
    ]


def _rate(medians: Medians, workload: str, connections: int, peer: str) -> float | None:
    found = medians.get((workload, connections, peer))
    return None if found is None else found.requests_per_second


def _ratio(medians: Medians, one: Cell, other: Cell) -> float | None:
    above, below = _rate(medians, *one), _rate(medians, *other)
    return None if above is None or not below else above / below


def _against_peers(medians: Medians) -> Iterator[Target]:
    for workload in MAIN:
        for connections in BUSY:
            for peer in PEERS:
                ratio = _ratio(medians, (workload, connections, CARDBASE), (workload, connections, peer))
                if ratio is not None:
                    name = f"{workload}, {connections} connections: requests/s against {peer}"
                    yield Target(name, ratio, "≥", FASTER_THAN_PEERS)


def _tails(medians: Medians) -> Iterator[Target]:
    for workload in MAIN:
        ours = medians.get((workload, 64, CARDBASE))
        theirs = [found.p99_ms for peer in PEERS if (found := medians.get((workload, 64, peer))) is not None]
        if ours is not None and theirs:
            name = f"{workload}, 64 connections: p99 against the better of {' and '.join(PEERS)}"
            yield Target(name, ours.p99_ms / min(theirs), "≤", TAIL_OF_PEERS)


def _against_pgbench(medians: Medians) -> Iterator[Target]:
    for workload, bound in OF_PGBENCH.items():
        for connections in BUSY:
            ratio = _ratio(medians, (workload, connections, CARDBASE), (workload, connections, "pgbench"))
            if ratio is not None:
                yield Target(f"{workload}, {connections} connections: requests/s against pgbench", ratio, "≥", bound)


def _within(medians: Medians) -> Iterator[Target]:
    for connections in BUSY:
        ratio = _ratio(medians, ("batch_replay", connections, CARDBASE), ("batch_new", connections, CARDBASE))
        if ratio is not None:
            name = f"{connections} connections: requests/s of batch_replay against batch_new"
            yield Target(name, ratio, "≥", REPLAY_OF_NEW)
    ratio = _ratio(medians, ("usage_hot", 64, CARDBASE), ("usage_spread", 64, CARDBASE))
    if ratio is not None:
        yield Target("64 connections: requests/s of usage_hot against usage_spread", ratio, "≥", HOT_OF_SPREAD)


def _latencies(medians: Medians) -> Iterator[Target]:
    for workload, bound in P95_MS.items():
        if (found := medians.get((workload, 16, CARDBASE))) is not None:
            yield Target(f"{workload}, 16 connections: p95, ms", found.p95_ms, "≤", bound)


def _memory(medians: Medians) -> Iterator[Target]:
    used = [
        found.gateway_megabytes
        for (_, _, peer), found in medians.items()
        if peer == CARDBASE and found.gateway_megabytes is not None
    ]
    if used:
        yield Target("memory of the gateway under load, MB", max(used), "≤", GATEWAY_MEGABYTES)

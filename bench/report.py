"""Results as tables, the same on the terminal and in docs/performance.md."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from bench import BenchError
from bench.processes import REPOSITORY
from bench.results import Machine, Measurement
from bench.targets import CARDBASE, Medians, Target

DOCUMENT: Final = REPOSITORY / "docs" / "performance.md"
_COLUMNS: Final = (
    "workload", "connections", "peer", "requests/s", "cardbase / this", "p50 ms", "p95 ms", "p99 ms",
    "gateway CPU µs", "database CPU µs", "errors",
)  # fmt: skip


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with aligned columns, numbers to the right."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[index]) for line in lines) for index in range(len(header))]
    numeric = [bool(lines[1:]) and all(not line[index] or line[index][0].isdigit() for line in lines[1:])
               for index in range(len(header))]  # fmt: skip

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if is_number else cell.ljust(width)
            for cell, width, is_number in zip(cells, widths, numeric, strict=True)
        )
        return f"| {' | '.join(padded)} |"

    rule = ["-" * (width - 1) + (":" if is_number else "-") for width, is_number in zip(widths, numeric, strict=True)]
    return "\n".join([line(lines[0]), line(rule), *map(line, lines[1:])])


def comparison(medians: Medians) -> str:
    """A row for each workload, number of connections and peer."""
    rows = []
    for (workload, connections, peer), one in medians.items():
        ours = medians.get((workload, connections, CARDBASE))
        times = "" if ours is None else f"{ours.requests_per_second / one.requests_per_second:.2f}"
        rows.append((
            workload, str(connections), peer, f"{one.requests_per_second:,.0f}", times, f"{one.p50_ms:.2f}",
            f"{one.p95_ms:.2f}", f"{one.p99_ms:.2f}", _number(one.gateway_cpu_us), _number(one.database_cpu_us),
            str(one.errors),
        ))  # fmt: skip
    return table(_COLUMNS, rows)


def memory(medians: Medians) -> str:
    """The peak memory of each gateway's largest process after a run."""
    most: dict[str, float] = {}
    for (_, _, peer), one in medians.items():
        if one.gateway_megabytes is not None:
            most[peer] = max(most.get(peer, 0.0), one.gateway_megabytes)
    return table(("peer", "resident MB"), [(peer, f"{megabytes:.0f}") for peer, megabytes in most.items()])


def targets(found: Iterable[Target]) -> str:
    """Each figure, its bound, and whether it is met."""
    rows = [
        (
            target.name,
            f"{target.measured:.2f}",
            f"{target.relation} {target.bound:g}",
            "met" if target.is_met else "missed",
        )
        for target in found
    ]
    return table(("target", "measured", "bound", ""), rows)


def machine(found: Machine) -> str:
    """One sentence each on the machine and the software."""
    software = ", ".join(f"{name} {version}" for name, version in found.software.items())
    return (
        f"{found.cores} cores ({found.processor}), {found.memory_gib} GiB of memory, {found.disk}, {found.system}. "
        f"Load generator, gateway and database share the machine. {software}."
    )


def errors(measurements: Iterable[Measurement]) -> int:
    """How many requests failed."""
    return sum(one.errors for one in measurements)


def write_region(name: str, text: str, document: Path = DOCUMENT) -> None:
    """Replaces the text between `<!-- name -->` and `<!-- /name -->`. Raises BenchError when they are missing."""
    before = document.read_text()
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    after, count = re.subn(
        f"{re.escape(begin)}.*?{re.escape(end)}",
        lambda _: f"{begin}\n\n{text.strip()}\n\n{end}",
        before,
        flags=re.DOTALL,
    )
    if count != 1:
        raise BenchError(f"{document.name} has no place between {begin} and {end}")
    document.write_text(after)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"

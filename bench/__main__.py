"""The command: `python -m bench`, behind `make bench`."""

import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from bench import (
    BenchError,
    compare,
    events,
    growth,
    jobs,
    memory,
    profiling,
    report,
    resources,
    results,
    startup,
    store,
    targets,
)
from bench.peers import PEERS, available
from bench.results import OUTPUT, Machine, Measurement
from bench.startup import Start
from bench.store import Sample, Store
from bench.workloads import DESCRIPTIONS, WORKLOADS
from gateway.operate.deploy import DeployError
from gateway.operate.embedded import EmbeddedError

PICTURE: Final = "performance.png"


class Comparison(msgspec.Struct, frozen=True):
    """What `python -m bench` writes as JSON."""

    machine: Machine
    tenants: int
    cards: int
    start: Start | None
    medians: list[Measurement]
    rounds: list[Measurement]
    targets: list[targets.Target]


class _Group(click.Group):
    """Commands whose expected failures print a line or two instead of a traceback."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except (BenchError, DeployError, EmbeddedError) as error:
            click.echo(f"bench: {error}", err=True)
            sys.exit(1)


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def decorate(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_place = _options(
    click.option(
        "--folder", type=click.Path(file_okay=False, exists=True, path_type=Path),
        help="Where to put the temporary database: on a disk, not in memory. [default: /var/tmp]",
    ),
    click.option(
        "--output", type=click.Path(file_okay=False, path_type=Path), default=OUTPUT, help="Where to put the results.",
    ),
)  # fmt: skip
_data = _options(
    click.option("--tenants", type=click.IntRange(1), default=1_000, show_default=True),
    click.option("--cards", type=click.IntRange(1_000), default=100_000, show_default=True),
)
_docs = click.option("--write-docs", is_flag=True, help="Write the results into docs/performance.md.")
_workloads = click.option(
    "--workload", "workloads", multiple=True, type=click.Choice(list(WORKLOADS)), help="Only this one; repeatable."
)


@click.group(cls=_Group, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--quick", is_flag=True, help="Within two minutes: one round of one second each, and only the main points."
)
@click.option("--full", is_flag=True, help="Five rounds of five seconds each: three quarters of an hour.")
@click.option("--peer", "peers", multiple=True, type=click.Choice(list(PEERS)), help="Only this one; repeatable.")
@_workloads
@click.option("--connections", multiple=True, type=click.IntRange(1, 150), help="Repeatable. [default: 1, 16, 64]")
@click.option("--rounds", type=click.IntRange(1), help="[default: 3]")
@click.option("--seconds", type=click.IntRange(1), help="For each run. [default: 2]")
@click.option("--start/--no-start", "with_start", default=True, help="Also measure how long cardbase takes to start.")
@click.option("--picture/--no-picture", default=True, help="Draw the chart.")
@_data
@_place
@_docs
@click.pass_context
def main(context: click.Context, /, **options: Any) -> None:
    """Compare cardbase with its peers, on a new database. Exit status 1 when any request failed."""
    # Through the finally clauses, which stop the database and the gateways.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    if context.invoked_subcommand is None:
        if options["quick"] and any(
            options[name] for name in ("full", "workloads", "connections", "rounds", "seconds")
        ):
            raise click.UsageError("--quick decides what to measure and for how long; leave it out to choose.")
        _compare(**options)


def _compare(
    *, quick: bool, full: bool, peers: Sequence[str], workloads: Sequence[str], connections: Sequence[int],
    rounds: int | None, seconds: int | None, with_start: bool, picture: bool, tenants: int, cards: int,
    folder: Path | None, output: Path, write_docs: bool,
) -> None:  # fmt: skip
    peers = peers or available(_say)
    if quick:
        plan = compare.quick(peers)
    else:
        plan = compare.whole(
            peers,
            workloads or list(WORKLOADS),
            connections or (1, 16, 64),
            rounds=rounds or (5 if full else 3),
            seconds=seconds or (5 if full else 2),
        )
    plan = replace(plan, tenants=tenants, cards=cards)
    with _filled_database(folder, tenants=tenants, cards=cards) as (database, samples, place):
        found = compare.compare(database, plan, samples, place, _say)
        machine = results.describe_machine(place)
    start = None
    if with_start:
        _say("starting cardbase twice")
        with store.temporary_folder(folder) as place:
            start = startup.measure(place / "start")
    _finish(Comparison(machine, tenants, cards, start, *_conclude(found, start)), output, picture, write_docs)


def _conclude(
    found: list[Measurement], start: Start | None
) -> tuple[list[Measurement], list[Measurement], list[targets.Target]]:
    medians = results.median_of(found)
    reached = targets.of_comparison(medians)
    if start is not None:
        reached += targets.of_start(start.cold_seconds, start.warm_seconds, start.megabytes)
    return list(medians.values()), found, reached


def _finish(comparison: Comparison, output: Path, picture: bool, write_docs: bool) -> None:
    """Prints, writes and draws. Exits with status 1 when any request failed."""
    medians = results.median_of(comparison.medians)
    text = "\n\n".join((
        report.machine(comparison.machine),
        f"{comparison.tenants:,} tenants, {comparison.cards:,} cards before the run; medians over the rounds.",
        report.comparison(medians),
        report.targets(comparison.targets),
        report.memory(medians),
    ))  # fmt: skip
    click.echo(f"\n{text}\n")
    click.echo(f"wrote {results.write(output, 'comparison', comparison)}")
    if picture:
        from bench.picture import draw

        draw(medians, output / PICTURE)
        click.echo(f"drew {output / PICTURE}")
    if write_docs:
        if picture:
            shutil.copy(output / PICTURE, report.DOCUMENT.parent / PICTURE)
            text += f"\n\n![Requests per second and p99 by workload and peer]({PICTURE})"
        report.write_region("comparison", text)
        workloads = [(name, DESCRIPTIONS[name]) for name in WORKLOADS]
        report.write_region("workloads", report.table(("workload", "each request"), workloads))
    if count := report.errors(comparison.rounds):
        raise BenchError(f"{count} requests failed")


@main.command("growth")
@click.option(
    "--size", "sizes", multiple=True, type=click.IntRange(1_000), default=(10_000, 100_000, 1_000_000, 5_000_000),
    show_default=True, help="Number of cards; repeatable.",
)  # fmt: skip
@_workloads
@click.option("--connections", type=click.IntRange(1, 64), default=16, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--seconds", type=click.IntRange(1), default=3, show_default=True, help="For each run.")
@click.option("--tenants", type=click.IntRange(1), default=1_000, show_default=True)
@click.option("--usage-calls", type=click.IntRange(0), default=360_000, show_default=True, help="An hour's worth.")
@_place
@_docs
def growth_command(
    *, sizes: Sequence[int], workloads: Sequence[str], connections: int, rounds: int, seconds: int, tenants: int,
    usage_calls: int, folder: Path | None, output: Path, write_docs: bool,
) -> None:  # fmt: skip
    """Measure cardbase as its data grows. By default it needs about 15 GB of disk and half an hour."""
    plan = growth.Plan(sorted(sizes), workloads or list(WORKLOADS), connections, rounds, seconds, tenants, usage_calls)
    with store.temporary_folder(folder) as place, store.running(place / "database") as server:
        found = growth.grow(server, plan, place, _say)
    text = growth.text(found)
    click.echo(f"\n{text}\n\nwrote {results.write(output, 'growth', found)}")
    if write_docs:
        report.write_region("growth", text)
    if count := sum(report.errors(size.measurements) for size in found.sizes):
        raise BenchError(f"{count} requests failed")


@main.command("memory")
@click.option("--minutes", type=click.FloatRange(0.05), default=10, show_default=True)
@_data
@_place
@_docs
def memory_command(
    *, minutes: float, tenants: int, cards: int, folder: Path | None, output: Path, write_docs: bool
) -> None:
    """Watch the gateway's memory under load."""
    with _filled_database(folder, tenants=tenants, cards=cards) as (database, samples, place):
        found = memory.watch(database, samples, place, minutes=minutes, say=_say)
    text = memory.text(found)
    click.echo(f"\n{text}\n\nwrote {results.write(output, 'memory', found)}")
    if write_docs:
        report.write_region("memory", text)


@main.command("resources")
@click.option("--quick", is_flag=True, help="One round of one second each, with a tenth of the data.")
@click.option("--memories", type=click.IntRange(1_000), help="[default: 100000]")
@click.option("--messages", type=click.IntRange(1_000), help="[default: 100000]")
@click.option("--rounds", type=click.IntRange(1), help="[default: 3]")
@click.option("--seconds", type=click.IntRange(1), help="For each run. [default: 2]")
@click.option(
    "--workload",
    "workloads",
    multiple=True,
    type=click.Choice(list(resources.DESCRIPTIONS)),
    help="Only this one; repeatable.",
)
@_place
@_docs
def resources_command(
    *, quick: bool, memories: int | None, messages: int | None, rounds: int | None, seconds: int | None,
    workloads: Sequence[str], folder: Path | None, output: Path, write_docs: bool,
) -> None:  # fmt: skip
    """Measure reads, search and sign-in for a user with a great deal of data."""
    rows = 10_000 if quick else 100_000
    plan = resources.Plan(
        memories or rows,
        messages or rows,
        rounds=rounds or (1 if quick else 3),
        seconds=seconds or (1 if quick else 2),
        workloads=workloads or list(resources.DESCRIPTIONS),
    )
    with store.temporary_folder(folder) as place, store.running(place / "database") as database:
        found = resources.run(database, plan, place, _say)
    text = resources.text(found)
    click.echo(f"\n{text}\n\nwrote {results.write(output, 'resources', found)}")
    if write_docs:
        report.write_region("resources", text)
    if count := resources.errors(found):
        raise BenchError(f"{count} requests failed")


@main.command("jobs")
@click.option("--quick", is_flag=True, help="One round with a tenth of the jobs.")
@click.option("--jobs", "count", type=click.IntRange(100), help="Of each run. [default: 20000]")
@click.option("--rounds", type=click.IntRange(1), help="[default: 3]")
@click.option(
    "--pool",
    "pools",
    multiple=True,
    type=click.Choice(list(jobs.POOLS)),
    help="Only this one of Celery's pools; repeatable.",
)
@click.option("--starts", type=click.IntRange(1), help="Jobs that find an idle worker. [default: 100]")
@click.option("--flood", type=click.IntRange(100), help="Pending jobs of one tenant. [default: 100000]")
@click.option("--jobs-per-hour", type=click.IntRange(100), help="[default: 360000]")
@_place
@_docs
def jobs_command(
    *, quick: bool, count: int | None, rounds: int | None, pools: Sequence[str], starts: int | None,
    flood: int | None, jobs_per_hour: int | None, folder: Path | None, output: Path, write_docs: bool,
) -> None:  # fmt: skip
    """Measure background jobs, compared with Celery on Redis."""
    plan = jobs.Plan(
        jobs=count or (2_000 if quick else 20_000),
        rounds=rounds or (1 if quick else 3),
        pools=pools or list(jobs.POOLS),
        starts=starts or (20 if quick else 100),
        flood=flood or (20_000 if quick else 100_000),
        jobs_per_hour=jobs_per_hour or (36_000 if quick else 360_000),
    )
    with store.temporary_folder(folder) as place, store.running(place / "database") as database:
        found = jobs.run(database, plan, place, _say)
    text = jobs.text(found)
    click.echo(f"\n{text}\n\nwrote {results.write(output, 'jobs', found)}")
    if write_docs:
        report.write_region("jobs", text)


@main.command("events")
@click.option("--listeners", type=click.IntRange(1, 10_000), default=1_000, show_default=True)
@click.option("--events", "count", type=click.IntRange(1), default=200, show_default=True)
@_place
@_docs
def events_command(*, listeners: int, count: int, folder: Path | None, output: Path, write_docs: bool) -> None:
    """Measure live events with many listeners at one gateway."""
    plan = events.Plan(listeners, count)
    with store.temporary_folder(folder) as place, store.running(place / "database") as database:
        found = events.run(database, plan, place, _say)
    text = events.text(found)
    click.echo(f"\n{text}\n\nwrote {results.write(output, 'events', found)}")
    if write_docs:
        report.write_region("events", text)


@main.command("profile")
@click.argument("workload", type=click.Choice(list(WORKLOADS)))
@click.option("--connections", type=click.IntRange(1, 150), default=64, show_default=True)
@click.option("--seconds", type=click.IntRange(1), default=10, show_default=True)
@_data
@_place
def profile_command(
    *, workload: str, connections: int, seconds: int, tenants: int, cards: int, folder: Path | None, output: Path
) -> None:
    """Show where the time of one workload goes."""
    filled = _filled_database(folder, tenants=tenants, cards=cards, settings=dict(profiling.SETTINGS))
    with filled as (database, samples, place):
        text = profiling.profile(
            database, samples, place, workload, connections=connections, seconds=seconds, output=output, say=_say
        )
    click.echo(text)


@contextmanager
def _filled_database(
    folder: Path | None, *, tenants: int, cards: int, settings: dict[str, str] | None = None
) -> Iterator[tuple[Store, list[Sample], Path]]:
    """A new database, what to request from it, and a folder, all removed at the end."""
    if cards < 4 * tenants:
        raise BenchError("--cards: at least four for each of --tenants")
    with store.temporary_folder(folder) as place, store.running(place / "database", settings) as database:
        started = time.perf_counter()
        store.fill(database, tenants=tenants, cards=cards)
        _say(f"loaded {cards:,} cards of {tenants:,} tenants in {time.perf_counter() - started:.1f} s")
        yield database, store.samples(database, cards), place


def _say(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    main(prog_name="python -m bench")

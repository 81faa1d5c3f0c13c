"""The comparison as one chart."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.results import Measurement
from bench.targets import Medians

_COLOURS: Final = {"cardbase": "#0b6e4f", "postgrest": "#8d99ae", "fastapi": "#e09f3e", "pgbench": "#d9d9d9"}
_FIGURES: Final[Sequence[tuple[str, Callable[[Measurement], float]]]] = (
    ("requests per second (more is better)", lambda one: one.requests_per_second),
    ("p99 in milliseconds (less is better)", lambda one: one.p99_ms),
)


def draw(medians: Medians, file: Path) -> None:
    """Bars by workload and peer, a column for each number of connections. The file's suffix decides the format."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    counts = sorted({connections for _, connections, _ in medians})
    figure, grid = pyplot.subplots(
        len(_FIGURES), len(counts), figsize=(5.5 * len(counts), 8), squeeze=False, layout="constrained"
    )
    for column, connections in enumerate(counts):
        here = {(workload, peer): one for (workload, count, peer), one in medians.items() if count == connections}
        workloads = list(dict.fromkeys(workload for workload, _ in here))
        peers = [peer for peer in _COLOURS if any(peer == theirs for _, theirs in here)]
        width = 0.8 / len(peers)
        for row, (title, value) in enumerate(_FIGURES):
            axes = grid[row][column]
            for index, peer in enumerate(peers):
                places = [place + index * width for place, workload in enumerate(workloads) if (workload, peer) in here]
                heights = [value(here[workload, peer]) for workload in workloads if (workload, peer) in here]
                axes.bar(places, heights, width, label=peer, color=_COLOURS[peer])
            axes.set_xticks([place + 0.4 - width / 2 for place in range(len(workloads))], workloads)
            axes.tick_params(axis="x", labelrotation=40, length=0)
            axes.set_title(f"{connections} connection{'s' if connections > 1 else ''}: {title}", fontsize=9)
            axes.spines[["top", "right"]].set_visible(False)
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    pyplot.close(figure)

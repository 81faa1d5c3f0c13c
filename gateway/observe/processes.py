"""Metrics of several gateway processes: the folder they share, and the figures of one process."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec
from prometheus_client import values

FOLDER_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder in which several processes share their metrics. prometheus_client reads it when it is imported."""


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A new folder for FOLDER_VARIABLE, inside the one it names already, if any; removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="cardbase-metrics-", dir=os.environ.get(FOLDER_VARIABLE)))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def folder_in_use() -> Path | None:
    """Where prometheus_client keeps the metrics of several processes; None: there is one process."""
    return Path(os.environ[FOLDER_VARIABLE]) if getattr(values.ValueClass, "_multiprocess", False) else None


def forget_the_dead(folder: Path) -> None:
    """Removes the gauges of processes that have ended; what they counted is kept."""
    for file in folder.glob("gauge_live*_*.db"):
        try:
            os.kill(int(file.stem.rpartition("_")[2]), 0)
        except ProcessLookupError:
            file.unlink(missing_ok=True)


def resident_bytes() -> int:
    """Memory of this process that is in RAM; 0 if the system doesn't report it."""
    with suppress(OSError):
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


class BoundedNames:
    """Keeps the values of a label within a bound: the first names are kept, all later ones become "other".

    Several processes agree on the names through a file in their folder, to which each new name is added once.
    """

    def __init__(self, maximum: int, folder: Path | None, file_name: str = "names") -> None:
        self._maximum = maximum
        self._file = folder / file_name if folder else None
        self._names: set[str] = set()

    def name(self, wanted: str) -> str:
        """The label's value for a name: itself or "other"."""
        if wanted in self._names:
            return wanted
        if len(self._names) >= self._maximum:
            return "other"
        if self._file is None:
            self._names.add(wanted)
        else:
            self._agree(self._file, wanted)
        return wanted if wanted in self._names else "other"

    def _agree(self, file: Path, wanted: str) -> None:
        with file.open("a+b") as names:
            fcntl.flock(names, fcntl.LOCK_EX)
            names.seek(0)
            self._names = {msgspec.json.decode(line) for line in names}
            if wanted not in self._names and len(self._names) < self._maximum:
                names.write(msgspec.json.encode(wanted) + b"\n")
                self._names.add(wanted)

"""How many attempts the attack suites made at each defence: printed at the end of a run."""

from collections import Counter
from typing import Any, Final

import pytest

_COUNTED: Final[Counter[str]] = Counter()


class Attempts:
    """Counts the attempts at each defence."""

    def count(self, wall: str, number: int = 1) -> None:
        _COUNTED[wall] += number


@pytest.fixture
def attempts() -> Attempts:
    """Counts the attempts at each defence."""
    return Attempts()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Passes a process's counts to the one that prints them (pytest-xdist)."""
    if (output := getattr(session.config, "workeroutput", None)) is not None:
        output["attempts"] = dict(_COUNTED)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Adds another process's counts."""
    _COUNTED.update(getattr(node, "workeroutput", {}).get("attempts", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _COUNTED:
        terminalreporter.section("attempts, none of which got through")
        for wall, number in sorted(_COUNTED.items()):
            terminalreporter.write_line(f"{number:6,}  {wall}")

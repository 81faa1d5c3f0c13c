"""How often the attack suites tried, wall by wall: printed at the end of a run."""

from collections import Counter
from typing import Final

import pytest

_COUNTED: Final[Counter[str]] = Counter()


class Attempts:
    """Counts what was tried at each wall."""

    def count(self, wall: str, number: int = 1) -> None:
        _COUNTED[wall] += number


@pytest.fixture
def attempts() -> Attempts:
    """Counts what was tried at each wall."""
    return Attempts()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if _COUNTED:
        terminalreporter.section("attempts, none of which got through")
        for wall, number in sorted(_COUNTED.items()):
            terminalreporter.write_line(f"{number:6,}  {wall}")

"""The house keeps its shape: the core stays small, its doors are watched, and a call is found in four files."""

import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from support import REPOSITORY

GATEWAY: Final = REPOSITORY / "gateway"
CORE: Final = {
    "app.py": 180,
    "routes.py": 295,
    "endpoint.py": 225,
    "arguments.py": 95,
    "statements.py": 65,
    "request.py": 160,
    "reply.py": 90,
    "identity.py": 275,
    "jwt_keys.py": 75,
    "errors.py": 205,
    "settings.py": 285,
    "signals.py": 60,
    "__init__.py": 5,
    "__main__.py": 5,
}
"""Lines that a file of the core has at most. A new file of the core needs a budget, and a place in docs/design.md."""
CORE_LINES: Final = 1950
DATABASE_LINES: Final = 850
FILE_LINES: Final = 400
"""Of any file of the gateway: what fits on a few screens."""


def lines(*files: Path) -> int:
    return sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files)


def contracts() -> list[dict[str, Any]]:
    configuration = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = configuration["tool"]["importlinter"]["contracts"]
    return found


def test_each_file_of_the_core_keeps_to_its_budget() -> None:
    sizes = {file.name: lines(file) for file in GATEWAY.glob("*.py")}
    assert sizes.keys() == CORE.keys()
    assert {name: size for name, size in sizes.items() if size > CORE[name]} == {}


def test_the_core_and_its_database_keep_to_theirs() -> None:
    assert lines(*GATEWAY.glob("*.py")) <= CORE_LINES
    assert lines(*(GATEWAY / "database").glob("*.py")) <= DATABASE_LINES


def test_every_file_fits_on_a_few_screens() -> None:
    sizes = {file.relative_to(GATEWAY).as_posix(): lines(file) for file in GATEWAY.rglob("*.py")}
    assert {name: size for name, size in sizes.items() if size > FILE_LINES} == {}


def test_every_module_of_the_core_is_held_to_the_doors() -> None:
    (contract,) = (each for each in contracts() if each["name"].startswith("the core reads alone"))
    modules = {f"gateway.{file.stem}" for file in GATEWAY.glob("[!_]*.py")}
    assert set(contract["source_modules"]) == modules - {"gateway.app"}


def test_every_room_has_a_door() -> None:
    """A room that no contract names could import whatever it likes."""
    rooms = {f"gateway.{folder.parent.name}" for folder in GATEWAY.glob("*/__init__.py")}
    named = {name for each in contracts() for key in ("source_modules", "modules") for name in each.get(key, ())}
    assert rooms - named == {"gateway.operate"}  # the top: it may know all


@pytest.mark.parametrize(
    ("file", "word"),
    [
        pytest.param("app.py", "ROUTES", id="the app has a table"),
        pytest.param("routes.py", '"/api/v1/cards/batch"', id="the table has the path"),
        pytest.param("endpoint.py", "statement_of(", id="its endpoint makes a statement"),
        pytest.param("statements.py", "select {reply} from api.{function}", id="the statement is SQL"),
    ],
)
def test_a_reader_reaches_the_sql_of_a_route_in_four_files(file: str, word: str) -> None:
    text = (GATEWAY / file).read_text(encoding="utf-8")
    assert word in text
    assert len(text.splitlines()) <= 300

"""Every pgTAP file of db/tests is a test here, and the parser of their output is tested, too."""

from pathlib import Path

import pytest
from support import REPOSITORY, tap
from support.servers import Database

FILES = sorted((REPOSITORY / "db" / "tests").glob("*.sql"))


def test_pgtap_files_are_found() -> None:
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_pgtap(file: Path, database: Database) -> None:
    if tap.script() is None:
        pytest.fail(tap.MISSING, pytrace=False)
    if complaints := tap.run(database, file):
        pytest.fail("\n".join((file.name, *complaints)), pytrace=False)


PASSING = "1..2\nok 1 - one rule\nok 2 - another rule\n"


@pytest.mark.parametrize(
    ("output", "complaint"),
    [
        pytest.param("", "0 plans instead of one", id="nothing printed"),
        pytest.param("1..1\n" + PASSING, "2 plans instead of one", id="two plans"),
        pytest.param("ok 1 - a\n1..1\n", "the plan comes after the first test", id="late plan"),
        pytest.param("1..3\nok 1 - a\nok 2 - b\n", "planned 3 tests but ran 2", id="too few"),
        pytest.param("1..1\nok 1 - a\nok 2 - b\n", "planned 1 tests but ran 2", id="too many"),
        pytest.param("1..2\nok 1 - a\nok 1 - b\n", "tests out of order: [1, 1]", id="a number twice"),
        pytest.param("1..1\nnot ok 1 - a\n# why\n# so\nrow\n", "not ok 1 - a|# why|# so", id="failed"),
        pytest.param("1..1\nnot ok 1 - a # TODO later\n", "not ok 1 - a # TODO later", id="failed todo"),
        pytest.param("1..1\nok 1\n", "test 1 has no description", id="no description"),
        pytest.param("1..2\nok 1 - a\nok 2 - a\n", "described twice: a", id="repeated description"),
        pytest.param("1..1\nok 1 - a\nBail out! gone\n", "Bail out! gone", id="bailed out"),
    ],
)
def test_parser_names_what_is_wrong(output: str, complaint: str) -> None:
    assert tap.complaints(output) == complaint.split("|")


def test_parser_passes_a_complete_run_with_other_rows_in_between() -> None:
    assert tap.complaints(PASSING + "a row\n\n") == []


def test_parser_fails_when_psql_fails_after_the_last_test() -> None:
    assert tap.complaints(PASSING, "psql: ERROR: no\n", 3) == ["psql ended with status 3: psql: ERROR: no"]


def test_a_file_that_breaks_off_is_a_failure(database: Database, tmp_path: Path) -> None:
    file = tmp_path / "broken.sql"
    file.write_text("begin;\nselect plan(2);\nselect pass('first');\nselect nowhere();\nselect pass('second');\n")
    complaints = tap.run(database, file)
    assert complaints[0] == "planned 2 tests but ran 1"
    assert complaints[1].startswith("psql ended with status 3: ")
    assert "nowhere()" in complaints[1]

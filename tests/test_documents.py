"""The documents agree with the code: settings, error codes, commands and links."""

import ast
import re
from pathlib import Path

import click
import pytest
from support import REPOSITORY

from gateway.openapi.document import STATUS_OF_CODE
from gateway.operate.cli import main
from gateway.settings import Settings, load_settings

CONFIGURATION = (REPOSITORY / "docs" / "configuration.md").read_text()
DOCUMENTS = [REPOSITORY / "README.md", REPOSITORY / "db" / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def settings_rows() -> list[str]:
    """A row of the settings table for each field: the variable, its default, and the field's own docstring."""
    defaults = load_settings({})
    source = ast.parse((REPOSITORY / "gateway" / "settings.py").read_text())
    (body,) = (node.body for node in source.body if isinstance(node, ast.ClassDef) and node.name == "Settings")
    rows = []
    for node, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            name = node.target.id
            text = ""
            if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                text = " ".join(str(following.value.value).split())
            rows.append(f"| `{name.upper()}` | {shown(getattr(defaults, name))} | {text} |")
    return rows


def shown(default: object) -> str:
    if default is None or default == ():
        return "unset"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def test_the_settings_table_is_the_settings() -> None:
    table = re.findall(r"^\| `[A-Z_]+` \|.*$", CONFIGURATION, re.MULTILINE)

    assert table == settings_rows()
    assert len(table) == len(Settings.__struct_fields__)


def test_every_error_code_is_documented_with_its_status() -> None:
    rows = dict(re.findall(r"^\| (\d{3}) \| (.*?) \|", CONFIGURATION, re.MULTILINE))
    documented = {(code, int(status)) for status, codes in rows.items() for code in re.findall(r"`([A-Z_]+)`", codes)}

    assert documented == set(STATUS_OF_CODE.items())


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_link_leads_to_a_file(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)(?:#[^)]*)?\)", document.read_text())

    assert [target for target in targets if not (document.parent / target).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_command_and_target_named_exists(document: Path) -> None:
    text = document.read_text()
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert isinstance(main, click.Group)

    assert set(re.findall(r"`make ([a-z]+)", text)) <= targets
    assert set(re.findall(r"(?:`|bin/)cardbase ([a-z-]+)", text)) <= set(main.commands)

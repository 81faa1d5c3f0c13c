"""The files of db/, in the order in which a deploy applies them."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_PACKAGED: Final = Path(__file__).parents[1] / "db"
DEFAULT_SOURCE: Final = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "db"

_MIGRATION_NAME: Final = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")

# Comments, dollar quotes, strings and quoted names: a word in them is no statement.
_OPAQUE: Final = re.compile(
    r"""--[^\n]*
    | /\*.*?\*/
    | (?<![\w$])(?P<tag>\$(?:[^\W\d]\w*)?\$).*?(?P=tag)
    | \be'(?:[^'\\]|\\.|'')*'
    | '(?:[^']|'')*'
    | "(?:[^"]|"")*"
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
_TRANSACTION_CONTROL: Final = re.compile(
    r"(?:^|;)\s*(begin|start|commit|rollback|abort|end|prepare|savepoint|release)\b", re.IGNORECASE
)


class DeployError(Exception):
    """The deploy was refused or failed, and the database is unchanged. The message is one line."""


@dataclass(frozen=True)
class File:
    """A file of db/. Its path is relative to db/; its line ends are Unix ones, whatever the checkout has."""

    path: str
    text: str

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]

    @property
    def sha256(self) -> str:
        """The hash of the text, in hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


@dataclass(frozen=True)
class Tree:
    """The files of db/. Migrations are applied once, in between the others, which are applied whenever they change."""

    setup: list[File]
    before: list[File]
    """What migrations may use."""
    migrations: list[File]
    after: list[File]
    texts: Mapping[str, frozenset[str]]
    """The SHA-256 of each text that a migration ever had, by its name: migrations/texts.sha256.

    Names are in the order in which the migrations landed, which is not always that of their numbers.
    """

    @property
    def repeatable(self) -> list[File]:
        """All that is applied whenever it changes."""
        return self.before + self.after


def read_tree(source: Path) -> Tree:
    """Reads a db folder. Raises DeployError if it isn't one, or if a file can't be deployed."""
    if not (source / "setup").is_dir():
        raise DeployError(f"{source} has no subfolder setup: it is not a db folder")
    functions = _read_files(source, "functions/*/*.sql")
    foundation = [file for file in functions if file.path.startswith("functions/foundation/")]
    tree = Tree(
        setup=_read_files(source, "setup/*.sql"),
        before=foundation,
        migrations=_read_files(source, "migrations/*.sql"),
        after=[*(file for file in functions if file not in foundation), *_read_files(source, "policies/*.sql")],
        texts=_read_texts(source / "migrations" / "texts.sha256"),
    )
    numbers: dict[str, str] = {}
    for migration in tree.migrations:
        if not (match := _MIGRATION_NAME.fullmatch(migration.name)):
            raise DeployError(f"{migration.path}: a migration must be named like 0001_what_it_does.sql")
        if (other := numbers.setdefault(match[1], migration.name)) != migration.name:
            raise DeployError(f"{migration.path}: its number is taken by {other}")
    return tree


def _read_texts(path: Path) -> dict[str, frozenset[str]]:
    """Reads lines as sha256sum prints them."""
    texts: dict[str, frozenset[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        sha256, _, name = line.partition("  ")
        texts[name] = texts.get(name, frozenset()) | {sha256}
    return texts


def _read_files(source: Path, pattern: str) -> list[File]:
    files = []
    for path in sorted(source.glob(pattern)):
        name = path.relative_to(source).as_posix()
        try:
            file = File(name, path.read_text(encoding="utf-8-sig"))
        except (OSError, UnicodeDecodeError) as error:
            raise DeployError(f"{name}: {error}") from error
        _refuse_transaction_control(file)
        files.append(file)
    return files


def _refuse_transaction_control(file: File) -> None:
    """A `commit` in a file would end the one transaction of the deploy and leave half of it in the database."""
    visible = _OPAQUE.sub(lambda hidden: re.sub(r"[^\n]", " ", hidden[0]), file.text)
    has_sql_bodies = re.search(r"\bbegin\s+atomic\b", visible, re.IGNORECASE)
    for match in _TRANSACTION_CONTROL.finditer(visible):
        if not (has_sql_bodies and match[1].lower() == "end"):
            line, word = visible.count("\n", 0, match.start(1)) + 1, match[1].lower()
            raise DeployError(f"{file.path}:{line}: no {word!r} here: a deploy is one transaction")

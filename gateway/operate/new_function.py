"""Writes a new function of schema api, with its grants, and a pgTAP file that passes: both are there to be changed."""

import re
from pathlib import Path
from typing import Final

from gateway.operate.db_files import DEFAULT_SOURCE, DeployError

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,62}")
_PLACEHOLDER: Final = "new_function"
"""The function's name in db/templates."""


def write_function(name: str, area: str, source: Path = DEFAULT_SOURCE) -> list[Path]:
    """Writes functions/<area>/<name>.sql and tests/<name>.sql into a db folder. Returns the two files.

    Raises DeployError for a name that PostgreSQL would have to quote, or one that is taken.
    """
    for word in (name, area):
        if not _NAME.fullmatch(word):
            raise DeployError(f"{word!r} is not a name like count_cards: at most 63 of a to z, 0 to 9 and _")
    files = {source / "functions" / area / f"{name}.sql": "function", source / "tests" / f"{name}.sql": "test"}
    for taken in (*source.glob(f"functions/*/{name}.sql"), *filter(Path.exists, files)):
        raise DeployError(f"{taken} exists already: choose another name, or change that file")
    for file, template in files.items():
        text = (DEFAULT_SOURCE / "templates" / f"{template}.sql").read_text(encoding="utf-8")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(re.sub(rf"\b{_PLACEHOLDER}\b", name, text), encoding="utf-8")
    return [*files]

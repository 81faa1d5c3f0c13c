"""`cardbase import`: a file of cards into a running gateway."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from support.gateways import Gateway, run_cardbase
from support.servers import Database
from support.tables import EMPTY, row_counts


def lines_of_cards() -> list[dict[str, Any]]:
    """Forty batches of one to five cards: 120 in all, 20 of which are there before, two in the same batch."""
    contents = [{"number": number} for number in range(100)]
    contents += [{"number": number} for number in range(18)] + [{"number": 99}] * 2
    batches: list[dict[str, Any]] = []
    size = 1
    while contents:
        cards = [{"card_type": "insight", "content": content} for content in contents[:size]]
        batches.append({"cards": cards, "created_by": "onboarding"})
        contents = contents[size:]
        size = size % 5 + 1
    return batches


def write(path: Path, *lines: Any) -> Path:
    """A file of JSON lines; bytes as they are."""
    encoded = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    path.write_bytes(b"\n".join(encoded) + b"\n")
    return path


def run(gateway: Gateway, file: Path, tenant_id: UUID | str, *more: str) -> "subprocess.CompletedProcess[str]":
    arguments: tuple[str | Path, ...] = ("import", file, "--tenant", str(tenant_id), "--url", gateway.address, *more)
    return run_cardbase(*arguments, folder=file.parent)


def test_file_is_imported_and_a_second_run_creates_nothing(
    gateway: Gateway, shared_database: Database, tenant_id: UUID, tmp_path: Path
) -> None:
    batches = lines_of_cards()
    file = write(tmp_path / "cards.jsonl", *batches)

    first = run(gateway, file, tenant_id)
    assert (first.returncode, first.stdout) == (0, "100 created, 20 already there, 0 lines failed.\n")
    stored = EMPTY | {"cards": 100, "idempotency_store": len(batches)}
    assert row_counts(shared_database, tenant_id) == stored

    second = run(gateway, file, tenant_id)
    assert (second.returncode, second.stdout) == (0, "0 created, 120 already there, 0 lines failed.\n")
    assert row_counts(shared_database, tenant_id) == stored


def test_longer_file_adds_what_is_new(gateway: Gateway, tenant_id: UUID, tmp_path: Path) -> None:
    batches = lines_of_cards()
    run(gateway, write(tmp_path / "cards.jsonl", *batches[:10]), tenant_id)
    done = run(gateway, write(tmp_path / "cards.jsonl", *batches, b"", b"  "), tenant_id)
    cards = sum(len(batch["cards"]) for batch in batches[:10])
    assert done.stdout == f"{100 - cards} created, {20 + cards} already there, 0 lines failed.\n"


def test_lines_that_fail_are_named_and_the_others_imported(
    gateway: Gateway, shared_database: Database, tenant_id: UUID, tmp_path: Path
) -> None:
    good = [{"cards": [{"card_type": "voice", "content": {"n": number}}]} for number in range(4)]
    unknown = {"cards": [{"card_type": "person", "content": {}}]}
    file = write(tmp_path / "cards.jsonl", good[0], b"{", good[1], b"", unknown, good[2], {"cards": []}, good[3])

    done = run(gateway, file, tenant_id)
    assert (done.returncode, done.stdout) == (1, "4 created, 0 already there, 3 lines failed.\n")
    failed = re.findall(rf"^{re.escape(str(file))}:(\d+): (\w+): (.*)$", done.stderr, re.MULTILINE)
    assert [(number, code) for number, code, _ in failed] == [
        ("2", "MALFORMED_JSON"),
        ("5", "VALIDATION_ERROR"),
        ("7", "VALIDATION_ERROR"),
    ]
    assert "cards[0].card_type" in failed[1][2]
    assert row_counts(shared_database, tenant_id)["cards"] == 4


def test_gateway_that_is_not_there_fails_every_line(tmp_path: Path, gateway: Gateway, tenant_id: UUID) -> None:
    file = write(tmp_path / "cards.jsonl", {"cards": [{"card_type": "voice", "content": {}}]})
    done = run(gateway, file, tenant_id, "--url", "http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (1, "0 created, 0 already there, 1 lines failed.\n")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("tenant", "name", "says"),
    [("acme", "cards.jsonl", "--tenant"), ("018f2f6e-7c1a-7000-8000-000000000001", "nothing.jsonl", "nothing.jsonl")],
    ids=["no tenant", "no file"],
)
def test_wrong_arguments_are_refused(gateway: Gateway, tmp_path: Path, tenant: str, name: str, says: str) -> None:
    write(tmp_path / "cards.jsonl", {})
    done = run(gateway, tmp_path / name, tenant)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_empty_file_is_no_failure(gateway: Gateway, tenant_id: UUID, tmp_path: Path) -> None:
    done = run(gateway, write(tmp_path / "cards.jsonl"), tenant_id)
    assert (done.returncode, done.stdout) == (0, "0 created, 0 already there, 0 lines failed.\n")

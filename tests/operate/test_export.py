"""`cardbase export`: what it writes is what `cardbase import` reads."""

import json
from pathlib import Path
from uuid import UUID, uuid4

import httpx
from support.gateways import Gateway, run_cardbase

CARDS = "/api/v1/cards"


def test_an_export_imported_is_the_same_cards(
    gateway: Gateway, client: httpx.Client, tenant_id: UUID, tmp_path: Path
) -> None:
    session = "018f2f6e-7c1a-7000-8000-00000000000a"
    cards = [{"card_type": "insight", "content": {"n": number, "text": "x" * 500}} for number in range(250)]
    cards.append({"card_type": "voice", "content": {"ü": "☃"}, "created_by": "me", "source_session_id": session})
    client.post(f"{CARDS}/batch", json={"cards": cards})
    client.post(CARDS, content=b'{"card_type": "company", "content": {"price": 1.50}}')
    client.delete(f"{CARDS}/{client.post(CARDS, json={'card_type': 'voice', 'content': {}}).json()['card_id']}")

    exported = run_cardbase("export", "--tenant", str(tenant_id), "--url", gateway.address, folder=tmp_path)
    file = tmp_path / "cards.jsonl"
    file.write_text(exported.stdout)
    other = uuid4()
    imported = run_cardbase("import", file, "--tenant", str(other), "--url", gateway.address, folder=tmp_path)

    assert (exported.returncode, imported.returncode) == (0, 0), exported.stderr + imported.stderr
    assert "252 created, 0 already there, 0 lines failed." in imported.stdout
    assert '"price": 1.50' in exported.stdout or '"price":1.50' in exported.stdout
    with gateway.client(other) as other_client:
        (voice,) = other_client.get(CARDS, params={"card_type": "voice"}).json()["cards"]
    assert (voice["content"], voice["created_by"], voice["source_session_id"]) == ({"ü": "☃"}, "me", session)


def test_a_type_narrows_the_export(gateway: Gateway, client: httpx.Client, tenant_id: UUID, tmp_path: Path) -> None:
    client.post(CARDS, json={"card_type": "voice", "content": {"a": 1}})
    client.post(CARDS, json={"card_type": "company", "content": {"a": 1}})

    exported = run_cardbase(
        "export", "--tenant", str(tenant_id), "--type", "voice", "--url", gateway.address, folder=tmp_path
    )

    (line,) = exported.stdout.splitlines()
    assert json.loads(line) == {"cards": [{"card_type": "voice", "content": {"a": 1}, "created_by": "api"}]}


def test_a_refusal_is_one_line(gateway: Gateway, tenant_id: UUID, tmp_path: Path) -> None:
    exported = run_cardbase(
        "export", "--tenant", str(tenant_id), "--type", "video", "--url", gateway.address, folder=tmp_path
    )

    assert (exported.returncode, exported.stdout) == (1, "")
    assert exported.stderr.startswith("cardbase: VALIDATION_ERROR: card_type: Expected one of company, audience")
    assert len(exported.stderr.splitlines()) == 1

"""Idempotency keys of functions over /rpc."""

import threading
from uuid import UUID, uuid4

import httpx
import pytest
from support import tokens
from support.gateways import Gateway, wait_until
from support.locks import Holder, waiting_for_locks
from support.rpc import OBJECT, assert_refused, note_ids, said_of
from support.servers import Database


@pytest.mark.usefixtures("no_notes")
def test_any_function_with_a_key_runs_once(rpc: httpx.Client, tenant_id: UUID, rpc_gateway: Gateway) -> None:
    headers = {"Idempotency-Key": "k", "Prefer": "count=exact"}
    first = rpc.post("count_up", json={"step": 1}, headers=headers)
    assert (first.status_code, first.json()) == (200, [{"notes": 1, "taken": 1}])
    assert first.headers["x-idempotency-cache"] == "MISS"
    again = rpc.post("count_up", json={"step": 1}, headers={**headers, "Idempotency-Key": '"k"'})
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert said_of(again) == said_of(first) | {"x-idempotency-cache": "HIT"}
    assert note_ids(rpc) == [None]

    other = rpc.post("count_up", json={"step": 2}, headers=headers)
    message = "the idempotency key was used for another request"
    details = "The key k belongs to a request with another body or function."
    assert_refused(other, 422, "PT422", message, details, "Send a new key with a new request.")
    assert rpc.post("do_once", headers=headers).status_code == 422
    assert rpc.post("count_up?limit=0", json={"step": 1}, headers=headers).status_code == 422
    with rpc_gateway.client(uuid4()) as stranger:
        theirs = stranger.post("/rpc/count_up", json={"step": 1}, headers=headers)
    assert (theirs.json(), theirs.headers["x-idempotency-cache"]) == ([{"notes": 2, "taken": 1}], "MISS")


def test_a_number_that_is_long_written_out_is_refused_before_the_key_is_claimed(rpc: httpx.Client) -> None:
    response = rpc.post("count_up", content=b'{"step": 1e100000}', headers={"Idempotency-Key": "long"})
    assert (response.status_code, response.json()["message"]) == (422, "step is too long")


@pytest.mark.usefixtures("no_notes")
def test_equal_keys_of_two_users_are_different(rpc_gateway: Gateway, tenant_id: UUID) -> None:
    for _ in range(2):
        user_id = str(uuid4())
        for result in ("MISS", "HIT"):
            headers = {"Authorization": f"Bearer {tokens.token(tenant_id, sub=user_id)}", "Idempotency-Key": "k"}
            with rpc_gateway.client() as client:
                response = client.post("/rpc/my_own_once", headers=headers)
            assert (response.json(), response.headers["x-idempotency-cache"]) == (user_id, result)


@pytest.mark.usefixtures("no_notes")
def test_the_key_is_the_functions_too(rpc: httpx.Client, rpc_database: Database) -> None:
    rpc.post("count_up", json={"step": 1}, headers={"Idempotency-Key": "its own"})
    rpc.post("count_up", json={"step": 1})
    assert rpc_database.execute("select text from test.notes order by text") == "its own"


@pytest.mark.usefixtures("no_notes")
def test_a_response_without_a_body_is_stored(rpc: httpx.Client) -> None:
    for result in ("MISS", "HIT"):
        response = rpc.post("do_once", headers={"Idempotency-Key": "k"})
        assert (response.status_code, response.headers["x-idempotency-cache"]) == (204, result)
    assert note_ids(rpc) == [None]


@pytest.mark.usefixtures("no_notes")
def test_a_stored_response_is_returned_in_every_format(rpc: httpx.Client) -> None:
    key = {"Idempotency-Key": "k"}
    assert rpc.post("count_up", json={"step": 1}, headers={**key, "Accept": OBJECT}).json() == {"notes": 1, "taken": 1}
    csv = rpc.post("count_up", json={"step": 1}, headers={**key, "Accept": "text/csv"})
    assert (csv.text, csv.headers["x-idempotency-cache"]) == ("notes,taken\n1,1", "HIT")


@pytest.mark.usefixtures("no_notes")
def test_a_failed_call_does_not_use_up_its_key(rpc: httpx.Client) -> None:
    key = {"Idempotency-Key": "k"}
    assert rpc.post("count_up", json={"step": "x"}, headers=key).status_code == 400
    assert rpc.post("count_up", json={"step": 1}, headers=key).headers["x-idempotency-cache"] == "MISS"


@pytest.mark.usefixtures("no_notes")
def test_a_key_works_for_a_function_that_only_reads(rpc: httpx.Client) -> None:
    """By POST the response is stored; a GET needs no key."""
    assert rpc.post("peek_once", headers={"Idempotency-Key": "k"}).headers["x-idempotency-cache"] == "MISS"
    rpc.post("write_note", json={"note_id": 1})
    again = rpc.post("peek_once", headers={"Idempotency-Key": "k"})
    assert (again.json(), again.headers["x-idempotency-cache"]) == (0, "HIT")
    got = rpc.get("peek_once", headers={"Idempotency-Key": "k"})
    assert (got.json(), "x-idempotency-cache" in got.headers) == (1, False)


def test_a_product_function_keeps_its_key_itself(rpc: httpx.Client) -> None:
    sent = {"json": {"cards": [{"card_type": "voice", "content": {}}]}, "headers": {"Idempotency-Key": "k"}}
    first, again = (rpc.post("create_cards", **sent) for _ in range(2))  # type: ignore[arg-type]
    assert (first.status_code, first.headers["x-idempotency-cache"]) == (201, "MISS")
    assert (again.status_code, again.headers["x-idempotency-cache"], again.content) == (201, "HIT", first.content)


@pytest.mark.usefixtures("no_notes")
def test_concurrent_calls_with_one_key_run_once(rpc: httpx.Client, rpc_database: Database) -> None:
    answers: list[httpx.Response] = []

    def call() -> None:
        sent = {"X-Tenant-ID": rpc.headers["X-Tenant-ID"], "Idempotency-Key": "k"}
        answers.append(httpx.post(f"{rpc.base_url}count_up", json={"step": 1}, headers=sent, trust_env=False))

    with Holder(rpc_database, "lock table test.notes in access exclusive mode"):
        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        wait_until(lambda: waiting_for_locks(rpc_database) == 4)
    for thread in threads:
        thread.join()
    assert {answer.content for answer in answers} == {b'[{"notes": 1, "taken": 1}]'}
    assert sorted(answer.headers["x-idempotency-cache"] for answer in answers) == ["HIT", "HIT", "HIT", "MISS"]

"""Bad input: what it is answered, and that nothing of it is stored."""

import json
import random
import socket
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple
from uuid import UUID

import httpx
import pytest
import shapes
from gateways import Gateway
from servers import Database
from tables import EMPTY, row_counts

BATCH: Final = "/api/v1/cards/batch"
RETRIEVE: Final = "/api/v1/cards/retrieve"
CARD_ID: Final = "018f2f6e-7c1a-7000-8000-000000000001"
USAGE: Final = f"/api/v1/cards/{CARD_ID}/usage"
CARD: Final = {"card_type": "company", "content": {"name": "Acme"}}
A_SENTENCE: Final = shapes.Like("a sentence", r"(?s)[A-Z].+\.")
MALFORMED: Final = shapes.Like("says where the JSON ends to be JSON", r"The body is not valid JSON: .+\.")
CANNOT_STORE: Final = "The request has a value that can't be stored."


class Bad(NamedTuple):
    """One bad request, and its answer."""

    name: str
    path: str
    body: Any
    """Bytes as they are, all else as JSON."""
    status: int = 422
    code: str = "VALIDATION_ERROR"
    field: str | None = None
    """Path of the one detail; None: no details."""
    message: Any = A_SENTENCE
    """Of the detail; without one, of the error."""
    headers: dict[str, str] = {}  # noqa: RUF012 - never changed


def encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def with_card(**fields: Any) -> dict[str, Any]:
    """A batch whose second card has these fields instead."""
    return {"cards": [CARD, {**CARD, **fields}]}


def with_content(text: bytes) -> bytes:
    """A batch whose second card has this text as its content's name."""
    return b'{"cards": [' + encoded(CARD) + b', {"card_type": "voice", "content": {"name": ' + text + b"}}]}"


TYPES: Final = "Expected one of company, audience, voice, insight. "
SHAPE: Final = 'Send {"card_type": …, "content": {…}} for each card. Nothing was stored.'
TOO_LONG: Final = "Expected `str` of length <= 255."
ZERO: Final = r"A string can't have the character \u0000."
SURROGATE: Final = "A string can't have half of a surrogate pair."
NUMBER: Final = "The number is too large or too precise to be stored."

BODIES: Final = [
    # The body as a whole
    Bad("no body", BATCH, b"", field="cards", message="This field is required."),
    Bad("empty object", BATCH, {}, field="cards", message="This field is required."),
    Bad("array as body", BATCH, [], field="body", message="Expected `object`, got `array`."),
    Bad("array of cards as body", BATCH, [CARD], field="body", message="Expected `object`, got `array`."),
    Bad("string as body", BATCH, "cards", field="body", message="Expected `object`, got `str`."),
    Bad("number as body", BATCH, 1, field="body", message="Expected `object`, got `int`."),
    Bad("null as body", BATCH, b"null", field="body", message="Expected `object`, got `null`."),
    Bad("true as body", BATCH, b"true", field="body", message="Expected `object`, got `bool`."),
    Bad("no JSON", BATCH, b"cards", 400, "MALFORMED_JSON", message=MALFORMED),
    Bad("white space only", BATCH, b"  \n", 400, "MALFORMED_JSON", message=MALFORMED),
    Bad("cut short", BATCH, b'{"cards": [', 400, "MALFORMED_JSON", message=MALFORMED),
    Bad("two documents", BATCH, encoded({"cards": [CARD]}) * 2, 400, "MALFORMED_JSON", message=MALFORMED),
    Bad("trailing comma", BATCH, encoded({"cards": [CARD]})[:-1] + b",}", 400, "MALFORMED_JSON", message=MALFORMED),
    Bad("single quotes", BATCH, b"{'cards': []}", 400, "MALFORMED_JSON", message=MALFORMED),
    Bad("not a number", BATCH, with_content(b"NaN"), 400, "MALFORMED_JSON", message=MALFORMED),
    Bad("infinity", BATCH, with_content(b"Infinity"), 400, "MALFORMED_JSON", message=MALFORMED),
    Bad("leading zero", BATCH, with_content(b"007"), 400, "MALFORMED_JSON", message=MALFORMED),
    Bad("control character in a string", BATCH, with_content(b'"a\nb"'), 400, "MALFORMED_JSON", message=MALFORMED),
    Bad("wrong escape", BATCH, with_content(rb'"\x41"'), 400, "MALFORMED_JSON", message=MALFORMED),
    Bad("byte order mark", BATCH, b"\xef\xbb\xbf{}", 400, "MALFORMED_JSON", message=MALFORMED),
    Bad("UTF-16", BATCH, json.dumps({"cards": [CARD]}).encode("utf-16"), 400, "MALFORMED_JSON", message=MALFORMED),
    Bad("not UTF-8", BATCH, with_content(b'"\xff"'), 422, field="body", message="The text is not valid UTF-8."),
    Bad("cut in a character", BATCH, with_content(b'"\xc3"'), 422, field="body", message="The text is not valid UTF-8."),
    # The list of cards
    Bad("cards null", BATCH, {"cards": None}, field="cards", message="Expected `array`, got `null`."),
    Bad("cards an object", BATCH, {"cards": CARD}, field="cards", message="Expected `array`, got `object`."),
    Bad("cards a string", BATCH, {"cards": "[]"}, field="cards", message="Expected `array`, got `str`."),
    Bad("empty batch", BATCH, {"cards": []}, field="cards", message="Expected `array` of length >= 1."),
    Bad("oversized batch", BATCH, {"cards": [CARD] * 1001}, field="cards", message="Expected `array` of length <= 1000."),
    # A card
    Bad("card null", BATCH, {"cards": [CARD, None]}, field="cards[1]", message="Expected `object`, got `null`."),
    Bad("card an array", BATCH, {"cards": [CARD, []]}, field="cards[1]", message="Expected `object`, got `array`."),
    Bad("no card_type", BATCH, {"cards": [CARD, {"content": {}}]}, field="cards[1].card_type", message="This field is required."),
    Bad("no content", BATCH, {"cards": [CARD, {"card_type": "voice"}]}, field="cards[1].content", message="This field is required."),
    Bad("unknown card_type", BATCH, with_card(card_type="person"), field="cards[1].card_type", message=TYPES + SHAPE),
    Bad("empty card_type", BATCH, with_card(card_type=""), field="cards[1].card_type", message=TYPES + SHAPE),
    Bad("card_type in capitals", BATCH, with_card(card_type="Company"), field="cards[1].card_type", message=TYPES + SHAPE),
    Bad("card_type null", BATCH, with_card(card_type=None), field="cards[1].card_type", message="Expected `str`, got `null`."),
    Bad("card_type a number", BATCH, with_card(card_type=1), field="cards[1].card_type", message="Expected `str`, got `int`."),
    Bad("card_type an array", BATCH, with_card(card_type=["company"]), field="cards[1].card_type", message="Expected `str`, got `array`."),
    Bad("content null", BATCH, with_card(content=None), field="cards[1].content", message="Expected an object. " + SHAPE),
    Bad("content an array", BATCH, with_card(content=[{}]), field="cards[1].content", message="Expected an object. " + SHAPE),
    Bad("content a string", BATCH, with_card(content="{}"), field="cards[1].content", message="Expected an object. " + SHAPE),
    Bad("content a number", BATCH, with_card(content=1.5), field="cards[1].content", message="Expected an object. " + SHAPE),
    Bad("content false", BATCH, with_card(content=False), field="cards[1].content", message="Expected an object. " + SHAPE),
    Bad("created_by a number", BATCH, with_card(created_by=7), field="cards[1].created_by", message="Expected `str | null`, got `int`."),
    Bad("created_by too long", BATCH, with_card(created_by="x" * 256), field="cards[1].created_by", message=TOO_LONG),
    Bad("created_by too long, not ASCII", BATCH, with_card(created_by="🎉" * 256), field="cards[1].created_by", message=TOO_LONG),
    Bad("session a number", BATCH, with_card(source_session_id=7), field="cards[1].source_session_id", message="Expected `uuid | null`, got `int`."),
    Bad("session no uuid", BATCH, with_card(source_session_id="session-1"), field="cards[1].source_session_id", message="Invalid UUID."),
    Bad("session empty", BATCH, with_card(source_session_id=""), field="cards[1].source_session_id", message="Invalid UUID."),
    # The batch's own fields
    Bad("default maker too long", BATCH, {"cards": [CARD], "created_by": "x" * 256}, field="created_by", message=TOO_LONG),
    Bad("default maker an object", BATCH, {"cards": [CARD], "created_by": {}}, field="created_by", message="Expected `str | null`, got `object`."),
    Bad("default session no uuid", BATCH, {"cards": [CARD], "source_session_id": "1"}, field="source_session_id", message="Invalid UUID."),
    # What PostgreSQL can't store
    Bad("zero character in a value", BATCH, with_content(rb'"a\u0000b"'), field="cards[1].content.name", message=ZERO),
    Bad("zero character in a key", BATCH, with_content(rb'{"a\u0000b": 1}'), field="cards[1].content.name", message=f"In a key: {ZERO}"),
    Bad("zero character deep inside", BATCH, with_content(rb'[1, {"x": ["\u0000"]}]'), field="cards[1].content.name[1].x[0]", message=ZERO),
    Bad("zero character in created_by", BATCH, b'{"cards": [{"card_type": "voice", "content": {}, "created_by": "\\u0000"}]}', field="cards[0].created_by"),
    Bad("zero character in card_type", BATCH, b'{"cards": [{"card_type": "voice\\u0000", "content": {}}]}', field="cards[0].card_type"),
    Bad("zero character in the default maker", BATCH, b'{"cards": [{"card_type": "voice", "content": {}}], "created_by": "\\u0000"}', field="created_by"),
    Bad("lone high surrogate", BATCH, with_content(rb'"\ud83c"'), field="cards[1].content.name", message=SURROGATE),
    Bad("lone low surrogate", BATCH, with_content(rb'"\udf89"'), field="cards[1].content.name", message=SURROGATE),
    Bad("surrogates the wrong way round", BATCH, with_content(rb'"\udf89\ud83c"'), field="cards[1].content.name", message=SURROGATE),
    Bad("surrogate in a key", BATCH, with_content(rb'{"\ud83c": 1}'), field="cards[1].content.name", message=f"In a key: {SURROGATE}"),
    Bad("surrogate in created_by", BATCH, b'{"cards": [{"card_type": "voice", "content": {}, "created_by": "\\ud83c"}]}', field="cards[0].created_by", message=SURROGATE),
    Bad("huge exponent", BATCH, with_content(b"1e200000"), field="cards[1].content.name", message=NUMBER),
    Bad("tiny exponent", BATCH, with_content(b"1e-20000"), field="cards[1].content.name", message=NUMBER),
    Bad("exponent beyond all integers", BATCH, with_content(b"1e99999999999999999999"), field="cards[1].content.name", message=NUMBER),
    Bad("too many digits", BATCH, with_content(b"1" * 132_000), field="cards[1].content.name", message=NUMBER),
    Bad("nested too deep", BATCH, with_content(b"[" * 20_000 + b"]" * 20_000), field="body", message="Nested too deep."),
    Bad("objects nested too deep", BATCH, with_content(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), field="body", message="Nested too deep."),
    Bad("nested beyond all measure, and cut short", BATCH, b"[" * 1_000_000, field="body"),
    # Ids to retrieve
    Bad("no ids", RETRIEVE, {}, field="card_ids", message="This field is required."),
    Bad("ids null", RETRIEVE, {"card_ids": None}, field="card_ids", message="Expected `array`, got `null`."),
    Bad("ids a string", RETRIEVE, {"card_ids": CARD_ID}, field="card_ids", message="Expected `array`, got `str`."),
    Bad("empty list of ids", RETRIEVE, {"card_ids": []}, field="card_ids", message="Expected `array` of length >= 1."),
    Bad("oversized list of ids", RETRIEVE, {"card_ids": [CARD_ID] * 1001}, field="card_ids", message="Expected `array` of length <= 1000."),
    Bad("id null", RETRIEVE, {"card_ids": [CARD_ID, None]}, field="card_ids[1]", message="Expected `uuid`, got `null`."),
    Bad("id a number", RETRIEVE, {"card_ids": [CARD_ID, 1]}, field="card_ids[1]", message="Expected `uuid`, got `int`."),
    Bad("id a list", RETRIEVE, {"card_ids": [[CARD_ID]]}, field="card_ids[0]", message="Expected `uuid`, got `array`."),
    Bad("id empty", RETRIEVE, {"card_ids": [""]}, field="card_ids[0]", message="Invalid UUID."),
    Bad("id too short", RETRIEVE, {"card_ids": [CARD_ID[:-1]]}, field="card_ids[0]", message="Invalid UUID."),
    Bad("id too long", RETRIEVE, {"card_ids": [CARD_ID + "0"]}, field="card_ids[0]", message="Invalid UUID."),
    Bad("id not hexadecimal", RETRIEVE, {"card_ids": ["g" + CARD_ID[1:]]}, field="card_ids[0]", message="Invalid UUID."),
    Bad("id in braces", RETRIEVE, {"card_ids": [f"{{{CARD_ID}}}"]}, field="card_ids[0]", message="Invalid UUID."),
    Bad("id as urn", RETRIEVE, {"card_ids": [f"urn:uuid:{CARD_ID}"]}, field="card_ids[0]", message="Invalid UUID."),
    Bad("id with a space", RETRIEVE, {"card_ids": [f" {CARD_ID}"]}, field="card_ids[0]", message="Invalid UUID."),
    Bad("id with a zero character", RETRIEVE, b'{"card_ids": ["' + CARD_ID.encode() + b'\\u0000"]}', field="card_ids[0]", message="Invalid UUID."),
    # A usage
    Bad("usage an array", USAGE, [], field="body", message="Expected `object`, got `array`."),
    Bad("workflow a number", USAGE, {"workflow_id": 1}, field="workflow_id", message="Expected `str | null`, got `int`."),
    Bad("workflow too long", USAGE, {"workflow_id": "x" * 256}, field="workflow_id", message=TOO_LONG),
    Bad("workflow type too long", USAGE, {"workflow_type": "x" * 101}, field="workflow_type", message="Expected `str` of length <= 100."),
    Bad("session too long", USAGE, {"session_id": "x" * 256}, field="session_id", message=TOO_LONG),
    Bad("session of a usage an object", USAGE, {"session_id": {}}, field="session_id", message="Expected `str | null`, got `object`."),
    Bad("zero character in a workflow", USAGE, b'{"workflow_id": "\\u0000"}', field="workflow_id"),
    Bad("surrogate in a workflow", USAGE, b'{"workflow_id": "\\udfff"}', field="workflow_id", message=SURROGATE),
    # The path
    Bad("path with no uuid", "/api/v1/cards/42/usage", {}, field="card_id", message="Expected a UUID."),
    Bad("path with a longer uuid", f"/api/v1/cards/{CARD_ID}0/usage", {}, field="card_id", message="Expected a UUID."),
    Bad("path with a zero character", "/api/v1/cards/%00/usage", {}, field="card_id", message="Expected a UUID."),
    Bad("path that is no UTF-8", "/api/v1/cards/%ff/usage", {}, field="card_id", message="Expected a UUID."),
    Bad("card that is not there", USAGE, {}, 404, "CARD_NOT_FOUND", "card_id"),
    Bad("no such address", "/api/v1/nothing", {}, 404, "NOT_FOUND", message="There is nothing at this address."),
    Bad("address with a slash behind", BATCH + "/x", {}, 404, "NOT_FOUND", message="There is nothing at this address."),
    # Headers
    Bad("form instead of JSON", BATCH, b"cards=1", 415, "UNSUPPORTED_MEDIA_TYPE", headers={"Content-Type": "application/x-www-form-urlencoded"}),
    Bad("plain text", BATCH, {"cards": [CARD]}, 415, "UNSUPPORTED_MEDIA_TYPE", headers={"Content-Type": "text/plain"}),
    Bad("empty media type", BATCH, {"cards": [CARD]}, 415, "UNSUPPORTED_MEDIA_TYPE", headers={"Content-Type": ""}),
    Bad("key empty", BATCH, {"cards": [CARD]}, field="Idempotency-Key", headers={"Idempotency-Key": ""}),
    Bad("key empty in quotes", BATCH, {"cards": [CARD]}, field="Idempotency-Key", headers={"Idempotency-Key": '""'}),
    Bad("key too long", BATCH, {"cards": [CARD]}, field="Idempotency-Key", headers={"Idempotency-Key": "k" * 256}),
    Bad("key longer than any", BATCH, {"cards": [CARD]}, field="Idempotency-Key", headers={"Idempotency-Key": "k" * 10_000}),
    Bad("tenant no uuid", BATCH, {"cards": [CARD]}, field="X-Tenant-ID", headers={"X-Tenant-ID": "acme"}),
    Bad("tenant empty", BATCH, {"cards": [CARD]}, field="X-Tenant-ID", headers={"X-Tenant-ID": ""}),
    Bad("tenant in braces", BATCH, {"cards": [CARD]}, field="X-Tenant-ID", headers={"X-Tenant-ID": f"{{{CARD_ID}}}"}),
    Bad("tenant without dashes", BATCH, {"cards": [CARD]}, field="X-Tenant-ID", headers={"X-Tenant-ID": CARD_ID.replace("-", "")}),
    Bad("two tenants in one header", BATCH, {"cards": [CARD]}, field="X-Tenant-ID", headers={"X-Tenant-ID": f"{CARD_ID}, {CARD_ID}"}),
]  # fmt: skip


@pytest.mark.parametrize("bad", BODIES, ids=[bad.name for bad in BODIES])
def test_bad_request_is_refused_and_nothing_stored(
    client: httpx.Client, shared_database: Database, tenant_id: UUID, bad: Bad
) -> None:
    headers = {"Content-Type": "application/json", **bad.headers}
    response = client.post(bad.path, content=encoded(bad.body), headers=headers)

    if bad.field is None:
        expected = shapes.refusal(bad.code, bad.message)
    else:
        expected = shapes.refusal(bad.code, A_SENTENCE, (bad.field, bad.message))
    assert (response.status_code, response.json()) == (bad.status, expected)
    assert response.headers["content-type"] == "application/json"
    assert row_counts(shared_database, tenant_id) == EMPTY


def test_missing_tenant_is_refused(gateway: Gateway) -> None:
    with gateway.client() as client:
        response = client.post(BATCH, json={"cards": [CARD]})
    assert (response.status_code, response.json()) == (
        422,
        shapes.refusal("VALIDATION_ERROR", A_SENTENCE, ("X-Tenant-ID", "This header is required.")),
    )


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", BATCH, {"OPTIONS", "POST"}),
        ("DELETE", RETRIEVE, {"OPTIONS", "POST"}),
        ("PATCH", USAGE, {"GET", "HEAD", "OPTIONS", "POST"}),
        ("POST", "/health", {"GET", "HEAD", "OPTIONS"}),
    ],
)
def test_wrong_method_is_answered_with_the_right_ones(
    client: httpx.Client, method: str, path: str, allowed: set[str]
) -> None:
    response = client.request(method, path, json={})
    assert (response.status_code, response.json()) == (405, shapes.refusal("METHOD_NOT_ALLOWED", A_SENTENCE))
    assert set(response.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "media_type",
    ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.acme+json", None],
)
def test_json_is_taken_under_each_of_its_names(client: httpx.Client, media_type: str | None) -> None:
    headers = {} if media_type is None else {"Content-Type": media_type}
    response = client.post(BATCH, content=encoded({"cards": [CARD]}), headers=headers)
    assert response.status_code == 201


# --- numbers and depths at the edge ---------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"1e15000", b"1" * 10_000, b"-1.5e-300", b"[" * 500 + b"]" * 500])
def test_what_can_be_stored_is_stored(client: httpx.Client, text: bytes) -> None:
    assert client.post(BATCH, content=with_content(text)).status_code == 201


@pytest.mark.parametrize("exponent", [16_383, 16_384, 100_000, 131_071, 131_072, 2**31, 2**63, 10**30])
@pytest.mark.parametrize("sign", ["", "-"])
def test_number_is_stored_or_refused_with_its_place(client: httpx.Client, exponent: int, sign: str) -> None:
    """PostgreSQL's own limits decide: 131,072 digits before the point, 16,383 behind it."""
    response = client.post(BATCH, content=with_content(f"1e{sign}{exponent}".encode()))
    if exponent <= (16_383 if sign else 131_071):
        assert response.status_code == 201
    else:
        assert (response.status_code, response.json()) == (
            422,
            shapes.refusal("VALIDATION_ERROR", CANNOT_STORE, ("cards[1].content.name", NUMBER)),
        )


# --- size -----------------------------------------------------------------------------------------------------

MAXIMUM_BYTES: Final = 8_388_608
TOO_LARGE: Final = shapes.refusal(
    "PAYLOAD_TOO_LARGE", f"The body has more than {MAXIMUM_BYTES} bytes. Send it in parts."
)


def padded(size: int) -> bytes:
    """A batch of so many bytes."""
    empty = with_content(b'""')
    return with_content(b'"' + b"x" * (size - len(empty)) + b'"')


def test_body_of_the_maximum_size_is_taken(client: httpx.Client) -> None:
    body = padded(MAXIMUM_BYTES)
    assert len(body) == MAXIMUM_BYTES
    assert client.post(BATCH, content=body).status_code == 201


def test_larger_body_is_refused(client: httpx.Client, shared_database: Database, tenant_id: UUID) -> None:
    response = client.post(BATCH, content=padded(MAXIMUM_BYTES + 1))
    assert (response.status_code, response.json()) == (413, TOO_LARGE)
    assert row_counts(shared_database, tenant_id) == EMPTY


def test_larger_body_of_unknown_length_is_refused(
    client: httpx.Client, shared_database: Database, tenant_id: UUID
) -> None:
    def chunks() -> Iterator[bytes]:
        body = padded(MAXIMUM_BYTES + 1)
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    response = client.post(BATCH, content=chunks())
    assert (response.status_code, response.json()) == (413, TOO_LARGE)
    assert row_counts(shared_database, tenant_id) == EMPTY


def test_declared_length_is_refused_before_the_body_is_sent(gateway: Gateway, tenant_id: UUID) -> None:
    answer = talk(gateway, request(tenant_id, f"Content-Length: {10**12}"))
    assert answer.status == 413
    assert json.loads(answer.body) == TOO_LARGE


def test_maximum_size_is_a_setting(
    make_gateway: Callable[..., Gateway], shared_database: Database, tenant_id: UUID
) -> None:
    gateway = make_gateway(shared_database, MAX_BODY_BYTES="1000")
    with gateway.client(tenant_id) as client:
        statuses = [client.post(BATCH, content=padded(size)).status_code for size in (1000, 1001)]
    assert statuses == [201, 413]


# --- HTTP itself ----------------------------------------------------------------------------------------------


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def request(tenant_id: UUID, *headers: str, body: bytes = b"", line: str = f"POST {BATCH} HTTP/1.1") -> bytes:
    """A request as it goes over the wire."""
    head = [line, "Host: localhost", f"X-Tenant-ID: {tenant_id}", "Connection: close", *headers]
    return "\r\n".join([*head, "", ""]).encode("latin-1") + body


def talk(gateway: Gateway, sent: bytes) -> Answer:
    """Sends bytes as they are; answers what comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
            head, separator, body = received.partition(b"\r\n\r\n")
            length = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")]
            if separator and length and len(body) >= length[0]:
                break
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Answer(int(status.split(" ")[1]), headers, body)


GOOD: Final = encoded({"cards": [CARD]})
CHUNKED: Final = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)


def test_plain_and_chunked_requests_are_answered(gateway: Gateway, tenant_id: UUID) -> None:
    plain = talk(gateway, request(tenant_id, f"Content-Length: {len(GOOD)}", body=GOOD))
    chunked = talk(gateway, request(tenant_id, "Transfer-Encoding: chunked", body=CHUNKED))
    assert (plain.status, chunked.status) == (201, 200)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (["Content-Length: twelve"], GOOD),
        (["Content-Length: -1"], GOOD),
        (["Content-Length: 1e3"], GOOD),
        ([f"Content-Length: {len(GOOD)}", "Content-Length: 2"], GOOD),
        ([f"Content-Length: {len(GOOD)}", "Transfer-Encoding: chunked"], CHUNKED),
        (["Transfer-Encoding: chunked"], b"zz\r\n" + GOOD),
        (["A header without a colon"], b""),
        (["X-Name : value"], b""),
    ],
    ids=[
        "length is a word",
        "length is negative",
        "length has an exponent",
        "two lengths",
        "length and chunks",
        "chunk without a size",
        "no colon",
        "space before the colon",
    ],
)
def test_request_that_is_no_http_is_refused(
    gateway: Gateway, shared_database: Database, tenant_id: UUID, headers: list[str], body: bytes
) -> None:
    answer = talk(gateway, request(tenant_id, *headers, body=body))
    assert answer.status == 400
    assert row_counts(shared_database, tenant_id) == EMPTY


def test_line_that_is_no_http_is_refused(gateway: Gateway, tenant_id: UUID) -> None:
    assert talk(gateway, request(tenant_id, line="cards, please")).status == 400
    assert talk(gateway, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\r\n\r\n").status == 400


def test_client_that_leaves_in_the_middle_of_its_body_stores_nothing(
    gateway: Gateway, client: httpx.Client, shared_database: Database, tenant_id: UUID
) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(request(tenant_id, f"Content-Length: {len(GOOD) + 1}", body=GOOD))
    assert client.get("/health").status_code == 200
    assert row_counts(shared_database, tenant_id) == EMPTY


# --- generated ------------------------------------------------------------------------------------------------

WRONG: Final = (
    None, True, 0, -1, 1.5, 10**400, "", "x", "x" * 300, "\0", "\ud800", "{}", [], [None], [[]], {}, {"": None},
    [1] * 1001, {"card_type": "company"}, "018f2f6e-7c1a-7000-8000-00000000000g",
)  # fmt: skip
FULL_BATCH: Final = {
    "cards": [
        {"card_type": "company", "content": {"a": [1, {"b": "c"}]}, "created_by": "me", "source_session_id": CARD_ID},
        {"card_type": "voice", "content": {}, "created_by": "me", "source_session_id": CARD_ID},
    ],
    "created_by": "me",
    "source_session_id": CARD_ID,
}
BODY_OF: Final = {
    BATCH: FULL_BATCH,
    RETRIEVE: {"card_ids": [CARD_ID, CARD_ID]},
    USAGE: {"workflow_id": "w", "workflow_type": "t", "session_id": "s"},
}


def variants(value: Any) -> Iterator[Any]:
    """The value with something else at each of its places, and with each of its members gone."""
    yield from WRONG
    if isinstance(value, dict):
        for key, member in value.items():
            yield {name: other for name, other in value.items() if name != key}
            yield from ({**value, key: variant} for variant in variants(member))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield value[:index] + value[index + 1 :]
            yield from (value[:index] + [variant] + value[index + 1 :] for variant in variants(item))


def damaged(text: bytes, count: int) -> Iterator[bytes]:
    """The text cut, doubled, or with other bytes in it, the same ones at each run."""
    chance = random.Random(text)
    for _ in range(count):
        start, end = sorted(chance.sample(range(len(text)), 2))
        inserted = chance.choice([b"", b'"', b"\\", b"{", b"]", b"\\u0000", b"\xff", b"1e999999", text[start:end] * 2])
        yield text[:start] + inserted + text[end:]


@pytest.mark.parametrize("path", BODY_OF)
def test_generated_input_never_breaks_the_gateway(client: httpx.Client, path: str) -> None:
    """Whatever is sent: an answer, or a refusal in the envelope with a code, and for a 422 with a place and a reason."""
    bodies = [encoded(body) for body in variants(BODY_OF[path])] + list(damaged(encoded(BODY_OF[path]), 150))
    refused = 0
    for body in bodies:
        response = client.post(path, content=body)
        assert response.status_code in (200, 201, 400, 404, 422), (body, response.text)
        if response.is_error:
            refused += 1
            error = response.json()["error"]
            assert response.json() == shapes.refusal(error["code"], A_SENTENCE) | {"error": error}
            if response.status_code == 422:
                (detail,) = error["details"]
                assert detail["field"], body
                assert detail["message"] == A_SENTENCE, body
    assert refused > 100


@pytest.mark.parametrize(
    "segment",
    ["0", "-1", "null", "%20", "%2e%2e", "%C3%A9", "{card_id}", "%00", "'; drop table app.cards; --", "a" * 5000],
)
def test_other_things_than_ids_in_a_path_are_refused(client: httpx.Client, segment: str) -> None:
    response = client.post(f"/api/v1/cards/{segment}/usage", json={})
    assert (response.status_code, response.json()) == (
        422,
        shapes.refusal("VALIDATION_ERROR", A_SENTENCE, ("card_id", "Expected a UUID.")),
    )

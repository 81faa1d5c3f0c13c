"""Bad input: how it is refused, and that nothing of it is stored."""

import json
import random
import socket
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from uuid import UUID

import httpx
import pytest
from support import shapes
from support.gateways import Gateway
from support.servers import Database
from support.tables import EMPTY, row_counts

BATCH: Final = "/api/v1/cards/batch"
RETRIEVE: Final = "/api/v1/cards/retrieve"
CARD_ID: Final = "018f2f6e-7c1a-7000-8000-000000000001"
USAGE: Final = f"/api/v1/cards/{CARD_ID}/usage"
CARD: Final = {"card_type": "company", "content": {"name": "Acme"}}
A_SENTENCE: Final = shapes.Like("a sentence", r"(?s)[A-Z].+\.")
CANNOT_STORE: Final = "The request has a value that can't be stored."


class Bad(NamedTuple):
    """One bad request, and its response."""

    name: str
    path: str
    body: Any
    """Bytes are sent as they are, everything else as JSON."""
    field: str | None
    """Path of the one detail; None: no details."""
    message: Any = A_SENTENCE
    """The message of the detail or, without one, of the error."""
    status: int = 422
    code: str = "VALIDATION_ERROR"
    headers: Mapping[str, str] = MappingProxyType({})


def encoded(body: Any) -> bytes:
    return body if isinstance(body, bytes) else json.dumps(body).encode()


def with_content(text: bytes) -> bytes:
    """A batch whose second card has this text as its content's name."""
    return b'{"cards": [' + encoded(CARD) + b', {"card_type": "voice", "content": {"name": ' + text + b"}}]}"


def of_batch(name: str, body: Any, field: str, message: Any = A_SENTENCE) -> Bad:
    return Bad(name, BATCH, body, field, message)


def of_card(name: str, card: Any, field: str, message: Any = A_SENTENCE) -> Bad:
    """The second card of a batch."""
    return of_batch(name, {"cards": [CARD, card]}, f"cards[1]{field}", message)


def of_field(field: str, name: str, value: Any, message: Any = A_SENTENCE) -> Bad:
    """One field of the second card of a batch."""
    return of_card(f"{field}: {name}", {**CARD, field: value}, f".{field}", message)


def of_content(name: str, text: bytes, place: str, message: str) -> Bad:
    return of_batch(name, with_content(text), place, message)


def malformed(name: str, body: bytes) -> Bad:
    says_what = shapes.Like("what is wrong with the JSON", r"The body is not valid JSON: .+\.")
    return Bad(name, BATCH, body, None, says_what, 400, "MALFORMED_JSON")


def of_ids(name: str, ids: Any, message: str) -> Bad:
    return Bad(f"ids: {name}", RETRIEVE, {"card_ids": ids}, "card_ids", message)


def of_id(name: str, value: Any, message: str = "Invalid UUID.") -> Bad:
    """The second of two ids."""
    return Bad(f"id: {name}", RETRIEVE, {"card_ids": [CARD_ID, value]}, "card_ids[1]", message)


def of_usage(name: str, body: Any, field: str, message: Any = A_SENTENCE) -> Bad:
    return Bad(f"usage: {name}", USAGE, body, field, message)


def of_path(name: str, segment: str) -> Bad:
    return Bad(f"path: {name}", f"/api/v1/cards/{segment}/usage", {}, "card_id", "Expected a UUID.")


def of_media_type(value: str) -> Bad:
    headers = {"Content-Type": value}
    return Bad(f"media type: {value or 'empty'}", BATCH, GOOD, None, A_SENTENCE, 415, "UNSUPPORTED_MEDIA_TYPE", headers)


def of_key(name: str, value: str) -> Bad:
    return Bad(f"key: {name}", BATCH, GOOD, "Idempotency-Key", headers={"Idempotency-Key": value})


def of_tenant(name: str, value: str) -> Bad:
    return Bad(f"tenant: {name}", BATCH, GOOD, "X-Tenant-ID", headers={"X-Tenant-ID": value})


GOOD: Final = encoded({"cards": [CARD]})
REQUIRED: Final = "This field is required."
HINT: Final = 'Send {"card_type": …, "content": {…}} for each card. Nothing was stored.'
A_TYPE: Final = f"Expected one of company, audience, voice, insight. {HINT}"
AN_OBJECT: Final = f"Expected an object. {HINT}"
NO_UTF8: Final = "The text is not valid UTF-8."
TOO_LONG: Final = "Expected `str` of length <= 255."
TOO_DEEP: Final = "Nested too deep."
ZERO: Final = r"A string can't have the character \u0000."
SURROGATE: Final = "A string can't have half of a surrogate pair."
NUMBER: Final = "The number is too large or too precise to be stored."
TOO_MANY_DIGITS: Final = (
    "Expected a number of at most 1,000 digits on both sides of the point together."
    " Round it, or send it as a string. Nothing was stored."
)
NOWHERE: Final = "There is nothing at this address."
NAME: Final = "cards[1].content.name"

BAD_REQUESTS: Final = [
    of_batch("no body", b"", "cards", REQUIRED),
    of_batch("empty object", {}, "cards", REQUIRED),
    of_batch("array as body", [], "body", "Expected `object`, got `array`."),
    of_batch("array of cards as body", [CARD], "body", "Expected `object`, got `array`."),
    of_batch("string as body", "cards", "body", "Expected `object`, got `str`."),
    of_batch("number as body", 1, "body", "Expected `object`, got `int`."),
    of_batch("null as body", None, "body", "Expected `object`, got `null`."),
    of_batch("true as body", True, "body", "Expected `object`, got `bool`."),
    malformed("no JSON", b"cards"),
    malformed("white space only", b"  \n"),
    malformed("cut short", GOOD[:-1]),
    malformed("two documents", GOOD * 2),
    malformed("trailing comma", GOOD[:-1] + b",}"),
    malformed("single quotes", b"{'cards': []}"),
    malformed("not a number", with_content(b"NaN")),
    malformed("infinity", with_content(b"Infinity")),
    malformed("leading zero", with_content(b"007")),
    malformed("control character in a string", with_content(b'"a\nb"')),
    malformed("wrong escape", with_content(rb'"\x41"')),
    malformed("byte order mark", b"\xef\xbb\xbf" + GOOD),
    malformed("UTF-16", GOOD.decode().encode("utf-16")),
    of_batch("not UTF-8", with_content(b'"\xff"'), "body", NO_UTF8),
    of_batch("cut in a character", with_content(b'"\xc3"'), "body", NO_UTF8),
    of_content("surrogate in UTF-8", b'"\xed\xa0\x80"', NAME, SURROGATE),
    of_batch("cards null", {"cards": None}, "cards", "Expected `array`, got `null`."),
    of_batch("cards an object", {"cards": CARD}, "cards", "Expected `array`, got `object`."),
    of_batch("cards a string", {"cards": "[]"}, "cards", "Expected `array`, got `str`."),
    of_batch("no cards", {"cards": []}, "cards", "Expected `array` of length >= 1."),
    of_batch("1,001 cards", {"cards": [CARD] * 1001}, "cards", "Expected `array` of length <= 1000."),
    of_batch("default maker too long", {"cards": [CARD], "created_by": "x" * 256}, "created_by", TOO_LONG),
    of_batch("default maker an object", {"cards": [CARD], "created_by": {}}, "created_by"),
    of_batch("default maker with zero", {"cards": [CARD], "created_by": "a\0"}, "created_by"),
    of_batch("default session no uuid", {"cards": [CARD], "source_session_id": "1"}, "source_session_id"),
    of_card("card null", None, "", "Expected `object`, got `null`."),
    of_card("card an array", [], "", "Expected `object`, got `array`."),
    of_card("card without type", {"content": {}}, ".card_type", REQUIRED),
    of_card("card without content", {"card_type": "voice"}, ".content", REQUIRED),
    of_field("card_type", "unknown", "person", A_TYPE),
    of_field("card_type", "empty", "", A_TYPE),
    of_field("card_type", "in capitals", "Company", A_TYPE),
    of_field("card_type", "with a space", "company ", A_TYPE),
    of_field("card_type", "with zero", "company\0"),
    of_field("card_type", "null", None, "Expected `str`, got `null`."),
    of_field("card_type", "a number", 1, "Expected `str`, got `int`."),
    of_field("card_type", "an array", ["company"], "Expected `str`, got `array`."),
    of_field("content", "null", None, AN_OBJECT),
    of_field("content", "an array", [{}], AN_OBJECT),
    of_field("content", "a string", "{}", AN_OBJECT),
    of_field("content", "a number", 1.5, AN_OBJECT),
    of_field("content", "false", False, AN_OBJECT),
    of_field("created_by", "a number", 7, "Expected `str | null`, got `int`."),
    of_field("created_by", "too long", "x" * 256, TOO_LONG),
    of_field("created_by", "too long, not ASCII", "🎉" * 256, TOO_LONG),
    of_field("created_by", "with zero", "\0"),
    of_field("created_by", "with half a character", "\ud83c", SURROGATE),
    of_field("source_session_id", "a number", 7, "Expected `uuid | null`, got `int`."),
    of_field("source_session_id", "no uuid", "session-1", "Invalid UUID."),
    of_field("source_session_id", "empty", "", "Invalid UUID."),
    of_content("zero in a value", rb'"a\u0000b"', NAME, ZERO),
    of_content("zero in a key", rb'{"a\u0000b": 1}', NAME, f"In a key: {ZERO}"),
    of_content("zero deep inside", rb'[1, {"x": ["\u0000"]}]', f"{NAME}[1].x[0]", ZERO),
    of_content("high surrogate alone", rb'"\ud83c"', NAME, SURROGATE),
    of_content("low surrogate alone", rb'"\udf89"', NAME, SURROGATE),
    of_content("surrogates the wrong way round", rb'"\udf89\ud83c"', NAME, SURROGATE),
    of_content("surrogate in a key", rb'{"\ud83c": 1}', NAME, f"In a key: {SURROGATE}"),
    of_content("huge exponent", b"1e200000", NAME, NUMBER),
    of_content("tiny exponent", b"1e-20000", NAME, NUMBER),
    of_content("1,001 digits", b"1e1000", NAME, TOO_MANY_DIGITS),
    of_content("1,001 digits, a zero", b"0e-1000", NAME, TOO_MANY_DIGITS),
    of_content("as many digits as can be stored", b'[7, {"x": 1e131071}]', f"{NAME}[1].x", TOO_MANY_DIGITS),
    of_content("exponent beyond all integers", b"1e99999999999999999999", NAME, NUMBER),
    of_content("exponent too long to be a number", b"1e" + b"9" * 5000, NAME, NUMBER),
    of_content("too many digits", b"1" * 132_000, NAME, NUMBER),
    of_content("arrays nested too deep", b"[" * 20_000 + b"]" * 20_000, "body", TOO_DEEP),
    of_content("objects nested too deep", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "body", TOO_DEEP),
    of_batch("nested without an end", b"[" * 1_000_000, "body"),
    Bad("ids: left out", RETRIEVE, {}, "card_ids", REQUIRED),
    of_ids("null", None, "Expected `array`, got `null`."),
    of_ids("a string", CARD_ID, "Expected `array`, got `str`."),
    of_ids("none", [], "Expected `array` of length >= 1."),
    of_ids("1,001", [CARD_ID] * 1001, "Expected `array` of length <= 1000."),
    of_id("null", None, "Expected `uuid`, got `null`."),
    of_id("a number", 1, "Expected `uuid`, got `int`."),
    of_id("an array", [CARD_ID], "Expected `uuid`, got `array`."),
    of_id("empty", ""),
    of_id("too short", CARD_ID[:-1]),
    of_id("too long", f"{CARD_ID}0"),
    of_id("not hexadecimal", f"g{CARD_ID[1:]}"),
    of_id("in braces", f"{{{CARD_ID}}}"),
    of_id("a URN", f"urn:uuid:{CARD_ID}"),
    of_id("with a space", f" {CARD_ID}"),
    of_id("with zero", f"{CARD_ID}\0"),
    of_usage("an array", [], "body", "Expected `object`, got `array`."),
    of_usage("workflow a number", {"workflow_id": 1}, "workflow_id", "Expected `str | null`, got `int`."),
    of_usage("workflow too long", {"workflow_id": "x" * 256}, "workflow_id", TOO_LONG),
    of_usage("type too long", {"workflow_type": "x" * 101}, "workflow_type", "Expected `str` of length <= 100."),
    of_usage("session too long", {"session_id": "x" * 256}, "session_id", TOO_LONG),
    of_usage("session an object", {"session_id": {}}, "session_id", "Expected `str | null`, got `object`."),
    of_usage("workflow with zero", {"workflow_id": "\0"}, "workflow_id"),
    of_usage("workflow with half a character", {"workflow_id": "\udfff"}, "workflow_id", SURROGATE),
    Bad("usage: no such card", USAGE, {}, "card_id", A_SENTENCE, 404, "CARD_NOT_FOUND"),
    of_path("a number", "42"),
    of_path("a longer uuid", f"{CARD_ID}0"),
    of_path("zero", "%00"),
    of_path("not UTF-8", "%ff"),
    of_path("a space", "%20"),
    of_path("dots", "%2e%2e"),
    of_path("SQL", "'; drop table app.cards; --"),
    of_path("long", "a" * 5000),
    Bad("no such address", "/api/v1/nothing", {}, None, NOWHERE, 404, "NOT_FOUND"),
    Bad("address too long", f"{BATCH}/x", {}, None, NOWHERE, 404, "NOT_FOUND"),
    of_media_type("application/x-www-form-urlencoded"),
    of_media_type("text/plain"),
    of_media_type("multipart/form-data; boundary=x"),
    of_media_type(""),
    of_key("empty", ""),
    of_key("empty in quotes", '""'),
    of_key("too long", "k" * 256),
    of_key("far too long", "k" * 10_000),
    of_tenant("no uuid", "acme"),
    of_tenant("empty", ""),
    of_tenant("in braces", f"{{{CARD_ID}}}"),
    of_tenant("without dashes", CARD_ID.replace("-", "")),
    of_tenant("two in one header", f"{CARD_ID}, {CARD_ID}"),
]


@pytest.mark.parametrize("bad", BAD_REQUESTS, ids=[bad.name for bad in BAD_REQUESTS])
def test_bad_request_is_refused_and_nothing_stored(
    client: httpx.Client, shared_database: Database, tenant_id: UUID, bad: Bad
) -> None:
    headers = {"Content-Type": "application/json", **bad.headers}
    response = client.post(bad.path, content=encoded(bad.body), headers=headers)

    if bad.field is None:
        expected = shapes.api_error(bad.code, bad.message)
    else:
        expected = shapes.api_error(bad.code, A_SENTENCE, (bad.field, bad.message))
    assert (response.status_code, response.json()) == (bad.status, expected)
    assert response.headers["content-type"] == "application/json"
    assert row_counts(shared_database, tenant_id) == EMPTY


def test_missing_tenant_is_refused(gateway: Gateway) -> None:
    with gateway.client() as client:
        response = client.post(BATCH, json={"cards": [CARD]})
    assert (response.status_code, response.json()) == (
        422,
        shapes.api_error("VALIDATION_ERROR", A_SENTENCE, ("X-Tenant-ID", "This header is required.")),
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
def test_wrong_method_is_refused_with_the_right_ones(
    client: httpx.Client, method: str, path: str, allowed: set[str]
) -> None:
    response = client.request(method, path, json={})
    assert (response.status_code, response.json()) == (405, shapes.api_error("METHOD_NOT_ALLOWED", A_SENTENCE))
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


@pytest.mark.parametrize("text", [b"1e999", b"-" + b"1" * 1000, b"0." + b"1" * 999, b"[" * 500 + b"]" * 500])
def test_what_can_be_stored_is_stored(client: httpx.Client, text: bytes) -> None:
    assert client.post(BATCH, content=with_content(text)).status_code == 201


@pytest.mark.parametrize("exponent", [999, 1000, 16_383, 16_384, 131_071, 131_072, 2**31, 2**63, 10**30])
@pytest.mark.parametrize("sign", ["", "-"])
def test_number_is_stored_or_refused_with_its_place(client: httpx.Client, exponent: int, sign: str) -> None:
    """1,000 digits are stored. PostgreSQL has 131,072 before the point and 16,383 after it: more it can't even read."""
    response = client.post(BATCH, content=with_content(f"1e{sign}{exponent}".encode()))
    if exponent == 999:
        assert response.status_code == 201, response.text
        return
    is_read = exponent <= (16_383 if sign else 131_071)
    message, detail = ("Cards[1].content.name is too long.", TOO_MANY_DIGITS) if is_read else (CANNOT_STORE, NUMBER)
    assert (response.status_code, response.json()) == (
        422,
        shapes.api_error("VALIDATION_ERROR", message, (NAME, detail)),
    )


# --- size -----------------------------------------------------------------------------------------------------

MAXIMUM_BYTES: Final = 8_388_608
TOO_LARGE: Final = shapes.api_error(
    "PAYLOAD_TOO_LARGE", f"The body has more than {MAXIMUM_BYTES} bytes. Send it in parts."
)


def padded(size: int) -> bytes:
    """A batch with that many bytes, half of them in each of two cards."""
    length = size - len(with_content(b'""'))
    return with_content(b'"' + b"x" * (length // 2) + b'"').replace(b"Acme", b"Acme" + b"y" * (length - length // 2))


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


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b'"' + b"x" * 7_999_989 + b'"', id="one byte too many"),
        pytest.param(b"[" + b"1e999, " * 10_000 + b"0]", id="short numbers that are long written out"),
    ],
)
def test_card_that_is_too_long_written_out_is_refused(
    client: httpx.Client, shared_database: Database, tenant_id: UUID, text: bytes
) -> None:
    content = b'{"name": ' + text + b"}"
    kept = client.post("/api/v1/cards", json=CARD).json()
    detail = (
        "Expected at most 8,000,000 bytes of JSON text, with its numbers written out. Divide it. Nothing was stored."
    )
    for response, field in (
        (client.post(BATCH, content=with_content(text)), "cards[1].content"),
        (client.post("/api/v1/cards", content=b'{"card_type": "voice", "content": ' + content + b"}"), "content"),
        (client.patch(f"/api/v1/cards/{kept['card_id']}", content=b'{"content": ' + content + b"}"), "content"),
    ):
        message = f"{field[0].upper()}{field[1:]} is too large."
        expected = shapes.api_error("PAYLOAD_TOO_LARGE", message, (field, detail))
        assert (response.status_code, response.json()) == (413, expected)
    assert row_counts(shared_database, tenant_id) == EMPTY | {"cards": 1}


def test_batch_of_numbers_that_are_never_written_out_is_refused(client: httpx.Client) -> None:
    response = client.post(BATCH, content=with_content(b"[" + b"1e999, " * 100_000 + b"0]"))
    assert response.status_code == 413
    assert response.json()["error"]["details"][0]["field"] == "cards"


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
    """Sends bytes as they are. Returns what comes back until the other side closes."""
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


CHUNKED: Final = b"%x\r\n%b\r\n0\r\n\r\n" % (len(GOOD), GOOD)


def test_plain_and_chunked_requests_are_served(gateway: Gateway, tenant_id: UUID) -> None:
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


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        (f"X-Tenant-ID: {CARD_ID}", 422, "VALIDATION_ERROR"),
        ("Content-Type: application/json", 415, "UNSUPPORTED_MEDIA_TYPE"),
    ],
)
def test_header_that_is_there_twice_is_not_guessed_at(
    gateway: Gateway, tenant_id: UUID, header: str, status: int, code: str
) -> None:
    length = f"Content-Length: {len(GOOD)}"
    answer = talk(gateway, request(tenant_id, "Content-Type: application/json", header, length, body=GOOD))
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (status, code)


def test_client_that_leaves_in_the_middle_of_its_body_stores_nothing(
    gateway: Gateway, client: httpx.Client, shared_database: Database, tenant_id: UUID
) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(request(tenant_id, f"Content-Length: {len(GOOD) + 1}", body=GOOD))
    assert client.get("/health").status_code == 200
    assert row_counts(shared_database, tenant_id) == EMPTY


# --- generated ------------------------------------------------------------------------------------------------

WRONG: Final[tuple[Any, ...]] = (
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
    """The value with something else in each place, and without each of its members."""
    yield from WRONG
    if isinstance(value, dict):
        for key, member in value.items():
            yield {name: other for name, other in value.items() if name != key}
            yield from ({**value, key: variant} for variant in variants(member))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield value[:index] + value[index + 1 :]
            yield from ([*value[:index], variant, *value[index + 1 :]] for variant in variants(item))


def damaged(text: bytes, count: int) -> Iterator[bytes]:
    """The text cut, doubled, or with other bytes in it, the same in each run."""
    chance = random.Random(text)
    for _ in range(count):
        start, end = sorted(chance.sample(range(len(text)), 2))
        inserted = chance.choice([b"", b'"', b"\\", b"{", b"]", b"\\u0000", b"\xff", b"1e999999", text[start:end] * 2])
        yield text[:start] + inserted + text[end:]


def is_json(body: bytes) -> bool:
    """Whether a body is JSON in UTF-8 (RFC 8259)."""

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        json.loads(body.decode(), parse_constant=refuse)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("path", BODY_OF)
def test_generated_input_never_breaks_the_gateway(client: httpx.Client, path: str) -> None:
    """A 422 says where and why, a 400 means that it is not JSON, and everything else takes full effect."""
    bodies = [encoded(body) for body in variants(BODY_OF[path])] + list(damaged(encoded(BODY_OF[path]), 150))
    refused = 0
    for body in bodies:
        response = client.post(path, content=body)
        if response.is_error:
            refused += 1
            error = response.json()["error"]
            assert response.json() == shapes.api_error(error["code"], A_SENTENCE) | {"error": error}
        if response.status_code == 422:
            assert response.json()["error"]["code"] == "VALIDATION_ERROR"
            (detail,) = response.json()["error"]["details"]
            assert detail["field"], body
            assert detail["message"] == A_SENTENCE, body
        elif response.status_code == 400:
            assert response.json()["error"]["code"] == "MALFORMED_JSON"
            assert not is_json(body)
        else:
            # An unknown name is skipped, even if it is not UTF-8.
            check_effect(path, json.loads(body.decode(errors="replace")), response)
    assert refused > 100


def check_effect(path: str, sent: Any, response: httpx.Response) -> None:
    """Fails unless a valid request got the right response."""
    answer = response.json()
    if path == BATCH:
        assert response.status_code == (201 if answer["created_count"] else 200), sent
        assert [card["content"] for card in answer["cards"]] == [card["content"] for card in sent["cards"]]
    elif path == RETRIEVE:
        assert response.status_code == 200, sent
        assert answer == {"cards": [], "missing_ids": list(dict.fromkeys(sent["card_ids"]))}
    else:
        assert (response.status_code, answer["error"]["code"]) == (404, "CARD_NOT_FOUND"), sent

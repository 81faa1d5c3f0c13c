"""Jobs that ask services outside: webhooks are signed, the network inside can't be reached, no secret gets out."""

import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg
import msgspec
import pytest
from support.receivers import LOOPBACK, NO_CONTENT, Received, Receiver, receiving, silence
from support.servers import Database
from support.tokens import ENCRYPTION_KEY, OTHER_SECRET

from gateway.identity import Identity
from gateway.services import http_client
from gateway.services.encryption import Encryptor
from gateway.settings import load_settings
from gateway.worker.jobs import JobContext, JobError, PermanentError, RetryLater, Superseded
from gateway.worker.webhooks import (
    NotifyArguments,
    NotifyUserArguments,
    SyncIntegrationArguments,
    notify,
    notify_user,
    sync_integration,
)

KEY: Final = bytes(range(32))
SECRET: Final = f"whsec_{base64.b64encode(KEY).decode()}"
TOKEN: Final = "a-token-that-nobody-else-may-see"
KEY_EXPECTED: Final = "Expected whsec_ and 24 to 64 bytes in base64, as `openssl rand -base64 32` prints."
PATH: Final = "/hook/a-path-that-is-a-secret"
PAYLOAD: Final = {"id": "01", "text": "naïve 🍵", "amount": 1.5}
INSIDE: Final = "Expected a public address."
SIZE: Final = "Expected a URL of at most 2,048 characters."
UUID_V7: Final = UUID("01976bbc-6c00-7abc-8def-0123456789ab")
"""Of 2025-06-14, 00:00:00 UTC."""


class Desk:
    """Gives a user integrations, and does the user's jobs."""

    def __init__(self, database: Database, pool: "asyncpg.Pool[asyncpg.Record]") -> None:
        self.owner = Identity(uuid4(), uuid4())
        self.settings = load_settings({**LOOPBACK, "INTEGRATION_ENCRYPTION_KEY": ENCRYPTION_KEY})
        self._database = database
        self._pool = pool
        self._worker_id = uuid4()

    def integrate(self, **settings: Any) -> UUID:
        """An integration with these settings."""
        integration_id = uuid4()
        encrypted = Encryptor(self.settings).encrypt(self.owner.owner, msgspec.json.encode(settings)).hex()
        owner = f"'{self.owner.tenant_id}', '{self.owner.user_id}'"
        self._database.execute(
            "insert into app.integrations (tenant_id, user_id, id, provider, encrypted_settings, setting_names) "
            f"values ({owner}, '{integration_id}', 'webhook', '\\x{encrypted}', '{{{','.join(settings)}}}')"
        )
        return integration_id

    def sync_of(self, integration_id: UUID) -> tuple[str | None, str | None, bool]:
        """What its owner sees of how asking the service went: status, error, and whether it ever succeeded."""
        text = self._database.execute(
            f"select app.integration_document(integrations) from app.integrations where id = '{integration_id}'"
        )
        shown = json.loads(text)
        return shown["sync_status"], shown["sync_error"], shown["last_synced_at"] is not None

    def context(self, *, job_id: UUID = UUID_V7, user_id: UUID | None = None, attempt: int = 1) -> JobContext:
        user_id = user_id or self.owner.user_id
        return JobContext(
            self.owner.tenant_id, user_id, job_id, attempt, self.settings, self._pool.acquire, self._worker_id
        )

    async def notify(self, integration_id: UUID, **options: Any) -> dict[str, Any]:
        payload = msgspec.Raw(msgspec.json.encode(PAYLOAD))
        return await notify(self.context(**options), NotifyArguments(integration_id, "card.created", payload))

    async def notify_user(self, **arguments: Any) -> tuple[UUID, dict[str, Any]]:
        """Runs a job notify_user. Returns its id and result."""
        job_id = uuid4()
        self._database.execute(
            "insert into app.jobs (tenant_id, user_id, id, worker_id, kind, queue, arguments, status, attempts, "
            f"maximum_attempts) values ('{self.owner.tenant_id}', '{self.owner.user_id}', '{job_id}', "
            f"'{self._worker_id}', 'notify_user', 'default', '{{}}', 'running', 1, 5)"
        )
        given = msgspec.json.decode(msgspec.json.encode(arguments), type=NotifyUserArguments)
        return job_id, await notify_user(self.context(job_id=job_id), given)

    def prefer(self, **preferences: bool) -> None:
        """Changes the user's preferences."""
        named = "".join(f", {name} => {value}" for name, value in preferences.items())
        owner = f"'{self.owner.tenant_id}', '{self.owner.user_id}'"
        self._database.execute(f"select from api.update_preferences({owner}{named})")

    def deliveries(self) -> list[dict[str, Any]]:
        """The arguments of the user's pending jobs notify, in the order of their integrations."""
        text = self._database.execute(
            "select coalesce(jsonb_agg(arguments order by arguments ->> 'integration_id'), '[]') from app.jobs "
            f"where kind = 'notify' and user_id = '{self.owner.user_id}' and status = 'pending'"
        )
        found: list[dict[str, Any]] = json.loads(text)
        return found

    def status(self, job_id: UUID) -> str:
        return self._database.execute(f"select status from app.jobs where id = '{job_id}'")

    async def sync(self, integration_id: UUID, **options: Any) -> dict[str, Any]:
        return await sync_integration(self.context(**options), SyncIntegrationArguments(integration_id))


@pytest.fixture
async def desk(shared_database: Database) -> AsyncIterator[Desk]:
    async with asyncpg.create_pool(shared_database.url("cardbase_worker"), min_size=1, max_size=2) as pool:
        yield Desk(shared_database, pool)


def answering(status: int, *headers: str) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status} Whatever", *headers, "Content-Length: 0", "", "")).encode()


def verified(request: Received) -> Any:
    """The body of a webhook, as a receiver trusts it: by the specification's words, not by our code."""
    message_id, timestamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    assert abs(time.time() - int(timestamp)) < 300
    signed = message_id.encode() + b"." + timestamp.encode() + b"." + request.body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert request.headers["webhook-signature"] == f"v1,{expected}"
    return json.loads(request.body)


async def test_a_webhook_arrives_signed(desk: Desk, receiver: Receiver) -> None:
    integration = desk.integrate(url=receiver.url(f"{PATH}?key=value#part"), secret=SECRET, token=TOKEN)
    result = await desk.notify(integration)
    assert result == {"status": 204, "duration_ms": result["duration_ms"]}
    assert 0 < result["duration_ms"] < 20_000
    [request] = receiver.requests
    assert verified(request) == {"type": "card.created", "timestamp": "2025-06-14T00:00:00Z", "data": PAYLOAD}
    assert request.line == f"POST {PATH}?key=value HTTP/1.1"
    assert (request.headers["webhook-id"], request.headers["content-type"]) == (str(UUID_V7), "application/json")
    assert "authorization" not in request.headers


async def test_another_attempt_is_known_by_its_id(desk: Desk, receiver: Receiver) -> None:
    receiver.answer = answering(500)
    integration = desk.integrate(url=receiver.url(), secret=SECRET)
    with pytest.raises(JobError):
        await desk.notify(integration)
    receiver.answer = NO_CONTENT
    await desk.notify(integration, attempt=2)
    first, second = receiver.requests
    assert (first.headers["webhook-id"], first.body) == (second.headers["webhook-id"], second.body)
    assert verified(first) == verified(second)


async def test_a_payload_arrives_as_it_was_stored(desk: Desk, receiver: Receiver) -> None:
    """Numbers beyond what a float or 64 bits hold, for one."""
    arguments = {"integration_id": str(desk.integrate(url=receiver.url(), secret=SECRET)), "event_type": "a.b"}
    payload = '{"n": 123456789012345678901234567890, "m": 1e400, "x": 1.10}'
    text = json.dumps(arguments)[:-1] + f', "payload": {payload}}}'
    await notify(desk.context(), msgspec.json.decode(text, type=NotifyArguments))
    assert payload.encode() in receiver.requests[0].body


@pytest.mark.parametrize("event_type", ["", ".", "a.", "a b", "x" * 201])
def test_an_event_type_has_the_form_that_is_recommended(event_type: str) -> None:
    with pytest.raises(msgspec.ValidationError, match="event_type"):
        msgspec.convert(
            {"integration_id": uuid4(), "event_type": event_type, "payload": msgspec.Raw(b"1")}, NotifyArguments
        )


@pytest.mark.parametrize(
    ("status", "message"),
    [(status, f"The service answered {status}.") for status in (400, 401, 404, 405, 410, 422)]
    + [
        (status, f"The service answered {status}. Redirects are not followed: give the address itself.")
        for status in (300, 301, 302, 303, 304, 307, 308)
    ],
)
async def test_answers_that_no_other_attempt_would_change(desk: Desk, status: int, message: str) -> None:
    """A redirect to what is inside, or to anywhere, leads nowhere."""
    async with (
        receiving(host="127.0.0.2") as inside,
        receiving(answering(status, f"Location: {inside.url()}")) as outside,
    ):
        with pytest.raises(PermanentError) as failed:
            await desk.notify(desk.integrate(url=outside.url(), secret=SECRET))
        assert str(failed.value) == message
        assert (len(outside.requests), inside.requests) == (1, [])


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_answers_after_which_another_attempt_is_made(desk: Desk, receiver: Receiver, status: int) -> None:
    receiver.answer = answering(status)
    with pytest.raises(JobError, match=f"^The service answered {status}\\.$") as failed:
        await desk.notify(desk.integrate(url=receiver.url(), secret=SECRET))
    assert type(failed.value) is JobError


@pytest.mark.parametrize(
    ("retry_after", "least", "most"),
    [
        ("0", 0, 0),
        ("120", 120, 120),
        ("3601", 3600, 3600),
        ("9" * 400, 3600, 3600),
        (timedelta(seconds=-60), 0, 0),
        (timedelta(seconds=1800), 900, 1800),
        (timedelta(seconds=10**8), 3600, 3600),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_a_service_says_when_to_come_again(
    desk: Desk, receiver: Receiver, retry_after: str | timedelta, least: int, most: int
) -> None:
    if isinstance(retry_after, timedelta):
        retry_after = format_datetime(datetime.now(UTC) + retry_after, usegmt=True)
    receiver.answer = answering(503, f"Retry-After: {retry_after}")
    with pytest.raises(RetryLater, match=r"^The service answered 503\.$") as failed:
        await desk.notify(desk.integrate(url=receiver.url(), secret=SECRET))
    assert least <= failed.value.seconds <= most


@pytest.mark.parametrize("retry_after", ["soon", "-1", "nan", "inf", "1.5", "²", "Fri, 99 Nov 2026 00:00:00 GMT", ""])
async def test_what_a_service_says_without_sense_is_passed_over(
    desk: Desk, receiver: Receiver, retry_after: str
) -> None:
    receiver.answer = answering(503, f"Retry-After: {retry_after}")
    with pytest.raises(JobError) as failed:
        await desk.notify(desk.integrate(url=receiver.url(), secret=SECRET))
    assert type(failed.value) is JobError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"secret": SECRET}, f"The integration's url: {SIZE}"),
        ({"secret": SECRET, "url": "http://[::1]/hook"}, f"The integration's url: {INSIDE}"),
        (
            {"secret": SECRET, "url": "http://localhost/hook"},
            "The integration's url: The host's name has to resolve to public addresses only.",
        ),
        (
            {"url": "https://receiver.example"},
            f"The integration's secret: {KEY_EXPECTED}",
        ),
    ],
    ids=["no url", "url inside", "name inside", "no secret"],
)
async def test_settings_that_lead_nowhere_fail_for_good(desk: Desk, settings: dict[str, str], message: str) -> None:
    desk.settings = load_settings({"INTEGRATION_ENCRYPTION_KEY": ENCRYPTION_KEY})
    with pytest.raises(PermanentError) as failed:
        await desk.notify(desk.integrate(**settings))
    assert str(failed.value) == message


async def test_an_integration_is_its_users_alone(desk: Desk, receiver: Receiver, shared_database: Database) -> None:
    integration = desk.integrate(url=receiver.url(), secret=SECRET)
    with pytest.raises(PermanentError, match=r"^The job's user has no such integration\.$"):
        await desk.notify(integration, user_id=uuid4())
    with pytest.raises(PermanentError, match="no such integration"):
        await desk.sync(integration, user_id=uuid4())
    shared_database.execute(f"update app.integrations set deleted_at = now() where id = '{integration}'")
    with pytest.raises(PermanentError, match="no such integration"):
        await desk.notify(integration)
    assert receiver.requests == []


@pytest.mark.parametrize("key", [None, base64.b64encode(OTHER_SECRET.encode()[:32]).decode()], ids=["none", "another"])
async def test_without_the_key_settings_stay_encrypted(desk: Desk, receiver: Receiver, key: str | None) -> None:
    integration = desk.integrate(url=receiver.url(), secret=SECRET)
    desk.settings = load_settings({"INTEGRATION_ENCRYPTION_KEY": key or "", **LOOPBACK})
    with pytest.raises(PermanentError, match=r"^The settings can't be decrypted: they"):
        await desk.notify(integration)
    assert receiver.requests == []


# --- notifications --------------------------------------------------------------------------------------------------


async def test_a_notification_goes_to_the_integrations_that_want_it(desk: Desk, receiver: Receiver) -> None:
    """On the channels that they want and the user allows, by a webhook each."""
    settings = {"url": receiver.url(), "secret": SECRET}
    both = desk.integrate(**settings, notifications=["email", "push"])
    mail = desk.integrate(**settings, notifications=["email", "email"])
    for unwanted in ([], "push", None, ["fax"], {"push": True}):
        desk.integrate(**settings, notifications=unwanted)
    desk.integrate(**settings)

    def delivery(integration_id: UUID, channels: list[str], **notification: Any) -> dict[str, Any]:
        payload = {"title": "Hi", "body": "", "data": None, **notification, "channels": channels}
        return {"integration_id": str(integration_id), "event_type": "user.notification", "payload": payload}

    job_id, result = await desk.notify_user(title="Hi")
    assert (desk.status(job_id), result) == ("completed", {"deliveries": 2})
    expected = [delivery(both, ["push", "email"]), delivery(mail, ["email"])]
    assert desk.deliveries() == sorted(expected, key=lambda one: str(one["integration_id"]))

    arguments = msgspec.json.encode(delivery(both, ["push"], data=PAYLOAD))
    await notify(desk.context(), msgspec.json.decode(arguments, type=NotifyArguments))
    assert verified(receiver.requests[0])["data"] == {
        "title": "Hi", "body": "", "data": PAYLOAD, "channels": ["push"]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("preferences", "channels"),
    [
        ({}, ["push", "email"]),
        ({"push_notifications": False}, ["email"]),
        ({"email_notifications": False}, ["push"]),
        ({"push_notifications": False, "email_notifications": False}, None),
    ],
    ids=["all", "no push", "no email", "none"],
)
async def test_a_user_decides_about_channels(
    desk: Desk, preferences: dict[str, bool], channels: list[str] | None
) -> None:
    desk.integrate(url="https://receiver.example", secret=SECRET, notifications=["push", "email"])
    desk.prefer(**preferences)
    _, result = await desk.notify_user(title="Hi", body="there", data={"n": 1})
    assert result == {"deliveries": 0 if channels is None else 1}
    assert [one["payload"]["channels"] for one in desk.deliveries()] == ([] if channels is None else [channels])


async def test_a_notification_that_is_repeated_or_cancelled_is_not_delivered_again(desk: Desk) -> None:
    desk.integrate(url="https://receiver.example", secret=SECRET, notifications=["push"])
    job_id, _ = await desk.notify_user(title="Hi")
    with pytest.raises(Superseded):
        await notify_user(desk.context(job_id=job_id), NotifyUserArguments("Hi"))
    assert len(desk.deliveries()) == 1


async def test_a_notification_waits_while_too_many_jobs_are_pending(desk: Desk, shared_database: Database) -> None:
    """It is not delivered to some of the integrations only."""
    for _ in range(2):
        desk.integrate(url="https://receiver.example", secret=SECRET, notifications=["push"])
    set_limit = (
        "insert into deployment.settings (name, value) values ('tenant_pending_jobs', '{}')"
        " on conflict (name) do update set value = excluded.value"
    )
    shared_database.execute(set_limit.format(1))
    try:
        with pytest.raises(RetryLater, match=r"^Too many jobs of the tenant are pending\.$"):
            await desk.notify_user(title="Hi")
    finally:
        shared_database.execute(set_limit.format(10000))
    assert desk.deliveries() == []


async def test_an_integration_that_can_t_be_decrypted_holds_no_other_up(desk: Desk, shared_database: Database) -> None:
    """Its own delivery is enqueued, and will say why it fails."""
    broken, sound = (
        desk.integrate(url="https://receiver.example", secret=SECRET, notifications=["push"]) for _ in range(2)
    )
    shared_database.execute(f"update app.integrations set encrypted_settings = '\\x01' where id = '{broken}'")
    await desk.notify_user(title="Hi")
    assert {one["integration_id"]: one["payload"]["channels"] for one in desk.deliveries()} == {
        str(broken): ["push", "email"],
        str(sound): ["push"],
    }
    with pytest.raises(PermanentError, match="can't be decrypted"):
        await desk.notify(broken)


async def test_a_notification_that_is_too_long_to_deliver_fails_for_good(desk: Desk) -> None:
    desk.integrate(url="https://receiver.example", secret=SECRET, notifications=["push"])
    with pytest.raises(PermanentError, match=r"^The notification can't be delivered: the arguments are too long\.$"):
        await desk.notify_user(title="Hi", data="x" * 65_400)


async def test_a_notification_is_for_a_user(desk: Desk) -> None:
    context = desk.context()
    context.user_id = None
    with pytest.raises(PermanentError, match="the job is no user's"):
        await notify_user(context, NotifyUserArguments("Hi"))


# --- services ---------------------------------------------------------------------------------------------------------


async def test_a_service_that_is_there_is_shown_so(desk: Desk, receiver: Receiver) -> None:
    integration = desk.integrate(url=receiver.url(PATH), token=TOKEN)
    assert desk.sync_of(integration) == (None, None, False)
    assert (await desk.sync(integration))["status"] == 204
    [request] = receiver.requests
    assert (request.line, request.body) == (f"GET {PATH} HTTP/1.1", b"")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert desk.sync_of(integration) == ("succeeded", None, True)

    receiver.answer = answering(401)
    with pytest.raises(PermanentError):
        await desk.sync(integration)
    assert desk.sync_of(integration) == ("failed", "The service answered 401.", True)
    receiver.answer = answering(429, "Retry-After: 7")
    with pytest.raises(RetryLater):
        await desk.sync(integration)
    assert desk.sync_of(integration) == ("failed", "The service answered 429.", True)
    receiver.answer = answering(200)
    await desk.sync(integration)
    assert desk.sync_of(integration) == ("succeeded", None, True)


async def test_a_service_without_a_token_is_asked_without(desk: Desk, receiver: Receiver) -> None:
    await desk.sync(desk.integrate(url=receiver.url()))
    assert "authorization" not in receiver.requests[0].headers


@pytest.mark.parametrize("token", [f"{TOKEN}\r\nX-Other: 1", "", " ", "ü", 5, ["a"], "x" * 8193])
async def test_what_is_no_token_is_not_sent(desk: Desk, receiver: Receiver, token: Any) -> None:
    integration = desk.integrate(url=receiver.url(), token=token)
    with pytest.raises(PermanentError) as failed:
        await desk.sync(integration)
    assert str(failed.value) == "The integration's token: Expected up to 8,192 printable ASCII characters."
    assert desk.sync_of(integration) == ("failed", str(failed.value), False)
    assert receiver.requests == []


@pytest.mark.parametrize(
    "answer",
    [NO_CONTENT, answering(302, "Location: http://127.0.0.1/"), answering(404), answering(503), b"no HTTP", silence],
    ids=["success", "redirect", "refusal", "failure", "no HTTP", "silence"],
)
async def test_secrets_are_in_no_log_result_or_error(
    desk: Desk, answer: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither are the address, nor what the service answered."""
    monkeypatch.setattr(http_client, "TOTAL_SECONDS", 0.5)
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpcore").setLevel(logging.CRITICAL)  # as gateway.logs does
    said: list[str] = []
    async with receiving(answer) as receiver:
        integration = desk.integrate(url=receiver.url(PATH), secret=SECRET, token=TOKEN)
        for job in (desk.notify, desk.sync):
            try:
                said.append(repr(await job(integration)))
            except JobError as error:
                said += [repr(error), *map(repr, _causes(error))]
        said += [repr(desk.sync_of(integration)), caplog.text]
        assert len(receiver.requests) == 2
    text = "\n".join(said)
    assert [secret for secret in (SECRET[6:], TOKEN, PATH, "Whatever", "Location") if secret in text] == []


def _causes(error: BaseException) -> Iterator[BaseException]:
    """What a log would show behind an exception."""
    while (cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        yield cause
        error = cause

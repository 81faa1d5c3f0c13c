"""The kinds of jobs that send requests to services outside, which a user's integrations lead to.

Of an integration's settings they use four: url, the address; secret, which webhooks are signed with; token, the bearer
token of a request that checks whether the service is there; notifications, the channels of the user's notifications
that it wants. None of them, and nothing of the service's response but its status, is in a result, an error or the log.
"""

import re
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Final
from uuid import UUID

import asyncpg
import msgspec
from msgspec import Meta

from gateway.errors import ApiError
from gateway.identity import Identity
from gateway.services.encryption import Encryptor
from gateway.services.http_client import AddressRefused, HttpClient, SendFailed
from gateway.services.webhook_signature import sign, signing_key
from gateway.worker.jobs import JobContext, JobError, PermanentError, RetryLater

RETRIED: Final = (408, 425, 429)
"""Of the statuses from 400 to 499 those that may be others another time: timeout, too early, too many."""
MAXIMUM_RETRY_SECONDS: Final = 3600.0
"""Of a Retry-After."""
NOTIFICATION: Final = "user.notification"
"""The type of the event that a receiver of notifications gets."""
FULL_SECONDS: Final = 60.0
"""The pause before another attempt while too many jobs of the tenant are pending."""


class NotifyArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An event, and the integration that leads to the receiver of webhooks."""

    integration_id: UUID
    event_type: Annotated[str, Meta(max_length=200, pattern=r"^\w+(\.\w+)*$")]
    payload: msgspec.Raw


class NotifyUserArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A notification: a line, a text, and whatever an app needs to show it."""

    title: Annotated[str, Meta(min_length=1, max_length=200)]
    body: Annotated[str, Meta(max_length=4000)] = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


class SyncIntegrationArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The integration whose service is checked."""

    integration_id: UUID


async def notify(context: JobContext, arguments: NotifyArguments) -> dict[str, Any]:
    """Delivers a webhook, signed as Standard Webhooks 1.0.0 says: at least once, in no order, its id always the job's.

    The body is {"type", "timestamp", "data"}; the timestamp, of the event, is the one in the job's id. Returns
    {"status", "duration_ms"}. Raises JobError.
    """
    settings = await _open(context, arguments.integration_id)
    try:
        key = signing_key(settings.get("secret"))
    except ValueError as error:
        raise PermanentError(f"The integration's secret: {error}") from None
    occurred = datetime.fromtimestamp((context.job_id.int >> 80) / 1000, UTC)  # RFC 9562, section 5.7
    body = msgspec.json.encode({"type": arguments.event_type, "timestamp": occurred, "data": arguments.payload})
    headers = {"Content-Type": "application/json"} | sign(key, str(context.job_id), int(time.time()), body)
    return await _ask(context, settings, "POST", headers, body)


async def notify_user(context: JobContext, arguments: NotifyUserArguments) -> dict[str, Any]:
    """Notifies a user by the integrations that want it, on the channels that the user's preferences allow.

    For each such integration it enqueues one job notify, exactly once, as it is completed. The event's data is
    {"title", "body", "data", "channels"}: channels, of push and email, are those that the integration wants and the
    user allows when the job runs. Returns {"deliveries": how many}. Raises JobError; then nobody is notified.
    """
    if context.user_id is None:
        raise PermanentError("A notification is for a user, and the job is no user's.")
    found = await context.fetch(
        "select id, channels from app.find_notified_integrations($1, $2)",
        *(context.tenant_id, context.user_id),
    )
    notification = msgspec.structs.asdict(arguments)
    deliveries = [
        {
            "integration_id": integration["id"],
            "event_type": NOTIFICATION,
            "payload": {**notification, "channels": channels},
        }
        for integration in found
        if (channels := await _wanted(context, integration["id"], integration["channels"]))
    ]
    result = {"deliveries": len(deliveries)}
    try:
        async with context.completing(result) as connection:
            await connection.execute(
                "select app.enqueue_notifications($1, $2, $3)",
                *(context.tenant_id, context.user_id, msgspec.json.encode(deliveries).decode()),
            )
    except asyncpg.PostgresError as error:
        if error.sqlstate == "PT429":
            raise RetryLater("Too many jobs of the tenant are pending.", FULL_SECONDS) from None
        if error.sqlstate == "PT422":
            raise PermanentError(f"The notification can't be delivered: {error.args[0]}.") from None
        raise
    return result


async def sync_integration(context: JobContext, arguments: SyncIntegrationArguments) -> dict[str, Any]:
    """Checks whether an integration's service is there, with a GET; the integration shows what the last check found.

    It transfers no data, and may be repeated at any time. Returns {"status", "duration_ms"}. Raises JobError.
    """
    settings = await _open(context, arguments.integration_id)
    try:
        found = await _ask(context, settings, "GET", _authorization(settings.get("token")))
    except JobError as error:
        await _record(context, arguments.integration_id, str(error))
        raise
    await _record(context, arguments.integration_id, None)
    return found


async def _wanted(context: JobContext, integration_id: UUID, allowed: Sequence[str]) -> list[str]:
    """The channels that an integration wants, of those that are allowed."""
    try:
        wanted = (await _open(context, integration_id)).get("notifications")
    except PermanentError:
        # Its own delivery fails for that reason, and says so; the others are not held up.
        return list(allowed)
    return [channel for channel in allowed if isinstance(wanted, list) and channel in wanted]


async def _open(context: JobContext, integration_id: UUID) -> dict[str, Any]:
    """The settings of an integration of the job's user. Raises PermanentError."""
    rows = await context.fetch(
        "select app.get_encrypted_settings($1, $2, $3)", context.tenant_id, context.user_id, integration_id
    )
    encrypted: bytes | None = rows[0][0]
    if encrypted is None:
        raise PermanentError("The job's user has no such integration.")
    try:
        opened = Encryptor(context.settings).decrypt(Identity(context.tenant_id, context.user_id).owner, encrypted)
    except (ApiError, ValueError):
        raise PermanentError("The settings can't be decrypted: they were encrypted with another key.") from None
    return msgspec.json.decode(opened, type=dict[str, Any])


async def _record(context: JobContext, integration_id: UUID, error: str | None) -> None:
    await context.fetch(
        "select app.record_sync($1, $2, $3, $4)", context.tenant_id, context.user_id, integration_id, error
    )


async def _ask(
    context: JobContext,
    settings: Mapping[str, Any],
    method: str,
    headers: Mapping[str, str],
    content: bytes | None = None,
) -> dict[str, Any]:
    try:
        answer = await HttpClient(context.settings).send(method, settings.get("url"), headers, content)
    except AddressRefused as error:
        raise PermanentError(f"The integration's url: {error}") from None
    except SendFailed as error:
        raise JobError(str(error)) from None
    if 200 <= answer.status < 300:
        return {"status": answer.status, "duration_ms": answer.duration_ms}
    reason = f"The service answered {answer.status}."
    if 300 <= answer.status < 400:
        raise PermanentError(f"{reason} Redirects are not followed: give the address itself.")
    if 400 <= answer.status < 500 and answer.status not in RETRIED:
        raise PermanentError(reason)
    seconds = _seconds(answer.retry_after)
    raise JobError(reason) if seconds is None else RetryLater(reason, seconds)


def _authorization(token: object) -> dict[str, str]:
    """The header with a bearer token, where there is one. Raises PermanentError."""
    if token is None:
        return {}
    if not isinstance(token, str) or not re.fullmatch(r"[\x21-\x7e]{1,8192}", token):
        raise PermanentError("The integration's token: Expected up to 8,192 printable ASCII characters.")
    return {"Authorization": f"Bearer {token}"}


def _seconds(text: str | None) -> float | None:
    """How long to wait by a Retry-After, seconds or a date (RFC 9110, section 10.2.3); None: it doesn't say."""
    if text is None:
        return None
    try:
        seconds = float(text) if text.isdecimal() else parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(seconds, 0.0), MAXIMUM_RETRY_SECONDS)

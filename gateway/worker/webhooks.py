"""The kinds of jobs that ask a service outside, which a user's integration leads to.

Of an integration's settings they use three: url, the address; secret, which webhooks are signed with; token, which is
sent as a bearer token where the service is asked whether it is there. None of them, and nothing of what the service
answers but its status, is in a result, an error or the log.
"""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Final
from uuid import UUID

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


class NotifyArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a receiver of webhooks is to be told, and which integration leads to it."""

    integration_id: UUID
    event_type: Annotated[str, Meta(max_length=200, pattern=r"^\w+(\.\w+)*$")]
    payload: msgspec.Raw


class SyncIntegrationArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The integration whose service is to be asked."""

    integration_id: UUID


async def notify(context: JobContext, arguments: NotifyArguments) -> dict[str, Any]:
    """Delivers a webhook, signed as Standard Webhooks 1.0.0 says, at least once: its id is the job's, each time.

    The body is {"type", "timestamp", "data"}; the timestamp, of the event, is the one in the job's id. Answers
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


async def sync_integration(context: JobContext, arguments: SyncIntegrationArguments) -> dict[str, Any]:
    """Asks an integration's service whether it is there; what it found is shown with the integration.

    Answers {"status", "duration_ms"}. Raises JobError.
    """
    settings = await _open(context, arguments.integration_id)
    try:
        found = await _ask(context, settings, "GET", _authorization(settings.get("token")))
    except JobError as error:
        await _record(context, arguments.integration_id, str(error))
        raise
    await _record(context, arguments.integration_id, None)
    return found


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

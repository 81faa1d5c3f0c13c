"""Signatures of webhooks, by the Standard Webhooks specification, version 1.0.0.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hmac
from typing import Final

PREFIX: Final = "whsec_"
KEY_BYTES: Final = range(24, 65)


def signing_key(secret: object) -> bytes:
    """Decodes a secret: 24 to 64 bytes in base64, with or without the prefix whsec_.

    Raises ValueError, which doesn't quote the secret.
    """
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX) if isinstance(secret, str) else "", validate=True)
    except ValueError:  # binascii.Error, or the secret is not ASCII
        key = b""
    if len(key) not in KEY_BYTES:
        raise ValueError("Expected whsec_ and 24 to 64 bytes in base64, as `openssl rand -base64 32` prints.")
    return key


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers that prove who sent a webhook.

    message_id  the same for each attempt, so that the receiver can recognize retries; contains no full stop
    timestamp   of the attempt, in seconds since 1970
    """
    signature = hmac.digest(key, b"%b.%d.%b" % (message_id.encode(), timestamp, body), "sha256")
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
    }

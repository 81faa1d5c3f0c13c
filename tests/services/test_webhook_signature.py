"""Signatures of webhooks, according to Standard Webhooks."""

import base64
import re
from typing import Any, Final

import pytest

from gateway.services.webhook_signature import sign, signing_key

KEY_EXPECTED: Final = "Expected whsec_ and 24 to 64 bytes in base64, as `openssl rand -base64 32` prints."


def test_a_signature_is_that_of_the_standards_libraries() -> None:
    """The example in the tests of the official libraries."""
    assert sign(
        signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        b'{"test": 2432232314}',
    ) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("size", [24, 32, 64])
def test_a_key_is_24_to_64_bytes(size: int) -> None:
    text = base64.b64encode(bytes(size)).decode()
    assert signing_key(text) == signing_key(f"whsec_{text}") == bytes(size)


@pytest.mark.parametrize(
    "secret", [None, 5, "", "whsec_", "hunter2", "whsec_" + "A" * 31, "ü" * 32, "A" * 28, "A" * 92]
)
def test_an_invalid_key_is_refused_and_not_repeated(secret: Any) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(KEY_EXPECTED)}$"):
        signing_key(secret)

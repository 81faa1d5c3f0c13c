"""Encryption for one owner, and its key."""

from uuid import UUID

import pytest
from support.tokens import ENCRYPTION_KEY

from gateway.errors import ApiError
from gateway.identity import Identity
from gateway.services.encryption import Encryptor
from gateway.settings import SettingsError, load_settings


@pytest.mark.parametrize("owner", [Identity(UUID(int=1), UUID(int=3)), Identity(UUID(int=3), UUID(int=2))])
def test_only_the_owner_can_decrypt(owner: Identity) -> None:
    encryptor = Encryptor(load_settings({"INTEGRATION_ENCRYPTION_KEY": ENCRYPTION_KEY}))
    encrypted = encryptor.encrypt(Identity(UUID(int=1), UUID(int=2)).owner, b"secret")
    assert encryptor.decrypt(Identity(UUID(int=1), UUID(int=2)).owner, encrypted) == b"secret"
    assert encryptor.encrypt(Identity(UUID(int=1), UUID(int=2)).owner, b"secret") != encrypted
    for wrong in (encrypted[:-1], encrypted[:-1] + bytes([encrypted[-1] ^ 1]), b"\x02" + encrypted[1:], b""):
        with pytest.raises(ValueError, match="encrypted"):
            encryptor.decrypt(Identity(UUID(int=1), UUID(int=2)).owner, wrong)
    with pytest.raises(ValueError, match="for another owner"):
        encryptor.decrypt(owner.owner, encrypted)


@pytest.mark.parametrize("key", ["short", "x" * 44, "VGhlc2UgYXJlIHRoaXJ0eS10d28gYnl0ZXMgb2Yga2VlZQ=="])
def test_an_invalid_key_stops_the_start(key: str) -> None:
    with pytest.raises(SettingsError, match=r"^INTEGRATION_ENCRYPTION_KEY must be 32 bytes in base64") as caught:
        Encryptor(load_settings({"INTEGRATION_ENCRYPTION_KEY": key}))
    assert key not in str(caught.value)


def test_without_a_key_nothing_is_encrypted() -> None:
    with pytest.raises(ApiError) as caught:
        Encryptor(load_settings({})).encrypt(Identity(UUID(int=1), UUID(int=2)).owner, b"secret")
    assert caught.value.code == "ENCRYPTION_NOT_CONFIGURED"

"""Keys and bearer tokens for tests."""

import json
import time
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from uuid import UUID, uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

SECRET: Final = "a secret that only the tests know and the gateway that they put to the test"
ENCRYPTION_KEY: Final = "VGhlc2UgYXJlIHRoaXJ0eS10d28gYnl0ZXMgb2Yga2U="
OTHER_SECRET: Final = "another secret, the one of somebody who would very much like to be let in"


@dataclass(frozen=True)
class KeyPair:
    """A key pair, both keys in PEM."""

    private: str
    public: str

    def jwk(self, algorithm: str, **more: Any) -> dict[str, Any]:
        """The public key as a JSON Web Key."""
        made = jwt.get_algorithm_by_name(algorithm)
        found: dict[str, Any] = made.to_jwk(made.prepare_key(self.public), as_dict=True)
        return found | more


@cache
def key_pair(algorithm: str, number: int = 0, bits: int = 2048) -> KeyPair:
    """A key pair for an algorithm; each number has a different pair."""
    key: Any
    if algorithm == "RS256":
        key = rsa.generate_private_key(65537, bits)
    elif algorithm == "ES256":
        key = ec.generate_private_key(ec.SECP256R1())
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    return KeyPair(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    )


def token(
    tenant_id: Any = ...,
    *,
    key: str = SECRET,
    algorithm: str = "HS256",
    seconds: int = 86_400,
    headers: dict[str, Any] | None = None,
    **claims: Any,
) -> str:
    """A token of a tenant, by default a new one, valid for some seconds. A claim that is None is left out."""
    tenant = uuid4() if tenant_id is ... else tenant_id
    tenant = str(tenant) if isinstance(tenant, UUID) else tenant
    body = {"tenant_id": tenant, "exp": int(time.time()) + seconds} | claims
    return jwt.encode({name: value for name, value in body.items() if value is not None}, key, algorithm, headers)


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """A hand-made token, with any signature."""
    parts = (json.dumps(header).encode(), json.dumps(claims).encode(), signature)
    return b".".join(map(jwt.utils.base64url_encode, parts)).decode()


def bearer(text: str) -> dict[str, str]:
    """The header that carries a token."""
    return {"Authorization": f"Bearer {text}"}

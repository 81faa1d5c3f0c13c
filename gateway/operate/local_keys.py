"""Keys for a developer's machine, so that people can sign in to what `cardbase serve` starts there.

They are made once and stored next to the embedded database, readable only by its owner. If a key is set, the database
is another one, or ENVIRONMENT is not development, the operator chooses the keys, and none is made.
"""

import json
import secrets
from base64 import b64encode
from typing import Final

from gateway.settings import Settings

FILE: Final = "keys.json"
KEY_BYTES: Final = 32


def own_keys(settings: Settings, *, make: bool) -> dict[str, str]:
    """The environment variables to add. make: whether keys are made if there are none yet.

    The tenant header is accepted as well as tokens, unless TRUST_TENANT_HEADER says otherwise.
    """
    if settings.database_url is not None or settings.environment != "development":
        return {}
    file = settings.data_folder / FILE
    if make and not file.exists():
        keys = {
            "JWT_SECRET_KEY": secrets.token_hex(KEY_BYTES),
            "INTEGRATION_ENCRYPTION_KEY": b64encode(secrets.token_bytes(KEY_BYTES)).decode(),
        }
        file.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        written = file.with_suffix(".new")
        written.touch(mode=0o600)
        written.write_text(json.dumps(keys), encoding="utf-8")
        written.rename(file)  # all of it or none of it
    if not file.exists():
        return {}
    keys = json.loads(file.read_text(encoding="utf-8"))
    added: dict[str, str] = {}
    if not settings.verifies_tokens and settings.jwt_algorithm == "HS256":
        added["JWT_SECRET_KEY"] = keys["JWT_SECRET_KEY"]
        if settings.trust_tenant_header is None:
            added["TRUST_TENANT_HEADER"] = "true"
    if settings.integration_encryption_key is None:
        added["INTEGRATION_ENCRYPTION_KEY"] = keys["INTEGRATION_ENCRYPTION_KEY"]
    return added

"""The gateway does what its OpenAPI document says, for requests that nobody thought of."""

import base64
import subprocess
import sys
from pathlib import Path
from typing import Final
from uuid import uuid4

from support import tokens
from support.gateways import running_gateway
from support.servers import Database, clean_environment

CONFIGURATION: Final = Path(__file__).with_name("schemathesis.toml")
SECONDS: Final = 240


def test_the_gateway_keeps_to_its_document(database: Database, tmp_path: Path) -> None:
    """All checks: no 5xx, no status or shape that is not documented, bad requests refused and good ones taken."""
    variables = {
        "DATABASE_URL": database.url("cardbase_gateway"),
        "JWT_SECRET_KEY": tokens.SECRET,
        "INTEGRATION_ENCRYPTION_KEY": base64.b64encode(bytes(32)).decode(),
    }
    with running_gateway(tmp_path / "gateway", variables) as gateway:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "schemathesis.cli", "--config-file", CONFIGURATION, "run"),
                *("--header", f"Authorization: Bearer {tokens.token(sub=str(uuid4()))}"),
                *("--checks", "all", f"{gateway.address}/openapi.json"),
            ],
            cwd=tmp_path,
            env={**clean_environment(), "SCHEMATHESIS_HOOKS": str(CONFIGURATION.with_name("hooks.py"))},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr

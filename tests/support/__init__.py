"""What tests use: servers, gateways, tokens, and other helpers."""

from pathlib import Path
from typing import Final

REPOSITORY: Final = Path(__file__).parents[2]

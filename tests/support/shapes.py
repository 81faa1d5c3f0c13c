"""Values of which a test knows the form only: each equals every value of its form."""

import re
from typing import Any, Final


class Like:
    """Equal to every string that a pattern matches as a whole."""

    def __init__(self, name: str, pattern: str) -> None:
        self._name = name
        self._pattern = re.compile(pattern)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and self._pattern.fullmatch(other) is not None

    def __hash__(self) -> int:
        return hash(self._pattern)

    def __repr__(self) -> str:
        return f"<{self._name}>"


UUID: Final = Like("uuid", r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}")
UUID_V7: Final = Like("uuid, version 7", r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
TIME: Final = Like("RFC 3339", r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
HASH: Final = Like("SHA-256", "[0-9a-f]{64}")
SECONDS: Final = Like("seconds", r"\d+\.\d+")
MADE_UP_ID: Final = Like("id", "[0-9a-f]{32}")


def card(**fields: Any) -> dict[str, Any]:
    """A card that was never used, with the fields that matter to a test."""
    return {
        "card_id": UUID_V7,
        "card_type": "company",
        "content": {},
        "content_hash": HASH,
        "source_session_id": None,
        "created_by": "api",
        "created_at": TIME,
        "updated_at": TIME,
        "is_active": True,
        "deleted_at": None,
        "usage_count": 0,
        "last_used_at": None,
    } | fields


def api_error(code: str, message: Any, *details: tuple[str, Any], request_id: Any = MADE_UP_ID) -> dict[str, Any]:
    """The body of an error. details: a field's path, and its message."""
    said = [{"field": field, "message": text} for field, text in details]
    return {
        "success": False,
        "error": {"code": code, "message": message, "details": said, "request_id": request_id},
    }

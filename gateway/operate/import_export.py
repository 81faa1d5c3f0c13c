"""`cardbase import` and `cardbase export`: files of JSON lines, each a body for POST /api/v1/cards/batch."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

CONCURRENCY: Final = 16
ATTEMPTS: Final = 5
PAGE_BYTES: Final = 1_000_000
"""How much an export reads at a time, and writes on one line, roughly."""
FIRST_PAGE: Final = 20
"""Cards on the first page, whose size is not known yet."""
LONGEST_PAGE: Final = 1000


class Summary(msgspec.Struct):
    """The result of an import. failed: the number (from 1) of each line that failed, and why."""

    created: int = 0
    existing: int = 0
    failed: list[tuple[int, str]] = msgspec.field(default_factory=list)


class _ExportedCard(msgspec.Struct, omit_defaults=True):
    """The part of a card that a batch request may contain."""

    card_type: str
    content: msgspec.Raw
    created_by: str
    source_session_id: str | None = None


class _ExportedPage(msgspec.Struct):
    cards: list[_ExportedCard]
    next_cursor: str | None


class _Counts(msgspec.Struct):
    created_count: int
    existing_count: int


def idempotency_key(line: bytes) -> str:
    """The key for a line: the same line is the same request, in every run."""
    return f"import-{hashlib.sha256(line).hexdigest()}"


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file that are not blank, with their numbers from 1."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line := line.strip():
                yield number, line


async def import_lines(
    lines: Iterable[tuple[int, bytes]], *, url: str, headers: dict[str, str], advance: Callable[[], None]
) -> Summary:
    """Sends lines to a gateway, several at a time, each with its `idempotency_key`: a second run creates nothing.

    Reads lines only when it sends them. A line that fails is listed in the summary, and the others continue.
    """
    summary = Summary()
    source = iter(lines)
    limits = httpx.Limits(max_connections=CONCURRENCY)
    async with httpx.AsyncClient(base_url=url, headers=headers, limits=limits, timeout=60) as client:

        async def work() -> None:
            for number, line in source:
                try:
                    counts = await _send(client, line)
                    summary.created += counts.created_count
                    summary.existing += counts.existing_count
                except (httpx.HTTPError, ValueError, msgspec.DecodeError) as error:
                    summary.failed.append((number, str(error) or type(error).__name__))
                advance()

        await asyncio.gather(*(work() for _ in range(CONCURRENCY)))
    summary.failed.sort()
    return summary


async def export_lines(*, url: str, headers: dict[str, str], card_type: str | None) -> AsyncIterator[bytes]:
    """A tenant's active cards, newest first, as the lines of a file.

    One page at a time is in memory; its length depends on the size of the cards. Raises ValueError if the gateway
    refuses a request.
    """
    filters = {} if card_type is None else {"card_type": card_type}
    cursor: str | None = None
    limit = FIRST_PAGE
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as client:
        while True:
            parameters = filters | {"limit": str(limit)} | ({} if cursor is None else {"cursor": cursor})
            response = await _request(client, "GET", "/api/v1/cards", params=parameters)
            page = msgspec.json.decode(response.content, type=_ExportedPage)
            if page.cards:
                yield msgspec.json.encode({"cards": page.cards}) + b"\n"
                bytes_per_card = len(response.content) // len(page.cards)
                limit = max(1, min(LONGEST_PAGE, PAGE_BYTES // bytes_per_card))
            cursor = page.next_cursor
            if cursor is None:
                return


async def _send(client: httpx.AsyncClient, line: bytes) -> _Counts:
    """Sends one line. Raises ValueError if it is refused."""
    headers = {"Idempotency-Key": idempotency_key(line), "Content-Type": "application/json"}
    response = await _request(client, "POST", "/api/v1/cards/batch", content=line, headers=headers)
    counts = msgspec.json.decode(response.content, type=_Counts)
    # A replay repeats the response to the first request: this run created none of its cards.
    if response.headers.get("x-idempotency-cache") == "HIT":
        return _Counts(0, counts.created_count + counts.existing_count)
    return counts


async def _request(client: httpx.AsyncClient, method: str, path: str, **arguments: Any) -> httpx.Response:
    """Sends a repeatable request, and retries it while the gateway is busy. Raises ValueError if it is refused."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            response = await client.request(method, path, **arguments)
        except httpx.TransportError:
            if attempt == ATTEMPTS:
                raise
        else:
            if response.is_success:
                return response
            if "retry-after" not in response.headers or attempt == ATTEMPTS:
                raise ValueError(_reason(response))
        await asyncio.sleep(0.2 * 2**attempt)
    raise AssertionError("unreachable")


def _reason(response: httpx.Response) -> str:
    try:
        error = response.json()["error"]
        where = "; ".join(f"{detail['field']}: {detail['message']}" for detail in error["details"])
        return f"{error['code']}: {where or error['message']}"
    except (ValueError, KeyError, TypeError):
        return f"HTTP {response.status_code}"

"""A call as SQL text, and its reply: what the table of routes and the database room have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

BATCH_TIMEOUT_SECONDS: Final = 0.25
"""A batched statement that waits longer for a lock, or only reads and takes longer, holds a slow call: each call then
runs alone."""


class Reply(NamedTuple):
    """The answer of a product function, api.reply. headers, body and measures are JSON as the database wrote it.

    snapshot: the transactions whose effects it shows, where the statement selects that.
    """

    status: int
    headers: bytes | None
    body: bytes | None
    measures: bytes | None
    snapshot: str | None = None


class BatchPolicy(NamedTuple):
    """How calls of one kind are batched; calls that arrive while statements run make up the next one.

    statements   that run at once: the more, the fewer calls each carries, and the more all of them cost
    calls        in one statement, at most
    """

    statements: int
    calls: int


LIGHT_BATCH: Final = BatchPolicy(statements=1, calls=64)
HEAVY_BATCH: Final = BatchPolicy(statements=2, calls=32)
"""For calls that cost the database more than the gateway."""


@dataclass(frozen=True, eq=False)
class CallStatement:
    """The SQL text of one kind of call, and of many such calls at once where they may be batched.

    batched_sql     takes an array for each of sql's parameters and selects each call's position (from 1) before its
                    reply. It must not wait for a lock longer than BATCH_TIMEOUT_SECONDS. None: calls are not batched
    array_columns   parameters (from 0) that are arrays themselves: in a batch they travel as text, since arrays of
                    arrays have to be rectangular
    is_read_only    whether it may run twice unnoticed
    is_search       whether it is slow, so that only a few may run at once
    """

    sql: str
    batched_sql: str | None = None
    array_columns: Sequence[int] = ()
    batch_policy: BatchPolicy = LIGHT_BATCH
    is_read_only: bool = False
    is_search: bool = False

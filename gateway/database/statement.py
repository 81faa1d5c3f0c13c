"""A call as SQL text, and its reply: what the route table and the database room share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

BATCH_TIMEOUT_SECONDS: Final = 0.25
"""A batched statement that waits longer for a lock, or only reads and takes longer, has a slow call in it: its calls
then run alone."""


class Reply(NamedTuple):
    """What a product function returns, api.reply. headers, body and measures are JSON as the database wrote it.

    snapshot: the transactions whose effects it shows, where the statement selects that
    """

    status: int
    headers: bytes | None
    body: bytes | None
    measures: bytes | None
    snapshot: str | None = None


class BatchPolicy(NamedTuple):
    """How calls of one kind are batched; calls that arrive while statements run make up the next one.

    statements   running at once: the more, the fewer calls each carries, and the more all of them cost
    calls        at most, in one statement
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
    array_columns   parameters (from 0) that are arrays themselves: in a batch they are passed as text, because arrays
                    of arrays must be rectangular
    is_read_only    whether it may safely run twice
    is_search       whether it is slow, so that only a few may run at once
    """

    sql: str
    batched_sql: str | None = None
    array_columns: Sequence[int] = ()
    batch_policy: BatchPolicy = LIGHT_BATCH
    is_read_only: bool = False
    is_search: bool = False

"""Background jobs."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from gateway.schemas.cards import Time
from gateway.schemas.resources import NO_NUL

JobStatus = Literal["pending", "running", "completed", "failed"]
KindName = Annotated[str, Meta(min_length=1, max_length=100, pattern=NO_NUL, description="What is to be done.")]
QueueName = Annotated[
    Literal["high", "default", "low"], Meta(description="Workers take jobs from the highest that has some.")
]
MaximumAttempts = Annotated[int, Meta(ge=1, le=20, description="So often it is tried until it counts as failed.")]


class Job(msgspec.Struct):
    """What is done in the background, and what became of it."""

    id: UUID
    kind: KindName
    queue: QueueName
    status: JobStatus
    result: Annotated[dict[str, Any] | None, Meta(description="What the job answered, once it is completed.")]
    error: Annotated[str | None, Meta(description="Why the last attempt failed; cancelled, where it was.")]
    attempts: Annotated[int, Meta(ge=0)]
    maximum_attempts: MaximumAttempts
    created_at: Time
    started_at: Annotated[Time | None, Meta(description="When the last attempt began.")]
    completed_at: Annotated[Time | None, Meta(description="When it was completed, or failed for good.")]


class EnqueuedJob(msgspec.Struct):
    """A job that will be done."""

    job_id: UUID
    status: Literal["queued"]


class EnqueueJob(msgspec.Struct):
    """What is to be done in the background."""

    kind: KindName
    arguments: (
        Annotated[
            Raw,
            Meta(
                description="A JSON object; what has to be in it is up to the kind.",
                extra_json_schema={"type": "object", "additionalProperties": True},
            ),
        ]
        | UnsetType
    ) = UNSET
    queue: QueueName | UnsetType = UNSET
    run_after: Annotated[Time, Meta(description="Not before this time.")] | UnsetType = UNSET
    maximum_attempts: MaximumAttempts | UnsetType = UNSET


class EnqueueTestJob(msgspec.Struct):
    """A job that does nothing, to see whether jobs are done."""

    message: Annotated[str, Meta(max_length=1000, pattern=NO_NUL, description="What its result says.")] | UnsetType = (
        UNSET
    )
    seconds: Annotated[float, Meta(ge=0, le=3600, description="How long it takes.")] | UnsetType = UNSET
    fail: Annotated[bool, Meta(description="Whether each attempt fails.")] | UnsetType = UNSET


class ListJobs(msgspec.Struct):
    """Filter of a list of jobs, and how many."""

    status: JobStatus | None = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="Jobs at most.")] = 20

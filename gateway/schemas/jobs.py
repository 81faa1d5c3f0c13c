"""Background jobs."""

from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from gateway.schemas.cards import Time
from gateway.schemas.resources import NO_NUL

JobStatus = Literal["pending", "running", "completed", "failed"]
KindName = Annotated[str, Meta(min_length=1, max_length=100, pattern=NO_NUL, description="What the job does.")]
QueueName = Annotated[
    Literal["high", "default", "low"], Meta(description="Of a tenant's jobs those of the highest queue run first.")
]
RequestedQueue = Annotated[
    Literal["high", "default", "low", "high_priority", "low_priority"],
    Meta(description="high_priority and low_priority are other names of high and low; high is for trusted services."),
]
MaximumAttempts = Annotated[int, Meta(ge=1, le=20, description="Attempts before the job counts as failed.")]


class Job(msgspec.Struct):
    """A background job and its outcome."""

    id: UUID
    kind: KindName
    queue: QueueName
    status: JobStatus
    result: Annotated[dict[str, Any] | None, Meta(description="The job's result, once it is completed.")]
    error: Annotated[str | None, Meta(description="Why the last attempt failed; `cancelled` for a cancelled job.")]
    attempts: Annotated[int, Meta(ge=0)]
    maximum_attempts: MaximumAttempts
    created_at: Time
    started_at: Annotated[Time | None, Meta(description="When the last attempt began.")]
    completed_at: Annotated[Time | None, Meta(description="When it was completed, or finally failed.")]


class EnqueuedJob(msgspec.Struct):
    """A job that was accepted."""

    job_id: UUID
    status: Literal["queued"]


class EnqueueJob(msgspec.Struct):
    """A job to run in the background."""

    kind: KindName
    arguments: (
        Annotated[
            Raw,
            Meta(
                description="A JSON object; the kind defines its members.",
                extra_json_schema={"type": "object", "additionalProperties": True},
            ),
        ]
        | UnsetType
    ) = UNSET
    queue: RequestedQueue | UnsetType = UNSET
    run_after: Annotated[Time, Meta(description="Not before this time.")] | UnsetType = UNSET
    maximum_attempts: MaximumAttempts | UnsetType = UNSET


class EnqueueTestJob(msgspec.Struct):
    """A job that does nothing, to check that jobs run."""

    message: Annotated[str, Meta(max_length=1000, pattern=NO_NUL, description="What its result says.")] | UnsetType = (
        UNSET
    )
    seconds: Annotated[float, Meta(ge=0, le=5, description="How long it takes.")] | UnsetType = UNSET
    fail: Annotated[bool, Meta(description="Whether each attempt fails.")] | UnsetType = UNSET


class ListJobs(msgspec.Struct):
    """Filter and length of a list of jobs."""

    status: JobStatus | None = None
    limit: Annotated[int, Meta(ge=1, le=1000, description="Maximum number of jobs.")] = 20

"""Health and information about the service."""

from typing import Literal

import msgspec

from gateway.errors import ErrorDetail

ServiceState = Literal["connected", "disconnected", "disabled"]


class Services(msgspec.Struct):
    """The state of what the gateway depends on."""

    database: ServiceState
    redis: ServiceState
    task_queue: ServiceState


class Health(msgspec.Struct):
    """Whether the service works; degraded: only in part. uptime is in seconds."""

    status: Literal["healthy", "degraded", "unhealthy"]
    database: ServiceState
    redis: ServiceState
    task_queue: ServiceState
    services: Services
    version: str
    uptime: float


class Ready(msgspec.Struct):
    """Whether the service can serve requests now."""

    ready: bool


class Info(msgspec.Struct):
    """What this service is."""

    api_version: str
    features_enabled: tuple[str, ...]
    environment: str
    catalog_version: int | None
    """The deploy whose functions /rpc calls; null until they have been read."""


class Error(msgspec.Struct):
    """What went wrong: a code for programs, a message for people, details for each field."""

    code: str
    message: str
    details: list[ErrorDetail]
    request_id: str


class ErrorEnvelope(msgspec.Struct):
    """The body of every error."""

    success: Literal[False]
    error: Error

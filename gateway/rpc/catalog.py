"""The functions that can be called over /rpc, as the database's own catalog describes them, kept up to date.

A catalog is a value: it is replaced as a whole, and the old one serves until then. It is reloaded when the database
says so (NOTIFY cardbase, 'reload'), when a deploy has raised its version (polled, because a listening connection can
die unnoticed), on SIGHUP, and when a name is not found, at most once a second.
"""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from contextlib import suppress
from difflib import get_close_matches
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from time import monotonic
from typing import Final, Literal

import msgspec

from gateway.database.connect import Connection
from gateway.database.listener import RECONNECT_SECONDS, Listener
from gateway.errors import DATABASE_ERRORS
from gateway.rpc.errors import RpcError

CHANNELS: Final = ("cardbase", "pgrst")
RELOADS: Final = frozenset({"", "reload", "reload schema"})
"""Payloads of a notification that ask for a reload; the second channel is PostgREST's."""
POLL_SECONDS: Final = 5.0
MINIMUM_AGE_SECONDS: Final = 1.0
"""A catalog younger than this is not reloaded for a name that it doesn't have."""

FILLED: Final = frozenset(
    {"tenant_id", "user_id", "idempotency_key", "idempotency_ttl_hours", "if_match", "cleared_fields"}
)
"""Parameters that the gateway fills, and that no caller can name: from the identity, headers, a setting, and the names
of the arguments that are null."""

BodyKind = Literal["json", "text", "xml", "bytea"]
"""The type of an unnamed parameter that takes a whole body."""

logger = logging.getLogger(__name__)


class SqlType(msgspec.Struct, frozen=True):
    """A type. name: as SQL writes it; base: the name of the type beneath a domain; labels: an enum's."""

    name: str
    kind: Literal["json", "array", "row", "scalar"]
    base: str
    labels: tuple[str, ...] = ()


class Column(msgspec.Struct, frozen=True):
    """A column of what a function returns."""

    name: str
    type: SqlType


class Parameter(msgspec.Struct, frozen=True):
    """An input parameter. default: the default's expression. An unnamed parameter has the name ""."""

    name: str
    type: SqlType
    is_required: bool
    is_variadic: bool
    default: str | None


class Function(msgspec.Struct, dict=True, eq=False):
    """A function, as api.catalog() describes it."""

    name: str
    comment: str
    is_volatile: bool
    kind: Literal["reply", "void", "scalar", "row", "record"]
    is_set: bool
    type: SqlType
    columns: tuple[Column, ...]
    timeout_ms: int | None
    parameters: tuple[Parameter, ...]

    @cached_property
    def arguments(self) -> Mapping[str, Parameter]:
        """The parameters that callers give, by name."""
        return {parameter.name: parameter for parameter in self.parameters if parameter.name not in FILLED}

    @cached_property
    def required(self) -> frozenset[str]:
        """The names that callers have to give."""
        return frozenset(name for name, parameter in self.arguments.items() if parameter.is_required)

    @cached_property
    def unnamed_type(self) -> str | None:
        """The type of the only argument if that is unnamed, so that it takes a whole body."""
        given = [parameter for parameter in self.parameters if parameter.name not in FILLED]
        return given[0].type.base if len(given) == 1 and not given[0].name else None

    @cached_property
    def filled(self) -> frozenset[str]:
        """The names of the parameters that the gateway fills."""
        return frozenset(parameter.name for parameter in self.parameters if parameter.name in FILLED)

    def takes_names(self, names: frozenset[str]) -> bool:
        """Whether it can be called with these names: all that are required, and no unknown one."""
        return "" not in self.arguments and self.required <= names <= self.arguments.keys()


class Catalog(msgspec.Struct, dict=True):
    """All functions at one moment, as api.catalog() returns them.

    comments: of each function, by its name; of those that are not served, too
    """

    version: int
    functions: list[Function]
    comments: dict[str, str] = {}

    @cached_property
    def by_name(self) -> Mapping[str, list[Function]]:
        """The functions of each name: several where it is overloaded."""
        return {name: list(group) for name, group in groupby(self.functions, attrgetter("name"))}

    def overloads(self, name: str) -> list[Function]:
        """All functions of a name. Raises RpcError 404 PGRST202 when there is none."""
        if name not in self.by_name:
            raise self._not_found(name, [], None)
        return self.by_name[name]

    def choose(self, name: str, names: Iterable[str], body: BodyKind | None) -> Function:
        """The one function to call with these argument names, or with a whole body of a kind.

        Raises RpcError: 404 PGRST202 when there is none, 300 PGRST203 when there are several.
        """
        candidates = self.by_name.get(name, [])
        given = frozenset(names)
        found: list[Function] = []
        if body in (None, "json"):
            found = [function for function in candidates if function.takes_names(given)]
        if not found and body is not None:
            types = ("json", "jsonb") if body == "json" else (body,)
            found = [function for function in candidates if function.unnamed_type in types]
        if not found:
            raise self._not_found(name, sorted(given), body)
        if len(found) > 1:
            raise _ambiguous(found)
        return found[0]

    def _not_found(self, name: str, names: list[str], body: BodyKind | None) -> RpcError:
        called, hint = f"api.{name}", None
        if body in (None, "json"):
            listed = ", ".join(names)[:1000]
            called += f"({listed})" if names else " without parameters"
            searched = f"with parameter{'s' if len(names) > 1 else ''} {listed}" if names else "without parameters"
            if body == "json":
                searched += " or with a single unnamed json/jsonb parameter"
            hint = self._hint(name, names)
        else:
            searched = f"with a single unnamed {body} parameter"
        return RpcError(
            404,
            "PGRST202",
            f"Could not find the function {called} in the schema cache",
            f"Searched for the function api.{name} {searched}, but no matches were found in the schema cache.",
            hint=hint,
        )

    def _hint(self, name: str, names: list[str]) -> str | None:
        if candidates := self.by_name.get(name):
            signatures = [f"({', '.join(sorted(function.arguments))})" for function in candidates]
            close = get_close_matches(f"({', '.join(names)})"[:200], signatures, n=1, cutoff=0.33)
            close = [f"{name}{signature}" for signature in close]
        else:
            close = get_close_matches(name[:63], self.by_name, n=1, cutoff=0.75)
        return f"Perhaps you meant to call the function api.{close[0]}" if close else None


def _ambiguous(functions: list[Function]) -> RpcError:
    listed = ", ".join(
        f"api.{function.name}({', '.join(f'{name} => {each.type.name}' for name, each in function.arguments.items())})"
        for function in functions
    )
    hint = "Try renaming the parameters or the function itself in the database so function overloading can be resolved"
    return RpcError(300, "PGRST203", f"Could not choose the best candidate function between: {listed}", hint=hint)


class CatalogKeeper:
    """Loads the catalog, and reloads it when it has changed, on the connection that listens."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        for channel in CHANNELS:
            listener.hear(channel, self._hear)
        listener.at_begin(self._begin)
        self._needs_load = asyncio.Event()
        self._attempted = asyncio.Event()
        self._loaded_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self.current: Catalog | None = None
        """None until it has been loaded for the first time."""
        self.loads = 0
        """How often it was loaded."""
        self.failures = 0
        """How often loading failed."""

    def start(self) -> None:
        """Starts the task that keeps the catalog up to date."""
        self._task = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """Stops that task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def version(self) -> int | None:
        """The deploy whose functions are served; None until the catalog has been read for the first time."""
        return self.current.version if self.current else None

    def reload(self) -> None:
        """Has the catalog reloaded soon."""
        self._needs_load.set()

    async def catalog(self, seconds: float) -> Catalog:
        """The catalog; waits for the first one. Raises RpcError 503 when there is none in time."""
        if self.current is None:
            await self._next_attempt(seconds)
        if self.current is None:
            raise RpcError(503, "PGRST002", "Could not query the database for the schema cache. Retrying.")
        return self.current

    async def newer(self, catalog: Catalog, seconds: float) -> Catalog | None:
        """A catalog newer than this one, reloaded if need be; None when there is none, or not in time."""
        if self.current is catalog and monotonic() - self._loaded_at >= MINIMUM_AGE_SECONDS:
            self._needs_load.set()
            await self._next_attempt(seconds)
        return None if self.current is catalog else self.current

    async def _next_attempt(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._attempted.wait(), seconds)

    async def _keep(self) -> None:
        self._needs_load.set()
        while True:
            try:
                if self._needs_load.is_set() or await self._is_outdated():
                    await self._load()
            except (*DATABASE_ERRORS, msgspec.MsgspecError) as error:
                self.failures += 1
                logger.warning("the catalog could not be loaded", extra={"error": type(error).__name__})
                self._wake()
                await asyncio.sleep(RECONNECT_SECONDS)
                self._needs_load.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._needs_load.wait(), POLL_SECONDS)

    async def _is_outdated(self) -> bool:
        """Whether a deploy has changed the catalog: a notification can get lost, and poolers deliver none."""
        version = await self._listener.ask("select api.catalog_version()")
        return self.current is None or version != self.current.version

    async def _begin(self, _: Connection) -> None:
        if self.current is not None:  # else it is about to be loaded
            self._needs_load.set()

    def _hear(self, payload: str) -> None:
        if payload in RELOADS:
            self._needs_load.set()

    async def _load(self) -> None:
        # Cleared first: a reload that is requested from now on is another one.
        self._needs_load.clear()
        self.current = msgspec.json.decode(await self._listener.ask("select api.catalog()"), type=Catalog)
        self._loaded_at = monotonic()
        self.loads += 1
        self._wake()

    def _wake(self) -> None:
        """Wakes the requests that wait for an attempt; later ones wait for the next attempt."""
        self._attempted.set()
        self._attempted.clear()

"""A line of the route table whose answers are cached."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from gateway.database.calls import Calls
from gateway.database.statement import CallStatement, Reply
from gateway.endpoint import Call
from gateway.identity import Identifier, Identity
from gateway.request import RequestContext
from gateway.routes import Route
from gateway.settings import Settings
from gateway.stores.cache import Cache


class CachedCall(Call):
    """One line of the route table with `cached`."""

    def __init__(self, cache: Cache, route: Route, identifier: Identifier, calls: Calls, settings: Settings) -> None:
        super().__init__(route, identifier, calls, settings)
        self._cache = cache

    async def run(
        self, context: RequestContext, identity: Identity, statement: CallStatement, arguments: Sequence[Any]
    ) -> Reply:
        """The cached answer, or that of the call."""
        assert self.route.cached is not None
        table, owner = self.route.cached
        made_of = f"{table}:{identity.tenant_id}"
        if owner == "user":
            made_of += f":{identity.user_id}"
        call: Callable[[], Awaitable[Reply]] = partial(super().run, context, identity, statement, arguments)
        return await self._cache.answer(made_of, [self.route.function, *arguments], call)

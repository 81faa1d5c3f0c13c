"""A gateway to attack: it requires tokens, and its database has rows of two tenants."""

import asyncio
import base64
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Final, NamedTuple

import asyncpg
import pytest
from msgspec import inspect

from gateway.routes import ROUTES, Route
from support import world
from support.gateways import Gateway, running_gateway
from support.servers import Database
from support.tokens import SECRET, bearer, token
from support.world import Tenant

REQUEST_ID: Final = {"X-Request-ID": "the-same", "X-Trace-ID": "the-same"}
OPEN: Final = frozenset({"register_user", "start_session", "refresh_session", "end_session"})
"""Routes for callers without a valid token."""
CLOSED_ROUTES: Final = [route for route in ROUTES if route.function not in OPEN]


def name_of(route: Route) -> str:
    return f"{route.method} {route.path}"


class Scene(NamedTuple):
    """A gateway that requires tokens, and two tenants of its database."""

    gateway: Gateway
    database: Database
    ours: Tenant
    theirs: Tenant
    nobody: Tenant

    def headers(self, tenant: Tenant) -> dict[str, str]:
        """A valid token of a tenant's user, and ids that don't change."""
        return bearer(token(tenant.tenant_id, sub=str(tenant.user_id))) | REQUEST_ID

    def fingerprint(self, tenant: Tenant) -> str:
        """All rows of a tenant, as one hash."""

        async def read() -> str:
            connection = await asyncpg.connect(self.database.url())
            try:
                return await world.fingerprint_of(connection, tenant)
            finally:
                await connection.close()

        return asyncio.run(read())


@pytest.fixture(scope="session")
def scene(_clone: Callable[[ExitStack], Database], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """A gateway that requires tokens, and two tenants of its database."""

    async def settle() -> tuple[Tenant, Tenant]:
        connection = await asyncpg.connect(database.url())
        try:
            tenants = Tenant("ours"), Tenant("theirs")
            for tenant in tenants:
                async with connection.transaction():
                    await world.settle(connection, tenant)
            return tenants
        finally:
            await connection.close()

    with ExitStack() as stack:
        database = _clone(stack)
        ours, theirs = asyncio.run(settle())
        variables = {
            "DATABASE_URL": database.url("cardbase_gateway"),
            "JWT_SECRET_KEY": SECRET,
            "INTEGRATION_ENCRYPTION_KEY": base64.b64encode(bytes(32)).decode(),
        }
        gateway = stack.enter_context(running_gateway(tmp_path_factory.mktemp("attacked"), variables))
        yield Scene(gateway, database, ours, theirs, Tenant("nobody"))


@pytest.fixture
def untouched(scene: Scene) -> Iterator[None]:
    """Fails a test that changes a row of either tenant."""
    before = [scene.fingerprint(tenant) for tenant in (scene.ours, scene.theirs)]
    yield
    assert [scene.fingerprint(tenant) for tenant in (scene.ours, scene.theirs)] == before


def request_of(route: Route, caller: Tenant, owner: Tenant) -> dict[str, Any]:
    """A valid request by one tenant about the rows of another (or its own, or nobody's)."""
    noun = world.noun_of(route.function)
    path = re.sub(r"{(\w+)}", lambda found: owner.id_of(found[1], noun), route.path)
    request: dict[str, Any] = {"method": route.method, "url": path}
    if route.body is not None:
        request["json"] = fields_of(route.body, route, caller, owner)
    if route.query is not None:
        query = fields_of(route.query, route, caller, owner)
        request["params"] = {name: value for name, value in query.items() if name == "q"}
    return request


def fields_of(shape: type, route: Route, caller: Tenant, owner: Tenant) -> dict[str, Any]:
    """A valid body, or query, of a route."""
    info = inspect.type_info(shape)
    assert isinstance(info, inspect.StructType)
    noun = world.noun_of(route.function)
    fields: dict[str, Any] = {}
    for field in info.fields:
        name = field.encode_name
        if world.is_id(name):
            value = owner.id_of(name, noun)
            fields[name] = [value] if name.endswith("_ids") else value
        elif name not in world.LEFT_OUT and (field.required or name in world.VALUES):
            fields[name] = caller.value_of(name, route.function)
    return fields

"""What all tests share: a server, a template with everything deployed, and a fresh database for each test."""

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import pytest
from support import REPOSITORY, gateways, poolers, servers, tap, tokens
from support.gateways import Gateway, running_gateway
from support.servers import Database, Server, open_folder

from gateway.operate.deploy import deploy

pytest_plugins = ["support.attempts", "support.people", "support.receivers", "support.rpc", "support.scene"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--db",
        default="embedded",
        metavar="embedded|container|URL",
        help="the PostgreSQL to test on: the embedded one (default), compose.yaml's database image in a container,"
        " or the URL of a running server as its superuser; the passwords of the login roles are changed there",
    )
    parser.addoption(
        "--pgbouncer", action="store_true", help="lead gateways to that server through PgBouncer in transaction mode"
    )
    parser.addoption(
        "--shared-statements",
        choices=("when_waiting", "always", "never"),
        help="DATABASE_SHARED_STATEMENTS of all gateways: the answers have to be the same",
    )


def pytest_configure(config: pytest.Config) -> None:
    kept = servers.clean_environment()
    for name in os.environ.keys() - kept.keys():
        del os.environ[name]
    if choice := config.getoption("shared_statements"):
        gateways.COMMON["DATABASE_SHARED_STATEMENTS"] = choice


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The number of processes of `make test`: each has its own embedded server; any other server is only one."""
    return min(os.cpu_count() or 1, 4) if config.getoption("db") == "embedded" else 1


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """The PostgreSQL server that --db names."""
    choice = request.config.getoption("db")
    starts = {"embedded": servers.embedded_server, "container": servers.container_server}
    with starts[choice]() if choice in starts else servers.running_server(choice) as running:
        # The pgTAP files write their rows past row-level security, which applies to everybody else.
        if running.execute("select rolsuper from pg_roles where rolname = current_user") != "t":
            pytest.exit(f"--db: {running.deployer} is not a superuser of that server", returncode=4)
        if not request.config.getoption("pgbouncer"):
            yield running
            return
        gateways.COMMON.update(poolers.VARIABLES)
        with poolers.through_pgbouncer(running, "cardbase_gateway") as behind:
            yield behind


@pytest.fixture(scope="session")
def template_database(server: Server) -> Iterator[Database]:
    """A deployed database, with pgTAP if that is installed. Nobody connects to it: it is cloned."""
    with server.database(f"cardbase_test_{os.getpid()}_template") as database:
        asyncio.run(deploy(database.url()))
        servers.set_passwords(database)
        if script := tap.script():
            tap.install(database, script)
        yield database


@pytest.fixture(scope="session")
def _clone(server: Server, template_database: Database) -> Callable[[ExitStack], Database]:
    numbers = count(1)

    def clone(stack: ExitStack) -> Database:
        name = f"cardbase_test_{os.getpid()}_{next(numbers)}"
        return stack.enter_context(server.database(name, template=template_database.name))

    return clone


@pytest.fixture
def notifications(request: pytest.FixtureRequest) -> None:
    """For tests that rely on NOTIFY: it doesn't work through a pooler, which changes servers between transactions."""
    if request.config.getoption("pgbouncer"):
        pytest.skip("nobody can listen through PgBouncer in transaction mode: gateways ask for the version instead")


@pytest.fixture
def make_database(_clone: Callable[[ExitStack], Database]) -> Iterator[Callable[[], Database]]:
    """Makes deployed databases; all are dropped after the test."""
    with ExitStack() as stack:
        yield lambda: _clone(stack)


@pytest.fixture
def database(make_database: Callable[[], Database]) -> Database:
    """A deployed database for this test only."""
    return make_database()


@pytest.fixture(scope="session")
def shared_database(_clone: Callable[[ExitStack], Database]) -> Iterator[Database]:
    """A deployed database that all tests share: for those that only read, or use their own tenant."""
    with ExitStack() as stack:
        database = _clone(stack)
        servers.limit_registrations(database, 10_000)
        yield database


@pytest.fixture
def make_empty_database(server: Server) -> Iterator[Callable[[], Database]]:
    """Makes empty databases; all are dropped after the test."""
    numbers = count(1)
    with ExitStack() as stack:
        name = f"cardbase_test_{os.getpid()}_empty"
        yield lambda: stack.enter_context(server.database(f"{name}_{next(numbers)}"))


@pytest.fixture
def empty_database(make_empty_database: Callable[[], Database]) -> Database:
    """An empty database for this test only."""
    return make_empty_database()


@pytest.fixture
def make_gateway() -> Iterator[Callable[..., Gateway]]:
    """Starts gateways: on a database, or each on its own embedded one; all are stopped after the test.

    Further arguments are environment variables.
    """
    numbers = count(1)
    with ExitStack() as stack:
        folder = stack.enter_context(open_folder())

        def make(database: Database | None = None, **variables: str) -> Gateway:
            url = {} if database is None else {"DATABASE_URL": database.url("cardbase_gateway")}
            own = folder / f"gateway-{next(numbers)}"
            return stack.enter_context(running_gateway(own, url | variables))

        yield make


@pytest.fixture(scope="session")
def gateway(shared_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway on the shared database: for tests that use their own tenant."""
    folder: Path = tmp_path_factory.mktemp("gateway")
    with running_gateway(folder, {"DATABASE_URL": shared_database.url("cardbase_gateway")}) as running:
        yield running


@pytest.fixture(scope="session")
def rpc_database(_clone: Callable[[ExitStack], Database]) -> Iterator[Database]:
    """A deployed database with functions of every kind, those of rpc_functions.sql."""
    with ExitStack() as stack:
        database = _clone(stack)
        servers.run_psql(database.url(), "-f", str(REPOSITORY / "tests" / "support" / "rpc_functions.sql"))
        yield database


@pytest.fixture(scope="session")
def rpc_gateway(rpc_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway on that database, where users are identified by tokens, and tenants also by a header."""
    folder: Path = tmp_path_factory.mktemp("rpc_gateway")
    variables = {
        "DATABASE_URL": rpc_database.url("cardbase_gateway"),
        "JWT_SECRET_KEY": tokens.SECRET,
        "TRUST_TENANT_HEADER": "true",
    }
    with running_gateway(folder, variables) as running:
        yield running


@pytest.fixture(scope="session")
def people_gateway(shared_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway on the shared database where users sign in, and integrations are encrypted."""
    folder: Path = tmp_path_factory.mktemp("people_gateway")
    variables = {
        "DATABASE_URL": shared_database.url("cardbase_gateway"),
        "JWT_SECRET_KEY": tokens.SECRET,
        "INTEGRATION_ENCRYPTION_KEY": tokens.ENCRYPTION_KEY,
    }
    with running_gateway(folder, variables) as running:
        yield running


@pytest.fixture
def tenant_id() -> UUID:
    """A tenant that no other test uses."""
    return uuid4()


@pytest.fixture
def client(gateway: Gateway, tenant_id: UUID) -> Iterator[httpx.Client]:
    """An HTTP client of the shared gateway, as the test's tenant."""
    with gateway.client(tenant_id) as opened:
        yield opened


@pytest.fixture
def other_client(gateway: Gateway) -> Iterator[httpx.Client]:
    """The same as another tenant."""
    with gateway.client(uuid4()) as opened:
        yield opened


@pytest.fixture
def user_client(people_gateway: Gateway, tenant_id: UUID) -> Iterator[Callable[..., httpx.Client]]:
    """Opens HTTP clients of users; by default of a new user of the test's tenant."""
    opened: list[httpx.Client] = []

    def open_client(tenant: UUID = tenant_id, user_id: UUID | None = None) -> httpx.Client:
        headers = tokens.bearer(tokens.token(tenant, sub=str(user_id or uuid4())))
        client = httpx.Client(base_url=people_gateway.address, headers=headers, timeout=30, trust_env=False)
        opened.append(client)
        return client

    yield open_client
    for client in opened:
        client.close()


@pytest.fixture
def user(user_client: Callable[..., httpx.Client]) -> httpx.Client:
    """An HTTP client of a user of the test's tenant."""
    return user_client()

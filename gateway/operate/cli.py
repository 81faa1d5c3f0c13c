"""The `cardbase` command."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from shutil import which
from uuid import UUID

import click

from gateway.operate.deploy import DeployError
from gateway.operate.deploy import deploy as deploy_to
from gateway.operate.doctor import examine
from gateway.operate.embedded import EmbeddedDatabase, EmbeddedError, running
from gateway.services.embedder import EmbeddingError, MiniLM
from gateway.settings import Settings, SettingsError, load_settings

BANNER = """
cardbase is running.

  API   {address}/api/v1
  docs  {address}/docs
  SQL   {service_url}

Try it:

  curl -s {address}/api/v1/cards/batch -H 'Content-Type: application/json' {credentials} \\
    -d '{{"cards": [{{"card_type": "company", "content": {{"name": "Acme"}}}}]}}'
"""
EXAMPLE_TENANT = "018f2f6e-7c1a-7000-8000-000000000001"


class _Group(click.Group):
    """Commands whose expected failures are one line, without a traceback."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except (SettingsError, DeployError, EmbeddedError, EmbeddingError) as error:
            click.echo(f"cardbase: {error}", err=True)
            sys.exit(2 if isinstance(error, SettingsError) else 1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cardbase")
def main() -> None:
    """cardbase: a multi-tenant store for cards, where the database is the application."""


def _settings_with_keys(*, make: bool) -> Settings:
    """The settings, with keys that were made for this machine if it is a developer's (gateway.operate.local_keys)."""
    from gateway.operate.local_keys import own_keys

    os.environ.update(own_keys(load_settings(os.environ), make=make))
    return load_settings(os.environ)


@contextmanager
def _embedded_database(settings: Settings) -> Iterator[EmbeddedDatabase]:
    """The embedded database, started and deployed to."""
    with running(settings.data_folder) as database:
        asyncio.run(deploy_to(database.url(), settings=settings))
        yield database


@contextmanager
def _deployer_url(settings: Settings) -> Iterator[str]:
    """The database to deploy to: DEPLOY_DATABASE_URL, or else the embedded one, started."""
    if settings.deploy_database_url is not None:
        yield settings.deploy_database_url
    else:
        with running(settings.data_folder) as database:
            yield database.url()


@contextmanager
def _worker_url(settings: Settings) -> Iterator[str]:
    """The worker's database: WORKER_DATABASE_URL, or else the embedded one, started and deployed to."""
    if settings.worker_database_url is not None:
        yield settings.worker_database_url
    elif settings.database_url is not None:
        raise SettingsError("WORKER_DATABASE_URL must be set, as DATABASE_URL is, with the role cardbase_worker")
    else:
        with _embedded_database(settings) as database:
            yield database.url("cardbase_worker")


def _credentials(tenant_id: UUID, token: str | None) -> dict[str, str]:
    return {"X-Tenant-ID": str(tenant_id)} | ({"Authorization": f"Bearer {token}"} if token else {})


_url_option = click.option("--url", default="http://127.0.0.1:8002", show_default=True, help="The gateway.")
_token_option = click.option("--token", envvar="CARDBASE_TOKEN", help="Bearer token, if the gateway requires one.")


@main.command()
@click.option(
    "--worker/--no-worker",
    "has_worker",
    default=None,
    help="Whether to run a worker next to the gateway.  [default: only with the embedded database]",
)
def serve(has_worker: bool | None) -> None:
    """Serve the API. Without DATABASE_URL: on an embedded PostgreSQL under .cardbase/, and with a worker."""
    from gateway.identity import check_identity
    from gateway.observe.logs import configure_logging
    from gateway.operate.server import leave_on_signals
    from gateway.operate.server import serve as run
    from gateway.operate.worker_process import worker_process

    settings = _settings_with_keys(make=True)
    configure_logging(settings.log_level)
    check_identity(settings)
    leave_on_signals()
    if has_worker is None:
        has_worker = settings.database_url is None
    with ExitStack() as stack:
        if settings.database_url is None:
            database = stack.enter_context(_embedded_database(settings))
            roles = ("cardbase_gateway", "cardbase_service", "cardbase_worker")
            url, service_url, worker_url = map(database.url, roles)
        else:
            url, service_url = settings.database_url, "as cardbase_service, at your DATABASE_URL"
            worker_url = stack.enter_context(_worker_url(settings)) if has_worker else ""
        start_worker = stack.enter_context(worker_process(worker_url)) if has_worker else None
        banner = partial(BANNER.format, service_url=service_url, credentials=_example_credentials(settings))
        run(settings, url, banner, start_worker)


def _example_credentials(settings: Settings) -> str:
    """What the example in the banner needs to be accepted, as arguments of curl."""
    if settings.trusts_tenant_header:
        return f"-H 'X-Tenant-ID: {EXAMPLE_TENANT}'"
    if settings.jwt_algorithm != "HS256":
        return "-H 'Authorization: Bearer …'"
    program = sys.argv[0] if Path(sys.argv[0]).is_file() and not which("cardbase") else "cardbase"
    return f'-H "Authorization: Bearer $({program} token --tenant {EXAMPLE_TENANT})"'


@main.command()
@click.option("--check", is_flag=True, help="Print what would change, and change nothing.")
@click.option("--all", "everything", is_flag=True, help="Apply all functions and policies, changed or not.")
def deploy(check: bool, everything: bool) -> None:
    """Deploy db/ into a database: all of it or none of it.

    With --check, exit status 1 means that something would change. GATEWAY_DATABASE_PASSWORD,
    SERVICE_DATABASE_PASSWORD and WORKER_DATABASE_PASSWORD become the passwords of those roles.
    """
    from gateway.operate.role_passwords import set_passwords, wanted_passwords

    settings = load_settings(os.environ)
    passwords = wanted_passwords(settings)
    with _deployer_url(settings) as url:
        lines = asyncio.run(deploy_to(url, check=check, everything=everything, settings=settings))
        if passwords and not check and settings.deploy_database_url is not None:
            asyncio.run(set_passwords(url, passwords))
    for line in lines:
        click.echo(line)
    click.echo(f"{len(lines)} to change." if check else f"{len(lines)} changed.", err=True)
    if check and lines:
        sys.exit(1)


@main.command()
def doctor() -> None:
    """Examine a deployed database: print what is wrong with it, and what to do.

    Exit status 1 means that something is wrong. Reads DEPLOY_DATABASE_URL, or else the embedded database; changes
    nothing.
    """
    with _deployer_url(load_settings(os.environ)) as url:
        findings = asyncio.run(examine(url))
    for finding in findings:
        click.echo(f"{finding.subject}: {finding.problem}\n    {finding.remedy}")
    click.echo(f"{len(findings)} found." if findings else "Nothing found.", err=True)
    if findings:
        sys.exit(1)


def _queues(_: click.Context, __: click.Parameter, text: str) -> list[str]:
    """The queues in a comma-separated list; high_priority and low_priority are other names of high and low."""
    from gateway.worker.loop import QUEUES

    queues = [name.strip().removesuffix("_priority") for name in text.split(",")]
    if unknown := [name for name in queues if name not in QUEUES]:
        raise click.BadParameter(f"{unknown[0]!r} is not one of {', '.join(QUEUES)}.")
    return queues


@main.command("new-function")
@click.argument("name")
@click.option("--area", default="own", show_default=True, help="The folder of db/functions that it goes to.")
def new_function(name: str, area: str) -> None:
    """Write a function of schema api into db/, with grants and a pgTAP file that passes: a start to be changed."""
    from gateway.operate.new_function import write_function

    for file in write_function(name, area):
        click.echo(file)
    click.echo("Change both, then run cardbase deploy and cardbase doctor.", err=True)


@main.command()
@click.option(
    "--queues",
    default="high,default,low",
    show_default=True,
    callback=_queues,
    help="The queues whose jobs it runs, comma-separated.",
)
@click.option("--once", is_flag=True, help="Do the maintenance that is due, and exit.")
@click.option("--beside-gateway", is_flag=True, hidden=True, help="Exit at the end of standard input.")
def worker(queues: list[str], once: bool, beside_gateway: bool) -> None:
    """Run jobs, and keep the database tidy: remove what has expired, and old usage events and jobs.

    Connects to WORKER_DATABASE_URL, as cardbase_worker, or else to the embedded PostgreSQL under .cardbase/.
    """
    from gateway.worker.process import work, work_once

    settings = load_settings(os.environ)
    with _worker_url(settings) as url:
        if not once:
            work(settings, url, queues, ends_with_input=beside_gateway)
            return
        done = work_once(settings, url)
    if done is None:
        sys.exit(1)
    for (task, action), rows in done.items():
        click.echo(f"{task}: {rows} {action}")
    if not done:
        click.echo("another worker is doing it", err=True)


@main.command()
@click.option("--tenant", "tenant_id", type=click.UUID, required=True, help="The tenant whose memories are embedded.")
def embed(tenant_id: UUID) -> None:
    """Compute a tenant's missing memory embeddings, for search with mode=hybrid. Needs the extra embed.

    Connects to WORKER_DATABASE_URL, as cardbase_worker, or else to the embedded PostgreSQL under .cardbase/.
    """
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    from gateway.worker.embed_memories import embed_memories

    settings = load_settings(os.environ)
    embedder = MiniLM()
    with (
        _worker_url(settings) as url,
        Progress(TextColumn("{task.completed} memories"), console=Console(stderr=True)) as progress,
    ):
        task = progress.add_task("", total=None)
        count = asyncio.run(embed_memories(url, tenant_id, embedder, lambda step: progress.advance(task, step)))
    click.echo(f"{count} embedded.")


@main.command()
@click.option("--tenant", "tenant_id", type=click.UUID, required=True, help="The tenant it is for.")
@click.option("--user", "user_id", type=click.UUID, help="The user it is for. Without: it is for a service.")
@click.option(
    "--expires",
    "minutes",
    type=click.IntRange(1, 525_600),
    help="Its lifetime in minutes.  [default: ACCESS_TOKEN_EXPIRE_MINUTES]",
)
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The private key (PEM) to sign it with, if JWT_ALGORITHM is not HS256.",
)
def token(tenant_id: UUID, user_id: UUID | None, minutes: int | None, key: Path | None) -> None:
    """Print a bearer token to try the API with, signed with JWT_SECRET_KEY."""
    from gateway.identity import Identity, issue_token

    settings = _settings_with_keys(make=False)
    private_key = None if key is None else key.read_text(encoding="utf-8")
    click.echo(issue_token(settings, Identity(tenant_id, user_id), minutes=minutes, private_key=private_key))


@main.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tenant", "tenant_id", type=click.UUID, required=True, help="The tenant that gets the cards.")
@_url_option
@_token_option
def import_(file: Path, tenant_id: UUID, url: str, token: str | None) -> None:
    """Send FILE's lines, each a body for /api/v1/cards/batch. A second run creates nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from gateway.operate.import_export import import_lines, read_lines

    headers = _credentials(tenant_id, token)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(file.name, total=sum(1 for _ in read_lines(file)))
        summary = asyncio.run(
            import_lines(read_lines(file), url=url, headers=headers, advance=lambda: progress.advance(task))
        )
    for number, reason in summary.failed:
        click.echo(f"{file}:{number}: {reason}", err=True)
    click.echo(f"{summary.created} created, {summary.existing} already there, {len(summary.failed)} lines failed.")
    if summary.failed:
        sys.exit(1)


@main.command()
@click.option("--tenant", "tenant_id", type=click.UUID, required=True, help="The tenant whose cards are written.")
@click.option("--type", "card_type", help="Only cards of this type.")
@_url_option
@_token_option
def export(tenant_id: UUID, card_type: str | None, url: str, token: str | None) -> None:
    """Write a tenant's cards to standard output, as lines that `cardbase import` reads."""
    import httpx

    from gateway.operate.import_export import export_lines

    async def write() -> None:
        async for line in export_lines(url=url, headers=_credentials(tenant_id, token), card_type=card_type):
            sys.stdout.buffer.write(line)

    try:
        asyncio.run(write())
    except (ValueError, httpx.HTTPError) as error:
        click.echo(f"cardbase: {error}", err=True)
        sys.exit(1)

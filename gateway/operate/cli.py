"""The `cardbase` command."""

import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from shutil import which
from threading import Thread
from uuid import UUID

import click

from gateway.settings import Settings, SettingsError, load_settings

BANNER = """
cardbase is running.

  API   {{address}}/api/v1
  docs  {{address}}/docs
  SQL   {service_url}

Try it:

  curl -s {{address}}/api/v1/cards/batch -H 'Content-Type: application/json' {credentials} \\
    -d '{{{{"cards": [{{{{"card_type": "company", "content": {{{{"name": "Acme"}}}}}}}}]}}}}'
"""
EXAMPLE_TENANT = "018f2f6e-7c1a-7000-8000-000000000001"


class _Group(click.Group):
    """Commands whose foreseen failures are one line, without a traceback."""

    def invoke(self, context: click.Context) -> object:
        from gateway.operate.deploy import DeployError
        from gateway.operate.embedded import EmbeddedError

        try:
            return super().invoke(context)
        except SettingsError as error:
            click.echo(f"cardbase: {error}", err=True)
            sys.exit(2)
        except (DeployError, EmbeddedError) as error:
            click.echo(f"cardbase: {error}", err=True)
            sys.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cardbase")
def main() -> None:
    """cardbase: a multi-tenant store for cards, where the database is the application."""


def _load_settings(*, make_keys: bool) -> Settings:
    """The settings, with keys of its own for a machine of one's own (gateway.keys)."""
    from gateway.operate.local_keys import own_keys

    os.environ.update(own_keys(load_settings(os.environ), make=make_keys))
    return load_settings(os.environ)


@contextmanager
def _database(settings: Settings) -> Iterator[tuple[str, str, str | None]]:
    """The database to serve from, as the URLs of gateway, service and worker: DATABASE_URL, or the embedded one.

    The embedded one is started, and deployed to, first.
    """
    if settings.database_url is not None:
        yield settings.database_url, "as cardbase_service, at your DATABASE_URL", settings.worker_database_url
        return
    from gateway.operate.deploy import deploy
    from gateway.operate.embedded import running

    if not (settings.data_folder / "postgres").exists():
        # The first deploy needs it. It loads while the server is being made.
        Thread(target=import_module, args=("gateway.worker.queue",)).start()
    with running(settings.data_folder) as database:
        asyncio.run(deploy(database.url()))
        yield database.url("cardbase_gateway"), database.url("cardbase_service"), database.url("cardbase_worker")


@main.command()
@click.option(
    "--worker/--no-worker",
    "has_worker",
    default=None,
    help="Whether a worker runs beside the gateway.  [default: with the embedded database, and not with another]",
)
def serve(has_worker: bool | None) -> None:
    """Serve the API. Without DATABASE_URL, on an embedded PostgreSQL under .cardbase/, and with a worker."""
    from gateway.identity import check_identity
    from gateway.observe.logs import configure_logging
    from gateway.operate.server import leave_on_signals
    from gateway.operate.server import serve as run
    from gateway.operate.worker_process import worker_beside

    settings = _load_settings(make_keys=True)
    configure_logging(settings.log_level)
    check_identity(settings)
    leave_on_signals()
    if settings.trusts_tenant_header:
        credentials = f"-H 'X-Tenant-ID: {EXAMPLE_TENANT}'"
    elif settings.jwt_algorithm == "HS256":
        program = sys.argv[0] if Path(sys.argv[0]).is_file() and not which("cardbase") else "cardbase"
        credentials = f'-H "Authorization: Bearer $({program} token --tenant {EXAMPLE_TENANT})"'
    else:
        credentials = "-H 'Authorization: Bearer …'"
    if has_worker and settings.database_url is not None and settings.worker_database_url is None:
        raise SettingsError("WORKER_DATABASE_URL: is needed for --worker where DATABASE_URL is set")
    if has_worker is None:
        has_worker = settings.database_url is None
    with _database(settings) as (gateway_url, service_url, worker_url), ExitStack() as stack:
        banner = BANNER.format(service_url=service_url, credentials=credentials)
        beside = stack.enter_context(worker_beside(worker_url)) if has_worker and worker_url else None
        try:
            run(settings, gateway_url, banner, beside)
        except OSError as error:
            raise SettingsError(f"HOST, PORT: {settings.host}:{settings.port} can't be had: {error.strerror}") from None


@main.command()
@click.option("--check", is_flag=True, help="Say what would change, and change nothing.")
@click.option("--all", "everything", is_flag=True, help="Apply all functions and policies, changed or not.")
def deploy(check: bool, everything: bool) -> None:
    """Put db/ into a database: all of it or none of it.

    With --check, exit status 1 says that something would change. GATEWAY_DATABASE_PASSWORD,
    SERVICE_DATABASE_PASSWORD and WORKER_DATABASE_PASSWORD become the passwords of those roles.
    """
    from gateway.operate.deploy import deploy as run
    from gateway.operate.embedded import running
    from gateway.operate.role_passwords import set_passwords, wanted_passwords

    settings = load_settings(os.environ)
    passwords = wanted_passwords(settings)
    if settings.deploy_database_url is not None:
        lines = asyncio.run(run(settings.deploy_database_url, check=check, everything=everything))
        if passwords and not check:
            asyncio.run(set_passwords(settings.deploy_database_url, passwords))
    else:
        with running(settings.data_folder) as database:
            lines = asyncio.run(run(database.url(), check=check, everything=everything))
    for line in lines:
        click.echo(line)
    click.echo(f"{len(lines)} to change." if check else f"{len(lines)} changed.", err=True)
    if check and lines:
        sys.exit(1)


@main.command()
@click.option("--once", is_flag=True, help="Do what maintenance there is now, and end.")
@click.option("--beside-gateway", is_flag=True, hidden=True, help="End when standard input does.")
def worker(once: bool, beside_gateway: bool) -> None:
    """Carry out jobs, and keep the database tidy: remove what has expired, and old usage events and jobs.

    Connects by WORKER_DATABASE_URL, as cardbase_worker; without it to the embedded PostgreSQL under .cardbase/.
    """
    from gateway.worker.process import work, work_beside, work_once

    settings = load_settings(os.environ)
    with _worker_database(settings) as url:
        if not once:
            run = work_beside if beside_gateway else work
            run(settings, url)
            return
        removed = work_once(settings, url)
    if removed is None:
        sys.exit(1)
    for task, rows in removed.items():
        click.echo(f"{task}: {rows} removed")
    if not removed:
        click.echo("another worker is at it", err=True)


@main.command()
@click.option("--tenant", "tenant_id", type=click.UUID, required=True, help="The tenant whose memories are embedded.")
def embed(tenant_id: UUID) -> None:
    """Compute the embeddings that a tenant's memories lack, for search with mode=hybrid. Needs the extra embed.

    Connects by WORKER_DATABASE_URL, as cardbase_worker; without it to the embedded PostgreSQL under .cardbase/.
    """
    from rich.console import Console
    from rich.progress import Progress, TextColumn

    from gateway.services.embedder import EmbeddingError, MiniLM
    from gateway.worker.embed_memories import embed_memories

    settings = load_settings(os.environ)
    try:
        embedder = MiniLM()
        with (
            _worker_database(settings) as url,
            Progress(TextColumn("{task.completed} memories"), console=Console(stderr=True)) as progress,
        ):
            task = progress.add_task("", total=None)
            count = asyncio.run(embed_memories(url, tenant_id, embedder, lambda step: progress.advance(task, step)))
    except EmbeddingError as error:
        click.echo(f"cardbase: {error}", err=True)
        sys.exit(1)
    click.echo(f"{count} embedded.")


@contextmanager
def _worker_database(settings: Settings) -> Iterator[str]:
    """The worker's database: WORKER_DATABASE_URL, or the embedded one, started and deployed to."""
    if settings.worker_database_url is not None:
        yield settings.worker_database_url
        return
    if settings.database_url is not None:
        raise SettingsError("WORKER_DATABASE_URL: is needed where DATABASE_URL is set, with the role cardbase_worker")
    from gateway.operate.deploy import deploy
    from gateway.operate.embedded import running

    with running(settings.data_folder) as database:
        asyncio.run(deploy(database.url()))
        yield database.url("cardbase_worker")


@main.command()
def doctor() -> None:
    """Examine a deployed database: say what is wrong with it, and what to do.

    Exit status 1 says that something is wrong. Reads DEPLOY_DATABASE_URL, else the embedded database; changes nothing.
    """
    from gateway.operate.doctor import examine
    from gateway.operate.embedded import running

    settings = load_settings(os.environ)
    if settings.deploy_database_url is not None:
        findings = asyncio.run(examine(settings.deploy_database_url))
    else:
        with running(settings.data_folder) as database:
            findings = asyncio.run(examine(database.url()))
    for finding in findings:
        click.echo(f"{finding.subject}: {finding.problem}\n    {finding.remedy}")
    click.echo(f"{len(findings)} found." if findings else "Nothing found.", err=True)
    if findings:
        sys.exit(1)


@main.command()
@click.option("--tenant", "tenant_id", type=click.UUID, required=True, help="The tenant it is for.")
@click.option("--user", "user_id", type=click.UUID, help="The user it is for; without one it is a service's.")
@click.option(
    "--expires",
    "minutes",
    type=click.IntRange(1, 525_600),
    help="For how many minutes it is good.  [default: ACCESS_TOKEN_EXPIRE_MINUTES]",
)
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The private key in PEM to sign it with, where JWT_ALGORITHM is not HS256.",
)
def token(tenant_id: UUID, user_id: UUID | None, minutes: int | None, key: Path | None) -> None:
    """Print a bearer token to try the API with, signed with JWT_SECRET_KEY."""
    from gateway.identity import Identity, issue_token

    settings = _load_settings(make_keys=False)
    private_key = None if key is None else key.read_text(encoding="utf-8")
    click.echo(issue_token(settings, Identity(tenant_id, user_id), minutes=minutes, private_key=private_key))


@main.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tenant", "tenant_id", type=click.UUID, required=True, help="The tenant whose cards they become.")
@click.option("--url", default="http://127.0.0.1:8002", show_default=True, help="The gateway.")
@click.option("--token", envvar="CARDBASE_TOKEN", help="Bearer token, where the gateway asks for one.")
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
@click.option("--url", default="http://127.0.0.1:8002", show_default=True, help="The gateway.")
@click.option("--token", envvar="CARDBASE_TOKEN", help="Bearer token, where the gateway asks for one.")
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


def _credentials(tenant_id: UUID, token: str | None) -> dict[str, str]:
    return {"X-Tenant-ID": str(tenant_id)} | ({"Authorization": f"Bearer {token}"} if token else {})

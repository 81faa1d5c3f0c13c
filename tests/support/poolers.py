"""A real PgBouncer in transaction mode between gateways and the database."""

import os
import pwd
import socket
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

from support import monitoring
from support.gateways import wait_until
from support.servers import LOGIN_ROLES, PASSWORD, Server, open_folder

VARIABLES: Final[Mapping[str, str]] = {"DATABASE_PREPARED_STATEMENTS": "false"}
"""The settings that a gateway behind it needs."""


@contextmanager
def through_pgbouncer(server: Server, *roles: str, connections: int = 20) -> Iterator[Server]:
    """The server, which these roles reach through a PgBouncer with that many connections to each database.

    All other roles, such as the one that deploys, connect directly to the server.
    """
    program = monitoring.tool("pgbouncer")
    parts = urlsplit(server.url("cardbase_gateway"))
    folder_of_socket = parse_qs(parts.query).get("host", [""])[0]
    where = folder_of_socket or parts.hostname
    port = monitoring.free_port()
    # PgBouncer does not run as root, and only the embedded server's own user can use its socket.
    owner = Path(folder_of_socket).stat().st_uid if folder_of_socket else pwd.getpwnam("nobody").pw_uid
    account = pwd.getpwuid(owner) if os.geteuid() == 0 else None

    with open_folder() as folder:
        (folder / "users").write_text("".join(f'"{role}" "{PASSWORD}"\n' for role in LOGIN_ROLES))
        (folder / "pgbouncer.ini").write_text(
            f"""
            [databases]
            * = host={where} port={parts.port or 5432}

            [pgbouncer]
            listen_addr = 127.0.0.1
            listen_port = {port}
            unix_socket_dir =
            auth_type = trust
            auth_file = {folder / "users"}
            pool_mode = transaction
            default_pool_size = {connections}
            max_client_conn = 500
            """
        )
        for path in (folder / "users", folder / "pgbouncer.ini"):
            path.chmod(0o644)
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [program, folder / "pgbouncer.ini"],
                user=account and account.pw_uid,
                group=account and account.pw_gid,
                extra_groups=account and [],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:

            def address(user: str, database: str) -> str:
                if user not in roles:
                    return server.address(user, database)
                return f"postgresql://{quote(user)}:{quote(PASSWORD)}@127.0.0.1:{port}/{quote(database)}"

            def answers() -> bool:
                assert process.poll() is None, (folder / "log").read_text()
                with socket.socket() as probe:
                    return probe.connect_ex(("127.0.0.1", port)) == 0

            wait_until(answers, 30)
            yield replace(server, address=address, behind=server)
        finally:
            process.terminate()
            process.wait(30)

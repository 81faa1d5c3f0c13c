"""The system user that runs the embedded PostgreSQL: PostgreSQL refuses to run as root."""

import os
import pwd
import stat
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SYSTEM_USER: Final = "embedded_postgres"


class EmbeddedError(RuntimeError):
    """The embedded PostgreSQL cannot be used; the message is one line that says why and what to do."""


@dataclass(frozen=True)
class Account:
    """The user and group that the server's programs run as; None: those of this process."""

    uid: int | None = None
    gid: int | None = None

    @property
    def name(self) -> str:
        """The user's name, or number if it has none."""
        try:
            return pwd.getpwuid(self.uid or 0).pw_name
        except KeyError:
            return str(self.uid)

    def run(
        self,
        *command: str | Path,
        stdin: str = "",
        output: int = subprocess.PIPE,
        inherit: Iterable[int] = (),
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a command without our environment, our terminal and its signals."""
        return subprocess.run(
            command,
            user=self.uid,
            group=self.gid,
            extra_groups=None if self.uid is None else [],
            input=stdin,
            check=False,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=tuple(inherit),
            start_new_session=True,
            umask=0o077,
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "TZ": "UTC"},
        )


def server_account(folder: Path, programs: Path) -> Account:
    """The account for the server in a folder: ours, or, for root, the data's owner or else a system user.

    That user is given access to the folder and to the programs. Raises EmbeddedError.
    """
    if os.geteuid() != 0:
        return Account()
    data = folder / "postgres"
    owner = data.stat() if data.exists() else None
    account = Account(owner.st_uid, owner.st_gid) if owner and owner.st_uid else _system_account()
    _open_path(account, (folder, programs))
    _make_readable(programs.parent)
    return account


def _system_account() -> Account:
    try:
        user = pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        try:
            made = Account().run("useradd", "--system", "--no-create-home", "--shell", "/bin/false", SYSTEM_USER)
            user = pwd.getpwnam(SYSTEM_USER)  # also if another process was faster
        except (FileNotFoundError, KeyError) as error:
            reason = "useradd is not installed" if isinstance(error, FileNotFoundError) else last_line(made.stdout)
            raise EmbeddedError(
                f"PostgreSQL does not run as root, and the system user {SYSTEM_USER} cannot be created: {reason}"
            ) from error
        say(f"created the system user {SYSTEM_USER}, because PostgreSQL does not run as root")
    return Account(user.pw_uid, user.pw_gid)


def _open_path(account: Account, targets: Iterable[Path]) -> None:
    """Lets the account pass through the folders that lead to the targets; prints which ones it had to open."""
    folders = sorted({folder for target in targets for folder in (target, *target.parents)})
    if not (blocked := _impassable(account, folders)):
        return
    opened = []
    for folder in blocked:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
            opened.append(str(folder))
    say(f"let {account.name} pass through to its data and programs (chmod o+x): {', '.join(opened)}")
    if blocked := _impassable(account, folders):
        raise EmbeddedError(f"the user {account.name}, which runs PostgreSQL for root, cannot reach {blocked[0]}")


def _impassable(account: Account, folders: Iterable[Path]) -> list[Path]:
    # The kernel decides, for that user: modes alone don't tell about access control lists and mounts.
    script = r'for folder; do test -x "$folder" || printf "%s\0" "$folder"; done'
    blocked = account.run("/bin/sh", "-c", script, "sh", *folders).stdout
    return [Path(folder) for folder in blocked.split("\0") if folder]


def _make_readable(installation: Path) -> None:
    """Opens an installation that only root can read, because of a tight umask; says so."""
    everyone = stat.S_IROTH | stat.S_IXOTH
    if (installation / "bin" / "postgres").stat().st_mode & everyone == everyone:
        return
    libraries = installation.parent.parent / "embedded_postgres.libs"
    made = Account().run("chmod", "-R", "o+rX", installation, libraries)
    if made.returncode != 0:
        raise EmbeddedError(f"PostgreSQL's programs cannot be made readable: {last_line(made.stdout)}")
    say(f"made PostgreSQL's programs readable (chmod -R o+rX): {installation}, {libraries}")


def say(line: str) -> None:
    """Tells the user of the command."""
    print(f"cardbase: {line}", file=sys.stderr, flush=True)


def last_line(text: str) -> str:
    """The last line that is not blank: what a program says before it ends."""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")

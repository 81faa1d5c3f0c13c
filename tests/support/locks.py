"""A lock that a test holds, so that a statement of the gateway runs for as long as the test likes."""

import subprocess
from types import TracebackType
from typing import Self

from support.servers import Database, clean_environment, program


class Holder:
    """Another client's transaction, open until it is released.

    Its statements run as the deploying role, in order; entering waits until they are done.
    """

    def __init__(self, database: Database, *statements: str) -> None:
        self._database = database
        self._statements = statements

    def __enter__(self) -> Self:
        self._client = subprocess.Popen(
            [program("psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", self._database.url()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=clean_environment(),
        )
        assert self._client.stdin
        assert self._client.stdout
        for statement in ("begin", *self._statements):
            self._client.stdin.write(f"{statement};\n")
        self._client.stdin.write("\\echo held\n")
        self._client.stdin.flush()
        while (line := self._client.stdout.readline()) != "held\n":
            assert line, "psql has ended"
        return self

    def release(self, how: str = "rollback") -> None:
        """Ends the transaction, and waits for that."""
        if self._client.poll() is None:
            self._client.communicate(f"{how};\n")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.release()


def waiting_for_locks(database: Database) -> int:
    """How many statements wait for a lock in this database."""
    return int(
        database.execute(
            "select count(*) from pg_stat_activity where datname = current_database()"
            " and wait_event_type = 'Lock' and state = 'active'"
        )
    )

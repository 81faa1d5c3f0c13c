"""A worker process next to the gateway, so that `cardbase serve` is one program for whoever starts it."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

logger = logging.getLogger(__name__)

PAUSE_SECONDS: Final = 1.0
"""Before a worker that has died is restarted."""
STOP_SECONDS: Final = 15.0
COMMAND: Final = (sys.executable, "-m", "gateway", "worker", "--beside-gateway")


class _Worker:
    """The process, restarted whenever it ends. Its standard input stays open as long as this process lives."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._process: subprocess.Popen[bytes] | None = None
        self._is_over = threading.Event()
        self._starting = threading.Lock()

    def start(self) -> None:
        threading.Thread(target=self._keep_running, name="worker", daemon=True).start()

    def stop(self) -> None:
        with self._starting:
            self._is_over.set()
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _keep_running(self) -> None:
        while True:
            with self._starting:
                if self._is_over.is_set():
                    return
                # In its own session: a terminal's Ctrl-C is for the gateway, which then stops the worker.
                self._process = subprocess.Popen(
                    COMMAND,
                    stdin=subprocess.PIPE,
                    env={**os.environ, "WORKER_DATABASE_URL": self._url},
                    start_new_session=True,
                )
            status = self._process.wait()
            if self._is_over.wait(PAUSE_SECONDS):
                return
            logger.error("the worker died and is restarted", extra={"exit_status": status})


@contextmanager
def worker_process(database_url: str) -> Iterator[Callable[[], None]]:
    """A worker for a database, connected as cardbase_worker. Yields what starts it; it ends with the context."""
    worker = _Worker(database_url)
    try:
        yield worker.start
    finally:
        worker.stop()

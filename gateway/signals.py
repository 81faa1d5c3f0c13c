"""What the process does on signals, and how often Python collects garbage."""

import asyncio
import gc
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_signals(reload: Callable[[], object], end: Callable[[], object]) -> Iterator[None]:
    """Calls reload on SIGHUP, and end on the signals that stop the server, which waits for open responses."""
    if threading.current_thread() is not threading.main_thread():
        yield  # the application runs inside another program, whose signals are not ours
        return
    loop = asyncio.get_running_loop()
    previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(end)
        if callable(handle := previous[signal.Signals(number)]):
            handle(number, frame)

    loop.add_signal_handler(signal.SIGHUP, reload)
    for number in previous:
        signal.signal(number, stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        for number, handle in previous.items():
            signal.signal(number, handle)


def collect_rarely() -> None:
    """Makes Python look for reference cycles less often, and never among the objects that exist already.

    Requests leave hardly any cycles behind. With the default thresholds Python goes through all objects every few
    hundred requests, which takes tens of milliseconds: the slowest of a hundred requests took three times as long.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 100)

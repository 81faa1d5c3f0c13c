"""Enqueues Celery's jobs, and waits until they are completed: python -m bench.celery_run JOBS STEP.

STEP is ready (wait for the worker), meanwhile (enqueue, and wait), backlog (enqueue only) or drained (wait only).
Prints the times as JSON.
"""

import sys
import time
from datetime import datetime

import msgspec
from redis import Redis

from bench.celery_service import app, noop

RESULTS = "celery-task-meta-*"


def main(jobs: int, step: str) -> dict[str, float]:
    """Runs a step. Returns when the first job was enqueued or completed, and the last completed, in seconds."""
    store: Redis = app.backend.client
    times: dict[str, float] = {}
    if step == "ready":
        noop.delay().get(timeout=60)
        return times
    if step != "drained":
        store.delete(*store.keys(RESULTS) or ["nothing"])
        times["first_enqueued"] = time.time()
        with app.producer_or_acquire() as producer:
            for _ in range(jobs):
                noop.apply_async(producer=producer)
    if step != "backlog":
        while len(found := set(store.scan_iter(RESULTS, count=10_000))) < jobs:
            time.sleep(0.2)
        ended = [
            datetime.fromisoformat(msgspec.json.decode(value)["date_done"]).timestamp()
            for value in store.mget(list(found))
            if value is not None
        ]
        times |= {"first_completed": min(ended), "last_completed": max(ended)}
    return times


if __name__ == "__main__":
    print(msgspec.json.encode(main(int(sys.argv[1]), sys.argv[2])).decode())

"""What Celery is measured with: a job that does nothing, as the job of kind test does."""

import os
from typing import Final

from celery import Celery  # type: ignore[import-untyped]

app: Final = Celery("bench", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(broker_connection_retry_on_startup=True, broker_transport_options={"visibility_timeout": 3600})


@app.task(name="noop")  # type: ignore[untyped-decorator]
def noop() -> dict[str, str]:
    """Answers what the job of kind test answers."""
    return {"message": "done"}

"""The job that Celery is measured with: like the job of kind test, it does nothing."""

import os
from typing import Final

from celery import Celery  # type: ignore[import-untyped]

app: Final = Celery("bench", broker=os.environ["REDIS_URL"], backend=os.environ["REDIS_URL"])
app.conf.update(broker_connection_retry_on_startup=True, broker_transport_options={"visibility_timeout": 3600})


@app.task(name="noop")  # type: ignore[untyped-decorator]
def noop() -> dict[str, str]:
    """Returns what the job of kind test returns."""
    return {"message": "done"}

"""Runs calls with the official Python client, whichever version this interpreter has, and prints what it answers.

Reads from standard input {"address", "headers", "calls": [call]}, a call being {"function", "arguments", "options",
"then": [[method, argument, …], …]}. Prints a JSON array with, for each call, {"data", "count", "error"}.
"""

import json
import sys
from typing import Any

from postgrest import APIError, SyncPostgrestClient


def answer(client: Any, call: Any) -> Any:
    """What the client makes of one call."""
    builder = client.rpc(call["function"], call["arguments"], **call["options"])
    for method, *arguments in call["then"]:
        builder = getattr(builder, method)(*arguments)
    try:
        response = builder.execute()
    except APIError as error:
        said = {"code": error.code, "message": error.message, "details": error.details, "hint": error.hint}
        return {"data": None, "count": None, "error": said}
    # maybe_single answers None itself where there is no row.
    return {"data": response and response.data, "count": response and response.count, "error": None}


def main() -> None:
    """Runs the calls."""
    asked = json.load(sys.stdin)
    with SyncPostgrestClient(asked["address"], headers=asked["headers"]) as client:
        answers = [answer(client, call) for call in asked["calls"]]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()

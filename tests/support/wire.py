"""Requests byte by byte, for what no HTTP client would send."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from support.gateways import Gateway


class Answer(NamedTuple):
    """A response; the names of its headers are in lower case."""

    status: int
    headers: dict[str, str]
    body: Any


class Connection:
    """A connection on which any bytes are sent."""

    def __init__(self, gateway: Gateway) -> None:
        self._socket = socket.create_connection(("127.0.0.1", gateway.port), timeout=30)
        self._stream = self._socket.makefile("rb")

    def send(self, data: bytes, *, size: int | None = None) -> None:
        """Sends bytes: at once, or in pieces of a size."""
        for start in range(0, len(data), size or len(data) or 1):
            self._socket.sendall(data[start : start + (size or len(data))])

    def send_on(self) -> None:
        """Sends until the connection is closed."""
        while True:
            self.send(b"x" * 1_000_000)

    def answer(self) -> Answer:
        """The next response, which is JSON."""
        status = int(self._stream.readline().split()[1])
        lines = iter(lambda: self._stream.readline().decode().rstrip("\r\n"), "")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Answer(status, headers, json.loads(self._stream.read(int(headers["content-length"]))))

    @property
    def is_at_end(self) -> bool:
        """Whether the gateway sends nothing more."""
        return self._stream.read() == b""

    def close(self) -> None:
        self._stream.close()
        self._socket.close()


@contextmanager
def connected(gateway: Gateway) -> Iterator[Connection]:
    """A connection to a gateway."""
    connection = Connection(gateway)
    try:
        yield connection
    finally:
        connection.close()


def post(path: str, **headers: str) -> bytes:
    """The request line and headers of a POST."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join((*lines, "", "")).encode()

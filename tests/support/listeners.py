"""A client that listens to a gateway's events."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from support.gateways import Gateway, wait_until

SECONDS: Final = 30.0


class Told(NamedTuple):
    """One event."""

    kind: str
    id: Any
    data: Any


class Listener:
    """An open stream, read in a thread."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.response = response
        self.told: list[Told] = []
        """All events except those that only carry a newer id."""
        self.last_id = ""
        self.comments = 0
        self.retry = 0
        self.thread = threading.Thread(target=self._read, daemon=True)

    def _read(self) -> None:
        fields: dict[str, str] = {}
        try:
            for raw in self.response:
                name, _, value = raw.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = value
                    continue
                self.comments += ":" in fields
                self.retry = int(fields.get("retry", self.retry))
                if "id" in fields:
                    if fields["event"] != "position":
                        self.told.append(Told(fields["event"], fields["id"], json.loads(fields["data"])))
                    self.last_id = fields["id"]
                fields = {}
        except (OSError, http.client.HTTPException, ValueError, AttributeError):
            pass  # cut off, by either side; a response that is closed meanwhile even loses attributes

    @property
    def kinds(self) -> list[str]:
        return [each.kind for each in self.told]

    def wait_for(self, *kinds: str) -> list[Told]:
        """Waits until that many events have arrived, and returns them: they must be these."""
        wait_until(lambda: len(self.told) >= len(kinds), SECONDS)
        assert self.kinds == list(kinds)
        return self.told

    def wait_for_end(self) -> None:
        """Waits until the gateway has ended the stream."""
        self.thread.join(SECONDS)
        assert not self.thread.is_alive(), "the stream goes on"


@contextmanager
def request(
    gateway: Gateway,
    token: str,
    last_event_id: str = "",
    query: Mapping[str, str] | None = None,
    *,
    receive_bytes: int = 0,
) -> Iterator[http.client.HTTPResponse]:
    """The response to a request for a stream, unread. receive_bytes: the size of the socket's receive buffer."""
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=SECONDS)
    connection.sock = socket.socket()
    if receive_bytes:
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.sock.connect(("127.0.0.1", gateway.port))
    connection.sock.settimeout(SECONDS)
    headers = {"Authorization": f"Bearer {token}"} | ({"Last-Event-ID": last_event_id} if last_event_id else {})
    connection.request("GET", f"/api/v1/events?{urlencode(query or {})}", headers=headers)
    opened = connection.sock  # when the response ends, the connection loses it
    try:
        yield connection.getresponse()
    finally:
        with suppress(OSError):
            opened.shutdown(socket.SHUT_RDWR)
        connection.close()


@contextmanager
def listening(
    gateway: Gateway, token: str, last_event_id: str = "", query: Mapping[str, str] | None = None
) -> Iterator[Listener]:
    """A stream that is open and being read."""
    with request(gateway, token, last_event_id, query) as response:
        assert response.status == 200, response.read()
        listener = Listener(response)
        listener.thread.start()
        yield listener
    listener.thread.join(SECONDS)

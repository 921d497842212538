"""A web hook receiver on loopback that checks what it gets against the specification's own library."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook


@dataclass(frozen=True)
class Received:
    """One verified message."""

    webhook_id: str
    events: list[dict[str, Any]]


@dataclass
class Receiver:
    """Listens until `close`. `received` in order of arrival; `refused` counts what did not verify."""

    secret: str
    received: list[Received] = field(default_factory=list)
    refused: int = 0

    def __post_init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                try:
                    Webhook(receiver.secret).verify(body, dict(self.headers.items()))
                except Exception:  # noqa: BLE001 - whatever the library finds wrong
                    receiver.refused += 1
                    self.send_response(401)
                else:
                    content = json.loads(body)
                    receiver.received.append(Received(str(self.headers["webhook-id"]), content))
                    self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Says nothing: the test reports what matters."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}/alerts"

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

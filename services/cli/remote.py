"""How a command calls a service: the local system's unless another is named; what it refuses becomes a sentence."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx2
import typer

from services.cli.faults import CommandFault
from services.cli.targets import fact, local_token, running_instance, web_address

_PATIENCE = 10.0  # seconds for one answer
_LONG_PATIENCE = 60.0  # the same, to a file
_ATTEMPTS = 30  # while the service says that it cannot take anything for now
_BEARER = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750
Url = Annotated[str | None, typer.Option(help="the service's public address, instead of the local one")]
TokenFile = Annotated[Path | None, typer.Option(help="a file with a bearer token; by default one of the local issuer")]
AsJson = Annotated[bool, typer.Option("--json", help="for programs")]


@dataclass(frozen=True, slots=True)
class Remote:
    """A service as one command calls it. `role` is what the local issuer puts into the token."""

    service: str
    role: Literal["admin", "operator"]
    url: str | None = None
    token_file: Path | None = None
    instance: str | None = None

    def call(
        self,
        method: Literal["GET", "POST", "DELETE"],
        path: str,
        query: Mapping[str, str | None] | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        patience: float = _PATIENCE,
    ) -> dict[str, Any]:
        """Return the JSON answer; raise `CommandFault` with what the service says, or that it does not answer.

        `patience` is how many seconds the service may take.
        """
        given = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            answer = httpx2.request(
                method, self.address + path, params=given, json=body, headers=self._headers(), timeout=patience
            )
        except httpx2.HTTPError as away:
            raise self._away(away) from None
        return self._said(answer)

    @contextmanager
    def uploads(self) -> Iterator[Uploads]:
        """Keep a connection for many requests that carry files or parts of them."""
        with httpx2.Client(base_url=self.address, timeout=_LONG_PATIENCE) as client:
            yield Uploads(self, client)

    @property
    def address(self) -> str:
        """The service's address, without a slash at its end."""
        return web_address(self.url or fact(running_instance(self.instance), "services")[self.service]["http"])

    def _away(self, away: httpx2.HTTPError) -> CommandFault:
        return CommandFault(f"{self.address} does not answer ({type(away).__name__}); is it running?")

    def _said(self, answer: httpx2.Response) -> dict[str, Any]:
        try:
            said = answer.json()
        except ValueError:
            said = {}
        if answer.is_success and isinstance(said, dict):
            return said
        told = said if isinstance(said, dict) else {}
        why = told.get("detail") or told.get("title") or f"HTTP {answer.status_code}"
        errors = [
            error for error in told.get("errors", ()) if isinstance(error, dict) and {"field", "message"} <= {*error}
        ]
        wrong = "; ".join(
            ", ".join(filter(None, (f"{error['field']}: {error['message']}", error.get("remedy")))) for error in errors
        )
        raise CommandFault(f"{self.service} says: {why}{f' ({wrong})' if wrong else ''}")

    def _headers(self) -> dict[str, str]:
        if self.token_file is not None:
            bearer = self.token_file.read_bytes().strip().decode("ascii", "replace")
            if not _BEARER.fullmatch(bearer):
                raise CommandFault(f"{self.token_file} holds no bearer token: one word of letters, digits and -._~+/=.")
        else:
            bearer = local_token(self.instance, "tenure", [self.role], timedelta(minutes=5))
        return {"authorization": f"Bearer {bearer}"}


@dataclass(frozen=True, slots=True)
class Uploads:
    """Sends to a service in requests of any number, from any thread. While it can take nothing they wait."""

    remote: Remote
    client: httpx2.Client

    def send(
        self,
        path: str,
        content: bytes,
        media: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Return the JSON answer; raise `CommandFault` as `Remote.call` does, and when it takes nothing for minutes."""
        for _ in range(_ATTEMPTS):
            # Asked for each time: a token of our own issuer lives for minutes, and a file may be renewed meanwhile.
            all_headers = {**(headers or {}), "content-type": media, **self.remote._headers()}  # noqa: SLF001 - the two are one client
            try:
                answer = self.client.post(path, content=content, params=dict(query or {}), headers=all_headers)
            except httpx2.HTTPError as away:
                raise self.remote._away(away) from None  # noqa: SLF001 - see above
            if answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                return self.remote._said(answer)  # noqa: SLF001 - see above
            time.sleep(float(answer.headers.get("retry-after", "1")))
        raise CommandFault(
            f"{self.remote.service} could take nothing for a while; try again later, nothing will double."
        )

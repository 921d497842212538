"""How a command calls a service: the local system's unless another is named; what it refuses becomes a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import httpx2
import typer

from services.cli.faults import CommandFault
from services.cli.targets import fact, local_token, running_instance

_PATIENCE = 10.0  # seconds for one answer
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
    ) -> dict[str, Any]:
        """Return the JSON answer; raise `CommandFault` with what the service says, or that it does not answer."""
        base = self.url or str(fact(running_instance(self.instance), "services")[self.service]["http"])
        given = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            answer = httpx2.request(
                method, base.rstrip("/") + path, params=given, json=body, headers=self._headers(), timeout=_PATIENCE
            )
        except httpx2.HTTPError as away:
            raise CommandFault(f"{base} does not answer ({type(away).__name__}); is it running?") from None
        try:
            said = answer.json()
        except ValueError:
            said = {}
        if not answer.is_success:
            why = said.get("detail") or said.get("title") or f"HTTP {answer.status_code}"
            wrong = "; ".join(f"{error['field']}: {error['message']}" for error in said.get("errors", ()))
            raise CommandFault(f"{self.service} says: {why}{f' ({wrong})' if wrong else ''}")
        return dict(said)

    def _headers(self) -> dict[str, str]:
        if self.token_file is not None:
            bearer = self.token_file.read_text(encoding="ascii").strip()
        else:
            bearer = local_token(self.instance, "tenure", [self.role], timedelta(minutes=5))
        return {"authorization": f"Bearer {bearer}"}

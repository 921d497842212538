"""`tenure dead-letters reread`: what was kept raw goes through its source's mapping again, once that was mended."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from services.cli.faults import CommandFault
from services.cli.options import grouped
from services.cli.remote import Remote, TokenFile, Uploads, Url
from services.cli.targets import InstanceName

_LETTERS = "/v1/dead-letters"
_KEPT = "tenure_header_"
_PART = "tenure_part"


@dataclass(frozen=True, slots=True)
class Where:
    """Whom to ask."""

    url: Url = None
    accounts_url: Annotated[str | None, typer.Option(help="accounts' public address, which keeps the letters")] = None
    token_file: TokenFile = None
    instance: InstanceName = None

    def remote(self, service: str) -> Remote:
        """One of the two as an operator calls it."""
        if (self.url is None) != (self.accounts_url is None):
            raise CommandFault("Name both: --url of ingest and --accounts-url.")
        url = self.url if service == "ingest" else self.accounts_url
        return Remote(service, "operator", url, self.token_file, self.instance)


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a provider sent, and the letters that hold it."""

    source: str
    parts: Sequence[str]
    """A letter for each part, in order."""
    letters: Sequence[str]
    """All of them; what came twice has two."""
    headers: Mapping[str, str]


def register(letters: typer.Typer) -> None:
    """Adds the command to those about dead letters."""
    letters.command(name="reread")(grouped(reread))


def reread(
    where: Where,
    source: Annotated[str | None, typer.Option(help="only from one source")] = None,
    since: Annotated[str | None, typer.Option(help="only since a moment, such as 2026-03-02T09:00:00Z")] = None,
    until: Annotated[str | None, typer.Option(help="only before a moment")] = None,
) -> None:
    """Have ingest read again what it had not understood; exit with 1 when some of it still is not.

    What is understood is taken like any delivery (a second time changes nothing), and its letters are settled.
    """
    query = {"reason": "unmapped", "source": None if source is None else f"/sources/{source}"}
    accounts = where.remote("accounts")
    deliveries, lacking = _gathered(_waiting(accounts, {**query, "since": since, "until": until}))
    read, left = 0, 0
    with where.remote("ingest").uploads() as ingest:
        for delivery in deliveries:
            said = _again(accounts, ingest, delivery)
            if isinstance(said, CommandFault):
                left += 1
                typer.echo(f"{delivery.letters[0]} of {delivery.source}: {said}")
                continue
            read += 1
            for letter in delivery.letters:
                accounts.call("DELETE", f"{_LETTERS}/{letter}", {"why": f"read again: {said['accepted']} events"})
    typer.echo(f"{read} deliveries are understood now, {left} are not")
    if lacking:
        typer.echo(f"{lacking} letters are parts of which others are missing: widen --since and --until")
    if left or lacking:
        raise typer.Exit(1)


def _waiting(accounts: Remote, query: Mapping[str, str | None]) -> Iterator[Mapping[str, Any]]:
    before: str | None = None
    while True:
        page = accounts.call("GET", _LETTERS, {**query, "before": before, "limit": "500"})
        for item in page["items"]:
            yield accounts.call("GET", f"{_LETTERS}/{item['id']}")
        before = page["next"]
        if before is None:
            return


def _gathered(letters: Iterable[Mapping[str, Any]]) -> tuple[Sequence[Delivery], int]:
    """Return what letters hold, parts put together, and how many letters lack a part; bodies are not kept."""
    parts: dict[tuple[str, str], dict[int, list[str]]] = {}
    kept: dict[tuple[str, str], tuple[int, Mapping[str, str]]] = {}
    for letter in letters:
        named = {one["name"]: b64decode(one["value"] or "").decode("utf-8", "replace") for one in letter["headers"]}
        whole = (str(letter["source"]).removeprefix("/sources/"), str(letter["key"]))
        place, _, number = named.get(_PART, "1/1").partition("/")
        parts.setdefault(whole, {}).setdefault(int(place), []).append(letter["id"])
        headers = {name.removeprefix(_KEPT): value for name, value in named.items() if name.startswith(_KEPT)}
        kept[whole] = int(number), headers
    found, lacking = [], 0
    for whole, places in parts.items():
        needed, also = kept[whole]
        ids = [id_ for those in places.values() for id_ in those]
        if len(places) < needed:
            lacking += len(ids)
        else:
            found.append(Delivery(whole[0], [places[place][0] for place in sorted(places)], ids, also))
    return found, lacking


def _again(accounts: Remote, ingest: Uploads, delivery: Delivery) -> Mapping[str, Any] | CommandFault:
    parts = (accounts.call("GET", f"{_LETTERS}/{letter}")["value"] for letter in delivery.parts)
    body = b"".join(b64decode(part or "") for part in parts)
    media = delivery.headers.get("content-type", "application/json")
    kept = {name: value for name, value in delivery.headers.items() if name != "content-type"}
    try:
        return ingest.send(f"/v1/replay/{delivery.source}", body, media, headers=kept)
    except CommandFault as fault:
        return fault

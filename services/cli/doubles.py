"""`tenure doubles`: interactions that look like one, with the reasons; what they are, a person decides."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from services.cli.options import grouped
from services.cli.remote import AsJson, Remote, TokenFile, Url
from services.cli.targets import InstanceName
from services.cli.terminal import on_terminal, show_rows

_PAGES = 1000
One = Annotated[str, typer.Argument(help="the id of one of the two, from `tenure doubles list`")]
Other = Annotated[str, typer.Argument(help="the id of the other")]


@dataclass(frozen=True, slots=True)
class Where:
    """Which accounts service."""

    url: Url = None
    token_file: TokenFile = None
    instance: InstanceName = None

    def post(self, path: str, body: Mapping[str, str]) -> Mapping[str, Any]:
        """Decide something."""
        return self.remote.call("POST", f"/v1/doubles/{path}", body=body)

    @property
    def remote(self) -> Remote:
        """Accounts, as somebody who sees everything."""
        return Remote("accounts", "admin", self.url, self.token_file, self.instance)


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    doubles = typer.Typer(help="Interactions that look like one: list them and decide.", no_args_is_help=True)
    doubles.command(name="list")(list_doubles)
    doubles.command(name="dismiss")(dismiss)
    doubles.command(name="withdraw")(withdraw)
    doubles.command(name="decisions")(list_decisions)
    doubles.command(name="restore")(restore)
    app.add_typer(doubles, name="doubles")


@grouped
def list_doubles(
    where: Where,
    account: Annotated[str | None, typer.Option(help="only those of one account: its id, or key:<its key>")] = None,
    kind: Annotated[str | None, typer.Option(help="only one kind, such as order")] = None,
    since: Annotated[
        str | None, typer.Option(help="from this moment on (2026-03-02T00:00:00Z); by default 90 days")
    ] = (None),
    until: Annotated[str | None, typer.Option(help="before this moment")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List suspected doubles with their reasons, the latest first."""
    found: list[Mapping[str, Any]] = []
    query: dict[str, str | None] = {"account": account, "kind": kind, "since": since, "until": until}
    for _ in range(_PAGES):
        page = where.remote.call("GET", "/v1/doubles", query)
        found += page["items"]
        if page["next"] is None:
            break
        query["cursor"] = page["next"]
    if as_json:
        typer.echo(json.dumps(found))
    elif not found:
        typer.echo("no suspected doubles")
    else:
        show_table(found)


@grouped
def list_decisions(where: Where, *, as_json: AsJson = False) -> None:
    """List what was decided about suspected doubles, the latest first: what `restore` can take back."""
    found = where.remote.call("GET", "/v1/doubles/decisions")["items"]
    if as_json:
        typer.echo(json.dumps(found))
        return
    for one in found:
        gone = f", {one['withdrawn_id']} counts no more" if one["withdrawn_id"] else ""
        typer.echo(f"{one['decided_at']} {one['one_id']} {one['other_id']}: {one['decision']} by {one['by']}{gone}")
    if not found:
        typer.echo("nothing was decided")


@grouped
def dismiss(where: Where, one: One, other: Other) -> None:
    """Say that the two are two; they are listed no more."""
    where.post("dismissals", {"one": one, "other": other})
    typer.echo("dismissed")


@grouped
def withdraw(
    where: Where, double: One, keep: Annotated[str, typer.Argument(help="the id of the one that stays")]
) -> None:
    """Say that the first is a double of the second: it becomes nobody's, until it is restored."""
    where.post("withdrawals", {"one": double, "other": keep, "keep": keep})
    typer.echo(f"{double} counts no more; {keep} stays")


@grouped
def restore(where: Where, one: One, other: Other) -> None:
    """Take back what was decided about the two."""
    where.post("restorations", {"one": one, "other": other})
    typer.echo("restored")


def show_table(found: Sequence[Mapping[str, Any]]) -> None:
    """Print suspected doubles: with what each of the two is on a terminal, a line for each pair elsewhere."""
    if not on_terminal():
        rows = [(one["kind"], one["one"]["id"], f"{one['other']['id']}:", "; ".join(one["reasons"])) for one in found]
    else:
        rows = [(one["kind"], _told(one["one"]), _told(one["other"]), "\n".join(one["reasons"])) for one in found]
    show_rows(("kind", "one", "other", "reasons"), rows)


def _told(one: Mapping[str, Any]) -> str:
    how = "imported" if one["imported"] else "live"
    return f"{one['id']}\n{one['system']} {one['native_id']}\n{one['occurred_at']} {how}\n{one['title'] or ''}"

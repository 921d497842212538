"""`tenure alerts`: the alerts that are there, and one of them with everything that fired it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import httpx2
import typer
from rich.console import Console
from rich.table import Table

from services.cli.faults import CommandFault
from services.cli.targets import InstanceName, fact, local_token, running_instance

_PATIENCE = 10.0  # seconds for one answer
_SUBJECT = "tenure-alerts"
_STYLES = {"alert": "red", "warn": "yellow"}
Url = Annotated[str | None, typer.Option(help="the notifier's public address, instead of this checkout's")]
TokenFile = Annotated[Path | None, typer.Option(help="a file with a bearer token; by default an administrator's")]
AsJson = Annotated[bool, typer.Option("--json", help="for programs")]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    alerts = typer.Typer(help="The alerts that are there, and what fired each of them.", no_args_is_help=True)
    alerts.command(name="list")(list_alerts)
    alerts.command(name="show")(show_alert)
    app.add_typer(alerts, name="alerts")


def list_alerts(
    state: Annotated[str, typer.Option(help="open, acknowledged, snoozed, resolved, unresolved or any")] = "unresolved",
    account: Annotated[str | None, typer.Option(help="only those of one account (its id)")] = None,
    rule: Annotated[str | None, typer.Option(help="only those of one rule, such as stale_touch")] = None,
    url: Url = None,
    token_file: TokenFile = None,
    *,
    instance: InstanceName = None,
    as_json: AsJson = False,
) -> None:
    """List alerts, the latest change first."""
    wanted = {"state": state, "account": account, "rule": rule, "limit": "500"}
    query = {name: value for name, value in wanted.items() if value is not None}
    found: list[Mapping[str, Any]] = _get("/v1/alerts", query, url, token_file, instance)["items"]
    if as_json:
        typer.echo(json.dumps(found))
        return
    if not found:
        typer.echo("no alerts")
        return
    _show_table(found)


def show_alert(
    alert: Annotated[str, typer.Argument(help="the alert's id, from `tenure alerts list`")],
    url: Url = None,
    token_file: TokenFile = None,
    *,
    instance: InstanceName = None,
    as_json: AsJson = False,
) -> None:
    """Show one alert: what happened, on what evidence, by which rule, what to do next, and its history."""
    found = _get(f"/v1/alerts/{alert}", {}, url, token_file, instance)
    if as_json:
        typer.echo(json.dumps(found))
        return
    for line in told(found):
        typer.echo(line)


def told(alert: Mapping[str, Any]) -> list[str]:
    """Return an alert line by line, for a person. Times are as the API gives them, in UTC."""
    evidence = alert.get("evidence", {})
    lines = [
        alert["title"],
        f"{alert['severity']}, {alert['state']}, since {_moment(alert['opened_at'])}",
        "",
        alert["explanation"],
        "",
        "Evidence",
    ]
    lines += [f"  {_moment(item['occurred_at'])}  {item['summary']}" for item in evidence.get("items", ())]
    lines += [f"  {_figure(figure)}" for figure in evidence.get("figures", ())]
    if "horizon" in evidence:
        lines.append(f"  known up to {_moment(evidence['horizon'])}")
    lines += [f"  not verified: {line}" for line in evidence.get("unverified", ())]
    lines += ["", f"Next: {alert['advice']}", f"Rule: {alert['rule']}, version {alert['rule_version']}", "", "History"]
    lines += [
        f"  {_moment(step['at'])}  {step['step']} ({step['severity']}){' by a person' if step['by'] else ''}"
        for step in alert.get("history", ())
    ]
    return lines


def _figure(figure: Mapping[str, Any]) -> str:
    value = f": {figure['value']}" if "value" in figure else ""
    limit = f" (limit {figure['threshold']})" if "threshold" in figure else ""
    return f"{figure['name']}{value}{limit}"


def _moment(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M} UTC"


def _show_table(alerts: list[Mapping[str, Any]]) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        for alert in alerts:
            console.print(
                f"{alert['alert_id']} {alert['severity']} {alert['state']} {alert['rule']} {alert['title']}",
                markup=False,
                soft_wrap=True,
            )
        return
    table = Table(box=None, pad_edge=False)
    for title in ("severity", "state", "alert", "since", "id"):
        table.add_column(title)
    for alert in alerts:
        style = _STYLES.get(alert["severity"]) if alert["state"] == "open" else None
        row = (alert["severity"], alert["state"], alert["title"], _moment(alert["opened_at"]), alert["alert_id"])
        table.add_row(*row, style=style)
    console.print(table)


def _get(
    path: str, query: Mapping[str, str], url: str | None, token_file: Path | None, instance: str | None
) -> dict[str, Any]:
    base = url or str(fact(running_instance(instance), "services")["notifier"]["http"])
    if token_file is not None:
        bearer = token_file.read_text(encoding="ascii").strip()
    else:
        bearer = local_token(instance, _SUBJECT, ["admin"], timedelta(minutes=5))
    try:
        answer = httpx2.get(
            base.rstrip("/") + path, params=query, headers={"authorization": f"Bearer {bearer}"}, timeout=_PATIENCE
        )
    except httpx2.HTTPError as away:
        raise CommandFault(f"{base} does not answer ({type(away).__name__}); is it running?") from None
    try:
        body = answer.json()
    except ValueError:
        body = {}
    if answer.status_code != HTTPStatus.OK:
        said = body.get("detail") or body.get("title") or f"HTTP {answer.status_code}"
        wrong = "; ".join(f"{error['field']}: {error['message']}" for error in body.get("errors", ()))
        raise CommandFault(f"The notifier says: {said}{f' ({wrong})' if wrong else ''}")
    return dict(body)

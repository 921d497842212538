"""`tenure alerts`: the alerts that are there, and one of them with everything that fired it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import typer

from services.cli.remote import AsJson, Remote, TokenFile, Url
from services.cli.targets import InstanceName
from services.cli.terminal import on_terminal, plain, show_rows

_STYLES = {"alert": "red", "warn": "yellow"}


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    alerts = typer.Typer(help="The alerts that are there, and what fired each of them.", no_args_is_help=True)
    alerts.command(name="list")(list_alerts)
    alerts.command(name="show")(show_alert)
    alerts.command(name="deliveries")(list_deliveries)
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
    found = list(_all_pages(Remote("notifier", "admin", url, token_file, instance), wanted))
    if as_json:
        typer.echo(json.dumps(found))
        return
    if not found:
        typer.echo("no alerts")
        return
    show_table(found)


def _all_pages(notifier: Remote, wanted: Mapping[str, str | None]) -> Iterator[Mapping[str, Any]]:
    cursor: str | None = None
    while True:
        page = notifier.call("GET", "/v1/alerts", {**wanted, "cursor": cursor})
        yield from page["items"]
        if page["next"] is None:
            return
        cursor = page["next"]


def show_alert(
    alert: Annotated[str, typer.Argument(help="the alert's id, from `tenure alerts list`")],
    url: Url = None,
    token_file: TokenFile = None,
    *,
    instance: InstanceName = None,
    as_json: AsJson = False,
) -> None:
    """Show one alert: what happened, on what evidence, by which rule, what to do next, and its history."""
    found = Remote("notifier", "admin", url, token_file, instance).call("GET", f"/v1/alerts/{alert}")
    if as_json:
        typer.echo(json.dumps(found))
        return
    for line in told(found):
        typer.echo(line)


def list_deliveries(
    state: Annotated[str, typer.Option(help="waiting, delivered, dead (given up after 72 hours) or any")] = "dead",
    url: Url = None,
    token_file: TokenFile = None,
    *,
    instance: InstanceName = None,
    as_json: AsJson = False,
) -> None:
    """List deliveries, by default those that were given up; exit with 1 when there are any of these."""
    notifier = Remote("notifier", "operator", url, token_file, instance)
    found: list[Mapping[str, Any]] = notifier.call("GET", "/v1/deliveries", {"state": state, "limit": "500"})["items"]
    if as_json:
        typer.echo(json.dumps(found))
    for one in () if as_json else found:
        attempts = f"{one['attempts']} attempt{'' if one['attempts'] == 1 else 's'}"
        said = one["last_outcome"] or "not tried yet"
        typer.echo(plain(f"{one['delivery_id']} {one['state']} {one['kind']} {one['name']}: {attempts}, {said}"))
    if not found and not as_json:
        typer.echo("no deliveries" if state == "any" else f"no deliveries that are {state}")
    if any(one["state"] == "dead" for one in found):
        raise typer.Exit(1)


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
    return [plain(line) for line in lines]


def _figure(figure: Mapping[str, Any]) -> str:
    value = f": {figure['value']}" if "value" in figure else ""
    limit = f" (limit {figure['threshold']})" if "threshold" in figure else ""
    return f"{figure['name']}{value}{limit}"


def _moment(text: str) -> str:
    return f"{datetime.fromisoformat(text):%Y-%m-%d %H:%M} UTC"


def show_table(alerts: Sequence[Mapping[str, Any]]) -> None:
    """Print alerts: for a person on a terminal, a line each elsewhere."""
    if not on_terminal():
        show_rows(
            (), [[alert[name] for name in ("alert_id", "severity", "state", "rule", "title")] for alert in alerts]
        )
        return
    rows = [
        (alert["severity"], alert["state"], alert["title"], _moment(alert["opened_at"]), alert["alert_id"])
        for alert in alerts
    ]
    styles = [_STYLES.get(alert["severity"]) if alert["state"] == "open" else None for alert in alerts]
    show_rows(("severity", "state", "alert", "since", "id"), rows, styles)

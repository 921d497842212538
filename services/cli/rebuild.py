"""`tenure rebuild`: a service's tables anew from what accounts says again, beside live traffic, compared, swapped in.

The work is done by the services; this command asks for its three steps and shows how far they are. Interrupted, it is
run again and goes on where they are by then.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Annotated, Any, Literal

import typer

from services.cli.faults import CommandFault
from services.cli.remote import AsJson, Remote, TokenFile, Url
from services.cli.targets import InstanceName
from services.cli.terminal import progress

Rebuilt = Literal["metrics", "notifier"]
_LOOK_EVERY = 0.5  # seconds
_SAY_EVERY = 5.0  # seconds, between plain lines

Report = Callable[[str], None]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command()(rebuild)


def rebuild(
    service: Annotated[Rebuilt, typer.Argument(help="metrics or notifier")],
    url: Url = None,
    accounts_url: Annotated[str | None, typer.Option(help="the address of accounts, instead of the local one")] = None,
    token_file: TokenFile = None,
    instance: InstanceName = None,
    *,
    abandon: Annotated[
        bool, typer.Option("--abandon", help="give up the one under way, or drop the tables that the last one replaced")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Build a service's tables anew beside live traffic and swap them in; say what differed."""
    remote = Remote(service, "operator", url, token_file, instance)
    if abandon:
        found = remote.call("DELETE", "/v1/rebuild")
        said = f"{service}: what was filled or replaced is dropped; the live tables are as they were."
    else:
        accounts = Remote("accounts", "operator", accounts_url, token_file, instance)
        with progress() as report:
            found = _rebuild(remote, accounts, _seldom(report))
        said = _sentence(service, found)
    typer.echo(json.dumps(found) if as_json else said)


def _rebuild(remote: Remote, accounts: Remote, report: Report) -> dict[str, Any]:
    """Every step is asked for in a way that may be asked again."""
    found = remote.call("POST", "/v1/rebuild")
    if found["phase"] == "filling" and not found["republished"]:
        run = _republish(accounts, found["rebuild_id"])
        while not run["published"]:
            if run["state"] == "stopped":
                message = "somebody stopped what accounts was saying again; run this command again to have it said anew"
                raise CommandFault(f"The rebuild cannot go on: {message}.")
            filled = remote.call("GET", "/v1/rebuild")
            report(f"accounts has said {run['said']} states again; {_filled(filled)}")
            time.sleep(_LOOK_EVERY)
            run = accounts.call("GET", f"/v1/republish/{run['id']}")
        found = remote.call("POST", "/v1/rebuild/republished")
    while found["phase"] == "filling":
        report(_filled(found))
        time.sleep(_LOOK_EVERY)
        found = remote.call("GET", "/v1/rebuild")
    return found


def _republish(accounts: Remote, rebuild_id: str) -> dict[str, Any]:
    """The run that an interrupted command began for this rebuild, else a new one.

    Ids of both begin with the real time at which they were given: a run with a greater one began later, so everything
    of it lies behind the place from which on the rebuild reads.
    """
    for run in accounts.call("GET", "/v1/republish")["items"]:
        whole = {"teams", "users", "accounts", "activity"} <= set(run["parts"])
        if run["id"] > rebuild_id and whole and run["state"] != "stopped" and not run["fresh_versions"]:
            return dict(run)
    return accounts.call("POST", "/v1/republish")


def _filled(found: dict[str, Any]) -> str:
    return f"{found.get('done', 0)} records read, {found.get('left', 0)} left ({found.get('status', found['phase'])})"


def _seldom(report: Report) -> Report:
    """Says what is new at once on a terminal and every few seconds elsewhere."""
    every, last = 0.0 if sys.stderr.isatty() else _SAY_EVERY, -_SAY_EVERY

    def say(text: str) -> None:
        nonlocal last
        if time.monotonic() - last >= every:
            last = time.monotonic()
            report(text)

    return say


def _sentence(service: str, found: dict[str, Any]) -> str:
    told = found.get("found")
    if not told:
        return f"{service}: somebody gave up this rebuild; the live tables are as they were."
    size = f"{told['interactions']} interactions of {told['accounts']} accounts"
    different = told["different_accounts"]
    other = told["different_roll_ups"] + sum(told["different_copies"].values())
    if not different and not other:
        return f"{service} was rebuilt from {size}: every value is what it was."
    ids = ", ".join(told["different_account_ids"])
    lines = [f"{service} was rebuilt from {size}. What was in use until now was wrong, and is mended and published:"]
    if different:
        lines.append(f"  {different} accounts had other figures: {ids}{' …' if different > len(ids.split()) else ''}")
    if told["different_roll_ups"]:
        lines.append(f"  {told['different_roll_ups']} days of managers, teams or the portfolio had other figures")
    lines += [f"  {count} rows of {table} differed" for table, count in told["different_copies"].items()]
    return "\n".join(lines)

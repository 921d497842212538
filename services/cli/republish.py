"""`tenure republish`: current states said again on their topics, for new topics and new readers."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from services.cli.faults import CommandFault
from services.cli.remote import AsJson, Remote, TokenFile, Url
from services.cli.targets import InstanceName
from services.cli.terminal import progress

TOPICS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "tenure.accounts": ("accounts", ("teams", "users", "accounts")),
    "tenure.activity": ("accounts", ("activity",)),
    "tenure.kpis": ("metrics", ("kpis",)),
    "tenure.alerts": ("notifier", ("alerts",)),
}
"""By topic the service that owns it, and the kinds of states that it carries."""
_LOOK_SECONDS = 0.5


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("republish")(republish)


def republish(
    topic: Annotated[
        list[str] | None, typer.Option(help=f"which, of {', '.join(TOPICS)}; without any, all of them")
    ] = None,
    url: Url = None,
    token_file: TokenFile = None,
    instance: InstanceName = None,
    *,
    wait: Annotated[bool, typer.Option(help="until everything has been published")] = True,
    stop: Annotated[bool, typer.Option("--stop", help="stop the runs that are under way instead")] = False,
    as_json: AsJson = False,
) -> None:
    """Say current states again, with the versions that they have: readers who know them ignore them.

    A run belongs to the service: it goes on when this command is interrupted, and after a restart of the service.
    """
    wanted = _wanted(topic or list(TOPICS))
    if url is not None and len(wanted) > 1:
        raise CommandFault("--url names one service; say with --topic which of its topics are meant.")
    remotes = {service: Remote(service, "operator", url, token_file, instance) for service in wanted}
    if stop:
        ended = [run for remote in remotes.values() for run in _stop(remote)]
        typer.echo(json.dumps(ended) if as_json else f"{len(ended)} runs stopped")
        return
    runs: dict[str, Mapping[str, Any]] = {
        service: remotes[service].call("POST", "/v1/republish", body={"parts": parts})
        for service, parts in wanted.items()
    }
    if wait:
        runs = {service: follow(remotes[service], run) for service, run in runs.items()}
    if as_json:
        typer.echo(json.dumps(runs))
        return
    for service, run in runs.items():
        typer.echo(
            f"{service}: {run['said']} states said again" if wait else f"{service}: run {run['id']} is under way"
        )


def follow(remote: Remote, run: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a run once everything of it is published, showing how far it is; a stopped one is a fault."""
    shown = ""
    with progress() as say:
        while True:
            if run["state"] == "stopped":
                raise CommandFault(f"{remote.service}: the run {run['id']} was stopped after {run['said']} states.")
            text = f"{remote.service}: {_far(run)}"
            if text != shown:
                say(text)
                shown = text
            if run["published"]:
                return run
            time.sleep(_LOOK_SECONDS)
            run = remote.call("GET", f"/v1/republish/{run['id']}")


def _far(run: Mapping[str, Any]) -> str:
    parts = [f"{part} {said['said']}" for part, said in run["parts"].items() if said["said"] or said["state"] != "open"]
    troubles = [f"{part}: {said['last_error']}" for part, said in run["parts"].items() if "last_error" in said]
    waiting = run["state"] == "finished" and not run["published"]
    return ", ".join([*(parts or ["begins"]), *troubles, *(["waiting for the outbox"] if waiting else [])])


def _stop(remote: Remote) -> list[str]:
    runs = [run["id"] for run in remote.call("GET", "/v1/republish")["items"] if run["state"] == "open"]
    for run in runs:
        remote.call("DELETE", f"/v1/republish/{run}")
    return runs


def _wanted(topics: list[str]) -> dict[str, list[str]]:
    wanted: dict[str, list[str]] = {}
    for topic in topics:
        if topic not in TOPICS:
            raise CommandFault(f"{topic} carries no states; there are {', '.join(TOPICS)}.")
        service, parts = TOPICS[topic]
        known = wanted.setdefault(service, [])
        known += [part for part in parts if part not in known]
    return wanted

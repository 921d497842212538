"""`tenure sources test`: a signed sample through the real door, or a look at the mailbox, told step by step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.utils import format_datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import httpx2
import typer

from contracts.ids import new_id
from services.cli.faults import CommandFault
from services.cli.remote import AsJson, Remote, TokenFile, Url
from services.cli.targets import InstanceName, fact, local_token, running_instance, sources_file

if TYPE_CHECKING:
    from services.ingest.domain.source import Source
    from services.ingest.verify import Request

_PATIENCE = 10.0
_FAILURES = frozenset({"failed", "unsigned", "refused", "unavailable", "not understood"})
_NOT_DELIVERED = frozenset({"import", "inbound", "ses"})


@dataclass(frozen=True, slots=True)
class Where:
    """Which ingest, and whose files."""

    file: Annotated[Path | None, typer.Option(envvar="TENURE_SOURCES_FILE", help="sources.toml, or its folder")] = None
    secrets_dir: Annotated[Path | None, typer.Option(envvar="TENURE_SECRETS_DIR", help="where the secrets lie")] = None
    url: Url = None
    token_file: TokenFile = None
    instance: InstanceName = None

    @property
    def base(self) -> str:
        """The public address of ingest."""
        local = self.url or str(fact(running_instance(self.instance), "services")["ingest"]["http"])
        return local.rstrip("/")

    def bearer(self) -> str:
        """An operator's bearer token."""
        if self.token_file is not None:
            return self.token_file.read_text(encoding="ascii").strip()
        return local_token(self.instance, "tenure", ["operator"], timedelta(minutes=5))

    @property
    def ingest(self) -> Remote:
        """Ingest as an operator calls it."""
        return Remote("ingest", "operator", self.url, self.token_file, self.instance)

    def source(self, name: str) -> Source:
        """The source with its secrets, as this machine has them."""
        from services.ingest.configuration import examine  # noqa: PLC0415 - brings the readers of all providers along

        path = self.file or sources_file(self.instance)
        examined = examine(path, self.secrets_dir)
        found = examined.sources.get(name)
        if found is None:
            wrong = next((str(one) for one in examined.mistakes if one.mistake.path[:2] == ("sources", name)), None)
            raise CommandFault(
                wrong or f"{path} has no source {name}; it has {', '.join(sorted(examined.sources)) or 'none'}."
            )
        return found

    def secret(self, source: Source) -> str:
        """The first of its secrets, as the provider shows it."""
        from services.ingest.configuration import secrets_folder  # noqa: PLC0415 - see above

        path = self.file or sources_file(self.instance)
        folder = secrets_folder(path, self.secrets_dir)
        return (folder / source.configuration.secret_files[0]).read_text(encoding="utf-8-sig").strip()


def try_out(
    name: Annotated[str, typer.Argument(help="the source's name in sources.toml")],
    where: Where,
    body: Annotated[Path | None, typer.Option(help="a delivery of your own, as JSON, instead of our sample")] = None,
    *,
    deliver: Annotated[bool, typer.Option("--deliver", help="publish it, too: it becomes an interaction")] = False,
    as_json: AsJson = False,
) -> None:
    """Try a source out; exit with 1 when a step fails. Nothing is published unless asked."""
    source = where.source(name)
    provider = source.configuration.provider
    steps: list[Mapping[str, Any]] = [{"step": "configuration", "outcome": "right", "why": provider}]
    steps += _tried(source, where, body, deliver=deliver)
    failed = any(step["outcome"] in _FAILURES for step in steps)
    if as_json:
        typer.echo(json.dumps({"source": name, "good": not failed, "steps": steps}))
    else:
        for step in steps:
            typer.echo(_line(step))
    if failed:
        raise typer.Exit(1)


def _line(step: Mapping[str, Any]) -> str:
    said = f"{step['step']}: {step['outcome']}"
    if step.get("why"):
        said += f" ({step['why']})"
    for event in step.get("events", ()):
        said += f"\n  {event['type']}, interaction {event['interaction']}"
    return said


def _tried(source: Source, where: Where, body: Path | None, *, deliver: bool) -> Sequence[Mapping[str, Any]]:
    provider = source.configuration.provider
    if deliver and (source.polled or provider in _NOT_DELIVERED):
        raise CommandFault(f"{provider} takes no delivery from here; try it without --deliver.")
    if provider == "import":
        return _rehearsed(source.name, where, body)
    if provider == "inbound":
        return _asked(source.name, where, _record(source, where, body))
    if source.polled or provider == "ses":
        return _asked(source.name, where, None)
    return _pushed(source, where, body, deliver=deliver)


def _asked(name: str, where: Where, record: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    """Let ingest try it, where its network and passwords are."""
    answer = where.ingest.call("POST", f"/v1/sources/{name}/test", body=record)
    steps: Sequence[Mapping[str, Any]] = answer["steps"]
    return steps


def _rehearsed(name: str, where: Where, body: Path | None) -> Sequence[Mapping[str, Any]]:
    """Send a line, or lines of one's own, to the door of imports, which reads them and takes nothing."""
    lines = _given(body) or _event()
    with where.ingest.uploads() as uploads:
        said = uploads.send(f"/v1/imports/{name}", lines, "application/x-ndjson", {"dry_run": "true"})
    steps = [{"step": "door", "outcome": "read as an import; nothing was taken"}]
    if said["accepted"]:
        types = ", ".join(f"{number} {type_}" for type_, number in sorted(said["types"].items()))
        steps.append({"step": "mapping", "outcome": "understood", "why": types})
    for line in said["rejected"]:
        why = "; ".join(f"{error['field']}: {error['message']}" for error in line["errors"])
        steps.append({"step": f"line {line['line']}", "outcome": "not understood", "why": why})
    return steps


def _record(source: Source, where: Where, body: Path | None) -> Mapping[str, Any]:
    """Return a record as its publisher would put it on the topic, signed where the source has a secret."""
    from services.ingest.domain.schemes import SchemeName  # noqa: PLC0415 - see `Where.source`
    from services.ingest.verify import sign  # noqa: PLC0415 - brings cryptography along

    publisher = getattr(source.configuration.options, "publisher", None) or "/tenure-sources-test"
    value = _given(body) or _event(publisher)
    headers = {"content-type": "application/cloudevents+json"}
    if source.configuration.secret_files:
        scheme = SchemeName.STANDARD_WEBHOOKS
        headers |= sign(scheme, where.secret(source), value, identifier=f"msg_{new_id()}")
    return {"headers": headers, "value": value.decode("utf-8", "replace")}


def _pushed(source: Source, where: Where, body: Path | None, *, deliver: bool) -> Sequence[Mapping[str, Any]]:
    provider = source.configuration.provider
    if deliver and body is None and provider not in {"cloudevents", "mail"}:
        raise CommandFault(
            f"Our sample has ids that {provider} might have given to something of yours; give a --body to --deliver."
        )
    request = _request(source, where.base, body)
    from services.ingest.verify import seal  # noqa: PLC0415 - brings cryptography along

    scheme = source.configuration.scheme
    if scheme is None:
        raise CommandFault(f"{source.name} has no signature that could be tried.")
    sealed = seal(scheme, where.secret(source), request, identifier=f"msg_{new_id()}")
    headers = {**sealed.headers, "tenure-test": f"Bearer {where.bearer()}"}
    if deliver:
        headers["tenure-test-deliver"] = "yes"
    try:
        answer = httpx2.post(sealed.url, content=sealed.body, headers=headers, timeout=_PATIENCE)
    except httpx2.HTTPError as away:
        return [{"step": "door", "outcome": "failed", "why": f"{where.base} does not answer ({type(away).__name__})"}]
    return _heard(answer)


def _heard(answer: httpx2.Response) -> Sequence[Mapping[str, Any]]:
    try:
        said = answer.json()
    except ValueError:
        said = {}
    if not said.get("test"):
        why = said.get("detail") or said.get("title") or f"HTTP {answer.status_code}, by something before ingest"
        return [{"step": "door", "outcome": "failed", "why": why}]
    steps: list[Mapping[str, Any]] = list(said["steps"])
    if not any(step["step"] == "proof" for step in steps):
        steps.insert(0, {"step": "proof", "outcome": "accepted"})
    return [*steps, {"step": "answer", "outcome": f"HTTP {said['answer']}"}]


def _request(source: Source, base: str, body: Path | None) -> Request:
    """What would be sent, not signed yet."""
    from services.ingest.verify import Request  # noqa: PLC0415 - brings cryptography along

    provider, name = source.configuration.provider, source.name
    if provider == "mail":
        return Request(f"{base}/v1/mail/{name}", {"content-type": "message/rfc822"}, _given(body) or _mail())
    if provider == "cloudevents":
        headers = {"content-type": "application/cloudevents+json", "tenure-source": name}
        return Request(f"{base}/v1/events", headers, _given(body) or _event())
    url = f"{base}/v1/webhooks/{name}"
    given = _given(body)
    if given is not None:
        return Request(url, {"content-type": "application/json"}, given, payload=json.loads(given))
    sample = _sample(provider)
    headers = {key.lower(): value for key, value in sample.get("headers", {}).items()}
    if "form" in sample:
        encoded = httpx2.Request("POST", url, data=sample["form"])
        headers["content-type"] = "application/x-www-form-urlencoded"
        return Request(url, headers, encoded.read(), sample.get("query", {}), sample["form"])
    headers["content-type"] = "application/json"
    return Request(url, headers, json.dumps(sample["body"]).encode(), sample.get("query", {}), sample["body"])


def _given(body: Path | None) -> bytes | None:
    return None if body is None else body.read_bytes()


def _sample(provider: str) -> dict[str, Any]:
    path = files("services.ingest.sources").joinpath("samples", f"{provider}.json")
    if not path.is_file():
        raise CommandFault(f"There is no sample of {provider} here; give one with --body.")
    sample: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return sample


def _event(publisher: str = "/tenure-sources-test") -> bytes:
    name = f"tenure-test-{new_id()}"
    moment = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"{name}-1",
            "source": publisher,
            "type": "tenure.order.placed.v1",
            "subject": name,
            "time": moment,
            "data": {"net": {"amount": "1.00", "currency": "EUR"}},
        }
    ).encode()


def _mail() -> bytes:
    mail = EmailMessage()
    mail["From"] = "Tenure test <test@tenure-test.invalid>"
    mail["To"] = "test@tenure-test.invalid"
    mail["Subject"] = "Test of a source"
    mail["Date"] = format_datetime(datetime.now(UTC))
    mail["Message-ID"] = f"<{new_id()}@tenure-test.invalid>"
    mail.set_content("Sent by `tenure sources test`.")
    return mail.as_bytes()

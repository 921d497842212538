"""Golden examples: what a provider sends, and the events that it must become.

`python -m tests.unit.ingest.golden` rewrites what is expected from what the mapping says now; read the difference
before you keep it.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import orjson

from contracts.events import Event
from contracts.standins import model_of
from contracts.values import json_safe
from services.ingest.domain.identities import Directory
from services.ingest.domain.mapping import Mapped, Origin
from services.ingest.domain.provider import Delivery
from services.ingest.sources.mail import Mailbox, map_mail
from services.ingest.sources.registry import WEBHOOKS

FOLDER = Path(__file__).with_name("examples")
NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
DIRECTORY = Directory(["brightwell.example"], "DE")
MAILBOX = Mailbox("anna@brightwell.example")


def origin(provider: str) -> Origin:
    """Where golden examples come from."""
    return Origin(provider, f"{provider}:brightwell", DIRECTORY, NOW)


def webhooks() -> list[Path]:
    """All golden webhooks."""
    folders = [folder for folder in FOLDER.iterdir() if folder.is_dir() and folder.name != "mail"]
    return sorted(path for folder in folders for path in folder.glob("*.json"))


def mails() -> list[Path]:
    """All golden mails."""
    return sorted((FOLDER / "mail").glob("*.eml"))


def map_golden(path: Path) -> Any:
    """What the mapping says about a golden webhook or mail, as JSON."""
    if path.suffix == ".eml":
        return plain(map_mail(path.read_bytes(), MAILBOX, origin("mail")))
    golden = json.loads(path.read_text(encoding="utf-8"))
    provider = WEBHOOKS[path.parent.name]
    options = provider.options.model_validate(golden.get("options", {}))
    return plain(provider.bind(options)(delivery(golden), origin(provider.name)))


def delivery(golden: dict[str, Any]) -> Delivery:
    """A golden request as its mapping sees it: JSON in "body", or the fields of a form in "form"."""
    if "form" in golden:
        body = urlencode(golden["form"]).encode()
        return Delivery(golden["form"], body, golden["headers"], golden.get("query", {}))
    return Delivery(golden["body"], orjson.dumps(golden["body"]), golden["headers"], golden.get("query", {}))


def told(mapped: Mapped) -> list[Event]:
    """The events of a mapping as models, whichever way they were made."""
    return [model_of(event) for event in mapped.events]


def plain(mapped: Mapped) -> Any:
    """The outcome of a mapping as JSON."""
    if mapped.ignored is not None:
        return {"ignored": mapped.ignored}
    return [{"type": event.TYPE, "id": event.id, **json_safe(event)} for event in told(mapped)]


def expected(path: Path) -> Any:
    """What a golden example must become."""
    if path.suffix == ".eml":
        return json.loads(path.with_suffix(".expected.json").read_text(encoding="utf-8"))
    return json.loads(path.read_text(encoding="utf-8"))["expected"]


def rewrite() -> None:
    """Keep what the mapping says now."""
    for path in webhooks():
        golden = json.loads(path.read_text(encoding="utf-8"))
        golden["expected"] = map_golden(path)
        path.write_text(json.dumps(golden, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    for path in mails():
        text = json.dumps(map_golden(path), indent=2, ensure_ascii=False) + "\n"
        path.with_suffix(".expected.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    rewrite()
    sys.stderr.write("rewritten; read the difference\n")

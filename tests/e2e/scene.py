"""A theatre as tests see it: plays the story, keeps what each step did to alerts, reads everything that came out."""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import quote

import httpx2

from contracts.envelope import format_instant
from contracts.ids import derive_id, interaction_id
from samples.calendar import LIVE_DAY
from samples.company import CRM, DESK, FOLDER, PHONES, SHOP
from samples.facts import Call, Departure, Fact, Mail, OrderStep, TicketStep
from samples.history_lines import SHOP_DOMAIN
from samples.player import FLOW_ORDER
from samples.script import Step
from samples.theatre import Theatre, open_theatre
from samples.webhooks import Delivery

RULES_OF_EACH = {"unanswered_mail", "champion_left"}
"""Rules whose alerts are about one interaction each."""


def expected() -> dict[str, Any]:
    """`samples/expected.json`."""
    content: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text())
    return content


@dataclass
class Scene:
    """A running system in which the story was played, or is being played."""

    theatre: Theatre
    life: list[dict[str, Any]] = field(default_factory=list)
    """What each step did to alerts, in the form of expected.json."""

    def begin(self) -> None:
        """The company, its history, and the declaration that history is complete; nothing has happened today."""
        player = self.theatre.player
        player.enter_company()
        player.import_history()
        player.wait_until_drained()
        player.declare_complete()
        player.wait_until_drained()
        self._note("history")

    def play(self, step: Step, *, halfway: Callable[[], None] = lambda: None) -> None:
        """One step, to the end."""
        self.theatre.player.play(step, halfway=halfway)
        self.theatre.player.wait_until_drained()
        self._note(step.name)

    def play_all(self) -> None:
        """The live part."""
        for step in self.theatre.player.story.steps:
            self.play(step)

    def get(self, service: str, path: str, **who: Any) -> Any:
        """An API's answer, by default to an administrator."""
        return self.theatre.player.get(service, path, **who)

    @cached_property
    def accounts(self) -> dict[str, str]:
        """Account ids by external key."""
        items = self.get("accounts", "/v1/accounts?limit=500")["items"]
        return {item["key"]: item["id"] for item in items}

    @cached_property
    def keys(self) -> dict[str, str]:
        """External keys by account id."""
        return {id_: key for key, id_ in self.accounts.items()}

    @cached_property
    def ids(self) -> dict[str, str]:
        """Interaction ids by what the script calls an interaction, from its providers' own ids."""
        return {label: id_ for fact in self.theatre.player.story.facts for label, id_ in _named(fact)}

    @cached_property
    def labels(self) -> dict[str, str]:
        """What the script calls an interaction, by its id."""
        return {id_: label for label, id_ in self.ids.items()}

    @cached_property
    def users(self) -> dict[str, str]:
        """User ids by first name, in lower case."""
        return {user["email"].split(".")[0]: user["id"] for user in self.get("accounts", "/v1/users")["items"]}

    def send_signed(self, path: str, body: bytes, headers: dict[str, str]) -> httpx2.Response:
        """Send what the CRM would send."""
        player = self.theatre.player
        return player.attempt(Delivery("events", "crm", path, body, "standard-webhooks", headers))

    def token_file(self) -> Path:
        """A file with an operator's token, for the command line."""
        file = self.theatre.system.instance.directory / "operator.token"
        file.touch(mode=0o600)
        file.write_text(self.theatre.system.token("jonas.weber", ["operator"]))
        return file

    def eventually(self, find: Callable[[], Any]) -> Any:
        """What `find` gives as soon as it gives something; after a generous while, what it gives then."""
        deadline = time.monotonic() + 60
        while not (found := find()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """Every alert about an account, in any state."""
        found = self.get("notifier", "/v1/alerts?state=any&limit=500")["items"]
        return [alert for alert in found if "source" not in alert]

    def evidence(self, alert: dict[str, Any]) -> list[str]:
        """The interactions that an alert rests on, as the script calls them."""
        items = alert["evidence"].get("items", [])
        return sorted(self.labels.get(item["interaction_id"], item["interaction_id"]) for item in items)

    def kpis(self, path: str) -> dict[str, dict[str, list[Decimal | None]]]:
        """By window and KPI: [value, the same over the window before], at the end of the live day."""
        shown = self.get("metrics", f"{path}?as_of={LIVE_DAY.isoformat()}")
        windows: dict[str, dict[str, list[Decimal | None]]] = {}
        for value in shown["values"]:
            pair = [None if value[name] is None else Decimal(value[name]) for name in ("value", "previous")]
            windows.setdefault(str(value["window"]), {})[value["kpi"]] = pair
        return windows

    def fingerprint(self) -> dict[str, Any]:
        """Everything that the story leads to, without what is drawn by lot: the ids that we give."""
        return {
            "life": self.life,
            "alerts": sorted((self._alert(alert) for alert in self.alerts()), key=json.dumps),
            "kpis": {key: self._kpi_state(id_) for key, id_ in sorted(self.accounts.items())},
            "ledger": {key: self._ledger(key) for key in sorted(self.accounts)},
            "unmatched": self.get("accounts", "/v1/unmatched")["items"],
            "unmatched_ids": sorted(
                item["id"] for item in self.get("accounts", "/v1/unmatched/interactions?limit=200")["items"]
            ),
            "dead_letters": {name: self.theatre.player.flow(name)["dead_letters_waiting"] for name in FLOW_ORDER},
        }

    def _alert(self, alert: dict[str, Any]) -> dict[str, Any]:
        names = ("rule", "rule_version", "severity", "state", "title", "explanation", "opened_at", "changed_at")
        return {
            "account": self.keys[alert["account_id"]],
            "evidence": self.evidence(alert),
            "figures": alert["evidence"].get("figures", []),
            "resolution": alert.get("resolution"),
            **{name: alert[name] for name in names},
        }

    def _kpi_state(self, account_id: str) -> Any:
        shown = self.get("metrics", f"/v1/accounts/{account_id}/kpis?as_of={LIVE_DAY.isoformat()}")
        text = json.dumps(shown, sort_keys=True)
        for id_, key in {**self.keys, **self._contact_keys}.items():
            text = text.replace(id_, key)
        return json.loads(text)

    @cached_property
    def _contact_keys(self) -> dict[str, str]:
        return {
            contact["id"]: contact["key"]
            for key in self.accounts
            for contact in self.get("accounts", f"/v1/accounts/key:{key}/contacts")["items"]
        }

    def _ledger(self, key: str) -> list[list[Any]]:
        rows: list[list[Any]] = []
        cursor = ""
        while True:
            page = self.get("accounts", f"/v1/accounts/key:{key}/interactions?limit=200{cursor}")
            rows += [[row["id"], row["reason"], row.get("touch_class"), row["present"]] for row in page["items"]]
            if page.get("next") is None:
                return sorted(rows, key=json.dumps)
            cursor = f"&cursor={quote(page['next'])}"

    def _note(self, step: str) -> None:
        """Compare the alerts with what was noted before; a step may change an alert once."""
        seen = {(line["rule"], line["account"], self._own(line)): line for line in self.life}
        for alert in sorted(self.alerts(), key=lambda alert: (alert["opened_at"], alert["rule"], alert["account_id"])):
            line = {
                "step": step,
                "rule": alert["rule"],
                "account": self.keys[alert["account_id"]],
                "severity": alert["severity"],
                "evidence": self.evidence(alert),
            }
            known = seen.get((line["rule"], line["account"], self._own(line)))
            change = _change(known, alert)
            if change:
                self.life.append({**line, "change": change})

    @staticmethod
    def _own(line: dict[str, Any]) -> str:
        return line["evidence"][0] if line["rule"] in RULES_OF_EACH else ""


def label_of(fact: Fact) -> str:
    """What the script calls the interaction that a fact is about; nothing for what no test asks about."""
    return next((label for label, _ in _named(fact)), "")


def _named(fact: Fact) -> Iterator[tuple[str, str]]:
    match fact:
        case Mail():
            sent = format_instant(fact.at).replace("Z", "+00:00")
            native = derive_id("mail", fact.message_id, fact.sender.address, sent)
            yield f"mail {fact.message_id}", interaction_id("mail", "mail", native)
        case Call():
            yield f"call {fact.number}", interaction_id("call", PHONES, fact.number)
        case TicketStep():
            yield f"ticket {fact.ticket}", interaction_id("ticket", DESK, fact.ticket)
        case OrderStep():
            yield f"order {fact.order}", interaction_id("order", SHOP, f"{SHOP_DOMAIN}/{fact.order}")
        case Departure():
            yield f"contact {fact.number}", interaction_id("contact", CRM, fact.number)


def _change(known: dict[str, Any] | None, alert: dict[str, Any]) -> str | None:
    if known is None:
        return "opened"
    if known["change"] != "resolved" and alert["state"] == "resolved":
        return "resolved"
    if known["change"] == "resolved" and alert["state"] != "resolved":
        return "reopened"
    return "escalated" if known["severity"] != alert["severity"] else None


@contextmanager
def scene(**how: Any) -> Iterator[Scene]:
    """A scene that is ready to begin; everything ends with the block."""
    # not in pytest's own folder: root's PostgreSQL runs as another user, whom pytest keeps out
    directory = Path(tempfile.gettempdir()) / f"tenure-e2e-{uuid.uuid4().hex}"
    theatre = open_theatre(directory, ephemeral=True, partitions=6, **how)
    try:
        yield Scene(theatre)
    finally:
        theatre.stop()


def disordered(seed: int) -> Random:
    """A generator for another order."""
    return Random(seed)  # noqa: S311 - an order, not a secret

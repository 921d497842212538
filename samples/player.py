"""Plays the story through the public doors, as the company's providers and its operator would.

A delivery that is not acknowledged is sent again, as providers do: sending the same twice is safe.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from http import HTTPStatus
from random import Random
from typing import Any, Protocol, Self

import httpx2

from samples.calendar import RULES_WAKE_AT, ZONE
from samples.company import csv_bytes
from samples.script import Step, Story
from samples.sources import HISTORY, fresh_secrets
from samples.webhooks import TOKEN, Delivery
from services.ingest.domain.schemes import SchemeName
from services.ingest.verify import sign

FLOW_ORDER = ("ingest", "accounts", "metrics", "notifier")
LINES_A_REQUEST = 500
_PATIENCE = 120.0  # seconds; far more than anything here takes
_PAUSE = 0.05
OPERATOR = "jonas.weber"
KeepMail = Callable[[bytes], None]
"""Puts a mail (RFC 5322) into a mailbox that is polled."""


class PlayFault(Exception):
    """The story cannot go on. The text is a sentence for the person who watches it."""


class Stage(Protocol):
    """The running system, as far as the player needs it (`deploy.local.system.System`)."""

    def url(self, service: str) -> str:
        """Address of the public port."""
        ...

    def operations_url(self, service: str) -> str:
        """Address of the operations port."""
        ...

    def token(self, subject: str, roles: Iterable[str] = (), lifetime: timedelta = ...) -> str:
        """A bearer token."""
        ...

    def set_clock(self, moment: datetime) -> None:
        """Step the simulated clock."""
        ...

    def check(self) -> None:
        """Raise when a part has stopped by itself."""
        ...


class Player:
    """Plays one story to one system. `times` and `shuffle` repeat and disorder what comes within one clock step."""

    def __init__(
        self,
        stage: Stage,
        story: Story,
        secrets: Mapping[str, str],
        *,
        times: int = 1,
        shuffle: Random | None = None,
        mailboxes: Mapping[str, KeepMail] | None = None,
    ) -> None:
        self.stage = stage
        self.story = story
        self._secrets = secrets
        self._times = times
        self._shuffle = shuffle
        self._mailboxes = mailboxes or {}
        self._kept: Counter[str] = Counter()
        self.client = httpx2.Client(timeout=30, trust_env=False)
        self.now = story.imported_at

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def enter_company(self) -> None:
        """Users, accounts and contacts, as their CSV files; every row must go in."""
        for what in ("users", "accounts", "contacts"):
            self.import_csv(what, csv_bytes(what))

    def import_csv(self, what: str, content: bytes) -> None:
        """One CSV file through the door of accounts."""
        answer = self._call(
            "POST", "accounts", f"/v1/imports/{what}", content=content, headers={"content-type": "text/csv"}
        )
        rejected = answer.get("rejected") or answer.get("errors")
        if rejected:
            raise PlayFault(f"{what}.csv was not taken whole: {str(rejected)[:500]}")

    def import_history(self, report: Callable[[int, int], None] = lambda *_: None) -> None:
        """All lines, 500 a request. `report` hears how many of how many are in."""
        lines = self._played(self.story.lines)
        for start in range(0, len(lines), LINES_A_REQUEST):
            part = lines[start : start + LINES_A_REQUEST]
            answer = self._call(
                "POST", "ingest", f"/v1/imports/{HISTORY}", content=b"\n".join(part) + b"\n",
                headers={"content-type": "application/x-ndjson"},
            )  # fmt: skip
            if answer.get("rejected"):
                raise PlayFault(f"Lines of history were not taken: {str(answer)[:500]}")
            report(start + len(part), len(lines))

    def declare_complete(self) -> None:
        """History is in: the rules of all accounts wake up, five minutes later."""
        self._call("POST", "accounts", "/v1/history-complete", json={"accounts": "all"})
        self.wait_until_drained()
        self.step_to(RULES_WAKE_AT)

    def step_to(self, moment: datetime) -> None:
        """Set the clock of all services."""
        self.now = moment
        self.stage.set_clock(moment)

    def play(self, step: Step, *, halfway: Callable[[], None] = lambda: None) -> None:
        """Set the clock and deliver the step; return when the last delivery is acknowledged, not when it is processed.

        `halfway` is called between two deliveries: a test may let something break there.
        """
        self.step_to(step.clock)
        if step.contacts_csv:
            self.import_csv("contacts", step.contacts_csv)
        deliveries = self._played(step.deliveries)
        for place, delivery in enumerate(deliveries):
            if place == len(deliveries) // 2:
                halfway()
            self.deliver(delivery)

    def deliver(self, delivery: Delivery) -> None:
        """Send one delivery until it is acknowledged; a forged one must be refused."""
        keep = self._mailboxes.get(delivery.source)
        if keep is not None:
            keep(delivery.body)
            self._kept[delivery.source] += 1
            return
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                answer = self.attempt(delivery)
                status, text = answer.status_code, answer.text
            except httpx2.TransportError as error:
                status, text = 0, str(error)
            if delivery.forged:
                if status != HTTPStatus.UNAUTHORIZED:
                    raise PlayFault(f"A forged delivery to {delivery.path} was answered {status}, not 401.")
                return
            if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
                return
            if status and status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise PlayFault(f"{delivery.path} refused a delivery with {status}: {text[:500]}")
            if time.monotonic() > deadline:
                raise PlayFault(f"{delivery.path} does not take deliveries ({status or text}).")
            time.sleep(_PAUSE)

    def wait_until_drained(self, patience: float = _PATIENCE) -> None:
        """Return when every service has done all there is to do at this clock, asked in the order of the flow."""
        deadline = time.monotonic() + patience
        self._wait_until_fetched(deadline)
        for service in FLOW_ORDER:
            while True:
                report = self.flow(service)
                if report.get("drained") and datetime.fromisoformat(report["clock"]) >= self.now:
                    break
                self.stage.check()
                if time.monotonic() > deadline:
                    raise PlayFault(f"{service} does not come to rest: {str(report)[:800]}")
                time.sleep(_PAUSE)

    def _wait_until_fetched(self, deadline: float) -> None:
        """A mailbox may have been looked at after the clock was set and before the mail was put there."""
        for source, count in self._kept.items():
            while True:
                sources = self.flow("ingest").get("parts", {}).get("sources", {})
                if sources.get(source, {}).get("accepted", 0) >= count:
                    break
                self.stage.check()
                if time.monotonic() > deadline:
                    raise PlayFault(f"ingest does not fetch the mails of {source}: {str(sources.get(source))[:300]}")
                time.sleep(_PAUSE)

    def flow(self, service: str) -> dict[str, Any]:
        """What a service says about its own progress; while it does not answer, only what it says instead."""
        try:
            answer = self.client.get(f"{self.stage.operations_url(service)}/flow")
        except httpx2.TransportError as error:
            return {"no answer": f"{type(error).__name__}: {error}"}
        return dict(answer.json()) if answer.is_success else {"no answer": f"{answer.status_code}: {answer.text}"}

    def get(self, service: str, path: str, *, subject: str = OPERATOR, roles: Sequence[str] = ("admin",)) -> Any:
        """The answer of an API to somebody; by default to an administrator."""
        return self._call("GET", service, path, subject=subject, roles=roles)

    def post(self, service: str, path: str, body: Any, *, subject: str = OPERATOR) -> Any:
        """Post JSON as an operator."""
        return self._call("POST", service, path, subject=subject, json=body)

    def attempt(self, delivery: Delivery) -> httpx2.Response:
        """Send a delivery once, signed now, and return the door's answer."""
        body = delivery.body
        headers = dict(delivery.headers)
        if delivery.signature == "token":
            token = self._secrets["phone.secret"] if not delivery.forged else "no-such-token"
            body = body.replace(TOKEN, token.encode())
        else:
            headers |= self._signature(delivery)
        return self.client.post(f"{self.stage.url('ingest')}{delivery.path}", content=body, headers=headers)

    def _played(self, items: Sequence[Any]) -> list[Any]:
        played = [item for item in items for _ in range(self._times)]
        if self._shuffle is not None:
            self._shuffle.shuffle(played)
        return played

    def _signature(self, delivery: Delivery) -> dict[str, str]:
        file = {"mail": "mail.secret", "events": "crm.secret"}.get(delivery.door, f"{delivery.source}.secret")
        secret = (fresh_secrets() if delivery.forged else self._secrets)[file]
        return sign(SchemeName(delivery.signature), secret, delivery.body, identifier=f"msg_{uuid.uuid4().hex}")

    def _call(
        self,
        method: str,
        service: str,
        path: str,
        *,
        subject: str = OPERATOR,
        roles: Sequence[str] = ("admin", "operator"),
        headers: Mapping[str, str] | None = None,
        **request: Any,
    ) -> Any:
        bearer = {"authorization": f"Bearer {self.stage.token(subject, roles)}", **(headers or {})}
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                answer = self.client.request(method, f"{self.stage.url(service)}{path}", headers=bearer, **request)
            except httpx2.TransportError as error:
                failure = str(error)
            else:
                if answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                    if answer.is_success:
                        return answer.json() if answer.content else {}
                    raise PlayFault(f"{method} {path} was refused with {answer.status_code}: {answer.text[:500]}")
                failure = f"{answer.status_code}: {answer.text[:200]}"
            self.stage.check()
            if time.monotonic() > deadline:
                raise PlayFault(f"{service} does not answer {method} {path} ({failure}).")
            time.sleep(_PAUSE)


def local(moment: datetime) -> str:
    """For people: the company's weekday and time, such as "Mon 09:30"."""
    return f"{moment.astimezone(ZONE):%a %H:%M}"

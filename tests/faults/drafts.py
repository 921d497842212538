"""One report before it is routed: what is said, whoever says it; and the doors' forms of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, Literal

from contracts.envelope import Envelope, format_instant
from contracts.events import BY_TYPE, Event
from contracts.ids import derive_id, digest
from contracts.values import Authority
from tests.faults.company import BRANCH, DESK, HUB, INBOUND_SYSTEM, OWN_DOMAIN, PUBLISHER

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FREE_MAIL = frozenset({"gmail.com"})
SECOND = timedelta(seconds=1)

Route = Literal["hub", "branch", "inbound", "mail", "desk"]
SYSTEMS: Mapping[str, str] = {"hub": HUB, "branch": BRANCH, "inbound": INBOUND_SYSTEM, "desk": DESK}


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """One report. `route` is who tells it; a hub's report may be told by an import instead."""

    type: str
    subject: str
    """Native id; for mail the Message-ID with its angle brackets."""
    report: str
    at: datetime
    data: Mapping[str, Any]
    route: Route
    sequence: int | None = None
    mailbox_source: str = ""
    """Raw mail: the source whose mailbox saw it."""
    extra: Mapping[str, Any] | None = None
    """Raw mail: what goes into headers and body. Zendesk: what the payload says beside the report's own fields."""

    @property
    def kind(self) -> str:
        """The kind of interaction."""
        known = BY_TYPE[self.type].KIND
        return known.value if known is not None else str(self.data["kind"])

    def changed(self, **fields: Any) -> Draft:
        """The same with other fields."""
        return replace(self, **fields)


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def item_of(draft: Draft, *, imported: bool = False) -> dict[str, Any]:
    """The structured CloudEvent."""
    item: dict[str, Any] = {
        "specversion": "1.0",
        "type": draft.type,
        "source": PUBLISHER if draft.route == "inbound" else f"/{draft.route}",
        "id": draft.report,
        "subject": draft.subject,
        "time": format_instant(draft.at),
        "data": draft.data,
    }
    if draft.sequence is not None:
        item["sequence"] = draft.sequence
    if imported and draft.kind != "mail":
        item["system"] = SYSTEMS[draft.route]
    return item


def canonical(item: Mapping[str, Any]) -> bytes:
    """The one form over which a CloudEvent's digest is taken: members by name, nothing between them."""
    return json.dumps(item, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def event_of(draft: Draft, *, source: str, imported: bool = False) -> Event:
    """The report as it must reach the ledger when `source` tells it."""
    model = BY_TYPE[draft.type]
    data = {name: value for name, value in draft.data.items() if not (name == "kind" and model.KIND is None)}
    mail = draft.kind == "mail"
    system = "mail" if mail else SYSTEMS[draft.route]
    if "parent" in data:
        data["parent"] = {"system": system, **data["parent"]}
    native = mail_id(draft) if mail and draft.subject.startswith("<") else draft.subject
    order = micros(draft.at) if draft.sequence is None else draft.sequence
    return model.model_validate(
        {
            **data,
            "interaction": {"kind": draft.kind, "system": system, "native_id": native},
            "report": draft.report,
            "revision": {
                "authority": Authority.IMPORT if imported else Authority.LIVE,
                "order": order,
                "mapper": 1,
                "digest": digest(canonical(item_of(draft, imported=imported))),
            },
            "source": source,
            "occurred_at": draft.at,
        }
    )


def mail_id(draft: Draft) -> str:
    """What identifies a mail: Message-ID, sender and the Date header to the second."""
    sender = next(party for party in draft.data["parties"] if party["role"] == "from")
    address = next(each["value"] for each in sender["identities"] if each["kind"] == "address")
    sent = draft.data.get("sent_at")
    dated = draft.at if sent is None else datetime.fromisoformat(sent)
    return derive_id("mail", draft.subject, address, dated.astimezone(UTC).replace(microsecond=0).isoformat())


def inbound_record(draft: Draft, *, binary: bool) -> tuple[bytes, tuple[tuple[str, bytes], ...]]:
    """(value, headers) on `tenure.inbound` in either content mode; both say the same."""
    if binary and draft.sequence is None:
        attributes = {name: value for name, value in item_of(draft).items() if name != "data"}
        headers = tuple((f"ce_{name}", str(value).encode()) for name, value in attributes.items())
        return canonical(draft.data), (*headers, ("content-type", b"application/json"))
    return canonical(item_of(draft)), (("content-type", b"application/cloudevents+json; charset=utf-8"),)


def interaction_record(event: Event, recorded_at: datetime) -> tuple[tuple[str, bytes], ...]:
    """The headers under which ingest would publish `event`."""
    envelope = Envelope(
        id=event.id,
        source=f"/sources/{event.source}",
        type=event.TYPE,
        subject=event.interaction.id,
        time=event.occurred_at,
        recordedtime=recorded_at,
    )
    return tuple(envelope.headers())


# ---------------------------------------------------------------------------------------------- people in reports


def party(role: str, *, address: str = "", phone: str = "", person: str = "", organisation: str = "") -> dict[str, Any]:
    """Somebody, with the company domain of the address stated as the doors state it."""
    identities = []
    ours = address.endswith("@" + OWN_DOMAIN)
    if address:
        identities.append({"kind": "address", "value": address})
        domain = address.rpartition("@")[2]
        if not ours and domain not in FREE_MAIL:
            identities.append({"kind": "domain", "value": domain})
    for kind, value in (("phone", phone), ("person", person), ("organisation", organisation)):
        if value:
            identities.append({"kind": kind, "value": value})
    found: dict[str, Any] = {"role": role, "identities": identities}
    return {**found, "ours": True} if ours else found


# ---------------------------------------------------------------------------------------------- raw mail


def raw_mail(draft: Draft) -> bytes:
    """RFC 5322, as the mailbox's server hands it on."""
    mail = EmailMessage(policy=SMTP.clone(cte_type="7bit"))
    data, extra = draft.data, draft.extra or {}
    mail["Received"] = f"from relay.example by mx.{OWN_DOMAIN} with ESMTPS; {format_datetime(draft.at)}"
    mail["Message-ID"] = draft.subject
    mail["Date"] = format_datetime(datetime.fromisoformat(data["sent_at"]))
    for role in ("from", "to", "cc"):
        addresses = [each["identities"][0]["value"] for each in data["parties"] if each["role"] == role]
        if addresses:
            mail[role.title()] = ", ".join(addresses)
    mail["Subject"] = data["title"] if "title" in data else extra["subject"]
    above = [each["value"] for each in data["references"] if each["value"] != draft.subject]
    if above:
        mail["References"] = " ".join(above)
        mail["In-Reply-To"] = above[-1]
    for name, value in extra.get("headers", {}).items():
        mail[name] = value
    mail.set_content(data["text"] if "text" in data else extra["text"])
    return mail.as_bytes()


def mail_event_of(draft: Draft, raw: bytes, source: str) -> Event:
    """The report that a mailbox's sight of a mail is."""
    data = dict(draft.data)
    addressed = {each["identities"][0]["value"] for each in data["parties"] if each["role"] in {"to", "cc", "bcc"}}
    if draft.type == "tenure.email.received.v1" and data["mailbox"] not in addressed:
        # It had the mail, so it was sent a copy that the headers do not speak of.
        ours = {"role": "bcc", "identities": [{"kind": "address", "value": data["mailbox"]}], "ours": True}
        data["parties"] = [*data["parties"], ours]
    return BY_TYPE[draft.type].model_validate(
        {
            **data,
            "interaction": {"kind": "mail", "system": "mail", "native_id": mail_id(draft)},
            "report": draft.report,
            "revision": {"authority": Authority.LIVE, "order": micros(draft.at), "mapper": 1, "digest": digest(raw)},
            "source": source,
            "occurred_at": draft.at,
        }
    )


# ---------------------------------------------------------------------------------------------- Zendesk's webhooks

_DESK_STATUS = {"open": "OPEN", "resolved": "SOLVED", "closed": "CLOSED"}


def desk_body(draft: Draft) -> bytes:
    """An event of a ticket as Zendesk sends it."""
    data, extra = draft.data, draft.extra or {}
    detail: dict[str, Any] = {"id": draft.subject}
    if "opened_at" in extra:
        requester, *organisation = data["parties"]
        named = {each["kind"]: each["value"] for each in requester["identities"]}
        detail |= {
            "subject": data["title"],
            "priority": data["priority"].upper(),
            "status": _DESK_STATUS[data["status"]],
            "created_at": extra["opened_at"],
            "requester": {"id": named["person"].rpartition(":")[2], "email": named["address"]},
            "is_public": True,
        }
        if organisation:
            detail["organization_id"] = organisation[0]["identities"][0]["value"].rpartition(":")[2]
    payload = {
        "type": f"zen:event-type:ticket.{extra['event']}",
        "id": draft.report,
        "time": format_instant(draft.at),
        "event": extra.get("change", {}),
        "detail": detail,
    }
    return json.dumps(payload).encode()


def desk_event_of(draft: Draft, body: bytes) -> Event:
    """The report that Zendesk's event is."""
    data = {name: value for name, value in draft.data.items() if name != "kind"}
    return BY_TYPE[draft.type].model_validate(
        {
            **data,
            "interaction": {"kind": "ticket", "system": DESK, "native_id": draft.subject},
            "report": draft.report,
            "revision": {"authority": Authority.LIVE, "order": micros(draft.at), "mapper": 1, "digest": digest(body)},
            "source": "desk",
            "occurred_at": draft.at,
        }
    )

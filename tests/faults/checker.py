"""Compares what a system holds with what it must hold; every difference is a sentence."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar

from contracts.activity import Attribution
from contracts.alerts import AlertEvent
from contracts.codec import STATES
from contracts.envelope import format_instant
from contracts.events import BY_TYPE
from contracts.kpis import AccountKpis
from contracts.topics import ACCOUNTS, ACTIVITY, ALERTS, KPIS
from tests.faults.found import Found, Readable, TopicRecord, look
from tests.faults.history import Expected, ExpectedAttribution, ExpectedKpis, KpiKey, Violation

K = TypeVar("K", bound=Hashable)
SHOWN = 12
"""Violations of one kind that are told one by one; the rest is counted."""


class Checker:
    """Looks at one system."""

    def __init__(self, system: Readable) -> None:
        self._system = system

    def check(self, expected: Expected) -> list[Violation]:
        """Return every promise that is not kept; the system must be drained."""
        return compare(expected, look(self._system))


def compare(expected: Expected, found: Found) -> list[Violation]:
    """Every difference. Pure: tests feed it what was tampered with."""
    told = _Told(expected.seed)
    for check in (
        _check_ledger,
        _check_conservation,
        _check_dead_letters,
        _check_interactions,
        _check_conversations,
        _check_attributions,
        _check_published,
        _check_versions,
        _check_kpis,
        _check_rollups,
        _check_alerts,
        _check_silences,
    ):
        check(expected, found, told)
    return told.violations


class _Told:
    """Collects violations; of each kind the first few."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._counted: Counter[str] = Counter()
        self._kept: list[Violation] = []

    def __call__(self, invariant: str, subject: str, expected: object, found: object) -> None:
        self._counted[invariant] += 1
        if self._counted[invariant] <= SHOWN:
            self._kept.append(self._violation(invariant, subject, str(expected), str(found)))

    def _violation(self, invariant: str, subject: str, expected: str, found: str) -> Violation:
        return Violation(seed=self._seed, invariant=invariant, subject=subject, expected=expected, found=found)

    @property
    def violations(self) -> list[Violation]:
        more = [
            self._violation(invariant, "all of these", f"0, of which {SHOWN} are shown", str(count))
            for invariant, count in self._counted.items()
            if count > SHOWN
        ]
        return self._kept + more


def _differences(wanted: Mapping[K, Any], held: Mapping[K, Any]) -> Iterator[tuple[K, Any, Any]]:
    for key in sorted(wanted.keys() | held.keys(), key=str):
        if wanted.get(key) != held.get(key):
            yield key, wanted.get(key), held.get(key)


# ---------------------------------------------------------------------------------------------- the ledger


def _check_ledger(expected: Expected, found: Found, told: _Told) -> None:
    """Each accepted report once, the greatest revision of it, whole."""
    for id_ in sorted(expected.ledger.keys() - found.ledger.keys()):
        event = expected.ledger[id_].event
        told("conservation", f"{event.TYPE} {event.report} of {event.source} ({id_})", "in the ledger", "not there")
    for id_ in sorted(found.ledger.keys() - expected.ledger.keys()):
        told("conservation", f"event {id_} of {found.ledger[id_].source}", "nobody reported it", "in the ledger")
    for id_ in sorted(expected.ledger.keys() & found.ledger.keys()):
        wanted, row = expected.ledger[id_].event, found.ledger[id_]
        revision = wanted.revision
        stated = revision.authority, revision.order, revision.mapper, revision.digest
        if row.revision != stated:
            told("revision", f"{wanted.TYPE} {wanted.report} ({id_})", stated, row.revision)
            continue
        body = BY_TYPE[wanted.TYPE].model_validate_json(row.body)
        if body.model_dump(mode="json") != wanted.model_dump(mode="json"):
            differing = [
                f"{name}: {getattr(wanted, name)!r} / {getattr(body, name)!r}"
                for name in type(wanted).model_fields
                if getattr(wanted, name) != getattr(body, name)
            ]
            told("body", f"{wanted.TYPE} {wanted.report} ({id_})", "as it was reported", "; ".join(differing)[:600])


def _check_conservation(expected: Expected, found: Found, told: _Told) -> None:
    """Per source as many as were accepted, and each in exactly one place."""
    held = Counter(row.source for row in found.ledger.values())
    for source, wanted, there in _differences(dict(expected.accepted_by_source), held):
        told("conservation", f"distinct reports of {source}", wanted or 0, there or 0)
    lost = sorted({row.interaction_id for row in found.ledger.values()} - found.interactions.keys())
    for interaction in lost:
        told("conservation", f"interaction {interaction}", "assembled from its reports", "not there")
    for interaction, row in sorted(found.interactions.items()):
        if row.unmatched and row.claimed:
            told("conservation", f"interaction {interaction}", "in one place", "unmatched and somebody's")
    for service, rows in found.outbox.items():
        if rows:
            told("drained", f"outbox of {service}", 0, rows)


def _check_dead_letters(expected: Expected, found: Found, told: _Told) -> None:
    """What could not be read is kept once by each reader, and nothing else is."""
    held = Counter((row.service, row.topic, row.partition, row.offset) for row in found.dead_letters)
    for place, count in held.items():
        if count > 1:
            told("dead letters", str(place), "kept once", f"kept {count} times")
    values = {(wanted.service, wanted.topic, wanted.value) for wanted in expected.dead_letters}
    kept_values = {(row.service, row.topic, row.value) for row in found.dead_letters}
    placed = set()
    for wanted in expected.dead_letters:
        what = f"{wanted.why} on {wanted.topic}"
        if wanted.placed is None:
            if (wanted.service, wanted.topic, wanted.value) not in kept_values:
                told("dead letters", what, f"a dead letter of {wanted.service}", "none with these bytes")
            continue
        place = wanted.service, wanted.topic, wanted.placed.partition, wanted.placed.offset
        placed.add(place)
        if place not in held:
            told("dead letters", f"{what} {place[2:]}", f"a dead letter of {wanted.service}", "none")
    for row in found.dead_letters:
        # A record whose sending was in doubt may lie there twice.
        if (row.service, row.topic, row.partition, row.offset) not in placed and (
            row.service,
            row.topic,
            row.value,
        ) not in values:
            where = f"{row.service}: {row.topic} {row.partition}/{row.offset}"
            told("dead letters", where, "readable", f"dead letter ({row.reason}): {(row.value or b'')[:200]!r}")


# ---------------------------------------------------------------------------------------------- whose it is


def _check_interactions(expected: Expected, found: Found, told: _Told) -> None:
    """Whether it stands, when it was, whether nobody knows whose it is."""
    for id_ in sorted(expected.interactions.keys() & found.interactions.keys()):
        row = found.interactions[id_]
        present, moment = expected.interactions[id_]
        if row.unmatched != (id_ in expected.unmatched):
            told("unmatched", f"interaction {id_}", id_ in expected.unmatched, row.unmatched)
        if (row.present, row.occurred_at) != (present, moment):
            held = row.present, format_instant(row.occurred_at)
            told("interaction", f"present, moment of {id_}", (present, format_instant(moment)), held)
    claimed: dict[str, set[str]] = defaultdict(set)
    for attribution in expected.attributions.values():
        claimed[attribution.interaction_id].add(attribution.account)
    for id_, row in sorted(found.interactions.items()):
        if row.claimed != claimed.get(id_, set()):
            told("attribution", f"interaction {id_}", sorted(claimed.get(id_, set())), sorted(row.claimed))


def _check_conversations(expected: Expected, found: Found, told: _Told) -> None:
    """Which interactions belong together; what the group is called is nobody's business."""
    groups: dict[str, set[str]] = defaultdict(set)
    for id_, row in found.interactions.items():
        groups[row.conversation or id_].add(id_)
    for id_, row in sorted(found.interactions.items()):
        held = groups[row.conversation or id_]
        if held != expected.conversations.get(id_, held):
            wanted = sorted(expected.conversations[id_])
            told("conversation", f"interaction {id_}", f"{len(wanted)}: {wanted}", f"{len(held)}: {sorted(held)}")


def _check_attributions(expected: Expected, found: Found, told: _Told) -> None:
    """What accounts says to have published last."""
    standing = {key: row for key, row in found.attributions.items() if row.present}
    wanted = {key: each for key, each in expected.attributions.items() if each.present}
    for key in sorted(wanted.keys() - standing.keys()):
        told("attribution", f"{wanted[key].kind} {key[0]} for {key[1]}", "present", found.attributions.get(key))
    for key in sorted(standing.keys() - wanted.keys()):
        told("attribution", f"interaction {key[0]} for {key[1]}", "not this account's", standing[key])
    for key in sorted(wanted.keys() & standing.keys()):
        if wanted[key].touch_class != standing[key].touch_class:
            subject = f"touch class of {wanted[key].kind} {key[0]} for {key[1]}"
            told("attribution", subject, wanted[key].touch_class, standing[key].touch_class)


# ---------------------------------------------------------------------------------------------- what was published


def latest(records: Iterable[TopicRecord], key: Callable[[dict[str, Any]], K]) -> dict[K, TopicRecord]:
    """By key the record of the greatest version."""
    greatest: dict[K, TopicRecord] = {}
    for record in ours(records):
        body = record.body
        name = key(body)
        known = greatest.get(name)
        if known is None or body["version"] > known.body["version"]:
            greatest[name] = record
    return greatest


def ours(records: Iterable[TopicRecord]) -> Iterator[TopicRecord]:
    """Without what strangers put there: no type of ours, or no data of that type."""
    for record in records:
        model = STATES.get(record.type)
        if model is None or not record.body:
            continue
        try:
            model.model_validate_json(record.value or b"")
        except ValueError:
            continue
        yield record


def _check_published(expected: Expected, found: Found, told: _Told) -> None:
    """The folded topic says what accounts remembers, and both say what must be said."""
    records = found.records.get(ACTIVITY.name, ())
    folded = latest(records, lambda body: (body["interaction_id"], str(body["account_id"])))
    read: dict[tuple[str, str], Attribution] = {}
    for (interaction, account), record in folded.items():
        read[interaction, found.accounts.get(account, account)] = Attribution.model_validate_json(record.value or b"")
    for key in sorted(found.attributions.keys() | read.keys()):
        row, last = found.attributions.get(key), read.get(key)
        remembered = None if row is None else (row.version, row.present)
        published = None if last is None else (last.version, last.present)
        if remembered != published:
            told("publication", f"interaction {key[0]} for {key[1]}", f"{remembered} (version, present)", published)
    for key, wanted in sorted(expected.attributions.items()):
        last = read.get(key)
        if last is None or not last.present or not wanted.present:
            continue
        for name, should, does in _read_differently(wanted, last, found):
            told("attribution", f"{name} of {wanted.kind} {key[0]} for {key[1]}", should, does)


def _read_differently(
    wanted: ExpectedAttribution, last: Attribution, found: Found
) -> Iterator[tuple[str, object, object]]:
    contacts = {(found.contacts.get(each.contact_id, each.contact_id), each.role) for each in last.contacts}
    pairs: tuple[tuple[str, object, object], ...] = (
        ("kind", wanted.kind, last.kind.value),
        ("moment", wanted.occurred_at, last.occurred_at),
        ("touch class", wanted.touch_class, last.touch_class),
        ("contacts", sorted(wanted.contacts), sorted(contacts)),
        ("ticket", wanted.ticket_id, last.ticket_id),
        ("copies only", wanted.cc_only, last.cc_only),
        ("conversation", wanted.conversation_id, last.conversation_id),
    )
    for name, should, does in pairs:
        if should != does:
            yield name, should, does


def _check_versions(_: Expected, found: Found, told: _Told) -> None:
    """Per account versions grow; a repeated one says the same; on a compacted topic the greatest comes last."""
    for topic in (ACTIVITY, ACCOUNTS, KPIS, ALERTS):
        seen: dict[str, dict[int, Any]] = defaultdict(dict)
        last: dict[str, int] = {}
        for record in ours(found.records.get(topic.name, ())):
            version = record.body["version"]
            name = (record.key or b"").decode("ascii", "replace")
            place = f"{topic.name} {record.partition}/{record.offset} of {name}"
            known = seen[name]
            if version in known:
                if known[version] != record.body:
                    told("order", place, f"version {version} as it was", "another content")
            elif known and version < max(known):
                told("order", place, f"a version above {max(known)}", version)
            known[version] = record.body
            last[name] = version
        if topic.cleanup == "compact":
            for name, version in sorted(last.items()):
                if version != max(seen[name]):
                    told("order", f"{topic.name}: last record of {name}", max(seen[name]), version)


# ---------------------------------------------------------------------------------------------- figures


def _check_kpis(expected: Expected, found: Found, told: _Told) -> None:
    """Every figure of every account equals its computation from scratch."""
    states = latest(found.records.get(KPIS.name, ()), lambda body: str(body["account_id"]))
    held = {
        found.accounts.get(account, account): AccountKpis.model_validate_json(record.value or b"")
        for account, record in states.items()
    }
    for account, wanted in sorted(expected.kpis.items()):
        state = held.get(account)
        values = {} if state is None else {
            (value.kpi, value.window, value.currency): (value.value, value.previous) for value in state.values
        }  # fmt: skip
        day = "none" if state is None else state.as_of_day
        for key, should, does in _figures_apart(wanted, values):
            name = f"{key[0]} {key[1]} days {key[2] or ''} of {account} on {wanted.as_of} (state: {day})"
            told("kpi", name, should, does)
        items = set() if state is None else {(item.kind, item.interaction_id) for item in state.open_items}
        if items != wanted.open_items:
            missing, extra = sorted(wanted.open_items - items), sorted(items - wanted.open_items)
            told("open items", f"{account} (state: {day})", f"also {missing}", f"instead {extra}")


def _check_rollups(expected: Expected, found: Found, told: _Told) -> None:
    """What managers, teams and everybody did on each day; an interaction that concerns two accounts counts once."""
    for (scope, day), should, does in _differences(expected.rollups, found.rollups):
        told("roll-up", f"{' '.join(scope)} on {day}", should or {}, does or {})


_RANK = {"info": 0, "warn": 1, "alert": 2}
_COOLDOWN = timedelta(hours=24)


def _check_alerts(expected: Expected, found: Found, told: _Told) -> None:
    """What must stand stands, at least as grave; what has no cause does not."""
    if expected.alerts is None:
        return
    # Of one key the one that changed last: an older one was resolved.
    last = latest(found.records.get(ALERTS.name, ()), lambda body: str(body["dedup_key"]))
    held = {}
    # What is said about sources follows from what was broken, not from the history.
    for body in (record.body for record in last.values() if record.body.get("source") is None):
        subject = str(body["dedup_key"]).rpartition(":")[2]
        held[found.accounts.get(body["account_id"], body["account_id"]), body["rule"], subject] = body
    for alert in sorted(expected.alerts, key=str):
        body = held.get((alert.account, alert.rule, alert.subject))
        name = f"{alert.rule} of {alert.account} about {alert.subject}"
        if body is None:
            told("alert", name, f"open ({alert.severity})", "none")
        elif body["state"] == "resolved":
            # What was resolved a moment ago stays quiet for a day.
            if datetime.fromisoformat(body["changed_at"]) < expected.moment - _COOLDOWN:
                told("alert", name, f"open ({alert.severity})", f"resolved at {body['changed_at']}")
        elif _RANK[body["severity"]] < _RANK[alert.severity]:
            told("alert", name, alert.severity, body["severity"])
    allowed = {(alert.account, alert.rule, alert.subject) for alert in expected.allowed_alerts}
    for key, body in sorted(held.items()):
        if body["state"] != "resolved" and body["rule"] != "champion_left" and key not in allowed:
            told("alert", f"{key[1]} of {key[0]} about {key[2]}", "no cause, resolved", body["state"])


_SILENCES = {"stale_touch", "unanswered_mail", "order_gap"}
_SPEAK = ("opened.v1", "reopened.v1")


def _check_silences(_: Expected, found: Found, told: _Told) -> None:
    """Whoever speaks of a silence says up to when everything is known: not beyond the clock, nor before its end."""
    for record in ours(found.records.get(ALERTS.name, ())):
        body = record.body
        if body["rule"] not in _SILENCES or not record.type.endswith(_SPEAK):
            continue
        said = AlertEvent.model_validate(body)
        name = f"{said.rule} of {found.accounts.get(said.account_id, said.account_id)} at {said.changed_at}"
        horizon = said.evidence.horizon
        if horizon is None or horizon > said.changed_at:
            told("silence", name, "a horizon not beyond the clock", horizon)
        elif said.rule == "stale_touch" and said.evidence.items:
            days = next((figure.threshold for figure in said.evidence.figures if figure.unit == "days"), None)
            ends = said.evidence.items[0].occurred_at + timedelta(days=int(days or 0))
            if horizon < ends:
                told("silence", name, f"a horizon not before {ends}", horizon)


_Pair = tuple[Decimal | None, Decimal | None]


def _figures_apart(wanted: ExpectedKpis, held: Mapping[KpiKey, _Pair]) -> Iterator[tuple[KpiKey, _Pair, _Pair]]:
    for key in sorted(wanted.values.keys() | held.keys(), key=str):
        should, does = wanted.values.get(key, _nothing(key)), held.get(key, _nothing(key))
        if should != does:
            yield key, should, does


def _nothing(key: KpiKey) -> _Pair:
    """What a figure is that is not stated."""
    undefined = key[0].startswith("resolution") or key[0] == "repeat_purchase_rate"
    return (None, None) if undefined else (Decimal(0), Decimal(0))

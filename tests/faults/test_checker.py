"""The checker must see: each case spoils one thing in a system that is as it should be, and it must complain of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from contracts.activity import Attribution
from contracts.alerts import AlertEvidence, AlertOpened
from contracts.codec import encode
from contracts.details import UnknownDetail
from contracts.ids import derive_id
from contracts.kpis import AccountKpis, KpiValue, OpenItem, OrderRhythm
from contracts.values import Kind
from tests.faults.checker import compare
from tests.faults.found import AttributionRow, DeadLetterRow, Found, InteractionRow, LedgerRow, TopicRecord
from tests.faults.generator import generate
from tests.faults.history import Edit, Expected, Placed, Publication, Told
from tests.faults.oracle import expect

ACTIVITY, ACCOUNTS, KPIS, ALERTS = "tenure.activity", "tenure.accounts", "tenure.kpis", "tenure.alerts"


def id_of(word: str) -> str:
    return derive_id("test", word)


@pytest.fixture(scope="module")
def expected() -> Expected:
    """A whole small history, told without an accident."""
    history = generate(3)
    told = Told(complete_at=history.begins_at)
    for step in history.steps:
        for number, action in enumerate(step.actions):
            if isinstance(action, Edit):
                told.edits.append(action)
            elif isinstance(action, Publication):
                told.publications.append((action, Placed(action.topic, step.number, number)))
            elif action.refused is None:
                told.deliveries.append(action)
    return expect(history, told, history.steps[-1])


@pytest.fixture
def found(perfect: Found) -> Found:
    """A copy that a case may spoil."""
    return deepcopy(perfect)


@pytest.fixture(scope="module")
def perfect(expected: Expected) -> Found:
    """A system that holds exactly what it must."""
    names = {each.account for each in expected.attributions.values()} | expected.kpis.keys()
    contacts = {contact for each in expected.attributions.values() for contact, _ in each.contacts}
    found = Found(
        accounts={id_of(name): name for name in names}, contacts={id_of(contact): contact for contact in contacts}
    )
    for id_, report in expected.ledger.items():
        revision = report.event.revision
        order = revision.authority, revision.order, revision.mapper, revision.digest
        found.ledger[id_] = LedgerRow(report.interaction_id, report.event.source, order, encode(report.event))
    for id_, (present, moment) in expected.interactions.items():
        claimed = frozenset(each.account for each in expected.attributions.values() if each.interaction_id == id_)
        group = min(expected.conversations[id_])
        found.interactions[id_] = InteractionRow(present, moment, claimed, id_ in expected.unmatched, group)
    for letter in expected.dead_letters:
        placed = letter.placed or Placed(letter.topic, 99, len(found.dead_letters))
        found.dead_letters.append(
            DeadLetterRow(
                letter.service, letter.topic, placed.partition, placed.offset, letter.value, "bad_json", "waiting"
            )
        )
    found.rollups = {place: dict(amounts) for place, amounts in expected.rollups.items()}
    publish_attributions(expected, found)
    publish_figures(expected, found)
    publish_alerts(expected, found)
    return found


def publish_attributions(expected: Expected, found: Found) -> None:
    records: list[TopicRecord] = []
    for version, (key, each) in enumerate(sorted(expected.attributions.items()), start=1):
        found.attributions[key] = AttributionRow(version, each.present, each.touch_class)
        attribution = Attribution.model_validate(
            {
                "account_id": id_of(each.account),
                "interaction_id": each.interaction_id,
                "version": version,
                "present": each.present,
                "kind": each.kind,
                "occurred_at": each.occurred_at,
                "imported": False,
                "sources": ("hub",),
                "reason": "address",
                "touch_class": each.touch_class,
                "cc_only": each.cc_only,
                "contacts": [{"contact_id": id_of(who), "role": role} for who, role in each.contacts],
                "conversation_id": each.conversation_id,
                "ticket_id": each.ticket_id,
                "account_version": 0,
                "detail": UnknownDetail(),
            }
        )
        records.append(record(ACTIVITY, len(records), attribution.account_id, attribution))
    found.records[ACTIVITY] = records


def publish_figures(expected: Expected, found: Found) -> None:
    records: list[TopicRecord] = []
    for account, each in sorted(expected.kpis.items()):
        state = AccountKpis(
            account_id=id_of(account),
            version=1,
            account_version=0,
            as_of_day=each.as_of,
            computed_at=expected.moment,
            values=tuple(
                KpiValue(kpi=kpi, window=window, currency=currency, value=value, previous=previous)
                for (kpi, window, currency), (value, previous) in each.values.items()
            ),
            open_items=tuple(
                OpenItem(kind=kind, interaction_id=id_, source_kind=Kind.MAIL, since=expected.moment)
                for kind, id_ in each.open_items
            ),
            order_rhythm=OrderRhythm(orders=0),
        )
        records.append(record(KPIS, len(records), state.account_id, state))
    found.records[KPIS] = records


def publish_alerts(expected: Expected, found: Found) -> None:
    records: list[TopicRecord] = []
    for number, each in enumerate(sorted(expected.alerts or (), key=str)):
        account = id_of(each.account)
        alert = AlertOpened(
            alert_id=id_of(f"alert {number}"),
            account_id=account,
            version=number + 1,
            rule=each.rule,
            rule_version=1,
            severity="alert" if each.severity == "alert" else "warn",
            state="open",
            dedup_key=f"{each.rule}:{account}:{each.subject}",
            title="t",
            explanation="e",
            evidence=AlertEvidence(horizon=expected.moment),
            opened_at=expected.moment,
            changed_at=expected.moment,
        )
        records.append(record(ALERTS, len(records), account, alert))
    found.records[ALERTS] = records


def record(topic: str, offset: int, key: str, model: Any) -> TopicRecord:
    return TopicRecord(topic, 0, offset, key.encode(), model.TYPE, encode(model))


def altered(record_: TopicRecord, **fields: Any) -> TopicRecord:
    return replace(record_, offset=record_.offset + 10_000, value=json.dumps({**record_.body, **fields}).encode())


def first(mapping: dict[Any, Any]) -> Any:
    return min(mapping, key=str)


# ---------------------------------------------------------------------------------------------- what may go wrong


def an_event_is_lost(found: Found) -> None:
    del found.ledger[first(found.ledger)]


def an_event_comes_from_nowhere(found: Found) -> None:
    found.ledger[id_of("nowhere")] = found.ledger[first(found.ledger)]


def an_older_revision_stands(found: Found) -> None:
    id_ = first(found.ledger)
    row = found.ledger[id_]
    found.ledger[id_] = replace(row, revision=(row.revision[0], row.revision[1] - 1, *row.revision[2:]))


def a_body_is_another(found: Found) -> None:
    id_ = first(found.ledger)
    body = json.loads(found.ledger[id_].body)
    found.ledger[id_] = replace(found.ledger[id_], body=json.dumps({**body, "title": "forged"}).encode())


def an_interaction_is_lost(found: Found) -> None:
    del found.interactions[first(found.interactions)]


def a_row_waits_in_an_outbox(found: Found) -> None:
    found.outbox["metrics"] = 1


def a_dead_letter_is_lost(found: Found) -> None:
    found.dead_letters.pop(0)


def a_dead_letter_is_kept_twice(found: Found) -> None:
    found.dead_letters.append(found.dead_letters[0])


def a_good_record_is_a_dead_letter(found: Found) -> None:
    found.dead_letters.append(DeadLetterRow("metrics", ACTIVITY, 7, 7, b"{}", "handler_failed", "waiting"))


def a_mail_of_nobody_is_somebodys(found: Found) -> None:
    id_ = next(id_ for id_, row in sorted(found.interactions.items()) if row.unmatched)
    found.interactions[id_] = replace(found.interactions[id_], unmatched=False)


def a_withdrawal_is_ignored(found: Found) -> None:
    id_ = next(id_ for id_, row in sorted(found.interactions.items()) if not row.present)
    found.interactions[id_] = replace(found.interactions[id_], present=True)


def an_interaction_is_anothers(found: Found) -> None:
    id_ = next(id_ for id_, row in sorted(found.interactions.items()) if row.claimed)
    found.interactions[id_] = replace(found.interactions[id_], claimed=frozenset({"somebody else"}))


def two_conversations_are_one(found: Found) -> None:
    groups = sorted({row.conversation or "" for row in found.interactions.values()})
    for id_, row in found.interactions.items():
        if row.conversation == groups[0]:
            found.interactions[id_] = replace(row, conversation=groups[1])


def an_attribution_is_forgotten(found: Found) -> None:
    key = next(key for key, row in sorted(found.attributions.items()) if row.present)
    found.attributions[key] = replace(found.attributions[key], present=False)


def a_touch_is_read_otherwise(found: Found) -> None:
    key = next(key for key, row in sorted(found.attributions.items()) if row.touch_class == "routine" and row.present)
    found.attributions[key] = replace(found.attributions[key], touch_class="billing")


def a_change_is_never_published(found: Found) -> None:
    found.records[ACTIVITY].pop(0)


def a_contact_is_missing_from_what_is_published(found: Found) -> None:
    records = found.records[ACTIVITY]
    place = next(number for number, each in enumerate(records) if each.body["present"] and each.body.get("contacts"))
    records[place] = replace(records[place], value=json.dumps({**records[place].body, "contacts": []}).encode())


def a_version_runs_backwards(found: Found) -> None:
    last = found.records[ACTIVITY][-1]
    found.records[ACTIVITY] += [altered(last, version=10_002), altered(last, version=10_001)]
    key = last.body["interaction_id"], found.accounts[last.body["account_id"]]
    found.attributions[key] = replace(found.attributions[key], version=10_002)


def a_version_says_two_things(found: Found) -> None:
    last = found.records[ACTIVITY][-1]
    found.records[ACTIVITY].append(altered(last, reason="phone"))


def a_zombie_writes_the_last_record_of_a_compacted_topic(found: Found) -> None:
    state = found.records[KPIS][0]
    newer = altered(state, version=2)
    found.records[KPIS] += [newer, replace(state, offset=newer.offset + 1)]


def a_cent_is_missing(found: Found) -> None:
    for place, each in enumerate(found.records[KPIS]):
        values = [dict(value) for value in each.body["values"]]
        for value in values:
            if value["kpi"] == "net_revenue" and value.get("value") not in {None, "0", "0.00"}:
                value["value"] = f"{float(value['value']) - 0.01:.2f}"
                found.records[KPIS][place] = replace(each, value=json.dumps({**each.body, "values": values}).encode())
                return
    raise AssertionError("no account has revenue")


def an_account_has_no_figures(found: Found) -> None:
    place = next(
        number
        for number, each in enumerate(found.records[KPIS])
        if any(value["kpi"] == "touches_in" and value["value"] != "0" for value in each.body["values"])
    )
    found.records[KPIS].pop(place)


def an_open_item_is_forgotten(found: Found) -> None:
    place, each = next((n, each) for n, each in enumerate(found.records[KPIS]) if each.body.get("open_items"))
    found.records[KPIS][place] = replace(each, value=json.dumps({**each.body, "open_items": []}).encode())


def a_touch_of_two_accounts_counts_twice(found: Found) -> None:
    place = min((place for place, amounts in found.rollups.items() if "touches_out" in amounts), key=str)
    found.rollups[place]["touches_out"] += 1


def an_alert_is_missing(found: Found) -> None:
    found.records[ALERTS].pop(0)


def an_alert_has_no_cause(found: Found) -> None:
    some = found.records[ALERTS][0]
    key = f"order_gap:{some.body['account_id']}:account"
    found.records[ALERTS].append(altered(some, rule="order_gap", dedup_key=key, version=9999))


def a_silence_speaks_beyond_the_horizon(found: Found) -> None:
    some = next(each for each in found.records[ALERTS] if each.body["rule"] == "stale_touch")
    evidence = {"horizon": "2100-01-01T00:00:00Z"}
    found.records[ALERTS].append(altered(some, evidence=evidence, version=9999))


def a_silence_speaks_before_everything_is_known(found: Found) -> None:
    some = next(each for each in found.records[ALERTS] if each.body["rule"] == "stale_touch")
    touch = {"interaction_id": id_of("touch"), "kind": "mail", "occurred_at": "2026-01-01T00:00:00Z", "summary": "s"}
    figures = [{"name": "days without a real touch", "threshold": "30", "unit": "days"}]
    evidence = {"horizon": "2026-01-30T00:00:00Z", "items": [touch], "figures": figures}
    found.records[ALERTS].append(altered(some, evidence=evidence, version=9999))


def an_alert_was_resolved_long_ago(expected: Expected, found: Found) -> None:
    some = found.records[ALERTS][0]
    moment = (expected.moment - timedelta(days=3)).isoformat()
    found.records[ALERTS].append(
        altered(some, state="resolved", changed_at=moment, evidence={"horizon": moment}, version=9999)
    )


CASES: tuple[tuple[Callable[[Found], None], str], ...] = (
    (an_event_is_lost, "conservation"),
    (an_event_comes_from_nowhere, "conservation"),
    (an_older_revision_stands, "revision"),
    (a_body_is_another, "body"),
    (an_interaction_is_lost, "conservation"),
    (a_row_waits_in_an_outbox, "drained"),
    (a_dead_letter_is_lost, "dead letters"),
    (a_dead_letter_is_kept_twice, "dead letters"),
    (a_good_record_is_a_dead_letter, "dead letters"),
    (a_mail_of_nobody_is_somebodys, "unmatched"),
    (a_withdrawal_is_ignored, "interaction"),
    (an_interaction_is_anothers, "attribution"),
    (two_conversations_are_one, "conversation"),
    (an_attribution_is_forgotten, "attribution"),
    (a_touch_is_read_otherwise, "attribution"),
    (a_change_is_never_published, "publication"),
    (a_contact_is_missing_from_what_is_published, "attribution"),
    (a_version_runs_backwards, "order"),
    (a_version_says_two_things, "order"),
    (a_zombie_writes_the_last_record_of_a_compacted_topic, "order"),
    (a_cent_is_missing, "kpi"),
    (an_account_has_no_figures, "kpi"),
    (an_open_item_is_forgotten, "open items"),
    (a_touch_of_two_accounts_counts_twice, "roll-up"),
    (an_alert_is_missing, "alert"),
    (an_alert_has_no_cause, "alert"),
    (a_silence_speaks_beyond_the_horizon, "silence"),
    (a_silence_speaks_before_everything_is_known, "silence"),
)


def test_a_system_that_is_as_it_should_be_gives_no_complaint(expected: Expected, perfect: Found) -> None:
    assert [str(violation) for violation in compare(expected, perfect)] == []
    # Otherwise there would be nothing to compare.
    assert len(expected.ledger) > 100
    assert expected.unmatched
    assert expected.alerts
    assert expected.dead_letters


@pytest.mark.parametrize(("spoil", "invariant"), CASES, ids=[spoil.__name__ for spoil, _ in CASES])
def test_it_is_seen_when(spoil: Callable[[Found], None], invariant: str, expected: Expected, found: Found) -> None:
    spoil(found)
    violations = compare(expected, found)
    assert invariant in {violation.invariant for violation in violations}
    assert all(str(violation).startswith("seed 3: ") for violation in violations)


def test_an_alert_that_was_resolved_stays_quiet_for_a_day_only(expected: Expected, found: Found) -> None:
    just_now = altered(found.records[ALERTS][0], state="resolved", changed_at=expected.moment.isoformat(), version=9999)
    found.records[ALERTS].append(just_now)
    assert compare(expected, found) == []
    found.records[ALERTS].pop()
    an_alert_was_resolved_long_ago(expected, found)
    assert {violation.invariant for violation in compare(expected, found)} == {"alert"}


def test_many_of_one_kind_are_counted_instead_of_told_one_by_one(expected: Expected, found: Found) -> None:
    found.ledger.clear()
    violations = [each for each in compare(expected, found) if each.invariant == "conservation"]
    assert len(violations) < 20
    assert violations[-1].subject == "all of these"

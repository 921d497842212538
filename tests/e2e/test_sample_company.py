"""The sample company on real Kafka and PostgreSQL: from webhooks, mail, calls and orders to the expected alerts."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from html import escape
from http import HTTPStatus
from typing import Any

import httpx2
import pytest
from cloudevents.core.bindings import kafka
from cloudevents.core.bindings.http import HTTPMessage, to_binary_event, to_structured_event
from cloudevents.core.v1.event import CloudEvent

from contracts.codec import ALL_TYPES
from contracts.envelope import Envelope
from contracts.ids import interaction_id
from contracts.topics import ACCOUNTS, ACTIVITY, ALERTS, INBOUND, INTERACTIONS, KPIS, Topic
from samples.company import CRM
from samples.facts import Call, Mail
from samples.liveday import NEWCOMER
from samples.player import FLOW_ORDER
from samples.script import Step
from tests.e2e.foreign import ForeignRecord, put, read_all
from tests.e2e.receiver import Receiver
from tests.e2e.scene import Scene, disordered, expected, label_of, scene

LIFE = ("step", "change", "rule", "account", "severity", "evidence")


def lives(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What happened to alerts, in an order of its own."""
    return sorted(({name: line[name] for name in LIFE} for line in lines), key=json.dumps)


def test_exactly_the_expected_alerts_come_at_exactly_the_expected_steps(plain: dict[str, Any]) -> None:
    assert lives(plain["life"]) == lives(expected()["alerts"])


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("key", sorted(expected()["kpis"]["accounts"]))
def test_the_figures_of_an_account_are_the_expected_ones(played: Scene, key: str) -> None:
    agree(played.kpis(f"/v1/accounts/{played.accounts[key]}/kpis"), expected()["kpis"]["accounts"][key])


@pytest.mark.parametrize("name", sorted(expected()["kpis"]["managers"]))
def test_the_figures_of_a_manager_are_the_expected_ones(played: Scene, name: str) -> None:
    agree(played.kpis(f"/v1/managers/{played.users[name]}/kpis"), expected()["kpis"]["managers"][name])


def test_the_figures_of_the_portfolio_are_the_expected_ones(played: Scene) -> None:
    agree(played.kpis("/v1/portfolio/kpis"), expected()["kpis"]["portfolio"])


def test_what_is_nobodys_is_shown_and_goes_away_when_somebody_says_whose_it_is(plain: dict[str, Any]) -> None:
    shown = {item["value"]: item["interactions"] for item in plain["unmatched"] if item["kind"] in {"address", "phone"}}
    assert shown == expected()["strangers"]["at the end"]
    assert "example.lea.anfrage@gmail.com" in expected()["strangers"]["after history"]


def test_everything_that_happened_is_in_exactly_one_place(played: Scene, plain: dict[str, Any]) -> None:
    attributed = {row[0] for rows in plain["ledger"].values() for row in rows}
    unmatched = set(plain["unmatched_ids"])
    assert set(played.ids.values()) <= attributed | unmatched
    assert not attributed & unmatched
    assert not any(plain["dead_letters"].values())


def test_every_mail_and_call_has_the_touch_class_that_its_writer_meant(played: Scene, plain: dict[str, Any]) -> None:
    read = {row[0]: row[2] for rows in plain["ledger"].values() for row in rows}
    meant = {
        id_: fact.touch
        for fact in played.theatre.player.story.facts
        if isinstance(fact, Mail | Call) and (id_ := played.ids.get(label_of(fact))) in read
    }
    assert len(meant) > 1700
    assert {id_: read[id_] for id_ in meant} == meant


def test_somebody_who_writes_and_is_in_no_group_is_suggested_with_what_suggests_them(played: Scene) -> None:
    suggested = played.get("accounts", "/v1/accounts/key:kupferberg/suggestions")["items"]
    newcomer = next(one for one in suggested if one["value"] == NEWCOMER.address)
    assert (newcomer["name"], newcomer["contact_id"]) == (NEWCOMER.name, None)
    ids = {item["id"] for item in newcomer["interactions"]}
    assert ids == {played.ids["mail <live.newcomer@kupferberg.example>"]}


def test_every_alert_that_speaks_reaches_its_manager_by_mail_once(played: Scene) -> None:
    company = played.theatre.player.story.company
    wanted = [
        (company.colleague(company.customer(line["account"]).owner).address, company.customer(line["account"]).name)
        for line in expected()["alerts"]
        if line["change"] in {"opened", "escalated"}
    ]
    mails = played.theatre.mails
    assert Counter(mail.recipient for mail in mails) == Counter(address for address, _ in wanted)
    for address, name in wanted:
        theirs = [mail for mail in mails if mail.recipient == address]
        assert any(name in mail.text and escape(name) in mail.html for mail in theirs), name


def test_every_step_of_an_alert_reaches_a_web_hook_once_and_signed(played: Scene, receiver: Receiver) -> None:
    steps = Counter((line["change"], line["rule"], line["account"]) for line in expected()["alerts"])
    came = Counter(
        (event["type"].split(".")[2], event["data"]["rule"], played.keys[event["data"]["account_id"]])
        for message in receiver.received
        for event in message.events
    )
    assert came == steps
    assert receiver.refused == 0
    assert len({message.webhook_id for message in receiver.received}) == len(receiver.received)


def test_a_manager_sees_their_accounts_a_lead_the_teams_and_a_stranger_nothing(played: Scene) -> None:
    customers = played.theatre.player.story.company.customers

    def seen(subject: str) -> tuple[set[str], set[str]]:
        """Keys of the accounts, and of the accounts of the alerts."""
        accounts = played.get("accounts", "/v1/accounts?limit=500", subject=subject, roles=())["items"]
        alerts = played.get("notifier", "/v1/alerts?state=any&limit=500", subject=subject, roles=())["items"]
        return {item["key"] for item in accounts}, {played.keys[alert["account_id"]] for alert in alerts}

    alerted = {line["account"] for line in expected()["alerts"]}
    theirs = {customer.key for customer in customers if customer.owner == "bruno"}
    assert seen("bruno.keller") == (theirs, theirs & alerted)
    everybodys = {customer.key for customer in customers}
    assert seen("katrin.vogel") == (everybodys, alerted)
    assert seen("nobody.known") == (set(), set())
    refused = httpx2.get(f"{played.theatre.system.url('notifier')}/v1/alerts")
    assert refused.status_code == HTTPStatus.UNAUTHORIZED


def test_one_trace_leads_from_the_webhook_to_the_alert(played: Scene) -> None:
    """The last ticket of the storm: ingest, accounts, metrics, notifier, one trace id through four processes."""

    def traces(service: str, of: Callable[[dict[str, Any]], bool] = lambda _: True) -> set[str]:
        file = played.theatre.system.trace_directory / f"{service}.trace.jsonl"
        spans = (json.loads(line) for line in file.read_text().splitlines())
        return {span["context"]["trace_id"] for span in spans if of(span)}

    doors = played.eventually(
        lambda: (
            traces("ingest", lambda span: span["attributes"].get("source") == "desk")
            & traces("accounts")
            & traces("metrics")
            & traces("notifier", lambda span: span["name"] == "notifier look")
        )
    )
    assert doors


@pytest.mark.parametrize("topic", [INTERACTIONS, ACTIVITY, ACCOUNTS, KPIS, ALERTS], ids=lambda topic: topic.name)
def test_a_foreign_client_reads_valid_cloudevents_from_the_topic(played: Scene, topic: Topic) -> None:
    records = read_all(played.theatre.system.kafka.bootstrap, topic.name)
    assert records
    for record in records:
        event = record.as_event()
        assert event.get_specversion() == "1.0"
        assert event.get_type() in ALL_TYPES
        assert event.get_subject()
        assert isinstance(event.get_data(), dict)
        ours = Envelope.from_headers(record.headers)
        assert (event.get_id(), event.get_type(), event.get_time()) == (ours.id, ours.type, ours.time)


@pytest.mark.parametrize("write", [to_structured_event, to_binary_event])
def test_what_the_cloudevents_package_sends_is_read_here(played: Scene, write: Callable[..., HTTPMessage]) -> None:
    event = note_about_windrose(played)
    message = write(event)
    answer = played.send_signed("/v1/events", bytes(message.body), dict(message.headers))
    assert answer.status_code == HTTPStatus.ACCEPTED, answer.text
    played.theatre.player.wait_until_drained()
    assert interaction_id("note", CRM, str(event.get_subject())) in notes_of_windrose(played)


@pytest.mark.parametrize("write", [kafka.to_structured_event, kafka.to_binary_event])
def test_what_the_cloudevents_package_puts_on_the_inbound_topic_is_passed_on(
    played: Scene, write: Callable[..., kafka.KafkaMessage]
) -> None:
    event = note_about_windrose(played)
    message = write(event)
    record = ForeignRecord(b"any", bytes(message.value), dict(message.headers))
    put(played.theatre.system.kafka.bootstrap, INBOUND.name, [record])
    played.theatre.player.wait_until_drained()
    # every publisher has a namespace of its own
    assert interaction_id("note", f"inbound:{event.get_source()}", str(event.get_subject())) in notes_of_windrose(
        played
    )


def note_about_windrose(played: Scene) -> CloudEvent:
    """A report that changes no figure."""
    note = f"note-{uuid.uuid4().hex}"
    address = played.theatre.player.story.company.contact("windrose-1").address
    return CloudEvent(
        {
            "id": f"{note}-1",
            "source": "/brightwell/crm",
            "type": "tenure.note.written.v1",
            "subject": note,
            "time": played.theatre.player.now,
            "datacontenttype": "application/json",
            "specversion": "1.0",
        },
        {
            "title": "Met at the fair",
            "parties": [{"role": "subject", "identities": [{"kind": "address", "value": address}]}],
        },
    )


def notes_of_windrose(played: Scene) -> set[str]:
    """Ids of the account's notes."""
    page = played.get("accounts", "/v1/accounts/key:windrose/interactions?kind=note&limit=200")
    return {item["id"] for item in page["items"]}


GOOD_HEADERS = {
    "ce_specversion": b"1.0",
    "ce_id": b"0197a000-0000-8000-8000-000000000001",
    "ce_source": b"/elsewhere",
    "ce_subject": b"0197a000-0000-8000-8000-000000000002",
    "ce_time": b"2026-03-02T09:00:00Z",
    "ce_recordedtime": b"2026-03-02T09:00:00Z",
    "content-type": b"application/json",
}
POISON = {
    "no JSON": b"{not json",
    "no text": b"\xff\xfe\x00\x01",
    "NUL": b'{"text":"a\\u0000b"}',
    "lone surrogate": b'{"text":"\\ud800"}',
    "NaN": b'{"net":{"amount":NaN}}',
    "a huge number": b'{"talk_seconds":' + b"9" * 5000 + b"}",
    "deep nesting": b"[" * 10_000 + b"]" * 10_000,
    "nothing": b"",
}
TOPIC_TYPES = {
    INBOUND: ("ingest", "tenure.order.placed.v1"),
    INTERACTIONS: ("accounts", "tenure.order.placed.v1"),
    ACTIVITY: ("metrics", "tenure.attribution.v1"),
    ACCOUNTS: ("notifier", "tenure.account.v1"),
    KPIS: ("notifier", "tenure.kpis.v1"),
}


@pytest.mark.parametrize("topic", TOPIC_TYPES, ids=lambda topic: topic.name)
def test_poison_becomes_dead_letters_with_its_bytes_and_stops_nobody(played: Scene, topic: Topic) -> None:
    service, type_name = TOPIC_TYPES[topic]
    headers = GOOD_HEADERS | {"ce_type": type_name.encode()}
    poison = [ForeignRecord(b"poison", value, headers) for value in POISON.values()]
    poison += [
        ForeignRecord(b"poison", b"{}", headers | {"ce_type": b"tenure.nothing.known.v1"}),
        ForeignRecord(b"poison", b"{}", headers | {"ce_type": type_name.replace(".v1", ".v9").encode()}),
        ForeignRecord(b"poison", b"{}", {"ce_id": b"\xff"}),
        ForeignRecord(b"poison", b"{}", {}),
    ]
    if topic.cleanup == "delete":
        # a compacted topic takes no record without a key
        poison.append(ForeignRecord(None, b"{without a key", headers))
    known = {letter["id"] for letter in letters(played, service, topic)}
    put(played.theatre.system.kafka.bootstrap, topic.name, poison)
    played.theatre.player.wait_until_drained()
    found = [letter for letter in letters(played, service, topic) if letter["id"] not in known]
    shown = [played.get(service, f"/v1/dead-letters/{letter['id']}") for letter in found]
    values = Counter(base64.b64decode(letter["value"]) for letter in shown)
    assert values == Counter(record.value for record in poison)
    # nobody was stopped: what comes next flows through to the end
    assert all(played.theatre.player.flow(name)["status"] == "running" for name in FLOW_ORDER)


@pytest.mark.usefixtures("plain")
def test_an_operator_sees_replays_and_drops_dead_letters(played: Scene) -> None:
    put(played.theatre.system.kafka.bootstrap, INTERACTIONS.name, [ForeignRecord(b"once", b"{once", GOOD_HEADERS)] * 2)
    played.theatre.player.wait_until_drained()
    listed = json.loads(letter_command(played, "list", "--topic", INTERACTIONS.name, "--json"))
    first, second = (letter["id"] for letter in listed[:2])
    assert "{once" in letter_command(played, "show", first)
    letter_command(played, "drop", first, "--why", "a test")
    letter_command(played, "replay", second)
    played.theatre.player.wait_until_drained()
    waiting = {letter["id"] for letter in letters(played, "accounts", INTERACTIONS)}
    assert not {first, second} & waiting
    # what is replayed and fails again is a new dead letter
    assert waiting - {letter["id"] for letter in listed}


def letters(played: Scene, service: str, topic: Topic) -> list[dict[str, Any]]:
    """Dead letters that wait, newest first."""
    return list(played.get(service, f"/v1/dead-letters?topic={topic.name}&limit=500")["items"])


def letter_command(played: Scene, *words: str) -> str:
    """Run `tenure dead-letters` for accounts, as an operator does."""
    address, token = played.theatre.system.url("accounts"), str(played.token_file())
    where = ("--service", "accounts", "--url", address, "--token-file", token)
    command = [sys.executable, "-m", "services.cli.app", "dead-letters", *words, *where]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_metrics_is_rebuilt_to_the_same_values_although_it_is_killed(played: Scene) -> None:
    system, before = played.theatre.system, played.fingerprint()["kpis"]
    published = len(read_all(system.kafka.bootstrap, KPIS.name))
    addresses = ["--url", system.url("metrics"), "--accounts-url", system.url("accounts")]
    command = [sys.executable, "-m", "services.cli.app", "rebuild", "metrics", *addresses]
    command += ["--token-file", str(played.token_file()), "--json"]
    headers = {"authorization": f"Bearer {played.token_file().read_text()}"}
    begun = httpx2.post(f"{system.url('metrics')}/v1/rebuild", headers=headers).raise_for_status().json()
    system.restart("metrics")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    ended = json.loads(done.stdout)
    found = ended["found"]
    assert ended["rebuild_id"] == begun["rebuild_id"]
    assert (found["accounts"], found["different_accounts"]) == (len(played.accounts), 0)
    assert (found["different_roll_ups"], found["different_copies"]) == (0, {})
    played.theatre.player.wait_until_drained()
    assert played.fingerprint()["kpis"] == before
    assert len(read_all(system.kafka.bootstrap, KPIS.name)) == published


def test_sent_twice_and_in_another_order_everything_comes_out_the_same(plain: dict[str, Any]) -> None:
    with scene(times=2, shuffle=disordered(7)) as again:
        again.begin()
        again.play_all()
        compare(again.fingerprint(), plain)


def test_killing_accounts_and_kafka_in_the_middle_of_the_day_changes_nothing(plain: dict[str, Any]) -> None:
    with scene() as again:
        system, player = again.theatre.system, again.theatre.player

        def accounts_dies() -> None:
            system.restart("accounts")

        def kafka_dies() -> None:
            system.kill("kafka")
            refused = player.attempt(next(one for one in step("shop").deliveries if one.source == "shop"))
            assert refused.status_code == HTTPStatus.SERVICE_UNAVAILABLE
            assert refused.headers["retry-after"]
            system.start("kafka")

        def step(name: str) -> Step:
            return next(step for step in player.story.steps if step.name == name)

        faults = {"storm": accounts_dies, "shop": kafka_dies}
        again.begin()
        for one in player.story.steps:
            again.play(one, halfway=faults.get(one.name, lambda: None))
        compare(again.fingerprint(), plain)


def compare(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """To the last digit, part by part: a difference in the whole would be unreadable."""
    assert lives(found["life"]) == lives(wanted["life"])
    assert found["alerts"] == wanted["alerts"]
    for part in ("kpis", "ledger"):
        for key, state in wanted[part].items():
            assert found[part][key] == state, (part, key)
    for part in ("unmatched", "unmatched_ids", "dead_letters"):
        assert found[part] == wanted[part]


def agree(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Counts and money exactly; a mean or percentile may be rounded at the fourth decimal."""
    wrong = {}
    for days, kpis in wanted.items():
        for name, pair in kpis.items():
            for place, value in enumerate(pair):
                is_ = found[days][name][place]
                both = None not in {is_, value}
                close = both and abs(Decimal(is_) - Decimal(value)) <= Decimal("0.0001")
                if not close and is_ != value:
                    wrong[f"{name}, {days} days, {'now' if place == 0 else 'before'}"] = (is_, value)
    assert not wrong

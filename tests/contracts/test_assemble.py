"""`assemble` does not care in which order reports came, nor how often."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.details import CallDetail, ContractDetail, MailDetail, OrderDetail, TicketDetail, UnknownDetail
from contracts.documents import EXAMPLES, stored
from contracts.events import BY_TYPE, EVENTS, Event
from contracts.ids import digest
from contracts.interactions import assemble
from contracts.values import Kind

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
TYPES_OF: dict[Kind, list[type[Event]]] = {}
for _event in EVENTS:
    for _kind in [_event.KIND] if _event.KIND is not None else list(Kind):
        TYPES_OF.setdefault(_kind, []).append(_event)


def report(name: str, minute: int = 0, order: int | None = None, authority: int = 1, **fields: Any) -> Event:
    """One report like the golden example, `minute` minutes after nine, with fields changed."""
    at = START + timedelta(minutes=minute)
    data = stored(EXAMPLES, name)["data"] | {"occurred_at": at.isoformat(), "report": f"{name}@{minute}"} | fields
    data["revision"] = {
        "authority": authority,
        "order": minute if order is None else order,
        "mapper": fields.get("mapper", 1),
        "digest": digest(repr(sorted(data.items(), key=str)).encode()),
    }
    return BY_TYPE[name].model_validate(data)


OPENED, RESOLVED, REOPENED = (f"tenure.ticket.{what}.v1" for what in ("opened", "resolved", "reopened"))
PLACED, CHANGED, CANCELLED = (f"tenure.order.{what}.v1" for what in ("placed", "changed", "cancelled"))
RECEIVED, LEG = "tenure.email.received.v1", "tenure.call.leg-ended.v1"
WITHDRAWN, RESTORED = "tenure.interaction.withdrawn.v1", "tenure.interaction.restored.v1"


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """Reports about one interaction of any kind: repeated ids, equal times, all authorities, withdrawals."""
    kind = draw(st.sampled_from(sorted(TYPES_OF)))
    key = {"kind": kind.value, "system": "system", "native_id": "1"}
    types = st.sampled_from([event.TYPE for event in TYPES_OF[kind]])
    reports = []
    for _ in range(draw(st.integers(1, 7))):
        name = draw(types)
        minute = draw(st.integers(0, 3))
        one = report(
            name,
            minute,
            order=draw(st.integers(0, 3)),
            authority=draw(st.integers(0, 2)),
            interaction=key,
            report=draw(st.sampled_from("ab")),
            source=draw(st.sampled_from(["one", "two"])),
        )
        reports.append(one)
    return reports


@given(histories(), st.randoms(use_true_random=False))
def test_order_and_repetition_do_not_matter(reports: list[Event], random: Any) -> None:
    expected = assemble(reports)
    again = [*reports, *random.choices(reports, k=len(reports))]
    random.shuffle(again)
    assert assemble(again) == expected


@given(histories())
def test_of_one_report_only_the_greatest_revision_counts(reports: list[Event]) -> None:
    greatest: dict[str, Event] = {}
    for one in reports:
        known = greatest.get(one.id)
        if known is None or one.revision.sort_key >= known.revision.sort_key:
            greatest[one.id] = one
    assert assemble(greatest.values()) == assemble(reports)


@given(histories())
def test_it_can_be_written_and_read_back(reports: list[Event]) -> None:
    interaction = assemble(reports)
    assert type(interaction).model_validate_json(interaction.model_dump_json()) == interaction


def ticket(*reports: Event) -> TicketDetail:
    detail = assemble(reports).detail
    assert isinstance(detail, TicketDetail)
    return detail


def test_a_resolved_ticket_keeps_its_first_opening_and_its_last_resolution() -> None:
    detail = ticket(report(OPENED, 0), report(RESOLVED, 60), report(REOPENED, 90), report(RESOLVED, 200))
    assert detail.opened_at == START
    assert detail.resolved_at == START + timedelta(minutes=200)
    assert detail.reopenings == 1


def test_a_reopened_ticket_is_not_resolved() -> None:
    assert ticket(report(OPENED, 0), report(RESOLVED, 60), report(REOPENED, 90)).resolved_at is None


@pytest.mark.parametrize(
    ("said_last", "resolved"), [("resolved", True), ("closed", True), ("open", False), (None, False)]
)
def test_of_an_end_and_a_reopening_in_one_second_the_status_said_last_is_the_later(
    said_last: str | None, *, resolved: bool
) -> None:
    before = [report(RESOLVED, 60, 1, status=None), report(REOPENED, 60, 2, status=None)]
    last = report("tenure.ticket.updated.v1", 60, 3, status=said_last)
    assert (ticket(*before, last).resolved_at is not None) is resolved


def test_a_resolution_that_arrives_before_its_opening_is_still_one() -> None:
    assert ticket(report(RESOLVED, 60)).resolved_at == START + timedelta(minutes=60)
    assert ticket(report(RESOLVED, 60)).opened_at is None


def test_a_field_comes_from_the_greatest_revision_that_states_it() -> None:
    detail = ticket(report(OPENED, 0, priority="low"), report(RESOLVED, 60, priority=None))
    assert detail.priority == "low"


def test_a_live_report_overrules_an_import_whatever_their_order() -> None:
    live = report(CHANGED, 5, order=1, net={"amount": "5.00", "currency": "EUR"})
    imported = report(CHANGED, 5, order=9, authority=0, report="csv", net={"amount": "7.00", "currency": "EUR"})
    detail = assemble([live, imported]).detail
    assert isinstance(detail, OrderDetail)
    assert detail.net is not None
    assert str(detail.net.amount) == "5.00"


def test_what_no_live_report_states_comes_from_the_import() -> None:
    live = report(PLACED, 5, net=None, lines=None)
    imported = report(PLACED, 5, authority=0, report="csv")
    interaction = assemble([live, imported])
    assert isinstance(interaction.detail, OrderDetail)
    assert interaction.detail.net is not None
    assert not interaction.imported


@pytest.mark.parametrize("imported_at", [-540, 3])
def test_when_it_began_is_what_a_live_report_says_however_an_import_dates_it(imported_at: int) -> None:
    history = report(PLACED, imported_at, order=9, authority=0)
    live = report(PLACED, 0, order=1)
    later = report(CHANGED, 5, entries=[])
    for reports in ([history, live, later], [later, live, history]):
        whole = assemble(reports)
        assert [entry.at for entry in whole.entries] == [live.occurred_at]
        assert whole.occurred_at == live.occurred_at
    assert [entry.at for entry in assemble([history, later]).entries] == [history.occurred_at]


def test_an_interaction_that_history_alone_reported_is_imported() -> None:
    assert assemble([report(PLACED, 5, authority=0)]).imported


def test_a_cancelled_order_says_when() -> None:
    detail = assemble([report(CANCELLED, 30), report(PLACED, 0)]).detail
    assert isinstance(detail, OrderDetail)
    assert detail.placed_at == START
    assert detail.cancelled_at == START + timedelta(minutes=30)


def test_a_withdrawal_before_the_assertion_holds() -> None:
    key = report(PLACED).interaction.model_dump()
    gone = report(WITHDRAWN, 9, interaction=key)
    assert not assemble([gone]).present
    assert isinstance(assemble([gone]).detail, UnknownDetail)
    assert not assemble([gone, report(PLACED, 0)]).present


def test_a_restoration_after_a_withdrawal_brings_it_back() -> None:
    key = report(PLACED).interaction.model_dump()
    reports = [report(WITHDRAWN, 9, interaction=key), report(RESTORED, 10, interaction=key), report(PLACED, 0)]
    assert assemble(reports).present


def test_nothing_undoes_a_deletion_without_order_but_another_of_its_authority() -> None:
    key = report(PLACED).interaction.model_dump()
    deletion = report(WITHDRAWN, 9, authority=2, order=0, interaction=key)
    assert not assemble([deletion, report(RESTORED, 99, interaction=key), report(PLACED, 0)]).present


def in_mailbox(mailbox: str, minute: int, **fields: Any) -> Event:
    return report(RECEIVED, minute, mailbox=mailbox, report=mailbox, **fields)


def test_a_mail_is_the_union_of_what_its_mailboxes_saw() -> None:
    interaction = assemble([in_mailbox("anna", 3, labels=["Inbox"]), in_mailbox("ben", 1, labels=["Key"])])
    assert isinstance(interaction.detail, MailDetail)
    assert interaction.detail.mailboxes == ("anna", "ben")
    assert interaction.detail.labels == ("Inbox", "Key")
    assert interaction.occurred_at == START + timedelta(minutes=1)


def test_a_mail_that_is_private_in_one_mailbox_shows_its_content_in_none() -> None:
    interaction = assemble([in_mailbox("anna", 0), in_mailbox("ben", 0, private=True)])
    assert interaction.title is None
    assert interaction.text is None


def test_a_mail_is_withdrawn_only_when_every_mailbox_withdrew_it() -> None:
    key = in_mailbox("anna", 0).interaction.model_dump()
    both = [in_mailbox("anna", 0), in_mailbox("ben", 0)]
    first = report(WITHDRAWN, 5, mailbox="anna", report="w1", interaction=key)
    second = report(WITHDRAWN, 6, mailbox="ben", report="w2", interaction=key)
    assert assemble([*both, first]).present
    assert not assemble([*both, first, second]).present


def call(*legs: Event) -> CallDetail:
    detail = assemble(legs).detail
    assert isinstance(detail, CallDetail)
    return detail


def leg(name: str, *, root: bool, answered: bool) -> Event:
    return report(
        LEG, report=name, leg=name, root=root, answered_by_person=answered, talk_seconds=60 if answered else 0
    )


def test_a_call_is_completed_when_a_person_answered_one_of_its_legs() -> None:
    assert call(leg("1", root=True, answered=False), leg("2", root=False, answered=True)).outcome == "completed"


def test_a_call_is_missed_when_the_root_ended_and_nobody_answered() -> None:
    assert call(leg("1", root=True, answered=False), leg("2", root=False, answered=False)).outcome == "missed"


def test_a_call_runs_while_only_other_legs_have_ended() -> None:
    assert call(leg("2", root=False, answered=False)).outcome == "running"


def test_a_contract_is_in_the_state_of_its_latest_entry() -> None:
    signed, cancelled = (
        report(f"tenure.contract.{what}.v1", minute) for what, minute in (("signed", 0), ("cancelled", 9))
    )
    detail = assemble([cancelled, signed]).detail
    assert isinstance(detail, ContractDetail)
    assert detail.state == "cancelled"
    assert detail.recurring is not None


def test_reports_about_different_interactions_are_not_mixed() -> None:
    other = {"kind": "order", "system": "shopify:brightwell", "native_id": "other"}
    with pytest.raises(ValueError, match="different interactions"):
        assemble([report(PLACED), report(PLACED, interaction=other)])


def test_no_report_is_no_interaction() -> None:
    with pytest.raises(ValueError, match="at least one"):
        assemble([])

"""Questions, answers and two-way touches: by hand, and against the fold for any neighbourhood that is read again."""

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from contracts.activity import Attribution
from services.metrics.domain.facts import NEVER, ROLES, Fact, read
from services.metrics.domain.fold import fold_account
from services.metrics.domain.pairing import TWO_WAY_WITHIN, pair
from services.metrics.domain.touches import latest
from tests.unit.metrics.builders import BERLIN, MARIA, TOM, at, call, mail, meeting, uid
from tests.unit.metrics.histories import FIRST, histories

NOON = at("2026-03-02 12:00")


def paired(*states: Attribution) -> dict[str, Fact]:
    """The facts of an account, completely paired."""
    facts = {state.interaction_id: read(state, BERLIN) for state in states}
    return facts | {fact.interaction_id: fact for fact in pair(facts.values(), at("2020-01-01 00:00"))}


def hours(number: float) -> timedelta:
    return timedelta(hours=number)


def test_a_mail_to_the_same_contact_answers() -> None:
    facts = paired(
        mail(1, NOON, people=[(MARIA, "from")]),
        mail(2, NOON + hours(1), "out", people=[(TOM, "to")]),
        mail(3, NOON + hours(2), "out", people=[(MARIA, "to"), (TOM, "to")]),
    )
    assert facts[uid(1)].answered_at == NOON + hours(2)
    assert [facts[uid(number)].two_way for number in (1, 2, 3)] == [False, False, True]


def test_where_a_contact_is_unknown_any_touch_of_the_account_answers() -> None:
    assert paired(mail(1, NOON), mail(2, NOON + hours(1), "out", people=[(TOM, "to")]))[
        uid(1)
    ].answered_at == NOON + hours(1)
    asked = mail(1, NOON, people=[(MARIA, "from")])
    assert paired(asked, mail(2, NOON + hours(1), "out"))[uid(1)].answered_at == NOON + hours(1)


def test_a_copy_to_the_contact_does_not_answer() -> None:
    copied = mail(2, NOON + hours(1), "out", people=[(TOM, "to"), (MARIA, "cc")])
    assert paired(mail(1, NOON, people=[(MARIA, "from")]), copied)[uid(1)].answered_at == NEVER


def test_an_unconnected_call_answers_nothing_and_a_connected_one_or_a_meeting_does() -> None:
    missed = call(1, NOON, "in", "missed", people=[(MARIA, "caller")])
    tried = call(2, NOON + hours(1), "out", "missed", people=[(MARIA, "callee")])
    assert paired(missed, tried)[uid(1)].answered_at == NEVER
    reached = call(3, NOON + hours(2), "out", "completed", people=[(MARIA, "callee")])
    assert paired(missed, tried, reached)[uid(1)].answered_at == NOON + hours(2)
    assert paired(missed, meeting(4, NOON + hours(3)))[uid(1)].answered_at == NOON + hours(3)


def test_automatic_copied_and_unasking_mail_never_opens_an_item() -> None:
    quiet: list[dict[str, Any]] = [{"automatic": "newsletter"}, {"cc_only": True}, {"reply_expected": False}]
    assert all(read(mail(1, NOON, **said), BERLIN).answered_at is None for said in quiet)


def test_touches_at_the_same_instant_do_not_answer_one_another() -> None:
    assert paired(mail(1, NOON), mail(2, NOON, "out"))[uid(1)].answered_at == NEVER


def test_a_routine_touch_that_answers_a_support_request_counts_as_support() -> None:
    asked = mail(1, NOON, touch_class="support", people=[(MARIA, "from")])
    first = mail(2, NOON + hours(1), "out", people=[(MARIA, "to")])
    second = mail(3, NOON + hours(2), "out", people=[(MARIA, "to")])
    facts = paired(asked, first, second)
    assert [facts[uid(number)].counted_class for number in (2, 3)] == ["support", "routine"]
    strategic = mail(2, NOON + hours(1), "out", touch_class="strategic", people=[(MARIA, "to")])
    assert paired(asked, strategic)[uid(2)].counted_class == "strategic"


def test_a_mail_is_two_way_within_fourteen_days_and_only_the_first() -> None:
    asked = mail(1, NOON, "out", people=[(MARIA, "to"), (TOM, "to")])
    prompt = mail(2, NOON + timedelta(days=14), people=[(MARIA, "from")])
    late = mail(3, NOON + timedelta(days=14, seconds=1), people=[(TOM, "from")])
    again = mail(4, NOON + timedelta(days=14), people=[(MARIA, "from")])
    facts = paired(asked, prompt, late, again)
    assert [facts[uid(number)].two_way for number in (2, 3, 4)] == [True, False, True]
    after = mail(5, NOON + timedelta(days=13), people=[(MARIA, "from")])
    assert not paired(asked, after, prompt)[uid(2)].two_way


@given(histories(), st.data())
def test_reading_the_neighbourhood_again_is_as_good_as_pairing_everything(
    history: list[Attribution], data: st.DataObject
) -> None:
    newest = {state.interaction_id: state for state in sorted(history, key=lambda state: state.version)}
    order = data.draw(st.permutations(list(newest.values())))
    stored: dict[str, Fact] = {}
    for state in order:
        fact = read(state, BERLIN)
        stored[fact.interaction_id] = fact
        since = fact.at
        seen = [
            known
            for known in stored.values()
            if known.side is not None
            and (known.at >= since - TWO_WAY_WITHIN or (known.answered_at is not None and known.answered_at >= since))
        ]
        for derived in pair(seen, since):
            stored[derived.interaction_id] = derived
    day = BERLIN.day(FIRST) + timedelta(days=1)
    found = {
        (sort, counted, None if bit is None else ROLES[bit]): tuple(touch)
        for (sort, counted, bit), touch in latest(stored.values(), day).items()
    }
    assert found == fold_account(order, day, BERLIN, "EUR").last_touches

"""What would become of reports: repetitions and corrections, whose they would be, and whom nobody knows."""

from __future__ import annotations

from zoneinfo import ZoneInfo

from contracts.events import Event
from services.accounts.domain.matching import Directory, Link
from services.accounts.domain.rehearsal import Foretold, Kept, interactions_of, keys_of, rehearse
from tests.unit.accounts.events import event, mail, order, person

ACME = "11111111-1111-4111-8111-111111111111"
KNOWN = Directory({"domain:acme.example": [Link(ACME, None)]})


def foretell(*events: Event, kept: Kept | None = None) -> list[Foretold]:
    """A rehearsal in Berlin."""
    return rehearse(events, kept or Kept({}, {}, KNOWN), ZoneInfo("Europe/Berlin"))


def test_an_equal_or_lower_revision_changes_nothing_and_a_higher_one_corrects() -> None:
    first, second, third = (order("o1", "maria@acme.example", order=number, report="same") for number in (1, 2, 3))
    kept = Kept({second.id: second.revision.sort_key}, {}, KNOWN)
    assert [one.outcome for one in foretell(first, second, third, third, kept=kept)] == [
        "repeated",
        "repeated",
        "changed",
        "repeated",
    ]


def test_of_a_mail_every_party_that_matches_nobody_is_named_and_ours_never() -> None:
    asked = mail("<1@x>", "maria@acme.example", "anna@brightwell.example")
    parties = [person("from", "maria@acme.example"), person("cc", "zoe@new.example"), person("cc", "kim@gmail.com")]
    [told] = foretell(asked.model_copy(update={"parties": mail("<2@x>", "a@b.example", "", parties=parties).parties}))
    assert told.matched
    assert [(who.kind, who.value, who.domain) for who in told.strangers] == [
        ("address", "zoe@new.example", "new.example"),
        ("address", "kim@gmail.com", None),
    ]
    assert foretell(asked)[0].strangers == ()


def test_a_refund_is_whose_its_order_is_whichever_came_first_in_the_file() -> None:
    money = {"amount": "5.00", "currency": "EUR"}
    placed = order("o1", "maria@acme.example")
    refund = event("order.refunded", "refund", "r1", parent=placed.interaction.model_dump(), refunded=money)
    assert [one.matched for one in foretell(refund, placed)] == [True, True]
    assert [one.matched for one in foretell(refund)] == [False]
    assert interactions_of([refund]) == {refund.interaction.id, placed.interaction.id}
    assert foretell(refund, kept=Kept({}, {placed.interaction.id: [ACME]}, KNOWN))[0].matched


def test_only_identities_of_theirs_are_asked_for() -> None:
    keys = keys_of([mail("<1@x>", "maria@acme.example", "anna@brightwell.example")])
    assert keys == {"address:maria@acme.example", "domain:acme.example"}

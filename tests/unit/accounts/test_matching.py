"""Whose is it: reasons from the strongest to the weakest, dated links, ties."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from contracts.values import Kind, Party
from services.accounts.domain.identities import (
    BadIdentity,
    company_domain,
    interaction_keys,
    normalise,
    with_keys,
)
from services.accounts.domain.matching import Claim, Directory, Link, Serving, match, whose
from tests.unit.accounts.events import person

DAY = date(2026, 3, 2)
ACME, NORDIC, OTHER = "a" * 8, "b" * 8, "c" * 8
MARIA, NILS = "m" * 8, "n" * 8

DIRECTORY = Directory(
    links={
        "organisation:desk:org-1": [Link(NORDIC, None)],
        "address:maria@acme.example": [Link(None, MARIA)],
        "phone:+4930901820": [Link(None, NILS)],
        "person:desk:77": [Link(None, NILS)],
        "domain:acme.example": [Link(ACME, None, None, date(2026, 3, 1)), Link(OTHER, None, date(2026, 3, 1), None)],
    },
    servings={MARIA: [Serving(ACME, date(2020, 1, 1))], NILS: [Serving(NORDIC, date(2020, 1, 1))]},
)


def _claims(kind: Kind, *parties: dict[str, Any], day: date = DAY, **more: Any) -> list[Claim]:
    read = with_keys([Party.model_validate(party) for party in parties])
    return whose(kind, match(read, kind, day, DIRECTORY), day, DIRECTORY, **more)


def _reasons(kind: Kind, *parties: dict[str, Any], **more: Any) -> list[tuple[str, str]]:
    return [(claim.account_id, claim.reason) for claim in _claims(kind, *parties, **more)]


def test_communication_concerns_every_partys_account_each_by_its_strongest_reason() -> None:
    assert _reasons(
        Kind.MAIL, person("from", "maria@acme.example", organisation="desk:org-1"), person("to", "x@mail.acme.example")
    ) == [(ACME, "address"), (OTHER, "domain")]


def test_money_and_tickets_concern_exactly_one_account_and_the_organisation_is_strongest() -> None:
    both = person("customer", "maria@acme.example", organisation="desk:org-1")
    assert _reasons(Kind.ORDER, both) == [(NORDIC, "organisation")]
    assert _reasons(Kind.ORDER, person("customer", "maria@acme.example"), person("cc", "y@acme.example")) == [
        (ACME, "address")
    ]


@pytest.mark.parametrize(
    ("identities", "reason"),
    [
        ({"phone": "+4930901820", "person": "desk:77"}, "phone"),
        ({"person": "desk:77"}, "person"),
    ],
)
def test_phones_outrank_a_providers_ids(identities: dict[str, Any], reason: str) -> None:
    assert _reasons(Kind.CALL, person("caller", "", **identities)) == [(NORDIC, reason)]


def test_a_link_counts_on_its_days_only() -> None:
    someone = person("from", "who@acme.example")
    assert _reasons(Kind.MAIL, someone, day=date(2026, 2, 28)) == [(ACME, "domain")]
    assert _reasons(Kind.MAIL, someone, day=date(2026, 3, 1)) == [(OTHER, "domain")]


def test_ours_free_mail_and_strangers_match_nothing() -> None:
    ours = person("from", "maria@acme.example", ours=True)
    assert _reasons(Kind.MAIL, ours, person("to", "maria@gmail.com"), person("cc", "who@nowhere.example")) == []


def test_a_contact_who_serves_two_accounts_speaks_for_the_primary_one_and_is_listed_for_both() -> None:
    serving = {MARIA: [Serving(ACME, date(2020, 1, 1)), Serving(NORDIC, date(2025, 1, 1), primary=False)]}
    directory = Directory(DIRECTORY.links, serving)
    read = with_keys([Party.model_validate(person("from", "maria@acme.example"))])
    matched = match(read, Kind.MAIL, DAY, directory)
    assert [claim.account_id for claim in whose(Kind.MAIL, matched, DAY, directory)] == [ACME]
    [claim] = whose(Kind.MAIL, matched, DAY, directory, by_hand=[NORDIC])
    assert claim.contacts == ((MARIA, "from"),)


def test_a_contact_who_left_is_still_known_by_the_domain() -> None:
    directory = Directory(DIRECTORY.links, {MARIA: [Serving(NORDIC, date(2020, 1, 1), date(2026, 1, 1))]})
    read = with_keys([Party.model_validate(person("from", "maria@acme.example"))])
    [claim] = whose(Kind.MAIL, match(read, Kind.MAIL, DAY, directory), DAY, directory)
    assert (claim.account_id, claim.reason, claim.contacts) == (OTHER, "domain", ((MARIA, "from"),))


def test_by_hand_outranks_the_parent_and_the_parent_everything_else() -> None:
    buyer = person("customer", "maria@acme.example")
    assert _reasons(Kind.REFUND, buyer, parents=[NORDIC]) == [(NORDIC, "parent")]
    assert _reasons(Kind.REFUND, buyer, parents=[NORDIC], by_hand=[OTHER]) == [(OTHER, "by_hand")]
    assert _reasons(Kind.REFUND, buyer, by_hand=[]) == []
    assert _reasons(Kind.REFUND, buyer, parents=[]) == [(ACME, "address")]
    # What others depend on never follows: parents form no circles.
    assert _reasons(Kind.ORDER, buyer, parents=[NORDIC]) == [(ACME, "address")]


def test_the_order_of_parties_does_not_matter() -> None:
    parties = [person("cc", "x@acme.example"), person("from", "maria@acme.example"), person("to", "", person="desk:77")]
    assert _claims(Kind.MAIL, *parties) == _claims(Kind.MAIL, *reversed(parties))
    assert _claims(Kind.TICKET, *parties) == _claims(Kind.TICKET, *reversed(parties))


@pytest.mark.parametrize(
    ("host", "registered"),
    [
        ("mail.acme.example", "acme.example"),
        ("acme.co.uk", "acme.co.uk"),
        ("co.uk", None),
        ("gmail.com", None),
        ("bounce.sendgrid.net", None),
        ("localhost", None),
    ],
)
def test_company_domains_are_registered_ones_and_never_providers(host: str, registered: str | None) -> None:
    assert company_domain(host) == registered


@pytest.mark.parametrize(
    ("kind", "typed", "normal"),
    [
        ("address", " Maria.Keller@ACME.example ", "maria.keller@acme.example"),
        ("phone", "030 901820", "+4930901820"),
        ("phone", "+1 212 555 0100", "+12125550100"),
        ("domain", "@Mail.ACME.example.", "acme.example"),
        ("person", "zendesk:acme:77", "zendesk:acme:77"),
    ],
)
def test_identities_are_normalised_as_sources_report_them(kind: str, typed: str, normal: str) -> None:
    assert normalise(kind, typed, region="DE") == normal


@pytest.mark.parametrize(
    ("kind", "typed"),
    [
        ("address", "no address"),
        ("address", "a\x00@b.example"),
        ("phone", "12"),
        ("phone", "no digits"),
        ("domain", "gmail.com"),
        ("domain", "http://acme.example/x"),
        ("person", "77"),
        ("fax", "1"),
        ("address", ""),
    ],
)
def test_what_is_no_identity_is_refused_with_a_remedy(kind: str, typed: str) -> None:
    with pytest.raises(BadIdentity) as refused:
        normalise(kind, typed, region="DE")
    assert str(refused.value)


def test_keys_of_ours_are_marked_and_domains_are_added_to_addresses() -> None:
    parties = [person("from", "x@mail.acme.example"), person("to", "anna@brightwell.example", ours=True)]
    assert interaction_keys(with_keys([Party.model_validate(party) for party in parties])) == [
        "address:x@mail.acme.example",
        "domain:acme.example",
        "ours:address:anna@brightwell.example",
    ]

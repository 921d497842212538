"""What a source reports and what a person enters are written alike: else they never meet, and nobody sees why."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.identities import company_domain, mailbox_of, normalise_address, normalise_domain, normalise_phone
from contracts.values import Party
from services.accounts.domain.identities import BadIdentity, identity_key, normalise, party_keys
from services.ingest.domain.identities import Directory

DIRECTORY = Directory(["brightwell.example"], "DE")

_LOCALS = st.text("abcXYZ019.+-_jörgß", min_size=1, max_size=12)
_HOSTS = st.sampled_from(
    [
        "acme.example",
        "Acme.EXAMPLE",
        "müller.example",
        "xn--mller-kva.example",
        "gmail.com",
        "GoogleMail.com",
        "outlook.com",
        "mail.acme.co.uk",
        "web.de",
        "mailinator.com",
        "acme.example.",
    ]
)
_PHONES = st.one_of(
    st.from_regex(r"\A(\+|00|0)?[1-9][0-9 ()/-]{1,16}\Z"),
    st.from_regex(r"\A(\+49 ?30|030) ?[0-9]{6,8}( ?ext\.? ?[0-9]{1,4})?\Z"),
    st.sampled_from(["anonymous", "+266696687", "sip:+4930901820@gw.example", "tel:+49-30-901820", "112", "11101"]),
)


def entered(kind: str, value: str) -> str | None:
    with contextlib.suppress(BadIdentity):
        return identity_key(kind, normalise(kind, value, region="DE"))
    return None


def reported(party: Party | None, kind: str) -> str | None:
    if party is None:
        return None
    return next((key for of_kind, key in party_keys(party) if of_kind == kind), None)


@settings(max_examples=30)
@given(_LOCALS, _HOSTS)
@example("jörg", "müller.example")
@example("b.ob+orders", "googlemail.com")
def test_an_address_that_a_person_enters_is_the_one_that_a_source_reports(local: str, host: str) -> None:
    raw = f"{local}@{host}"
    by_hand = entered("address", raw)
    from_source = reported(DIRECTORY.party("customer", address=raw), "address")
    # What people may enter is checked more strictly; what both take, they write alike.
    assert by_hand is None or by_hand == from_source


@settings(max_examples=30)
@given(_PHONES)
@example("030 901820 ext. 12")
@example("+49 30 901820")
def test_a_number_that_a_person_enters_is_the_one_that_a_source_reports(raw: str) -> None:
    assert entered("phone", raw) == reported(DIRECTORY.party("caller", phone=raw), "phone")


@settings(max_examples=30)
@given(_LOCALS, _HOSTS)
def test_a_company_domain_that_a_person_enters_is_the_one_that_a_source_reports(local: str, host: str) -> None:
    party = DIRECTORY.party("customer", address=f"{local}@{host}")
    if party is not None:
        assert reported(party, "domain") == entered("domain", host)


@settings(max_examples=30)
@given(_LOCALS, _HOSTS)
def test_the_forms_are_fixed_points(local: str, host: str) -> None:
    address = normalise_address(f"{local}@{host}")
    if address is not None:
        assert normalise_address(address) == address
        assert mailbox_of(mailbox_of(address)) == mailbox_of(address)
        assert normalise_address(mailbox_of(address)) == mailbox_of(address)


@settings(max_examples=30)
@given(_PHONES, st.sampled_from(["DE", "US", "FR", None]))
def test_a_number_in_its_form_is_the_same_number_everywhere(raw: str, region: str | None) -> None:
    number = normalise_phone(raw, region)
    for elsewhere in ("DE", "US", "BR", None):
        assert number is None or normalise_phone(number, elsewhere) == number


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bob.miller@gmail.com", "bobmiller@gmail.com"),
        ("bob@gmail.com", "Bob+orders@GoogleMail.com"),
        ("bob@outlook.com", "bob+acme@outlook.com"),
        ("bob@icloud.com", "bob+x+y@icloud.com"),
    ],
)
def test_addresses_that_reach_one_mailbox_are_one_person(one: str, other: str) -> None:
    assert entered("address", one) == entered("address", other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("sales@acme.example", "sales+eu@acme.example"),
        ("bob.miller@acme.example", "bobmiller@acme.example"),
        ("bob.miller@outlook.com", "bobmiller@outlook.com"),
        ("bob@yahoo.com", "bob+x@yahoo.com"),
        ("bob@outlook.com", "bob@hotmail.com"),
    ],
)
def test_addresses_of_which_nobody_promises_that_they_are_one_stay_two(one: str, other: str) -> None:
    assert entered("address", one) != entered("address", other)


@pytest.mark.parametrize(
    ("host", "company"),
    [
        ("acme.example", "acme.example"),
        ("mail.eu.acme.co.uk", "acme.co.uk"),
        ("xn--mller-kva.example", "xn--mller-kva.example"),
        ("gmail.com", None),
        ("mailbox.org", None),
        ("co.uk", None),
        ("acme.zendesk.com", None),
        ("shop.myshopify.com", "shop.myshopify.com"),
        ("mailinator.com", None),
        ("10minutemail.com", None),
    ],
)
def test_throw_away_addresses_free_mail_and_carriers_name_no_company(host: str, company: str | None) -> None:
    assert company_domain(host) == company


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+49 30 901820 ext. 12", "+4930901820;ext=12"),
        ("tel:+49-30-901820;ext=12", "+4930901820;ext=12"),
        ("030 901820", "+4930901820"),
        ("sip:+4930901820@gw.example;user=phone", "+4930901820"),
        ("<sip:030901820@pbx.example:5060>", "+4930901820"),
        ("sip:bob@acme.example", None),
        ("sip:anonymous@anonymous.invalid", None),
        ("client:anna", None),
        ("Anonymous", None),
        ("+266696687", None),
        ("+7378742833", None),
        ("+86282452253", None),
        ("restricted", None),
        ("0000", None),
        ("102", None),
        ("11101", None),
        ("116117", None),
        ("901820", None),
        ("112", None),
    ],
)
def test_extensions_are_kept_and_withheld_short_and_local_numbers_name_nobody(written: str, number: str | None) -> None:
    assert DIRECTORY.phone(written) == number


def test_a_site_elsewhere_reads_national_numbers_as_its_own() -> None:
    paris = DIRECTORY.in_region("FR")
    assert paris.phone("01 42 68 53 00") == "+33142685300"
    assert paris.is_own("anna@brightwell.example")
    assert DIRECTORY.in_region("FR") is paris
    assert DIRECTORY.in_region(None) is DIRECTORY
    assert DIRECTORY.phone("01 42 68 53 00", "FR") == "+33142685300"


@pytest.mark.parametrize("raw", ["müller.example", "Müller.Example", "xn--mller-kva.example."])
def test_an_international_domain_has_one_form(raw: str) -> None:
    assert normalise_domain(raw) == "xn--mller-kva.example"

"""Addresses, phones and company domains are written one way, and free mail never names a company."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ingest.domain.identities import Directory, company_domain, normalise_address, one_line

DIRECTORY = Directory(["Brightwell.example"], "DE")


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("Bob@Acme.EXAMPLE", "bob@acme.example"),
        (" bob@acme.example. ", "bob@acme.example"),
        ("jörg@MÜLLER.example", "jörg@xn--mller-kva.example"),
        ("jörg@xn--mller-kva.example", "jörg@xn--mller-kva.example"),
        ("bob+orders@mail.acme.co.uk", "bob+orders@mail.acme.co.uk"),
        ("bob", None),
        ("bob@localhost", None),
        ("@acme.example", None),
        ("bob@acme..example", None),
        ("bob smith@acme.example", None),
        ("a@b@acme.example", None),
        ("x" * 400 + "@acme.example", None),
    ],
)
def test_an_address_has_one_form(written: str, normal: str | None) -> None:
    assert normalise_address(written) == normal


@pytest.mark.parametrize(
    ("host", "company"),
    [
        ("acme.example", "acme.example"),
        ("mail.eu.acme.co.uk", "acme.co.uk"),
        ("gmail.com", None),
        ("web.de", None),
        ("outlook.com", None),
        ("co.uk", None),
        ("acme.zendesk.com", None),
        ("xn--mller-kva.example", "xn--mller-kva.example"),
    ],
)
def test_only_a_registered_domain_that_nobody_shares_names_a_company(host: str, company: str | None) -> None:
    assert company_domain(host) == company


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("+49 30 1234567", "+49301234567"),
        ("030 1234567", "+49301234567"),
        ("0044 20 7946 0018", "+442079460018"),
        ("anonymous", None),
        ("", None),
        ("112", None),
        ("+" + "9" * 100, None),
    ],
)
def test_a_phone_is_e164_or_nobody(written: str, number: str | None) -> None:
    assert DIRECTORY.phone(written) == number


def test_our_own_people_are_ours_and_name_no_company() -> None:
    party = DIRECTORY.party("to", address="Max@sales.brightwell.example")
    assert party is not None
    assert party.ours
    assert [identity.kind for identity in party.identities] == ["address"]


def test_a_name_is_one_line_that_can_be_kept() -> None:
    assert one_line("Bob\r\nBcc: x\x00 \u202eSmith") == "Bob Bcc: x Smith"
    assert one_line(" \x00 ") is None


@given(st.text())
def test_no_text_breaks_reading_an_address_or_a_phone(text: str) -> None:
    address = normalise_address(text)
    assert address is None or normalise_address(address) == address
    number = DIRECTORY.phone(text)
    assert number is None or number.startswith("+")

"""What rules leave out at the door."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.ingest.domain.privacy import Looked, PrivacyRule, Rules

ANYBODY = frozenset({"bob@acme.example", "anna@brightwell.example"})


def left_out(looked: Looked, conditions: dict[str, object]) -> bool:
    rule = PrivacyRule.model_validate({"name": "hr", **conditions})
    return Rules((rule,)).left_out(looked, "anna") == "privacy:hr"


@pytest.mark.parametrize(
    ("conditions", "looked"),
    [
        ({"addresses": ["HR@Brightwell.example"]}, Looked(ANYBODY | {"hr@brightwell.example"})),
        ({"domains": ["lawyers.example"]}, Looked(ANYBODY | {"jo@mail.lawyers.example"})),
        ({"subject": ["Gehalt"]}, Looked(ANYBODY, subject="Re: Ihr GEHALT ab März")),
        ({"subject": ["cease and desist"]}, Looked(ANYBODY, subject="Cease  and\tdesist: ACME")),
        ({"subject": ["kündigung"]}, Looked(ANYBODY, subject="Ku\u0308ndigung")),
        ({"labels": ["Personal"]}, Looked(ANYBODY, labels=["inbox", "PERSONAL"])),
        ({"folders": ["Privat"]}, Looked(ANYBODY, folder="privat")),
        ({"folders": ["Privat"]}, Looked(ANYBODY, folder="Privat/2026")),
        ({"sensitivity": ["private"]}, Looked(ANYBODY, sensitivity="private")),
        ({"addresses": ["x@y.example"], "subject": ["gehalt"]}, Looked(ANYBODY, subject="Gehalt")),
    ],
)
def test_any_condition_of_a_rule_leaves_a_mail_out(conditions: dict[str, object], looked: Looked) -> None:
    assert left_out(looked, conditions)


@pytest.mark.parametrize(
    ("conditions", "looked"),
    [
        ({"domains": ["lawyers.example"]}, Looked(ANYBODY | {"jo@notlawyers.example"})),
        ({"subject": ["hr"]}, Looked(ANYBODY, subject="Through the thread")),
        ({"folders": ["Privat"]}, Looked(ANYBODY, folder="Private customers")),
        ({"sensitivity": ["private"]}, Looked(ANYBODY)),
        ({"subject": ["hr"], "sources": ["max"]}, Looked(ANYBODY, subject="HR")),
    ],
)
def test_what_no_condition_names_comes_in(conditions: dict[str, object], looked: Looked) -> None:
    assert not left_out(looked, conditions)


def test_a_rule_without_conditions_is_refused_and_says_what_it_needs() -> None:
    with pytest.raises(ValidationError, match="needs one of addresses"):
        PrivacyRule.model_validate({"name": "nothing"})


def test_the_first_rule_that_matches_counts() -> None:
    rules = Rules((PrivacyRule(name="a", subject=("x1",)), PrivacyRule(name="b", subject=("x2",))))
    assert rules.left_out(Looked(ANYBODY, subject="x2 x1"), "anna") == "privacy:a"

"""How touches are read."""

from __future__ import annotations

import pytest

from contracts.interactions import assemble
from services.accounts.domain.touch import TouchRule, class_by_rule, only_thanks, reply_expected, written
from tests.unit.accounts.events import event, mail, person

THEM, US = "maria@acme.example", "anna@brightwell.example"


@pytest.mark.parametrize(
    "text",
    [
        "Thanks!",
        "Thank you very much, Anna.\n\nBest regards\nMaria",
        "Vielen Dank!",
        "Danke, alles gut.\n\n> Wann kommt die Sonde?\n> Gruß",
        "Muchas gracias, todo bien",
        "Obrigado!",
        "Thanks a lot Anna\n--\nMaria Keller\nACME GmbH, Berlin",
    ],
)
def test_a_mere_thank_you_waits_for_no_answer(text: str) -> None:
    assert only_thanks(text)
    assert not reply_expected(assemble([mail("<1>", THEM, US, text=text)]), by_hand=None)


@pytest.mark.parametrize(
    "text",
    [
        "Thanks, but when does it arrive?",
        "Thank you. Please send the certificate until Friday.",
        "The probe does not work.",
        "Danke. Bitte noch die Rechnung schicken.",
        "",
        None,
        "Thanks " + "and more details follow about the calibration " * 10,
    ],
)
def test_whatever_says_more_than_thanks_waits_for_an_answer(text: str | None) -> None:
    assert not only_thanks(text)


def test_machines_and_what_a_manager_marked_wait_for_no_answer() -> None:
    newsletter = assemble([mail("<1>", THEM, US, automatic="newsletter")])
    assert not reply_expected(newsletter, by_hand=None)
    assert reply_expected(newsletter, by_hand=True)
    assert not reply_expected(assemble([mail("<2>", THEM, US)]), by_hand=False)


def test_quoted_text_and_signatures_are_not_what_was_written() -> None:
    assert written("Yes.\n\nOn Monday, Anna wrote:\n> Is the roadmap fine?") == "Yes."
    assert written("Ja.\n-- \nroadmap GmbH") == "Ja."
    rules = [TouchRule("strategic", 1, "words", ("roadmap",))]
    assert class_by_rule(assemble([mail("<1>", THEM, US, text="Yes.\n> the roadmap")]), rules) is None


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        (TouchRule("strategic", 1, "words", ("best practice",)), {"text": "On Best  practice? No: best practice!"}),
        (TouchRule("strategic", 1, "words", ("roadmap",)), {"title": "ROADMAP 2027"}),
        (TouchRule("strategic", 1, "label", ("qbr",)), {"labels": ["QBR"]}),
        (TouchRule("strategic", 1, "mailbox", ("anna@brightwell.example",)), {}),
        (TouchRule("strategic", 1, "address", ("anna@",)), {}),
    ],
)
def test_rules_look_at_words_labels_mailboxes_and_addresses_of_ours(rule: TouchRule, fields: dict[str, object]) -> None:
    assert class_by_rule(assemble([mail("<1>", THEM, US, **fields)]), [rule]) == "strategic"  # type: ignore[arg-type]


def test_words_are_whole_words_and_the_first_rule_that_fits_counts() -> None:
    rules = [TouchRule("billing", 1, "words", ("bill",)), TouchRule("support", 2, "words", ("broken", "billing"))]
    assert class_by_rule(assemble([mail("<1>", THEM, US, text="billing is broken")]), rules) == "support"
    assert class_by_rule(assemble([mail("<2>", THEM, US, text="the bill is broken")]), rules) == "billing"


def test_calls_are_read_by_tag_and_senders_by_role_and_orders_not_at_all() -> None:
    call = event(
        "call.leg-ended",
        "call",
        "1",
        leg="1",
        direction="in",
        answered_by_person=True,
        tags=["Support"],
        parties=[person("caller", "", phone="+4930901820")],
    )
    assert class_by_rule(assemble([call]), [TouchRule("support", 1, "call_tag", ("support",))]) == "support"
    by_role = [TouchRule("billing", 1, "sender_role", ("procurement",))]
    assert class_by_rule(assemble([mail("<1>", THEM, US)]), by_role, ["procurement"]) == "billing"
    placed = event("order.placed", "order", "1", title="roadmap")
    assert class_by_rule(assemble([placed]), [TouchRule("strategic", 1, "words", ("roadmap",))]) is None

"""Who cannot be reached is told by many servers in many ways; who is only refused for now is no bounced contact."""

from __future__ import annotations

import pytest

from contracts.events import ContactBounced, EmailReceived
from services.ingest.domain.mail_mime import read_mail
from services.ingest.domain.mapping import Unmapped
from services.ingest.sources.mail import map_mail
from services.ingest.sources.mail_bounce import failed_addresses
from services.ingest.sources.mail_message import Mail
from tests.unit.ingest.golden import MAILBOX, origin, told

SERVER = "From: Mail Delivery System <MAILER-DAEMON@mx.acme.example>\nTo: anna@brightwell.example\n"
HEAD = f"Return-Path: <>\n{SERVER}Subject: Undelivered mail\nMessage-ID: <b@mx>\nDate: Mon, 2 Mar 2026 09:00:00 +0100\n"
RETURNED = (
    "\nReceived: from a by b\nMessage-ID: <1@brightwell.example>\nFrom: anna@brightwell.example\nTo: x@acme.example\n"
)


def notice(text: str, head: str = HEAD) -> list[tuple[str, str]]:
    return list(failed_addresses(Mail(read_mail(f"{head}\n{text}{RETURNED}".replace("\n", "\r\n").encode()))))


def report(status: str, diagnostic: str, words: str = "Sorry.") -> list[tuple[str, str]]:
    return notice(
        f"--b\nContent-Type: text/plain\n\n{words}\n--b\nContent-Type: message/delivery-status\n\n"
        "Reporting-MTA: dns; mx.acme.example\n\nFinal-Recipient: rfc822; gone@acme.example\nAction: failed\n"
        f"Status: {status}\n{f'Diagnostic-Code: {diagnostic}' if diagnostic else 'X-Nothing: 1'}\n\n--b--\n",
        HEAD + 'Content-Type: multipart/report; report-type=delivery-status; boundary="b"\n',
    )


@pytest.mark.parametrize(
    ("status", "diagnostic", "expected"),
    [
        ("5.1.1", "smtp; 550 5.1.1 <gone@acme.example>: Recipient address rejected: User unknown", "5.1.1"),
        ("5.0.0", "smtp; 550 5.1.1 <gone@acme.example> does not exist", "5.1.1"),
        ("5.0.0", "smtp; 550 No such user here", "5.0.0"),
        ("5.5.0", "smtp; 550 Requested action not taken: mailbox unavailable", "5.5.0"),
        ("5.1.10", "smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient not found by SMTP lookup", "5.1.10"),
        ("5.4.1", "smtp;550 5.4.1 Recipient address rejected: Access denied. AS(201806281)", "5.4.1"),
        ("5.4.4", "X-Postfix; Host or domain name not found. Name service error for name=acme.example", "5.4.4"),
        ("5.4.310", "smtp;550 5.4.310 DNS domain acme.example does not exist", "5.4.310"),
        ("5.0.0", "smtp; 554 delivery error: dd This user doesn't have an acme.example account", "5.0.0"),
        ("5.2.1", "smtp; 550 5.2.1 The email account that you tried to reach is disabled", "5.2.1"),
        ("5.1.1 (bad destination)", "", "5.1.1"),
    ],
)
def test_a_report_that_says_that_nobody_is_there_is_believed(status: str, diagnostic: str, expected: str) -> None:
    assert report(status, diagnostic) == [("gone@acme.example", expected)]


@pytest.mark.parametrize(
    ("status", "diagnostic"),
    [
        ("5.0.0", "smtp; 554 Message not allowed - [PH01] Email not accepted for policy reasons"),
        ("5.0.0", "smtp; 550 High probability of spam"),
        ("5.0.0", "smtp; 554 Transaction failed. Reject due to policy restrictions"),
        ("5.0.0", "smtp; 550 SPF check failed"),
        ("5.1.1", "smtp; 550 5.7.1 Service unavailable; client host blocked using a block list"),
        ("5.1.1", "smtp; 552 5.2.2 Mailbox full"),
        ("5.1.8", "smtp;550 5.1.8 Access denied, bad outbound sender AS(42004)"),
        ("5.1.7", "smtp; 553 5.1.7 Sender address rejected"),
        ("5.2.121", "smtp;550 5.2.121 RecipientRateLimitExceeded"),
        ("5.4.14", "smtp;554 5.4.14 Hop count exceeded - possible mail loop"),
        ("5.4.316", "smtp;550 5.4.316 Message expired, connection refused"),
        ("5.2.1", "smtp; 550 5.2.1 The user you are trying to contact is receiving mail at a rate that …"),
        ("5.0.0", "smtp; 550 5.7.26 Unauthenticated email is not accepted due to the domain's DMARC policy"),
        ("5.0.0", "smtp; 554 Relay access denied"),
        ("5.0.0", ""),
        ("4.4.1", "smtp; 550 5.1.1 User unknown"),
    ],
)
def test_a_report_of_a_policy_a_full_mailbox_or_our_own_fault_bounces_nobody(status: str, diagnostic: str) -> None:
    assert report(status, diagnostic) == []


def test_a_report_without_a_reason_is_explained_by_the_words_above_it() -> None:
    words = "gone@acme.example: 550 5.1.1 no such user"
    assert report("5.0.0", "", words) == [("gone@acme.example", "5.1.1")]
    assert report("5.0.0", "", words.replace("no such user", "5.2.2 mailbox full")) == []


@pytest.mark.parametrize(
    "words",
    [
        # As qmail, OpenSMTPD, sendmail of old, Zoho, Exchange (exported), GMX and IONOS, DragonFly and Domino write.
        "<gone@acme.example>:\n192.0.2.1 does not like recipient.\nRemote host said: 550 5.1.1 User unknown",
        "    the following list of recipients:\n\ngone@acme.example: 550 5.1.1 https://help.example/?answer=6596",
        (
            "   ----- The following addresses had permanent fatal errors -----\n<gone@acme.example>\n"
            "    (reason: 550 5.1.1 <gone@acme.example>... User unknown)"
        ),
        "gone@acme.example Invalid Address, ERROR_CODE :550, ERROR_CODE :5.1.1",
        (
            "gone@acme.example<mailto:gone@acme.example>\nThe email address you entered couldn't be found.\n\n"
            "gone@acme.example\nRemote Server returned '550 5.1.1 RESOLVER.ADR.RecipNotFound; not found'"
        ),
        '"gone@acme.example":\nSMTP error from remote server after RCPT command:\n550 5.1.1 User Unknown',
        "gone@acme.example\n\nFor the following reason:\n\nMailbox unavailable",
        "There was an error delivering your mail to <gone@acme.example>.\n\nmx did not like our RCPT TO:\n550 5.1.1",
        "was not delivered to:\n\n  gone@acme.example\n\nbecause:\n\n  User gone (gone@acme.example) not listed in X",
    ],
)
def test_servers_without_a_report_are_understood_by_their_words(words: str) -> None:
    assert [address for address, _ in notice(words)] == ["gone@acme.example"]


@pytest.mark.parametrize(
    "words",
    [
        "<full@acme.example>:\nRemote host said: 552 5.2.2 Mailbox full",
        "full@acme.example\n\nFor the following reason:\n\nMail size limit exceeded.",
        "Your message could not be delivered. Please contact postmaster@acme.example, user unknown to us",
        "gone@acme.example has moved to new@acme.example, and the mailbox is blocked",
        "<full@acme.example>: Connection timed out, will try again later",
    ],
)
def test_words_that_do_not_say_that_nobody_is_there_bounce_nobody(words: str) -> None:
    assert notice(words) == []


def test_of_several_failures_each_is_told_by_its_own_lines() -> None:
    words = "<gone@acme.example>: 550 5.1.1 User unknown\n<full@acme.example>: 552 5.2.2 over quota\n"
    assert notice(words) == [("gone@acme.example", "5.1.1")]
    failed = HEAD + "X-Failed-Recipients: gone@acme.example,\n full@acme.example\n"
    assert notice(words, failed) == [("gone@acme.example", "5.1.1")]


@pytest.mark.parametrize(
    "head",
    [
        # Without the envelope's sender, which is lost when mail is exported.
        HEAD.replace("Return-Path: <>\n", ""),
        HEAD.replace("Return-Path: <>", "Return-Path:"),
        HEAD.replace("Return-Path: <>", "Return-Path: <MAILER-DAEMON@mx.acme.example>"),
        HEAD.replace("Return-Path: <>\n", "").replace("MAILER-DAEMON", "postmaster"),
        HEAD.replace("Return-Path: <>\n", "").replace("MAILER-DAEMON", "MicrosoftExchange" + "0a" * 16),
    ],
)
def test_a_notice_is_known_by_its_writer(head: str) -> None:
    raw = f"{head}\n<gone@acme.example>: 550 5.1.1 User unknown\n".encode()
    mail, contact = told(map_mail(raw, MAILBOX, origin("mail")))
    assert isinstance(mail, EmailReceived)
    assert isinstance(contact, ContactBounced)
    assert (mail.automatic, contact.reason) == ("bounce", "5.1.1")


def test_a_postmaster_may_be_a_person() -> None:
    head = HEAD.replace("Return-Path: <>\n", "").replace("MAILER-DAEMON", "postmaster").replace("Undelivered", "Your")
    (mail,) = told(map_mail(f"{head}\nDear Anna".encode(), MAILBOX, origin("mail")))
    assert isinstance(mail, EmailReceived)
    assert mail.automatic is None


@pytest.mark.parametrize(
    "sender", ["MAILER-DAEMON <>", "Mail Delivery Subsystem <MAILER-DAEMON>", "<>", "mailer-daemon"]
)
def test_a_server_without_an_address_of_its_own_speaks_of_others(sender: str) -> None:
    head = HEAD.replace("Mail Delivery System <MAILER-DAEMON@mx.acme.example>", sender)
    gone = map_mail(f"{head}\n<gone@acme.example>: 550 5.1.1 User unknown\n".encode(), MAILBOX, origin("mail"))
    assert [event.TYPE for event in gone.events] == ["tenure.contact.bounced.v1"]
    late = map_mail(f"{head}\n<late@acme.example>: delayed, will try again\n".encode(), MAILBOX, origin("mail"))
    assert (late.events, late.ignored) == ((), "bounce")


@pytest.mark.parametrize("raw", [b"From: Bob\r\nReturn-Path: <>\r\n\r\nx", b"\x00" * 100, b"To: a@b.example\r\n\r\nx"])
def test_nobody_who_is_no_server_is_not_understood(raw: bytes) -> None:
    with pytest.raises(Unmapped):
        map_mail(raw, MAILBOX, origin("mail"))

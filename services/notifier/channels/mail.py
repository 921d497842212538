"""Mail over SMTP: a message that says what happened, on what evidence, by which rule, and what to do next."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

import aiosmtplib
from email_validator import EmailNotValidError, validate_email
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from services.notifier.domain.delivery import Attempt, Job, Notice, SmtpServer
from services.notifier.domain.rules import advice
from services.notifier.domain.wording import at_time, counted, figure

_SECONDS = 20.0
"""For one answer of the server."""
_SECONDS_IN_ALL = 40.0
"""A server that drips its answers holds a lane for no longer."""
_SECONDS_TO_LEAVE = 2.0
"""For the answer to our good-bye: what was taken before it has arrived, whatever it is."""
_SHOWN = 50
"""Alerts in one message; the rest is counted."""
_WORDS: Mapping[str, str] = {"opened": "New", "escalated": "Escalated", "reopened": "Back again"}


class MailChannel:
    """Composes and hands in mails. `sender` is the From address; `console_url` is where an alert's link leads."""

    def __init__(self, server: SmtpServer, *, sender: str, console_url: str) -> None:
        self._server = server
        self._sender = sender
        self._console_url = console_url.rstrip("/")
        self._templates = Environment(
            loader=PackageLoader("services.notifier.channels"),
            autoescape=select_autoescape(enabled_extensions=("html.j2",)),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    async def deliver(self, job: Job) -> Attempt:
        """Hand one message in; an answer other than success is an outcome, to be tried again."""
        try:
            message = self.compose(job)
        except EmailNotValidError as wrong:
            return Attempt(delivered=False, outcome=f"the address cannot be written to: {type(wrong).__name__}")
        client = self._client()
        try:
            async with asyncio.timeout(_SECONDS_IN_ALL):
                await client.connect()
                await client.send_message(message)
        except aiosmtplib.SMTPRecipientsRefused as refused:
            codes = sorted({str(recipient.code) for recipient in refused.recipients})
            return Attempt(delivered=False, outcome=f"the server refused the recipient with {', '.join(codes)}")
        except aiosmtplib.SMTPResponseException as refused:
            return Attempt(delivered=False, outcome=f"the server answered {refused.code}")
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as fault:
            return Attempt(delivered=False, outcome=f"the server could not be reached: {type(fault).__name__}")
        finally:
            await _leave(client)
        return Attempt(delivered=True, outcome="accepted by the mail server")

    def _client(self) -> aiosmtplib.SMTP:
        server = self._server
        return aiosmtplib.SMTP(
            hostname=server.host,
            port=server.port,
            username=server.username,
            password=server.password,
            start_tls=True if server.starttls else None,
            timeout=_SECONDS,
        )

    def compose(self, job: Job) -> EmailMessage:
        """Return the message of a delivery: the same for every attempt, but for its Date."""
        shown, more = job.notices[:_SHOWN], max(len(job.notices) - _SHOWN, 0)
        content = {
            "notices": [self._shown(notice, job) for notice in shown],
            "more": more,
            "console_url": f"{self._console_url}/alerts",
            "folded": len(job.notices) > 1,
            "count": len(job.notices),
        }
        message = EmailMessage(policy=SMTP)
        message["Subject"] = _line(_subject(job.notices))
        message["From"] = self._sender
        message["To"] = Address(display_name=_line(job.destination.name), addr_spec=_address(job.destination.address))
        message["Date"] = format_datetime(datetime.now(UTC))
        # Stable over attempts: a server or reader that has it already may drop the repetition.
        message["Message-ID"] = f"<{job.delivery_id}@{_domain(self._sender)}>"
        message["Auto-Submitted"] = "auto-generated"
        message["X-Auto-Response-Suppress"] = "All"
        message.set_content(self._templates.get_template("alert.txt.j2").render(content))
        message.add_alternative(self._templates.get_template("alert.html.j2").render(content), subtype="html")
        return message

    def _shown(self, notice: Notice, job: Job) -> dict[str, object]:
        event, zone = notice.event, job.zone
        return {
            "word": _WORDS.get(notice.step, notice.step.capitalize()),
            "severity": event.severity,
            "title": event.title,
            "account": notice.account_name,
            "explanation": event.explanation,
            "items": [
                {"summary": item.summary, "at": at_time(item.occurred_at, zone)} for item in event.evidence.items
            ],
            "figures": [
                {
                    "name": shown.name,
                    "value": None if shown.value is None else figure(shown.value),
                    "threshold": None if shown.threshold is None else figure(shown.threshold),
                }
                for shown in event.evidence.figures
            ],
            "horizon": at_time(event.evidence.horizon, zone) if event.evidence.horizon else None,
            "unverified": event.evidence.unverified,
            "rule": event.rule.replace("_", " "),
            "rule_version": event.rule_version,
            "advice": advice(event.rule),
            "opened_at": at_time(event.opened_at, zone),
            "link": f"{self._console_url}/alerts/{event.alert_id}",
        }


async def _leave(client: aiosmtplib.SMTP) -> None:
    """Say good-bye, if anybody listens, and hang up."""
    try:
        async with asyncio.timeout(_SECONDS_TO_LEAVE):
            await client.quit()
    except (aiosmtplib.SMTPException, OSError, TimeoutError):
        return
    finally:
        client.close()


def _subject(notices: tuple[Notice, ...]) -> str:
    if len(notices) > 1:
        accounts = len({notice.event.account_id for notice in notices})
        return f"{len(notices)} alerts on {counted(accounts, 'account')}"
    only = notices[0]
    mark = {"alert": "Alert", "warn": "Warning", "info": "Note"}[only.event.severity]
    again = f" ({_WORDS[only.step].lower()})" if only.step in {"escalated", "reopened"} else ""
    return f"{mark}{again}: {only.event.title}"


def _line(text: str) -> str:
    """Return text that can stand in a header: control characters, line breaks of every kind included, become spaces."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:200]


def _address(address: str) -> str:
    """Return the address, checked: what is no single address raises `EmailNotValidError`."""
    checked = validate_email(address, check_deliverability=False, test_environment=True)
    # Not every server takes a domain in letters of its own; all take how it is written in ASCII.
    return checked.ascii_email or checked.normalized


def _domain(sender: str) -> str:
    return sender.rpartition("@")[2].rstrip(">").strip() or "localhost"

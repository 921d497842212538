"""Whom a mail did not reach, as the servers on the way say it."""

import re
from collections.abc import Iterator

from services.ingest.sources.mail_message import Mail

_FAILED_FOR_GOOD = re.compile(r"5\.\d{1,3}\.\d{1,3}\b")
# What is wrong with the mail, or for now, is nobody's fault: full, too large, refused as spam or by its content.
_NOT_GONE = re.compile(r"5\.(?:2\.[23]|3\.\d+|6\.\d+|7\.\d+)\b")
_CODE = re.compile(r"\b55[0134]\b")
_ADDRESS = re.compile(r"[^\s<>()\[\],;:\"']{1,64}@[^\s<>()\[\],;:\"']{1,255}")
# qmail, and what copies it: the address in brackets with a colon, then what the other server said.
_QMAIL = re.compile(r"^<([^<>\s]{3,320})>:[ \t]*\r?\n((?:[^\r\n<][^\r\n]{0,400}\r?\n?){1,6})", re.MULTILINE)
_MOST = 500
_LONGEST_NOTICE = 20_000


def failed_addresses(mail: Mail) -> Iterator[tuple[str, str]]:
    """Yield (address as written, status) of everybody who cannot be reached for good, by a bounce."""
    reports = mail.delivery_reports()
    if reports:
        yield from _reported(reports)
        return
    text = mail.text[:_LONGEST_NOTICE]
    named = [address for value in mail.values("x-failed-recipients") for address in _ADDRESS.findall(value)]
    if named:
        # Exim names them in a header and says in words why.
        status = _status(text)
        if status is not None:
            yield from ((address, status) for address in named[:_MOST])
        return
    for match in list(_QMAIL.finditer(text))[:_MOST]:
        status = _status(match.group(2))
        if status is not None:
            yield match.group(1), status


def _reported(reports: list[list[tuple[str, str]]]) -> Iterator[tuple[str, str]]:
    """Read the fields of RFC 3464."""
    for fields in map(dict, reports):
        status = fields.get("status", "").strip()
        if fields.get("action", "").strip().lower() != "failed" or not _FAILED_FOR_GOOD.match(status):
            continue
        if _NOT_GONE.match(status):
            continue
        recipient = (fields.get("original-recipient") or fields.get("final-recipient") or "").rpartition(";")[2]
        yield recipient.strip(" <>"), status[:20]


def _status(text: str) -> str | None:
    """Return the status that a server's words carry, or None where they say nothing of somebody who is not there."""
    extended = _FAILED_FOR_GOOD.search(text)
    if extended is not None:
        return None if _NOT_GONE.match(extended.group()) else extended.group()
    return "5.0.0" if _CODE.search(text) else None
